/* restore/formats/savefile.h and restore/formats/source.h: what is around the libxc stream. */
#include "tests/unit/check.h"
#include "tests/unit/stream_build.h"

#include "base/array.h"
#include "base/io.h"
#include "restore/formats/foreign.h"
#include "restore/formats/source.h"

#include <errno.h>
#include <fcntl.h>

struct file {
    struct stream_build build;
    struct built built;
};

static void file_make(struct file *f)
{
    stream_build_init(&f->build, IMAGE_GUEST_PV);
    stream_build_bytes(&f->build, &f->built);
}

static void file_refused(struct file *f, const char *why)
{
    struct error e = {0};
    assert_int_equal(built_read(&f->built, &e), ANSWER_IMAGE_REFUSED);
    assert_says(e.text, why);
    built_dispose(&f->built);
    stream_build_dispose(&f->build);
}

/* What is no save file is called what it is, and how to get on is said. */
static void foreign_files(void **state)
{
    static const struct {
        const char *magic;
        size_t n;
        const char *name, *advice;
    } cases[] = {
        {"\x1f\x8b\x08", 3, "compressed by gzip", "`gzip -dc FILE`"},
        {"\x28\xb5\x2f\xfd", 4, "compressed by zstd", "`zstd -dc FILE`"},
        {"\3757zXZ\0", 6, "compressed by xz", "`xz -dc FILE`"},
        {"BZh9", 4, "compressed by bzip2", "`bzip2 -dc FILE`"},
        {"\x04\x22\x4d\x18", 4, "compressed by lz4", "`lz4 -dc FILE`"},
        {"libvirt-xml\n \0 \r", 16, "`virsh save`", "`xl save` it"},
        {"LibvirtQemudSave", 16, "KVM", "cannot be imported"},
        {"XenSavedDomv2-\n", 15, "XCP-ng", "`xl save` it"},
        {"XenSavedDomain\n", 15, "XCP-ng", "`xl save` it"},
        {"ova.xml\0", 8, "XVA", "holds disks"},
        {"LibxlFmt\0\0\0\2", 12, "bare libxl stream", "`xl save` it"},
        {"\xff\xff\xff\xff\xff\xff\xff\xffXENF", 12, "bare libxc stream", "`xl save` it"},
        {"dpimage\0\2\0\0\0", 12, "image file of dompool", "dompool image adopt"},
        {"\177ELF\2\1\1", 7, "core dump", "`xl save` the running domain"},
        {"QFI\xfb\0\0\0\3", 8, "qcow2 disk", "no state of a running guest"},
        {"#!/bin/sh\n", 10, "not written by `xl save`", "wrong magic"},
    };
    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
        struct file f;
        file_make(&f);
        memcpy(f.built.bytes, cases[i / 2].magic, cases[i / 2].n);
        file_refused(&f, i % 2 ? cases[i / 2].advice : cases[i / 2].name);
    }
}

/* Each of them is found by its magic, and not taken for another; a text fits an error's. */
static void foreign_table(void **state)
{
    size_t n;
    const struct foreign *list = foreign_list(&n);
    (void)state;
    assert_true(n > 10);
    for (size_t i = 0; i < n; i++) {
        uint8_t head[FOREIGN_BYTES] = {0};
        assert_in_range(list[i].magic_len, 2, sizeof head);
        memcpy(head, list[i].magic, list[i].magic_len);
        assert_ptr_equal(foreign_find(head, sizeof head), &list[i]);
        assert_true(strlen(list[i].name) + strlen(list[i].advice) < 300);
        head[0] ^= 0x20;
        assert_null(foreign_find(head, sizeof head));
    }
}

static void file_accepted(struct file *f)
{
    struct error e = {0};
    if (built_read(&f->built, &e))
        fail_msg("refused: %s", e.text);
    built_dispose(&f->built);
    stream_build_dispose(&f->build);
}

/* Puts bytes into the file. */
static void file_insert(struct file *f, size_t at, const void *bytes, size_t n)
{
    f->built.bytes = realloc(f->built.bytes, f->built.size + n);
    assert_non_null(f->built.bytes);
    memmove(f->built.bytes + at + n, f->built.bytes + at, f->built.size - at);
    memcpy(f->built.bytes + at, bytes, n);
    f->built.size += n;
}

static void xl_header(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint32_t value;
        const char *why;
    } cases[] = {
        {0, 0x0badf00d, "not written by `xl save`"},
        {28, 0, "not written by `xl save`"},
        {32, 0x04030201, "byte order"},
        {36, 7, "unknown mandatory flags 0x4"},
        {36, 2, "Xen 4.5 or older"},
        {36, 1, "Xen 4.5 or older"},
        {44, 0, "optional data"},
        {44, (1u << 20) + 1, "optional data"},
        {44, UINT32_MAX, "optional data"},
        {48, 0, "configuration of 0 bytes"},
        {48, 1u << 19, "configuration of"},
        {48, UINT32_MAX, "configuration of"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct file f;
        file_make(&f);
        put_u32(f.built.bytes + cases[i].at, cases[i].value);
        file_refused(&f, cases[i].why);
    }
    struct file f;
    file_make(&f);
    put_u32(f.built.bytes + 40, 0x80); /* optional flags */
    file_accepted(&f);
}

static void more_optional_data(void **state)
{
    (void)state;
    struct file f;
    file_make(&f);
    file_insert(&f, f.built.libxl_at, "later", 5);
    put_u32(f.built.bytes + 44, get_u32(f.built.bytes + 44) + 5);
    file_accepted(&f); /* "skip tail, if not understood" */
}

static void libxl_header(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t value;
        const char *why;
    } cases[] = {{0, 'X', "no libxl stream"},
                 {11, 1, "libxl stream version 1"},
                 {11, 3, "libxl stream version 3"},
                 {15, 1, "big-endian"},
                 {15, 2, "converted from a save by Xen 4.5"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct file f;
        file_make(&f);
        f.built.bytes[f.built.libxl_at + cases[i].at] = cases[i].value;
        file_refused(&f, cases[i].why);
    }
}

static void libxl_record(struct file *f, bool at_end, uint32_t type, uint32_t length)
{
    uint8_t record[24] = {0};
    file_make(f);
    put_u32(record, type);
    put_u32(record + 4, length);
    size_t at = at_end ? f->built.size - 8 : f->built.libxl_at + 16;
    file_insert(f, at, record, 8 + (length + 7) / 8 * 8);
}

static void libxl_records(void **state)
{
    (void)state;
    struct file f;
    libxl_record(&f, true, 2, 8);
    file_refused(&f, "EMULATOR_XENSTORE_DATA record at byte");
    libxl_record(&f, true, 3, 8);
    file_refused(&f, "HVM guests with a device model");
    libxl_record(&f, true, 4, 0);
    file_refused(&f, "checkpointed");
    libxl_record(&f, true, 5, 8);
    file_refused(&f, "CHECKPOINT_STATE");
    libxl_record(&f, true, 6, 0);
    file_refused(&f, "type 0x6 at byte");
    libxl_record(&f, true, 1, 0);
    file_refused(&f, "LIBXC_CONTEXT record at byte");
    libxl_record(&f, false, 0, 0);
    file_refused(&f, "no LIBXC_CONTEXT record before it");
    libxl_record(&f, false, 1, 8);
    file_refused(&f, "8 bytes, expected none");
    libxl_record(&f, true, 0, 0);
    file_refused(&f, "more bytes after its end");
    libxl_record(&f, false, 0x80000001, 5);
    file_accepted(&f);
    libxl_record(&f, true, 0x80000001, 16);
    file_accepted(&f);
}

static void trailing_byte(void **state)
{
    (void)state;
    struct file f;
    file_make(&f);
    file_insert(&f, f.built.size, "", 1);
    file_refused(&f, "more bytes after its end");
}

static void broken_config(void **state)
{
    (void)state;
    struct file f;
    file_make(&f);
    f.built.bytes[52] = '[';
    file_refused(&f, "configuration: line 2, column");
}

/* ---- sources ---- */

static int stop_later(uint64_t done, uint64_t total, void *data)
{
    (void)total;
    (void)data;
    return done > 3u << 20;
}

static void source_of_a_file(void **state)
{
    (void)state;
    struct source s;
    struct error e = {0};
    const uint8_t *p;
    bool end;
    const size_t size = (5u << 20) + 3;
    uint8_t *bytes = malloc(size);
    scratch_make(&dir);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 7 >> 3);
    int fd = open(scratch_path(&dir, "f"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write_full(fd, bytes, size), 0);
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(source_init_fd(&s, fd, &e), 0);
    assert_int_equal(s.total, size);
    for (size_t at = 0, n = 1; at < size; at += n, n = n * 5 % 100003 + 1) {
        n = n < size - at ? n : size - at;
        assert_int_equal(source_take(&s, n, "x", &p, &e), 0);
        assert_memory_equal(p, bytes + at, n);
        assert_int_equal(s.offset, at + n);
    }
    assert_int_equal(source_at_end(&s, &end, &e), 0);
    assert_true(end);
    assert_int_equal(source_take(&s, 1, "x", &p, &e), ANSWER_IMAGE_REFUSED);
    source_dispose(&s);
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(source_init_fd(&s, fd, &e), 0);
    s.progress = stop_later;
    assert_int_equal(source_skip(&s, size, "x", &e), -ECANCELED);
    source_dispose(&s);
    fd_close(&fd);
    free(bytes);
    scratch_remove(&dir);
}

static void source_errors(void **state)
{
    (void)state;
    struct source s;
    struct error e = {0};
    const uint8_t *p;
    int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(source_init_fd(&s, fd, &e), 0);
    assert_int_equal(source_take(&s, 1, "x", &p, &e), -EISDIR);
    assert_int_equal(source_take(&s, SOURCE_WINDOW_BYTES + 1, "x", &p, &e), -EINVAL);
    source_dispose(&s);
    fd_close(&fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_files),    cmocka_unit_test(foreign_table),
        cmocka_unit_test(xl_header),        cmocka_unit_test(more_optional_data),
        cmocka_unit_test(libxl_header),     cmocka_unit_test(libxl_records),
        cmocka_unit_test(trailing_byte),    cmocka_unit_test(broken_config),
        cmocka_unit_test(source_of_a_file), cmocka_unit_test(source_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
