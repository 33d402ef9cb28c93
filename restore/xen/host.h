/*
 * The host as the daemon sees it: which domains exist, ending one of them, and
 * sweeping away what a killed predecessor left. All calls block (a hypercall, or
 * several xenstore round trips) and belong on worker threads, each with its own
 * struct host. Building and completing happen in slot helpers (slot_protocol.h).
 */
#ifndef RESTORE_HOST_H
#define RESTORE_HOST_H

#include "base/error.h"
#include "base/uuid.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct host;

/* Opens the hypervisor's and xenstore's handles. ANSWER_XEN_UNAVAILABLE, also on a hypervisor of
 * another release than this was built for. */
int host_open(struct host **out, struct error *e);
void host_close(struct host *h);

enum host_domain_state {
    HOST_DOMAIN_ALIVE,    /* running, blocked or paused */
    HOST_DOMAIN_SHUTDOWN, /* has shut itself down; reason below */
    HOST_DOMAIN_DYING     /* being torn down */
};

struct host_domain {
    uint32_t domid;
    struct uuid uuid;
    enum host_domain_state state;
    unsigned shutdown_reason; /* SHUTDOWN_* of xen/sched.h, when state is SHUTDOWN */
    bool paused;
    bool asked;    /* made by dompool, paused, and asked by somebody to shut down or suspend */
    char name[64]; /* from xenstore, "" when it has none */
    char tag[64];  /* daemon's tag of a domain made by dompool, else "" */
};

/* Every domain but dom0. *out is malloc'd, caller frees. */
int host_list(struct host *h, struct host_domain **out, size_t *n, struct error *e);

/* "poweroff" "reboot" "suspend" "crash" "watchdog" "soft-reset", or "unknown". */
const char *host_shutdown_reason_name(unsigned reason);

struct host_memory {
    uint64_t total_kib, free_kib; /* free includes memory that only waits to be scrubbed */
};
int host_memory(struct host *h, struct host_memory *out, struct error *e);

/* Of a file system. total 0: it does not say. */
struct host_disk {
    uint64_t total_bytes, free_bytes;
};
/* Of the one that dir is on. Blocking: for as long as a network's file system takes. */
int host_disk(const char *dir, struct host_disk *out, struct error *e);

/* A private disk that takes no writes any more, for good: its copy-on-write layer is full, or what
 * that lies on has failed. The guest gets I/O errors. */
struct host_layer {
    struct uuid uuid; /* of the domain */
    char vdev[16];
    char state[24]; /* the kernel's word: "Invalid", "Overflow" */
};
/* All of the daemon with this tag. *out is malloc'd, the caller frees it. One request to
 * device-mapper while nothing has failed, however many disks there are. */
int host_layers(struct host *h, const char *tag, struct host_layer **out, size_t *n,
                struct error *e);

/*
 * Ends a domain of ours: closes its back ends, destroys it, waits until it is gone from the
 * hypervisor's list, removes its xenstore nodes and its private disks. The domain is found by its
 * uuid, under any domid (xl restore gives a new one). domid is where it was last seen; a domid that
 * belongs to another domain by now is left alone. It is success if the domain is gone already.
 * Takes 0.1 to 2 s as a rule; -ETIMEDOUT after timeout_ms.
 */
int host_destroy(struct host *h, uint32_t domid, const struct uuid *uuid, unsigned timeout_ms,
                 struct error *e);

/* Blocks until there is news of domains. 0: domains may have come, gone or shut down (xenstore's
 * @introduceDomain, @releaseDomain). 1: timeout_ms is over. Or an error. */
int host_wait(struct host *h, int timeout_ms, struct error *e);
/* Makes a host_wait in another thread return 1 at once. Async-signal safe. */
void host_wake(struct host *h);

/*
 * Removes what a killed daemon with this tag left: disk snapshots and xenstore nodes of domains
 * that no longer exist. (Loop devices and copy-on-write files end with their last user by
 * themselves.) Consoles of existing domains that nobody serves yet go to xenconsoled. Otherwise
 * this leaves existing domains alone (host_destroy ends them). It keeps the disks of the n_keep
 * domains of keep: xl save wrote these domains to files, and they may come back. *removed counts
 * the removed ones.
 */
int host_sweep(struct host *h, const char *tag, const struct uuid *keep, size_t n_keep,
               unsigned *removed, struct error *e);

#endif
