/* The fake host's directory: see fake.h. */
#include "tests/sim/fake.h"

#include "base/io.h"
#include "base/text.h"
#include "base/units.h"
#include "base/uuid.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define DOMID_FIRST_RESERVED 0x7ff0u /* of xen/include/public/xen.h */

const char *fake_dir(void)
{
    const char *dir = getenv(FAKE_ENV);
    if (!dir) {
        fprintf(stderr, "%s is not set\n", FAKE_ENV);
        _exit(1);
    }
    return dir;
}

static void file_path(char *buf, size_t size, const char *name)
{
    format_fits(buf, size, "%s/%s", fake_dir(), name);
}

void fake_fault(const char *name, char *buf, size_t size)
{
    char path[400], *text;
    file_path(path, sizeof path, name);
    buf[0] = '\0';
    if (read_file(path, size - 1, &text, NULL, NULL))
        return;
    text[strcspn(text, "\n")] = '\0';
    format_fits(buf, size, "%s", text);
    free(text);
}

bool fake_fault_is(const char *name, const char *word)
{
    char text[64];
    fake_fault(name, text, sizeof text);
    return !strcmp(text, word);
}

void fake_sleep(const char *name, unsigned default_ms)
{
    char text[32];
    uint64_t ms;
    fake_fault(name, text, sizeof text);
    if (number_parse(text, 0, 3600000, &ms))
        ms = default_ms;
    usleep((useconds_t)ms * 1000);
}

static void domain_path(char *buf, size_t size, uint32_t domid)
{
    format_fits(buf, size, "%s/domain.%u", fake_dir(), domid);
}

/* Written aside and renamed: a reader sees a whole domain or none. */
int fake_domain_write(const struct host_domain *d)
{
    char path[400], aside[420], text[400], uuid[UUID_TEXT_SIZE];
    domain_path(path, sizeof path, d->domid);
    format_fits(aside, sizeof aside, "%s.%d", path, (int)getpid());
    uuid_format(&d->uuid, uuid);
    format_fits(text, sizeof text, "%s %s %s %d %u %d\n", uuid, d->name[0] ? d->name : "-",
                d->tag[0] ? d->tag : "-", (int)d->state, d->shutdown_reason, (int)d->paused);
    int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = fd < 0 || write_full(fd, text, strlen(text)) || rename(aside, path) ? -1 : 0;
    fd_close(&fd);
    return rc;
}

int fake_domain_read(uint32_t domid, struct host_domain *d)
{
    char path[400], *text, uuid[UUID_TEXT_SIZE];
    int state, paused;
    memset(d, 0, sizeof *d);
    domain_path(path, sizeof path, domid);
    if (read_file(path, 1000, &text, NULL, NULL))
        return -1;
    int n = sscanf(text, "%36s %63s %63s %d %u %d", uuid, d->name, d->tag, &state,
                   &d->shutdown_reason, &paused);
    free(text);
    if (n != 6 || uuid_parse(uuid, &d->uuid))
        return -1;
    if (!strcmp(d->name, "-"))
        d->name[0] = '\0';
    if (!strcmp(d->tag, "-"))
        d->tag[0] = '\0';
    d->domid = domid;
    d->state = (enum host_domain_state)state;
    d->paused = paused != 0;
    return 0;
}

void fake_domain_remove(uint32_t domid)
{
    char path[400];
    domain_path(path, sizeof path, domid);
    unlink(path);
}

/* The next free one behind domid, or 0. */
static uint32_t domid_behind(uint32_t domid)
{
    char path[400];
    for (unsigned tries = DOMID_FIRST_RESERVED; tries; tries--) {
        domid = domid + 1 < DOMID_FIRST_RESERVED ? domid + 1 : 1;
        domain_path(path, sizeof path, domid);
        if (access(path, F_OK))
            return domid;
    }
    return 0;
}

uint32_t fake_domid_next(void)
{
    char path[400], text[32] = "";
    file_path(path, sizeof path, "next");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX))
        return 0;
    (void)!pread(fd, text, sizeof text - 1, 0);
    uint32_t next = domid_behind((uint32_t)strtoul(text, NULL, 10));
    int len = snprintf(text, sizeof text, "%-10u\n", next);
    (void)!pwrite(fd, text, (size_t)len, 0);
    fd_close(&fd);
    return next;
}

void fake_note(const char *name, const char *text)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s.%d", fake_dir(), name, (int)getpid());
    FILE *f = fopen(path, "w");
    if (f) {
        fputs(text, f);
        fclose(f);
    }
}
