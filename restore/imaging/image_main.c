/*
 * dompool-image: does one piece of work on image files in a process of its own. A fault that a
 * hostile file provokes costs that piece of work and nothing else.
 *
 * Two processes, to be exact. This one opens files, talks to the daemon and to Xen, and gives a new
 * file its name. What reads a save file, an image or a guest's memory is a child of it without
 * rights (confined.h, worker.h). The one exception is libxenguest, which reads the memory of a
 * domain that is captured: it needs Xen's devices, and whoever has these needs no other rights.
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
#include "base/clock.h"
#include "base/message.h"
#include "restore/imaging/works.h"
#include "restore/protocol/image_protocol.h"
#include "restore/protocol/parent.h"
#include "restore/protocol/protocol.h"

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

static uint64_t told_us;

/* Tells the daemon now and then; not 0: the work is to stop. */
static int progress(uint64_t done, uint64_t total, void *data)
{
    uint64_t now = clock_mono_us();
    (void)data;
    if (work_unwanted())
        return 1;
    if (by_hand || now - told_us < PROGRESS_INTERVAL_US)
        return 0;
    told_us = now;
    const struct image_progress_event m = {.done = (int64_t)done, .total = (int64_t)total};
    return parent_tell(shape_encode(&image_progress_event_shape, &m), NULL);
}

/* ---- the work ---- */

static struct works works = {.by.stopped = work_unwanted, .progress = progress};

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
    told_us = clock_mono_us();
    int rc = confine_user_find(user ? user : CONFINE_USER, &works.by.user, e);
    if (!rc)
        rc = w->run(&works, request, &result, e);
    if (rc)
        return rc;
    rc = report(result, e);
    json_decref(result);
    if (works.stopped.waits && !rc && recorded())
        stopped_end(&works.stopped);
    else if (works.stopped.waits)
        stopped_undo(&works.stopped);
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
        .answer = answer_name(e.code), .error = e.text, .disks = works.remarks.missing};
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
