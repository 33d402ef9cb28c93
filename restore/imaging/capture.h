/*
 * Capture: a running domain becomes an image file, without xl and without a save file.
 *
 *   configuration (running_conf.h) --------------------------------> importer
 *   domain -> suspended with its help -> xc_domain_save() -> pipe -> (image_import.h) -> image
 *                                        a thread of ours
 *
 * libxenguest reads the suspended domain and writes the same stream as for `xl save`. The importer
 * checks it like a save file, since a guest's memory is as hostile as a file. The domain stands
 * still from its suspension until its last byte is in the pipe. Sorting, digests and syncing happen
 * while it runs again.
 *
 * The domain goes on after a failure, a refusal and a cancellation. It stays suspended only after a
 * success with `stop`. If this process is killed in between, a guard lets the domain go on
 * (guard.h). Log-dirty mode is not used, and no mapping, watch or request is left.
 *
 * One thing changes, as with `xl save -c`. `xl create` leaves a process behind to act on
 * on_poweroff and on_reboot. That process takes the suspension for the end of the domain and exits.
 * If the guest powers off later, it stays in `xl list` until it is destroyed by hand.
 *
 * The image names the disks that the domain has now. For a lease these are its private views, which
 * end with it, so whoever captures a lease gives `disks`.
 */
#ifndef RESTORE_CAPTURE_H
#define RESTORE_CAPTURE_H

#include "base/uuid.h"
#include "restore/imaging/image_import.h"

#include <stdbool.h>

struct capture_options {
    uint32_t domid;
    const struct uuid *uuid; /* the domain must have this one: domids are used again */
    const char *image_path;  /* see struct import_options, also for the next four */
    const char *base_path;
    const struct import_disk *disks;
    size_t n_disks;
    bool disk_digests; /* the domain stands still while its disks are read */
    bool stop;         /* leave it suspended when the image is there: the caller destroys it */
    unsigned suspend_timeout_ms; /* how long the guest may take to answer */
    /* Imports in place of import_stream, which is called if it is NULL; closes *stream. It may
     * fork: this process has no other thread until `progress` of o is called. */
    int (*import)(const char *xl_config, size_t len, int *stream, const struct import_options *o,
                  struct image_info *info, void *data, struct error *e);
    void *import_data;
    /* Called as for an import; done and total are bytes of memory, total is about right. */
    int (*progress)(uint64_t done, uint64_t total, void *data);
    void *progress_data;
    uint64_t *still_us; /* out, may be NULL: how long the domain stood still; 0 with stop */
};

/*
 * Blocking: waits for the guest's answer, the copying of its memory, and a sync. Meanwhile this
 * process has one more thread. When a signal interrupts the caller's read(2), `progress` is asked,
 * also before the guest has answered.
 *
 * On success the image is durable, *info describes it, and the domain runs (with stop: is
 * suspended). On failure nothing is left on disk and the domain runs, unless the error text says
 * that it stands still.
 *
 *   ANSWER_NO_SUCH_DOMAIN  no domain has this domid and uuid, or it went away meanwhile
 *   ANSWER_BAD_VALUE       domain 0, or a disk that is not there
 *   ANSWER_DOMAIN_STATE    paused, shut down or suspended already; has another shutdown
 *                          request to answer; powered off, rebooted or crashed instead
 *   ANSWER_IMAGE_REFUSED   of a kind that is not supported (a device model, no configuration of
 *                          xl's, devices), or its state makes no sense
 *   ANSWER_TIMED_OUT       the guest did not suspend in time
 *   ANSWER_XEN_UNAVAILABLE, -ECANCELED (progress), or an I/O error
 */
int capture_domain(const struct capture_options *o, struct image_info *info, struct error *e);

#endif
