/* A clock for tests: see clock.h. */
#include "tests/fake_xen/clock.h"

#include "tests/fake_xen/fault.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CALLS_MAX 64u

/* A thread that waits for another one lets it run for this much real time, whatever time-out it
 * asked for. */
#define REAL_NAP_NS 20000

static uint64_t now_us = 1000000;

static struct {
    uint64_t at_us, n;
    void (*call)(uint64_t n);
} calls[CALLS_MAX];
static unsigned n_calls;

uint64_t fake_clock_us(void)
{
    FAKE_CALL();
    return ++now_us;
}

void fake_clock_in(uint64_t us, void (*call)(uint64_t n), uint64_t n)
{
    FAKE_CALL();
    if (n_calls == CALLS_MAX)
        abort();
    calls[n_calls].at_us = now_us + us;
    calls[n_calls].n = n;
    calls[n_calls++].call = call;
}

void fake_clock_reset(void)
{
    FAKE_CALL();
    n_calls = 0;
}

/* The first one that is due by then, or CALLS_MAX; of two at the same time the one that was asked
 * for first. */
static unsigned next_due(uint64_t by_us)
{
    unsigned next = CALLS_MAX;
    for (unsigned i = 0; i < n_calls; i++)
        if (calls[i].at_us <= by_us && (next == CALLS_MAX || calls[i].at_us < calls[next].at_us))
            next = i;
    return next;
}

/* True: one was done, at its time. */
static bool do_next(uint64_t by_us)
{
    unsigned i = next_due(by_us);
    if (i == CALLS_MAX)
        return false;
    void (*call)(uint64_t n) = calls[i].call;
    uint64_t n = calls[i].n;
    if (calls[i].at_us > now_us)
        now_us = calls[i].at_us;
    memmove(&calls[i], &calls[i + 1], (n_calls - i - 1) * sizeof calls[0]);
    n_calls--;
    call(n);
    return true;
}

void fake_clock_pass(uint64_t us)
{
    FAKE_CALL();
    uint64_t until = now_us + us;
    while (do_next(until))
        ;
    if (now_us < until)
        now_us = until;
}

static void let_others_run(void)
{
    const struct timespec nap = {.tv_nsec = REAL_NAP_NS};
    nanosleep(&nap, NULL);
}

/* ---- what the program calls ---- */

uint64_t __wrap_clock_mono_us(void);
int __wrap_usleep(useconds_t us);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __real_poll(struct pollfd *fds, nfds_t n, int timeout_ms);

uint64_t __wrap_clock_mono_us(void)
{
    return fake_clock_us();
}

int __wrap_usleep(useconds_t us)
{
    fake_clock_pass(us);
    let_others_run();
    return 0;
}

/* Until a descriptor is ready or the time is over, whatever comes first. */
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    if (timeout_ms < 0)
        return FAULT(FAULT_KERNEL) ? -1 : __real_poll(fds, n, timeout_ms);
    FAKE_CALL();
    if (FAULT(FAULT_KERNEL))
        return -1;
    uint64_t until = now_us + (uint64_t)timeout_ms * 1000;
    int ready;
    while (!(ready = __real_poll(fds, n, 0)) && do_next(until))
        ;
    if (!ready && now_us < until)
        now_us = until;
    return ready;
}
