/*
 * Images that a warm slot will probably be completed with. They are opened, checked and mapped in
 * ahead of the request, a little at a time, so that a request waits neither for this nor for their
 * pages to be read. Images that are no longer expected are released in the same way, since taking
 * pages out of a mapping costs as much.
 *
 * Nothing depends on prefetching. An image that is not ready, or cannot be opened, is opened when
 * it is requested; its faults are reported then.
 */
#ifndef RESTORE_PREFETCHER_H
#define RESTORE_PREFETCHER_H

#include "restore/protocol/slot_protocol.h"
#include "store/image.h"

#include <stdbool.h>
#include <stddef.h>

struct prefetched {
    char *path;
    struct image *image; /* NULL: not opened */
    bool done;           /* as ready as it gets */
};

/* All zero: nothing is expected. */
struct prefetcher {
    struct prefetched wanted[EXPECTED_MAX]; /* the likeliest first */
    size_t n_wanted;
    struct image **unwanted; /* still open */
    size_t n_unwanted;
};

/* Replaces what was expected; n is at most EXPECTED_MAX. Opens, closes and maps nothing yet.
 * -ENOMEM: not all of them are expected. */
int prefetcher_set(struct prefetcher *x, const char *const *paths, size_t n, struct error *e);
/* Does some of the work. Blocking, for some milliseconds. False: there is none left. */
bool prefetcher_work(struct prefetcher *x);
/* Gives the image at path, as the file is now: the prefetched one if it is ready, else it is
 * opened. *im stays x's. Errors: image_open's; -ENOMEM. */
int prefetcher_open(struct prefetcher *x, const char *path, struct image **im, struct error *e);
void prefetcher_dispose(struct prefetcher *x);

#endif
