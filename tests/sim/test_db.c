/* The database: what is put is what is loaded, old boots are closed, foreign files are refused. */
#include "base/array.h"
#include "base/io.h"
#include "base/uuid.h"
#include "store/db_query.h"
#include "tests/cmocka.h"
#include "tests/sim/power.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char dir[64], path[96];
static struct error e;

static int begin(void **state)
{
    (void)state;
    strcpy(dir, access("/dev/shm", W_OK) ? "/tmp/dompool-db.XXXXXX" : "/dev/shm/dompool-db.XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/db", dir);
    return 0;
}

static int end(void **state)
{
    char command[100];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static struct db *open_db(const char *boot)
{
    struct db *db;
    if (db_open(path, boot, &db, &e))
        fail_msg("%s", e.text);
    return db;
}

static void apply(struct db *db, const struct db_op *ops, size_t n)
{
    if (db_apply(db, ops, n, &e))
        fail_msg("%s", e.text);
}

static struct db_rows load(struct db *db)
{
    struct db_rows rows;
    if (db_load(db, &rows, &e))
        fail_msg("%s", e.text);
    return rows;
}

static struct db_op image_op(const char *name)
{
    struct db_op op = {.kind = DB_IMAGE_PUT};
    strcpy(op.image.name, name);
    char file[UUID_TEXT_SIZE];
    uuid_random(&op.image.id);
    uuid_format(&op.image.id, file);
    snprintf(op.image.file, sizeof op.image.file, "%s.img", file);
    op.image.created_ms = 77;
    return op;
}

static struct db_op slot_op(uint64_t id, const char *image, const char *slot_state)
{
    struct db_op op = {.kind = DB_SLOT_PUT};
    op.slot.id = id;
    uuid_random(&op.slot.uuid);
    strcpy(op.slot.image, image);
    strcpy(op.slot.state, slot_state);
    strcpy(op.slot.name, "dp-x");
    op.slot.domid = DB_NO_DOMID;
    return op;
}

static struct db_op lease_op(uint64_t id, uint64_t slot)
{
    struct db_op op = {.kind = DB_LEASE_PUT};
    op.lease.id = id;
    op.lease.slot = slot;
    strcpy(op.lease.image, "fire");
    strcpy(op.lease.name, "it's \"quoted\"");
    op.lease.owner_uid = 4294967294u;
    op.lease.hold = true;
    return op;
}

static void test_round_trip(void **state)
{
    char meta[] = "{\"k\":\"v\"}";
    (void)state;
    struct db *db = open_db("b1");
    struct db_op ops[] = {image_op("fire"),
                          slot_op(3, "fire", "leased"),
                          lease_op(9, 3),
                          {.kind = DB_SETTING_PUT},
                          slot_op(4, "", "broken")};
    ops[1].slot.domid = 17;
    ops[2].lease.meta = meta;
    ops[2].lease.expires_ms = 12345;
    strcpy(ops[3].setting.image, "fire");
    strcpy(ops[3].setting.key, "min");
    strcpy(ops[3].setting.value, "4");
    apply(db, ops, ARRAY_SIZE(ops));
    db_close(db);
    db = open_db("b1");
    struct db_rows r = load(db);
    assert_int_equal(r.n_images, 1);
    assert_int_equal(r.n_slots, 2);
    assert_int_equal(r.n_leases, 1);
    assert_int_equal(r.n_settings, 1);
    assert_string_equal(r.images[0].file, ops[0].image.file);
    assert_true(uuid_equal(&r.images[0].id, &ops[0].image.id));
    assert_int_equal(r.images[0].created_ms, 77);
    assert_true(uuid_equal(&r.slots[0].uuid, &ops[1].slot.uuid));
    assert_int_equal(r.slots[0].domid, 17);
    assert_int_equal(r.slots[1].domid, DB_NO_DOMID);
    assert_string_equal(r.slots[1].image, "");
    assert_string_equal(r.leases[0].name, "it's \"quoted\"");
    assert_int_equal(r.leases[0].owner_uid, 4294967294u);
    assert_int_equal(r.leases[0].expires_ms, 12345);
    assert_true(r.leases[0].hold && !r.leases[0].paused);
    assert_string_equal(r.leases[0].meta, meta);
    assert_string_equal(r.settings[0].value, "4");
    assert_int_equal(r.next_slot, 5);
    assert_int_equal(r.next_lease, 10);
    assert_int_equal(strlen(r.tag), 11);
    db_rows_dispose(&r);
    db_close(db);
}

/* Numbers are never used again, though their rows are gone; the tag stays. */
/* Nobody else reads what leases say of themselves, also in a file of an older version. */
static void test_mode(void **state)
{
    struct stat st;
    char wal[120];
    (void)state;
    snprintf(wal, sizeof wal, "%s-wal", path);
    for (int i = 0; i < 2; i++) {
        struct db *db = open_db("b1");
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(stat(wal, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        db_close(db);
        assert_int_equal(chmod(path, 0644), 0);
    }
}

static void test_counters(void **state)
{
    (void)state;
    struct db *db = open_db("b1");
    struct db_op ops[] = {image_op("fire"), slot_op(41, "fire", "warm")};
    apply(db, ops, 2);
    ops[1].kind = DB_SLOT_DELETE;
    apply(db, &ops[1], 1);
    struct db_rows r = load(db);
    char tag[DB_TAG_SIZE];
    memcpy(tag, r.tag, sizeof tag);
    assert_int_equal(r.next_slot, 42);
    db_rows_dispose(&r);
    db_close(db);
    db = open_db("b2");
    r = load(db);
    assert_string_equal(r.tag, tag);
    assert_int_equal(r.next_slot, 42);
    db_rows_dispose(&r);
    db_close(db);
}

static void test_boot(void **state)
{
    (void)state;
    struct db *db = open_db("b1");
    struct db_op ops[] = {image_op("fire"), slot_op(1, "fire", "leased"), lease_op(1, 1)};
    apply(db, ops, 3);
    db_close(db);
    db = open_db("b1"); /* the daemon was restarted, not the host */
    struct db_rows r = load(db);
    assert_int_equal(r.n_slots, 1);
    assert_int_equal(r.n_leases, 1);
    db_rows_dispose(&r);
    db_close(db);
    db = open_db("b2");
    r = load(db);
    assert_int_equal(r.n_slots, 0);
    assert_int_equal(r.n_leases, 0);
    assert_int_equal(r.n_images, 1);
    db_rows_dispose(&r);
    db_close(db);
}

/* One operation fails: none has happened. */
static void test_all_or_none(void **state)
{
    (void)state;
    struct db *db = open_db("b1");
    struct db_op ops[] = {image_op("fire"), slot_op(1, "nope", "warm")};
    assert_int_equal(db_apply(db, ops, 2, &e), -EIO);
    assert_non_null(strstr(e.text, "FOREIGN KEY"));
    struct db_rows r = load(db);
    assert_int_equal(r.n_images, 0);
    db_rows_dispose(&r);
    apply(db, ops, 1); /* and it goes on */
    struct db_op same = slot_op(2, "fire", "warm"), twin = slot_op(3, "fire", "warm");
    twin.slot.uuid = same.slot.uuid;
    apply(db, &same, 1);
    assert_int_equal(db_apply(db, &twin, 1, &e), -EIO); /* a uuid is unique */
    db_close(db);
}

static void test_end_and_repair(void **state)
{
    (void)state;
    struct db *db = open_db("b1");
    struct db_op ops[] = {image_op("fire"), slot_op(1, "fire", "leased"), lease_op(1, 1)};
    apply(db, ops, 3);
    struct db_op ended = ops[2];
    ended.lease.ended_ms = 5;
    strcpy(ended.lease.end_reason, "released");
    apply(db, &ended, 1);
    struct db_rows r = load(db);
    assert_int_equal(r.n_leases, 0);
    db_rows_dispose(&r);
    /* Writing all live rows again sets them right whatever was there. */
    struct db_op repair[] = {{.kind = DB_LIVE_CLEAR}, ops[1], ops[2]};
    apply(db, repair, 3);
    r = load(db);
    assert_int_equal(r.n_leases, 1);
    assert_int_equal(r.n_slots, 1);
    assert_int_equal(r.leases[0].slot, 1);
    db_rows_dispose(&r);
    /* A slot's row may go before its lease's end is known. */
    ops[1].kind = DB_SLOT_DELETE;
    apply(db, &ops[1], 1);
    r = load(db);
    assert_int_equal(r.leases[0].slot, 0);
    db_rows_dispose(&r);
    ops[0].kind = DB_IMAGE_DELETE;
    apply(db, &ops[0], 1);
    db_close(db);
}

static void exec(const char *sql)
{
    sqlite3 *raw;
    assert_int_equal(sqlite3_open(path, &raw), SQLITE_OK);
    assert_int_equal(sqlite3_exec(raw, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(raw);
}

static void find(struct db *db, struct lease_lookup *f)
{
    const struct db_op op = {.kind = DB_LEASE_FIND, .lookup = f};
    apply(db, &op, 1);
}

static struct db_op lease_with(uint64_t id, const char *name, int64_t ended_ms, char *trace)
{
    struct db_op op = lease_op(id, 0);
    strcpy(op.lease.name, name);
    op.lease.ended_ms = ended_ms;
    strcpy(op.lease.end_reason, "released");
    op.lease.trace = trace;
    return op;
}

/* A trace comes after its lease, and stays when the lease is written again without it. */
static void test_trace(void **state)
{
    char text[] = "{\"a\":1}", text2[] = "{}";
    struct lease_lookup f = {.id = 7};
    (void)state;
    struct db *db = open_db("b1");
    find(db, &f);
    assert_true(!f.found && !f.rc);
    struct db_op op = lease_with(7, "one", 0, NULL);
    apply(db, &op, 1);
    find(db, &f);
    assert_true(f.found && !f.rc && !f.row.trace && !f.row.ended_ms);
    op.lease.trace = text;
    apply(db, &op, 1);
    op = lease_with(7, "one", 5, NULL);
    apply(db, &op, 1);
    db_close(db);
    db = open_db("b2");
    f = (struct lease_lookup){.id = 7};
    find(db, &f);
    assert_string_equal(f.row.trace, text);
    assert_string_equal(f.row.end_reason, "released");
    assert_int_equal(f.row.ended_ms, 5);
    free(f.row.trace);
    /* By name: the newest of those that have ended. */
    struct db_op more[] = {lease_with(8, "one", 6, text2), lease_with(9, "one", 0, text)};
    apply(db, more, 2);
    f = (struct lease_lookup){.name = "one"};
    find(db, &f);
    assert_int_equal(f.row.id, 8);
    assert_string_equal(f.row.trace, text2);
    free(f.row.trace);
    /* ... of one user. */
    struct db_op other = lease_with(10, "one", 7, NULL);
    other.lease.owner_uid = 4711;
    apply(db, &other, 1);
    f = (struct lease_lookup){.name = "one"};
    find(db, &f);
    assert_int_equal(f.row.id, 10);
    f = (struct lease_lookup){.name = "one", .owner_uid = 4294967294u};
    find(db, &f);
    assert_int_equal(f.row.id, 8);
    free(f.row.trace);
    f = (struct lease_lookup){.name = "one", .owner_uid = 4712};
    find(db, &f);
    assert_true(!f.found && !f.rc);
    f = (struct lease_lookup){.name = "two"};
    find(db, &f);
    assert_true(!f.found && !f.rc);
    db_close(db);
}

/* Found by the index, which a living lease is not in. */
static void test_trace_plan(void **state)
{
    sqlite3 *raw;
    sqlite3_stmt *s;
    (void)state;
    db_close(open_db("b1"));
    assert_int_equal(sqlite3_open(path, &raw), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(raw,
                                        "EXPLAIN QUERY PLAN SELECT trace FROM lease WHERE name = ?1"
                                        " AND ended_ms IS NOT NULL AND ?2 IN (0, owner_uid)"
                                        " ORDER BY id DESC LIMIT 1",
                                        -1, &s, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(s, 3),
                        "SEARCH lease USING INDEX lease_ended_name (name=?)");
    assert_int_equal(sqlite3_step(s), SQLITE_DONE);
    sqlite3_finalize(s);
    sqlite3_close(raw);
}

/* What somebody has put there by hand is refused, and the transaction goes on. */
static void test_trace_malformed(void **state)
{
    struct lease_lookup long_trace = {.id = 1}, long_name = {.id = 2}, long_reason = {.id = 3};
    struct lease_lookup with_nul = {.id = 4};
    (void)state;
    struct db *db = open_db("b1");
    struct db_op ops[] = {lease_with(1, "a", 5, NULL), lease_with(2, "b", 5, NULL),
                          lease_with(3, "c", 5, NULL), lease_with(4, "d", 5, NULL)};
    apply(db, ops, 4);
    exec("UPDATE lease SET trace = printf('%08192d', 1) WHERE id = 1");
    exec("UPDATE lease SET name = printf('%0100d', 1) WHERE id = 2");
    exec("UPDATE lease SET end_reason = printf('%01000d', 1) WHERE id = 3");
    exec("UPDATE lease SET trace = '{' || char(0) || '}' WHERE id = 4");
    const struct db_op finds[] = {{.kind = DB_LEASE_FIND, .lookup = &long_trace},
                                  {.kind = DB_LEASE_FIND, .lookup = &long_name},
                                  {.kind = DB_LEASE_FIND, .lookup = &long_reason},
                                  {.kind = DB_LEASE_FIND, .lookup = &with_nul},
                                  image_op("fire")};
    apply(db, finds, 5);
    assert_int_equal(long_trace.rc, -EUCLEAN);
    assert_string_equal(long_trace.error.text, "database: the row of lease l1 is malformed");
    assert_int_equal(long_name.rc, -EUCLEAN);
    assert_int_equal(long_reason.rc, -EUCLEAN);
    assert_int_equal(with_nul.rc, 0);
    assert_string_equal(with_nul.row.trace, "{");
    free(with_nul.row.trace);
    struct db_rows r = load(db);
    assert_int_equal(r.n_images, 1);
    db_rows_dispose(&r);
    db_close(db);
}

static void test_newer_schema(void **state)
{
    struct db *db = NULL;
    (void)state;
    db_close(open_db("b1"));
    exec("PRAGMA user_version = 99");
    assert_int_equal(db_open(path, "b1", &db, &e), -EPROTO);
    assert_non_null(strstr(e.text, "schema version 99"));
    exec("PRAGMA user_version = 4"); /* it was left as it is */
    db_close(open_db("b1"));
}

/* What the first released schema left is taken over; its leases have no trace. */
static void test_older_schema(void **state)
{
    struct lease_lookup f = {.id = 1};
    (void)state;
    struct db *db = open_db("b1");
    struct db_op ops[] = {image_op("fire"), slot_op(1, "fire", "leased"), lease_op(1, 1)};
    apply(db, ops, 3);
    db_close(db);
    exec("DROP INDEX lease_ended_name");
    exec("ALTER TABLE lease DROP COLUMN trace");
    exec("DROP TABLE discard");
    exec("ALTER TABLE slot DROP COLUMN macs");
    exec("PRAGMA user_version = 1");
    db = open_db("b1");
    find(db, &f);
    assert_true(f.found && !f.rc && !f.row.trace);
    assert_int_equal(f.row.owner_uid, 4294967294u);
    db_close(db);
}

static void test_damaged_file(void **state)
{
    struct db *db = NULL;
    (void)state;
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write_full(fd, "this is no database, this is a text, it is long enough", 54),
                     0);
    close(fd);
    assert_int_equal(db_open(path, "b1", &db, &e), -EUCLEAN);
    assert_non_null(strstr(e.text, path));
    assert_int_not_equal(db_open("/nonexistent/dir/db", "b1", &db, &e), 0);
}

/* Malformed rows are an error, not a crash and not an empty pool. */
static void test_malformed_row(void **state)
{
    (void)state;
    db_close(open_db("b1"));
    exec("INSERT INTO slot VALUES(1,'not-a-uuid',NULL,'warm','',NULL,'n',0,'','b1','')");
    struct db *db = open_db("b1");
    struct db_rows rows;
    assert_int_equal(db_load(db, &rows, &e), -EUCLEAN);
    db_rows_dispose(&rows);
    db_close(db);
}

static void expect_refused(const char *sql)
{
    struct db_rows rows;
    struct db *db = open_db("b1");
    struct db_op ops[] = {image_op("fire"), slot_op(1, "fire", "leased"), lease_op(1, 1)};
    apply(db, ops, 3);
    db_close(db);
    exec(sql);
    db = open_db("b1");
    if (db_load(db, &rows, &e) != -EUCLEAN)
        fail_msg("not refused: %s", sql);
    assert_non_null(strstr(e.text, "restore the database from a backup"));
    db_rows_dispose(&rows);
    db_close(db);
    unlink(path);
}

/* Numbers that no daemon has written. An empty tag would make every domain of the host ours. */
static void test_bounds(void **state)
{
    static const char *const changes[] = {
        "UPDATE slot SET uuid = ''",
        "UPDATE slot SET uuid = '00000000-0000-0000-0000-000000000000'",
        "UPDATE slot SET domid = 32752",
        "UPDATE slot SET domid = -2",
        "UPDATE slot SET macs = '02:00:00:00:00'",
        "UPDATE slot SET macs = '02:00:00:00:00:01,'",
        "UPDATE slot SET since_ms = 9223372036854775807",
        "UPDATE slot SET name = 'a' || char(0) || 'b', id = -1",
        "UPDATE slot SET id = 5",
        "UPDATE lease SET id = 0",
        "UPDATE lease SET id = 7",
        "UPDATE lease SET slot = -1",
        "UPDATE lease SET owner_uid = 4294967296",
        "UPDATE lease SET expires_ms = -1",
        "UPDATE lease SET hold = 2",
        "UPDATE lease SET meta = printf('%01048577d', 1)",
        "UPDATE image SET created_ms = -5",
        "UPDATE image SET removing = 2",
        "UPDATE counter SET next = 1 WHERE name = 'lease'",
        "UPDATE counter SET next = -1 WHERE name = 'slot'",
        "UPDATE counter SET next = 9223372036854775807 WHERE name = 'slot'",
        "DELETE FROM counter WHERE name = 'slot'",
        "UPDATE fact SET value = '' WHERE name = 'tag'",
        "UPDATE fact SET value = 'dp-1a2b3c4' WHERE name = 'tag'",
        "UPDATE fact SET value = 'xl-1a2b3c4d' WHERE name = 'tag'",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
        expect_refused(changes[i]);
}

/* Texts may be anything, and are sent to clients. */
static void test_texts(void **state)
{
    (void)state;
    struct db *db = open_db("b1");
    struct db_op ops[] = {image_op("fire"), slot_op(1, "fire", "warm")};
    apply(db, ops, 2);
    db_close(db);
    exec("UPDATE slot SET name = CAST(x'61ff620a' AS TEXT)");
    db = open_db("b1");
    struct db_rows r = load(db);
    assert_string_equal(r.slots[0].name, "a?b?");
    db_rows_dispose(&r);
    db_close(db);
}

static size_t log_size(void)
{
    struct stat st;
    char wal[120];
    snprintf(wal, sizeof wal, "%s-wal", path);
    assert_int_equal(stat(wal, &st), 0);
    return (size_t)st.st_size;
}

/* A row written again and again, with no pause of a second. Returns the log's largest size. */
static size_t write_rows(struct db *db, unsigned n, enum db_moment moment)
{
    size_t most = 0;
    struct db_op op = slot_op(1, "fire", "warm");
    for (unsigned i = 0; i < n; i++) {
        op.slot.since_ms++; /* what is there already is not written */
        apply(db, &op, 1);
        db_tend(db, moment);
        size_t size = log_size();
        most = size > most ? size : most;
    }
    return most;
}

/* However steadily rows come, the log's file is bounded; and it shrinks again. */
static void test_log_bounded(void **state)
{
    (void)state;
    struct db *db = open_db("b1");
    struct db_op image = image_op("fire");
    apply(db, &image, 1);
    assert_in_range(write_rows(db, 6000, DB_QUIET), 15 << 20, 17 << 20);
    assert_in_range(write_rows(db, 9000, DB_BUSY), 31 << 20, 33 << 20);
    write_rows(db, 300, DB_QUIET);
    assert_true(log_size() <= 17 << 20);
    write_rows(db, 300, DB_BUSY);
    db_tend(db, DB_REST);
    assert_true(log_size() < 100000);
    db_close(db);
}

/* Who reads in the file for long keeps the log from being emptied; nobody waits, and it is emptied
 * when they are gone. */
static void test_log_read(void **state)
{
    (void)state;
    struct db *db = open_db("b1");
    struct db_op image = image_op("fire");
    apply(db, &image, 1);
    sqlite3 *reader;
    assert_int_equal(sqlite3_open(path, &reader), SQLITE_OK);
    assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT * FROM image", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_true(write_rows(db, 3000, DB_QUIET) > 6 << 20);
    assert_int_equal(sqlite3_close(reader), SQLITE_OK);
    write_rows(db, 3000, DB_QUIET);
    assert_true(log_size() <= 17 << 20);
    db_close(db);
}

/* A disk that is full of what the log holds twice; and one that is full and gets space again. */
static void test_space(void **state)
{
    (void)state;
    struct db *db = open_db("b1");
    struct db_op image = image_op("fire");
    apply(db, &image, 1);
    db_close(db);
    db = open_db("b1"); /* the file has all that the log had */
    power_space(300000);
    write_rows(db, 400, DB_BUSY); /* far more than fits: the log is emptied, and begins anew */
    power_space(0);
    int rc = 0;
    struct db_op op = slot_op(1, "fire", "warm");
    for (uint64_t id = 2; !rc && id < 400; id++) {
        op = slot_op(id, "fire", "warm");
        rc = db_apply(db, &op, 1, &e);
    }
    assert_int_equal(rc, -ENOSPC);
    power_space(SIZE_MAX);
    apply(db, &op, 1);
    db_close(db);
}

/* A full disk, by the process's limit on file sizes: an error now, all well later. */
static void test_disk_full(void **state)
{
    struct rlimit before, tight = {.rlim_cur = 80000};
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    struct db *db = open_db("b1");
    struct db_op image = image_op("fire");
    apply(db, &image, 1);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    int rc = 0;
    uint64_t id = 0;
    while (!rc && id < 1000) {
        struct db_op op = slot_op(++id, "fire", "warm");
        rc = db_apply(db, &op, 1, &e);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(rc == -ENOSPC || rc == -EIO);
    struct db_op op = slot_op(id, "fire", "warm");
    apply(db, &op, 1);
    struct db_rows r = load(db);
    assert_int_equal(r.n_slots, id);
    db_rows_dispose(&r);
    db_close(db);
}

/* These stand before those that SQLite calls. */
static unsigned syncs;

int fsync(int fd)
{
    syncs++;
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    syncs++;
    return (int)syscall(SYS_fdatasync, fd);
}

/* The log is moved into the file in idle moments, so it does not grow for ever; and only then is
 * anything synced, so no commit waits for a disk. */
static void test_idle(void **state)
{
    char wal[120];
    unsigned idle_syncs = 0;
    (void)state;
    struct db *db = open_db("b1");
    struct db_op image = image_op("fire");
    apply(db, &image, 1);
    for (uint64_t id = 1; id <= 3000; id++) {
        struct db_op op = slot_op(id, "fire", "warm");
        syncs = 0;
        apply(db, &op, 1);
        op.kind = DB_SLOT_DELETE;
        apply(db, &op, 1);
        assert_int_equal(syncs, 0);
        if (id % 50 == 0)
            db_tend(db, DB_REST);
        idle_syncs += syncs;
    }
    assert_true(idle_syncs > 0);
    snprintf(wal, sizeof wal, "%s-wal", path);
    int fd = open(wal, O_RDONLY);
    assert_true(lseek(fd, 0, SEEK_END) < 4 << 20);
    close(fd);
    db_close(db);
}

static void end_lease(struct db *db, uint64_t id)
{
    struct db_op op = lease_op(id, 0);
    op.lease.ended_ms = 5;
    apply(db, &op, 1);
}

static bool lease_there(struct db *db, uint64_t id)
{
    struct lease_lookup lookup = {.id = id};
    const struct db_op op = {.kind = DB_LEASE_FIND, .lookup = &lookup};
    apply(db, &op, 1);
    free(lookup.row.trace);
    return lookup.found;
}

/* Ended leases go when ten thousand younger ones were given, and those that live are not asked each
 * time another one ends. */
static void test_history(void **state)
{
    const unsigned living = 2000;
    (void)state;
    struct db *db = open_db("b1");
    struct db_op image = image_op("fire");
    apply(db, &image, 1);
    for (uint64_t id = 1; id <= living; id++) {
        struct db_op op = lease_op(id, 0);
        apply(db, &op, 1);
    }
    end_lease(db, 2);
    end_lease(db, 3);
    end_lease(db, DB_LEASE_HISTORY + 3);
    assert_false(lease_there(db, 2));
    assert_true(lease_there(db, 3));
    end_lease(db, DB_LEASE_HISTORY + living);
    assert_false(lease_there(db, 3));
    assert_true(lease_there(db, 4));
    end_lease(db, 4); /* older than that */
    assert_false(lease_there(db, 4));
    sqlite3_stmt *prune = db->statements[ST_LEASE_PRUNE];
    sqlite3_stmt_status(prune, SQLITE_STMTSTATUS_VM_STEP, 1);
    end_lease(db, DB_LEASE_HISTORY + living + 1);
    assert_in_range(sqlite3_stmt_status(prune, SQLITE_STMTSTATUS_VM_STEP, 0), 1, 100);
    /* What is known of the file is not, when a transaction fails. */
    end_lease(db, 6);
    struct db_op bad[] = {lease_op(20000, 0), slot_op(1, "ice", "leased")};
    bad[0].lease.ended_ms = 5;
    assert_true(db_apply(db, bad, ARRAY_SIZE(bad), &e) < 0);
    end_lease(db, 20000);
    struct db_rows r = load(db);
    assert_int_equal(r.n_leases, living - 4);
    assert_int_equal(r.next_lease, 20001);
    db_rows_dispose(&r);
    db_close(db);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    power_begin();
    const struct CMUnitTest tests[] = {
        TEST(test_history),        TEST(test_round_trip),   TEST(test_counters),
        TEST(test_mode),           TEST(test_boot),         TEST(test_all_or_none),
        TEST(test_end_and_repair), TEST(test_newer_schema), TEST(test_damaged_file),
        TEST(test_malformed_row),  TEST(test_bounds),       TEST(test_texts),
        TEST(test_disk_full),      TEST(test_idle),         TEST(test_log_bounded),
        TEST(test_log_read),       TEST(test_space),        TEST(test_older_schema),
        TEST(test_trace),          TEST(test_trace_plan),   TEST(test_trace_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
