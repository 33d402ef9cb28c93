/*
 * A domain's nodes in xenstore, except those of its devices: what a guest, xl and xenconsoled
 * expect to find.
 */
#ifndef RESTORE_DOMAIN_NODES_H
#define RESTORE_DOMAIN_NODES_H

#include "restore/formats/domconf.h"
#include "restore/xen/nodes.h"
#include "restore/xen/xen.h"

/* A domain's identity, for xenstore and its readers. Borrows its texts. */
struct domain_identity {
    uint32_t domid;
    const char *uuid; /* text */
    const char *name;
    const char *tag; /* the daemon's: marks the domain as made by dompool */
    uint32_t store_port, console_port;
    /* The domain is introduced before anybody requests it, under a preliminary name. Until
     * domain_serve_console, xenconsoled leaves its console alone and makes no log. */
    bool waits;
};

/* Adds skeleton and console. Left out until the ring pages are known: store/ring-ref and
 * console/ring-ref; xenconsoled waits for the latter. */
void domain_nodes_add(const struct domain_identity *d, const struct domconf *c, struct nodes *t);

/*
 * Makes the domain known once its memory is there: writes its name and the ring pages, and
 * introduces it to xenstored. The name is written before the console's ring, so that xenconsoled's
 * log carries it. Ring pages are gfns as Xen counts them (PV: mfns).
 */
int domain_introduce(struct xen *x, const struct domain_identity *d, uint64_t store_gfn,
                     uint64_t console_gfn, struct error *e);

/* Gives a domain that waits its name. Creates no node. */
int domain_rename(struct xen *x, uint32_t domid, const char *name, struct error *e);
/* Then gives its console to xenconsoled, whose log carries the name. Creates no node. xenconsoled
 * then makes some forty requests to xenstored. They keep a processor busy for as long as a delta of
 * a thousand pages takes, so nobody should wait for this. Until xenconsoled has the console, the
 * domain's output waits in its ring, 2 KiB; a Linux with more output stops there. */
int domain_serve_console(struct xen *x, uint32_t domid, struct error *e);
/* 1: that has not been done; 0: it has; or an I/O error. */
int domain_console_waits(struct xen *x, uint32_t domid, struct error *e);

/* Removes all nodes of a domain, those of every kind of device included. Front ends go first, so
 * that back ends let go. The rest goes by domain_remove_nodes once they have. Missing nodes are
 * fine. uuid: text; NULL leaves /vm/<uuid> alone. */
int domain_remove_frontends(struct xen *x, uint32_t domid, struct error *e);
int domain_remove_nodes(struct xen *x, uint32_t domid, const char *uuid, struct error *e);

#endif
