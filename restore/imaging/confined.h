/*
 * The pieces of work of dompool-image, each with its reading done by a worker without rights
 * (worker.h): the files are opened here, and what was written gets its name here.
 *
 * All of it blocks, and forks: the process has one thread. Errors are those of the work itself,
 * import_save_file and so on, but that unexpected ones of the worker all are -EIO; -ECANCELED when
 * `stopped` says so; and that of `confine`.
 */
#ifndef RESTORE_CONFINED_H
#define RESTORE_CONFINED_H

#include "base/confine.h"
#include "restore/imaging/image_export.h"
#include "restore/imaging/image_import.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct confined {
    struct confine_user user;
    bool (*stopped)(void); /* may be NULL */
};

/* *made is what restore/protocol/image_made.h describes, read from the finished file here; made.h
 * says what that file may be. New reference. o->remarks is filled in as import_save_file does.
 * o->files, o->eyes and o->consent.ask are not for the caller. */
int confined_import(const struct confined *c, const struct import_options *o, json_t **made,
                    struct error *e);
/* For import of struct capture_options; its data is one of these. *made is set on success, a new
 * reference, and has been checked. */
struct confined_capture {
    const struct confined *by;
    json_t *made;
};
int confined_capture_import(const char *xl_config, size_t len, int *stream,
                            const struct import_options *o, struct image_info *info, void *data,
                            struct error *e);

/* o->files is not for the caller. */
int confined_export(const struct confined *c, const struct export_options *o, struct error *e);

/* Digests of the image, and of its disks if disks; *made as above. progress may be NULL. */
int confined_verify(const struct confined *c, const char *image_path, bool disks,
                    int (*progress)(uint64_t done, uint64_t total, void *data), void *data,
                    json_t **made, struct error *e);

/* One side of a comparison: an image, and its base if it is derived. */
struct confined_side {
    const char *path, *base_path; /* NULL: no base */
};

/* *out as image_diff. */
int confined_diff(const struct confined *c, const struct confined_side sides[2],
                  int (*progress)(uint64_t done, uint64_t total, void *data), void *data,
                  json_t **out, struct error *e);

#endif
