/* base/new_file.h: whole or not at all, and over nothing. */
#include "tests/unit/check.h"

#include "base/new_file.h"

#include <errno.h>
#include <sys/stat.h>

static void published(void **state)
{
    struct new_file f;
    struct error e;
    struct stat st;
    const char *path = scratch_path(&dir, "a");
    (void)state;
    assert_int_equal(new_file_create(&f, "test file", path, &e), 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(write(f.fd, "abc", 3), 3);
    assert_int_equal(new_file_publish(&f, &e), 0);
    assert_int_equal(f.fd, -1);
    assert_null(f.temp_path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 3);
    assert_int_equal(st.st_mode & 07777, 0600);
    new_file_drop(&f);
    assert_int_equal(scratch_files(&dir, false), 1);
}

static void dropped(void **state)
{
    struct new_file f;
    struct error e;
    (void)state;
    assert_int_equal(new_file_create(&f, "test file", scratch_path(&dir, "a"), &e), 0);
    assert_int_equal(scratch_files(&dir, false), 1);
    new_file_drop(&f);
    new_file_drop(&f);
    assert_int_equal(scratch_files(&dir, false), 0);
}

static void over_nothing(void **state)
{
    struct new_file f;
    struct error e;
    struct stat st;
    (void)state;
    scratch_write(&dir, "a", "1", 1);
    assert_int_equal(new_file_create(&f, "test file", scratch_path(&dir, "a"), &e), -EEXIST);
    assert_says(e.text, "test file ");
    assert_says(e.text, "exists already");
    assert_int_equal(symlink("nowhere", scratch_path(&dir, "link")), 0);
    assert_int_equal(new_file_create(&f, "test file", scratch_path(&dir, "link"), &e), -EEXIST);
    new_file_drop(&f);
    assert_int_equal(new_file_create(&f, "test file", scratch_path(&dir, "b"), &e), 0);
    scratch_write(&dir, "b", "22", 2); /* meanwhile */
    assert_int_equal(new_file_publish(&f, &e), -EEXIST);
    new_file_drop(&f);
    assert_int_equal(stat(scratch_path(&dir, "b"), &st), 0);
    assert_int_equal(st.st_size, 2);
    assert_int_equal(scratch_files(&dir, false), 3);
}

static void no_directory(void **state)
{
    struct new_file f;
    struct error e;
    (void)state;
    assert_int_equal(new_file_create(&f, "test file", scratch_path(&dir, "no/a"), &e), -ENOENT);
    assert_says(e.text, "create ");
    new_file_drop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_DIR(published),
        TEST_IN_DIR(dropped),
        TEST_IN_DIR(over_nothing),
        TEST_IN_DIR(no_directory),
    };
    return cmocka_run_group_tests(tests, dir_setup, dir_teardown);
}
