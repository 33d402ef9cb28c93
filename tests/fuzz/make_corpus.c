/*
 * Writes the seeds of the fuzz corpora: make_corpus DIRECTORY (tests/fuzz/corpus).
 * Deterministic but for the ids and times inside image files; findings of fuzzers
 * lie beside the seeds and are not touched.
 */
#include "tests/fuzz/image_base.h"
#include "tests/fuzz/seeds.h"
#include "tests/unit/stream_build.h"

#include "base/array.h"
#include "base/io.h"
#include "base/page.h"
#include "base/text.h"
#include "restore/formats/records.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *root;

static void put_file(const char *target, const char *name, const void *bytes, size_t size)
{
    char *dir = format_new("%s/%s", root, target), *path = format_new("%s/%s", dir, name);
    struct error e = {0};
    if (!dir || !path || make_dirs(dir, 0755, &e))
        exit(1);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write_full(fd, bytes, size)) {
        perror(path);
        exit(1);
    }
    close(fd);
    free(path);
    free(dir);
}

static void put_text(const char *target, const char *name, const char *text)
{
    put_file(target, name, text, strlen(text));
}

/* The save file, and its libxc stream alone behind the two bytes that fuzz_stream takes. */
static void put_guest(struct stream_build *b, const char *name)
{
    struct built f;
    stream_build_bytes(b, &f);
    put_file("savefile", name, f.bytes, f.size);
    uint8_t *stream = f.bytes + f.libxc_at - 2;
    stream[0] = b->guest == IMAGE_GUEST_PV;
    stream[1] = 1;
    put_file("stream", name, stream, f.size - f.libxc_at + 2 - 8);
    built_dispose(&f);
    stream_build_dispose(b);
}

static void must(int rc, const struct error *e)
{
    if (!rc)
        return;
    fprintf(stderr, "make_corpus: %s\n", e->text);
    exit(1);
}

static void put_image_file(char *path, const char *name)
{
    struct error e = {0};
    char *bytes;
    size_t size;
    must(read_file(path, 1u << 20, &bytes, &size, &e), &e);
    unlink(path);
    put_file("image", name, bytes, size);
    put_file("export", name, bytes, size);
    free(bytes);
}

/* A name that is free. */
static char *free_path(char *pattern)
{
    close(mkstemp(pattern));
    unlink(pattern);
    return pattern;
}

static void put_imported(struct stream_build *b, const char *name)
{
    struct image_info info;
    struct error e = {0};
    char pattern[] = "/tmp/make_corpus-XXXXXX", *path = free_path(pattern);
    must(stream_build_import(b, path, &info, &e), &e);
    stream_build_dispose(b);
    put_image_file(path, name);
}

/* The PVH guest without page contents: it would be too large for a seed otherwise. */
static void put_imported_images(void)
{
    struct stream_build b;
    stream_build_init_tiny(&b, IMAGE_GUEST_PVH);
    memset(stream_build_page(&b, BUILD_PVH_DATA), 0, PAGE_BYTES);
    put_imported(&b, "pvh");
    stream_build_init_tiny(&b, IMAGE_GUEST_PV);
    put_imported(&b, "pv");
}

/* An image of this table; page i is fills[i] as a byte over and over; where that is negative,
 * its first byte is zero. */
static void put_image(const char *name, struct image_info info, struct image_page *pages,
                      const int *fills, uint64_t n)
{
    struct image_writer *w;
    struct error e = {0};
    char pattern[] = "/tmp/make_corpus-XXXXXX", *path = free_path(pattern);
    uint8_t page[PAGE_BYTES];
    must(image_writer_new(path, &w, &e), &e);
    for (uint64_t i = 0; i < n; i++) {
        memset(page, abs(fills[i]), sizeof page);
        page[0] = fills[i] < 0 ? 0 : page[0];
        must(image_writer_payload(w, page, &pages[i].payload, &e), &e);
    }
    must(image_writer_pages(w, pages, n, &e), &e);
    must(image_writer_config(w, "{}", &e), &e);
    must(image_writer_commit(w, &info, &e), &e);
    image_writer_free(w);
    put_image_file(path, name);
}

#define TYPED(pfn, type)                                                                           \
    {                                                                                              \
        (pfn) | (uint64_t)(type) << IMAGE_TYPE_SHIFT, IMAGE_PAGE_ZERO                              \
    }

/* No records; of a derived image that is all there is to know. */
static void put_images(void)
{
    static const int plain_fills[] = {-1, 0}, word_fills[] = {7, 0, 7, 9, 7};
    static const int delta_fills[] = {5, 0, 5};
    struct image_page plain[] = {TYPED(5, 0), TYPED(9, 9)};
    struct image_page words[] = {TYPED(0, 0), TYPED(2, 1), TYPED(4, 2), TYPED(6, 3), TYPED(12, 4)};
    struct image_page delta[] = {TYPED(2, 1), TYPED(4, 7), TYPED(10, 5)}, added[] = {TYPED(3, 0)};
    struct image_info whole = image_base_info, derived = image_base_info;
    derived.base_id.bytes[0] = 1; /* fuzz_image puts its base's id here */
    derived.populated = IMAGE_BASE_PAGES;
    derived.free_pages = 1;
    put_image("plain", whole, plain, plain_fills, ARRAY_SIZE(plain));
    whole.free_pages = 1;
    put_image("repeated", whole, words, word_fills, ARRAY_SIZE(words));
    put_image("derived", derived, delta, delta_fills, ARRAY_SIZE(delta));
    put_image("derived-empty", derived, delta, delta_fills, 0);
    put_image("derived-adds", derived, added, delta_fills, ARRAY_SIZE(added));
}

static void put_guests(void)
{
    static const uint8_t zeros[48];
    struct stream_build b;
    stream_build_init_tiny(&b, IMAGE_GUEST_PV);
    put_guest(&b, "pv");
    stream_build_init_tiny(&b, IMAGE_GUEST_PVH);
    put_guest(&b, "pvh");
    stream_build_init_tiny(&b, IMAGE_GUEST_PVH);
    b.version = 2;
    stream_build_remove(&b, stream_build_find(&b, RECORD_STATIC_DATA_END, 0));
    stream_build_insert(&b, b.n - 1, 0x80000001, "optional", 8);
    put_guest(&b, "pvh-v2");
    stream_build_init_tiny(&b, IMAGE_GUEST_PVH);
    stream_build_insert(&b, 0, RECORD_X86_CPUID_POLICY, zeros, 48);
    stream_build_insert(&b, 1, RECORD_X86_MSR_POLICY, zeros, 32);
    struct build_record *r = stream_build_find(&b, RECORD_PAGE_DATA, 0);
    stream_build_insert(&b, stream_build_index(&b, r), r->type, r->body, r->length);
    put_guest(&b, "pvh-twice");
}

static void put_configs(void)
{
    struct stream_build b;
    stream_build_init(&b, IMAGE_GUEST_PV);
    put_text("domconf", "pv", b.config);
    stream_build_dispose(&b);
    stream_build_init(&b, IMAGE_GUEST_PVH);
    put_text("domconf", "pvh", b.config);
    stream_build_dispose(&b);
    put_text("domconf", "nics",
             "{\"c_info\":{\"type\":\"pv\"},\"b_info\":{\"max_memkb\":4},"
             "\"nics\":[{\"mac\":\"00:16:3e:00:00:01\"}]}");
    put_text("domconf", "limits",
             "{\"c_info\":{\"type\":\"pvh\",\"hap\":\"True\",\"passthrough\":\"disabled\"},"
             "\"b_info\":{\"max_memkb\":8192,\"target_memkb\":4096,\"shadow_memkb\":512,"
             "\"tsc_mode\":\"always_emulate\",\"max_grant_frames\":64,\"event_channels\":9,"
             "\"nested_hvm\":\"True\",\"disable_migrate\":\"True\",\"type.pvh\":{}},"
             "\"disks\":[{\"pdev_path\":\"/a\",\"vdev\":\"d0p1\",\"format\":\"raw\","
             "\"backend\":\"qdisk\",\"is_cdrom\":1,\"backend_domname\":\"0\"}]}");
    put_text(
        "domconf", "own",
        "{\"guest\":\"pv\",\"name\":\"n\",\"uuid\":\"11112222-3333-4444-5555-666677778888\","
        "\"max_vcpus\":1,\"online_vcpus\":[0],\"max_mem_kib\":64,\"target_mem_kib\":64,"
        "\"shadow_mem_kib\":0,\"tsc_mode\":\"default\",\"max_event_channels\":1023,"
        "\"nested_hvm\":false,\"nomigrate\":false,\"disks\":[{\"vdev\":\"xvda\",\"kind\":"
        "\"scratch\",\"size_bytes\":512},{\"vdev\":\"sdb1\",\"kind\":\"ro\",\"path\":\"/x\"}]}");
}

static void put_messages(void)
{
    static const char two[] =
        "\x40{\"op\":\"build\",\"n\":[1,2.5,null]}\0{\"b\":{\"c\":\"\\u00e4\"}}";
    put_file("message", "two", two, sizeof two);
    put_file("message", "too-large", "\x01{\"a\":12345}", 12);
    put_file("message", "not-an-object", "\x40[]\0{\"a\":1,\"a\":2}\0{}", 21);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: make_corpus DIRECTORY\n", stderr);
        return 64;
    }
    root = argv[1];
    put_guests();
    put_configs();
    put_messages();
    put_imported_images();
    put_images();
    for (size_t i = 0; i < n_seeds; i++)
        put_file(seeds[i].target, seeds[i].name, seeds[i].bytes, seeds[i].n);
    return 0;
}
