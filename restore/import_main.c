/*
 * dompool-import: one import in a process of its own, so that whatever a hostile
 * save file provokes costs that import and nothing else.
 *
 * Started by the daemon it has no arguments and speaks restore/slot_protocol.h on
 * descriptor 3. It ends with its parent (PR_SET_PDEATHSIG), on SIGTERM, and when
 * the socket closes; in the last two cases it takes back what it has written. By
 * hand it is
 *
 *   dompool-import SAVEFILE IMAGEFILE [VDEV=SPEC]...
 *
 * and prints the image's description as JSON. Exit status: 0 done, 1 refused or
 * failed, 64 wrong usage.
 */
#include "base/message.h"
#include "base/util.h"
#include "restore/helper.h"
#include "restore/import.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROGRESS_INTERVAL_US 200000u
#define EXIT_USAGE 64 /* EX_USAGE of sysexits.h */
#define DISKS_MAX 64u

static volatile sig_atomic_t stop_asked;

static void on_signal(int signum)
{
    (void)signum;
    stop_asked = 1;
}

static void signals_catch(void)
{
    struct sigaction sa = {.sa_handler = on_signal}; /* no SA_RESTART: read(2) must return */
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* ---- what an import made, as JSON ---- */

static json_t *config_load(const char *path, struct error *e)
{
    struct image *im;
    if (image_open(path, &im, e))
        return NULL;
    json_t *config = json_loads(image_config(im), 0, NULL);
    image_close(im);
    return config;
}

static json_t *info_to_json(const struct image_info *info, const char *path, struct error *e)
{
    char id[UUID_TEXT_SIZE];
    uuid_format(info->id, id);
    json_t *config = config_load(path, e);
    if (!config)
        return NULL;
    return json_pack("{ss ss sI sI sI sI sI sI sI so}", "id", id, "guest",
                     info->guest == IMAGE_GUEST_PV ? "pv" : "pvh", "vcpus", (json_int_t)info->vcpus,
                     "max_pfn", (json_int_t)info->max_pfn, "pages", (json_int_t)info->pages,
                     "zero_pages", (json_int_t)info->zero_pages, "payload_pages",
                     (json_int_t)info->payload_pages, "file_bytes", (json_int_t)info->file_bytes,
                     "created_ms", (json_int_t)info->created_ms, "config", config);
}

/* ---- as a helper of the daemon ---- */

struct helper {
    uint64_t last_us; /* when progress was told */
};

static bool socket_closed(void)
{
    struct pollfd p = {.fd = HELPER_FD, .events = POLLIN | POLLRDHUP};
    char byte;
    if (poll(&p, 1, 0) <= 0)
        return false;
    return p.revents & (POLLHUP | POLLRDHUP | POLLERR) ||
           recv(HELPER_FD, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static int helper_progress(uint64_t done, uint64_t total, void *data)
{
    struct helper *h = data;
    if (stop_asked || socket_closed())
        return 1;
    uint64_t now = clock_mono_us();
    if (now - h->last_us < PROGRESS_INTERVAL_US)
        return 0;
    h->last_us = now;
    return helper_send_message(json_pack("{ss sI sI}", "event", "progress", "done",
                                         (json_int_t)done, "total", (json_int_t)total),
                               NULL);
}

static int helper_fail(struct error *e)
{
    (void)helper_send_message(json_pack("{ss ss ss*}", "event", "failed", "answer",
                                        answer_name(e->code), "error", e->text),
                              NULL);
    return EXIT_FAILURE;
}

/* The strings stay those of the message. */
static int request_parse(json_t *request, struct import_options *o, struct import_disk *disks,
                         struct error *e)
{
    const char *op, *vdev;
    json_t *map = NULL, *spec;
    json_error_t why;
    if (json_unpack_ex(request, &why, JSON_STRICT, "{s:s s:s s:s s?o}", "op", &op, "save",
                       &o->save_path, "image", &o->image_path, "disks", &map))
        return error_set(e, -EPROTO, "import request: %s", why.text);
    if (strcmp(op, "import"))
        return error_set(e, -EPROTO, "request \"%s\" is not \"import\"", op);
    json_object_foreach (map, vdev, spec) {
        if (o->n_disks == DISKS_MAX || !json_is_string(spec))
            return error_set(e, ANSWER_BAD_VALUE, "disk %s: no string, or too many disks", vdev);
        disks[o->n_disks++] = (struct import_disk){vdev, json_string_value(spec)};
    }
    o->disks = disks;
    return 0;
}

static int helper_import(json_t *request, struct error *e)
{
    struct import_disk disks[DISKS_MAX];
    struct helper h = {.last_us = clock_mono_us()};
    struct import_options o = {.progress = helper_progress, .progress_data = &h};
    struct image_info info;
    int rc = request_parse(request, &o, disks, e);
    if (!rc)
        rc = import_save_file(&o, &info, e);
    if (rc)
        return rc;
    json_t *described = info_to_json(&info, o.image_path, e);
    rc = stop_asked ? error_set(e, -ECANCELED, "import stopped")
         : described
             ? helper_send_message(json_pack("{ss sO}", "event", "imported", "info", described), e)
             : -ENOMEM;
    json_decref(described);
    if (rc)
        unlink(o.image_path); /* nobody will ever hear of it */
    return rc;
}

static int helper_main(void)
{
    struct error e = {0};
    struct message_reader reader;
    json_t *request = NULL;
    if (!helper_attach()) {
        fprintf(stderr,
                "dompool-import: descriptor %d is no socket of the parent; by hand: "
                "dompool-import SAVEFILE IMAGEFILE [VDEV=SPEC]...\n",
                HELPER_FD);
        return EXIT_USAGE;
    }
    message_reader_init(&reader, HELPER_MESSAGE_LIMIT);
    int rc = message_receive(HELPER_FD, &reader, &request, &e);
    if (rc == 1)
        rc = helper_import(request, &e);
    else if (rc == 0)
        rc = error_set(&e, -EPROTO, "socket closed before a request came");
    json_decref(request);
    message_reader_dispose(&reader);
    return rc ? helper_fail(&e) : EXIT_SUCCESS;
}

/* ---- by hand ---- */

static int hand_progress(uint64_t done, uint64_t total, void *data)
{
    (void)done, (void)total, (void)data;
    return stop_asked;
}

static int usage(void)
{
    fputs("usage: dompool-import SAVEFILE IMAGEFILE [VDEV=SPEC]...\n", stderr);
    return EXIT_USAGE;
}

static int hand_main(int argc, char **argv)
{
    struct import_disk disks[DISKS_MAX];
    struct import_options o = {
        .save_path = argv[1], .image_path = argv[2], .disks = disks, .progress = hand_progress};
    for (int i = 3; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        if (!equals || o.n_disks == DISKS_MAX)
            return usage();
        *equals = '\0';
        disks[o.n_disks++] = (struct import_disk){argv[i], equals + 1};
    }
    struct error e = {0};
    struct image_info info;
    json_t *described = NULL;
    int rc = import_save_file(&o, &info, &e);
    if (!rc && !(described = info_to_json(&info, o.image_path, &e)))
        rc = -ENOMEM;
    if (rc) {
        fprintf(stderr, "dompool-import: %s\n", e.text);
        return EXIT_FAILURE;
    }
    json_dumpf(described, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(described);
    return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    signals_catch();
    if (argc == 1)
        return helper_main();
    return argc < 3 ? usage() : hand_main(argc, argv);
}
