/*
 * Faults on demand. Every call of a fake in this directory counts as one of its kind. A test has
 * the N-th call of a kind fail, or has something happen just before it, for N = 0, 1, 2, ... until
 * a run makes fewer calls.
 *
 * The fakes share one lock, since a slot's helper has threads. What a fake itself calls is never
 * counted, and its memory never fails.
 */
#ifndef TESTS_FAULT_H
#define TESTS_FAULT_H

#include <stdbool.h>
#include <stddef.h>

enum fault_kind {
    FAULT_HYPERVISOR, /* libxenctrl and its sisters */
    FAULT_STORE,      /* libxenstore */
    FAULT_KERNEL,     /* system calls on files and devices, libdevmapper */
    FAULT_MEMORY,     /* allocations; where the linker wraps them, see memory.c */
    FAULT_THREAD,     /* thread_start */
    FAULT_KINDS
};

const char *fault_kind_name(enum fault_kind kind);

/* From now on the nth call of the kind, counted from 0, fails with errnum. Replaces what was
 * planned before. */
void fault_plan(enum fault_kind kind, unsigned nth, int errnum);
/* Runs `moment` before the nth call of the kind, which then goes on. The lock is held, so other
 * threads see all of it or nothing. */
void fault_moment(enum fault_kind kind, unsigned nth, void (*moment)(void));
/* Nothing is planned any more. True: what was planned has come. */
bool fault_end(void);
/* The name of the last call that was hit; "" when none was. */
const char *fault_call(void);
/* How many calls of the kind there were since the last plan. */
unsigned fault_calls(enum fault_kind kind);

/* ---- for fakes ---- */

/* Counts a call; true: it is to fail, and errno says with what. */
bool fault_hits(enum fault_kind kind, const char *call);
#define FAULT(kind) fault_hits((kind), __func__)

/* At the start of each function that stands in for another one: takes the lock until its end. */
#define FAKE_CALL() __attribute__((cleanup(fake_leave), unused)) int fake_call_ = fake_enter()
int fake_enter(void);
void fake_leave(int *entered);

/* Aborts when there is no memory. */
void *fake_checked(void *p);
char *fake_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
