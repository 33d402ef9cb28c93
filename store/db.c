/*
 * The database: see db.h.
 *
 * Every statement stands in one table below and is prepared once. A step has three
 * outcomes (row, done, error): reading an error as "no more rows" would make a failing disk
 * look like an empty pool.
 */
#include "store/db.h"

#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "base/uuid.h"
#include "store/db_schema.h"
#include "store/image_name.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Pages in the log from which such a moment is used to empty it: 32, 4 and 1 MiB. */
static const int log_limits[] = {[DB_BUSY] = 8192, [DB_QUIET] = 1024, [DB_REST] = 256};
#define BUSY_MS 2000   /* somebody reads with sqlite3(1) */
#define LOG_AGAIN 1024 /* pages more, before it is tried again after it could not be emptied */
#define LOG_FILE_KEPT "4194304" /* bytes of the file that stay when the log begins anew */

/* X(name, SQL) */
#define STATEMENTS(X)                                                                              \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                    \
    X(COMMIT, "COMMIT")                                                                            \
    X(ROLLBACK, "ROLLBACK")                                                                        \
    X(FACT_GET, "SELECT value FROM fact WHERE name = ?1")                                          \
    X(FACT_PUT, "INSERT INTO fact VALUES(?1, ?2) "                                                 \
                "ON CONFLICT(name) DO UPDATE SET value = excluded.value")                          \
    X(COUNTER_GET, "SELECT next FROM counter WHERE name = ?1")                                     \
    X(COUNTER_RAISE, "UPDATE counter SET next = max(next, ?2 + 1) WHERE name = ?1")                \
    X(BOOT_LEASES, "UPDATE lease SET ended_ms = ?1, end_reason = 'the host was rebooted' "         \
                   "WHERE ended_ms IS NULL "                                                       \
                   "AND slot IN (SELECT id FROM slot WHERE boot != ?2)")                           \
    X(BOOT_SLOTS, "DELETE FROM slot WHERE boot != ?1")                                             \
    X(LIVE_LEASES, "UPDATE lease SET ended_ms = ?1, end_reason = 'its end was not recorded' "      \
                   "WHERE ended_ms IS NULL")                                                       \
    X(LIVE_SLOTS, "DELETE FROM slot")                                                              \
    X(IMAGE_ALL, "SELECT name, file, id, base, created_ms, removing FROM image ORDER BY name")     \
    X(IMAGE_PUT, "INSERT INTO image VALUES(?1, ?2, ?3, ?4, ?5, ?6) "                               \
                 "ON CONFLICT(name) DO UPDATE SET file = excluded.file, id = excluded.id, "        \
                 "base = excluded.base, created_ms = excluded.created_ms, "                        \
                 "removing = excluded.removing")                                                   \
    X(IMAGE_DELETE, "DELETE FROM image WHERE name = ?1")                                           \
    X(DISCARD_ALL, "SELECT file FROM discard")                                                     \
    X(DISCARD_PUT, "INSERT OR IGNORE INTO discard VALUES(?1)")                                     \
    X(DISCARD_CLEAR, "DELETE FROM discard")                                                        \
    X(SLOT_ALL, "SELECT id, uuid, image, state, engine, domid, name, since_ms, reason "            \
                "FROM slot ORDER BY id")                                                           \
    X(SLOT_PUT, "INSERT INTO slot VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) "                \
                "ON CONFLICT(id) DO UPDATE SET state = excluded.state, engine = excluded.engine, " \
                "domid = excluded.domid, name = excluded.name, since_ms = excluded.since_ms, "     \
                "reason = excluded.reason")                                                        \
    X(SLOT_DELETE, "DELETE FROM slot WHERE id = ?1")                                               \
    X(LEASE_ALL, "SELECT id, slot, image, owner_uid, name, created_ms, expires_ms, hold, paused, " \
                 "meta FROM lease WHERE ended_ms IS NULL ORDER BY id")                             \
    X(LEASE_BY_ID, "SELECT id, slot, image, owner_uid, name, created_ms, expires_ms, hold, "       \
                   "paused, NULL, ended_ms, end_reason, trace FROM lease WHERE id = ?1")           \
    X(LEASE_BY_NAME, "SELECT id, slot, image, owner_uid, name, created_ms, expires_ms, hold, "     \
                     "paused, NULL, ended_ms, end_reason, trace FROM lease "                       \
                     "WHERE name = ?1 AND ended_ms IS NOT NULL ORDER BY id DESC LIMIT 1")          \
    X(LEASE_PUT, "INSERT INTO lease "                                                              \
                 "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) "                 \
                 "ON CONFLICT(id) DO UPDATE SET slot = excluded.slot, name = excluded.name, "      \
                 "expires_ms = excluded.expires_ms, ended_ms = excluded.ended_ms, "                \
                 "end_reason = excluded.end_reason, "                                              \
                 "trace = coalesce(excluded.trace, lease.trace)")                                  \
    X(LEASE_PRUNE, "DELETE FROM lease WHERE ended_ms IS NOT NULL AND id < ?1")                     \
    X(SETTING_ALL, "SELECT image, key, value FROM setting")                                        \
    X(SETTING_PUT, "INSERT INTO setting VALUES(?1, ?2, ?3) "                                       \
                   "ON CONFLICT(image, key) DO UPDATE SET value = excluded.value")                 \
    X(SETTING_DELETE, "DELETE FROM setting WHERE image = ?1 AND key = ?2")

enum statement {
#define STATEMENT_ENUM(name, sql) ST_##name,
    STATEMENTS(STATEMENT_ENUM)
#undef STATEMENT_ENUM
        ST_COUNT
};

static const char *const statement_sql[] = {
#define STATEMENT_SQL(name, sql) [ST_##name] = (sql),
    STATEMENTS(STATEMENT_SQL)
#undef STATEMENT_SQL
};

struct db {
    sqlite3 *handle;
    sqlite3_stmt *statements[ST_COUNT];
    char boot_id[48];
    int log_pages; /* in the log since it was emptied */
    int log_again; /* what could not be emptied is left until it has so many */
};

/* ---- one statement ---- */

enum step { STEP_ERROR, STEP_DONE, STEP_ROW };

/* A statement being bound: the first failing bind is kept. */
struct query {
    struct db *db;
    sqlite3_stmt *s;
    int at, rc;
};

static struct query query_begin(struct db *db, enum statement which)
{
    return (struct query){.db = db, .s = db->statements[which], .rc = SQLITE_OK};
}

static void query_int(struct query *q, int64_t value)
{
    if (q->rc == SQLITE_OK)
        q->rc = sqlite3_bind_int64(q->s, ++q->at, value);
}

static void query_text(struct query *q, const char *text)
{
    if (q->rc == SQLITE_OK)
        q->rc = sqlite3_bind_text(q->s, ++q->at, text, -1, SQLITE_TRANSIENT);
}

static void query_null(struct query *q)
{
    if (q->rc == SQLITE_OK)
        q->rc = sqlite3_bind_null(q->s, ++q->at);
}

static void query_text_or_null(struct query *q, const char *text)
{
    if (text)
        query_text(q, text);
    else
        query_null(q);
}

static void query_uuid(struct query *q, const uint8_t uuid[16])
{
    char text[UUID_TEXT_SIZE];
    uuid_format(uuid, text);
    query_text(q, text);
}

static enum step query_step(struct query *q)
{
    if (q->rc != SQLITE_OK)
        return STEP_ERROR;
    int rc = sqlite3_step(q->s);
    if (rc == SQLITE_ROW)
        return STEP_ROW;
    return rc == SQLITE_DONE ? STEP_DONE : STEP_ERROR;
}

static void query_end(struct query *q)
{
    sqlite3_reset(q->s);
    sqlite3_clear_bindings(q->s);
}

/* Runs a statement that gives no row. */
static int query_run(struct query *q, struct error *e)
{
    enum step step = query_step(q);
    int rc = 0;
    if (step == STEP_ERROR)
        rc = db_error(q->db->handle, e, sqlite3_sql(q->s));
    else if (step == STEP_ROW)
        rc = error_set(e, -EPROTO, "database: %s: gave a row where none was expected",
                       sqlite3_sql(q->s));
    query_end(q);
    return rc;
}

static int run(struct db *db, enum statement which, struct error *e)
{
    struct query q = query_begin(db, which);
    return query_run(&q, e);
}

/* Copies a text column; false when it is longer than the buffer. NULL reads as "". */
static bool column_text(sqlite3_stmt *s, int column, char *buf, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(s, column);
    return format_fits(buf, size, "%s", text ? text : "");
}

static bool column_uuid(sqlite3_stmt *s, int column, uint8_t uuid[16])
{
    const char *text = (const char *)sqlite3_column_text(s, column);
    memset(uuid, 0, 16);
    return !text || !uuid_parse(text, uuid);
}

/* ---- transactions ---- */

/* A rollback that failed has left its transaction open. */
static int transaction_clear(struct db *db, struct error *e)
{
    return sqlite3_get_autocommit(db->handle) ? 0 : run(db, ST_ROLLBACK, e);
}

static int transaction_begin(struct db *db, struct error *e)
{
    int rc = transaction_clear(db, e);
    return rc ? rc : run(db, ST_BEGIN, e);
}

static int transaction_end(struct db *db, int rc, struct error *e)
{
    if (!rc)
        rc = run(db, ST_COMMIT, e);
    if (rc && !sqlite3_get_autocommit(db->handle)) {
        struct error second;
        if (run(db, ST_ROLLBACK, &second))
            log_error("%s", second.text);
    }
    return rc;
}

/* ---- opening ---- */

static int wal_grew(void *data, sqlite3 *handle, const char *name, int pages)
{
    (void)handle;
    (void)name;
    ((struct db *)data)->log_pages = pages;
    return SQLITE_OK;
}

static int db_configure(struct db *db, struct error *e)
{
    static const char *const pragmas[] = {
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = NORMAL",
        "PRAGMA foreign_keys = ON",
        "PRAGMA trusted_schema = OFF",
        ("PRAGMA journal_size_limit = " LOG_FILE_KEPT),
    };
    sqlite3_extended_result_codes(db->handle, 1);
    sqlite3_busy_timeout(db->handle, BUSY_MS);
    for (size_t i = 0; i < ARRAY_SIZE(pragmas); i++)
        if (sqlite3_exec(db->handle, pragmas[i], NULL, NULL, NULL) != SQLITE_OK)
            return db_error(db->handle, e, pragmas[i]);
    /* Replaces SQLite's own checkpointing, which would sync inside a commit. */
    sqlite3_wal_hook(db->handle, wal_grew, db);
    return 0;
}

static int db_prepare(struct db *db, struct error *e)
{
    for (size_t i = 0; i < ST_COUNT; i++)
        if (sqlite3_prepare_v3(db->handle, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &db->statements[i], NULL) != SQLITE_OK)
            return db_error(db->handle, e, statement_sql[i]);
    return 0;
}

/* 0 and *found; value is only written when found. */
static int fact_get(struct db *db, const char *name, char *value, size_t size, bool *found,
                    struct error *e)
{
    struct query q = query_begin(db, ST_FACT_GET);
    query_text(&q, name);
    enum step step = query_step(&q);
    int rc = 0;
    *found = step == STEP_ROW;
    if (step == STEP_ERROR)
        rc = db_error(db->handle, e, "read a fact");
    else if (*found && !column_text(q.s, 0, value, size))
        rc = error_set(
            e, -EUCLEAN,
            "database: the value of fact %s is too long: restore the database from a backup", name);
    query_end(&q);
    return rc;
}

static int fact_put(struct db *db, const char *name, const char *value, struct error *e)
{
    struct query q = query_begin(db, ST_FACT_PUT);
    query_text(&q, name);
    query_text(&q, value);
    return query_run(&q, e);
}

/* The tag marks the domains of this state directory, so that daemons can run side by side. */
static int tag_make(struct db *db, struct error *e)
{
    char tag[DB_TAG_SIZE];
    bool found;
    int rc = fact_get(db, "tag", tag, sizeof tag, &found, e);
    if (rc || found)
        return rc;
    uint8_t random[16];
    uuid_random(random);
    format_fits(tag, sizeof tag, "dp-%02x%02x%02x%02x", random[0], random[1], random[2], random[3]);
    return fact_put(db, "tag", tag, e);
}

static int boot_close_older(struct db *db, struct error *e)
{
    struct query leases = query_begin(db, ST_BOOT_LEASES);
    query_int(&leases, clock_wall_ms());
    query_text(&leases, db->boot_id);
    int rc = query_run(&leases, e);
    if (rc)
        return rc;
    int ended = sqlite3_changes(db->handle);
    struct query slots = query_begin(db, ST_BOOT_SLOTS);
    query_text(&slots, db->boot_id);
    rc = query_run(&slots, e);
    if (!rc && (ended || sqlite3_changes(db->handle)))
        log_info("the host was rebooted: %d leases and %d slots are closed", ended,
                 sqlite3_changes(db->handle));
    return rc;
}

/* SQLite syncs the log when the first frame is written into an empty one, even with
 * synchronous = NORMAL. Writing something here keeps that sync away from the allocate path. It must
 * be something new each time: what is there already is not written. */
static int log_begin(struct db *db, struct error *e)
{
    uint8_t random[16];
    char text[UUID_TEXT_SIZE];
    uuid_random(random);
    uuid_format(random, text);
    return fact_put(db, "log_begun", text, e);
}

static int db_setup(struct db *db, struct error *e)
{
    int rc = transaction_begin(db, e);
    if (rc)
        return rc;
    rc = log_begin(db, e);
    if (!rc)
        rc = tag_make(db, e);
    if (!rc)
        rc = boot_close_older(db, e);
    return transaction_end(db, rc, e);
}

int db_open(const char *path, const char *boot_id, struct db **out, struct error *e)
{
    struct db *db = calloc(1, sizeof *db);
    if (!db)
        return error_set(e, -ENOMEM, "open database %s: out of memory", path);
    int rc = 0;
    if (!format_fits(db->boot_id, sizeof db->boot_id, "%s", boot_id))
        rc = error_set(e, -EINVAL, "the host's boot id is too long: %s", boot_id);
    if (!rc && sqlite3_open_v2(path, &db->handle,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                               NULL) != SQLITE_OK)
        rc = db_error(db->handle, e, "open");
    if (!rc)
        rc = db_configure(db, e);
    if (!rc)
        rc = db_migrate(db->handle, path, e);
    if (!rc)
        rc = db_prepare(db, e);
    if (!rc)
        rc = db_setup(db, e);
    if (rc) {
        error_prefix(e, "%s: ", path);
        db_close(db);
        return rc;
    }
    *out = db;
    return 0;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    for (size_t i = 0; i < ST_COUNT; i++)
        sqlite3_finalize(db->statements[i]);
    sqlite3_close(db->handle);
    free(db);
}

/* ---- the log ---- */

/* Moves what is in the log into the file. *left: pages that a reader keeps in the log. */
static int log_empty(struct db *db, int mode, int *left, struct error *e)
{
    int pages = 0, moved = 0;
    sqlite3_busy_timeout(db->handle, 0); /* nobody is waited for */
    int rc = sqlite3_wal_checkpoint_v2(db->handle, NULL, mode, &pages, &moved);
    sqlite3_busy_timeout(db->handle, BUSY_MS);
    if (rc != SQLITE_OK && rc != SQLITE_BUSY)
        return db_error(db->handle, e, "empty the log");
    *left = rc == SQLITE_BUSY || moved < pages ? pages : 0;
    return *left ? 0 : log_begin(db, e);
}

void db_tend(struct db *db, enum db_moment moment)
{
    struct error e;
    int left;
    if (db->log_pages < log_limits[moment] || (moment != DB_REST && db->log_pages < db->log_again))
        return;
    int mode = moment == DB_REST ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
    db->log_again = db->log_pages + LOG_AGAIN;
    if (log_empty(db, mode, &left, &e))
        log_warning("%s", e.text);
    else if (!left)
        db->log_again = 0;
}

/* ---- loading ---- */

static bool row_image(sqlite3_stmt *s, void *out)
{
    struct image_row *r = out;
    bool ok = column_text(s, 0, r->name, sizeof r->name) &&
              column_text(s, 1, r->file, sizeof r->file) && column_uuid(s, 2, r->id) &&
              column_uuid(s, 3, r->base) && name_valid(r->name) &&
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
    bool ok = column_uuid(s, 1, r->uuid) && column_text(s, 2, r->image, sizeof r->image) &&
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

/* Reads all rows of a statement into an array that grows; *rows and *n are valid after errors. */
static int load_all(struct db *db, enum statement which, size_t size,
                    bool (*row)(sqlite3_stmt *s, void *out), void **rows, size_t *n,
                    struct error *e)
{
    struct query q = query_begin(db, which);
    enum step step;
    int rc = 0;
    while (!rc && (step = query_step(&q)) != STEP_DONE) {
        void *bigger = step == STEP_ROW ? realloc(*rows, (*n + 1) * size) : NULL;
        if (step == STEP_ERROR) {
            rc = db_error(db->handle, e, statement_sql[which]);
        } else if (!bigger) {
            rc = error_set(e, -ENOMEM, "database: out of memory for its rows");
        } else {
            *rows = bigger;
            char *at = (char *)bigger + *n * size;
            memset(at, 0, size);
            (*n)++;
            if (!row(q.s, at))
                rc = error_set(
                    e, -EUCLEAN,
                    "database: a row is malformed: restore the database from a backup (query: %s)",
                    statement_sql[which]);
        }
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

/* ---- operations, in the order of enum db_op_kind ---- */

static int counter_raise(struct db *db, const char *name, uint64_t used, struct error *e)
{
    struct query q = query_begin(db, ST_COUNTER_RAISE);
    query_text(&q, name);
    query_int(&q, (int64_t)used);
    return query_run(&q, e);
}

static int op_image_put(struct db *db, const struct db_op *op, struct error *e)
{
    static const uint8_t none[16];
    const struct image_row *r = &op->image;
    struct query q = query_begin(db, ST_IMAGE_PUT);
    query_text(&q, r->name);
    query_text(&q, r->file);
    query_uuid(&q, r->id);
    if (memcmp(r->base, none, sizeof none))
        query_uuid(&q, r->base);
    else
        query_null(&q);
    query_int(&q, r->created_ms);
    query_int(&q, r->removing);
    return query_run(&q, e);
}

static int op_image_delete(struct db *db, const struct db_op *op, struct error *e)
{
    struct query q = query_begin(db, ST_IMAGE_DELETE);
    query_text(&q, op->image.name);
    return query_run(&q, e);
}

static int op_discard_put(struct db *db, const struct db_op *op, struct error *e)
{
    struct query q = query_begin(db, ST_DISCARD_PUT);
    query_text(&q, op->discard.file);
    return query_run(&q, e);
}

static int op_discard_clear(struct db *db, const struct db_op *op, struct error *e)
{
    (void)op;
    return run(db, ST_DISCARD_CLEAR, e);
}

static int op_slot_put(struct db *db, const struct db_op *op, struct error *e)
{
    const struct slot_row *r = &op->slot;
    struct query q = query_begin(db, ST_SLOT_PUT);
    query_int(&q, (int64_t)r->id);
    query_uuid(&q, r->uuid);
    if (r->image[0])
        query_text(&q, r->image);
    else
        query_null(&q);
    query_text(&q, r->state);
    query_text(&q, r->engine);
    if (r->domid == DB_NO_DOMID)
        query_null(&q);
    else
        query_int(&q, r->domid);
    query_text(&q, r->name);
    query_int(&q, r->since_ms);
    query_text(&q, r->reason);
    query_text(&q, db->boot_id);
    int rc = query_run(&q, e);
    return rc ? rc : counter_raise(db, "slot", r->id, e);
}

static int op_slot_delete(struct db *db, const struct db_op *op, struct error *e)
{
    struct query q = query_begin(db, ST_SLOT_DELETE);
    query_int(&q, (int64_t)op->slot.id);
    return query_run(&q, e);
}

static void query_int_or_null(struct query *q, int64_t value)
{
    if (value)
        query_int(q, value);
    else
        query_null(q);
}

static int op_lease_put(struct db *db, const struct db_op *op, struct error *e)
{
    const struct lease_row *r = &op->lease;
    struct query q = query_begin(db, ST_LEASE_PUT);
    query_int(&q, (int64_t)r->id);
    query_int_or_null(&q, (int64_t)r->slot);
    query_text(&q, r->image);
    query_int(&q, r->owner_uid);
    query_text(&q, r->name);
    query_int(&q, r->created_ms);
    query_int_or_null(&q, r->expires_ms);
    query_int(&q, r->hold);
    query_int(&q, r->paused);
    query_text_or_null(&q, r->meta);
    query_int_or_null(&q, r->ended_ms);
    query_text_or_null(&q, r->ended_ms ? r->end_reason : NULL);
    query_text_or_null(&q, r->trace);
    int rc = query_run(&q, e);
    if (!rc)
        rc = counter_raise(db, "lease", r->id, e);
    if (rc || !r->ended_ms || r->id <= DB_LEASE_HISTORY)
        return rc;
    struct query prune = query_begin(db, ST_LEASE_PRUNE);
    query_int(&prune, (int64_t)(r->id - DB_LEASE_HISTORY));
    return query_run(&prune, e);
}

/* The columns behind those of row_lease. */
static bool row_lease_past(sqlite3_stmt *s, struct lease_row *r)
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

static int op_lease_find(struct db *db, const struct db_op *op, struct error *e)
{
    struct lease_lookup *f = op->lookup;
    struct query q = query_begin(db, f->id ? ST_LEASE_BY_ID : ST_LEASE_BY_NAME);
    (void)e;
    if (f->id)
        query_int(&q, (int64_t)f->id);
    else
        query_text(&q, f->name);
    enum step step = query_step(&q);
    f->found = step == STEP_ROW;
    if (step == STEP_ERROR)
        f->rc = db_error(db->handle, &f->error, "find a lease");
    else if (f->found && !row_lease_past(q.s, &f->row))
        f->rc = error_set(&f->error, -EUCLEAN,
                          "database: the row of lease l%" PRIu64 " is malformed", f->row.id);
    query_end(&q);
    return 0;
}

static int op_setting_put(struct db *db, const struct db_op *op, struct error *e)
{
    struct query q = query_begin(db, ST_SETTING_PUT);
    query_text(&q, op->setting.image);
    query_text(&q, op->setting.key);
    query_text(&q, op->setting.value);
    return query_run(&q, e);
}

static int op_setting_delete(struct db *db, const struct db_op *op, struct error *e)
{
    struct query q = query_begin(db, ST_SETTING_DELETE);
    query_text(&q, op->setting.image);
    query_text(&q, op->setting.key);
    return query_run(&q, e);
}

static int op_live_clear(struct db *db, const struct db_op *op, struct error *e)
{
    (void)op;
    struct query q = query_begin(db, ST_LIVE_LEASES);
    query_int(&q, clock_wall_ms());
    int rc = query_run(&q, e);
    return rc ? rc : run(db, ST_LIVE_SLOTS, e);
}

static int (*const op_table[])(struct db *db, const struct db_op *op, struct error *e) = {
    [DB_IMAGE_PUT] = op_image_put,     [DB_IMAGE_DELETE] = op_image_delete,
    [DB_DISCARD_PUT] = op_discard_put, [DB_DISCARD_CLEAR] = op_discard_clear,
    [DB_SLOT_PUT] = op_slot_put,       [DB_SLOT_DELETE] = op_slot_delete,
    [DB_LEASE_PUT] = op_lease_put,     [DB_LEASE_FIND] = op_lease_find,
    [DB_SETTING_PUT] = op_setting_put, [DB_SETTING_DELETE] = op_setting_delete,
    [DB_LIVE_CLEAR] = op_live_clear,
};

/* Slots and leases end with the host; everything else must survive it. */
static bool op_is_durable(const struct db_op *op)
{
    return op->kind == DB_IMAGE_PUT || op->kind == DB_IMAGE_DELETE || op->kind == DB_SETTING_PUT ||
           op->kind == DB_SETTING_DELETE;
}

/* Whether a commit is on the disk when it returns. It cannot be changed inside a transaction. */
static int sync_commits(struct db *db, bool on, struct error *e)
{
    const char *pragma = on ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL";
    return sqlite3_exec(db->handle, pragma, NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : db_error(db->handle, e, pragma);
}

static int apply(struct db *db, const struct db_op *ops, size_t n, struct error *e)
{
    int rc = transaction_begin(db, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < n && !rc; i++)
        rc = op_table[ops[i].kind](db, &ops[i], e);
    return transaction_end(db, rc, e);
}

/* On a full disk the log may hold nothing but what can be moved into the file. */
static int apply_somehow(struct db *db, const struct db_op *ops, size_t n, struct error *e)
{
    struct error second;
    int left, rc = apply(db, ops, n, e);
    if (rc != -ENOSPC || log_empty(db, SQLITE_CHECKPOINT_PASSIVE, &left, &second) || left)
        return rc;
    return apply(db, ops, n, e);
}

int db_apply(struct db *db, const struct db_op *ops, size_t n, struct error *e)
{
    bool durable = false;
    for (size_t i = 0; i < n; i++)
        durable |= op_is_durable(&ops[i]);
    if (!durable)
        return apply_somehow(db, ops, n, e);
    struct error second;
    int rc = transaction_clear(db, e);
    if (!rc)
        rc = sync_commits(db, true, e);
    if (!rc)
        rc = apply_somehow(db, ops, n, e);
    if (sync_commits(db, false, &second))
        log_warning("%s", second.text); /* slower, not wrong */
    return rc;
}

void db_op_dispose(struct db_op *op)
{
    if (op->kind == DB_LEASE_PUT) {
        free(op->lease.meta);
        free(op->lease.trace);
        op->lease.meta = op->lease.trace = NULL;
    }
}
