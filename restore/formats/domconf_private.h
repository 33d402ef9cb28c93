/* What domconf.c and domconf_xl.c share; of no use to anybody else. */
#ifndef RESTORE_DOMCONF_PRIVATE_H
#define RESTORE_DOMCONF_PRIVATE_H

#include "base/page.h"
#include "restore/formats/domconf.h"

/* More would not fit below IMAGE_PFN_LIMIT. */
#define DOMCONF_MEM_KIB_MAX (IMAGE_PFN_LIMIT * (PAGE_BYTES / 1024))

/* libxl's default for HVM and PVH guests, no_delay_for_missed_ticks. Xen's own default would have
 * guest time stand still while the guest is not scheduled, and the stream does not say which. */
#define DOMCONF_TIMER_MODE 1u

typedef int disk_parse(json_t *o, struct disk_conf *d, struct error *e);
typedef int nic_parse(json_t *o, struct nic_conf *n, struct error *e);

/* Every rule that holds for a configuration, wherever it comes from. */
int domconf_check(const struct domconf *c, struct error *e);
/* libxl's names of TSC modes; 0 or -1. */
int tsc_mode_parse(const char *name, unsigned *mode);
/* Sets the bits that the array of numbers names. */
int vcpus_online_parse(const json_t *array, uint8_t online[DOMCONF_VCPUS_MAX / 8], const char *key,
                       struct error *e);
/* Fills c->disks with one call of parse for each entry. */
int disks_from_json(const json_t *array, disk_parse *parse, struct domconf *c, struct error *e);
/* The same for c->nics, which is sorted then. */
int nics_from_json(const json_t *array, nic_parse *parse, struct domconf *c, struct error *e);

/* Settings, which our own form may leave out; see domconf_settings.c. Adds those that differ from
 * the default to o. 0, -ENOMEM. */
int settings_to_json(const struct domconf *c, json_t *o);
/* Takes them out of o, so that all that is left is not theirs. */
int settings_from_json(json_t *o, struct domconf *c, struct error *e);
/* Whether they are in range. */
int settings_check(const struct domconf *c, struct error *e);
void settings_dispose(struct domconf *c);

#endif
