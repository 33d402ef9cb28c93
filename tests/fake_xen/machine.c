/* A Xen host for tests: see machine.h. */
#include "tests/fake_xen/machine.h"

#include "tests/fake_xen/backend.h"
#include "tests/fake_xen/block.h"
#include "tests/fake_xen/clock.h"
#include "tests/fake_xen/domains.h"
#include "tests/fake_xen/fault.h"
#include "tests/fake_xen/files.h"
#include "tests/fake_xen/kernel.h"
#include "tests/fake_xen/mapper.h"
#include "tests/fake_xen/ports.h"
#include "tests/fake_xen/store.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *left;
static unsigned descriptors_at_first;

static unsigned descriptors(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d))
        n++;
    closedir(d);
    return n;
}

void fake_machine_init(const char *dir)
{
    static const struct fake_store_hooks hooks = {.changed = fake_backend_look,
                                                  .introduce = fake_domain_introduce};
    fake_clock_reset();
    fake_kernel_init(dir);
    fake_store_init(&hooks);
    fake_domains_init();
    fake_backend_init();
    fake_ports_init();
    descriptors_at_first = descriptors();
}

void fake_machine_dispose(void)
{
    fake_clock_reset();
    fake_domains_dispose();
    fake_store_dispose();
    fake_kernel_dispose();
    free(left);
    left = NULL;
}

/* ---- what is left ---- */

/* Whether the part after the n-th slash of a path below top names a domain other than dom0. */
static bool is_of_domain(const char *path, const char *top, unsigned slashes)
{
    if (strncmp(path, top, strlen(top)) != 0)
        return false;
    path += strlen(top);
    for (; slashes && (path = strchr(path, '/')); slashes--)
        path++;
    return path && strcmp(path, "0") != 0 && strncmp(path, "0/", 2) != 0;
}

/* Directories that domains have been in may stay. */
static void node_look(const char *path, const char *value, void *out)
{
    if (is_of_domain(path, "/local/domain/", 0) || is_of_domain(path, "/libxl/", 0) ||
        is_of_domain(path, "/vm/", 0) || is_of_domain(path, "/local/domain/0/backend/", 1) ||
        is_of_domain(path, "/local/domain/0/error/backend/", 1))
        fprintf(out, "node %s = \"%s\"\n", path, value);
}

static void files_print(FILE *out)
{
    DIR *d = opendir(fake_path("/var/lib/xen"));
    for (struct dirent *entry; d && (entry = readdir(d));)
        if (entry->d_name[0] != '.')
            fprintf(out, "file /var/lib/xen/%s\n", entry->d_name);
    if (d)
        closedir(d);
}

static void held_print(FILE *out)
{
    struct fake_store_held held = fake_store_held();
    if (held.connections)
        fprintf(out, "%u connections to xenstored\n", held.connections);
    if (held.transactions)
        fprintf(out, "%u transactions\n", held.transactions);
    unsigned now = descriptors();
    if (now > descriptors_at_first)
        fprintf(out, "%u descriptors\n", now - descriptors_at_first);
}

const char *fake_machine_left(void)
{
    FAKE_CALL();
    size_t size;
    free(left);
    FILE *out = open_memstream(&left, &size);
    fake_domains_print(out);
    fake_store_walk("/", node_look, out);
    fake_mapper_print(out);
    fake_loops_print(out);
    fake_ports_print(out);
    fake_backends_print(out);
    files_print(out);
    held_print(out);
    fclose(out);
    return left;
}
