/* Reading rows: see db.h. */
#include "base/text.h"
#include "store/db_query.h"
#include "store/db_schema.h"
#include "store/image_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ID_MAX (INT64_MAX / 2)       /* numbers of slots and leases */
#define MS_MAX (INT64_MAX / 1000000) /* times: 292 years, and still one in nanoseconds */
#define DOMID_MAX 0x7fef             /* above are reserved ones: xen/include/public/xen.h */
#define META_BYTES_MAX (1 << 20)     /* more than any message of a client has */

/* Of slots and leases, in a column that is never NULL: below the counter, which db_load checks. */
static bool column_id(sqlite3_stmt *s, int column, uint64_t *out)
{
    int64_t id;
    bool ok = column_int(s, column, 1, ID_MAX, &id) && id;
    *out = (uint64_t)id;
    return ok;
}

static bool column_ms(sqlite3_stmt *s, int column, int64_t *out)
{
    return column_int(s, column, 0, MS_MAX, out);
}

static bool column_flag(sqlite3_stmt *s, int column, bool *out)
{
    int64_t flag;
    bool ok = column_int(s, column, 0, 1, &flag);
    *out = flag != 0;
    return ok;
}

static bool row_image(sqlite3_stmt *s, void *out)
{
    struct image_row *r = out;
    return column_text(s, 0, r->name, sizeof r->name) &&
           column_text(s, 1, r->file, sizeof r->file) && column_uuid(s, 2, &r->id) &&
           column_uuid(s, 3, &r->base) && name_valid(r->name) &&
           image_name_of(r->file) == IMAGE_NAME_WHOLE && column_ms(s, 4, &r->created_ms) &&
           column_flag(s, 5, &r->removing);
}

static bool row_discard(sqlite3_stmt *s, void *out)
{
    struct discard_row *r = out;
    return column_text(s, 0, r->file, sizeof r->file) && image_name_of(r->file) == IMAGE_NAME_WHOLE;
}

static bool column_macs(sqlite3_stmt *s, int column, struct macs *out)
{
    char text[MACS_TEXT_SIZE];
    return column_text(s, column, text, sizeof text) && !macs_parse(text, out);
}

static bool row_slot(sqlite3_stmt *s, void *out)
{
    struct slot_row *r = out;
    bool ok = column_id(s, 0, &r->id) && column_uuid(s, 1, &r->uuid) && !uuid_is_none(&r->uuid) &&
              column_text(s, 2, r->image, sizeof r->image) &&
              column_text(s, 3, r->state, sizeof r->state) &&
              column_text(s, 4, r->engine, sizeof r->engine) &&
              column_int(s, 5, 0, DOMID_MAX, &r->domid) &&
              column_text(s, 6, r->name, sizeof r->name) && column_ms(s, 7, &r->since_ms) &&
              column_text(s, 8, r->reason, sizeof r->reason) && column_macs(s, 9, &r->macs);
    if (sqlite3_column_type(s, 5) == SQLITE_NULL)
        r->domid = DB_NO_DOMID;
    return ok;
}

/* A text of at most so many bytes, which the caller frees; NULL: none. False: it is no such text,
 * or there is no memory. */
static bool column_text_new(sqlite3_stmt *s, int column, int max, char **out)
{
    int type = sqlite3_column_type(s, column);
    *out = NULL;
    if (type == SQLITE_NULL)
        return true;
    const char *text = type == SQLITE_TEXT ? (const char *)sqlite3_column_text(s, column) : NULL;
    if (text && sqlite3_column_bytes(s, column) <= max)
        *out = strdup(text);
    return *out != NULL;
}

static bool row_lease(sqlite3_stmt *s, void *out)
{
    struct lease_row *r = out;
    int64_t slot, owner_uid;
    bool ok = column_id(s, 0, &r->id) && column_int(s, 1, 1, ID_MAX, &slot) &&
              column_text(s, 2, r->image, sizeof r->image) &&
              column_int(s, 3, 0, UINT32_MAX, &owner_uid) &&
              column_text(s, 4, r->name, sizeof r->name) && column_ms(s, 5, &r->created_ms) &&
              column_ms(s, 6, &r->expires_ms) && column_flag(s, 7, &r->hold) &&
              column_flag(s, 8, &r->paused) && column_text_new(s, 9, META_BYTES_MAX, &r->meta);
    if (!ok)
        return false;
    r->slot = (uint64_t)slot;
    r->owner_uid = (uint32_t)owner_uid;
    return true;
}

static bool row_setting(sqlite3_stmt *s, void *out)
{
    struct setting_row *r = out;
    return column_text(s, 0, r->image, sizeof r->image) &&
           column_text(s, 1, r->key, sizeof r->key) && column_text(s, 2, r->value, sizeof r->value);
}

/* Room for one more, zeroed; the array doubles, or reading ten thousand would move it as often.
 * NULL: no memory. */
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

/* used: the highest number in use. */
static int counter_get(struct db *db, const char *name, uint64_t used, uint64_t *next,
                       struct error *e)
{
    struct query q = query_begin(db, ST_COUNTER_GET);
    query_text(&q, name);
    enum step step = query_step(&q);
    int rc = 0;
    if (step == STEP_ERROR)
        rc = db_error(db->handle, e, "read a counter");
    else if (step == STEP_DONE || !column_id(q.s, 0, next) || *next <= used)
        rc = error_set(e, -EUCLEAN,
                       "database: counter %s is missing, or not above the numbers in use: restore "
                       "the database from a backup",
                       name);
    query_end(&q);
    return rc;
}

/* As db_open makes it. An empty one would be that of every domain that is not ours. */
static int tag_get(struct db *db, char tag[DB_TAG_SIZE], struct error *e)
{
    bool found;
    uint8_t number[4];
    int rc = fact_get(db, "tag", tag, DB_TAG_SIZE, &found, e);
    if (!rc && (!found || strncmp(tag, "dp-", 3) != 0 || hex_parse(tag + 3, number, sizeof number)))
        rc =
            error_set(e, -EUCLEAN,
                      "database: the fact tag is missing or malformed: restore the database from a "
                      "backup");
    return rc;
}

int db_load(struct db *db, struct db_rows *out, struct error *e)
{
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
    /* Rows come in the order of their numbers. */
    if (!rc)
        rc = counter_get(db, "slot", out->n_slots ? out->slots[out->n_slots - 1].id : 0,
                         &out->next_slot, e);
    if (!rc)
        rc = counter_get(db, "lease", out->n_leases ? out->leases[out->n_leases - 1].id : 0,
                         &out->next_lease, e);
    return rc ? rc : tag_get(db, out->tag, e);
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
    return row_lease(s, r) && column_ms(s, 10, &r->ended_ms) &&
           column_text(s, 11, r->end_reason, sizeof r->end_reason) &&
           column_text_new(s, 12, DB_TRACE_SIZE - 1, &r->trace);
}
