/* See workers.h. */
#define _GNU_SOURCE

#include "guest/workers.h"

#include "guest/threads.h"

#include <errno.h>

enum { SLICE_MS = 1000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t asked; /* a round was started */
static pthread_cond_t done;  /* some worker ended its share */

void workers_init(void)
{
    cond_init(&asked);
    cond_init(&done);
}

void guest_worker_run(struct guest_worker *w)
{
    pthread_mutex_lock(&lock);
    for (;;) {
        while (w->round_asked == w->round_done)
            pthread_cond_wait(&asked, &lock);
        uint64_t round = w->round_asked;
        pthread_mutex_unlock(&lock);
        bool ok = w->work(w, round);
        pthread_mutex_lock(&lock);
        w->ok = ok;
        w->round_done = round;
        pthread_cond_broadcast(&done);
    }
}

static bool all_idle(const struct workers *all)
{
    for (size_t i = 0; i < all->count; i++)
        if (all->members[i]->round_asked != all->members[i]->round_done)
            return false;
    return true;
}

bool workers_idle(const struct workers *all)
{
    pthread_mutex_lock(&lock);
    bool idle = all_idle(all);
    pthread_mutex_unlock(&lock);
    return idle;
}

void workers_ask(const struct workers *all, uint64_t round)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < all->count; i++)
        if (all->members[i]->round_asked == all->members[i]->round_done)
            all->members[i]->round_asked = round;
    pthread_cond_broadcast(&asked);
    pthread_mutex_unlock(&lock);
}

static void wait_slice(const struct workers *all)
{
    struct timespec end = deadline_after(SLICE_MS);
    while (!all_idle(all))
        if (pthread_cond_timedwait(&done, &lock, &end) == ETIMEDOUT)
            break;
}

struct tally workers_wait(const struct workers *all, uint64_t round, unsigned long limit_ms)
{
    struct tally t = {0};
    pthread_mutex_lock(&lock);
    for (unsigned long slices = limit_ms / SLICE_MS; slices && !all_idle(all); slices--)
        wait_slice(all);
    for (size_t i = 0; i < all->count; i++) {
        bool in_time = all->members[i]->round_done == round;
        t.done += in_time;
        t.good += in_time && all->members[i]->ok;
    }
    pthread_mutex_unlock(&lock);
    return t;
}
