/* The database: see db.h. Opening, closing, its log. */
#include "store/db.h"

#include "base/array.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "base/uuid.h"
#include "store/db_query.h"
#include "store/db_schema.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Pages in the log from which such a moment is used to empty it: 32, 16 and 1 MiB. A request that
 * comes while it is emptied waits for some milliseconds, so that is done seldom, and what it costs
 * grows with the database, not with the log. */
static const int log_limits[] = {[DB_BUSY] = 8192, [DB_QUIET] = 4096, [DB_REST] = 256};
#define BUSY_MS 2000   /* somebody reads with sqlite3(1) */
#define LOG_AGAIN 1024 /* pages more, before it is tried again after it could not be emptied */
#define LOG_FILE_KEPT "16777216" /* bytes of the file that stay when the log begins anew */

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
        /* KiB. All of it, also with ten thousand leases: a commit reads nothing from the file. */
        "PRAGMA cache_size = -32768",
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

/* The tag marks the domains of this state directory, so that daemons can run side by side. */
static int tag_make(struct db *db, struct error *e)
{
    char tag[DB_TAG_SIZE];
    bool found;
    int rc = fact_get(db, "tag", tag, sizeof tag, &found, e);
    if (rc || found)
        return rc;
    uint8_t random[4];
    random_bytes(random, sizeof random);
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
    struct uuid random;
    char text[UUID_TEXT_SIZE];
    uuid_random(&random);
    uuid_format(&random, text);
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

/* Leases' metadata is in it: for its owner alone. SQLite gives its log the same mode. */
static int file_make(const char *path, struct error *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int rc = fd < 0 || fchmod(fd, 0600) ? error_errno(e, errno, "create or open the database") : 0;
    fd_close(&fd);
    return rc;
}

int db_open(const char *path, const char *boot_id, struct db **out, struct error *e)
{
    struct db *db = calloc(1, sizeof *db);
    if (!db)
        return error_set(e, -ENOMEM, "open database %s: out of memory", path);
    int rc = 0;
    if (!format_fits(db->boot_id, sizeof db->boot_id, "%s", boot_id))
        rc = error_set(e, -EINVAL, "the host's boot id is too long: %s", boot_id);
    if (!rc)
        rc = file_make(path, e);
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

int log_empty(struct db *db, int mode, int *left, struct error *e)
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
