/*
 * The schema's history. Migration n brings a database from user_version n to n + 1, in one
 * transaction that raises user_version itself: a crash leaves the old version or the new one.
 * The array is append-only: a released entry is never edited.
 */
#include "store/db_schema.h"

#include "base/array.h"

#include <errno.h>
#include <stdio.h>

static const char *const migrations[] = {
    "CREATE TABLE fact("
    "  name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE counter("
    "  name TEXT PRIMARY KEY, next INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "INSERT INTO counter VALUES('slot', 1), ('lease', 1);"
    "CREATE TABLE image("
    "  name TEXT PRIMARY KEY, file TEXT NOT NULL UNIQUE, id TEXT NOT NULL, base TEXT,"
    "  created_ms INTEGER NOT NULL, removing INTEGER NOT NULL) STRICT;"
    "CREATE TABLE slot("
    "  id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, image TEXT REFERENCES image(name),"
    "  state TEXT NOT NULL, engine TEXT NOT NULL, domid INTEGER, name TEXT NOT NULL,"
    "  since_ms INTEGER NOT NULL, reason TEXT NOT NULL, boot TEXT NOT NULL) STRICT;"
    "CREATE INDEX slot_image ON slot(image);"
    "CREATE TABLE lease("
    "  id INTEGER PRIMARY KEY, slot INTEGER REFERENCES slot(id) ON DELETE SET NULL,"
    "  image TEXT NOT NULL, owner_uid INTEGER NOT NULL, name TEXT NOT NULL,"
    "  created_ms INTEGER NOT NULL, expires_ms INTEGER, hold INTEGER NOT NULL,"
    "  paused INTEGER NOT NULL, meta TEXT, ended_ms INTEGER, end_reason TEXT) STRICT;"
    "CREATE INDEX lease_slot ON lease(slot);"
    "CREATE INDEX lease_alive ON lease(id) WHERE ended_ms IS NULL;"
    "CREATE TABLE setting("
    "  image TEXT NOT NULL REFERENCES image(name) ON DELETE CASCADE, key TEXT NOT NULL,"
    "  value TEXT NOT NULL, PRIMARY KEY(image, key)) STRICT, WITHOUT ROWID;",

    /* Traces. The index has ended leases alone: giving a lease does not write it. */
    ("ALTER TABLE lease ADD COLUMN trace TEXT;"
     "CREATE INDEX lease_ended_name ON lease(name) WHERE ended_ms IS NOT NULL;"),

    /* Image files that are to be removed: nothing else says so. */
    "CREATE TABLE discard(file TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;",

    /* MAC addresses of a domain's interfaces, with commas between them. */
    "ALTER TABLE slot ADD COLUMN macs TEXT NOT NULL DEFAULT '';",
};

int db_error(sqlite3 *handle, struct error *e, const char *doing)
{
    int code = handle ? sqlite3_errcode(handle) : SQLITE_NOMEM;
    int rc = -EIO;
    if (code == SQLITE_NOMEM)
        rc = -ENOMEM;
    else if (code == SQLITE_FULL)
        rc = -ENOSPC;
    else if (code == SQLITE_BUSY)
        rc = -EBUSY;
    else if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
        rc = -EUCLEAN;
    return error_set(e, rc, "database: %s: %s (%d)", doing,
                     handle ? sqlite3_errmsg(handle) : "out of memory",
                     handle ? sqlite3_extended_errcode(handle) : code);
}

static int read_version(sqlite3 *handle, int *version, struct error *e)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(handle, "PRAGMA user_version", -1, &s, NULL) != SQLITE_OK)
        return db_error(handle, e, "read its version");
    int rc = 0;
    if (sqlite3_step(s) == SQLITE_ROW)
        *version = sqlite3_column_int(s, 0);
    else
        rc = db_error(handle, e, "read its version");
    sqlite3_finalize(s);
    return rc;
}

static int migrate_one(sqlite3 *handle, int from, struct error *e)
{
    char raise[48];
    snprintf(raise, sizeof raise, "PRAGMA user_version = %d; COMMIT", from + 1);
    if (sqlite3_exec(handle, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_exec(handle, migrations[from], NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_exec(handle, raise, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    int rc = db_error(handle, e, "migrate to a newer schema");
    if (!sqlite3_get_autocommit(handle))
        sqlite3_exec(handle, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

int db_migrate(sqlite3 *handle, const char *path, struct error *e)
{
    const int newest = (int)ARRAY_SIZE(migrations);
    int version = 0;
    int rc = read_version(handle, &version, e);
    if (rc)
        return rc;
    if (version > newest || version < 0)
        return error_set(
            e, -EPROTO,
            "database %s has schema version %d, but this daemon knows versions up to %d: "
            "start the newer dompoold that wrote the database",
            path, version, newest);
    for (; version < newest && !rc; version++)
        rc = migrate_one(handle, version, e);
    return rc;
}
