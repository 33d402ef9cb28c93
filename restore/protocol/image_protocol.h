/*
 * The image helper: one process for one piece of work on image files. Installed as
 * libexec/dompool/dompool-image. How it is started and how it speaks: protocol.h.
 *
 * To the helper, one of these; base, a_base, b_base: the base's file when the image is derived:
 *   {"op":"import", "save":"/path", "image":"/path/x.img", "base":"/path/b.img",
 *    "disks":{"xvda":"ro:/dev/x"}, "disk_digests":false}
 *   {"op":"capture", "domain":"name or domid", "uuid":"<of a lease's domain>", "image", "base",
 *    "disks", "disk_digests", "cow":["xvda"], "stop":false, "timeout_ms":60000}
 *       cow: disks that must not have been written, because what was written goes with the domain
 *   {"op":"export", "image":"/path/x.img", "base", "save":"/path"}
 *   {"op":"verify", "image":"/path/x.img", "disks":true}
 *   {"op":"diff", "a":"/path/x.img", "a_base", "b":"/path/y.img", "b_base"}
 *
 * To the helper, after the "done" of a capture with stop:
 *   {"op":"recorded"}
 *       the image is on record, the domain may end; without it the domain goes on
 *
 * From the helper:
 *   {"event":"progress", "done":N, "total":N}
 *       any number of times
 *   {"event":"done", "result":{...}}
 *       of import and capture: "id", "base_id", "guest", "vcpus", "max_pfn", "populated", "pages",
 *       "zero_pages", "repeated_pages", "free_pages", "payload_pages", "file_bytes", "created_ms",
 *       "config":{...}; of diff: see restore/imaging/image_diff.h; else empty
 *   {"event":"failed", "answer":"ImageRefused", "error":"text"}
 */
#ifndef RESTORE_IMAGE_PROTOCOL_H
#define RESTORE_IMAGE_PROTOCOL_H

#endif
