/*
 * Inside the database: its statements, and how one is run. db_open.c opens and empties the log,
 * db_load.c reads rows, db_apply.c writes them.
 */
#ifndef STORE_DB_QUERY_H
#define STORE_DB_QUERY_H

#include "base/uuid.h"
#include "store/db.h"

#include <sqlite3.h>

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
    X(SLOT_ALL, "SELECT id, uuid, image, state, engine, domid, name, since_ms, reason, macs "      \
                "FROM slot ORDER BY id")                                                           \
    X(SLOT_PUT, "INSERT INTO slot VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) "           \
                "ON CONFLICT(id) DO UPDATE SET state = excluded.state, engine = excluded.engine, " \
                "domid = excluded.domid, name = excluded.name, since_ms = excluded.since_ms, "     \
                "reason = excluded.reason, macs = excluded.macs")                                  \
    X(SLOT_DELETE, "DELETE FROM slot WHERE id = ?1")                                               \
    X(LEASE_ALL, "SELECT id, slot, image, owner_uid, name, created_ms, expires_ms, hold, paused, " \
                 "meta FROM lease WHERE ended_ms IS NULL ORDER BY id")                             \
    X(LEASE_BY_ID, "SELECT id, slot, image, owner_uid, name, created_ms, expires_ms, hold, "       \
                   "paused, NULL, ended_ms, end_reason, trace FROM lease WHERE id = ?1")           \
    X(LEASE_BY_NAME, "SELECT id, slot, image, owner_uid, name, created_ms, expires_ms, hold, "     \
                     "paused, NULL, ended_ms, end_reason, trace FROM lease "                       \
                     "WHERE name = ?1 AND ended_ms IS NOT NULL AND ?2 IN (0, owner_uid) "          \
                     "ORDER BY id DESC LIMIT 1")                                                   \
    X(LEASE_PUT, "INSERT INTO lease "                                                              \
                 "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) "                 \
                 "ON CONFLICT(id) DO UPDATE SET slot = excluded.slot, name = excluded.name, "      \
                 "expires_ms = excluded.expires_ms, ended_ms = excluded.ended_ms, "                \
                 "end_reason = excluded.end_reason, "                                              \
                 "trace = coalesce(excluded.trace, lease.trace)")                                  \
    X(LEASE_PRUNE, "DELETE FROM lease WHERE ended_ms IS NOT NULL AND id >= ?1 AND id < ?2")        \
    X(SETTING_ALL, "SELECT image, key, value FROM setting ORDER BY image, key")                    \
    X(SETTING_PUT, "INSERT INTO setting VALUES(?1, ?2, ?3) "                                       \
                   "ON CONFLICT(image, key) DO UPDATE SET value = excluded.value")                 \
    X(SETTING_DELETE, "DELETE FROM setting WHERE image = ?1 AND key = ?2")

enum statement {
#define STATEMENT_ENUM(name, sql) ST_##name,
    STATEMENTS(STATEMENT_ENUM)
#undef STATEMENT_ENUM
        ST_COUNT
};

extern const char *const statement_sql[ST_COUNT];

struct db {
    sqlite3 *handle;
    sqlite3_stmt *statements[ST_COUNT];
    char boot_id[48];
    bool syncs;    /* commits are on the disk when they return */
    int log_pages; /* in the log since it was emptied */
    int log_again; /* what could not be emptied is left until it has so many */
    /* Known of what is committed; 0: nothing. */
    uint64_t slot_raised, lease_raised; /* that number has been used, and the counter says so */
    uint64_t pruned;                    /* no lease below has ended that is still there */
};

enum step { STEP_ERROR, STEP_DONE, STEP_ROW };

/* A statement being bound: the first failing bind is kept. */
struct query {
    struct db *db;
    sqlite3_stmt *s;
    int at, rc;
};

struct query query_begin(struct db *db, enum statement which);
void query_int(struct query *q, int64_t value);
/* 0: as NULL. */
void query_int_or_null(struct query *q, int64_t value);
void query_text(struct query *q, const char *text);
void query_null(struct query *q);
void query_text_or_null(struct query *q, const char *text);
void query_uuid(struct query *q, const struct uuid *uuid);
enum step query_step(struct query *q);
void query_end(struct query *q);
/* Runs a statement that gives no row. */
int query_run(struct query *q, struct error *e);
/* The same of one without parameters. */
int run(struct db *db, enum statement which, struct error *e);

/* Columns, whatever the file holds in them: false when it is of another type or out of bounds. NULL
 * reads as "", 0 or no UUID. A text is cut where it is longer than the buffer, and then false; it
 * becomes what may be logged and sent (text_plain). */
bool column_text(sqlite3_stmt *s, int column, char *buf, size_t size);
bool column_int(sqlite3_stmt *s, int column, int64_t min, int64_t max, int64_t *out);
bool column_uuid(sqlite3_stmt *s, int column, struct uuid *uuid);

/* A rollback that failed has left its transaction open: ends that one. */
int transaction_clear(struct db *db, struct error *e);
int transaction_begin(struct db *db, struct error *e);
/* Commits, or rolls back when rc says so. Returns rc, or what the commit failed with. */
int transaction_end(struct db *db, int rc, struct error *e);

/* 0 and *found; value is only written when found. */
int fact_get(struct db *db, const char *name, char *value, size_t size, bool *found,
             struct error *e);
int fact_put(struct db *db, const char *name, const char *value, struct error *e);

/* Moves what is in the log into the file. *left: pages that a reader keeps in the log. */
int log_empty(struct db *db, int mode, int *left, struct error *e);
/* A lease as LEASE_BY_ID and LEASE_BY_NAME give it. False: malformed, or no memory. */
bool row_lease_past(sqlite3_stmt *s, struct lease_row *r);

#endif
