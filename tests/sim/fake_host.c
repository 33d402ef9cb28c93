/*
 * restore/xen/host.h over the fake host's directory (fake.h), to be linked into dompoold-sim.
 *
 * A file is read when it has changed, not for each listing: ten thousand would take longer than all
 * that is measured.
 */
#include "base/array.h"
#include "base/io.h"
#include "base/units.h"
#include "tests/sim/fake.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#define DOMIDS 0x7ff0 /* DOMID_FIRST_RESERVED of xen/include/public/xen.h */

struct host {
    int inotify_fd, wake_fd;
    int changes_fd; /* inotify, of the listing alone; -1: nothing has been listed */
    bool there[DOMIDS];
    struct host_domain domains[DOMIDS];
};

static int watch_directory(void)
{
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    inotify_add_watch(fd, fake_dir(), IN_MOVED_TO | IN_DELETE);
    return fd;
}

int host_open(struct host **out, struct error *e)
{
    if (fake_fault_is("open", "fail"))
        return error_set(e, ANSWER_XEN_UNAVAILABLE, "the fake host is told to be away");
    struct host *h = calloc(1, sizeof *h);
    if (!h)
        return error_set(e, -ENOMEM, "out of memory");
    h->inotify_fd = watch_directory();
    h->wake_fd = eventfd(0, EFD_CLOEXEC);
    h->changes_fd = -1;
    *out = h;
    return 0;
}

void host_close(struct host *h)
{
    if (!h)
        return;
    fd_close(&h->inotify_fd);
    fd_close(&h->wake_fd);
    fd_close(&h->changes_fd);
    free(h);
}

/* A file of this name was made anew, or is gone. */
static void take_change(struct host *h, const char *name)
{
    uint64_t domid;
    if (!strncmp(name, "domain.", 7) && !number_parse(name + 7, 0, DOMIDS - 1, &domid))
        h->there[domid] = !fake_domain_read((uint32_t)domid, &h->domains[domid]);
}

static int read_all(struct host *h, struct error *e)
{
    fd_close(&h->changes_fd);
    h->changes_fd = watch_directory(); /* first: nothing is missed */
    memset(h->there, 0, sizeof h->there);
    DIR *dir = opendir(fake_dir());
    if (!dir)
        return error_errno(e, errno, "list domains in %s", fake_dir());
    struct dirent *entry;
    while ((entry = readdir(dir)))
        take_change(h, entry->d_name);
    closedir(dir);
    return 0;
}

/* False: too much has changed. */
static bool read_changes(struct host *h)
{
    _Alignas(struct inotify_event) char buf[4096];
    ssize_t n;
    while ((n = read(h->changes_fd, buf, sizeof buf)) > 0)
        for (char *at = buf; at < buf + n;) {
            const struct inotify_event *change = (const void *)at;
            if (change->mask & IN_Q_OVERFLOW)
                return false;
            if (change->len)
                take_change(h, change->name);
            at += sizeof *change + change->len;
        }
    return true;
}

int host_list(struct host *h, struct host_domain **out, size_t *n, struct error *e)
{
    *out = NULL;
    *n = 0;
    if (fake_fault_is("list", "fail"))
        return error_set(e, -EIO, "list domains: the fake host is told to fail");
    int rc = h->changes_fd >= 0 && read_changes(h) ? 0 : read_all(h, e);
    if (rc)
        return rc;
    size_t count = 0;
    for (size_t i = 0; i < DOMIDS; i++)
        count += h->there[i];
    struct host_domain *all = malloc((count + 1) * sizeof *all);
    if (!all)
        abort();
    *out = all;
    *n = count;
    for (size_t i = 0; i < DOMIDS; i++)
        if (h->there[i])
            *all++ = h->domains[i];
    return 0;
}

const char *host_shutdown_reason_name(unsigned reason)
{
    static const char *const names[] = {"poweroff", "reboot",   "suspend",
                                        "crash",    "watchdog", "soft-reset"};
    return reason < ARRAY_SIZE(names) ? names[reason] : "unknown";
}

int host_memory(struct host *h, struct host_memory *out, struct error *e)
{
    char text[32];
    uint64_t mib;
    (void)h;
    (void)e;
    fake_fault("free_mib", text, sizeof text);
    if (number_parse(text, 0, 16u << 10, &mib))
        mib = 8u << 10;
    *out = (struct host_memory){.total_kib = 16u << 20, .free_kib = mib << 10};
    return 0;
}

int host_disk(const char *dir, struct host_disk *out, struct error *e)
{
    char text[32];
    uint64_t mib;
    (void)dir, (void)e;
    fake_fault("disk_free", text, sizeof text);
    if (number_parse(text, 0, 1u << 20, &mib))
        mib = 8192;
    *out = (struct host_disk){UINT64_C(16) << 30, mib << 20};
    return 0;
}

/* Lines "uuid vdev state". */
int host_layers(struct host *h, const char *tag, struct host_layer **out, size_t *n,
                struct error *e)
{
    char path[400], uuid[UUID_TEXT_SIZE];
    struct host_layer layer = {0}, *list = NULL;
    (void)h, (void)tag, (void)e;
    *out = NULL;
    *n = 0;
    snprintf(path, sizeof path, "%s/layers", fake_dir());
    FILE *f = fopen(path, "re");
    while (f && fscanf(f, "%36s %15s %23s", uuid, layer.vdev, layer.state) == 3) {
        list = realloc(list, (*n + 1) * sizeof *list);
        if (!list || uuid_parse(uuid, &layer.uuid))
            abort();
        list[(*n)++] = layer;
    }
    if (f)
        fclose(f);
    *out = list;
    return 0;
}

int host_destroy(struct host *h, uint32_t domid, const struct uuid *uuid, unsigned timeout_ms,
                 struct error *e)
{
    struct host_domain d;
    (void)h;
    if (fake_fault_is("destroy", "fail"))
        return error_set(e, -EIO, "destroy domain %u: the fake host is told to fail", domid);
    if (fake_fault_is("destroy", "hang")) {
        usleep(timeout_ms * 1000);
        return error_set(e, -ETIMEDOUT, "domain %u is still there after %u ms", domid, timeout_ms);
    }
    fake_sleep("destroy_ms", 5);
    if (!fake_domain_read(domid, &d) && uuid_equal(&d.uuid, uuid))
        fake_domain_remove(domid);
    return 0;
}

int host_wait(struct host *h, int timeout_ms, struct error *e)
{
    char buf[4096];
    struct pollfd fds[] = {{.fd = h->inotify_fd, .events = POLLIN},
                           {.fd = h->wake_fd, .events = POLLIN}};
    int n = poll(fds, ARRAY_SIZE(fds), timeout_ms);
    if (n < 0 && errno != EINTR)
        return error_errno(e, errno, "wait for domain events");
    if (n <= 0 || !(fds[0].revents & POLLIN))
        return 1;
    while (read(h->inotify_fd, buf, sizeof buf) > 0)
        ;
    return 0;
}

void host_wake(struct host *h)
{
    (void)!eventfd_write(h->wake_fd, 1);
}

int host_sweep(struct host *h, const char *tag, const struct uuid *keep, size_t n_keep,
               unsigned *removed, struct error *e)
{
    (void)h;
    (void)tag;
    (void)keep;
    (void)n_keep;
    (void)e;
    *removed = 0;
    return 0;
}
