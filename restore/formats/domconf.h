/*
 * The part of a domain's configuration that dompool provides. It is read from the JSON that xl puts
 * into a save file, and kept as our own stable JSON in image files. Calls no Xen.
 */
#ifndef RESTORE_DOMCONF_H
#define RESTORE_DOMCONF_H

#include "base/error.h"
#include "base/uuid.h"
#include "restore/formats/cpu_set.h"
#include "restore/formats/disk_conf.h"
#include "restore/formats/endings.h"
#include "restore/formats/nic_conf.h"
#include "store/image.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define DOMCONF_VCPUS_MAX 128u /* HVM_MAX_VCPUS; PV domains with more are refused as well */
#define DOMCONF_DISKS_MAX 64u

struct domconf {
    enum image_guest guest;
    char name[64];    /* the saved domain's; informational */
    struct uuid uuid; /* the saved domain's; informational */
    unsigned max_vcpus;
    uint8_t online[DOMCONF_VCPUS_MAX / 8]; /* bit n: vCPU n is available */
    uint64_t max_mem_kib;
    uint64_t target_mem_kib;
    uint64_t shadow_mem_kib; /* PVH: paging pool; 0: libxl's formula */
    /* libxl_tsc_mode: 0 default, 1 always_emulate, 2 native, 3 native_paravirt */
    unsigned tsc_mode;
    unsigned max_grant_frames, max_maptrack_frames; /* UINT32_MAX: Xen's default */
    unsigned max_event_channels;                    /* libxl default 1023 */
    bool nested_hvm, nomigrate;                     /* nomigrate: invariant TSC */
    /* Settings. Zeros are what xl and Xen do by themselves; see domconf_settings.c. */
    struct cpu_sets hard_affinity, soft_affinity; /* of the first vCPUs; the others have none */
    struct cpu_set node_affinity;                 /* NUMA nodes */
    char cpupool[64];                             /* its name; "": cpupool_id counts */
    unsigned cpupool_id;
    unsigned weight, cap;       /* the scheduler's; cap in percent of a processor, 0: none */
    int time_offset_s;          /* of the guest's wall clock to UTC */
    bool localtime;             /* and the host's time zone on top */
    unsigned max_grant_version; /* 1 or 2; 0: the newest that the hypervisor has */
    unsigned timer_mode;        /* PVH: libxl_timer_mode; libxl's default is 1 */
    bool vpmu, msr_relaxed;
    uint64_t video_mem_kib; /* part of the target that the guest is not told of */
    uint64_t slack_mem_kib; /* PV: room beyond max_mem_kib in the guest's memory map */
    struct endings endings;
    unsigned n_disks;
    struct disk_conf *disks;
    unsigned n_nics;
    struct nic_conf nics[NIC_INDEX_MAX + 1]; /* by rising devid */
};

void domconf_init(struct domconf *c);
void domconf_dispose(struct domconf *c);

/* Reads xl's JSON (libxl_domain_config). ANSWER_IMAGE_REFUSED, naming the key, for whatever dompool
 * cannot provide: HVM with a device model, all device classes except disks, network interfaces and
 * the console, and every key that is not in the table of domconf_keys.h. A disk that is neither a
 * block device nor a raw file of this host (qcow2, a block script, a driver domain) is taken, with
 * its `cannot`, because another one may be named for it: see domconf_check_disks. */
int domconf_from_xl(const char *json, size_t len, struct domconf *c, struct error *e);

/*
 * The same text as an object, which the caller releases. xl writes a domain's name as it was given,
 * whatever its encoding; JSON has UTF-8 alone. Bytes of the name that are none become '?': the name
 * is for people, and each domain gets its own. *repaired (if not NULL): there were some. Anywhere
 * else they might be part of a path, so they are refused. ANSWER_IMAGE_REFUSED, -ENOMEM.
 */
int domconf_xl_load(const char *json, size_t len, json_t **out, bool *repaired, struct error *e);

/* Whether xl would open an entry of its array "disks" as what it is here: a block device or a raw
 * file of this host. ANSWER_IMAGE_REFUSED, -ENOMEM. */
int domconf_xl_check_disk(json_t *disk, struct error *e);

/* Points the disk called vdev of xl's JSON (its array "disks") at a block device or raw file. A
 * disk that the JSON does not have is ignored. 0, or -ENOMEM. */
int domconf_xl_set_disk(json_t *disks, const char *vdev, const char *path, bool writable);

/* Our own form, kept in the image's CONFIG section. The JSON text is malloc'd. */
int domconf_to_json(const struct domconf *c, char **text, struct error *e);
int domconf_from_json(const char *text, struct domconf *c, struct error *e);

/* The key, in our own form, of a setting in which the two differ; NULL: there is none. Static. */
const char *domconf_settings_differ(const struct domconf *a, const struct domconf *b);

/* ANSWER_IMAGE_REFUSED: a disk of xl's configuration cannot be had, and domconf_set_disk has named
 * no other for it. To be asked before anything else is done with the disks. */
int domconf_check_disks(const struct domconf *c, struct error *e);

/* Provides the disk called vdev, which must exist, by "ro:PATH" "phy:PATH" "cow:PATH"
 * "scratch:SIZE". ANSWER_BAD_VALUE. PATH must be absolute. */
int domconf_set_disk(struct domconf *c, const char *vdev, const char *spec, struct error *e);

/* Puts the interface with this number, which must exist, into another bridge than the saved one.
 * ANSWER_BAD_VALUE. */
int domconf_set_vif(struct domconf *c, const char *devid, const char *bridge, struct error *e);
/* The same in the array "nics" of xl's JSON, whose script is then Xen's own. 0, or -ENOMEM. */
int domconf_xl_set_vif(json_t *nics, unsigned devid, const char *bridge);
/* Its MAC address there. 0, or -ENOMEM. */
int domconf_xl_set_mac(json_t *nics, unsigned devid, const char *mac);

#endif
