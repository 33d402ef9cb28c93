/*
 * Writes the seeds of the fuzz corpora: make_corpus DIRECTORY (tests/fuzz/corpus).
 * Deterministic but for the ids and times inside image files; findings of fuzzers
 * lie beside the seeds and are not touched.
 */
#include "tests/unit/stream_build.h"

#include "base/util.h"

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
    free(bytes);
}

/* A name that is free. */
static char *free_path(char *pattern)
{
    close(mkstemp(pattern));
    unlink(pattern);
    return pattern;
}

/* An import without page contents: it would be too large for a seed otherwise. */
static void put_imported_image(void)
{
    struct stream_build b;
    struct image_info info;
    struct error e = {0};
    char pattern[] = "/tmp/make_corpus-XXXXXX", *path = free_path(pattern);
    stream_build_init_tiny(&b, IMAGE_GUEST_PVH);
    memset(stream_build_page(&b, BUILD_PVH_DATA), 0, PAGE_BYTES);
    must(stream_build_import(&b, path, &info, &e), &e);
    stream_build_dispose(&b);
    put_image_file(path, "pvh");
}

/* One page with content and one without, no records. */
static void put_plain_image(void)
{
    struct image_writer *w;
    struct image_info info = {.guest = IMAGE_GUEST_PV, .vcpus = 1, .max_pfn = 9};
    struct image_page pages[] = {{5, 0}, {9 | 9ull << IMAGE_TYPE_SHIFT, IMAGE_PAGE_ZERO}};
    struct error e = {0};
    char pattern[] = "/tmp/make_corpus-XXXXXX", *path = free_path(pattern);
    uint8_t page[PAGE_BYTES] = {1};
    must(image_writer_new(path, &w, &e), &e);
    must(image_writer_payload(w, page, &pages[0].payload, &e), &e);
    must(image_writer_pages(w, pages, ARRAY_SIZE(pages), &e), &e);
    must(image_writer_config(w, "{}", &e), &e);
    must(image_writer_commit(w, &info, &e), &e);
    image_writer_free(w);
    put_image_file(path, "plain");
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
    put_imported_image();
    put_plain_image();
    return 0;
}
