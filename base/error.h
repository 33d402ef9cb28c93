/*
 * Errors: two kinds that never mix.
 *
 *   negative   unexpected: a negated errno value (-EIO, -ENOMEM). Passed up
 *              untouched, each layer may add context in front of the text.
 *   positive   a documented answer (enum answer): the caller asked for
 *              something that cannot be had, and must handle that.
 *   0          done.
 *
 * Every function that can fail returns such an int and takes a
 * `struct error *` as its last parameter, which may be NULL. The text says
 * what was being done, to what, where, and what can be done about it.
 *
 * The table below is the only place that names an answer: its API name
 * (varlink error io.dompool.<name>) and its explanation in the manual come from it.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stddef.h>

/* X(symbol, API name, what it means) */
#define ANSWERS(X)                                                                                 \
    X(POOL_EMPTY, "PoolEmpty", "no slot of this image was warm, and none became warm in time")     \
    X(NO_SUCH_IMAGE, "NoSuchImage", "no image has this name")                                      \
    X(NO_SUCH_LEASE, "NoSuchLease", "no lease has this id, domain name or domid")                  \
    X(NO_SUCH_DOMAIN, "NoSuchDomain", "no domain has this name or domid, or it has gone")          \
    X(NO_TRACE, "NoTrace", "the trace of this lease was not recorded")                             \
    X(NO_SUCH_SETTING, "NoSuchSetting", "no setting has this name")                                \
    X(BAD_VALUE, "BadValue", "a value is malformed or out of range")                               \
    X(DOMAIN_STATE, "DomainState", "the domain is in a state in which this cannot be done")        \
    X(IMAGE_EXISTS, "ImageExists", "an image with this name exists already")                       \
    X(IMAGE_IN_USE, "ImageInUse",                                                                  \
      "the image has live leases or derived images, or is being replaced")                         \
    X(IMAGE_REFUSED, "ImageRefused",                                                               \
      "the saved state is damaged, not supported, or does not fit its base or disks")              \
    X(DISKS_NOT_ALLOWED, "DisksNotAllowed",                                                        \
      "the save file asks for disks of this host that the caller has not named")                   \
    X(IMAGE_BROKEN, "ImageBroken",                                                                 \
      "the image is damaged, or slots cannot be made of it; the text gives the reason")            \
    X(NAME_IN_USE, "NameInUse", "a domain with this name exists already")                          \
    X(MAC_IN_USE, "MacInUse", "a lease, or another slot, has this MAC address")                    \
    X(NOT_PERMITTED, "NotPermitted", "the caller may not do this")                                 \
    X(NO_HOST_MEMORY, "NoHostMemory", "the host has too little free memory for another domain")    \
    X(NO_HOST_DISK, "NoHostDisk",                                                                  \
      "the host has too little free disk space for what guests write to private disks")            \
    X(LIMIT_REACHED, "LimitReached", "a configured limit on slots or leases is reached")           \
    X(TIMED_OUT, "TimedOut", "the request was not completed in the given time")                    \
    X(ALLOCATE_FAILED, "AllocateFailed", "every slot that was tried failed to complete")           \
    X(XEN_UNAVAILABLE, "XenUnavailable", "the hypervisor or xenstore cannot be reached")           \
    X(STOPPING, "Stopping", "the daemon is shutting down")                                         \
    X(INTERNAL, "Internal", "an unexpected error inside the daemon; its log has the details")

enum answer {
    ANSWER_NONE = 0,
#define ANSWER_ENUM(sym, name, text) ANSWER_##sym,
    ANSWERS(ANSWER_ENUM)
#undef ANSWER_ENUM
        ANSWER_COUNT
};

struct error {
    int code;       /* as returned; 0 when nothing failed */
    char text[768]; /* one line, no newline, always terminated */
};

/* Sets *e (if e is not NULL) and returns code. The text replaces any older one. */
int error_set(struct error *e, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Like error_set with code -errnum, and ": <strerror>" appended. */
int error_errno(struct error *e, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts context in front: "image firefox: " + what was there. Returns e->code (0 if e is NULL). */
int error_prefix(struct error *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void error_clear(struct error *e);

/* API name of a code ("PoolEmpty"); every negative code is "Internal". Never NULL. */
const char *answer_name(int code);
/* The explanation from the table. Never NULL. */
const char *answer_text(int code);
/* Code by API name, ANSWER_NONE when the name is not known. */
int answer_by_name(const char *name);

#endif
