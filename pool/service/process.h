/* Helper processes of the real world (world_host.c): a child with a socket as descriptor 3. */
#ifndef POOL_PROCESS_H
#define POOL_PROCESS_H

#include "pool/service/work.h"
#include "pool/service/world.h"

#include <uv.h>

/* Of the queue on whose one thread helpers are started. It must last as long as there is a helper:
 * they end with the thread. */
extern const struct work_ops helper_start_ops;

/* What a helper finds in its environment (restore/protocol/protocol.h): values of the
 * configuration. */
struct helper_settings {
    char log_level[16], user[64];
};

/* Starts `path` on that queue's thread: what it may be told is sent at once; that it could not be
 * started is its end. settings are copied. input: see world.h. list: where it is noted until it is
 * freed. Does not block. */
int helper_spawn(struct work_queue *starts, uv_loop_t *loop, const char *path,
                 const struct helper_settings *settings, int input,
                 const struct helper_events *events, void *owner, struct list *list,
                 struct helper **out, struct error *e);
void helper_send(struct helper *h, const json_t *message);
void helper_stop(struct helper *h); /* SIGTERM */
void helper_kill(struct helper *h);
/* Of list: no more events; killed; freed by the loop. */
void helper_abandon(struct list *node);

#endif
