/* dompool config show, call, help. */
#include "cli/command.h"
#include "cli/grid.h"
#include "cli/help.h"
#include "cli/members.h"
#include "cli/output.h"
#include "cli/talk.h"

#include "base/io.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- config show ---- */

static void config_print(const json_t *reply)
{
    struct grid g;
    json_t *setting;
    size_t i;
    grid_init(&g, "SECTION KEY VALUE ORIGIN");
    json_array_foreach (json_object_get(reply, "settings"), i, setting) {
        grid_cell(&g, "%s", get_text(setting, "section"));
        grid_cell(&g, "%s", get_text(setting, "key"));
        grid_cell(&g, "%s", get_text(setting, "value"));
        grid_cell(&g, "%s", get_text(setting, "origin"));
    }
    grid_print(&g);
}

int run_config_show(struct invocation *inv)
{
    return talk_show(inv, NULL, config_print);
}

/* ---- call ---- */

#define CALL_INPUT_LIMIT (16u << 20)

/* The parameters; NULL with the reason said. "-" reads them from standard input. */
static json_t *call_parameters(const struct invocation *inv)
{
    if (inv->n_args < 2)
        return must(json_object());
    struct error e = {0};
    char *input = NULL;
    const char *text = inv->args[1];
    if (!strcmp(text, "-")) {
        if (read_file("/dev/stdin", CALL_INPUT_LIMIT, &input, NULL, &e)) {
            complain("call: %s", e.text);
            return NULL;
        }
        text = input;
    }
    json_error_t why;
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    if (!object)
        complain("call: the parameters are not JSON: %s (line %d, column %d)", why.text, why.line,
                 why.column);
    else if (!json_is_object(object))
        complain("call: the parameters are not a JSON object, like {\"name\": \"web\"}");
    free(input);
    if (json_is_object(object))
        return object;
    json_decref(object);
    return NULL;
}

static void call_each(const json_t *reply, void *data)
{
    const struct invocation *inv = data;
    out_json(reply, !inv->json);
    /* A reader of a stream wants each object when it comes; one that went away ends it. */
    int status = out_finish();
    if (status)
        exit(status);
}

int run_call(struct invocation *inv)
{
    json_t *parameters = call_parameters(inv);
    if (!parameters)
        return STATUS_USAGE;
    const struct listener listener = {call_each, NULL, inv};
    if (option_given(inv, "more"))
        return talk_stream(inv, inv->args[0], parameters, -1, &listener);
    json_t *reply;
    int status = talk(inv, inv->args[0], parameters, &reply);
    if (!status)
        out_json(reply, !inv->json);
    json_decref(reply);
    return status;
}

/* ---- help ---- */

int run_help(struct invocation *inv)
{
    if (!inv->n_args)
        return help_list(NULL);
    char name[128];
    if (!format_fits(name, sizeof name, inv->n_args > 1 ? "%s %s" : "%s", inv->args[0],
                     inv->n_args > 1 ? inv->args[1] : ""))
        name[0] = '\0';
    const struct command *command = command_find(name);
    if (command)
        return help_command(command);
    if (inv->n_args == 1 && command_group(name))
        return help_list(name);
    complain("help: unknown command %s", name);
    return STATUS_USAGE;
}
