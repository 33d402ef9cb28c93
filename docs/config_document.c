/*
 * The configuration's documents from its table (pool/service/config.h): the manual page
 * dompool.conf(5) and the sample file. Only the header's table is used, so what is printed here
 * is what the daemon parses.
 *
 *   config_document man      mdoc(7)
 *   config_document sample   every key, commented out, at its default
 */
#include "base/util.h"
#include "pool/service/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct key_info keys[] = {
#define KEY_ROW(sym, scope, name, type, fallback, min, max, live, description)                     \
    {SCOPE_##scope, name, KEY_TYPE_##type, fallback, min, max, live, description},
    CONFIG_KEYS(KEY_ROW)
#undef KEY_ROW
};

static const struct {
    const char *placeholder;
    bool bounded; /* by values that are worth saying */
} types[] = {
    [KEY_TYPE_TEXT] = {"text", false},    [KEY_TYPE_PATH] = {"path", false},
    [KEY_TYPE_NUMBER] = {"number", true}, [KEY_TYPE_DURATION] = {"duration", true},
    [KEY_TYPE_SIZE] = {"size", true},     [KEY_TYPE_MODE] = {"mode", true},
    [KEY_TYPE_LEVEL] = {"level", false},  [KEY_TYPE_ENGINE] = {"engine", false},
};

static void format_bound(const struct key_info *k, uint64_t bound, char *buf, size_t size)
{
    if (k->type == KEY_TYPE_DURATION)
        duration_format_ms(bound, buf, size);
    else if (k->type == KEY_TYPE_SIZE)
        size_format_bytes(bound, buf, size);
    else
        snprintf(buf, size, k->type == KEY_TYPE_MODE ? "%04" PRIo64 : "%" PRIu64, bound);
}

/* "RUN_DIR/x" stands for the value of run_dir. */
static bool default_refers(const struct key_info *k)
{
    return !strncmp(k->fallback, "RUN_DIR/", 8);
}

static void man_default(const struct key_info *k)
{
    if (default_refers(k))
        printf("The default is\n.Pa %s\n"
               "in\n.Cm run_dir .\n",
               k->fallback + 8);
    else if (!*k->fallback)
        printf("Empty by default.\n");
    else if (k->type == KEY_TYPE_PATH)
        printf("The default is\n.Pa %s .\n", k->fallback);
    else
        printf("The default is %s.\n", k->fallback);
}

static void man_key(const struct key_info *k)
{
    char low[32], high[32];
    format_bound(k, k->min, low, sizeof low);
    format_bound(k, k->max, high, sizeof high);
    printf(".It Cm %s No = Ar %s\n", k->name, types[k->type].placeholder);
    printf("%c%s.\n", k->description[0] & ~0x20, k->description + 1);
    man_default(k);
    if (types[k->type].bounded && k->type == KEY_TYPE_SIZE && k->max == INT64_MAX)
        ; /* as good as unbounded */
    else if (types[k->type].bounded)
        printf("The range is %s to %s.\n", low, high);
    if (!k->live)
        printf("A change needs a restart.\n");
}

static void man_section(enum key_scope scope)
{
    printf(".Bl -tag -width Ds\n");
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        if (keys[i].scope == scope)
            man_key(&keys[i]);
    printf(".El\n");
}

static const char man_head[] =
    ".\\\" Made from the table in pool/service/config.h by docs/config_document.c: edit those.\n"
    ".Dd " DOMPOOL_DATE "\n"
    ".Dt DOMPOOL.CONF 5\n"
    ".Os dompool " DOMPOOL_VERSION "\n"
    ".Sh NAME\n"
    ".Nm dompool.conf\n"
    ".Nd configuration of the pool manager of Xen domains\n"
    ".Sh DESCRIPTION\n"
    ".Xr dompoold 8\n"
    "reads\n"
    ".Pa " CONFIG_PATH "\n"
    "when it starts, and again on SIGHUP.\n"
    "The file has sections.\n"
    "Each section has lines of the form\n"
    ".Dq key = value .\n"
    "A line that starts with\n"
    ".Sq #\n"
    "or\n"
    ".Sq \\&;\n"
    "is a comment.\n"
    "A comment cannot follow a value on its line: it would be part of the value.\n"
    ".Pp\n"
    "The daemon reports all mistakes at once, each with file and line.\n"
    "An unknown key is a mistake, and so is a key that is given twice in a section.\n"
    "A file with a mistake keeps the daemon from starting.\n"
    "When such a file is read again, it changes nothing.\n"
    ".Pp\n"
    "The sections are:\n"
    ".Bl -tag -width Ds\n"
    ".It Bq daemon\n"
    "The daemon itself.\n"
    ".It Bq pool\n"
    "The pools of all images.\n"
    ".It Bq image Ar name\n"
    "The pool of one image; the keys are those of\n"
    ".Bq pool .\n"
    ".El\n"
    ".Pp\n"
    "A key gets its value from the first of these that gives one:\n"
    ".Ql dompool pool set ,\n"
    "the command line of\n"
    ".Xr dompoold 8 ,\n"
    "the environment,\n"
    ".Bq image Ar name ,\n"
    ".Bq pool\n"
    "or\n"
    ".Bq daemon ,\n"
    "the default.\n"
    ".Ql dompool config show\n"
    "prints every key with its value and its origin.\n"
    ".Pp\n"
    "A\n"
    ".Ar duration\n"
    "is written like 500ms, 10s, 5m or 2h.\n"
    "A\n"
    ".Ar size\n"
    "is written like 512M or 2G; the units are powers of 1024.\n"
    "A\n"
    ".Ar path\n"
    "is absolute.\n";

static const char man_tail[] = ".Sh FILES\n"
                               ".Bl -tag -width Ds\n"
                               ".It Pa " CONFIG_PATH "\n"
                               "The configuration file, if neither\n"
                               ".Fl -config\n"
                               "nor\n"
                               ".Ev DOMPOOL_CONFIG\n"
                               "names another.\n"
                               "The file is optional.\n"
                               ".El\n"
                               ".Sh EXAMPLES\n"
                               "Keep three domains of web warm, and one of every other image:\n"
                               ".Bd -literal -offset indent\n"
                               "[daemon]\n"
                               "memory_reserve = 1G\n"
                               "\n"
                               "[pool]\n"
                               "min = 1\n"
                               "ttl = 2h\n"
                               "\n"
                               "[image web]\n"
                               "min = 3\n"
                               "max = 10\n"
                               ".Ed\n"
                               ".Sh SEE ALSO\n"
                               ".Xr dompool 1 ,\n"
                               ".Xr dompoold 8\n";

static int document_man(void)
{
    fputs(man_head, stdout);
    printf(".Ss [daemon]\n");
    man_section(SCOPE_DAEMON);
    printf(".Ss [pool] and [image name]\n");
    man_section(SCOPE_POOL);
    fputs(man_tail, stdout);
    return 0;
}

static void sample_section(const char *name, enum key_scope scope)
{
    printf("\n[%s]\n", name);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        if (keys[i].scope != scope)
            continue;
        printf("\n# %s%s\n", keys[i].description, keys[i].live ? "" : " (needs a restart)");
        printf("#%s =%s%s\n", keys[i].name, *keys[i].fallback ? " " : "",
               default_refers(&keys[i]) ? "/run/dompool/io.dompool" : keys[i].fallback);
    }
}

static int document_sample(void)
{
    printf(
        "# Configuration of dompoold(8): see dompool.conf(5). Every key is listed, commented out,\n"
        "# with its default.\n");
    sample_section("daemon", SCOPE_DAEMON);
    sample_section("pool", SCOPE_POOL);
    printf("\n# One image's pool; any key of [pool].\n"
           "#[image web]\n#min = 3\n#max = 10\n");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "man"))
        return document_man();
    if (argc == 2 && !strcmp(argv[1], "sample"))
        return document_sample();
    fprintf(stderr, "usage: config_document man|sample\n");
    return 64;
}
