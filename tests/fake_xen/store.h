/*
 * A xenstored for tests, in this process: libxenstore's calls over an ordered map. It has what the
 * real one has and the code under test relies on:
 *
 *   - nodes with a value and permissions; a new node has its parent's; missing parents are made
 *   - transactions see the store as it was when they began, and commit whole, or not at all with
 *     EAGAIN when somebody changed a node that they have looked at
 *   - watches fire when they are set, on each change at or below their path, and on the removal of
 * a node above it; @introduceDomain and @releaseDomain
 *   - names and sizes that the protocol does not allow are refused
 *
 * All connections are dom0's, which may do everything and has no quotas. The test plays the other
 * domains with the calls below, which never fail.
 */
#ifndef TESTS_STORE_H
#define TESTS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Who listens. All are called with the fakes' lock held and may be NULL. */
struct fake_store_hooks {
    /* The node has been changed, or removed; of a transaction, once all of it has been committed.
     */
    void (*changed)(const char *path);
    /* A transaction begins. */
    void (*started)(void);
    /* Whether xenstored can map the ring of the domain and bind to its port; else errno. */
    bool (*introduce)(uint32_t domid, uint64_t gfn, uint32_t port);
};

/* Makes the store empty but for dom0's own nodes. hooks is copied. */
void fake_store_init(const struct fake_store_hooks *hooks);
void fake_store_dispose(void);

/* The value, or NULL when there is no such node; valid until the node changes. */
const char *fake_store_get(const char *path);
/* The permissions as xenstore-ls prints them: "n0,r7"; valid until the next call. "" for none. */
const char *fake_store_access(const char *path);
/* Somebody else writes, or removes with all that is below. */
void fake_store_put(const char *path, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void fake_store_remove(const char *path);
/* The n-th child's name, or NULL: valid until the store changes. */
const char *fake_store_child(const char *path, unsigned n);
/* Calls `each` for every node at or below path, in order. */
void fake_store_walk(const char *path,
                     void (*each)(const char *path, const char *value, void *data), void *data);
/* All at or below path, a line each: path = "value" (permissions). */
void fake_store_print(const char *path, FILE *out);

/* The next n transactions that would be committed fail with EAGAIN. */
void fake_store_conflict(unsigned n);
/* xenstored dies: every call fails with EPIPE, and connections are readable. false: it is back. */
void fake_store_hang_up(bool gone);

/* The hypervisor tells xenstored that a domain has shut down, or is no more. */
void fake_store_domain_exception(uint32_t domid, bool gone);
bool fake_store_introduced(uint32_t domid);
/* How often xs_resume_domain was called. */
unsigned fake_store_resumed(void);

/* What the program under test holds. */
struct fake_store_held {
    unsigned connections, transactions, watches;
    unsigned abandoned; /* watches that were set when their connection was closed */
};
struct fake_store_held fake_store_held(void);

#endif
