/* Files that appear whole: see new_file.h. */
#include "base/new_file.h"

#include "base/io.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int exists(const struct new_file *f, const char *path, struct error *e)
{
    return error_set(e, -EEXIST, "%s %s exists already", f->what, path);
}

int new_file_create(struct new_file *f, const char *what, const char *path, struct error *e)
{
    struct stat st;
    *f = (struct new_file){.what = what, .fd = -1};
    if (!lstat(path, &st))
        return exists(f, path, e);
    f->path = strdup(path);
    f->temp_path = format_new("%s" NEW_FILE_SUFFIX, path);
    if (f->path && f->temp_path)
        f->fd = mkostemp(f->temp_path, O_CLOEXEC);
    if (f->fd >= 0)
        return 0;
    int rc = f->path && f->temp_path
                 ? error_errno(e, errno, "%s %s: create %s", what, path, f->temp_path)
                 : error_set(e, -ENOMEM, "%s %s: out of memory", what, path);
    free(f->temp_path); /* there is nothing to remove */
    f->temp_path = NULL;
    new_file_drop(f);
    return rc;
}

int new_file_publish(struct new_file *f, struct error *e)
{
    if (fsync(f->fd))
        return error_errno(e, errno, "%s %s: sync", f->what, f->path);
    int rc = rename_new(f->temp_path, f->path);
    if (rc == -EEXIST)
        return exists(f, f->path, e);
    if (rc)
        return error_errno(e, -rc, "%s %s: rename to it", f->what, f->path);
    free(f->temp_path);
    f->temp_path = NULL;
    rc = fsync_parent(f->path, e);
    if (rc)
        unlink(f->path); /* not durable, so it is removed */
    else
        new_file_drop(f);
    return rc;
}

void new_file_drop(struct new_file *f)
{
    if (f->temp_path)
        unlink(f->temp_path);
    fd_close(&f->fd);
    free(f->temp_path);
    free(f->path);
    *f = NEW_FILE_NONE;
}
