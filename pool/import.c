/*
 * Imports: see import.h.
 *
 * The image's row is written only when the file is whole and durable. Whatever ends an import
 * early (the helper, the client, the daemon's stop) leaves no file: the helper is dead before it is
 * looked for.
 */
#include "pool/import.h"

#include "base/log.h"
#include "base/util.h"
#include "pool/api.h"
#include "pool/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PROGRESS_US 100000 /* between two progress replies */

struct import {
    struct list node;
    struct core *core;
    struct call *call; /* NULL: answered or gone */
    struct helper *helper;
    char name[DB_NAME_SIZE], file[64], path[400];
    uint64_t told_us;
    struct image_row row;
    struct image_facts facts;
    bool done; /* the file is whole and its row is being committed */
};

static void import_free(struct import *im)
{
    list_remove(&im->node);
    json_decref(im->facts.config);
    free(im);
}

static void import_refuse(struct import *im, int code, const char *text)
{
    struct call *call = im->call;
    im->call = NULL;
    log_warning("import of image %s: %s", im->name, text);
    if (call)
        call_refuse(call, code, text);
}

static void import_progress(struct import *im, const json_t *message)
{
    uint64_t now = core_now_us(im->core);
    if (!im->call || now - im->told_us < PROGRESS_US)
        return;
    im->told_us = now;
    json_int_t done = json_integer_value(json_object_get(message, "done"));
    json_int_t total = json_integer_value(json_object_get(message, "total"));
    call_progress(im->call, json_pack("{s:I, s:I}", "done_bytes", done, "total_bytes", total));
}

static bool read_number(const json_t *info, const char *key, uint64_t *out)
{
    const json_t *v = json_object_get(info, key);
    *out = (uint64_t)json_integer_value(v);
    return json_is_integer(v) && json_integer_value(v) >= 0;
}

/* The import's result. False: it is not what slot_protocol.h says. */
static bool read_facts(const json_t *info, struct image_facts *f)
{
    uint64_t vcpus, created;
    const char *id = json_string_value(json_object_get(info, "id"));
    const char *guest = json_string_value(json_object_get(info, "guest"));
    json_t *config = json_object_get(info, "config");
    if (!id || uuid_parse(id, f->info.id) || !guest || !json_is_object(config) ||
        !read_number(info, "vcpus", &vcpus) || !read_number(info, "max_pfn", &f->info.max_pfn) ||
        !read_number(info, "pages", &f->info.pages) ||
        !read_number(info, "zero_pages", &f->info.zero_pages) ||
        !read_number(info, "payload_pages", &f->info.payload_pages) ||
        !read_number(info, "file_bytes", &f->info.file_bytes) ||
        !read_number(info, "created_ms", &created))
        return false;
    f->info.guest = !strcmp(guest, "pv") ? IMAGE_GUEST_PV : IMAGE_GUEST_PVH;
    f->info.vcpus = (unsigned)vcpus;
    f->info.created_ms = (int64_t)created;
    f->config = json_incref(config);
    return true;
}

/* Helper and row are done with: the file stays if it has become an image's. */
static void import_end(struct import *im)
{
    struct world *w = im->core->world;
    const struct pool *p = pool_find(im->core, im->name);
    if (!p || strcmp(p->row.file, im->file) != 0)
        w->ops->image_discard(w, im->path);
    import_free(im);
}

/* The row is committed, or not; the helper may still be about to exit. */
static void import_recorded(void *owner, int rc, const struct error *e)
{
    struct import *im = owner;
    struct core *core = im->core;
    struct pool *p = rc ? NULL : pool_new(core, &im->row, &im->facts);
    im->done = false;
    if (p) {
        log_info("image %s imported: %llu pages, %llu of them stored", im->name,
                 (unsigned long long)p->facts.info.pages,
                 (unsigned long long)p->facts.info.payload_pages);
        struct call *call = im->call;
        im->call = NULL;
        if (call)
            call_reply(call, json_pack("{s:o}", "image", api_image(p)));
        core_kick(core);
    } else {
        import_refuse(im, rc ? rc : -ENOMEM, rc ? e->text : "out of memory");
    }
    if (!im->helper)
        import_end(im);
}

static void import_imported(struct import *im, const json_t *message)
{
    struct core *core = im->core;
    if (!im->call || im->done)
        return;
    if (!read_facts(json_object_get(message, "info"), &im->facts)) {
        import_refuse(im, ANSWER_INTERNAL, "the import helper's report is malformed");
        core->world->ops->helper_kill(im->helper);
        return;
    }
    format_fits(im->row.name, sizeof im->row.name, "%s", im->name);
    format_fits(im->row.file, sizeof im->row.file, "%s", im->file);
    memcpy(im->row.id, im->facts.info.id, sizeof im->row.id);
    im->row.created_ms = im->facts.info.created_ms;
    struct rows *r = rows_new(core);
    rows_image(r, &im->row);
    im->done = rows_commit(core, r, import_recorded, im);
    if (!im->done)
        import_refuse(im, -ENOMEM, "out of memory");
}

static void import_failed(struct import *im, const json_t *message)
{
    const char *answer = json_string_value(json_object_get(message, "answer"));
    const char *text = json_string_value(json_object_get(message, "error"));
    int code = answer ? answer_by_name(answer) : ANSWER_INTERNAL;
    import_refuse(im, code ? code : ANSWER_INTERNAL, text ? text : "the import failed");
}

static void import_message(struct helper *h, void *owner, const json_t *message)
{
    struct import *im = owner;
    const char *event = json_string_value(json_object_get(message, "event"));
    if (event && !strcmp(event, "progress"))
        import_progress(im, message);
    else if (event && !strcmp(event, "imported"))
        import_imported(im, message);
    else if (event && !strcmp(event, "failed"))
        import_failed(im, message);
    else {
        import_refuse(im, ANSWER_INTERNAL, "the import helper sent no message of the protocol");
        im->core->world->ops->helper_kill(h);
    }
}

static void import_ended(struct helper *h, void *owner, const char *how)
{
    struct import *im = owner;
    char text[160];
    (void)h;
    im->helper = NULL;
    if (im->done)
        return; /* import_recorded goes on */
    format_fits(text, sizeof text, "the import helper %s", how);
    if (im->call)
        import_refuse(im, ANSWER_INTERNAL, text);
    import_end(im);
}

static const struct helper_events import_events = {import_message, import_ended};

/* Once the file is whole the image stays, whether or not anybody is told. */
static void import_cancelled(struct call *call)
{
    struct import *im = call->owner;
    im->call = NULL;
    if (im->done)
        return;
    log_info("import of image %s: the client is gone", im->name);
    im->core->world->ops->helper_kill(im->helper);
}

static int import_check(struct core *core, const char *name, const char *path, struct error *e)
{
    int rc = core_ready(core, e);
    if (rc)
        return rc;
    if (!name_valid(name))
        return error_set(e, ANSWER_BAD_VALUE,
                         "image name \"%.80s\": 1 to 63 letters, digits, '.', '_' or '-', first a "
                         "letter or digit",
                         name);
    if (path[0] != '/')
        return error_set(e, ANSWER_BAD_VALUE, "path \"%.200s\" must be absolute", path);
    if (pool_find(core, name))
        return error_set(e, ANSWER_IMAGE_EXISTS, "an image called %s exists already", name);
    list_each (node, &core->imports) {
        const struct import *im = container_of(node, struct import, node);
        /* One that was answered has failed and only waits for its helper's end. */
        if ((im->call || im->done) && !strcmp(im->name, name))
            return error_set(e, ANSWER_IMAGE_EXISTS, "an image called %s is being imported", name);
    }
    return 0;
}

static int import_run(struct import *im, const char *path, const json_t *disks, struct error *e)
{
    struct world *w = im->core->world;
    json_t *message = json_pack("{s:s, s:s, s:s, s:O*}", "op", "import", "save", path, "image",
                                im->path, "disks", disks);
    if (!message)
        return error_set(e, -ENOMEM, "out of memory");
    int rc = w->ops->helper_start(w, HELPER_IMPORT, &import_events, im, &im->helper, e);
    if (!rc)
        w->ops->helper_send(im->helper, message);
    json_decref(message);
    return rc;
}

const struct answered *import_start(struct core *core, struct call *call, const char *name,
                                    const char *path, const json_t *disks)
{
    struct error e;
    uint8_t random[16];
    char uuid[UUID_TEXT_SIZE];
    if (import_check(core, name, path, &e))
        return call_refuse(call, e.code, e.text);
    struct import *im = calloc(1, sizeof *im);
    if (!im)
        return call_refuse(call, -ENOMEM, "out of memory");
    im->core = core;
    list_init(&im->node);
    uuid_random(random);
    uuid_format(random, uuid);
    format_fits(im->name, sizeof im->name, "%s", name);
    format_fits(im->file, sizeof im->file, "%s.img", uuid);
    format_fits(im->path, sizeof im->path, "%s/%s", core->images_dir, im->file);
    if (import_run(im, path, disks, &e)) {
        import_free(im);
        return call_refuse(call, e.code, e.text);
    }
    im->call = call;
    list_append(&core->imports, &im->node);
    return call_defer(call, import_cancelled, im);
}

void imports_stop(struct core *core)
{
    list_each (node, &core->imports) {
        struct import *im = container_of(node, struct import, node);
        if (im->done)
            continue;
        import_refuse(im, ANSWER_STOPPING, "the daemon is shutting down");
        core->world->ops->helper_kill(im->helper);
    }
}

void imports_free(struct core *core)
{
    list_each (node, &core->imports)
        import_free(container_of(node, struct import, node));
}
