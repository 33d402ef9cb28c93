/* The configuration of one disk: see disk_conf.h. */
#include "restore/formats/disk_conf.h"

#include "base/array.h"
#include "base/text.h"
#include "base/units.h"
#include "restore/formats/vdev.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const char *const disk_kinds[] = {"phy", "ro", "cow", "scratch"};

/* -1: there is no such kind. */
static int kind_index(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(disk_kinds); i++)
        if (!strcmp(disk_kinds[i], name))
            return (int)i;
    return -1;
}

const char *disk_kind_name(enum disk_kind kind)
{
    return disk_kinds[kind];
}

void disk_conf_dispose(struct disk_conf *d)
{
    free(d->path);
    free(d->cannot);
    d->path = d->cannot = NULL;
}

int disk_conf_name(struct disk_conf *d, const char *vdev, struct error *e)
{
    if (!vdev || !format_fits(d->vdev, sizeof d->vdev, "%s", vdev) ||
        vdev_to_devid(vdev, &d->devid))
        return error_set(e, ANSWER_IMAGE_REFUSED, "\"%s\" is not a disk name like xvda",
                         vdev ? vdev : "");
    return 0;
}

int disk_conf_parse(const char *vdev, const char *spec, struct disk_conf *out, struct error *e)
{
    const char *colon = strchr(spec, ':');
    char kind[16] = "";
    if (colon)
        (void)format_fits(kind, sizeof kind, "%.*s", (int)(colon - spec), spec);
    int index = kind_index(kind);
    if (index < 0)
        return error_set(e, ANSWER_BAD_VALUE,
                         "disk %s: \"%s\" is not ro:PATH, phy:PATH, cow:PATH or scratch:SIZE", vdev,
                         spec);
    out->kind = (enum disk_kind)index;
    const char *rest = colon + 1;
    if (out->kind == DISK_SCRATCH) {
        if (size_parse_bytes(rest, &out->size_bytes) || !out->size_bytes || out->size_bytes % 512)
            return error_set(e, ANSWER_BAD_VALUE,
                             "disk %s: \"%s\" is not a size (like 512M, in whole sectors)", vdev,
                             rest);
        return 0;
    }
    if (rest[0] != '/' || strlen(rest) >= PATH_MAX)
        return error_set(e, ANSWER_BAD_VALUE, "disk %s: path \"%s\" is not absolute or too long",
                         vdev, rest);
    json_t *text = json_string(rest); /* NULL when it is not UTF-8: JSON could not keep it */
    if (!text)
        return error_set(e, ANSWER_BAD_VALUE, "disk %s: path \"%s\" is not UTF-8", vdev, rest);
    json_decref(text);
    out->path = strdup(rest);
    return out->path ? 0 : error_set(e, -ENOMEM, "disk %s: out of memory", vdev);
}

/* ---- our form ---- */

/* NULL: none, or no memory. */
static json_t *fingerprint_to_json(const struct disk_fingerprint *f)
{
    if (!f->taken)
        return NULL;
    char digest[2 * sizeof f->digest + 1];
    hex_format(f->digest, sizeof f->digest, digest);
    return json_pack("{sI sI ss*}", "bytes", (json_int_t)f->bytes, "mtime_ns",
                     (json_int_t)f->mtime_ns, "digest", f->digested ? digest : NULL);
}

/* Those that are false are left out: images from before have none of them. */
static const struct flag {
    const char *key;
    size_t offset;
} flags[] = {
#define MEMBER(m) #m, offsetof(struct disk_conf, m)
    {MEMBER(is_cdrom)},   {MEMBER(removable)}, {MEMBER(direct_io_safe)},
    {MEMBER(no_discard)}, {MEMBER(untrusted)},
#undef MEMBER
};

static bool *flag_of(struct disk_conf *d, const struct flag *f)
{
    return (bool *)((char *)d + f->offset);
}

json_t *disk_conf_to_json(const struct disk_conf *d)
{
    struct disk_conf copy = *d;
    json_t *o = d->kind == DISK_SCRATCH
                    ? json_pack("{ss ss sI}", "vdev", d->vdev, "kind", disk_kind_name(d->kind),
                                "size_bytes", (json_int_t)d->size_bytes)
                    : json_pack("{ss ss ss so*}", "vdev", d->vdev, "kind", disk_kind_name(d->kind),
                                "path", d->path, "was", fingerprint_to_json(&d->was));
    for (size_t i = 0; o && i < ARRAY_SIZE(flags); i++)
        if (*flag_of(&copy, &flags[i]) && json_object_set_new(o, flags[i].key, json_true())) {
            json_decref(o);
            o = NULL;
        }
    return o;
}

/* Takes them out of o: what is left is for the strict part. */
static int flags_from_json(json_t *o, struct disk_conf *d, struct error *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        const json_t *v = json_object_get(o, flags[i].key);
        if (!v)
            continue;
        if (!json_is_boolean(v))
            return error_set(e, ANSWER_IMAGE_REFUSED, "%s is neither true nor false", flags[i].key);
        *flag_of(d, &flags[i]) = json_is_true(v);
        json_object_del(o, flags[i].key);
    }
    return 0;
}

static int fingerprint_from_json(json_t *o, struct disk_fingerprint *f, struct error *e)
{
    const char *digest = NULL;
    json_int_t bytes, mtime;
    json_error_t why;
    if (json_unpack_ex(o, &why, JSON_STRICT, "{s:I s:I s?s}", "bytes", &bytes, "mtime_ns", &mtime,
                       "digest", &digest))
        return error_set(e, ANSWER_IMAGE_REFUSED, "was: %s", why.text);
    if (bytes < 0 || (digest && hex_parse(digest, f->digest, sizeof f->digest)))
        return error_set(e, ANSWER_IMAGE_REFUSED, "was: bytes or digest malformed");
    f->taken = true;
    f->bytes = (uint64_t)bytes;
    f->mtime_ns = mtime;
    f->digested = digest != NULL;
    return 0;
}

int disk_conf_from_json(json_t *o, struct disk_conf *d, struct error *e)
{
    const char *vdev, *kind, *path = NULL;
    json_int_t size = 0;
    json_t *was = NULL;
    json_error_t why;
    int rc = flags_from_json(o, d, e);
    if (rc)
        return rc;
    if (json_unpack_ex(o, &why, JSON_STRICT, "{s:s s:s s?s s?I s?o}", "vdev", &vdev, "kind", &kind,
                       "path", &path, "size_bytes", &size, "was", &was))
        return error_set(e, ANSWER_IMAGE_REFUSED, "%s", why.text);
    int index = kind_index(kind);
    if (index < 0 || (index == DISK_SCRATCH) == (path != NULL) ||
        (index == DISK_SCRATCH) == (size <= 0) || (index == DISK_SCRATCH && was))
        return error_set(e, ANSWER_IMAGE_REFUSED, "kind \"%s\" does not fit its other keys", kind);
    d->kind = (enum disk_kind)index;
    d->size_bytes = (uint64_t)size;
    if (path && (path[0] != '/' || strlen(path) >= PATH_MAX))
        return error_set(e, ANSWER_IMAGE_REFUSED, "path is not absolute or too long");
    if (path && !(d->path = strdup(path)))
        return error_set(e, -ENOMEM, "out of memory");
    rc = was ? fingerprint_from_json(was, &d->was, e) : 0;
    return rc ? rc : disk_conf_name(d, vdev, e);
}
