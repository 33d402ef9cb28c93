/* dompoold(8): the command line. One table of options; everything else is configuration. */
#include "base/array.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "pool/daemon.h"
#include "pool/service/config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_USAGE 64

enum daemon_option { OPTION_KEY, OPTION_CONFIG, OPTION_BACKGROUND, OPTION_HELP, OPTION_VERSION };

static const struct {
    const char *name, *argument, *help;
    enum daemon_option kind;
    enum config_key key; /* OPTION_KEY */
} options[] = {
    {"config", "FILE", "Configuration file, default " CONFIG_PATH, OPTION_CONFIG, KEY_COUNT},
    {"state-dir", "DIR", "Directory of the database, the images and the copy-on-write files",
     OPTION_KEY, KEY_STATE_DIR},
    {"run-dir", "DIR", "Directory of the socket", OPTION_KEY, KEY_RUN_DIR},
    {"socket", "PATH", "The API's socket, default RUN_DIR/io.dompool", OPTION_KEY, KEY_SOCKET},
    {"log-level", "LEVEL", "Log up to this level: error, warning, info or debug", OPTION_KEY,
     KEY_LOG_LEVEL},
    {"background", NULL, "Run in the background; return once the daemon is ready",
     OPTION_BACKGROUND, KEY_COUNT},
    {"help", NULL, "Print this text", OPTION_HELP, KEY_COUNT},
    {"version", NULL, "Print the version", OPTION_VERSION, KEY_COUNT},
};

struct arguments {
    struct config_sources sources;
    bool background;
};

static void print_help(void)
{
    printf("usage: dompoold [OPTION]...\n"
           "Keeps a pool of half-restored Xen domains. See dompoold(8).\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        char left[40];
        snprintf(left, sizeof left, "--%s%s%s", options[i].name, options[i].argument ? " " : "",
                 options[i].argument ? options[i].argument : "");
        printf("  %-20s %s\n", left, options[i].help);
    }
}

/* A path on the command line is meant from where the caller stands. Never freed. */
static const char *absolute(const char *path)
{
    char here[PATH_MAX];
    if (path[0] == '/' || !path[0] || !getcwd(here, sizeof here))
        return path;
    const char *made = format_new("%s/%s", here, path);
    return made ? made : path;
}

static void take_option(struct arguments *a, size_t i, const char *value)
{
    switch (options[i].kind) {
    case OPTION_CONFIG:
        a->sources.path = absolute(value);
        break;
    case OPTION_BACKGROUND:
        a->background = true;
        break;
    case OPTION_HELP:
        print_help();
        exit(0);
    case OPTION_VERSION:
        printf("dompoold %s\n", DOMPOOL_VERSION);
        exit(0);
    case OPTION_KEY:
        a->sources.options[options[i].key] =
            config_keys[options[i].key].type == KEY_TYPE_PATH ? absolute(value) : value;
        break;
    }
}

static bool read_arguments(int argc, char **argv, struct arguments *a)
{
    struct option table[ARRAY_SIZE(options) + 1] = {0};
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        table[i].name = options[i].name;
        table[i].has_arg = options[i].argument ? required_argument : no_argument;
    }
    int c, index;
    while ((c = getopt_long(argc, argv, "", table, &index)) == 0)
        take_option(a, (size_t)index, optarg);
    if (c == -1 && optind < argc)
        fprintf(stderr, "dompoold: unexpected argument \"%s\"\n", argv[optind]);
    if (c == -1 && optind == argc)
        return true;
    fprintf(stderr, "usage: dompoold [--config FILE] [--state-dir DIR] [--run-dir DIR] "
                    "[--socket PATH] [--log-level LEVEL] [--background]\n");
    return false;
}

/* ---- background ---- */

/* Waits for the child's report and repeats it; the exit status. */
static int await_report(int fd, const char *socket)
{
    char text[1024];
    size_t used = 0;
    ssize_t n;
    while (used < sizeof text - 1 &&
           ((n = read(fd, text + used, sizeof text - 1 - used)) > 0 || (n < 0 && errno == EINTR)))
        used += n > 0 ? (size_t)n : 0;
    text[used] = '\0';
    if (!strcmp(text, "+")) {
        fprintf(stderr, "dompoold: ready on %s\n", socket);
        return 0;
    }
    fprintf(stderr, "dompoold: %s\n", used ? text : "ended while it was starting; see its log");
    return 1;
}

/* A background daemon's log must not keep its caller's pipe open. */
static int redirect(const char *run_dir, struct error *e)
{
    char path[300];
    int rc = make_dirs(run_dir, 0755, e);
    if (rc)
        return rc;
    format_fits(path, sizeof path, "%s/dompoold.log", run_dir);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (log < 0)
        return error_errno(e, errno, "open %s", path);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(log, 2) < 0)
        rc = error_errno(e, errno, "redirect the output");
    fd_close(&null);
    fd_close(&log);
    return rc;
}

/* In the child returns the descriptor for its report; the parent ends here. */
static int go_to_background(const struct config *config)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) {
        fprintf(stderr, "dompoold: pipe: %s\n", strerror(errno));
        exit(1);
    }
    pid_t child = fork();
    if (child < 0) {
        fprintf(stderr, "dompoold: fork: %s\n", strerror(errno));
        exit(1);
    }
    if (child) {
        close(ends[1]);
        _exit(await_report(ends[0], config_text(config, KEY_SOCKET)));
    }
    close(ends[0]);
    struct error e;
    if (setsid() < 0 || chdir("/"))
        error_errno(&e, errno, "leave the terminal");
    if (redirect(config_text(config, KEY_RUN_DIR), &e)) {
        (void)!write(ends[1], e.text, strlen(e.text));
        _exit(1);
    }
    return ends[1];
}

int main(int argc, char **argv)
{
    struct arguments a = {0};
    struct mistakes m = {0};
    log_init("dompoold", LOG_LEVEL_INFO);
    if (!read_arguments(argc, argv, &a))
        return EXIT_USAGE;
    struct config *config = config_load(&a.sources, &m);
    for (size_t i = 0; i < m.n; i++)
        fprintf(stderr, "dompoold: %s\n", m.lines[i]);
    mistakes_dispose(&m);
    if (!config)
        return 1;
    int report_fd = a.background ? go_to_background(config) : -1;
    return daemon_run(config, &a.sources, report_fd);
}
