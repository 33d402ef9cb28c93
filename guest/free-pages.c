/*
 * free-pages: declares a guest's free memory free, before its image is made.
 *
 *   free-pages [--leave MIB] [--zero]
 *
 * A saved domain is all of its memory. This includes the old contents of pages on its kernel's free
 * lists, which nobody will read again. This program takes nearly all of that memory and fills it
 * with the word "dpfree00" over and over (IMAGE_FREE_WORD). Then it says how many MiB that were,
 * and ends, which gives the pages back with that content. An import or capture recognises such
 * pages: a base does not store them, a derived image does not count them as changed.
 *
 *   --leave MIB   memory that is left alone (16), beside what the kernel keeps for itself
 *   --zero        fill with zeros: these take no place in an image either, but in a derived image
 *                 they count as changed wherever the base had something else
 *
 * In a template machine: start what the image shall hold and wait until it is idle. Run `sync`, and
 * `echo 3 >/proc/sys/vm/drop_caches` if the page cache shall not be part of the image. Then run
 * this, and save or capture at once: every page that is used again after this is stored again. The
 * program needs no rights. As root it cannot bring the machine into trouble either, since the
 * kernel kills it first if memory runs short. It uses no swap: it stops before the kernel begins to
 * look for memory.
 *
 * What a kernel does by itself. With init_on_free=1 it zeroes every page that is freed, this
 * program's pages too. Free memory is then zeros at any time: this is harmless, and there is no
 * gain over --zero. init_on_alloc=1 (the default of Debian and others) zeroes a page when it is
 * given out, not when it comes back: the word stays. page_poison=1 overwrites freed pages with
 * 0xaa. Such a kernel's free memory is one repeated word, which is stored once, but it is not
 * declared free.
 */
#define _GNU_SOURCE

#include "store/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CHUNK_BYTES = 1024 * 1024, DEFAULT_LEAVE_MIB = 16 };

struct fill_options {
    unsigned long leave_kib;
    uint64_t word;
};

/* A field of /proc/meminfo in KiB; 0 when it is not there, which stops everything. */
static unsigned long meminfo_kib(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at ? strtoul(at + strlen(name), NULL, 10) : 0;
}

static bool read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/*
 * True while another chunk can be taken. Twice min_free_kbytes is above the mark at which the
 * kernel starts to drop caches and to swap.
 */
static bool memory_left(const struct fill_options *o)
{
    char text[4096];
    if (!read_text("/proc/sys/vm/min_free_kbytes", text, sizeof text))
        return false;
    unsigned long reserve_kib = 2 * strtoul(text, NULL, 10);
    unsigned long needed_kib = o->leave_kib + CHUNK_BYTES / 1024;
    return read_text("/proc/meminfo", text, sizeof text) &&
           meminfo_kib(text, "MemFree:") > needed_kib + reserve_kib &&
           meminfo_kib(text, "MemAvailable:") > needed_kib;
}

/* Maps and fills one chunk; it stays until the process ends. */
static bool chunk_take(uint64_t word)
{
    uint64_t *words = mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (words == MAP_FAILED)
        return false;
    for (size_t i = 0; i < CHUNK_BYTES / sizeof *words; i++)
        words[i] = word;
    return true;
}

/* If memory runs short all the same, the kernel must kill this process first. */
static bool stand_first_in_line(void)
{
    static const char score[] = "1000";
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, score, sizeof score - 1) == (ssize_t)sizeof score - 1;
    if (fd >= 0)
        close(fd);
    return ok;
}

static int usage(void)
{
    fprintf(stderr, "usage: free-pages [--leave MIB] [--zero]\n");
    return 64;
}

static bool fill_options_read(int argc, char **argv, struct fill_options *o)
{
    *o = (struct fill_options){.leave_kib = DEFAULT_LEAVE_MIB * 1024ul, .word = IMAGE_FREE_WORD};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--zero")) {
            o->word = 0;
        } else if (!strcmp(argv[i], "--leave") && i + 1 < argc) {
            char *end;
            unsigned long mib = strtoul(argv[++i], &end, 10);
            if (end == argv[i] || *end || mib > UINT32_MAX)
                return false;
            o->leave_kib = mib * 1024;
        } else {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct fill_options o;
    if (!fill_options_read(argc, argv, &o))
        return usage();
    if (!stand_first_in_line()) {
        fprintf(stderr, "free-pages: cannot set oom_score_adj: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    unsigned long chunks = 0;
    while (memory_left(&o) && chunk_take(o.word))
        chunks++;
    printf("free-pages: filled %lu MiB\n", chunks * (CHUNK_BYTES / (1024 * 1024ul)));
    return EXIT_SUCCESS;
}
