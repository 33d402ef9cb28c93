/* What every unit test needs: cmocka in its required order, and a scratch directory. */
#ifndef TESTS_UNIT_CHECK_H
#define TESTS_UNIT_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The text of an error must hold a part; prints both when it does not. */
static inline void assert_says(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" does not say \"%s\"", text, part);
}

struct scratch {
    char dir[64];
};

static inline void scratch_make(struct scratch *s)
{
    snprintf(s->dir, sizeof s->dir, "/tmp/dompool-test-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
}

/* Path of a name in the directory; valid until the next call. */
static inline const char *scratch_path(const struct scratch *s, const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", s->dir, name);
    return path;
}

/* Number of files there; each is unlinked when `clean`. */
static inline unsigned scratch_files(const struct scratch *s, bool clean)
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

static inline void scratch_remove(const struct scratch *s)
{
    scratch_files(s, true);
    rmdir(s->dir);
}

#endif
