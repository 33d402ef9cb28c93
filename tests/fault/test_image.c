/*
 * A writer of image files that is killed: before, halfway through and after each of its system
 * calls, then at moments of chance. Each time the directory holds what a temporary name tells
 * apart, or a whole image, and the next writer gets on. That a name stands for what is on the
 * disk is seen from the order of the calls: nothing is renamed before it is synced.
 */
#include "store/image.h"

#include "base/clock.h"
#include "base/page.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 700u /* more than two of the writer's buffers hold */
#define IMAGE "x.img"
#define CHANCES 120u

static char dir[64], path[96];

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

/* ---- the calls: --wrap on the linker's command line ---- */

enum moment { BEFORE, HALFWAY, AFTER, MOMENTS };

static long left = -1; /* calls until the one at which we die; -1: none */
static enum moment moment;
static bool file_unsynced, name_unsynced;

int __real_mkostemp(char *pattern, int flags);
off_t __real_lseek(int fd, off_t at, int whence);
ssize_t __real_write(int fd, const void *bytes, size_t n);
ssize_t __real_pwrite(int fd, const void *bytes, size_t n, off_t at);
int __real_ftruncate(int fd, off_t size);
int __real_fsync(int fd);
int __real_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
int __real_close(int fd);
int __wrap_mkostemp(char *pattern, int flags);
off_t __wrap_lseek(int fd, off_t at, int whence);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n, off_t at);
int __wrap_ftruncate(int fd, off_t size);
int __wrap_fsync(int fd);
int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
int __wrap_close(int fd);

static void die(bool now)
{
    if (!now)
        return;
    kill(getpid(), SIGKILL);
    abort();
}

/* True when this call is the last. */
static bool call_starts(void)
{
    bool last = left >= 0 && left-- == 0;
    die(last && moment == BEFORE);
    return last;
}

/* What is left of n bytes. */
static size_t cut(bool last, size_t n)
{
    return last && moment == HALFWAY ? n / 2 : n;
}

int __wrap_mkostemp(char *pattern, int flags)
{
    bool last = call_starts();
    int fd = __real_mkostemp(pattern, flags);
    die(last);
    return fd;
}

off_t __wrap_lseek(int fd, off_t at, int whence)
{
    bool last = call_starts();
    off_t r = __real_lseek(fd, at, whence);
    die(last);
    return r;
}

ssize_t __wrap_write(int fd, const void *bytes, size_t n)
{
    bool last = call_starts();
    ssize_t r = __real_write(fd, bytes, cut(last, n));
    die(last);
    file_unsynced = true;
    return r;
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    bool last = call_starts();
    ssize_t r = __real_pwrite(fd, bytes, cut(last, n), at);
    die(last);
    file_unsynced = true;
    return r;
}

int __wrap_ftruncate(int fd, off_t size)
{
    bool last = call_starts();
    int r = __real_ftruncate(fd, size);
    die(last);
    file_unsynced = true;
    return r;
}

int __wrap_fsync(int fd)
{
    bool last = call_starts();
    struct stat st;
    int r = __real_fsync(fd);
    die(last);
    must(!fstat(fd, &st), "stat of what is synced");
    *(S_ISDIR(st.st_mode) ? &name_unsynced : &file_unsynced) = false;
    return r;
}

int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    must(!file_unsynced, "renamed before it was synced");
    bool last = call_starts();
    int r = __real_renameat2(from_dir, from, to_dir, to, flags);
    die(last);
    name_unsynced = true;
    return r;
}

int __wrap_close(int fd)
{
    bool last = call_starts();
    int r = __real_close(fd);
    die(last);
    return r;
}

/* ---- the writer ---- */

static int write_pages(struct image_writer *w, struct image_page *pages)
{
    uint8_t page[PAGE_BYTES] = {0};
    int rc = 0;
    for (uint64_t i = 0; i < PAGES && !rc; i++) {
        memcpy(page, &i, sizeof i);
        pages[i].pfn_type = i;
        rc = image_writer_payload(w, page, &pages[i].payload, NULL);
    }
    return rc ? rc : image_writer_pages(w, pages, PAGES, NULL);
}

static int write_image(void)
{
    static struct image_page pages[PAGES];
    struct image_info info = {.guest = IMAGE_GUEST_PV, .vcpus = 1, .max_pfn = PAGES};
    struct image_writer *w;
    int rc = image_writer_new(path, &w, NULL);
    if (rc)
        return rc;
    rc = write_pages(w, pages);
    if (!rc)
        rc = image_writer_record(w, 7, "seven", 5, NULL);
    if (!rc)
        rc = image_writer_config(w, "{}", NULL);
    if (!rc)
        rc = image_writer_commit(w, &info, NULL);
    must(rc || (!file_unsynced && !name_unsynced), "reported before it was durable");
    image_writer_free(w);
    return rc;
}

/* ---- what it may leave ---- */

static void check_image(void)
{
    struct image *im;
    must(!image_open(path, &im, NULL), "the image does not open");
    must(!image_verify(im, NULL), "the image is damaged");
    must(image_info(im)->entries == PAGES, "the image has lost pages");
    image_close(im);
}

/* True when the image is there. `clean` removes all. */
static bool check_dir(bool clean)
{
    DIR *d = opendir(dir);
    bool found = false;
    must(d, "the directory is gone");
    for (struct dirent *entry; (entry = readdir(d));) {
        if (entry->d_name[0] == '.')
            continue;
        if (!strcmp(entry->d_name, IMAGE))
            found = true;
        else
            must(!strncmp(entry->d_name, IMAGE ".tmp-", sizeof IMAGE ".tmp-" - 1), entry->d_name);
    }
    if (found)
        check_image();
    rewinddir(d);
    for (struct dirent *entry; clean && (entry = readdir(d));)
        unlinkat(dirfd(d), entry->d_name, 0);
    closedir(d);
    return found;
}

/* ---- the runs ---- */

/* True when the writer came to its end. delay_us: kill it from here after that time, 0: not. */
static bool run(long n, enum moment when, useconds_t delay_us)
{
    int status;
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (!pid) {
        left = n;
        moment = when;
        _exit(write_image() ? 1 : 0);
    }
    if (delay_us) {
        usleep(delay_us);
        kill(pid, SIGKILL);
    }
    must(waitpid(pid, &status, 0) == pid, "wait for the writer");
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    must(killed || (WIFEXITED(status) && !WEXITSTATUS(status)), "the writer failed");
    bool found = check_dir(false);
    must(killed || found, "an image that was reported is not there");
    must(write_image() == (found ? -EEXIST : 0), "the next writer");
    must(check_dir(true), "the next writer's image");
    return !killed;
}

static void each_call(void)
{
    for (int when = BEFORE; when < MOMENTS; when++) {
        long n = 0;
        while (!run(n, (enum moment)when, 0))
            n++;
        must(n > 10, "fewer calls than a writer can do with: are they wrapped?");
        printf("killed at each of %ld calls, moment %d of 3\n", n, when + 1);
    }
}

static void any_time(void)
{
    unsigned ends = 0;
    srandom(1);
    uint64_t start = clock_mono_us();
    must(!write_image(), "a writer that nobody kills");
    uint64_t whole_us = clock_mono_us() - start;
    must(check_dir(true), "its image");
    for (unsigned i = 0; i < CHANCES; i++)
        ends += run(-1, BEFORE, (useconds_t)((uint64_t)random() % whole_us + 1));
    printf("killed at %u moments of chance, %u of them after its end\n", CHANCES, ends);
}

int main(void)
{
    strcpy(dir,
           access("/dev/shm", W_OK) ? "/tmp/dompool-img.XXXXXX" : "/dev/shm/dompool-img.XXXXXX");
    must(mkdtemp(dir), "make a directory");
    snprintf(path, sizeof path, "%s/" IMAGE, dir);
    each_call();
    any_time();
    return rmdir(dir);
}
