/* dompool image: import, list, show, rm. */
#include "cli/command.h"
#include "cli/output.h"
#include "cli/talk.h"

#include "base/util.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- import ---- */

/* The daemon has another working directory. Only the text is changed: whether the file is
 * there and may be read is for the daemon, whose rights count, to find out. */
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
static json_t *import_disks(const struct invocation *inv)
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
            complain("--disk %s: the disk's name is too long or its path cannot be made",
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

struct import_state {
    const char *name;
    json_t *image; /* once it came */
};

static void import_answer(const json_t *reply, void *data)
{
    struct import_state *s = data;
    if (has(reply, "image")) {
        s->image = json_incref(json_object_get(reply, "image"));
        return;
    }
    char done[READABLE_SIZE], total[READABLE_SIZE];
    int64_t bytes = get_int(reply, "done_bytes"), of = get_int(reply, "total_bytes");
    readable_bytes((uint64_t)bytes, done);
    readable_bytes((uint64_t)of, total);
    if (of > 0)
        progress_show("importing %s: %3.0f%%, %s of %s", s->name,
                      100.0 * (double)bytes / (double)of, done, total);
    else
        progress_show("importing %s: %s", s->name, done);
}

static void import_print(const json_t *image)
{
    char memory[READABLE_SIZE], file[READABLE_SIZE];
    out_line("imported %s: %s, %" PRId64 " vCPUs, %s of memory, %s on disk",
             get_text(image, "name"), get_text(image, "guest"), get_int(image, "vcpus"),
             readable_bytes((uint64_t)get_int(image, "memory_kib") * 1024, memory),
             readable_bytes((uint64_t)get_int(image, "file_bytes"), file));
}

int image_import(struct invocation *inv)
{
    json_t *disks = import_disks(inv);
    char *path = disks ? path_absolute(inv->args[1]) : NULL;
    if (!path) {
        json_decref(disks);
        return STATUS_LOCAL;
    }
    struct import_state state = {.name = inv->args[0]};
    json_t *parameters =
        must(json_pack("{s:s, s:s, s:o}", "name", inv->args[0], "path", path, "disks", disks));
    free(path);
    int status = talk_stream(inv, "ImageImport", parameters, import_answer, &state);
    progress_end();
    if (!status && !state.image) {
        complain("the daemon ended the import without an image");
        status = STATUS_UNREACHABLE;
    }
    json_t *reply = status ? NULL : must(json_pack("{s:O}", "image", state.image));
    if (reply && inv->json)
        out_json(reply, false);
    else if (reply)
        import_print(state.image);
    json_decref(reply);
    json_decref(state.image);
    return status;
}

/* ---- list ---- */

static void list_print(const json_t *reply)
{
    json_t *image;
    size_t i;
    struct table t;
    char memory[READABLE_SIZE], file[READABLE_SIZE], age[READABLE_SIZE];
    table_init(&t, "IMAGE GUEST >VCPUS >MEMORY >STORED >SLOTS >LEASES >AGE BASE");
    json_array_foreach (json_object_get(reply, "images"), i, image) {
        table_cell(&t, "%s", get_text(image, "name"));
        table_cell(&t, "%s", get_text(image, "guest"));
        table_cell(&t, "%" PRId64, get_int(image, "vcpus"));
        table_cell(&t, "%s", readable_bytes((uint64_t)get_int(image, "memory_kib") * 1024, memory));
        table_cell(&t, "%s", readable_bytes((uint64_t)get_int(image, "file_bytes"), file));
        table_cell(&t, "%" PRId64, get_int(image, "slots"));
        table_cell(&t, "%" PRId64, get_int(image, "leases"));
        table_cell(&t, "%s", readable_span(clock_wall_ms() - get_int(image, "created_ms"), age));
        table_cell(&t, "%s", get_text(image, "base"));
    }
    table_print(&t);
}

int image_list(struct invocation *inv)
{
    return talk_show(inv, "ImageList", NULL, list_print);
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
    out_line("memory    %s: %" PRId64 " pages, %" PRId64 " of them zero",
             readable_bytes((uint64_t)get_int(image, "memory_kib") * 1024, a),
             get_int(image, "pages"), get_int(image, "zero_pages"));
    out_line("stored    %s: %" PRId64 " pages",
             readable_bytes((uint64_t)get_int(image, "file_bytes"), b),
             get_int(image, "stored_pages"));
    out_line("created   %s ago", readable_span(clock_wall_ms() - get_int(image, "created_ms"), a));
    out_line("in use    %" PRId64 " slots, %" PRId64 " leases", get_int(image, "slots"),
             get_int(image, "leases"));
    json_array_foreach (json_object_get(image, "disks"), i, disk) {
        show_disk(disk);
    }
    show_config(json_object_get(reply, "config"));
}

int image_show(struct invocation *inv)
{
    return talk_show(inv, "ImageShow", must(json_pack("{s:s}", "name", inv->args[0])), show_print);
}

/* ---- rm ---- */

/* Goes on past a refusal, as rm(1) does, and remembers it. */
int image_rm(struct invocation *inv)
{
    int status = STATUS_DONE;
    json_t *removed = must(json_array());
    for (size_t i = 0; i < inv->n_args && status != STATUS_UNREACHABLE; i++) {
        json_t *reply;
        int one = talk(inv, "ImageRemove", must(json_pack("{s:s}", "name", inv->args[i])), &reply);
        json_decref(reply);
        if (one)
            status = one;
        else
            json_array_append_new(removed, must(json_string(inv->args[i])));
        if (!one && !inv->json)
            out_line("removed %s", inv->args[i]);
    }
    json_t *all = must(json_pack("{s:o}", "removed", removed));
    if (inv->json && status != STATUS_UNREACHABLE)
        out_json(all, false);
    json_decref(all);
    return status;
}
