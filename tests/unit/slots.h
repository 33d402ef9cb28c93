/*
 * For tests of slots on the Xen host of tests/fake_xen: images of a PV and of a PVH guest as an
 * import makes them, slots built of them, and what must hold for the domain of each.
 */
#ifndef TESTS_UNIT_SLOTS_H
#define TESTS_UNIT_SLOTS_H

#include "restore/warm/warm.h"

#define SLOT_UUID "6d9bb2e8-4a51-4c8a-9c1f-0d0a7c0f2b11"
#define SLOT_NAME "dompool-s1"
#define LEASE_NAME "lease-1"

/* Of one kind of guest, as files in the scratch directory. The PV guest has four disks, one of each
 * kind; the PVH guest has none. */
struct slot_images {
    enum image_guest guest;
    char base[96];    /* stored whole */
    char delta[96];   /* derived from it */
    char second[96];  /* a new version of the base */
    char further[96]; /* derived from that */
};
extern struct slot_images pv_images, pvh_images;

/* For a group: the scratch directory with the images. */
int slots_setup(void **state);

/* A request for a slot of this base. */
struct warm_request slot_request(const char *engine, const char *image);
/* warm_build, with a `numbered` that counts how often it was called, and notes the domid. */
int slot_build(struct warm *w, const struct warm_request *r, struct error *e);
extern unsigned slot_numbered;
extern uint32_t slot_domid;
/* warm_complete, with no wish for a MAC address. */
int slot_run(struct warm *w, const char *image, const char *name, bool paused,
             struct warm_outcome *outcome, struct error *e);

/* The domain is warm: paused, filled, its back ends ready; nothing is held that is not needed. */
void assert_warm(const struct warm *w, const char *what);
/* The domain has become what the image says, under this name. */
void assert_completed(const struct warm *w, const char *image, const char *name, bool paused,
                      const char *what);

/* The domain of a slot that was completed; its helper is gone. */
uint32_t slot_start(const char *engine, const struct slot_images *im);
/* It gets one more disk, with a loop device that only xl's script would detach. */
void slot_attach_loop(uint32_t domid);

/* What the daemon does about a slot that has failed or ended: destroys its domain, wherever it is,
 * then sweeps. Nothing of it fails, and nothing is left. */
void slot_clean(const char *what);
/* The same without the assertion that nothing is left. */
void slot_end(const char *what);

#endif
