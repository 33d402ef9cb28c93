/*
 * The database with a failing disk: in each run another of SQLite's steps, preparations or
 * executions fails, until a run has none left to fail. Each time the call says so, nothing
 * crashes, the same handle works when the disk does, and a transaction has happened whole or not
 * at all.
 */
#include "store/db.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long left = -1;
static char dir[64], path[96];

int __real_sqlite3_step(sqlite3_stmt *s);
int __real_sqlite3_exec(sqlite3 *db, const char *sql, int (*each)(void *, int, char **, char **),
                        void *data, char **text);
int __real_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int n, unsigned flags, sqlite3_stmt **s,
                              const char **tail);
int __wrap_sqlite3_step(sqlite3_stmt *s);
int __wrap_sqlite3_exec(sqlite3 *db, const char *sql, int (*each)(void *, int, char **, char **),
                        void *data, char **text);
int __wrap_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int n, unsigned flags, sqlite3_stmt **s,
                              const char **tail);

static bool fails(void)
{
    return left >= 0 && left-- == 0;
}

int __wrap_sqlite3_step(sqlite3_stmt *s)
{
    return fails() ? SQLITE_IOERR : __real_sqlite3_step(s);
}

int __wrap_sqlite3_exec(sqlite3 *db, const char *sql, int (*each)(void *, int, char **, char **),
                        void *data, char **text)
{
    return fails() ? SQLITE_IOERR : __real_sqlite3_exec(db, sql, each, data, text);
}

int __wrap_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int n, unsigned flags, sqlite3_stmt **s,
                              const char **tail)
{
    *s = NULL;
    return fails() ? SQLITE_IOERR : __real_sqlite3_prepare_v3(db, sql, n, flags, s, tail);
}

static void must(bool ok, long n, const char *what)
{
    if (ok)
        return;
    printf("with call %ld failing: %s\n", n, what);
    abort();
}

static void make_ops(struct db_op ops[3])
{
    memset(ops, 0, 3 * sizeof ops[0]);
    ops[0].kind = DB_IMAGE_PUT;
    strcpy(ops[0].image.name, "fire");
    strcpy(ops[0].image.file, "0b7e1c1a-0000-4000-8000-000000000000.img");
    ops[1].kind = DB_SLOT_PUT;
    ops[1].slot.id = 1;
    ops[1].slot.uuid.bytes[0] = 1;
    ops[1].slot.domid = 5;
    strcpy(ops[1].slot.image, "fire");
    strcpy(ops[1].slot.state, "leased");
    strcpy(ops[1].slot.name, "n");
    ops[2].kind = DB_LEASE_PUT;
    ops[2].lease.id = 1;
    ops[2].lease.slot = 1;
    strcpy(ops[2].lease.image, "fire");
    strcpy(ops[2].lease.name, "n");
}

/* What is there without faults: everything, or nothing. */
static void check_whole(struct db *db, long n, bool expected)
{
    struct db_rows rows;
    must(!db_load(db, &rows, NULL), n, "load afterwards");
    size_t all = rows.n_images + rows.n_slots + rows.n_leases;
    must(all == (expected ? 3 : 0), n, "half a transaction");
    db_rows_dispose(&rows);
}

static bool run(long n)
{
    struct db *db = NULL;
    struct db_op ops[3];
    struct db_rows rows;
    unlink(path);
    make_ops(ops);
    left = n;
    int opened = db_open(path, "boot", &db, NULL);
    must(!opened || !db, n, "a handle after an error");
    int applied = opened ? 1 : db_apply(db, ops, 3, NULL);
    int loaded = opened ? 1 : db_load(db, &rows, NULL);
    struct lease_lookup f = {.id = 1};
    const struct db_op find = {.kind = DB_LEASE_FIND, .lookup = &f};
    int found = opened ? 1 : db_apply(db, &find, 1, NULL);
    must(found || f.rc || applied || f.found, n, "a lease that was written is not found");
    if (!opened)
        db_rows_dispose(&rows);
    bool used = left < 0;
    left = -1;
    must(!used || opened || applied || loaded || found || f.rc, n, "the failure was not reported");
    if (!db)
        must(!db_open(path, "boot", &db, NULL), n, "open afterwards");
    check_whole(db, n, !applied);
    must(!db_apply(db, ops, 3, NULL), n, "write afterwards");
    check_whole(db, n, true);
    db_close(db);
    return used;
}

int main(void)
{
    long n = 0;
    char command[100];
    int null = open("/dev/null", O_WRONLY);
    dup2(null, STDERR_FILENO);
    close(null);
    strcpy(dir, access("/dev/shm", W_OK) ? "/tmp/dompool-db.XXXXXX" : "/dev/shm/dompool-db.XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    snprintf(path, sizeof path, "%s/db", dir);
    while (run(n))
        n++;
    printf("%ld calls of SQLite failed, each once\n", n);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}
