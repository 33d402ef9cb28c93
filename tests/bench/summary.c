/*
 * summary: what the samples of a bench run say.
 *
 *   summary SAMPLES [JSON SVG]
 *
 * Reads the lines that came out of dom0 (series.h), prints the tables and the targets, and writes
 * the same as JSON and as a picture. Exit status 1 when something cannot be read or written;
 * whether targets are met changes nothing.
 */
#include "tests/bench/plot.h"
#include "tests/bench/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int load(struct samples *s, const char *path, struct error *e)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return error_errno(e, errno, "open %s", path);
    int rc = samples_load(s, f, path, e);
    fclose(f);
    return rc;
}

static int write_json(const struct samples *s, FILE *out)
{
    json_t *report = report_json(s);
    int rc = report ? json_dumpf(report, out, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) : -ENOMEM;
    json_decref(report);
    fputc('\n', out);
    return rc ? -EIO : 0;
}

static int write_file(const struct samples *s, const char *path,
                      int (*write)(const struct samples *s, FILE *out), struct error *e)
{
    FILE *f = fopen(path, "we");
    if (!f)
        return error_errno(e, errno, "open %s", path);
    int rc = write(s, f);
    if (fclose(f) && !rc)
        rc = -errno;
    return rc ? error_errno(e, -rc, "write %s", path) : 0;
}

static int run(struct samples *s, char **paths, bool files, struct error *e)
{
    int rc = load(s, paths[0], e);
    if (!rc && report_text(s, stdout))
        rc = error_set(e, -ENOMEM, "out of memory for the report");
    if (!rc && files)
        rc = write_file(s, paths[1], write_json, e);
    if (!rc && files)
        rc = write_file(s, paths[2], plot_svg, e);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 4) {
        fprintf(stderr, "usage: summary SAMPLES [JSON SVG]\n");
        return 64;
    }
    struct error e = {0};
    struct samples s;
    samples_init(&s);
    int rc = run(&s, argv + 1, argc == 4, &e);
    samples_dispose(&s);
    if (rc)
        fprintf(stderr, "summary: %s\n", e.text);
    return rc ? 1 : 0;
}
