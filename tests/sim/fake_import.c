/* dompool-image for the fake host: any readable file is a saved domain with 64 pages. */
#include "base/message.h"
#include "base/util.h"
#include "restore/slot_protocol.h"
#include "store/image.h"
#include "tests/sim/fake.h"

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

static void suffer(void)
{
    fake_sleep("import_ms", 5);
    if (fake_fault_is("import", "die"))
        raise(SIGKILL);
    if (fake_fault_is("import", "hang"))
        for (;;)
            pause();
    if (fake_fault_is("import", "fail"))
        fail(ANSWER_IMAGE_REFUSED, "the fake importer is told to refuse");
}

static int write_image(const char *path, struct image_info *info, struct error *e)
{
    struct image_writer *w;
    struct image_page pages[PAGES];
    unsigned char page[PAGE_BYTES];
    int rc = image_writer_new(path, &w, e);
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
    suffer();
    *info = (struct image_info){.guest = IMAGE_GUEST_PVH, .vcpus = 1, .max_pfn = PAGES - 1};
    if (!rc)
        rc = image_writer_commit(w, info, e);
    image_writer_free(w);
    return rc;
}

static void import(const json_t *message)
{
    struct error e = {0};
    struct image_info info;
    struct stat st;
    char id[UUID_TEXT_SIZE], text[900];
    const char *save = get(message, "save");
    if (stat(save, &st) || !S_ISREG(st.st_mode)) {
        format_fits(text, sizeof text, "%s: no such file", save);
        fail(ANSWER_IMAGE_REFUSED, text);
    }
    if (write_image(get(message, "image"), &info, &e))
        fail(e.code, e.text);
    uuid_format(info.id, id);
    say(json_pack("{s:s, s:{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:o}}", "event",
                  "imported", "info", "id", id, "guest", "pvh", "vcpus", (int)info.vcpus, "max_pfn",
                  (json_int_t)info.max_pfn, "pages", (json_int_t)info.pages, "zero_pages",
                  (json_int_t)info.zero_pages, "payload_pages", (json_int_t)info.payload_pages,
                  "file_bytes", (json_int_t)info.file_bytes, "created_ms",
                  (json_int_t)info.created_ms, "config", json_loads(config, 0, NULL)));
}

int main(void)
{
    struct message_reader reader;
    json_t *message;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    message_reader_init(&reader, HELPER_MESSAGE_LIMIT);
    if (message_receive(HELPER_FD, &reader, &message, NULL) != 1)
        return 1;
    import(message);
    json_decref(message);
    message_reader_dispose(&reader);
    return 0;
}
