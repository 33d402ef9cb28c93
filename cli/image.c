/* dompool image: import, capture, list, show, diff, verify, export, rm. */
#include "cli/command.h"
#include "cli/grid.h"
#include "cli/members.h"
#include "cli/output.h"
#include "cli/talk.h"

#include "base/clock.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *must_text(char *text)
{
    if (!text)
        out_of_memory();
    return text;
}

/* ---- import ---- */

/* The daemon has another working directory. Only the text is changed: whether a disk is there and
 * may be read is for the daemon, whose rights count, to find out. */
static char *path_absolute(const char *path)
{
    char *here = *path == '/' ? strdup("") : getcwd(NULL, 0);
    if (!here) {
        complain("the working directory is gone: give an absolute path for %s", path);
        return NULL;
    }
    char *absolute = format_new("%s%s%s", here, *here ? "/" : "", path);
    free(here);
    if (!absolute)
        out_of_memory();
    return absolute;
}

/* "cow:disk.img" -> "cow:/here/disk.img"; sizes and unknown kinds stay as they are. */
static char *spec_absolute(const char *spec)
{
    const char *path = strchr(spec, ':');
    if (!path || !path[1] || !strncmp(spec, "scratch:", 8))
        return strdup(spec);
    char *absolute = path_absolute(path + 1);
    char *out = absolute ? format_new("%.*s:%s", (int)(path - spec), spec, absolute) : NULL;
    free(absolute);
    return out;
}

/* NULL: said why. */
static json_t *parse_disks(const struct invocation *inv)
{
    json_t *disks = must(json_object());
    for (size_t i = 0; i < inv->n_values; i++) {
        const struct option_value *value = &inv->values[i];
        if (strcmp(value->spec->name, "disk"))
            continue;
        size_t len = pair_key_length(value->text);
        char vdev[32];
        char *spec = spec_absolute(value->text + len + 1);
        if (!spec || !format_fits(vdev, sizeof vdev, "%.*s", (int)len, value->text)) {
            complain("--disk %s: the disk's name is too long, or its path cannot be made absolute",
                     value->text);
            free(spec);
            json_decref(disks);
            return NULL;
        }
        json_object_set_new(disks, vdev, must(json_string(spec)));
        free(spec);
    }
    return disks;
}

/* A call that takes its time: its progress on the terminal, its last reply kept. */
struct long_call {
    const char *doing, *name; /* "importing", "web" */
    int fd;                   /* passed with it; -1: none */
    json_t *reply;
};

static void long_answer(const json_t *reply, void *data)
{
    struct long_call *c = data;
    json_decref(c->reply);
    c->reply = json_incref((json_t *)(uintptr_t)reply);
    if (!has(reply, "done_bytes"))
        return;
    char done[READABLE_SIZE], total[READABLE_SIZE];
    int64_t bytes = get_int(reply, "done_bytes"), of = get_int(reply, "total_bytes");
    readable_bytes((uint64_t)bytes, done);
    readable_bytes((uint64_t)of, total);
    if (of > 0)
        progress_show("%s %s: %3.0f%%, %s of %s", c->doing, c->name,
                      100.0 * (double)bytes / (double)of, done, total);
    else
        progress_show("%s %s: %s", c->doing, c->name, done);
}

/* A word as a shell reads it back. */
static char *shell_word(const char *text)
{
    char *word = must_text(malloc(4 * strlen(text) + 3)), *to = word;
    if (text[strspn(text,
                    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=:/.,@+")])
        *to++ = '\'';
    for (const char *at = text; *at; at++)
        if (*at == '\'')
            to = stpcpy(to, "'\\''");
        else
            *to++ = *at;
    if (*word == '\'')
        *to++ = '\'';
    *to = '\0';
    return word;
}

/* The options that the same command needs, for who has looked at the disks. */
static void say_disks(const json_t *refusal, void *data)
{
    const char *vdev;
    json_t *spec;
    char *options = must_text(strdup(""));
    (void)data;
    json_object_foreach (json_object_get(refusal, "disks"), vdev, spec) {
        char *pair = must_text(format_new("%s=%s", vdev, json_string_value(spec)));
        char *word = shell_word(pair), *before = options;
        options = must_text(format_new("%s --disk %s", before, word));
        free(before);
        free(word);
        free(pair);
    }
    if (*options)
        complain("if the guest may have the disks, repeat the command and add%s", options);
    free(options);
}

/* Runs it to its end. *reply is NULL unless the status is STATUS_DONE; result: a key that the last
 * reply must have, NULL: none. */
static int long_call_passing(struct invocation *inv, json_t *parameters, int fd, const char *doing,
                             const char *result, json_t **reply)
{
    struct long_call c = {.doing = doing, .name = inv->args[0], .fd = fd};
    const struct listener listener = {long_answer, say_disks, &c};
    int status = talk_stream(inv, inv->command->method, parameters, c.fd, &listener);
    progress_end();
    if (!status && (!c.reply || (result && !has(c.reply, result)))) {
        complain("the daemon ended the call without a result; its log says more (journalctl -u "
                 "dompool)");
        status = STATUS_UNREACHABLE;
    }
    if (status) {
        json_decref(c.reply);
        c.reply = NULL;
    }
    *reply = c.reply;
    return status;
}

static int long_call(struct invocation *inv, json_t *parameters, const char *doing,
                     const char *result, json_t **reply)
{
    return long_call_passing(inv, parameters, -1, doing, result, reply);
}

/* Of a derived image what it costs is its delta. */
static void made_print(const char *done, const json_t *reply)
{
    const json_t *image = json_object_get(reply, "image");
    char memory[READABLE_SIZE], file[READABLE_SIZE], delta[64] = "";
    json_t *warning;
    size_t i;
    if (has(image, "base"))
        (void)format_fits(delta, sizeof delta, ", %" PRId64 " pages differ from its base",
                          get_int(image, "delta_pages"));
    out_line("%s %s: %s, %" PRId64 " vCPUs, %s of memory%s, %s on disk", done,
             get_text(image, "name"), get_text(image, "guest"), get_int(image, "vcpus"),
             readable_bytes((uint64_t)get_int(image, "memory_kib") * 1024, memory), delta,
             readable_bytes((uint64_t)get_int(image, "file_bytes"), file));
    json_array_foreach (json_object_get(reply, "warnings"), i, warning) {
        complain("warning: %s", json_string_value(warning));
    }
}

static void flag_pass(const struct invocation *inv, const char *option, json_t *parameters,
                      const char *key)
{
    if (option_given(inv, option))
        json_object_set_new(parameters, key, json_true());
}

/* The bridges of --vif by number; NULL: none is given. */
static json_t *parse_vifs(const struct invocation *inv)
{
    json_t *vifs = must(json_object());
    for (size_t i = 0; i < inv->n_values; i++) {
        const struct option_value *value = &inv->values[i];
        if (strcmp(value->spec->name, "vif"))
            continue;
        size_t len = pair_key_length(value->text);
        char number[32]; /* one that is cut is none, and the daemon says so */
        (void)format_fits(number, sizeof number, "%.*s", (int)len, value->text);
        json_object_set_new(vifs, number, must(json_string(value->text + len + 1)));
    }
    if (json_object_size(vifs))
        return vifs;
    json_decref(vifs);
    return NULL;
}

/* What import and capture share. NULL: said why. */
static json_t *make_parameters(const struct invocation *inv)
{
    json_t *disks = parse_disks(inv);
    if (!disks)
        return NULL;
    const char *base = option_text(inv, "base");
    json_t *parameters = must(json_pack("{s:s, s:o, s:o*, s:s*}", "name", inv->args[0], "disks",
                                        disks, "vifs", parse_vifs(inv), "base", base));
    flag_pass(inv, "replace", parameters, "replace");
    flag_pass(inv, "disk-digests", parameters, "disk_digests");
    return parameters;
}

static void made_json(const json_t *reply)
{
    json_t *warnings = json_object_get(reply, "warnings");
    json_t *made = must(json_pack("{s:O, s:o}", "image", json_object_get(reply, "image"),
                                  "warnings", warnings ? json_incref(warnings) : json_array()));
    out_json(made, false);
    json_decref(made);
}

/* fd: as in struct long_call. */
static int make_run(struct invocation *inv, json_t *parameters, int fd, const char *doing,
                    const char *done)
{
    json_t *reply;
    int status = long_call_passing(inv, parameters, fd, doing, "image", &reply);
    if (reply && inv->json)
        made_json(reply);
    else if (reply)
        made_print(done, reply);
    json_decref(reply);
    return status;
}

/* Opened here and passed on: so it may be a pipe, and nobody has the daemon read what the caller
 * cannot. -1: said why. */
static int save_file_open(const char *path)
{
    struct stat st;
    bool input = !strcmp(path, "-");
    if (input && isatty(STDIN_FILENO)) {
        complain("standard input is a terminal, and no save file");
        return -1;
    }
    int fd = input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    int code = fd < 0 || fstat(fd, &st) ? errno : S_ISDIR(st.st_mode) ? EISDIR : 0;
    if (!code)
        return fd;
    complain("open save file %s: %s", path, strerror(code));
    if (!input && fd >= 0)
        close(fd);
    return -1;
}

/* What the daemon is to call it. NULL: said why. */
static char *save_file_name(const char *path)
{
    return strcmp(path, "-") ? path_absolute(path) : must_text(strdup("standard input"));
}

int run_image_import(struct invocation *inv)
{
    json_t *parameters = make_parameters(inv);
    char *path = parameters ? save_file_name(inv->args[1]) : NULL;
    int fd = path ? save_file_open(inv->args[1]) : -1;
    if (fd < 0) {
        json_decref(parameters);
        free(path);
        return STATUS_LOCAL;
    }
    json_object_set_new(parameters, "path", must(json_string(path)));
    free(path);
    int status = make_run(inv, parameters, fd, "importing", "imported");
    if (fd != STDIN_FILENO)
        close(fd);
    return status;
}

int run_image_capture(struct invocation *inv)
{
    json_t *parameters = make_parameters(inv);
    if (!parameters)
        return STATUS_LOCAL;
    json_object_set_new(parameters, "domain", must(json_string(inv->args[1])));
    flag_pass(inv, "stop", parameters, "stop");
    if (option_given(inv, "timeout"))
        json_object_set_new(parameters, "timeout_ms",
                            must(json_integer((json_int_t)option_last(inv, "timeout")->ms)));
    return make_run(inv, parameters, -1, "capturing", "captured");
}

/* ---- verify, rm ---- */

/* Calls the command's method for each name. Goes on past a refusal, as rm(1) does, and remembers
 * it. done: "removed", said of each and the key of their list. */
static int each_named(struct invocation *inv, const char *done)
{
    int status = STATUS_DONE;
    json_t *names = must(json_array());
    for (size_t i = 0; i < inv->n_args && status != STATUS_UNREACHABLE; i++) {
        json_t *reply, *parameters = must(json_pack("{s:s}", "name", inv->args[i]));
        int one = talk(inv, inv->command->method, parameters, &reply);
        json_decref(reply);
        if (one)
            status = one;
        else
            json_array_append_new(names, must(json_string(inv->args[i])));
        if (!one && !inv->json)
            out_line("%s %s", done, inv->args[i]);
    }
    json_t *all = must(json_pack("{s:o}", done, names));
    if (inv->json && status != STATUS_UNREACHABLE)
        out_json(all, false);
    json_decref(all);
    return status;
}

int run_image_verify(struct invocation *inv)
{
    return each_named(inv, "verified");
}

int run_image_rm(struct invocation *inv)
{
    return each_named(inv, "removed");
}

/* ---- adopt ---- */

int run_image_adopt(struct invocation *inv)
{
    json_t *reply,
        *parameters = must(json_pack("{s:s, s:s}", "file", inv->args[0], "name", inv->args[1]));
    int status = long_call(inv, parameters, "checking", "image", &reply);
    if (!status && inv->json)
        out_json(reply, false);
    else if (!status)
        made_print("adopted", reply);
    json_decref(reply);
    return status;
}

/* ---- export ---- */

int run_image_export(struct invocation *inv)
{
    char *path = path_absolute(inv->args[1]);
    if (!path)
        return STATUS_LOCAL;
    json_t *reply, *parameters = must(json_pack("{s:s, s:s}", "name", inv->args[0], "path", path));
    int status = long_call(inv, parameters, "exporting", NULL, &reply);
    json_decref(reply);
    json_t *done = must(json_pack("{s:s, s:s}", "image", inv->args[0], "path", path));
    if (!status && inv->json)
        out_json(done, false);
    else if (!status)
        out_line("exported %s to %s", inv->args[0], path);
    json_decref(done);
    free(path);
    return status;
}

/* ---- diff ---- */

static void diff_print(const json_t *d)
{
    char pages[READABLE_SIZE], bytes[READABLE_SIZE];
    json_t *v, *tables = json_object_get(d, "tables");
    size_t i;
    out_line("pages     %" PRId64 " (%s); %s of their bytes differ; %" PRId64 " are zero now",
             get_int(d, "pages"), readable_bytes((uint64_t)get_int(d, "pages") * 4096, pages),
             readable_bytes((uint64_t)get_int(d, "bytes"), bytes), get_int(d, "to_zero"));
    out_line("tables    %" JSON_INTEGER_FORMAT " L1, %" JSON_INTEGER_FORMAT
             " L2, %" JSON_INTEGER_FORMAT " L3, %" JSON_INTEGER_FORMAT " L4; %" PRId64
             " pages have another type",
             json_integer_value(json_array_get(tables, 0)),
             json_integer_value(json_array_get(tables, 1)),
             json_integer_value(json_array_get(tables, 2)),
             json_integer_value(json_array_get(tables, 3)), get_int(d, "type_changes"));
    if (get_int(d, "added") || get_int(d, "removed"))
        out_line("populated %" PRId64 " pages added, %" PRId64 " removed", get_int(d, "added"),
                 get_int(d, "removed"));
    out_line("left out  %" PRId64 " pages of the toolstack", get_int(d, "toolstack_pages"));
    json_array_foreach (json_object_get(d, "records"), i, v) {
        out_line("record    %s", json_string_value(v));
    }
}

int run_image_diff(struct invocation *inv)
{
    json_t *reply;
    int status = long_call(inv, must(json_pack("{s:s, s:s}", "a", inv->args[0], "b", inv->args[1])),
                           "comparing", "difference", &reply);
    if (reply && inv->json)
        out_json(reply, false);
    else if (reply)
        diff_print(json_object_get(reply, "difference"));
    json_decref(reply);
    return status;
}

/* ---- list ---- */

static void list_print(const json_t *reply)
{
    json_t *image;
    size_t i;
    struct grid g;
    char memory[READABLE_SIZE], file[READABLE_SIZE], age[READABLE_SIZE];
    grid_init(&g, "IMAGE GUEST >VCPUS >MEMORY >STORED >SLOTS >LEASES >AGE BASE");
    json_array_foreach (json_object_get(reply, "images"), i, image) {
        grid_cell(&g, "%s", get_text(image, "name"));
        grid_cell(&g, "%s", get_text(image, "guest"));
        grid_cell(&g, "%" PRId64, get_int(image, "vcpus"));
        grid_cell(&g, "%s", readable_bytes((uint64_t)get_int(image, "memory_kib") * 1024, memory));
        grid_cell(&g, "%s", readable_bytes((uint64_t)get_int(image, "file_bytes"), file));
        grid_cell(&g, "%" PRId64, get_int(image, "slots"));
        grid_cell(&g, "%" PRId64, get_int(image, "leases"));
        grid_cell(&g, "%s", readable_span(clock_wall_ms() - get_int(image, "created_ms"), age));
        grid_cell(&g, "%s", get_text(image, "base"));
    }
    grid_print(&g);
}

int run_image_list(struct invocation *inv)
{
    return talk_show(inv, NULL, list_print);
}

/* ---- show ---- */

static void show_disk(const json_t *disk)
{
    char size[READABLE_SIZE];
    bool sized = has(disk, "size_bytes");
    out_line("disk      %s %s%s%s%s%s", get_text(disk, "vdev"), get_text(disk, "kind"),
             has(disk, "path") ? " " : "", get_text(disk, "path"), sized ? " " : "",
             sized ? readable_bytes((uint64_t)get_int(disk, "size_bytes"), size) : "");
}

static void show_config(const json_t *config)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)config, key, value) {
        if (json_is_object(value) || json_is_array(value))
            continue; /* the disks are above; the rest is for --json */
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        if (!text)
            out_of_memory();
        out_line("config    %s = %s", key, text);
        free(text);
    }
}

/* A class of pages that is not stored. */
static void show_saving(const char *class, int64_t pages)
{
    char saved[READABLE_SIZE];
    if (pages)
        out_line("saved     %s: %" PRId64 " %s pages",
                 readable_bytes((uint64_t)pages * 4096, saved), pages, class);
}

/* A base has zeros where the guest declared pages free, and counts them among its zero pages. */
static void show_savings(const json_t *image)
{
    int64_t free_pages = get_int(image, "free_pages"), zero = get_int(image, "zero_pages");
    show_saving("zero", has(image, "base") ? zero : zero - free_pages);
    show_saving("repeated", get_int(image, "repeated_pages"));
    show_saving("free", free_pages);
}

static void show_print(const json_t *reply)
{
    const json_t *image = json_object_get(reply, "image");
    char a[READABLE_SIZE], b[READABLE_SIZE];
    json_t *disk;
    size_t i;
    out_line("image     %s", get_text(image, "name"));
    out_line("id        %s", get_text(image, "id"));
    if (has(image, "base"))
        out_line("base      %s", get_text(image, "base"));
    out_line("guest     %s, %" PRId64 " vCPUs", get_text(image, "guest"), get_int(image, "vcpus"));
    out_line("memory    %s: %" PRId64 " pages",
             readable_bytes((uint64_t)get_int(image, "memory_kib") * 1024, a),
             get_int(image, "pages"));
    if (has(image, "base"))
        out_line("delta     %" PRId64 " pages differ from the base", get_int(image, "delta_pages"));
    out_line("stored    %s: %" PRId64 " pages",
             readable_bytes((uint64_t)get_int(image, "file_bytes"), b),
             get_int(image, "stored_pages"));
    out_line("file      %s", get_text(image, "file"));
    show_savings(image);
    out_line("created   %s ago", readable_span(clock_wall_ms() - get_int(image, "created_ms"), a));
    out_line("in use    %" PRId64 " slots, %" PRId64 " leases", get_int(image, "slots"),
             get_int(image, "leases"));
    json_array_foreach (json_object_get(image, "disks"), i, disk) {
        show_disk(disk);
    }
    show_config(json_object_get(reply, "config"));
}

int run_image_show(struct invocation *inv)
{
    return talk_show(inv, must(json_pack("{s:s}", "name", inv->args[0])), show_print);
}
