/* dompool-image for the fake host: any readable file is a saved domain with 64 pages, and any
 * domain is one like it. */
#include "base/array.h"
#include "base/io.h"
#include "base/message.h"
#include "base/page.h"
#include "base/text.h"
#include "base/units.h"
#include "restore/protocol/image_made.h"
#include "restore/protocol/protocol.h"
#include "store/image.h"
#include "tests/sim/fake.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGES 64

static const char config[] =
    "{\"guest\":\"pvh\",\"name\":\"fake\",\"max_vcpus\":1,\"max_mem_kib\":262144,"
    "\"target_mem_kib\":262144,\"disks\":[{\"vdev\":\"xvda\",\"kind\":\"ro\","
    "\"path\":\"/dev/null\",\"devid\":51712}]}";

static void say(json_t *message)
{
    if (!message || message_send(HELPER_FD, message, NULL))
        _exit(1);
    json_decref(message);
}

static void fail(int rc, const char *text)
{
    say(json_pack("{s:s, s:s, s:s}", "event", "failed", "answer", answer_name(rc), "error", text));
    _exit(1);
}

static const char *get(const json_t *message, const char *key)
{
    const char *text = json_string_value(json_object_get(message, key));
    return text ? text : "";
}

/* Does what the fault of that name says, or nothing. */
static void suffer(const char *fault)
{
    char ms[32];
    format_fits(ms, sizeof ms, "%s_ms", fault);
    fake_sleep(ms, 5);
    if (fake_fault_is(fault, "die"))
        raise(SIGKILL);
    if (fake_fault_is(fault, "hang"))
        for (;;)
            pause();
    if (fake_fault_is(fault, "fail"))
        fail(ANSWER_IMAGE_REFUSED, "the fake helper is told to refuse");
}

static void done(json_t *result)
{
    say(json_pack("{s:s, s:o}", "event", "done", "result", result));
}

/* ---- images that are made ---- */

/* Of the image at that path; "": none. */
static int base_id(const char *path, struct uuid *id, struct error *e)
{
    struct image *base;
    int rc = path[0] ? image_open(path, &base, e) : 0;
    if (rc || !path[0])
        return rc;
    *id = image_info(base)->id;
    image_close(base);
    return 0;
}

static int write_image(const json_t *message, struct image_info *info, struct error *e)
{
    struct image_writer *w;
    struct image_page pages[PAGES];
    unsigned char page[PAGE_BYTES];
    int rc = image_writer_new(get(message, "image"), &w, e);
    if (rc)
        return rc;
    for (unsigned i = 0; i < PAGES && !rc; i++) {
        memset(page, i % 4 ? (int)i : 0, sizeof page);
        pages[i].pfn_type = i;
        rc = image_writer_payload(w, page, &pages[i].payload, e);
    }
    if (!rc)
        rc = image_writer_pages(w, pages, PAGES, e);
    if (!rc)
        rc = image_writer_record(w, 2, "vcpu state", 10, e);
    if (!rc)
        rc = image_writer_config(w, config, e);
    say(json_pack("{s:s, s:i, s:i}", "event", "progress", "done", 50, "total", 100));
    suffer(get(message, "op"));
    *info = (struct image_info){
        .guest = IMAGE_GUEST_PVH, .vcpus = 1, .max_pfn = PAGES - 1, .populated = PAGES};
    if (!rc)
        rc = base_id(get(message, "base"), &info->base_id, e);
    if (!rc)
        rc = image_writer_commit(w, info, e);
    image_writer_free(w);
    return rc;
}

static void made(const struct image_info *info)
{
    done(image_made_to_json(info, json_loads(config, 0, NULL)));
}

static void make(const json_t *message)
{
    struct error e = {0};
    struct image_info info;
    if (write_image(message, &info, &e))
        fail(e.code, e.text);
    made(&info);
}

/* Reads what was passed to its end, and notes how much that was. */
static void read_passed(void)
{
    char buf[4096], text[32];
    unsigned long bytes = 0;
    for (ssize_t n; (n = read(HELPER_INPUT_FD, buf, sizeof buf)) > 0;)
        bytes += (unsigned long)n;
    format_fits(text, sizeof text, "%lu", bytes);
    fake_note("passed", text);
}

static void import(const json_t *message)
{
    struct stat st;
    char text[900];
    const char *save = get(message, "save");
    bool passed = json_is_true(json_object_get(message, "passed"));
    if (passed)
        read_passed();
    else if (stat(save, &st) || !S_ISREG(st.st_mode)) {
        format_fits(text, sizeof text, "%s: no such file", save);
        fail(ANSWER_IMAGE_REFUSED, text);
    }
    make(message);
}

/* Any domain of the fake host, by its domid. */
static void capture(const json_t *message)
{
    struct host_domain d;
    uint64_t domid;
    if (number_parse(get(message, "domain"), 0, UINT32_MAX, &domid) ||
        fake_domain_read((uint32_t)domid, &d))
        fail(ANSWER_NO_SUCH_LEASE, "the fake host has no such domain");
    make(message);
}

/* ---- images that are read ---- */

/* Opens the file that the request names; NULL when it names none. */
static struct image *given(const json_t *message, const char *key)
{
    struct error e;
    struct image *im;
    const char *path = get(message, key);
    if (!path[0])
        return NULL;
    if (image_open(path, &im, &e))
        fail(e.code, e.text);
    return im;
}

static void verify(const json_t *message)
{
    struct error e;
    struct image *im = given(message, "image");
    suffer("verify");
    if (image_verify(im, &e))
        fail(e.code, e.text);
    const struct image_info info = *image_info(im);
    image_close(im);
    made(&info);
}

static void export(const json_t *message)
{
    struct error e;
    const char *save = get(message, "save");
    image_close(given(message, "image"));
    image_close(given(message, "base"));
    suffer("export");
    int fd = open(save, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        fail(error_errno(&e, errno, "%s", save), e.text);
    fd_close(&fd);
    done(json_object());
}

static void diff(const json_t *message)
{
    static const char *const keys[] = {"a", "a_base", "b", "b_base"};
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        image_close(given(message, keys[i]));
    suffer("diff");
    done(json_pack("{s:i}", "pages", 0));
}

static const struct {
    const char *op;
    void (*run)(const json_t *message);
} works[] = {
    {"import", import}, {"capture", capture}, {"verify", verify},
    {"export", export}, {"diff", diff},
};

int main(void)
{
    struct message_reader reader;
    json_t *message;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    message_reader_init(&reader, HELPER_MESSAGE_LIMIT);
    if (message_receive(HELPER_FD, &reader, &message, NULL) != 1)
        return 1;
    for (size_t i = 0; i < ARRAY_SIZE(works); i++)
        if (!strcmp(works[i].op, get(message, "op")))
            works[i].run(message);
    json_decref(message);
    message_reader_dispose(&reader);
    return 0;
}
