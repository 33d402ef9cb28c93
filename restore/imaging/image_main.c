/*
 * dompool-image: does one piece of work on image files in a process of its own. A fault that a
 * hostile file provokes costs that piece of work and nothing else.
 *
 * Two processes, to be exact. This one opens files, talks to the daemon and to Xen, and gives a new
 * file its name. What reads a save file, an image or a guest's memory is a child of it without
 * rights (confined.h, worker.h). The one exception is libxenguest, which reads the memory of a domain
 * that is captured: it needs Xen's devices, and whoever has these needs no other rights.
 *
 * Started by the daemon, it has no arguments and speaks restore/protocol/image_protocol.h on
 * descriptor 3. It ends with its parent (PR_SET_PDEATHSIG), on SIGTERM, and when the socket closes.
 * Then it undoes its work: a file is removed, a suspended domain goes on. By hand it is started as
 *
 *   dompool-image REQUEST
 *
 * with a request of that protocol as JSON text. Then it prints the result. Exit status: 0 done, 1
 * refused or failed, 64 wrong usage.
 */
#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/message.h"
#include "base/text.h"
#include "base/units.h"
#include "base/uuid.h"
#include "restore/imaging/capture.h"
#include "restore/imaging/confined.h"
#include "restore/imaging/suspend.h"
#include "restore/protocol/image_protocol.h"
#include "restore/protocol/parent.h"
#include "restore/protocol/protocol.h"
#include "restore/xen/host.h"
#include "restore/xen/snapshot.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRESS_INTERVAL_US 200000u
#define EXIT_USAGE 64 /* EX_USAGE of sysexits.h */

static volatile sig_atomic_t stop_asked;
static bool by_hand;

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

/* ---- progress ---- */

static bool socket_closed(void)
{
    struct pollfd p = {.fd = HELPER_FD, .events = POLLIN | POLLRDHUP};
    char byte;
    if (poll(&p, 1, 0) <= 0)
        return false;
    return p.revents & (POLLHUP | POLLRDHUP | POLLERR) ||
           recv(HELPER_FD, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static bool work_unwanted(void)
{
    return stop_asked || (!by_hand && socket_closed());
}

/* Whom foreign bytes are read by. */
static struct confined by = {.stopped = work_unwanted};

/* Tells the daemon now and then; not 0: the work is to stop. */
static int progress(uint64_t done, uint64_t total, void *data)
{
    uint64_t *last_us = data, now = clock_mono_us();
    if (work_unwanted())
        return 1;
    if (by_hand || now - *last_us < PROGRESS_INTERVAL_US)
        return 0;
    *last_us = now;
    const struct image_progress_event m = {.done = (int64_t)done, .total = (int64_t)total};
    return parent_tell(shape_encode(&image_progress_event_shape, &m), NULL);
}

/* ---- the pieces of work; the strings of a request stay its own ---- */

static int request_decode(const struct shape *shape, const json_t *request, void *out,
                          struct error *e)
{
    return shape_decode(shape, request, out, e) ? error_prefix(e, "malformed request: ") : 0;
}

static int disks_parse(json_t *map, struct import_disk *disks, size_t *n, struct error *e)
{
    const char *vdev;
    json_t *spec;
    json_object_foreach (map, vdev, spec) {
        if (*n == DOMCONF_DISKS_MAX || !json_is_string(spec))
            return error_set(e, ANSWER_BAD_VALUE, "disk %s: no string, or too many disks", vdev);
        disks[(*n)++] = (struct import_disk){vdev, json_string_value(spec)};
    }
    return 0;
}

/* Of the import, for its answer. */
static struct import_remarks remarks;

static int warnings_add(json_t *result, struct error *e)
{
    if (!json_array_size(remarks.left_out) ||
        !json_object_set(result, "warnings", remarks.left_out))
        return 0;
    return error_set(e, -ENOMEM, "out of memory");
}

static int run_import(json_t *request, json_t **result, struct error *e)
{
    struct import_disk disks[DOMCONF_DISKS_MAX];
    uint64_t last_us = clock_mono_us();
    struct import_options o = {
        .disks = disks, .remarks = &remarks, .progress = progress, .progress_data = &last_us};
    struct image_import_op m;
    int rc = request_decode(&image_import_op_shape, request, &m, e);
    if (rc)
        return rc;
    o.save_path = m.save;
    o.save_fd = m.passed ? HELPER_INPUT_FD : 0;
    o.image_path = m.image;
    o.base_path = m.base;
    o.disk_digests = m.disk_digests;
    o.consent = (struct consent){.dirs = m.dirs, .had = m.had};
    rc = disks_parse(m.disks, disks, &o.n_disks, e);
    if (!rc)
        rc = confined_import(&by, &o, result, e);
    return rc ? rc : warnings_add(*result, e);
}

struct capture_request {
    struct capture_options options;
    struct import_disk disks[DOMCONF_DISKS_MAX];
    struct uuid uuid;
    json_t *cow; /* array of vdevs, or NULL */
    bool leased;
};

/* A lease's domain is given with its uuid. Any other domain is looked for; it must not be a
 * slot. */
static int domain_resolve(struct capture_request *r, const char *domain, struct error *e)
{
    struct host *host;
    struct host_domain *list;
    size_t n;
    uint64_t number = UINT64_MAX;
    (void)number_parse(domain, 0, UINT32_MAX, &number);
    r->options.domid = (uint32_t)number;
    if (r->leased)
        return 0;
    int rc = host_open(&host, e);
    if (rc)
        return rc;
    rc = host_list(host, &list, &n, e);
    host_close(host);
    if (rc)
        return rc;
    rc =
        error_set(e, ANSWER_NO_SUCH_DOMAIN, "no lease, domain name or domid matches %.80s", domain);
    for (size_t i = 0; i < n && rc == ANSWER_NO_SUCH_DOMAIN; i++) {
        if (list[i].domid != number && strcmp(list[i].name, domain) != 0)
            continue;
        rc = list[i].tag[0] ? error_set(e, ANSWER_DOMAIN_STATE,
                                        "domain %.80s is a slot of a pool: only a lease can be "
                                        "captured",
                                        domain)
                            : 0;
        r->options.domid = list[i].domid;
        r->uuid = list[i].uuid;
    }
    free(list);
    return rc;
}

static int capture_parse(json_t *request, struct capture_request *r, struct error *e)
{
    struct image_capture_op m;
    int rc = request_decode(&image_capture_op_shape, request, &m, e);
    if (rc)
        return rc;
    if ((m.uuid && uuid_parse(m.uuid, &r->uuid)) || m.timeout_ms <= 0 || m.timeout_ms > INT_MAX)
        return error_set(e, -EPROTO, "malformed request: uuid or timeout_ms");
    r->leased = m.uuid != NULL;
    r->cow = m.cow;
    r->options.image_path = m.image;
    r->options.base_path = m.base;
    r->options.uuid = &r->uuid;
    r->options.stop = m.stop;
    r->options.disk_digests = m.disk_digests;
    r->options.suspend_timeout_ms = (unsigned)m.timeout_ms;
    r->options.disks = r->disks;
    rc = disks_parse(m.disks, r->disks, &r->options.n_disks, e);
    return rc ? rc : domain_resolve(r, m.domain, e);
}

/* Writes to a private view of a disk are discarded with the domain, but its kernel remembers
 * them. */
static int cow_check(const struct capture_request *r, struct error *e)
{
    char uuid[UUID_TEXT_SIZE];
    size_t i;
    json_t *v;
    uuid_format(&r->uuid, uuid);
    json_array_foreach (r->cow, i, v) {
        const char *vdev = json_string_value(v);
        bool written;
        int rc = vdev ? snapshot_written(uuid, vdev, &written, e)
                      : error_set(e, -EPROTO, "malformed request: cow");
        if (rc)
            return rc;
        if (written)
            return error_set(e, ANSWER_IMAGE_REFUSED,
                             "disk %s was written since the domain was allocated. The writes are "
                             "discarded with the domain, but the captured kernel would remember "
                             "them. If that does no harm, give --disk %s=cow:PATH",
                             vdev, vdev);
    }
    return 0;
}

/* A domain that stays suspended until its image is recorded, and then ends. */
static struct stopped {
    bool waits, leased;
    uint32_t domid;
    struct uuid uuid;
    char image[PATH_MAX];
} stopped;

/* xl knows what else belongs to a domain that it made. The daemon destroys a lease's domain. */
static void stopped_end(void)
{
    char domid[16];
    char *const argv[] = {"xl", "destroy", domid, NULL};
    pid_t pid;
    int status = -1;
    if (stopped.leased)
        return;
    snprintf(domid, sizeof domid, "%u", stopped.domid);
    if (!posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ))
        waitpid(pid, &status, 0);
    if (status)
        log_warning("domain %s was captured and is suspended, but xl destroy failed", domid);
}

/* The image was not recorded: the domain goes on. */
static void stopped_undo(void)
{
    struct xen x;
    struct error e = {0};
    if (!xen_open(&x, &e) && !suspend_undo(&x, stopped.domid, &stopped.uuid, NULL, &e))
        log_info("domain %u goes on: its image was not recorded", stopped.domid);
    else
        log_error("domain %u stands still after a capture: %s", stopped.domid, e.text);
    xen_close(&x);
    unlink(stopped.image);
}

/* Waits for the daemon's word on the image: true for "recorded"; false for anything else, for its
 * end, and for SIGTERM. */
static bool recorded(void)
{
    struct pollfd p = {.fd = HELPER_FD, .events = POLLIN};
    struct message_reader reader;
    json_t *message = NULL;
    if (by_hand)
        return true;
    while (!stop_asked && poll(&p, 1, 1000) <= 0)
        ;
    if (stop_asked)
        return false;
    message_reader_init(&reader, HELPER_MESSAGE_LIMIT);
    bool yes = message_receive(HELPER_FD, &reader, &message, NULL) == 1 &&
               shape_is(&image_recorded_op_shape, message);
    json_decref(message);
    message_reader_dispose(&reader);
    return yes;
}

static int run_capture(json_t *request, json_t **result, struct error *e)
{
    uint64_t last_us = clock_mono_us();
    struct capture_request r = {.options = {.progress = progress, .progress_data = &last_us}};
    struct confined_capture reading = {.by = &by};
    struct image_info info;
    r.options.import = confined_capture_import;
    r.options.import_data = &reading;
    int rc = capture_parse(request, &r, e);
    if (!rc)
        rc = capture_domain(&r.options, &info, e);
    if (rc) {
        json_decref(reading.made);
        return rc;
    }
    rc = cow_check(&r, e);
    if (rc)
        json_decref(reading.made);
    else
        *result = reading.made;
    stopped = (struct stopped){.waits = r.options.stop, .leased = r.leased};
    stopped.domid = r.options.domid;
    stopped.uuid = r.uuid;
    (void)format_fits(stopped.image, sizeof stopped.image, "%s", r.options.image_path);
    if (rc && stopped.waits)
        stopped_undo();
    else if (rc)
        unlink(r.options.image_path);
    return rc;
}

static int run_export(json_t *request, json_t **result, struct error *e)
{
    uint64_t last_us = clock_mono_us();
    struct export_options o = {.progress = progress, .progress_data = &last_us};
    struct image_export_op m;
    int rc = request_decode(&image_export_op_shape, request, &m, e);
    if (rc)
        return rc;
    o.image_path = m.image;
    o.base_path = m.base;
    o.save_path = m.save;
    rc = confined_export(&by, &o, e);
    if (rc)
        return rc;
    *result = json_object();
    return *result ? 0 : error_set(e, -ENOMEM, "out of memory");
}

static int run_verify(json_t *request, json_t **result, struct error *e)
{
    uint64_t last_us = clock_mono_us();
    struct image_verify_op m;
    int rc = request_decode(&image_verify_op_shape, request, &m, e);
    return rc ? rc : confined_verify(&by, m.image, m.disks, progress, &last_us, result, e);
}

static int run_diff(json_t *request, json_t **result, struct error *e)
{
    uint64_t last_us = clock_mono_us();
    struct image_diff_op m;
    int rc = request_decode(&image_diff_op_shape, request, &m, e);
    if (rc)
        return rc;
    const struct confined_side sides[2] = {{m.a, m.a_base}, {m.b, m.b_base}};
    return confined_diff(&by, sides, progress, &last_us, result, e);
}

/* makes: the request's key with the path of the file that the work writes, NULL: none */
static const struct work {
    const char *op, *makes;
    int (*run)(json_t *request, json_t **result, struct error *e);
} works[] = {
    {"import", "image", run_import}, {"capture", "image", run_capture},
    {"export", "save", run_export},  {"verify", NULL, run_verify},
    {"diff", NULL, run_diff},
};

static const struct work *work_find(const json_t *request)
{
    const char *op = json_string_value(json_object_get(request, "op"));
    for (size_t i = 0; i < ARRAY_SIZE(works); i++)
        if (op && !strcmp(works[i].op, op))
            return &works[i];
    return NULL;
}

static int report(json_t *result, struct error *e)
{
    const struct image_done_event m = {.result = result};
    if (stop_asked)
        return error_set(e, -ECANCELED, "stopped");
    if (!by_hand)
        return parent_tell(shape_encode(&image_done_event_shape, &m), e);
    json_dumpf(result, stdout, JSON_INDENT(2));
    putchar('\n');
    return fflush(stdout) ? error_errno(e, errno, "print the result") : 0;
}

static int request_run(json_t *request, struct error *e)
{
    json_t *result = NULL;
    const struct work *w = work_find(request);
    const char *user = getenv(HELPER_USER_VARIABLE);
    if (!w)
        return error_set(e, -EPROTO, "malformed request: no \"op\" that is known");
    int rc = confine_user_find(user ? user : CONFINE_USER, &by.user, e);
    if (!rc)
        rc = w->run(request, &result, e);
    if (rc)
        return rc;
    rc = report(result, e);
    json_decref(result);
    if (stopped.waits && !rc && recorded())
        stopped_end();
    else if (stopped.waits)
        stopped_undo();
    else if (rc && w->makes)
        unlink(json_string_value(json_object_get(request, w->makes))); /* nobody will hear of it */
    return rc;
}

/* ---- as a helper of the daemon, or by hand ---- */

static int usage(void)
{
    fprintf(stderr,
            "dompool-image: descriptor %d is not a socket of dompoold; by hand: dompool-image "
            "REQUEST, for example '{\"op\":\"verify\",\"image\":\"/path/x.img\"}'\n",
            HELPER_FD);
    return EXIT_USAGE;
}

static int helper_main(void)
{
    struct error e = {0};
    struct message_reader reader;
    json_t *request = NULL;
    if (!parent_attach(SIGTERM)) /* a domain that it has suspended is to go on */
        return usage();
    message_reader_init(&reader, HELPER_MESSAGE_LIMIT);
    int rc = message_receive(HELPER_FD, &reader, &request, &e);
    if (rc == 1)
        rc = request_run(request, &e);
    else if (rc == 0)
        rc = error_set(&e, -EPROTO, "socket closed before a request came");
    json_decref(request);
    message_reader_dispose(&reader);
    if (!rc)
        return EXIT_SUCCESS;
    const struct image_failed_event m = {
        .answer = answer_name(e.code), .error = e.text, .disks = remarks.missing};
    (void)parent_tell(shape_encode(&image_failed_event_shape, &m), NULL);
    return EXIT_FAILURE;
}

static int hand_main(const char *text)
{
    struct error e = {0};
    json_t *request = json_loads(text, 0, NULL);
    by_hand = true;
    if (!request)
        return usage();
    int rc = request_run(request, &e);
    json_decref(request);
    if (!rc)
        return EXIT_SUCCESS;
    fprintf(stderr, "dompool-image: %s\n", e.text);
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    signals_catch();
    if (argc > 2)
        return usage();
    return argc == 1 ? helper_main() : hand_main(argv[1]);
}
