/*
 * The image helper: one process for one piece of work on image files. Installed as
 * libexec/dompool/dompool-image. How it is started and how it speaks: protocol.h.
 *
 * To the helper, one of these; base, a_base, b_base: the base's file when the image is derived:
 *
 *   import     makes image of the save file
 *   capture    makes image of a running domain, which goes on, or waits for "recorded"
 *   export     writes a save file of the image
 *   verify     checks the digests of the image, and of its disks
 *   diff       compares two images
 *
 * To the helper, after the "done" of a capture with stop:
 *
 *   recorded   the image is on record, the domain may end; without it the domain goes on
 *
 * From the helper:
 *
 *   progress   any number of times
 *   done       of import, capture and verify the result is that of image_made.h, of diff that of
 *              restore/imaging/image_diff.h; else it is empty
 *   failed
 */
#ifndef RESTORE_IMAGE_PROTOCOL_H
#define RESTORE_IMAGE_PROTOCOL_H

#include "restore/protocol/fields.h"

#define IMAGE_IMPORT(X, S)                                                                         \
    X(S, TEXT, NEEDED, save)                                                                       \
    /* passed: it is open, as HELPER_INPUT_FD; save is what to call it */                          \
    X(S, FLAG, OPTIONAL, passed)                                                                   \
    X(S, TEXT, NEEDED, image)                                                                      \
    X(S, TEXT, OPTIONAL, base)                                                                     \
    X(S, MAP, OPTIONAL, disks) /* {"xvda": "ro:/dev/x"} */                                         \
    X(S, MAP, OPTIONAL, vifs)  /* {"0": "xenbr1"}: bridges */                                      \
    /* vif_script: slots' ports are made by one, whatever script or bridge is in the file */       \
    X(S, FLAG, OPTIONAL, vif_script)                                                               \
    /* dirs, had: what the save file may have besides, see restore/formats/consent.h */            \
    X(S, LIST, OPTIONAL, dirs)                                                                     \
    X(S, MAP, OPTIONAL, had)                                                                       \
    X(S, FLAG, OPTIONAL, disk_digests)
#define IMAGE_CAPTURE(X, S)                                                                        \
    X(S, TEXT, NEEDED, domain) /* name or domid */                                                 \
    X(S, TEXT, NEEDED, image)                                                                      \
    X(S, TEXT, OPTIONAL, uuid) /* of a lease's domain */                                           \
    X(S, TEXT, OPTIONAL, base)                                                                     \
    X(S, MAP, OPTIONAL, disks)                                                                     \
    X(S, FLAG, OPTIONAL, disk_digests)                                                             \
    /* cow: disks that must not have been written: what was written goes with the domain */        \
    X(S, LIST, OPTIONAL, cow)                                                                      \
    X(S, FLAG, OPTIONAL, stop)                                                                     \
    X(S, NUMBER, NEEDED, timeout_ms)
#define IMAGE_EXPORT(X, S)                                                                         \
    X(S, TEXT, NEEDED, image)                                                                      \
    X(S, TEXT, OPTIONAL, base)                                                                     \
    X(S, TEXT, NEEDED, save)
#define IMAGE_VERIFY(X, S)                                                                         \
    X(S, TEXT, NEEDED, image)                                                                      \
    X(S, FLAG, OPTIONAL, disks)
#define IMAGE_DIFF(X, S)                                                                           \
    X(S, TEXT, NEEDED, a)                                                                          \
    X(S, TEXT, OPTIONAL, a_base)                                                                   \
    X(S, TEXT, NEEDED, b)                                                                          \
    X(S, TEXT, OPTIONAL, b_base)
#define IMAGE_RECORDED(X, S)

#define IMAGE_PROGRESS(X, S)                                                                       \
    X(S, NUMBER, NEEDED, done) /* bytes */                                                         \
    X(S, NUMBER, NEEDED, total)
#define IMAGE_DONE(X, S) X(S, MAP, NEEDED, result)
#define IMAGE_FAILED(X, S)                                                                         \
    X(S, TEXT, OPTIONAL, answer) /* of base/error.h */                                             \
    X(S, TEXT, OPTIONAL, error)                                                                    \
    X(S, MAP, OPTIONAL, disks) /* of an import: those that it must name */

#define IMAGE_MESSAGES(M)                                                                          \
    M(image_import_op, "op", "import", IMAGE_IMPORT)                                               \
    M(image_capture_op, "op", "capture", IMAGE_CAPTURE)                                            \
    M(image_export_op, "op", "export", IMAGE_EXPORT)                                               \
    M(image_verify_op, "op", "verify", IMAGE_VERIFY)                                               \
    M(image_diff_op, "op", "diff", IMAGE_DIFF)                                                     \
    M(image_recorded_op, "op", "recorded", IMAGE_RECORDED)                                         \
    M(image_progress_event, "event", "progress", IMAGE_PROGRESS)                                   \
    M(image_done_event, "event", "done", IMAGE_DONE)                                               \
    M(image_failed_event, "event", "failed", IMAGE_FAILED)

IMAGE_MESSAGES(SHAPE_DECLARE)

#endif
