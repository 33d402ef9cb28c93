/*
 * The slot helper: one process for each slot, from its building until its completion. Installed as
 * libexec/dompool/dompool-slot. How it is started and how it speaks: protocol.h.
 *
 * When it ends early, the domain that it has made remains, half-built, for the daemon to destroy:
 * only the daemon destroys.
 *
 * To the helper:
 *   {"op":"build", "slot":"s12", "uuid":"<uuid of the domain>", "name":"dompool-s12",
 *    "image":"/path/to/base.img", "engine":"auto|direct|guest", "tag":"<daemon's tag>",
 *    "cow_dir":"/path", "memory_reserve_kib":N}
 *   {"op":"turn", "image":"/path/to/newer.img"}
 *       a warm slot takes over another version of its image; "warm" comes again
 *   {"op":"expect", "images":["/path/to/image.img", ...]}
 *       a warm slot will probably be completed with one of these, the likeliest first: it opens and
 *       maps them while it has nothing else to do. Instead of those it was told before; no answer
 *   {"op":"complete", "image":"/path/to/image.img", "name":"<domain name>", "paused":false}
 *       the same path as built from: no delta
 *   {"op":"leave"}
 *       after "completed": whoever waits has been told. It exits; the kernel then takes all that it
 *       has mapped apart, on a processor that the answer would have had to wait for
 *
 * From the helper:
 *   {"event":"created", "domid":7}         the domain exists
 *   {"event":"warm", "domid":7, "engine":"guest", "stages":[...]}
 *   {"event":"completed", "domid":7, "delta_pages":0, "start_us":99, "total_us":1234,
 *    "stages":[...]}
 *       start_us: when it began, by CLOCK_MONOTONIC
 *   {"event":"refused", "answer":"ImageRefused", "error":"text", "stage":"image"}
 *       instead of "completed": nothing of the domain has been changed; the slot is still warm
 *   {"event":"failed", "answer":"NoHostMemory", "error":"text", "stage":"populate"}
 *       at any time; then it exits with 1. After "warm" the slot is tainted.
 *
 *   a stage is {"name":"restore", "us":123, "hypercalls":6, "pages":0}, in the order of execution.
 */
#ifndef RESTORE_SLOT_PROTOCOL_H
#define RESTORE_SLOT_PROTOCOL_H

#define EXPECTED_MAX 16u /* images of one "expect"; nobody's habits have more */

#endif
