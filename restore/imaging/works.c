/* The pieces of work of dompool-image: see works.h. */
#include "restore/imaging/works.h"

#include "base/array.h"
#include "base/text.h"
#include "base/units.h"
#include "base/uuid.h"
#include "restore/imaging/capture.h"
#include "restore/protocol/image_protocol.h"
#include "restore/protocol/protocol.h"
#include "restore/xen/host.h"
#include "restore/xen/snapshot.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int request_decode(const struct shape *shape, const json_t *request, void *out,
                          struct error *e)
{
    return shape_decode(shape, request, out, e) ? error_prefix(e, "malformed request: ") : 0;
}

static int disks_parse(json_t *map, struct import_disk *disks, size_t *n, struct error *e)
{
    const char *vdev;
    json_t *spec;
    json_object_foreach (map, vdev, spec) {
        if (*n == DOMCONF_DISKS_MAX || !json_is_string(spec))
            return error_set(e, ANSWER_BAD_VALUE, "disk %s: no string, or too many disks", vdev);
        disks[(*n)++] = (struct import_disk){vdev, json_string_value(spec)};
    }
    return 0;
}

static int vifs_parse(json_t *map, struct import_vif *vifs, size_t *n, struct error *e)
{
    const char *devid;
    json_t *bridge;
    json_object_foreach (map, devid, bridge) {
        if (*n > NIC_INDEX_MAX || !json_is_string(bridge))
            return error_set(e, ANSWER_BAD_VALUE, "vif %s: no string, or too many interfaces",
                             devid);
        vifs[(*n)++] = (struct import_vif){devid, json_string_value(bridge)};
    }
    return 0;
}

static int warnings_add(const struct works *w, json_t *result, struct error *e)
{
    if (!json_array_size(w->remarks.left_out) ||
        !json_object_set(result, "warnings", w->remarks.left_out))
        return 0;
    return error_set(e, -ENOMEM, "out of memory");
}

static int run_import(struct works *w, json_t *request, json_t **result, struct error *e)
{
    struct import_disk disks[DOMCONF_DISKS_MAX];
    struct import_vif vifs[NIC_INDEX_MAX + 1];
    struct import_options o = {
        .disks = disks, .vifs = vifs, .remarks = &w->remarks, .progress = w->progress};
    struct image_import_op m;
    int rc = request_decode(&image_import_op_shape, request, &m, e);
    if (rc)
        return rc;
    o.save_path = m.save;
    o.save_fd = m.passed ? HELPER_INPUT_FD : 0;
    o.image_path = m.image;
    o.base_path = m.base;
    o.disk_digests = m.disk_digests;
    o.vif_script = m.vif_script;
    o.consent = (struct consent){.dirs = m.dirs, .had = m.had};
    rc = disks_parse(m.disks, disks, &o.n_disks, e);
    if (!rc)
        rc = vifs_parse(m.vifs, vifs, &o.n_vifs, e);
    if (!rc)
        rc = confined_import(&w->by, &o, result, e);
    return rc ? rc : warnings_add(w, *result, e);
}

struct capture_work {
    struct capture_options options;
    struct import_disk disks[DOMCONF_DISKS_MAX];
    struct uuid uuid;
    json_t *cow; /* array of vdevs, or NULL */
    bool leased;
};

/* A lease's domain is given with its uuid. Any other domain is looked for; it must not be a
 * slot. */
static int domain_resolve(struct capture_work *r, const char *domain, struct error *e)
{
    struct host *host;
    struct host_domain *list;
    size_t n;
    uint64_t number = UINT64_MAX;
    (void)number_parse(domain, 0, UINT32_MAX, &number);
    r->options.domid = (uint32_t)number;
    if (r->leased)
        return 0;
    int rc = host_open(&host, e);
    if (rc)
        return rc;
    rc = host_list(host, &list, &n, e);
    host_close(host);
    if (rc)
        return rc;
    const struct host_domain *found = NULL;
    for (size_t i = 0; i < n && !found; i++)
        if (list[i].domid == number || !strcmp(list[i].name, domain))
            found = &list[i];
    if (!found)
        rc = error_set(e, ANSWER_NO_SUCH_DOMAIN, "no lease, domain name or domid matches %.80s",
                       domain);
    else if (found->tag[0])
        rc = error_set(e, ANSWER_DOMAIN_STATE,
                       "domain %.80s is a slot of a pool: only a lease can be captured", domain);
    if (!rc) {
        r->options.domid = found->domid;
        r->uuid = found->uuid;
    }
    free(list);
    return rc;
}

static int capture_parse(json_t *request, struct capture_work *r, struct error *e)
{
    struct image_capture_op m;
    int rc = request_decode(&image_capture_op_shape, request, &m, e);
    if (rc)
        return rc;
    if ((m.uuid && uuid_parse(m.uuid, &r->uuid)) || m.timeout_ms <= 0 || m.timeout_ms > INT_MAX)
        return error_set(e, -EPROTO, "malformed request: uuid or timeout_ms");
    r->leased = m.uuid != NULL;
    r->cow = m.cow;
    r->options.image_path = m.image;
    r->options.base_path = m.base;
    r->options.uuid = &r->uuid;
    r->options.stop = m.stop;
    r->options.disk_digests = m.disk_digests;
    r->options.suspend_timeout_ms = (unsigned)m.timeout_ms;
    r->options.disks = r->disks;
    rc = disks_parse(m.disks, r->disks, &r->options.n_disks, e);
    return rc ? rc : domain_resolve(r, m.domain, e);
}

/* Writes to a private view of a disk are discarded with the domain, but its kernel remembers
 * them. */
static int cow_check(const struct capture_work *r, struct error *e)
{
    char uuid[UUID_TEXT_SIZE];
    size_t i;
    json_t *v;
    uuid_format(&r->uuid, uuid);
    json_array_foreach (r->cow, i, v) {
        const char *vdev = json_string_value(v);
        bool written;
        int rc = vdev ? snapshot_written(uuid, vdev, &written, e)
                      : error_set(e, -EPROTO, "malformed request: cow");
        if (rc)
            return rc;
        if (written)
            return error_set(e, ANSWER_IMAGE_REFUSED,
                             "disk %s was written since the domain was allocated. The writes are "
                             "discarded with the domain, but the captured kernel would remember "
                             "them. If that does no harm, give --disk %s=cow:PATH",
                             vdev, vdev);
    }
    return 0;
}

static int run_capture(struct works *w, json_t *request, json_t **result, struct error *e)
{
    struct capture_work r = {.options = {.progress = w->progress}};
    struct confined_capture reading = {.by = &w->by};
    struct image_info info;
    r.options.import = confined_capture_import;
    r.options.import_data = &reading;
    int rc = capture_parse(request, &r, e);
    if (!rc)
        rc = capture_domain(&r.options, &info, e);
    if (rc) {
        json_decref(reading.made);
        return rc;
    }
    rc = cow_check(&r, e);
    if (rc)
        json_decref(reading.made);
    else
        *result = reading.made;
    struct stopped *stopped = &w->stopped;
    *stopped = (struct stopped){.waits = r.options.stop, .leased = r.leased};
    stopped->domid = r.options.domid;
    stopped->uuid = r.uuid;
    (void)format_fits(stopped->image, sizeof stopped->image, "%s", r.options.image_path);
    if (rc && stopped->waits)
        stopped_undo(stopped);
    else if (rc)
        unlink(r.options.image_path);
    return rc;
}

static int run_export(struct works *w, json_t *request, json_t **result, struct error *e)
{
    struct export_options o = {.progress = w->progress};
    struct image_export_op m;
    int rc = request_decode(&image_export_op_shape, request, &m, e);
    if (rc)
        return rc;
    o.image_path = m.image;
    o.base_path = m.base;
    o.save_path = m.save;
    rc = confined_export(&w->by, &o, e);
    if (rc)
        return rc;
    *result = json_object();
    return *result ? 0 : error_set(e, -ENOMEM, "out of memory");
}

static int run_verify(struct works *w, json_t *request, json_t **result, struct error *e)
{
    struct image_verify_op m;
    int rc = request_decode(&image_verify_op_shape, request, &m, e);
    return rc ? rc : confined_verify(&w->by, m.image, m.disks, w->progress, NULL, result, e);
}

static int run_diff(struct works *w, json_t *request, json_t **result, struct error *e)
{
    struct image_diff_op m;
    int rc = request_decode(&image_diff_op_shape, request, &m, e);
    if (rc)
        return rc;
    const struct confined_side sides[2] = {{m.a, m.a_base}, {m.b, m.b_base}};
    return confined_diff(&w->by, sides, w->progress, NULL, result, e);
}

static const struct work kinds[] = {
    {"import", "image", run_import}, {"capture", "image", run_capture},
    {"export", "save", run_export},  {"verify", NULL, run_verify},
    {"diff", NULL, run_diff},
};

const struct work *work_find(const json_t *request)
{
    const char *op = json_string_value(json_object_get(request, "op"));
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (op && !strcmp(kinds[i].op, op))
            return &kinds[i];
    return NULL;
}
