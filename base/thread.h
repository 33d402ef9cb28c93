/* Threads, and their priority. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/*
 * Background work gives way to whatever else wants a processor (nice 10), until it is foreground
 * again. Of the calling thread, or of every thread of the calling process, which must lead a
 * process group: by group is how all threads can be reached. Without effect for who may not raise a
 * priority again.
 */
void background_thread(bool on);
void background_group(bool on);

/* A joinable thread that takes no signals: they are the main thread's, whose handlers end the
 * process in order and whose calls they interrupt. 0, or what pthread_create says. */
int thread_start(pthread_t *thread, void *(*run)(void *data), void *data);

#endif
