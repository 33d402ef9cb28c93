/* The manual page dompool(1) from the command table, in mdoc(7). */
#include "cli/document.h"

#include "base/util.h"

#include <stdio.h>
#include <string.h>

/* One character of text; `...` quotes a command. */
static void print_character(char c, bool *quoted)
{
    switch (c) {
    case '\\':
        fputs("\\e", stdout);
        break;
    case '-':
        fputs("\\-", stdout);
        break;
    case '`':
        fputs(*quoted ? "\\(cq" : "\\(oq", stdout);
        *quoted = !*quoted;
        break;
    default:
        putchar(c);
    }
}

/* A paragraph or less, a sentence to a line, as mdoc wants it. Ends with a newline. */
static void print_sentences(const char *text, size_t len)
{
    bool quoted = false, start = true;
    for (size_t i = 0; i < len; i++) {
        if (start && (text[i] == '.' || text[i] == '\''))
            fputs("\\&", stdout); /* not a request */
        start = i + 1 < len && text[i] == '.' && text[i + 1] == ' ';
        if (start) {
            fputs(".\n", stdout);
            i++;
        } else {
            print_character(text[i], &quoted);
        }
    }
    putchar('\n');
}

static void print_paragraphs(const char *text)
{
    for (;;) {
        const char *end = strstr(text, "\n\n");
        print_sentences(text, end ? (size_t)(end - text) : strlen(text));
        if (!end)
            return;
        printf(".Pp\n");
        text = end + 2;
    }
}

/* A summary is a sentence without its period. */
static void print_summary(const char *summary)
{
    char sentence[256];
    snprintf(sentence, sizeof sentence, "%s.", summary);
    print_sentences(sentence, strlen(sentence));
}

/* "NAME..." -> ".Ar NAME ...", "[IMAGE]" -> ".Op Ar IMAGE". */
static void print_word(const char *word, size_t len, bool optional)
{
    if (*word == '[') {
        word++;
        len -= 2;
        optional = true;
    }
    bool dots = len > 3 && !strncmp(word + len - 3, "...", 3);
    printf(".%s %.*s%s\n", optional ? "Op Ar" : "Ar", (int)(len - (dots ? 3 : 0)), word,
           dots ? " ..." : "");
}

static void print_option_usage(const struct option_spec *o)
{
    printf(".Op Fl -%s%s%s%s\n", o->name, o->value ? " Ar " : "", o->value ? o->value : "",
           o->kind == OPTION_PAIR ? " ..." : "");
}

/* The command with its words and options, as the synopsis and as a heading. */
static void print_usage(const struct command *c)
{
    for (const char *word = c->args; *word; word += strspn(word, " ")) {
        size_t len = strcspn(word, " ");
        print_word(word, len, c->min_args == 0);
        word += len;
    }
    for (const struct option_spec *o = c->options; o && o->name; o++)
        if (!document_hidden(o))
            print_option_usage(o);
}

static void print_options(const struct option_spec *o)
{
    printf(".Bl -tag -width Ds\n");
    for (; o->name; o++) {
        printf(".It Fl -%s%s%s\n", o->name, o->value ? " Ar " : "", o->value ? o->value : "");
        print_summary(o->summary);
    }
    printf(".El\n");
}

static void print_command(const struct command *c)
{
    printf(".It Xo\n.Cm %s\n", c->name);
    print_usage(c);
    printf(".Xc\n");
    print_summary(c->summary);
    if (*c->details) {
        printf(".Pp\n");
        print_paragraphs(c->details);
    }
    if (c->options && !document_hidden(c->options))
        print_options(c->options);
}

static void print_head(void)
{
    printf(".\\\" Made from the command table by `dompool help --man`: edit cli/commands.c.\n"
           ".Dd %s\n.Dt DOMPOOL 1\n.Os dompool %s\n"
           ".Sh NAME\n.Nm dompool\n.Nd take domains from a pool of half-restored Xen domains\n"
           ".Sh SYNOPSIS\n",
           DOMPOOL_DATE, DOMPOOL_VERSION);
    for (size_t i = 0; i < n_commands; i++) {
        printf(".Nm\n.Cm %s\n", commands[i].name);
        print_usage(&commands[i]);
    }
}

static void print_description(void)
{
    printf(".Sh DESCRIPTION\n.Nm\n"
           "asks\n.Xr dompoold 8\n"
           "for domains, adds and removes images, and sets how many domains of each image the "
           "daemon keeps warm.\n"
           "An image is a saved machine state.\n"
           "For each base image the daemon keeps domains that are restored except for the last "
           "steps.\n"
           "A lease is one of these domains, completed and running, until it is released.\n"
           "The domain of a lease is an ordinary one: every command of\n.Xr xl 1\nworks on it.\n"
           ".Pp\n"
           "Options may appear anywhere before\n.Sq Fl - .\n"
           "All commands have these options:\n");
    print_options(common_options);
    printf(".Pp\n"
           "A\n.Ar DURATION\nis written like\n.Sq 500ms ,\n.Sq 10s ,\n.Sq 5m\nor\n.Sq 2h ;\n"
           "a size like\n.Sq 512M\nor\n.Sq 2G .\n"
           "A\n.Ar LEASE\nis the id of a lease, or the name or domid of its domain.\n");
}

static void print_output(void)
{
    printf(".Sh OUTPUT\n"
           "Without\n.Fl -json\nthe output is for people and may change.\n"
           "Control characters in names, metadata and reasons are printed as question marks.\n"
           ".Pp\n"
           "With\n.Fl -json\n"
           "each command prints one object: the parameters of its method's reply, as\n"
           ".Xr io.dompool 7\ndescribes them.\n"
           ".Cm image import\nand\n.Cm image capture\nprint an object with the keys\n.Sq image\n"
           "and\n.Sq warnings .\n"
           ".Cm image export\nprints one with the keys\n.Sq image\nand\n.Sq path .\n"
           ".Cm image verify\nand\n.Cm image rm\nprint an array of image names, under the keys\n"
           ".Sq verified\nand\n.Sq removed .\n"
           ".Cm call Fl -more\nprints one object a line.\n");
}

static void print_status(void)
{
    static const struct {
        enum status status;
        const char *text;
    } rows[] = {
        {STATUS_DONE, "Done."},
        {STATUS_REFUSED, "The daemon refused. The name of the error and its text are on standard "
                         "error, like `dompool: PoolEmpty: ...`."},
        {STATUS_UNREACHABLE, "The daemon cannot be reached, or the connection to it broke."},
        {STATUS_USAGE, "The command line is wrong. Nothing was done."},
        {STATUS_LOCAL, "A problem on this side: standard output cannot be written, or memory ran "
                       "out."},
    };
    printf(".Sh EXIT STATUS\n.Bl -tag -width Ds\n");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        printf(".It %d\n", rows[i].status);
        print_paragraphs(rows[i].text);
    }
    printf(".El\n");
}

static void print_errors(void)
{
    static const struct {
        const char *name, *text;
    } answers[] = {
#define ANSWER_ROW(symbol, name, text) {name, text},
        ANSWERS(ANSWER_ROW)
#undef ANSWER_ROW
    };
    printf(".Sh DIAGNOSTICS\nIf the daemon refuses, the error has one of these names:\n"
           ".Bl -tag -width XenUnavailable\n");
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        printf(".It %s\n", answers[i].name);
        print_summary(answers[i].text);
    }
    printf(".El\n");
}

static void print_environment(void)
{
    printf(".Sh ENVIRONMENT\n.Bl -tag -width DOMPOOL_SOCKET\n.It Ev DOMPOOL_SOCKET\n"
           "The daemon's socket, if\n.Fl -socket\nis not given.\n.El\n"
           ".Sh FILES\n.Bl -tag -width /run/dompool/io.dompool\n.It Pa /run/dompool/io.dompool\n"
           "The daemon's socket.\n.El\n");
}

static void print_examples(void)
{
    printf(".Sh EXAMPLES\n"
           "Save a running domain, make an image from the file, wait for its pool, and take a "
           "domain for five minutes:\n"
           ".Bd -literal -offset indent\n"
           "xl save web /srv/web.save\n"
           "dompool image import web /srv/web.save \\-\\-disk xvda=cow:/dev/vg/web\n"
           "dompool pool set web min=3\n"
           "dompool pool wait web \\-\\-timeout 1m\n"
           "dompool allocate web \\-\\-ttl 5m\n"
           ".Ed\n.Pp\n"
           "Use a domain in a script; the domain is released when the script ends:\n"
           ".Bd -literal -offset indent\n"
           "lease=$(dompool allocate web \\-\\-json | jq \\-r .lease)\n"
           "trap \\(aqdompool release \"$lease\"\\(aq EXIT\n"
           ".Ed\n");
}

static void print_tail(void)
{
    print_environment();
    print_status();
    print_examples();
    print_errors();
    printf(".Sh SEE ALSO\n"
           ".Xr xl 1 ,\n.Xr libdompool 3 ,\n.Xr dompool.conf 5 ,\n.Xr io.dompool 7 ,\n"
           ".Xr dompoold 8\n");
}

int document_man(void)
{
    print_head();
    print_description();
    printf(".Sh COMMANDS\n.Bl -tag -width Ds\n");
    for (size_t i = 0; i < n_commands; i++)
        print_command(&commands[i]);
    printf(".El\n");
    print_output();
    print_tail();
    return STATUS_DONE;
}
