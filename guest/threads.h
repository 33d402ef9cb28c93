/*
 * Threads of the test guest, and the time limits of their waits. Limits count on the monotonic
 * clock: a restored guest's wall clock jumps.
 */
#ifndef GUEST_THREADS_H
#define GUEST_THREADS_H

#include <pthread.h>
#include <time.h>

/* Starts a thread that nobody joins; ends the guest if that fails. */
void guest_thread_start(void *(*run)(void *), void *arg);

void sleep_ms(unsigned long ms);

/* A condition for pthread_cond_timedwait with a time that deadline_after gave. */
void cond_init(pthread_cond_t *cond);
struct timespec deadline_after(unsigned long ms);

#endif
