/* Reading rows: see db.h. */
#include "base/text.h"
#include "store/db_query.h"
#include "store/db_schema.h"
#include "store/image_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool row_image(sqlite3_stmt *s, void *out)
{
    struct image_row *r = out;
    bool ok = column_text(s, 0, r->name, sizeof r->name) &&
              column_text(s, 1, r->file, sizeof r->file) && column_uuid(s, 2, &r->id) &&
              column_uuid(s, 3, &r->base) && name_valid(r->name) &&
              image_name_of(r->file) == IMAGE_NAME_WHOLE;
    r->created_ms = sqlite3_column_int64(s, 4);
    r->removing = sqlite3_column_int(s, 5) != 0;
    return ok;
}

static bool row_discard(sqlite3_stmt *s, void *out)
{
    struct discard_row *r = out;
    return column_text(s, 0, r->file, sizeof r->file) && image_name_of(r->file) == IMAGE_NAME_WHOLE;
}

static bool row_slot(sqlite3_stmt *s, void *out)
{
    struct slot_row *r = out;
    r->id = (uint64_t)sqlite3_column_int64(s, 0);
    bool ok = column_uuid(s, 1, &r->uuid) && column_text(s, 2, r->image, sizeof r->image) &&
              column_text(s, 3, r->state, sizeof r->state) &&
              column_text(s, 4, r->engine, sizeof r->engine) &&
              column_text(s, 6, r->name, sizeof r->name) &&
              column_text(s, 8, r->reason, sizeof r->reason);
    r->domid = sqlite3_column_type(s, 5) == SQLITE_NULL ? DB_NO_DOMID : sqlite3_column_int64(s, 5);
    r->since_ms = sqlite3_column_int64(s, 7);
    return ok;
}

static bool row_lease(sqlite3_stmt *s, void *out)
{
    struct lease_row *r = out;
    r->id = (uint64_t)sqlite3_column_int64(s, 0);
    r->slot = (uint64_t)sqlite3_column_int64(s, 1); /* NULL reads as 0 */
    bool ok =
        column_text(s, 2, r->image, sizeof r->image) && column_text(s, 4, r->name, sizeof r->name);
    r->owner_uid = (uint32_t)sqlite3_column_int64(s, 3);
    r->created_ms = sqlite3_column_int64(s, 5);
    r->expires_ms = sqlite3_column_int64(s, 6);
    r->hold = sqlite3_column_int(s, 7) != 0;
    r->paused = sqlite3_column_int(s, 8) != 0;
    const char *meta = (const char *)sqlite3_column_text(s, 9);
    r->meta = meta ? strdup(meta) : NULL;
    return ok && (!meta || r->meta);
}

static bool row_setting(sqlite3_stmt *s, void *out)
{
    struct setting_row *r = out;
    return column_text(s, 0, r->image, sizeof r->image) &&
           column_text(s, 1, r->key, sizeof r->key) && column_text(s, 2, r->value, sizeof r->value);
}

/* Room for one more, zeroed; the array doubles, or reading ten thousand would move it as often. NULL:
 * no memory. */
static void *row_add(void **rows, size_t *n, size_t size)
{
    bool full = !(*n & (*n - 1)); /* 0, or a power of two: that many there is room for */
    void *bigger = full ? realloc(*rows, (*n ? 2 * *n : 1) * size) : *rows;
    if (!bigger)
        return NULL;
    *rows = bigger;
    char *at = (char *)bigger + *n * size;
    memset(at, 0, size);
    (*n)++;
    return at;
}

/* Reads all rows of a statement into an array that grows; *rows and *n are valid after errors. */
static int load_all(struct db *db, enum statement which, size_t size,
                    bool (*row)(sqlite3_stmt *s, void *out), void **rows, size_t *n,
                    struct error *e)
{
    struct query q = query_begin(db, which);
    enum step step;
    int rc = 0;
    while (!rc && (step = query_step(&q)) != STEP_DONE) {
        void *at = step == STEP_ROW ? row_add(rows, n, size) : NULL;
        if (step == STEP_ERROR)
            rc = db_error(db->handle, e, statement_sql[which]);
        else if (!at)
            rc = error_set(e, -ENOMEM, "database: out of memory for its rows");
        else if (!row(q.s, at))
            rc = error_set(
                e, -EUCLEAN,
                "database: a row is malformed: restore the database from a backup (query: %s)",
                statement_sql[which]);
    }
    query_end(&q);
    return rc;
}

static int counter_get(struct db *db, const char *name, uint64_t *next, struct error *e)
{
    struct query q = query_begin(db, ST_COUNTER_GET);
    query_text(&q, name);
    enum step step = query_step(&q);
    int rc = 0;
    if (step == STEP_ROW)
        *next = (uint64_t)sqlite3_column_int64(q.s, 0);
    else
        rc = step == STEP_ERROR
                 ? db_error(db->handle, e, "read a counter")
                 : error_set(e, -EUCLEAN,
                             "database: counter %s is missing: restore the database from a backup",
                             name);
    query_end(&q);
    return rc;
}

int db_load(struct db *db, struct db_rows *out, struct error *e)
{
    bool found;
    *out = (struct db_rows){0};
    void *images = NULL, *discards = NULL, *slots = NULL, *leases = NULL, *settings = NULL;
    int rc = load_all(db, ST_IMAGE_ALL, sizeof *out->images, row_image, &images, &out->n_images, e);
    if (!rc)
        rc = load_all(db, ST_DISCARD_ALL, sizeof *out->discards, row_discard, &discards,
                      &out->n_discards, e);
    if (!rc)
        rc = load_all(db, ST_SLOT_ALL, sizeof *out->slots, row_slot, &slots, &out->n_slots, e);
    if (!rc)
        rc = load_all(db, ST_LEASE_ALL, sizeof *out->leases, row_lease, &leases, &out->n_leases, e);
    if (!rc)
        rc = load_all(db, ST_SETTING_ALL, sizeof *out->settings, row_setting, &settings,
                      &out->n_settings, e);
    out->images = images;
    out->discards = discards;
    out->slots = slots;
    out->leases = leases;
    out->settings = settings;
    if (!rc)
        rc = counter_get(db, "slot", &out->next_slot, e);
    if (!rc)
        rc = counter_get(db, "lease", &out->next_lease, e);
    return rc ? rc : fact_get(db, "tag", out->tag, sizeof out->tag, &found, e);
}

void db_rows_dispose(struct db_rows *rows)
{
    for (size_t i = 0; i < rows->n_leases; i++)
        free(rows->leases[i].meta);
    free(rows->images);
    free(rows->discards);
    free(rows->slots);
    free(rows->leases);
    free(rows->settings);
    *rows = (struct db_rows){0};
}

/* Its columns stand behind those of row_lease. */
bool row_lease_past(sqlite3_stmt *s, struct lease_row *r)
{
    bool ok = row_lease(s, r) && column_text(s, 11, r->end_reason, sizeof r->end_reason);
    r->ended_ms = sqlite3_column_int64(s, 10);
    const char *trace = (const char *)sqlite3_column_text(s, 12);
    if (!ok || !trace)
        return ok;
    if (sqlite3_column_bytes(s, 12) >= DB_TRACE_SIZE)
        return false;
    r->trace = strdup(trace);
    return r->trace != NULL;
}
