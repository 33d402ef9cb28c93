/*
 * The configuration of one network interface (vif): what the guest has, and which port of the host
 * it leads to. dompool puts interfaces into bridges by itself, as Xen's script vif-bridge does.
 */
#ifndef RESTORE_NIC_CONF_H
#define RESTORE_NIC_CONF_H

#include "base/error.h"
#include "base/mac.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define NIC_INDEX_MAX 15u   /* devid of a vif: mac_of_uuid has four bits for it */
#define NIC_NAME_SIZE 16u   /* IFNAMSIZ of linux/if.h */
#define NIC_IP_SIZE 200u    /* text of the addresses of one interface */
#define NIC_BRIDGE "xenbr0" /* libxl's default */
#define NIC_SCRIPT "vif-bridge"
#define NIC_NO_SCRIPT "/bin/true" /* in the nodes of interfaces that no script has made */
#define NIC_MTU_DEFAULT 1500u     /* libxl's; then the bridge's counts */

struct nic_conf {
    unsigned devid;
    struct mac mac; /* as saved */
    char bridge[NIC_NAME_SIZE];
    char name[NIC_NAME_SIZE];    /* of the host's end; "": vifDOMID.DEVID */
    char ip[NIC_IP_SIZE];        /* "": none; with blanks between several: nic_address.h */
    char gateway[NIC_NAME_SIZE]; /* gatewaydev; for the node alone */
    unsigned mtu;                /* 0: the bridge's */
    uint64_t rate_bytes;         /* the guest may send so many in rate_usecs; 0: no limit */
    unsigned rate_usecs;
    bool trusted;    /* of the back end, by the guest */
    char script[64]; /* xl's, when it is another than vif-bridge; not kept in our form */
};

/* A name that the kernel takes for an interface (dev_valid_name): 1 to 15 characters, without
 * blanks, slashes, colons and control characters, and not "." or "..". */
bool nic_name_valid(const char *name);

/* From an entry of "nics" in xl's JSON (libxl_device_nic, 4.17 to 4.22). *n must be all zeros.
 * ANSWER_IMAGE_REFUSED, naming the key. */
int nic_conf_from_xl(json_t *o, struct nic_conf *n, struct error *e);

/* ANSWER_IMAGE_REFUSED: another script than vif-bridge was to make the port. */
int nic_conf_check_script(const struct nic_conf *n, struct error *e);

/* Our own form, see domconf.c. New reference; NULL: no memory. */
json_t *nic_conf_to_json(const struct nic_conf *n);
/* *n must be all zeros. ANSWER_IMAGE_REFUSED. */
int nic_conf_from_json(json_t *o, struct nic_conf *n, struct error *e);

/* Whether a guest cannot tell one from the other. The names of what is wrong, or NULL. Static. */
const char *nic_conf_differ(const struct nic_conf *a, const struct nic_conf *b);

#endif
