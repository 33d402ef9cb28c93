/*
 * capturectl: captures a running domain without a daemon. For tests of restore/imaging/capture.h on
 * the embedded Xen.
 *
 *   capturectl [--base BASE.img] [--stop] [--timeout MS] [--cancel MIB] DOMID IMAGE.img
 *   capturectl --undo DOMID
 *
 * Prints one line of JSON: what is in the image and how long the domain stood still, or what went
 * wrong. --cancel gives up once so much has been read. Exit status: 0, or 1 after a failure.
 */
#include "base/log.h"
#include "base/uuid.h"
#include "restore/imaging/capture.h"
#include "restore/imaging/suspend.h"

#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile sig_atomic_t stop_asked;

static void on_signal(int number)
{
    (void)number;
    stop_asked = 1;
}

struct cancel {
    uint64_t at; /* bytes; 0: never */
};

static int progress(uint64_t done, uint64_t total, void *data)
{
    const struct cancel *cancel = data;
    (void)total;
    return stop_asked || (cancel->at && done >= cancel->at);
}

static int usage(void)
{
    fputs("usage: capturectl [--base BASE.img] [--stop] [--timeout MS] [--cancel MIB] "
          "DOMID IMAGE.img\n"
          "       capturectl --undo DOMID\n",
          stderr);
    return 64;
}

static int print_line(json_t *out)
{
    json_dumpf(out, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(out);
    return fflush(stdout);
}

static int print_failure(int rc, const struct error *e)
{
    print_line(json_pack("{s:s, s:s}", "failed", answer_name(rc), "error", e->text));
    return 1;
}

static int print_image(const char *path, uint64_t still_us)
{
    struct error e = {0};
    struct image *im;
    int rc = image_open(path, &im, &e);
    if (rc)
        return print_failure(rc, &e);
    const struct image_info *info = image_info(im);
    char id[UUID_TEXT_SIZE];
    uuid_format(&info->id, id);
    print_line(json_pack("{s:s, s:I, s:I, s:I, s:I, s:o}", "image", id, "pages",
                         (json_int_t)info->entries, "payload_pages",
                         (json_int_t)info->payload_pages, "file_bytes",
                         (json_int_t)info->file_bytes, "still_us", (json_int_t)still_us, "config",
                         json_loads(image_config(im), 0, NULL)));
    image_close(im);
    return 0;
}

static int uuid_of(uint32_t domid, struct uuid *uuid, struct error *e)
{
    struct xen x;
    xc_domaininfo_t info;
    int rc = xen_open(&x, e);
    if (!rc && xc_domain_getinfolist(x.xch, domid, 1, &info) != 1)
        rc = xen_error(&x, e, "look at domain %u", domid);
    if (!rc)
        memcpy(uuid, info.handle, sizeof *uuid);
    xen_close(&x);
    return rc;
}

static int undo(uint32_t domid)
{
    struct xen x;
    struct error e = {0};
    struct uuid uuid;
    int rc = uuid_of(domid, &uuid, &e);
    if (rc)
        return print_failure(rc, &e);
    rc = xen_open(&x, &e);
    if (!rc)
        rc = suspend_undo(&x, domid, &uuid, NULL, &e);
    xen_close(&x);
    return rc ? print_failure(rc, &e) : 0;
}

static int capture(const struct capture_options *common, uint32_t domid, const char *image)
{
    struct error e = {0};
    struct image_info info;
    struct uuid uuid;
    uint64_t still_us = 0;
    struct capture_options o = *common;
    o.domid = domid;
    o.uuid = &uuid;
    o.image_path = image;
    o.still_us = &still_us;
    int rc = uuid_of(domid, &uuid, &e);
    if (!rc)
        rc = capture_domain(&o, &info, &e);
    return rc ? print_failure(rc, &e) : print_image(image, still_us);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"base", required_argument, NULL, 'b'},    {"stop", no_argument, NULL, 's'},
        {"timeout", required_argument, NULL, 't'}, {"cancel", required_argument, NULL, 'c'},
        {"undo", no_argument, NULL, 'u'},          {NULL, 0, NULL, 0},
    };
    struct cancel cancel = {0};
    struct capture_options o = {
        .suspend_timeout_ms = 30000, .progress = progress, .progress_data = &cancel};
    bool want_undo = false;
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGTERM, &sa, NULL);
    log_init("capturectl", LOG_LEVEL_DEBUG);
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'b')
            o.base_path = optarg;
        else if (c == 's')
            o.stop = true;
        else if (c == 't')
            o.suspend_timeout_ms = (unsigned)atoi(optarg);
        else if (c == 'c')
            cancel.at = (uint64_t)atoi(optarg) << 20;
        else if (c == 'u')
            want_undo = true;
        else
            return usage();
    }
    if (argc - optind != (want_undo ? 1 : 2))
        return usage();
    uint32_t domid = (uint32_t)atoi(argv[optind]);
    return want_undo ? undo(domid) : capture(&o, domid, argv[optind + 1]);
}
