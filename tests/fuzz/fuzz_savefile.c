/* A whole import, to memory where there is /dev/shm; an image that results is read and verified. */
#include "tests/fuzz/fuzz.h"

#include "restore/formats/domconf.h"
#include "restore/formats/source.h"
#include "restore/imaging/image_import.h"

#include <stdio.h>
#include <unistd.h>

/* A directory of this process, made once; nothing may be left in it after any input. */
static const char *image_path(void)
{
    static char dir[64], path[96];
    if (!dir[0]) {
        snprintf(dir, sizeof dir, "%s/dompool-fuzz-XXXXXX",
                 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
        FUZZ_CHECK(mkdtemp(dir));
        snprintf(path, sizeof path, "%s/x.img", dir);
    }
    return path;
}

static void remove_dir(void)
{
    char dir[96];
    snprintf(dir, sizeof dir, "%.*s", (int)sizeof "/dev/shm/dompool-fuzz-XXXXXX" - 1, image_path());
    if (rmdir(dir)) {
        dir[sizeof "/tmp/dompool-fuzz-XXXXXX" - 1] = '\0';
        (void)!rmdir(dir);
    }
}

static void check_image(const char *path)
{
    struct image *im;
    struct error e = {0};
    struct domconf c;
    FUZZ_CHECK(!image_open(path, &im, &e));
    FUZZ_CHECK(!image_verify(im, &e));
    domconf_init(&c);
    FUZZ_CHECK(!domconf_from_json(image_config(im), &c, &e));
    domconf_dispose(&c);
    image_close(im);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int registered;
    const char *path = image_path();
    struct import_options o = {.image_path = path};
    struct image_info info;
    struct source src;
    struct error e = {0};
    if (!registered++)
        atexit(remove_dir);
    source_init_memory(&src, data, size);
    int rc = import_source(&src, &o, &info, &e);
    if (rc == ANSWER_DISKS_NOT_ALLOWED) { /* that was all so far: now with somebody's consent */
        source_dispose(&src);
        source_init_memory(&src, data, size);
        o.trusted = true;
        rc = import_source(&src, &o, &info, &e);
    }
    FUZZ_CHECK(rc == 0 || (rc == ANSWER_IMAGE_REFUSED && e.text[0]));
    if (!rc)
        check_image(path);
    FUZZ_CHECK((access(path, F_OK) == 0) == (rc == 0));
    unlink(path);
    source_dispose(&src);
    return 0;
}
