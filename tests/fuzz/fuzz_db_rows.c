/*
 * Databases whose contents somebody has changed. A daemon in the simulated world leaves images,
 * slots, leases, settings and history; the input changes its file, and another daemon starts on
 * that. It starts, or says why it does not. When it runs, the invariants hold, clients are
 * answered, it stops, and starts again.
 *
 * The first byte of the input says what it changes: rows, of which each value may be of any type
 * and length, whatever the schema says; or bytes of the file.
 */
#include "tests/fuzz/fuzz.h"

#include "base/array.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "tests/sim/world_sim.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char config[] = "parallel = 2\nstop_timeout = 3s\n[pool]\nmin = 1\nmax = 6\n";

static struct sim sim;
static char path[80];

/* What is left of the input. */
static const uint8_t *at;
static size_t left;

static unsigned next(void)
{
    if (!left)
        return 0;
    left--;
    return *at++;
}

/* ---- the database before ---- */

static json_t *json(const char *text)
{
    json_t *o = json_loads(text, 0, NULL);
    FUZZ_CHECK(o);
    return o;
}

static void leave_database(void)
{
    sim_start(&sim, config);
    sim_image(&sim, "fire");
    sim_derive(&sim, "mist", "fire");
    sim_run(&sim, 2000);
    struct sim_client *c = sim_connect(&sim, 0);
    for (int i = 0; i < 3; i++)
        sim_expect(c, "Allocate",
                   json("{\"image\":\"mist\",\"wait_ms\":9000,\"meta\":{\"for\":\"work\"}}"), 9000,
                   NULL);
    sim_expect(c, "Release", json("{\"leases\":[\"l1\"]}"), 9000, NULL);
    sim_expect(c, "PoolSet", json("{\"image\":\"fire\",\"settings\":{\"min\":\"2\"}}"), 9000, NULL);
    sim_run(&sim, 5000);
    sim_crash(&sim);
    format_fits(path, sizeof path, "%s/db", sim.dir);
}

/* ---- rows ---- */

static const struct {
    const char *table, *key;
    const char *columns[13];
} tables[] = {
    {"image", "name", {"name", "file", "id", "base", "created_ms", "removing"}},
    {"slot",
     "id",
     {"id", "uuid", "image", "state", "engine", "domid", "name", "since_ms", "reason", "boot"}},
    {"lease",
     "id",
     {"id", "slot", "image", "owner_uid", "name", "created_ms", "expires_ms", "hold", "paused",
      "meta", "ended_ms", "end_reason", "trace"}},
    {"setting", "key", {"image", "key", "value"}},
    {"discard", "file", {"file"}},
    {"counter", "name", {"name", "next"}},
    {"fact", "name", {"name", "value"}},
};

static sqlite3 *handle;

/* What the tables' own constraints refuse is not done. */
static void run(const char *sql, sqlite3_value *value)
{
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(handle, sql, -1, &s, NULL) != SQLITE_OK)
        return;
    if (value)
        sqlite3_bind_value(s, 1, value);
    sqlite3_step(s);
    sqlite3_finalize(s);
}

/* STRICT and NOT NULL go, or come back. */
static void schema_loosen(void)
{
    run("PRAGMA foreign_keys = OFF", NULL);
    run("PRAGMA writable_schema = ON", NULL);
    run("CREATE TEMP TABLE before AS SELECT name, sql FROM sqlite_schema", NULL);
    run("UPDATE sqlite_schema SET sql = replace(replace(replace(sql, ') STRICT, WITHOUT', ') "
        "WITHOUT'), ') STRICT', ')'), 'NOT NULL', '') WHERE type = 'table'",
        NULL);
    run("PRAGMA writable_schema = RESET", NULL);
}

static void schema_restore(void)
{
    run("PRAGMA writable_schema = ON", NULL);
    run("UPDATE sqlite_schema SET sql = (SELECT sql FROM before WHERE before.name = "
        "sqlite_schema.name) WHERE type = 'table'",
        NULL);
    run("PRAGMA writable_schema = RESET", NULL);
}

/* A row of table, by its number; without parameter 1. */
static void row_sql(char *sql, size_t size, const char *before, size_t table, unsigned row)
{
    format_fits(sql, size, "%s WHERE rowid = (SELECT rowid FROM %s LIMIT 1 OFFSET %u)", before,
                tables[table].table, row);
    if (!strcmp(tables[table].key, "id") || !strcmp(tables[table].table, "image"))
        return;
    format_fits(sql, size, "%s WHERE %s = (SELECT %s FROM %s LIMIT 1 OFFSET %u)", before,
                tables[table].key, tables[table].key, tables[table].table, row);
}

enum content { CONTENT_NULL, CONTENT_INT, CONTENT_REAL, CONTENT_TEXT, CONTENT_BLOB, CONTENT_LONG };

/* The value that the input says comes from SQLite itself: a statement that gives it. */
static sqlite3_stmt *value_read(void)
{
    static char repeated[DB_TRACE_SIZE + 100];
    static const char *const sql = "SELECT ?1";
    sqlite3_stmt *s;
    FUZZ_CHECK(sqlite3_prepare_v2(handle, sql, -1, &s, NULL) == SQLITE_OK);
    enum content content = next() % 6;
    int n = (int)next();
    n = n < (int)left ? n : (int)left;
    int64_t number = 0;
    memcpy(&number, at, (size_t)n < sizeof number ? (size_t)n : sizeof number);
    if (content == CONTENT_INT)
        sqlite3_bind_int64(s, 1, number);
    else if (content == CONTENT_REAL)
        sqlite3_bind_double(s, 1, (double)number);
    else if (content == CONTENT_TEXT)
        sqlite3_bind_text(s, 1, (const char *)at, n, SQLITE_TRANSIENT);
    else if (content == CONTENT_BLOB)
        sqlite3_bind_blob(s, 1, at, n, SQLITE_TRANSIENT);
    if (content == CONTENT_LONG) {
        memset(repeated, n ? *at : 'x', sizeof repeated);
        sqlite3_bind_text(s, 1, repeated, n * (int)sizeof repeated / 256, SQLITE_STATIC);
    } else {
        at += n;
        left -= (size_t)n;
    }
    FUZZ_CHECK(sqlite3_step(s) == SQLITE_ROW);
    return s;
}

static void set_value(size_t table, unsigned row)
{
    char update[80], sql[300];
    size_t n = 0;
    while (n < ARRAY_SIZE(tables[table].columns) && tables[table].columns[n])
        n++;
    format_fits(update, sizeof update, "UPDATE OR REPLACE %s SET %s = ?1", tables[table].table,
                tables[table].columns[next() % n]);
    row_sql(sql, sizeof sql, update, table, row);
    sqlite3_stmt *value = value_read();
    run(sql, sqlite3_column_value(value, 0));
    sqlite3_finalize(value);
}

static void delete_row(size_t table, unsigned row)
{
    char delete[80], sql[300];
    format_fits(delete, sizeof delete, "DELETE FROM %s", tables[table].table);
    row_sql(sql, sizeof sql, delete, table, row);
    run(sql, NULL);
}

/* The same once more, but for its key and for what is the only one of its kind: those are the next
 * value, and each further row's own. */
static void copy_row(size_t table, unsigned row)
{
    static const char *const unique[] = {"uuid", "file"};
    char insert[400] = "", sql[600];
    sqlite3_stmt *value = value_read();
    const char *separator = "";
    for (size_t i = 0; i < ARRAY_SIZE(tables[table].columns) && tables[table].columns[i]; i++) {
        const char *column = tables[table].columns[i];
        bool fresh = !strcmp(column, tables[table].key);
        char part[80];
        for (size_t k = 0; k < ARRAY_SIZE(unique) && !fresh; k++)
            fresh = !strcmp(column, unique[k]);
        format_fits(part, sizeof part, "%s%s", separator, fresh ? "?1" : column);
        strncat(insert, part, sizeof insert - strlen(insert) - 1);
        separator = ", ";
    }
    char before[500];
    format_fits(before, sizeof before, "INSERT INTO %s SELECT %s FROM %s", tables[table].table,
                insert, tables[table].table);
    row_sql(sql, sizeof sql, before, table, row);
    run(sql, sqlite3_column_value(value, 0));
    sqlite3_finalize(value);
}

static void change_rows(void)
{
    FUZZ_CHECK(sqlite3_open(path, &handle) == SQLITE_OK);
    schema_loosen();
    for (int i = 0; left && i < 64; i++) {
        unsigned what = next();
        size_t table = next() % ARRAY_SIZE(tables);
        unsigned row = next() % 8;
        if (what % 8 == 0)
            delete_row(table, row);
        else if (what % 8 == 1)
            copy_row(table, row);
        else
            set_value(table, row);
    }
    schema_restore();
    FUZZ_CHECK(sqlite3_close(handle) == SQLITE_OK);
}

/* ---- bytes ---- */

static void change_bytes(void)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && !fstat(fd, &st));
    while (left) {
        size_t where = next() | next() << 8 | next() << 16;
        size_t n = next() % 64 + 1;
        n = n < left ? n : left;
        FUZZ_CHECK(!pwrite_full(fd, at, n, where % ((size_t)st.st_size + 1)));
        at += n;
        left -= n;
    }
    close(fd);
}

/* ---- one input ---- */

static const struct {
    const char *method, *parameters;
} questions[] = {
    {"Status", "{}"},
    {"List", "{}"},
    {"ImageList", "{}"},
    {"PoolShow", "{}"},
    {"ConfigShow", "{}"},
    {"Trace", "{\"lease\":\"l1\"}"},
    {"Trace", "{\"lease\":\"l2\"}"},
    {"Trace", "{\"lease\":\"mist-l1\"}"},
    {"Allocate", "{\"image\":\"fire\"}"},
    {"Allocate", "{\"image\":\"mist\"}"},
    {"Release", "{\"all\":true}"},
    {"ImageRemove", "{\"name\":\"mist\"}"},
    {"Status", "{}"},
};

static void ask_everything(void)
{
    struct sim_client *c = sim_connect(&sim, 0);
    for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
        json_t *reply = sim_ask(c, questions[i].method, json(questions[i].parameters), 60000);
        FUZZ_CHECK(reply);
        json_decref(reply);
    }
    sim_disconnect(c);
}

/* A start that is refused says why. */
static bool start(void)
{
    bool ok = sim_try_restart(&sim, config);
    FUZZ_CHECK(ok || (sim.start_rc < 0 && sim.start_error.text[0]));
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool quiet;
    if (!quiet)
        log_init("fuzz", LOG_LEVEL_ERROR);
    quiet = true;
    at = data;
    left = size;
    leave_database();
    bool bytes = next() % 2;
    if (bytes)
        change_bytes();
    else
        change_rows();
    sim.damaged = bytes;
    sim.renamed = true;
    sim.restored = true; /* of domains that have no tag of ours, some may be */
    if (start()) {
        ask_everything();
        sim_crash(&sim);
        FUZZ_CHECK(start() || bytes);
    }
    sim_end(&sim);
    return 0;
}
