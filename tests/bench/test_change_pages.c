/* A changed save file imports as a delta of exactly the pages that were asked for. */
#include "tests/unit/check.h"
#include "tests/unit/stream_build.h"

#include "base/page.h"
#include "restore/imaging/image_import.h"

#include <spawn.h>
#include <sys/wait.h>

static int setup(void **state)
{
    (void)state;
    scratch_make(&dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(&dir);
    return 0;
}

/* One page of the guest is declared free. */
static void write_save(const char *name, enum image_guest guest)
{
    struct stream_build b;
    struct built file;
    stream_build_init(&b, guest);
    uint8_t *page =
        stream_build_page(&b, guest == IMAGE_GUEST_PV ? BUILD_PFN_DATA : BUILD_PVH_DATA);
    for (size_t i = 0; i < PAGE_BYTES; i += 8)
        put_u64(page + i, IMAGE_FREE_WORD);
    stream_build_bytes(&b, &file);
    scratch_write(&dir, name, file.bytes, file.size);
    built_dispose(&file);
    stream_build_dispose(&b);
}

static int change(const char *name, const char *pages)
{
    char path[128], number[16];
    snprintf(path, sizeof path, "%s", scratch_path(&dir, name));
    snprintf(number, sizeof number, "%s", pages);
    char *argv[] = {"change_pages", path, number, NULL};
    char *environment[] = {NULL};
    pid_t pid;
    int status;
    assert_int_equal(posix_spawn(&pid, CHANGE_PAGES, NULL, NULL, argv, environment), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static struct image_info import(const char *save, const char *image, const char *base)
{
    char paths[3][128];
    struct image_info info;
    struct error e = {0};
    snprintf(paths[0], sizeof paths[0], "%s", scratch_path(&dir, save));
    snprintf(paths[1], sizeof paths[1], "%s", scratch_path(&dir, image));
    snprintf(paths[2], sizeof paths[2], "%s", scratch_path(&dir, base ? base : ""));
    struct import_options o = {.save_path = paths[0],
                               .image_path = paths[1],
                               .base_path = base ? paths[2] : NULL,
                               .trusted = true};
    if (import_save_file(&o, &info, &e))
        fail_msg("import of %s: %s", save, e.text);
    return info;
}

/* A table of each level, and the free page. */
static void pv(void **state)
{
    (void)state;
    write_save("pv.save", IMAGE_GUEST_PV);
    import("pv.save", "pv.img", NULL);
    assert_int_equal(change("pv.save", "5"), 0);
    struct image_info info = import("pv.save", "pv-5.img", "pv.img");
    assert_int_equal(info.entries, 5);
    assert_int_equal(info.zero_pages, 0);
    assert_int_equal(info.repeated_pages, 0);
}

static void pvh(void **state)
{
    (void)state;
    write_save("pvh.save", IMAGE_GUEST_PVH);
    import("pvh.save", "pvh.img", NULL);
    assert_int_equal(change("pvh.save", "1"), 0);
    assert_int_equal(import("pvh.save", "pvh-1.img", "pvh.img").entries, 1);
}

static void refused(void **state)
{
    (void)state;
    write_save("few.save", IMAGE_GUEST_PVH);
    assert_int_equal(change("few.save", "2"), 1); /* one page is free */
    assert_int_equal(change("few.save", "0"), 64);
    assert_int_equal(change("absent.save", "1"), 1);
    scratch_write(&dir, "text", "no save file", 12);
    assert_int_equal(change("text", "1"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pv),
        cmocka_unit_test(pvh),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
