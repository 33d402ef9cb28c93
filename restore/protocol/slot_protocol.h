/*
 * The slot helper: one process for each slot, from its building until its
 * completion. installed as libexec/dompool/dompool-slot.
 *
 * It is started with a connected stream socket as descriptor 3 and speaks
 * NUL-terminated JSON (base/message.h) on it. It dies with its parent
 * (PR_SET_PDEATHSIG) and when the socket closes; the domain that it has made
 * remains, half-built, for the daemon to destroy: only the daemon destroys.
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
 *
 * The image helper (libexec/dompool/dompool-image) does one piece of work and speaks the same way
 * on descriptor 3. base, a_base, b_base: the base's file when the image is derived. to:
 * {"op":"import", "save":"/path", "image":"/path/x.img", "base":"/path/b.img",
 *          "disks":{"xvda":"ro:/dev/x"}, "disk_digests":false}
 *         {"op":"capture", "domain":"name or domid", "uuid":"<of a lease's domain>", "image",
 * "base", "disks", "disk_digests", "cow":["xvda"], "stop":false, "timeout_ms":60000} cow: disks
 * that must not have been written, because what was written goes with the domain
 *         {"op":"recorded"}
 *             after the "done" of a capture with stop: the image is on record, the domain may end.
 *             Without it the domain goes on
 *         {"op":"export", "image":"/path/x.img", "base", "save":"/path"}
 *         {"op":"verify", "image":"/path/x.img", "disks":true}
 *         {"op":"diff", "a":"/path/x.img", "a_base", "b":"/path/y.img", "b_base"}
 *   from: {"event":"progress", "done":N, "total":N} ...
 *         {"event":"done", "result":{...}}
 *             of import and capture: "id","base_id","guest","vcpus","max_pfn","populated","pages",
 *             "zero_pages","repeated_pages","free_pages","payload_pages","file_bytes","created_ms",
 *             "config":{...}; of diff: see restore/imaging/image_diff.h; else empty
 *         {"event":"failed", "answer":"ImageRefused", "error":"text"}
 */
#ifndef RESTORE_SLOT_PROTOCOL_H
#define RESTORE_SLOT_PROTOCOL_H

#define HELPER_FD 3
#define HELPER_MESSAGE_LIMIT (1u << 20) /* bytes */
#define EXPECTED_MAX 16u                /* images of one "expect"; nobody's habits have more */

#endif
