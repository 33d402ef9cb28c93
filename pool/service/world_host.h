/* The real world: libuv processes and timers, threads for the host and the database. */
#ifndef POOL_WORLD_HOST_H
#define POOL_WORLD_HOST_H

#include "pool/service/world.h"

#include <uv.h>

struct world_host;

/* Starts the threads. db is used by one of them from now on and stays the caller's. */
int world_host_new(uv_loop_t *loop, struct db *db, struct world_host **out, struct error *e);
struct world *world_host_world(struct world_host *wh);
/* Where the helpers are; copied. The built-in place gives way to libexec/dompool beside this
 * program's own directory, if the helpers are there. */
void world_host_set_libexec(struct world_host *wh, const char *dir);
/* Helpers that start from now on log at this level, and read what is foreign as this user;
 * copied. */
void world_host_set_helpers(struct world_host *wh, const char *log_level, const char *user);
/* Tells of domains that come and go from now on. */
int world_host_watch(struct world_host *wh, struct error *e);

/* True when no thread is inside a call to the host: only then may it be stopped. */
bool world_host_idle(struct world_host *wh);
/* Finishes the writes to the database: to be called before db_close, whatever the host does. */
void world_host_stop_writes(struct world_host *wh);
/* Kills what helpers there are, ends the threads and closes the handles; runs the loop for the
 * last callbacks, so all other handles must have been closed. */
void world_host_stop(struct world_host *wh);
void world_host_free(struct world_host *wh);

#endif
