/*
 * A daemon as a process, dompoold-sim over a fake host (fake.h), in a directory of its own; and
 * what can be seen of it from outside. Its state directory is a small file system in memory, which
 * can be full. Needs root: the file system is mounted in a mount namespace of the process.
 *
 * Whatever cannot be done ends the process with a message.
 */
#ifndef TESTS_SIM_RUNNING_H
#define TESTS_SIM_RUNNING_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#define DATABASE "dompool.db" /* in the state directory */

struct running {
    char dir[48], host_dir[64], state_dir[64], sock[80], conf[64], log[64];
    pid_t pid; /* 0: none */
};

/* Makes directories and the configuration file. settings: what stands behind [daemon] and its
 * directories. */
void running_init(struct running *r, const char *settings);
/* Removes the directory; what is left of the daemon is killed. */
void running_dispose(struct running *r);
/* Starts the daemon, and returns when it answers. */
void running_start(struct running *r);
/* kill -9 */
void running_kill(struct running *r);
/* False: the daemon has ended by itself. */
bool running_alive(struct running *r);

/* A new connection. */
int running_connect(const struct running *r);
/* Sends a call of io.dompool; takes parameters, NULL: none. Who is gone does not reply. */
void running_send(int fd, const char *method, json_t *parameters);
/* One call on a connection of its own; the reply must come. The caller owns it. */
json_t *running_ask(const struct running *r, const char *method, json_t *parameters);

/* Sets a fault of the fake host (fake.h); "" takes it back. */
void running_fault(const struct running *r, const char *name, const char *word);
/* Fills the state directory's file system to the last byte, or makes room again. */
void running_fill(const struct running *r, bool full);

/* The daemon's open descriptors, its memory, and the size of a file of its state directory. */
unsigned running_descriptors(const struct running *r);
unsigned long running_rss_kib(const struct running *r);
unsigned long running_file_kib(const struct running *r, const char *name);
/* What `PRAGMA integrity_check` says of a copy of the database and its log; the caller frees. */
char *running_integrity(const struct running *r);

#endif
