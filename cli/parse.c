/* The parser: argv against the command table. See command.h for the rules. */
#include "cli/command.h"

#include "base/text.h"
#include "base/units.h"

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- looking up ---- */

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < n_commands; i++)
        if (!strcmp(commands[i].name, name))
            return &commands[i];
    return NULL;
}

bool command_group(const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i < n_commands; i++)
        if (!strncmp(commands[i].name, word, len) && commands[i].name[len] == ' ')
            return true;
    return false;
}

static const struct option_spec *option_in(const struct option_spec *list, const char *name,
                                           size_t len)
{
    for (; list && list->name; list++)
        if (strlen(list->name) == len && !memcmp(list->name, name, len))
            return list;
    return NULL;
}

static const struct option_spec *option_of(const struct command *command, const char *name,
                                           size_t len)
{
    const struct option_spec *found = option_in(common_options, name, len);
    return found || !command ? found : option_in(command->options, name, len);
}

/* In any command: enough to know whether a value follows. */
static const struct option_spec *option_anywhere(const char *name, size_t len)
{
    const struct option_spec *found = option_in(common_options, name, len);
    for (size_t i = 0; !found && i < n_commands; i++)
        found = option_in(commands[i].options, name, len);
    return found;
}

const struct option_value *option_last(const struct invocation *inv, const char *name)
{
    assert(option_of(inv->command, name, strlen(name)));
    for (size_t i = inv->n_values; i-- > 0;)
        if (!strcmp(inv->values[i].spec->name, name))
            return &inv->values[i];
    return NULL;
}

bool option_given(const struct invocation *inv, const char *name)
{
    return option_last(inv, name) != NULL;
}

const char *option_text(const struct invocation *inv, const char *name)
{
    const struct option_value *value = option_last(inv, name);
    return value ? value->text : NULL;
}

size_t pair_key_length(const char *text)
{
    size_t len = strcspn(text, "=");
    return text[len] ? len : 0;
}

/* ---- splitting argv into words and options ---- */

static bool text_is_utf8(const char *text)
{
    json_t *string = json_string(text);
    bool ok = string != NULL;
    json_decref(string);
    return ok;
}

/* argv[*i] starts with a dash. Takes its value, too. */
static int split_option(int argc, char **argv, int *i, struct invocation *inv, struct error *e)
{
    const char *word = argv[*i];
    if (!strcmp(word, "-h"))
        word = "--help";
    size_t len = strncmp(word, "--", 2) ? 0 : strcspn(word + 2, "=");
    const struct option_spec *spec = len ? option_anywhere(word + 2, len) : NULL;
    if (!spec)
        return error_set(e, STATUS_USAGE, "unknown option %s", word);
    const char *text = word[2 + len] ? word + 2 + len + 1 : NULL;
    if (spec->kind == OPTION_FLAG && text)
        return error_set(e, STATUS_USAGE, "option --%s takes no value", spec->name);
    if (spec->kind != OPTION_FLAG && !text) {
        if (*i + 1 >= argc)
            return error_set(e, STATUS_USAGE, "option --%s needs a value: --%s %s", spec->name,
                             spec->name, spec->value);
        text = argv[++*i];
    }
    inv->values[inv->n_values++] = (struct option_value){.spec = spec, .text = text};
    return STATUS_DONE;
}

static int split(int argc, char **argv, struct invocation *inv, struct error *e)
{
    bool words_only = false;
    for (int i = 0; i < argc; i++) {
        if (!text_is_utf8(argv[i]))
            return error_set(e, STATUS_USAGE, "argument %d is not UTF-8 text", i + 1);
        if (!words_only && !strcmp(argv[i], "--")) {
            words_only = true;
        } else if (!words_only && argv[i][0] == '-' && argv[i][1]) {
            int status = split_option(argc, argv, &i, inv, e);
            if (status)
                return status;
        } else {
            inv->args[inv->n_args++] = argv[i];
        }
    }
    return STATUS_DONE;
}

/* ---- what the words and the values mean ---- */

/* The first one or two words name the command; they leave the list. */
static int find_command(struct invocation *inv, struct error *e)
{
    size_t used = 0;
    char name[64];
    if (inv->n_args >= 2 && format_fits(name, sizeof name, "%s %s", inv->args[0], inv->args[1])) {
        inv->command = command_find(name);
        used = 2;
    }
    if (inv->n_args >= 1 && !inv->command) {
        inv->command = command_find(inv->args[0]);
        used = 1;
    }
    if (inv->command) {
        inv->n_args -= used;
        memmove(inv->args, inv->args + used, inv->n_args * sizeof *inv->args);
        return STATUS_DONE;
    }
    if (!inv->n_args)
        return error_set(e, STATUS_USAGE, "no command given");
    if (!command_group(inv->args[0]))
        return error_set(e, STATUS_USAGE, "unknown command %s", inv->args[0]);
    if (inv->n_args == 1)
        return error_set(e, STATUS_USAGE, "%s is a group of commands: `dompool help %s` lists them",
                         inv->args[0], inv->args[0]);
    return error_set(e, STATUS_USAGE, "unknown command %s %s", inv->args[0], inv->args[1]);
}

static int check_pair(const struct invocation *inv, size_t at, struct error *e)
{
    const struct option_value *value = &inv->values[at];
    size_t len = pair_key_length(value->text);
    if (!len)
        return error_set(e, STATUS_USAGE, "--%s %s: not of the form %s", value->spec->name,
                         value->text, value->spec->value);
    for (size_t i = 0; i < at; i++)
        if (!strcmp(inv->values[i].spec->name, value->spec->name) &&
            !strncmp(inv->values[i].text, value->text, len + 1))
            return error_set(e, STATUS_USAGE, "--%s: %.*s is given twice", value->spec->name,
                             (int)len, value->text);
    return STATUS_DONE;
}

static int check_option(struct invocation *inv, size_t at, struct error *e)
{
    struct option_value *value = &inv->values[at];
    const char *name = value->spec->name;
    const struct option_spec *own = option_of(inv->command, name, strlen(name));
    if (!own)
        return error_set(e, STATUS_USAGE, "%s has no option --%s", inv->command->name, name);
    value->spec = own;
    if (own->kind == OPTION_DURATION && duration_parse_ms(value->text, &value->ms))
        return error_set(e, STATUS_USAGE, "--%s %s: not a duration like 500ms, 10s, 5m or 2h", name,
                         value->text);
    if (own->kind == OPTION_PAIR)
        return check_pair(inv, at, e);
    if (own->kind == OPTION_TEXT && !*value->text)
        return error_set(e, STATUS_USAGE, "--%s: the value is empty", name);
    return STATUS_DONE;
}

static int check_words(const struct invocation *inv, struct error *e)
{
    const struct command *c = inv->command;
    if (inv->n_args < c->min_args)
        return error_set(e, STATUS_USAGE, "%s: %s missing", c->name,
                         inv->n_args ? "an argument is" : "arguments are");
    if (inv->n_args > c->max_args)
        return error_set(e, STATUS_USAGE, "%s: one argument too many: %s", c->name,
                         inv->args[c->max_args]);
    for (size_t i = 0; i < inv->n_args; i++)
        if (!*inv->args[i])
            return error_set(e, STATUS_USAGE, "%s: argument %zu is empty", c->name, i + 1);
    return STATUS_DONE;
}

int invocation_parse(int argc, char **argv, struct invocation *inv, struct error *e)
{
    size_t room = (size_t)argc + 1;
    *inv = (struct invocation){.args = calloc(room, sizeof *inv->args),
                               .values = calloc(room, sizeof *inv->values)};
    if (!inv->args || !inv->values)
        return error_set(e, STATUS_LOCAL, "out of memory");
    int status = split(argc, argv, inv, e);
    if (status)
        return status;
    bool asks = option_given(inv, "help") || option_given(inv, "version");
    inv->json = option_given(inv, "json");
    status = find_command(inv, e);
    if (asks && (inv->command || !inv->n_args || command_group(inv->args[0]))) {
        error_clear(e);
        return STATUS_DONE;
    }
    if (status)
        return status;
    for (size_t i = 0; !status && i < inv->n_values; i++)
        status = check_option(inv, i, e);
    return status ? status : check_words(inv, e);
}

void invocation_dispose(struct invocation *inv)
{
    free(inv->args);
    free(inv->values);
    *inv = (struct invocation){0};
}
