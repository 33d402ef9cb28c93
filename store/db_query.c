/*
 * One statement: see db_query.h. A step has three outcomes (row, done, error): reading an error as
 * "no more rows" would make a failing disk look like an empty pool.
 */
#include "store/db_query.h"

#include "base/log.h"
#include "base/text.h"
#include "store/db_schema.h"

#include <errno.h>
#include <string.h>

const char *const statement_sql[ST_COUNT] = {
#define STATEMENT_SQL(name, sql) [ST_##name] = (sql),
    STATEMENTS(STATEMENT_SQL)
#undef STATEMENT_SQL
};

struct query query_begin(struct db *db, enum statement which)
{
    return (struct query){.db = db, .s = db->statements[which], .rc = SQLITE_OK};
}

void query_int(struct query *q, int64_t value)
{
    if (q->rc == SQLITE_OK)
        q->rc = sqlite3_bind_int64(q->s, ++q->at, value);
}

void query_text(struct query *q, const char *text)
{
    if (q->rc == SQLITE_OK)
        q->rc = sqlite3_bind_text(q->s, ++q->at, text, -1, SQLITE_TRANSIENT);
}

void query_null(struct query *q)
{
    if (q->rc == SQLITE_OK)
        q->rc = sqlite3_bind_null(q->s, ++q->at);
}

void query_text_or_null(struct query *q, const char *text)
{
    if (text)
        query_text(q, text);
    else
        query_null(q);
}

void query_uuid(struct query *q, const struct uuid *uuid)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(uuid, text);
    query_text(q, text);
}

enum step query_step(struct query *q)
{
    if (q->rc != SQLITE_OK)
        return STEP_ERROR;
    int rc = sqlite3_step(q->s);
    if (rc == SQLITE_ROW)
        return STEP_ROW;
    return rc == SQLITE_DONE ? STEP_DONE : STEP_ERROR;
}

void query_end(struct query *q)
{
    sqlite3_reset(q->s);
    sqlite3_clear_bindings(q->s);
}

/* Runs a statement that gives no row. */
int query_run(struct query *q, struct error *e)
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

int run(struct db *db, enum statement which, struct error *e)
{
    struct query q = query_begin(db, which);
    return query_run(&q, e);
}

bool column_text(sqlite3_stmt *s, int column, char *buf, size_t size)
{
    int type = sqlite3_column_type(s, column);
    const char *text = type == SQLITE_TEXT ? (const char *)sqlite3_column_text(s, column) : NULL;
    bool ok = format_fits(buf, size, "%s", text ? text : "") && (text || type == SQLITE_NULL);
    text_plain(buf);
    return ok;
}

bool column_int(sqlite3_stmt *s, int column, int64_t min, int64_t max, int64_t *out)
{
    int type = sqlite3_column_type(s, column);
    *out = type == SQLITE_NULL ? 0 : sqlite3_column_int64(s, column);
    return type == SQLITE_NULL || (type == SQLITE_INTEGER && *out >= min && *out <= max);
}

bool column_uuid(sqlite3_stmt *s, int column, struct uuid *uuid)
{
    char text[UUID_TEXT_SIZE];
    *uuid = (struct uuid){0};
    return column_text(s, column, text, sizeof text) && (!text[0] || !uuid_parse(text, uuid));
}

void query_int_or_null(struct query *q, int64_t value)
{
    if (value)
        query_int(q, value);
    else
        query_null(q);
}

/* ---- transactions ---- */

/* A rollback that failed has left its transaction open. */
int transaction_clear(struct db *db, struct error *e)
{
    return sqlite3_get_autocommit(db->handle) ? 0 : run(db, ST_ROLLBACK, e);
}

int transaction_begin(struct db *db, struct error *e)
{
    int rc = transaction_clear(db, e);
    return rc ? rc : run(db, ST_BEGIN, e);
}

int transaction_end(struct db *db, int rc, struct error *e)
{
    if (!rc)
        rc = run(db, ST_COMMIT, e);
    if (rc && !sqlite3_get_autocommit(db->handle)) {
        struct error second;
        if (run(db, ST_ROLLBACK, &second))
            log_error("%s", second.text);
    }
    if (rc)
        db->slot_raised = db->lease_raised = db->pruned = 0;
    return rc;
}

/* ---- facts ---- */

int fact_get(struct db *db, const char *name, char *value, size_t size, bool *found,
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

int fact_put(struct db *db, const char *name, const char *value, struct error *e)
{
    struct query q = query_begin(db, ST_FACT_PUT);
    query_text(&q, name);
    query_text(&q, value);
    return query_run(&q, e);
}
