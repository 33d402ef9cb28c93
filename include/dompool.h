/*
 * libdompool: the C client library of dompool, the manager of a pool of
 * half-restored Xen domains.
 *
 * One handle is one connection to the daemon. The calls come in two kinds:
 *
 *   blocking      dompool_allocate, _release, _list, _wait, _call: send a request and
 *                 return with its answer.
 *   non-blocking  dompool_start queues a request and returns at once. The caller watches
 *                 dompool_fd() for dompool_events() in its own loop and calls
 *                 dompool_dispatch() when it is ready; answers arrive in callbacks.
 *
 * Both kinds may be mixed on one handle. The daemon answers the requests of one
 * connection in the order in which they were sent; a blocking call therefore waits for
 * the requests started before it, and their callbacks run inside it. A request that takes
 * long (dompool_wait, an import) deserves a handle of its own.
 *
 * Errors. Every call that returns int returns
 *
 *   0                  done
 *   DOMPOOL_REFUSED    the daemon said no: dompool_error_name() says which of the
 *                      documented errors it is ("PoolEmpty"), dompool_error_text() why,
 *                      to whom, and what can be done about it
 *   negative           a negated errno value: the request was not made or its answer is
 *                      not known. dompool_error_text() has the details. Of these,
 *                        -EINVAL   an argument is malformed or not UTF-8; nothing was sent
 *                        -ENOMEM   out of memory
 *                        -EDEADLK  a blocking call from inside a callback; nothing was sent
 *                        -EPROTO   the daemon's answer is not what its interface says
 *                        -EMSGSIZE the daemon's answer is larger than 16 MiB
 *                        any other: the connection is lost (-ECONNRESET, -EPIPE)
 *                      After an answer that could not be taken in and a lost connection the
 *                      handle is of no more use but to be closed: every call returns that
 *                      error again.
 *
 * Strings are UTF-8. Times are in the unit that the name says. A handle must not be used
 * by two threads at once; different handles may. The library installs no signal handler
 * and raises no SIGPIPE; a signal handler that returns does not interrupt its calls.
 *
 * The methods, their parameters and their errors are described in io.dompool(7).
 */
#ifndef DOMPOOL_H
#define DOMPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DOMPOOL_API __attribute__((visibility("default")))
#else
#define DOMPOOL_API
#endif

/* The daemon answered with an error; see dompool_error_name. */
#define DOMPOOL_REFUSED 1

/* A number that is not given: each place says what that means. */
#define DOMPOOL_UNSET (-1)

/* ---- the connection ---- */

struct dompool; /* one connection; opaque */

/*
 * The socket that dompool_connect(path, ...) uses: path, or, when it is NULL, the
 * environment variable DOMPOOL_SOCKET if that is set and not empty, or
 * "/run/dompool/io.dompool". Never NULL; not to be freed, valid as long as path and the
 * environment are.
 */
DOMPOOL_API const char *dompool_socket_path(const char *path);

/*
 * Connects to the daemon. Blocks only while the daemon's queue of connections is full.
 * On success the caller owns *out (dompool_close); on failure *out is NULL.
 * Errors: negated errno values of socket(2) and connect(2): -ENOENT (no such socket: the
 * daemon is not running), -ECONNREFUSED (it has died), -EACCES, -ENAMETOOLONG (path longer
 * than a socket address holds), -ENOMEM.
 */
DOMPOOL_API int dompool_connect(const char *path, struct dompool **out);

/*
 * Closes the connection and frees the handle. Requests without their last answer get
 * their callback called one last time, with -ECANCELED. Leases allocated with hold end.
 * Not to be called from inside a callback. NULL is fine. Does not block.
 */
DOMPOOL_API void dompool_close(struct dompool *d);

/*
 * Of the call that failed last on this handle; inside a callback, of the request that the
 * callback is for. The name is the daemon's error without its interface when that is
 * io.dompool ("PoolEmpty"), with it for any other ("org.varlink.service.MethodNotFound"),
 * and "" when it was not the daemon that refused. Never NULL; valid until the next call on
 * the handle. The text is one line, without control characters.
 */
DOMPOOL_API const char *dompool_error_name(const struct dompool *d);
DOMPOOL_API const char *dompool_error_text(const struct dompool *d);

/*
 * The whole answer to the typed call (dompool_allocate, _release, _list, _wait) that succeeded last
 * on this handle: its parameters as the text of a JSON object, with what the structs leave out.
 * "{}" before the first one. Never NULL; valid until the next call on the handle.
 */
DOMPOOL_API const char *dompool_reply_text(const struct dompool *d);

/* ---- leases ---- */

/*
 * What to allocate. Start from DOMPOOL_ALLOCATE_OPTIONS_INIT: size tells the library which
 * version of this struct the program was compiled with, so members may be added at its end.
 */
struct dompool_allocate_options {
    size_t size;
    const char *image;       /* required */
    const char *name;        /* the domain's name; NULL: the daemon chooses */
    int64_t ttl_ms;          /* the lease ends by itself after this; 0: never; DOMPOOL_UNSET:
                                the pool's setting "ttl" */
    int64_t wait_ms;         /* how long to wait for a slot when none is warm; 0 and
                                DOMPOOL_UNSET: not at all */
    bool hold;               /* the lease ends when this handle is closed */
    bool paused;             /* leave the domain paused */
    const char *const *meta; /* n_meta pairs: key, value, key, value, ... */
    size_t n_meta;
    const char *mac; /* of the first network interface, for root: "02:00:00:12:34:56"; NULL: as the
                        pool's setting "mac" says */
};

#define DOMPOOL_ALLOCATE_OPTIONS_INIT                                                              \
    {                                                                                              \
        sizeof(struct dompool_allocate_options), NULL, NULL, DOMPOOL_UNSET, DOMPOOL_UNSET, false,  \
            false, NULL, 0, NULL                                                                   \
    }

/* One step of an allocation. This struct will not change; the method Trace, by dompool_call, tells
 * more, also of leases that have ended. */
struct dompool_stage {
    const char *name;
    uint64_t us;         /* microseconds */
    uint64_t hypercalls; /* hypercalls made in it */
};

/*
 * A lease. Made by the library only, which may add members at the end. Strings are never
 * NULL and belong to the lease.
 */
struct dompool_lease {
    const struct dompool_lease *next; /* of a list; NULL at its end */
    const char *lease;                /* id */
    const char *image;
    const char *uuid; /* the domain's */
    const char *name; /* the domain's */
    const char *slot;
    int64_t domid;           /* DOMPOOL_UNSET: `xl save` has put the domain into a file */
    const char *const *meta; /* n_meta pairs: key, value, ...; from dompool_list */
    size_t n_meta;

    /* From dompool_allocate; "" and 0 in a list. */
    const char *from;     /* "warm" or "cold" */
    uint64_t delta_pages; /* pages written for this lease, 4 KiB each */
    uint64_t total_us;    /* microseconds from request to reply, in the daemon */
    const struct dompool_stage *stages;
    size_t n_stages;

    /* From dompool_list; 0 and false after dompool_allocate. */
    uint32_t owner_uid;
    int64_t created_ms; /* milliseconds since the epoch */
    int64_t expires_ms; /* milliseconds since the epoch; 0: never */
    bool hold, paused;
    const char *fault; /* why the guest cannot write to a disk; "": it can */

    /* From both. */
    const char *const *macs; /* n_macs MAC addresses of its network interfaces, by rising number */
    size_t n_macs;
};

/*
 * Takes a domain from the pool. Blocks until it runs: milliseconds when a slot is warm, else at
 * most wait_ms and the time of completing a slot. On success the caller owns *out
 * (dompool_lease_free); on failure *out is NULL. Refusals: PoolEmpty, NoSuchImage, BadValue,
 * ImageBroken, NameInUse, NotPermitted, NoHostMemory, NoHostDisk, LimitReached, TimedOut,
 * AllocateFailed, XenUnavailable, Stopping, Internal.
 */
DOMPOOL_API int dompool_allocate(struct dompool *d, const struct dompool_allocate_options *options,
                                 struct dompool_lease **out);

/* Frees a lease and those that follow it in its list. Does not end it. NULL is fine. */
DOMPOOL_API void dompool_lease_free(struct dompool_lease *lease);

#define DOMPOOL_RELEASE_ALL 1u     /* every lease of the caller; for root, every lease */
#define DOMPOOL_RELEASE_NO_WAIT 2u /* return before the domains are gone */

/*
 * Ends leases: their domains are destroyed. names holds n lease ids, domain names or domids
 * as decimal text; with DOMPOOL_RELEASE_ALL n must be 0, without it at least 1 (-EINVAL).
 * Blocks until the domains are gone, unless told otherwise. *ended, if ended is not NULL, is the
 * first of the leases that ended, NULL when none did: lease, image, name and domid are set. The
 * caller frees it with dompool_lease_free; on failure it is NULL.
 * Refusals: NoSuchLease, BadValue, NotPermitted, TimedOut, XenUnavailable, Stopping, Internal.
 */
DOMPOOL_API int dompool_release(struct dompool *d, const char *const *names, size_t n,
                                unsigned flags, struct dompool_lease **ended);

/*
 * A slot: a domain of the pool, or one that is being built. Made by the library only, which may
 * add members at the end. Strings are never NULL and belong to the slot.
 */
struct dompool_slot {
    const struct dompool_slot *next; /* of a list; NULL at its end */
    const char *slot;                /* id */
    const char *image;
    const char *state;  /* "warm"; the others are listed in io.dompool(7) */
    const char *engine; /* that built it; "" until that is known */
    const char *uuid;   /* the domain's */
    const char *name;   /* the domain's */
    const char *lease;  /* id of the lease that it serves; "": none */
    const char *reason; /* why it is in this state, "" when there is nothing to say */
    int64_t domid;      /* DOMPOOL_UNSET: it has no domain */
    int64_t since_ms;   /* in this state since then; milliseconds since the epoch */
};

/*
 * The leases that are alive, and the slots. *leases and *slots are the first ones, NULL when there
 * are none and on failure; the caller frees them with dompool_lease_free and dompool_slot_free.
 * Either may be NULL: not wanted. Blocks for one round trip. Refusals: Internal.
 */
DOMPOOL_API int dompool_list(struct dompool *d, struct dompool_lease **leases,
                             struct dompool_slot **slots);

/* Frees a slot and those that follow it in its list. NULL is fine. */
DOMPOOL_API void dompool_slot_free(struct dompool_slot *slot);

/*
 * Waits until the pool of an image (NULL: of every image) holds its minimum of warm slots.
 * Blocks at most timeout_ms milliseconds, no more than 7 days; DOMPOOL_UNSET: one minute.
 * Refusals: TimedOut, BadValue, NoSuchImage, ImageBroken, Stopping.
 */
DOMPOOL_API int dompool_wait(struct dompool *d, const char *image, int64_t timeout_ms);

/* ---- any method ---- */

/*
 * Calls a method. method: "Status", or with its interface, "org.varlink.service.GetInfo".
 * parameters: a JSON object as text; NULL: none. Blocks until the answer is there.
 * *reply, if reply is not NULL, is the answer's parameters as the text of a JSON object,
 * malloc'd: the caller frees it with free(3). On failure it is NULL.
 */
DOMPOOL_API int dompool_call(struct dompool *d, const char *method, const char *parameters,
                             char **reply);

/*
 * Gets an answer of a request. rc: 0, DOMPOOL_REFUSED, or a negated errno value when the
 * connection is lost or closed. more: other answers to the same request follow; false
 * exactly once, at the last. reply: the parameters as the text of a JSON object, valid during
 * the callback; NULL when rc is negative. The callback may call dompool_start and the
 * functions that only ask; a blocking call gets -EDEADLK.
 */
typedef void dompool_reply_fn(struct dompool *d, int rc, bool more, const char *reply, void *data);

#define DOMPOOL_MORE 1u /* ask for a stream of answers, if the method can give one */

/*
 * Queues a request as dompool_call makes it and returns at once; fn is called with data from
 * dompool_dispatch, dompool_run, a blocking call or dompool_close, never from here. Bytes that
 * the socket does not take now are sent by dompool_dispatch: ask dompool_events again
 * after each call. Does not block. Errors: -EINVAL, -ENOMEM, or the connection's; fn is
 * not called then.
 */
DOMPOOL_API int dompool_start(struct dompool *d, const char *method, const char *parameters,
                              unsigned flags, dompool_reply_fn *fn, void *data);

/*
 * The same, and passes a file descriptor to the daemon with the request: for ImageImport, which
 * then reads it, a pipe too. Only root's are taken. fd stays the caller's, who may close it at
 * once. Errors besides: -EBADF, -EMFILE, as of fcntl(2).
 */
DOMPOOL_API int dompool_start_passing(struct dompool *d, const char *method, const char *parameters,
                                      int fd, unsigned flags, dompool_reply_fn *fn, void *data);

/* The socket, to be watched and not to be read, written or closed. Stays the same. */
DOMPOOL_API int dompool_fd(const struct dompool *d);

/* What to watch it for, as poll(2) writes it: POLLIN, and POLLOUT while bytes wait. */
DOMPOOL_API short dompool_events(const struct dompool *d);

/*
 * Sends and receives what can be without blocking, and runs the callbacks of the answers
 * that are whole. Returns 0 or, when the connection is lost, its error, after each
 * outstanding request had its callback called with it. May be called at any time.
 */
DOMPOOL_API int dompool_dispatch(struct dompool *d);

/* Blocks, dispatching, until no request is outstanding. Errors as dompool_dispatch. */
DOMPOOL_API int dompool_run(struct dompool *d);

#ifdef __cplusplus
}
#endif

#endif
