/* See check.h. */
#include "tests/unit/check.h"

#include "base/array.h"
#include "base/io.h"
#include "base/text.h"

#include <dirent.h>
#include <fcntl.h>

struct scratch dir;

void assert_says(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" does not say \"%s\"", text, part);
}

void assert_refused(int rc, const struct error *e, const char *why)
{
    if (rc != ANSWER_IMAGE_REFUSED)
        fail_msg("returned %d (%s), not a refusal because of \"%s\"", rc, e->text, why);
    assert_says(e->text, why);
}

void scratch_make(struct scratch *s)
{
    snprintf(s->dir, sizeof s->dir, "%s/dompool-test-XXXXXX",
             access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    assert_non_null(mkdtemp(s->dir));
}

const char *scratch_path(const struct scratch *s, const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % ARRAY_SIZE(paths)];
    assert_true(format_fits(path, sizeof paths[0], "%s/%s", s->dir, name));
    return path;
}

void scratch_write(const struct scratch *s, const char *name, const void *bytes, size_t size)
{
    int fd = open(scratch_path(s, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write_full(fd, bytes, size), 0);
    close(fd);
}

unsigned scratch_files(const struct scratch *s, bool clean)
{
    unsigned n = 0;
    DIR *d = opendir(s->dir);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d));) {
        if (entry->d_name[0] == '.')
            continue;
        n++;
        if (clean)
            unlinkat(dirfd(d), entry->d_name, 0);
    }
    closedir(d);
    return n;
}

void scratch_remove(const struct scratch *s)
{
    scratch_files(s, true);
    rmdir(s->dir);
}

int dir_setup(void **state)
{
    (void)state;
    scratch_make(&dir);
    return 0;
}

int dir_teardown(void **state)
{
    (void)state;
    scratch_remove(&dir);
    return 0;
}

int dir_clean(void **state)
{
    (void)state;
    scratch_files(&dir, true);
    return 0;
}
