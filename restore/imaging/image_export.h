/*
 * Export: an image becomes the file that `xl save` writes, and `xl restore` reads. The
 * way back of restore/imaging/image_import.h:
 *
 *   image (and its base) -> xl header, JSON configuration, libxl stream v2 around a
 *   libxc stream of the version that was imported
 *
 * The memory is base and delta merged; records and configuration are the image's own,
 * to the byte and in the order in which they were imported.
 */
#ifndef RESTORE_IMAGE_EXPORT_H
#define RESTORE_IMAGE_EXPORT_H

#include "base/error.h"

#include <stdint.h>

/* Descriptors for a process that may open nothing, from one that could; base -1: none. They are
 * closed, but for save. */
struct export_files {
    int image, base, save;
};

struct export_options {
    const char *image_path;
    const char *base_path; /* NULL unless the image is derived */
    const char *save_path; /* written; must not exist */
    /* NULL: the files are opened, and the save file gets its name. Else the paths are for messages,
     * and whoever gave the descriptors names what was written (base/new_file.h). */
    const struct export_files *files;
    /* Called now and then with bytes of guest memory written, and all of them. May be NULL.
     * Not 0: the export stops with -ECANCELED. */
    int (*progress)(uint64_t done, uint64_t total, void *data);
    void *progress_data;
};

/*
 * Blocking. On success the save file is durable, and only its owner may read it (mode 0600: it
 * holds a guest's memory); on failure nothing is left on disk. Written as SAVE_PATH.tmp-XXXXXX,
 * which is what a killed export leaves. Errors: -EEXIST when there is something at save_path,
 * which is not touched; -ECANCELED; other negative codes for I/O; ANSWER_IMAGE_REFUSED when an
 * image is damaged, when base and image do not belong together, or when the image lacks what
 * only an import gives it (IMAGE_RECORD_XL_CONFIG, IMAGE_RECORD_ORIGIN).
 */
int export_save_file(const struct export_options *o, struct error *e);

#endif
