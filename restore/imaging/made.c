/* Images that others have made: see made.h. */
#include "restore/imaging/made.h"

#include "restore/formats/domconf.h"
#include "restore/formats/records.h"
#include "restore/xen/bridge_port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What an image must be, and is. */
struct made {
    const struct import_options *options;
    const struct image *image;
    struct domconf is, must; /* of must only the disks count */
};

static int refuse(const struct made *m, const char *what, struct error *e)
{
    return error_set(e, -EPROTO,
                     "image file %s: the process that read foreign data wrote %s that nobody asked "
                     "for. The data may have been made to do harm",
                     m->options->image_path, what);
}

/* ---- disks ---- */

/* Where the disks must be: as the image says, if that has consent, or as a trusted configuration
 * does; and those that were named, as they were named. */
static int must_fill(struct made *m, const char *xl_config, size_t len, struct error *e)
{
    const struct import_options *o = m->options;
    int rc = o->trusted ? domconf_from_xl(xl_config, len, &m->must, e)
                        : domconf_from_json(image_config(m->image), &m->must, e);
    for (size_t i = 0; i < o->n_disks && !rc; i++)
        rc = domconf_set_disk(&m->must, o->disks[i].vdev, o->disks[i].spec, e);
    return rc ? rc : domconf_check_disks(&m->must, e);
}

static bool same_disk(const struct disk_conf *a, const struct disk_conf *b)
{
    if (a->devid != b->devid || a->kind != b->kind || !a->path != !b->path)
        return false;
    return a->path ? !strcmp(a->path, b->path) : a->size_bytes == b->size_bytes;
}

static bool same_disks(const struct domconf *a, const struct domconf *b)
{
    for (unsigned i = 0; i < a->n_disks && i < b->n_disks; i++)
        if (!same_disk(&a->disks[i], &b->disks[i]))
            return false;
    return a->n_disks == b->n_disks;
}

static int base_read(const char *path, struct domconf *base, struct error *e)
{
    struct image_info info;
    char *config;
    int rc = image_read_facts(path, &info, &config, e);
    if (rc)
        return rc;
    rc = domconf_from_json(config, base, e);
    free(config);
    return rc;
}

static int disks_consent(const struct made *m, struct error *e)
{
    const struct import_options *o = m->options;
    struct domconf base;
    json_t *missing = NULL;
    domconf_init(&base);
    int rc = o->base_path ? base_read(o->base_path, &base, e) : 0;
    if (!rc)
        rc = consent_disks(&o->consent, &m->is, import_names_disk, o, o->base_path ? &base : NULL,
                           &missing, e);
    domconf_dispose(&base);
    json_decref(missing);
    return rc;
}

static int disks_check(struct made *m, const char *xl_config, size_t len, struct error *e)
{
    int rc = domconf_from_json(image_config(m->image), &m->is, e);
    if (!rc)
        rc = must_fill(m, xl_config, len, e);
    if (rc == -ENOMEM)
        return rc;
    if (rc || !same_disks(&m->is, &m->must))
        return refuse(m, "disks", e);
    return m->options->trusted ? 0 : disks_consent(m, e);
}

/* ---- xl's configuration ---- */

static bool is_path_of_disk(const struct domconf *c, const char *path)
{
    bool is = !strcmp(path, IMPORT_NO_DISK);
    for (unsigned i = 0; i < c->n_disks; i++)
        is = is || (c->disks[i].path && !strcmp(c->disks[i].path, path));
    return is;
}

static bool xl_disks_fit(const struct made *m, const json_t *config)
{
    size_t i;
    json_t *disk;
    struct error e;
    json_array_foreach (json_object_get(config, "disks"), i, disk) {
        const json_t *path = json_object_get(disk, "pdev_path");
        if (domconf_xl_check_disk(disk, &e))
            return false;
        if (path && (!json_is_string(path) || !is_path_of_disk(&m->is, json_string_value(path))))
            return false;
    }
    return true;
}

static json_t *config_load(const void *text, size_t len)
{
    return json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
}

/* It says what was given, with the named disks where they were named. */
static bool is_as_given(const struct made *m, const json_t *config, const char *xl_config,
                        size_t len)
{
    json_t *given = config_load(xl_config, len);
    bool same = given != NULL;
    for (unsigned i = 0; i < m->must.n_disks && same; i++) {
        const struct disk_conf *d = &m->must.disks[i];
        if (import_names_disk(m->options, d))
            same = !import_place_disk(given, d);
    }
    same = same && json_equal(given, config);
    json_decref(given);
    return same;
}

static bool is_clean(const struct made *m, json_t *config)
{
    json_t *left_out = NULL;
    struct error e;
    int rc = consent_config(&m->options->consent, config, &left_out, &e);
    bool clean = !rc && !json_array_size(left_out);
    json_decref(left_out);
    return clean;
}

static int xl_config_check(const struct made *m, const char *xl_config, size_t len, struct error *e)
{
    struct image_record r;
    image_find_record(m->image, IMAGE_RECORD_XL_CONFIG, 0, &r);
    json_t *config = r.body ? config_load(r.body, r.length) : NULL;
    bool fits = json_is_object(config) &&
                (m->options->trusted ? is_as_given(m, config, xl_config, len)
                                     : xl_disks_fit(m, config) && is_clean(m, config));
    json_decref(config);
    return fits ? 0 : refuse(m, "a configuration for xl", e);
}

/* ---- bridges ---- */

/* Each must be there: a pool without them would fail to build, again and again. */
static int bridges_check(const struct made *m, struct error *e)
{
    struct bridge bridge;
    int rc = 0;
    for (unsigned i = 0; i < m->is.n_nics && !rc && !m->options->vif_script; i++) {
        rc = bridge_find(m->is.nics[i].bridge, &bridge, e);
        if (rc == -ENODEV)
            rc = error_set(e, ANSWER_IMAGE_REFUSED,
                           "vif %u: there is no bridge %s on this host; make it, or name another "
                           "one with --vif %u=BRIDGE",
                           m->is.nics[i].devid, m->is.nics[i].bridge, m->is.nics[i].devid);
    }
    return rc;
}

int made_check(const struct import_options *o, const char *xl_config, size_t len,
               const struct image *im, struct error *e)
{
    struct made m = {.options = o, .image = im};
    if (o->trusted && !xl_config)
        return 0;
    domconf_init(&m.is);
    domconf_init(&m.must);
    int rc = disks_check(&m, xl_config, len, e);
    if (!rc)
        rc = xl_config_check(&m, xl_config, len, e);
    if (!rc)
        rc = bridges_check(&m, e);
    domconf_dispose(&m.is);
    domconf_dispose(&m.must);
    return rc;
}
