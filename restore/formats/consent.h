/*
 * What a save file may have of the host. It says which files of the host its guest gets as disks,
 * and which programs of the host xl runs for the domain. Nobody knows who wrote it, so none of that
 * counts by itself:
 *
 *   a disk            one that the administrator has named, that the image or its base has already,
 *                     or that lies below a directory which the administrator has named
 *   kernel, ramdisk   below such a directory; else the key is left out
 *   everything else   that names programs, files, or nodes of xenstore, or that is not known, is
 *                     left out
 *
 * A path is below a directory when it is so with all symbolic links followed: a link that leads out
 * of the directory does not count. One exception: below /dev, a link whose own directory nobody but
 * root may write to may lead to any block device below /dev, for udev names devices by such links
 * (/dev/vg0/web is a link to /dev/dm-3). Without a file at the path nothing is known, and it does
 * not count.
 */
#ifndef RESTORE_CONSENT_H
#define RESTORE_CONSENT_H

#include "restore/formats/domconf.h"

struct consent {
    const json_t *dirs; /* array of absolute paths; NULL: none */
    const json_t *had;  /* {"xvda": "cow:/dev/vg0/web"}, as the image has them; NULL: none */
    /* Answers consent_path in a process that may look at no file; NULL: it looks for itself. */
    bool (*ask)(const char *path);
};

/* Whether path is below one of the directories. Blocking. */
bool consent_path(const struct consent *c, const char *path);

/*
 * Whether each disk of conf may be the guest's. named says so of those that the administrator
 * named. base: the configuration of the base, NULL: none. 0, -ENOMEM, or ANSWER_DISKS_NOT_ALLOWED;
 * then *missing, a new reference, has the disks that lack consent, in the form of `had`.
 */
int consent_disks(const struct consent *c, const struct domconf *conf,
                  bool (*named)(const void *data, const struct disk_conf *d), const void *data,
                  const struct domconf *base, json_t **missing, struct error *e);

/*
 * Takes out of xl's JSON, which domconf_from_xl has accepted, what it may not have. *left_out is a
 * new reference: an array of texts for the administrator, empty when nothing was taken out. 0,
 * -ENOMEM.
 */
int consent_config(const struct consent *c, json_t *config, json_t **left_out, struct error *e);

#endif
