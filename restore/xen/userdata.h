/*
 * The configuration that xl keeps beside a domain in /var/lib/xen: the saved domain's own JSON with
 * this domain's name, uuid, disks and MAC addresses. Without it, `xl list -l` and `xl save` refuse
 * the domain.
 */
#ifndef RESTORE_USERDATA_H
#define RESTORE_USERDATA_H

#include "restore/xen/disk.h"
#include "restore/xen/nic.h"

#include <stddef.h>

struct userdata {
    uint32_t domid;
    const char *uuid, *name; /* uuid as text */
    const struct disk *disks;
    size_t n_disks;
    const struct nic *nics;
    size_t n_nics;
};

/* json: as in the save file, len bytes. Written under a temporary name and renamed. */
int userdata_write(const struct userdata *u, const char *json, size_t len, struct error *e);
/*
 * Reads it back, of any domain that xl, libvirt or dompool has made. *json is malloc'd and
 * NUL-terminated, *len does not count the NUL. At most max bytes. ANSWER_IMAGE_REFUSED when there
 * is none, else an I/O error. No lock is needed: libxl, too, renames a whole file into place.
 */
int userdata_read(uint32_t domid, const char *uuid, size_t max, char **json, size_t *len,
                  struct error *e);
/* Removes every such file of the domain. Missing ones are fine. */
int userdata_remove(uint32_t domid, const char *uuid, struct error *e);

#endif
