/*
 * The configuration of a running domain, as `xl save` would write it into a save file.
 *
 * libxl keeps a domain's JSON as it was when the domain was made (restore/xen/userdata.h), and
 * records only some of the later changes. So `xl save` brings it up to date first
 * (libxl_retrieve_domain_configuration). This file does the part that the importer, and an `xl
 * restore` of an exported file, depend on:
 *
 *   c_info.name, c_info.uuid      xl rename, and a restored domain's new uuid
 *   b_info.avail_vcpus            xl vcpu-set: what the guest has offline must stay so
 *   b_info.max_memkb, target_memkb  xl mem-max, xl mem-set: how many pages are expected
 *   disks, nics                   those that were detached since are left out
 *
 * Left as they were: scheduling parameters, which only place a domain on its host; and media in
 * CD-ROM drives, which only HVM guests can change. The importer refuses devices of other kinds in
 * any case.
 */
#ifndef RESTORE_RUNNING_CONF_H
#define RESTORE_RUNNING_CONF_H

#include "base/uuid.h"
#include "restore/xen/xen.h"

#include <stddef.h>
#include <stdint.h>

/*
 * *json is malloc'd and NUL-terminated; *len does not count the NUL. Blocking: a file and some
 * xenstore reads. ANSWER_IMAGE_REFUSED when the domain has no such file, because it was not made
 * by xl or dompool, or the file makes no sense; else an I/O error.
 */
int running_conf_read(struct xen *x, uint32_t domid, const struct uuid *uuid, char **json,
                      size_t *len, struct error *e);

#endif
