/*
 * Failures in a row of something that is tried again, and the pause before the next try. A success
 * forgets them; each further failure doubles the pause.
 */
#ifndef POOL_FAILURES_H
#define POOL_FAILURES_H

#include "pool/core/ground.h"

/* From so many on, callers are told what is broken instead of waiting. */
#define BROKEN_AFTER 3
/* So many slots that fail to become an image, for the same reason, do so because of the image. */
#define SHARED_BY 2

struct failures {
    struct core *core;
    unsigned n;
    int answer;                /* of the last one */
    char text[DB_REASON_SIZE]; /* of the last one; "" after a success */
    struct timer pause;
};

void failures_init(struct failures *f, struct core *core);
/* Stops the pause; for whoever frees the owner. */
void failures_dispose(struct failures *f);
/* One more. The pause starts; core_kick comes at its end. */
void failures_add(struct failures *f, int answer, const char *text, uint64_t pause_ms,
                  uint64_t pause_max_ms);
/* A success. */
void failures_forget(struct failures *f);
/* It is another thing that is tried from now on: a success, and no pause. */
void failures_reset(struct failures *f);
/* The pause ends now if the last failure was for want of host memory. */
void failures_memory_freed(struct failures *f);
/* Milliseconds until the next try, 0: none to wait for. */
uint64_t failures_pause_ms(const struct failures *f);
/* What callers are told: want of memory or of Xen is the host's trouble and keeps its name,
 * all else is ANSWER_IMAGE_BROKEN. */
int failures_answer(const struct failures *f);

#endif
