/*
 * Import: the file that `xl save` writes becomes an image file.
 *
 *   xl header -> JSON configuration -> libxl stream v2 -> libxc stream v2 or v3
 *
 * One pass; constant memory, except 16 bytes for each page of the guest. Every length, count and
 * order is checked before use: the file is hostile until it is read. Import runs in a process of
 * its own (restore/imaging/image_main.c, installed as libexec/dompool/dompool-image), so that a
 * fault here costs one import.
 */
#ifndef RESTORE_IMAGE_IMPORT_H
#define RESTORE_IMAGE_IMPORT_H

#include "base/error.h"
#include "restore/formats/consent.h"
#include "restore/formats/fingerprint.h"
#include "store/image.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct import_disk {
    const char *vdev, *spec; /* see domconf_set_disk */
};

struct import_vif {
    const char *devid, *bridge; /* see domconf_set_vif */
};

/* What whoever asked for an import should hear besides. Each is a new reference, or NULL. */
struct import_remarks {
    json_t *missing;  /* with ANSWER_DISKS_NOT_ALLOWED: see consent_disks */
    json_t *left_out; /* see consent_config */
};

void import_remarks_dispose(struct import_remarks *r);

/* Descriptors for a process that may open nothing, from one that could. base is closed by the
 * import; -1: none. */
struct import_files {
    int image, base;
};

struct import_options {
    const char *save_path;  /* read, unless it is open */
    int save_fd;            /* it is, as this, which is closed in the end; 0: it is not */
    const char *image_path; /* written; must not exist */
    const char *base_path;  /* image file of the base to derive from; NULL: stored whole */
    const struct import_disk *disks;
    size_t n_disks;
    const struct import_vif *vifs;
    size_t n_vifs;
    bool vif_script;   /* ports are made by a script of the pool: any bridge, any script will do */
    bool disk_digests; /* fingerprints of the disks hold a digest of their content */
    /* The configuration is xl's own on this host, not a file's: it may name what it likes. */
    bool trusted;
    struct consent consent;         /* of the administrator, else */
    struct import_remarks *remarks; /* filled in, in any case; may be NULL */
    /* NULL: image and base are opened, and the image gets its name. Else their paths are for
     * messages, and whoever gave the descriptors names what was written (base/new_file.h). */
    const struct import_files *files;
    const struct disk_eyes *eyes; /* who looks at the disks; NULL: the import itself */
    /* Called now and then with bytes read and the file's size (0: not known). May be NULL.
     * Not 0: the import stops with -ECANCELED. */
    int (*progress)(uint64_t done, uint64_t total, void *data);
    void *progress_data;
};

/* Blocking. On success the image is durable and *info describes it; on failure
 * nothing is left on disk. Errors: negative for I/O, ANSWER_IMAGE_REFUSED with what and where
 * (record kind and byte offset), ANSWER_DISKS_NOT_ALLOWED. */
int import_save_file(const struct import_options *o, struct image_info *info, struct error *e);

/*
 * The same from a configuration as xl writes it and a bare libxc stream, which is what a capture
 * has; save_path is not used.
 */
struct source;
int import_stream(const char *xl_config, size_t xl_config_len, struct source *libxc_stream,
                  const struct import_options *o, struct image_info *info, struct error *e);

/* The same from an open source (memory, a descriptor); save_path and progress are not used. */
int import_source(struct source *src, const struct import_options *o, struct image_info *info,
                  struct error *e);

/* Opens the save file, or takes the one that is open, as import_save_file does: *fd is the
 * caller's. ANSWER_BAD_VALUE: there is no such file, or none that can be read; other codes for
 * I/O. */
int import_open(const struct import_options *o, int *fd, struct error *e);

/* Whether o names this disk: xvda and d0p0 are the same one. For consent_disks. */
bool import_names_disk(const void *o, const struct disk_conf *d);

/* What an export of a scratch disk has as its path. It names no file that the save file has
 * named. */
#define IMPORT_NO_DISK "/dev/null"
/* Has xl's configuration name the disk where the image has it. 0, -ENOMEM. */
int import_place_disk(json_t *xl_config, const struct disk_conf *d);

#endif
