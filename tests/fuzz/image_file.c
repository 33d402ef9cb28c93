/* See image_file.h. */
#include "tests/fuzz/image_file.h"

#include "base/io.h"
#include "base/page.h"
#include "base/uuid.h"
#include "store/image_format.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/image_base.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void scratch_dir_make(char dir[40])
{
    snprintf(dir, 40, "%s/dompool-fuzz-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    FUZZ_CHECK(mkdtemp(dir));
}

/* What does not open is refused, and says why. */
static void open_fd(struct image_file *f)
{
    struct error e = {0};
    snprintf(f->path, sizeof f->path, "/proc/self/fd/%d", f->fd);
    int rc = image_open(f->path, &f->image, &e);
    FUZZ_CHECK(rc == 0 || (rc == ANSWER_IMAGE_REFUSED && e.text[0]));
    if (rc)
        f->image = NULL;
}

void image_file_base(struct image_file *out)
{
    char dir[40], path[56];
    struct image_info info = image_base_info;
    struct image_page pages[IMAGE_BASE_PAGES];
    uint8_t page[PAGE_BYTES];
    struct image_writer *w;
    scratch_dir_make(dir);
    snprintf(path, sizeof path, "%s/base.img", dir);
    FUZZ_CHECK(!image_writer_new(path, &w, NULL));
    for (unsigned i = 0; i < IMAGE_BASE_PAGES; i++) {
        image_base_page(i, page);
        pages[i].pfn_type = image_base_pfn(i) | (uint64_t)i << IMAGE_TYPE_SHIFT;
        FUZZ_CHECK(!image_writer_payload(w, page, &pages[i].payload, NULL));
    }
    FUZZ_CHECK(!image_writer_pages(w, pages, IMAGE_BASE_PAGES, NULL));
    FUZZ_CHECK(!image_writer_config(w, "{}", NULL));
    FUZZ_CHECK(!image_writer_commit(w, &info, NULL));
    image_writer_free(w);
    out->fd = open(path, O_RDONLY | O_CLOEXEC);
    FUZZ_CHECK(out->fd >= 0 && !unlink(path) && !rmdir(dir));
    open_fd(out);
    FUZZ_CHECK(out->image);
}

void image_file_make(const uint8_t *data, size_t size, const struct image_file *base,
                     struct image_file *out)
{
    struct image_header h;
    out->fd = memfd_create("image", MFD_CLOEXEC);
    FUZZ_CHECK(out->fd >= 0 && !write_full(out->fd, data, size));
    if (size >= sizeof h) {
        memcpy(&h, data, sizeof h);
        if (!uuid_is_none(&h.base_id))
            h.base_id = image_info(base->image)->id;
        image_digest(&h, offsetof(struct image_header, digest), h.digest);
        FUZZ_CHECK(!pwrite_full(out->fd, &h, sizeof h, 0));
    }
    open_fd(out);
}

void image_file_dispose(struct image_file *f)
{
    image_close(f->image);
    close(f->fd);
}
