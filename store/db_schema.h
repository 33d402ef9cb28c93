/* The schema's history: see db_schema.c. For the files of the database only. */
#ifndef STORE_DB_SCHEMA_H
#define STORE_DB_SCHEMA_H

#include "base/error.h"

#include <sqlite3.h>

/* Brings an open database to the newest version. A newer one is refused. */
int db_migrate(sqlite3 *handle, const char *path, struct error *e);
/* A negative errno value for what SQLite says, with its message in the text. */
int db_error(sqlite3 *handle, struct error *e, const char *doing);

#endif
