/* The files of a Xen host, for tests: see files.h. */
#include "tests/fake_xen/files.h"

#include "base/array.h"
#include "base/io.h"
#include "base/text.h"
#include "tests/fake_xen/fault.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *root;

static bool is_ours(const char *path)
{
    static const char *const prefixes[] = {"/dev/loop", "/dev/mapper", "/dev/xen",
                                           "/dev/fake", "/sys/",       "/var/lib/xen"};
    for (size_t i = 0; root && i < ARRAY_SIZE(prefixes); i++)
        if (!strncmp(path, prefixes[i], strlen(prefixes[i])))
            return true;
    return false;
}

const char *fake_path(const char *path)
{
    static _Thread_local char paths[4][512];
    static _Thread_local unsigned next;
    if (!is_ours(path))
        return path;
    char *out = paths[next++ % ARRAY_SIZE(paths)];
    if (!format_fits(out, sizeof paths[0], "%s%s", root, path))
        abort();
    return out;
}

void fake_file_put(const char *path, const char *text)
{
    FAKE_CALL();
    char dir[512];
    snprintf(dir, sizeof dir, "%s", fake_path(path));
    if (text)
        *strrchr(dir, '/') = '\0';
    if (make_dirs(dir, 0755, NULL))
        abort();
    FILE *f = text ? fopen(fake_path(path), "we") : NULL;
    if (text && (!f || fputs(text, f) < 0 || fclose(f)))
        abort();
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

void fake_file_remove(const char *path)
{
    FAKE_CALL();
    nftw(fake_path(path), remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void fake_files_init(const char *dir)
{
    root = dir;
}

void fake_files_dispose(void)
{
    static const char *const tops[] = {"dev", "sys", "var"};
    for (size_t i = 0; i < ARRAY_SIZE(tops); i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", root, tops[i]);
        nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    }
    root = NULL;
}

unsigned fake_open_descriptors(const char *path)
{
    FAKE_CALL();
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *entry; d && (entry = readdir(d));) {
        char link[64], target[512];
        snprintf(link, sizeof link, "/proc/self/fd/%.20s", entry->d_name);
        ssize_t length = readlink(link, target, sizeof target - 1);
        target[length < 0 ? 0 : length] = '\0';
        n += length > 0 && !strcmp(target, path);
    }
    if (d)
        closedir(d);
    return n;
}
