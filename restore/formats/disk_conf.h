/*
 * The configuration of one disk: which device of the guest it is, how it is provided, and what it
 * was when the state was saved.
 */
#ifndef RESTORE_DISK_CONF_H
#define RESTORE_DISK_CONF_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * How a disk is provided to a slot.
 *   phy      the path itself, read-write: what is written is seen by every lease
 *            and by the next one; for disks that are meant to be shared
 *   ro       the path itself, read-only
 *   cow      a private copy-on-write view of the path, thrown away with the domain:
 *            every lease finds the disk as it was saved. Default for writable disks
 *   scratch  an empty disk of a size, thrown away with the domain
 */
enum disk_kind { DISK_PHY, DISK_RO, DISK_COW, DISK_SCRATCH };

/*
 * The state of a disk when the image was saved. A saved kernel has parts of its file systems in
 * memory, so the disk must not change afterwards. See restore/formats/fingerprint.h.
 */
struct disk_fingerprint {
    bool taken;
    uint64_t bytes;
    int64_t mtime_ns; /* of a file; 0 for a block device, which has none */
    bool digested;
    uint8_t digest[32]; /* BLAKE2b-256 of the whole disk */
};

struct disk_conf {
    char vdev[16];  /* xvda, sdb1, hdc, d0p1 as Xen writes them */
    uint32_t devid; /* 51712 for xvda: the number under device/vbd */
    enum disk_kind kind;
    char *path;   /* block device or raw image file; NULL for scratch */
    char *cannot; /* as xl had it: why that cannot be had, and what can be done; NULL: it can */
    uint64_t size_bytes; /* scratch only */
    /* What front end and back end are told, as libxl tells it; usually all false. */
    bool is_cdrom, removable, direct_io_safe;
    bool no_discard; /* also where the device takes discards */
    bool untrusted;  /* the front end is not to rely on the back end */
    struct disk_fingerprint was;
};

/* "phy", "ro", "cow" or "scratch". Static. */
const char *disk_kind_name(enum disk_kind kind);

/* Sets vdev and devid. ANSWER_IMAGE_REFUSED: the text, which may be NULL, is not the name of a
 * block device. */
int disk_conf_name(struct disk_conf *d, const char *vdev, struct error *e);

/* Sets kind, and path or size_bytes, from "ro:PATH" "phy:PATH" "cow:PATH" "scratch:SIZE". PATH must
 * be absolute. *out must be all zeros; its path is malloc'd, also after a failure. vdev is for
 * error texts. ANSWER_BAD_VALUE, -ENOMEM. */
int disk_conf_parse(const char *vdev, const char *spec, struct disk_conf *out, struct error *e);

/* Frees what the fields point to. */
void disk_conf_dispose(struct disk_conf *d);

/* Our own form, see domconf.c. New reference; NULL: no memory. */
json_t *disk_conf_to_json(const struct disk_conf *d);
/* *d must be all zeros; its path is malloc'd, also after a failure. ANSWER_IMAGE_REFUSED,
 * -ENOMEM. */
int disk_conf_from_json(json_t *o, struct disk_conf *d, struct error *e);

#endif
