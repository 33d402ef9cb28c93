/*
 * What the daemon reads of image files when it starts, on a disk that fails: each read in turn ends
 * with an error, or the file is shorter than it says. It must be an error that names the file, and
 * nothing may be mapped: a page that the disk does not give would be a SIGBUS for the daemon.
 */
#include "store/image.h"

#include "base/page.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGES 30u
#define CONFIG "{\"name\":\"x\"}"

static char dir[64], path[96];

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

/* ---- the calls: --wrap on the linker's command line ---- */

static long left = -1;   /* reads until the one that fails; -1: none */
static bool daemon_like; /* mapping is forbidden */
static off_t shrink_to;  /* the next file that is mapped becomes as short as this; 0: it does not */

ssize_t __real_pread(int fd, void *to, size_t n, off_t at);
void *__real_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);
ssize_t __wrap_pread(int fd, void *to, size_t n, off_t at);
void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset);

ssize_t __wrap_pread(int fd, void *to, size_t n, off_t at)
{
    if (left >= 0 && left-- == 0) {
        errno = EIO;
        return -1;
    }
    return __real_pread(fd, to, n, at);
}

void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
    must(!daemon_like || fd < 0, "the daemon maps an image file");
    if (fd >= 0 && shrink_to)
        must(!truncate(path, shrink_to), "truncate");
    return __real_mmap(at, n, prot, flags, fd, offset);
}

/* ---- an image ---- */

static void write_image(void)
{
    struct image_page pages[PAGES];
    uint8_t page[PAGE_BYTES] = {0};
    struct image_info info = {.guest = IMAGE_GUEST_PV, .vcpus = 2, .max_pfn = PAGES};
    struct image_writer *w;
    must(!image_writer_new(path, &w, NULL), "create an image");
    for (unsigned i = 0; i < PAGES; i++) {
        memcpy(page, &i, sizeof i);
        pages[i].pfn_type = i;
        must(!image_writer_payload(w, page, &pages[i].payload, NULL), "write a page");
    }
    must(!image_writer_pages(w, pages, PAGES, NULL), "write the pages");
    must(!image_writer_record(w, 7, "seven", 5, NULL), "write a record");
    must(!image_writer_config(w, CONFIG, NULL), "write the configuration");
    must(!image_writer_commit(w, &info, NULL), "commit");
    image_writer_free(w);
}

static int facts(struct image_info *info, struct error *e)
{
    char *config = NULL;
    daemon_like = true;
    int rc = image_read_facts(path, info, &config, e);
    daemon_like = false;
    must(rc || !strcmp(config, CONFIG), "its configuration");
    must(!rc || strstr(e->text, path), "an error without the file's name");
    if (!rc)
        free(config);
    return rc;
}

/* ---- what goes wrong ---- */

static void as_opened(void)
{
    struct image_info info;
    struct error e = {0};
    struct image *im;
    must(!facts(&info, &e), "a good image");
    must(!image_open(path, &im, &e), "opened as well");
    must(!memcmp(&info, image_info(im), sizeof info), "the same facts");
    image_close(im);
}

static void each_read_fails(void)
{
    struct image_info info;
    struct error e;
    long n = 0;
    for (;; n++) {
        left = n;
        int rc = facts(&info, &e);
        left = -1;
        if (!rc)
            break;
        must(rc == -EIO, "a failing disk is an I/O error");
    }
    must(n == 2, "header and configuration are read, and nothing else");
}

/* Pages of a mapping that the disk does not give, as those behind the end of a file: whoever opens
 * an image gets an error, and no signal in the middle of the checks. */
static void open_fails_in_order(void)
{
    struct error e;
    struct image *im;
    struct stat st;
    must(!stat(path, &st), "stat");
    for (off_t lost = PAGE_BYTES; lost < st.st_size - (off_t)PAGES * PAGE_BYTES;
         lost += PAGE_BYTES) {
        shrink_to = st.st_size - lost;
        int rc = image_open(path, &im, &e);
        shrink_to = 0;
        must(rc == ANSWER_IMAGE_REFUSED && strstr(e.text, "cannot be read"), "a failing disk");
        must(!unlink(path), "remove it");
        write_image();
    }
}

/* At every length, and with each byte of the header spoilt. */
static void damaged(void)
{
    struct image_info info;
    struct error e;
    struct stat st;
    must(!stat(path, &st), "stat");
    for (off_t size = st.st_size - 1; size >= 0; size -= 1111) {
        must(!truncate(path, size), "truncate");
        must(facts(&info, &e) == ANSWER_IMAGE_REFUSED, "a shorter file");
    }
    must(!unlink(path), "remove it");
    must(facts(&info, &e) == -ENOENT, "no file");
    write_image();
    FILE *f = fopen(path, "r+");
    must(f, "open it");
    for (long at = 0; at < (long)PAGE_BYTES; at += 7) {
        int byte = (fseek(f, at, SEEK_SET), fgetc(f));
        must(!fseek(f, at, SEEK_SET) && fputc(byte ^ 1, f) != EOF && !fflush(f), "spoil it");
        must(facts(&info, &e) == ANSWER_IMAGE_REFUSED, "a spoilt header");
        must(!fseek(f, at, SEEK_SET) && fputc(byte, f) != EOF && !fflush(f), "mend it");
    }
    must(!fseek(f, -(long)PAGE_BYTES, SEEK_END) && fputc('[', f) != EOF && !fclose(f), "spoil it");
    must(facts(&info, &e) == ANSWER_IMAGE_REFUSED, "a spoilt configuration");
}

int main(void)
{
    strcpy(dir, "/tmp/dompool-facts.XXXXXX");
    must(mkdtemp(dir), "make a directory");
    snprintf(path, sizeof path, "%s/x.img", dir);
    write_image();
    as_opened();
    each_read_fails();
    open_fails_in_order();
    damaged();
    unlink(path);
    return rmdir(dir);
}
