/*
 * The slot helper: one process for each slot, from its building until its completion. Installed as
 * libexec/dompool/dompool-slot. How it is started and how it speaks: protocol.h.
 *
 * When the helper ends early, its half-built domain remains. Only the daemon destroys domains.
 *
 * To the helper:
 *
 *   build      make a domain and fill it: "created", then "warm" come back. The slot's number
 *              chooses the domid
 *   turn       a warm slot takes over another version of its image; "warm" comes again
 *   expect     a warm slot will probably be completed with one of these images, the likeliest
 *              first: it opens and maps them while it has nothing else to do. Replaces the images
 *              of the "expect" before; no answer
 *   complete   a warm slot becomes this image and runs; the path that it was built from: no delta
 *   leave      after "completed": the client has its answer, so the helper exits. The kernel then
 *              undoes its mappings, on a processor that the answer would have had to wait for
 *   log        at any time: the level of its log; no answer
 *
 * From the helper:
 *
 *   created    the domain is about to be: the domid that it will have. Whatever becomes of the
 *              helper now, the daemon knows where something may be left
 *   warm
 *   completed  the domain runs
 *   refused    instead of "completed": nothing of the domain has been changed; the slot is still
 *              warm
 *   unusable   instead of "completed": the domain, or a disk of its image, is no longer what was
 *              built (answer DomainState, ImageBroken); the helper exits
 *   failed     at any time; then it exits with 1. After "warm" the slot is tainted
 *
 * A stage is {"name":"restore", "us":123, "hypercalls":6, "pages":0}, in the order of execution.
 */
#ifndef RESTORE_SLOT_PROTOCOL_H
#define RESTORE_SLOT_PROTOCOL_H

#include "restore/protocol/fields.h"

#define EXPECTED_MAX 16u /* images of one "expect"; more would hardly be used */

#define SLOT_BUILD(X, S)                                                                           \
    X(S, TEXT, NEEDED, slot)   /* "s12" */                                                         \
    X(S, TEXT, NEEDED, uuid)   /* of the domain */                                                 \
    X(S, TEXT, NEEDED, name)   /* of the domain, until it is completed */                          \
    X(S, TEXT, NEEDED, image)  /* path */                                                          \
    X(S, TEXT, NEEDED, engine) /* "auto", "direct" or "guest" */                                   \
    X(S, TEXT, NEEDED, tag)    /* the daemon's */                                                  \
    X(S, TEXT, NEEDED, cow_dir)                                                                    \
    X(S, NUMBER, OPTIONAL, cow_max_bytes)      /* of each copy-on-write layer; 0: no limit */      \
    X(S, NUMBER, OPTIONAL, memory_reserve_kib) /* of the host, to be left free */                  \
    X(S, TEXT, OPTIONAL, mac) /* rule for its interfaces' addresses: see base/mac.h */             \
    X(S, FLAG, OPTIONAL, vif_isolation)                                                            \
    X(S, FLAG, OPTIONAL, vif_filter)                                                               \
    X(S, TEXT, OPTIONAL, vif_script)
#define SLOT_TURN(X, S) X(S, TEXT, NEEDED, image)    /* path */
#define SLOT_EXPECT(X, S) X(S, LIST, NEEDED, images) /* paths, EXPECTED_MAX at most */
#define SLOT_COMPLETE(X, S)                                                                        \
    X(S, TEXT, NEEDED, image) /* path */                                                           \
    X(S, TEXT, NEEDED, name)  /* of the domain from now on */                                      \
    X(S, TEXT, OPTIONAL, mac) /* of its first interface from now on */                             \
    X(S, FLAG, OPTIONAL, paused)
#define SLOT_LEAVE(X, S)
#define SLOT_LOG(X, S) X(S, TEXT, NEEDED, level) /* as of the configuration's log_level */

#define SLOT_CREATED(X, S) X(S, NUMBER, NEEDED, domid)
#define SLOT_WARM_EVENT(X, S)                                                                      \
    X(S, NUMBER, NEEDED, domid)                                                                    \
    X(S, TEXT, NEEDED, engine)                                                                     \
    X(S, LIST, OPTIONAL, macs) /* texts, by rising number of the interface */                      \
    X(S, LIST, OPTIONAL, stages)
#define SLOT_COMPLETED(X, S)                                                                       \
    X(S, NUMBER, NEEDED, domid)                                                                    \
    X(S, NUMBER, OPTIONAL, delta_pages)                                                            \
    X(S, NUMBER, OPTIONAL, start_us) /* when it began, by CLOCK_MONOTONIC */                       \
    X(S, NUMBER, OPTIONAL, total_us)                                                               \
    X(S, LIST, OPTIONAL, stages)
#define SLOT_FAILURE(X, S)                                                                         \
    X(S, TEXT, OPTIONAL, answer) /* of base/error.h */                                             \
    X(S, TEXT, OPTIONAL, error)                                                                    \
    X(S, TEXT, OPTIONAL, stage) /* in which it happened */

#define SLOT_MESSAGES(M)                                                                           \
    M(slot_build_op, "op", "build", SLOT_BUILD)                                                    \
    M(slot_turn_op, "op", "turn", SLOT_TURN)                                                       \
    M(slot_expect_op, "op", "expect", SLOT_EXPECT)                                                 \
    M(slot_complete_op, "op", "complete", SLOT_COMPLETE)                                           \
    M(slot_leave_op, "op", "leave", SLOT_LEAVE)                                                    \
    M(slot_log_op, "op", "log", SLOT_LOG)                                                          \
    M(slot_created_event, "event", "created", SLOT_CREATED)                                        \
    M(slot_warm_event, "event", "warm", SLOT_WARM_EVENT)                                           \
    M(slot_completed_event, "event", "completed", SLOT_COMPLETED)                                  \
    M(slot_refused_event, "event", "refused", SLOT_FAILURE)                                        \
    M(slot_unusable_event, "event", "unusable", SLOT_FAILURE)                                      \
    M(slot_failed_event, "event", "failed", SLOT_FAILURE)

SLOT_MESSAGES(SHAPE_DECLARE)

#endif
