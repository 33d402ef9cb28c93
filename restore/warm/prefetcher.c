/* Images that a warm slot expects: see prefetcher.h. */
#include "restore/warm/prefetcher.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Mapped in at a time. A request may come meanwhile, so a step takes far less time than a request:
 * 16 us a page on an emulated machine, a hundredth of that on a real one. */
#define STEP_PAGES 64u

static void let_go(struct prefetcher *x, struct image *im)
{
    if (im)
        x->unwanted[x->n_unwanted++] = im;
}

/* Room to let go of everything that is open, and of one more. */
static int unwanted_reserve(struct prefetcher *x, struct error *e)
{
    size_t n = x->n_unwanted + x->n_wanted + 1;
    struct image **bigger = realloc(x->unwanted, n * sizeof(struct image *));
    if (!bigger)
        return error_set(e, -ENOMEM, "out of memory for %zu images", n);
    x->unwanted = bigger;
    return 0;
}

static struct prefetched *find(struct prefetched *list, size_t n, const char *path)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(list[i].path, path))
            return &list[i];
    return NULL;
}

static void forget(struct prefetcher *x, struct prefetched *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        let_go(x, list[i].image);
        free(list[i].path);
    }
}

/* What is known of a path goes over from the old list. */
static int add(struct prefetcher *x, const char *path, struct prefetched *old, size_t n_old)
{
    struct prefetched *known = find(old, n_old, path);
    struct prefetched *own = &x->wanted[x->n_wanted];
    *own = (struct prefetched){.path = strdup(path)};
    if (!own->path)
        return -ENOMEM;
    if (known) {
        own->image = known->image;
        own->done = known->done;
        known->image = NULL;
    }
    x->n_wanted++;
    return 0;
}

int prefetcher_set(struct prefetcher *x, const char *const *paths, size_t n, struct error *e)
{
    struct prefetched old[EXPECTED_MAX];
    size_t n_old = x->n_wanted;
    int rc = unwanted_reserve(x, e);
    if (rc)
        return rc;
    memcpy(old, x->wanted, sizeof old);
    x->n_wanted = 0;
    for (size_t i = 0; i < n && !rc; i++)
        if (!find(x->wanted, x->n_wanted, paths[i]))
            rc = add(x, paths[i], old, n_old);
    forget(x, old, n_old);
    return rc ? error_set(e, rc, "out of memory for the images that are expected") : 0;
}

/* ---- work ---- */

static void unwanted_step(struct prefetcher *x)
{
    struct image *im = x->unwanted[x->n_unwanted - 1];
    if (image_unfault(im, STEP_PAGES))
        return;
    image_close(im);
    x->n_unwanted--;
}

static void wanted_step(struct prefetched *w)
{
    struct error e;
    if (w->image) {
        w->done = !image_prefault(w->image, STEP_PAGES);
    } else if (image_open(w->path, &w->image, &e)) {
        log_debug("image not prefetched: %s", e.text);
        w->done = true;
    } else {
        image_prefault_records(w->image);
    }
}

bool prefetcher_work(struct prefetcher *x)
{
    if (x->n_unwanted) {
        unwanted_step(x);
        return true;
    }
    for (size_t i = 0; i < x->n_wanted; i++)
        if (!x->wanted[i].done) {
            wanted_step(&x->wanted[i]);
            return true;
        }
    return false;
}

/* ---- use ---- */

int prefetcher_open(struct prefetcher *x, const char *path, struct image **im, struct error *e)
{
    struct prefetched *w = find(x->wanted, x->n_wanted, path);
    if (w && w->image && image_is_at(w->image, path)) {
        *im = w->image;
        return 0;
    }
    int rc = unwanted_reserve(x, e);
    if (!rc)
        rc = image_open(path, im, e);
    if (!rc)
        let_go(x, *im);
    return rc;
}

void prefetcher_dispose(struct prefetcher *x)
{
    for (size_t i = 0; i < x->n_wanted; i++) {
        image_close(x->wanted[i].image);
        free(x->wanted[i].path);
    }
    for (size_t i = 0; i < x->n_unwanted; i++)
        image_close(x->unwanted[i]);
    free(x->unwanted);
    *x = (struct prefetcher){0};
}
