/*
 * Suspending a running domain with its help, and letting it go on.
 *
 * A guest is asked through its xenstore node control/shutdown. It acknowledges by clearing the
 * node, stops its devices and ends in the hypercall SCHEDOP_shutdown(SHUTDOWN_suspend). From then
 * on its vCPUs and page tables are in a state that can be saved. To go on means that this hypercall
 * returns 1 ("suspend cancelled"): the guest then uses its devices again where it left them, in the
 * same domain. Linux can do that since 2.6.22. A guest cannot be asked whether it can; `xl save -c`
 * supposes it as well.
 *
 * The dialogue is that of libxl (tools/libs/light/libxl_dom_suspend.c in Xen). All calls block.
 */
#ifndef RESTORE_SUSPEND_H
#define RESTORE_SUSPEND_H

#include "base/uuid.h"
#include "restore/xen/xen.h"

#include <stdatomic.h>
#include <stdint.h>

/* True when it has shut itself down in order to be saved. */
bool suspend_is_suspended(const xc_domaininfo_t *info);

struct suspend_options {
    uint32_t domid;
    const struct uuid *uuid;
    unsigned timeout_ms;     /* for the guest's acknowledgement */
    const atomic_bool *stop; /* once true, an unanswered request is taken back; may be NULL */
};

/*
 * Returns 0 once the domain is suspended. Otherwise it runs as before, and nothing of the request
 * is left. A request is taken back in a transaction, so a guest acknowledges it before that or
 * never.
 *
 * An acknowledged request cannot be taken back. From then on the guest has another 60 s to suspend
 * (libxl's limit), whatever `stop` says. A guest that suspends after that remains suspended.
 *
 *   ANSWER_TIMED_OUT       the guest did not acknowledge, or not suspend, in time
 *   ANSWER_DOMAIN_STATE    it powered off, rebooted or crashed instead; or another request is
 *                          pending
 *   ANSWER_NO_SUCH_DOMAIN  the domain has gone
 *   -ECANCELED             *stop
 */
int suspend_domain(struct xen *x, const struct suspend_options *o, struct error *e);

enum suspend_undone {
    UNDONE_NOTHING,    /* it ran, and no request was pending: it may have acknowledged one before */
    UNDONE_REQUEST,    /* it ran, and will not suspend any more */
    UNDONE_SUSPENSION, /* it goes on */
};

/* Lets a suspended domain go on; returns 0 if it runs already. Also takes back a request that the
 * guest has not acknowledged. After a killed capture, it is called until it has undone something:
 * the guest still carries out a request that it had acknowledged. what: may be NULL. */
int suspend_undo(struct xen *x, uint32_t domid, const struct uuid *uuid, enum suspend_undone *what,
                 struct error *e);

#endif
