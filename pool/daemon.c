/*
 * The daemon: start, reload, stop.
 *
 *   lock -> database -> reconcile (core_start) -> socket -> "ready"   ... SIGHUP: reload ...
 *   SIGTERM, SIGINT -> nobody is accepted -> unused domains destroyed (core_stop) -> exit 0
 *
 * Stopping is bounded by stop_timeout. If a thread is then still inside a call to the host, it is
 * left behind: the database is closed in order and the process exits around it.
 */
#include "pool/daemon.h"

#include "base/array.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "pool/core/api.h"
#include "pool/core/core.h"
#include "pool/core/reconcile.h"
#include "pool/service/notify.h"
#include "pool/service/server.h"
#include "pool/service/world_host.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define LOCK_WAIT_MS 1000
#define LOCK_STEP_MS 50

struct daemon {
    uv_loop_t loop;
    const struct config_sources *sources;
    struct db *db;
    struct world_host *wh;
    struct core core;
    struct service service;
    struct server *server;
    uv_signal_t sigterm, sigint, sighup;
    uv_timer_t watchdog;
    int lock_fd, report_fd, status;
    bool stopping;
};

/* ---- reporting the start ---- */

static void report(struct daemon *d, const char *text)
{
    if (d->report_fd >= 0)
        (void)!write(d->report_fd, text, strlen(text));
    fd_close(&d->report_fd);
}

static void fail(struct daemon *d, const struct error *e)
{
    log_error("%s", e->text);
    report(d, e->text);
    d->status = 1;
    uv_stop(&d->loop);
}

/* ---- state directory, lock, database ---- */

static int make_state(const struct config *c, struct error *e)
{
    static const char *const parts[] = {"", "/images", "/cow"};
    char path[300];
    int rc = 0;
    for (size_t i = 0; i < ARRAY_SIZE(parts) && !rc; i++) {
        format_fits(path, sizeof path, "%s%s", config_text(c, KEY_STATE_DIR), parts[i]);
        rc = make_dirs(path, 0700, e);
    }
    return rc ? rc : make_dirs(config_text(c, KEY_RUN_DIR), 0755, e);
}

/* The lock lasts as long as the process, however it ends, and a moment longer: a helper that
 * it had just forked shares the lock until it calls exec. So a lock that is held is tried again. */
static bool lock_try(int fd)
{
    for (int left_ms = LOCK_WAIT_MS; left_ms > 0; left_ms -= LOCK_STEP_MS) {
        if (!flock(fd, LOCK_EX | LOCK_NB))
            return true;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return false;
        usleep(LOCK_STEP_MS * 1000);
        errno = EWOULDBLOCK;
    }
    return false;
}

static int take_lock(struct daemon *d, const struct config *c, struct error *e)
{
    char path[300];
    format_fits(path, sizeof path, "%s/lock", config_text(c, KEY_STATE_DIR));
    d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0)
        return error_errno(e, errno, "open %s", path);
    if (lock_try(d->lock_fd))
        return 0;
    if (errno == EWOULDBLOCK)
        return error_set(e, -EBUSY,
                         "another dompoold uses the state directory %s (it holds %s): stop it, or "
                         "give this one a --state-dir of its own",
                         config_text(c, KEY_STATE_DIR), path);
    return error_errno(e, errno, "lock %s", path);
}

static int open_database(struct daemon *d, const struct config *c, struct db_rows *rows,
                         struct error *e)
{
    char path[300], *boot;
    int rc = read_file("/proc/sys/kernel/random/boot_id", 64, &boot, NULL, e);
    if (rc)
        return rc;
    boot[strcspn(boot, "\n")] = '\0';
    format_fits(path, sizeof path, "%s/dompool.db", config_text(c, KEY_STATE_DIR));
    rc = db_open(path, boot, &d->db, e);
    free(boot);
    return rc ? rc : db_load(d->db, rows, e);
}

/* ---- running ---- */

static void watchdog_fired(uv_timer_t *timer)
{
    (void)timer;
    notify("WATCHDOG=1");
}

static struct server_limits limits_of(const struct config *c)
{
    return (struct server_limits){
        .clients = (unsigned)config_number(c, KEY_MAX_CLIENTS),
        .clients_per_user = (unsigned)config_number(c, KEY_CLIENTS_PER_USER),
        .unread_per_user = config_number(c, KEY_UNREAD_PER_USER),
    };
}

static void apply_config(struct daemon *d)
{
    const struct config *c = d->core.config;
    const struct server_limits limits = limits_of(c);
    log_set_level((enum log_level)config_number(c, KEY_LOG_LEVEL));
    world_host_set_libexec(d->wh, config_text(c, KEY_LIBEXEC_DIR));
    world_host_set_helpers(d->wh, config_text(c, KEY_LOG_LEVEL), config_text(c, KEY_HELPER_USER));
    if (d->server)
        server_set_limits(d->server, &limits);
}

static void ready(struct daemon *d)
{
    uint64_t watchdog_us = notify_watchdog_us();
    fprintf(stderr, "dompoold: ready on %s\n", config_text(d->core.config, KEY_SOCKET));
    notify("READY=1");
    report(d, "+");
    if (watchdog_us)
        uv_timer_start(&d->watchdog, watchdog_fired, watchdog_us / 2000, watchdog_us / 2000);
}

static void started(struct core *core, int rc, const struct error *e)
{
    struct daemon *d = core->owner;
    const struct config *c = core->config;
    const struct server_limits limits = limits_of(c);
    struct error why;
    if (rc) {
        fail(d, e);
        return;
    }
    if (server_new(&d->loop, &d->service, config_text(c, KEY_SOCKET),
                   (unsigned)config_number(c, KEY_SOCKET_MODE), config_text(c, KEY_SOCKET_GROUP),
                   &limits, &d->server, &why) ||
        world_host_watch(d->wh, &why))
        fail(d, &why);
    else
        ready(d);
}

/* ---- reload ---- */

static void warn_fixed(const struct config *from, const struct config *to)
{
    for (int i = 0; i < KEY_COUNT; i++)
        if (!config_keys[i].live && strcmp(from->values[i].text, to->values[i].text) != 0)
            log_warning("%s: the change of %s takes effect when the daemon is restarted",
                        to->values[i].origin, config_keys[i].name);
}

/* Where things are can't change under a running daemon: `config show` says what is in use. */
static void keep_fixed(struct config *to, struct config *from)
{
    for (int i = 0; i < KEY_COUNT; i++) {
        if (config_keys[i].live)
            continue;
        struct value v = to->values[i];
        to->values[i] = from->values[i];
        from->values[i] = v;
    }
}

static void reload(uv_signal_t *handle, int signum)
{
    struct daemon *d = handle->data;
    struct mistakes m = {0};
    char state[64];
    (void)signum;
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%llu",
             (unsigned long long)clock_mono_us());
    notify(state);
    struct config *fresh = config_load(d->sources, &m);
    if (fresh)
        config_check_set(fresh, d->core.config, &m);
    for (size_t i = 0; i < m.n; i++)
        log_error("%s", m.lines[i]);
    if (fresh && !m.n) {
        warn_fixed(d->core.config, fresh);
        keep_fixed(fresh, d->core.config);
        core_reconfigure(&d->core, fresh);
        apply_config(d);
        log_info("configuration reloaded");
    } else {
        log_error("the configuration has mistakes: nothing was changed");
        config_free(fresh);
    }
    mistakes_dispose(&m);
    notify("READY=1");
}

/* ---- stop ---- */

static void stopped(struct core *core)
{
    struct daemon *d = core->owner;
    uv_stop(&d->loop);
}

static void stop(uv_signal_t *handle, int signum)
{
    struct daemon *d = handle->data;
    if (d->stopping) {
        log_warning("%s again: not waiting any longer", strsignal(signum));
        uv_stop(&d->loop);
        return;
    }
    log_info("%s: shutting down", strsignal(signum));
    d->stopping = true;
    notify("STOPPING=1");
    if (d->server)
        server_stop_accepting(d->server);
    d->core.startup.on_stopped = stopped;
    core_stop(&d->core);
}

/* The handles that are closed in the end. */
static void signals_start(struct daemon *d)
{
    signal(SIGPIPE, SIG_IGN);
    uv_signal_init(&d->loop, &d->sigterm);
    uv_signal_init(&d->loop, &d->sigint);
    uv_signal_init(&d->loop, &d->sighup);
    uv_timer_init(&d->loop, &d->watchdog);
    d->sigterm.data = d->sigint.data = d->sighup.data = d;
    uv_signal_start(&d->sigterm, stop, SIGTERM);
    uv_signal_start(&d->sigint, stop, SIGINT);
    uv_signal_start(&d->sighup, reload, SIGHUP);
}

static void signals_close(struct daemon *d)
{
    uv_close((uv_handle_t *)&d->sigterm, NULL);
    uv_close((uv_handle_t *)&d->sigint, NULL);
    uv_close((uv_handle_t *)&d->sighup, NULL);
    uv_close((uv_handle_t *)&d->watchdog, NULL);
}

static void finish(struct daemon *d)
{
    if (d->server)
        server_close(d->server);
    signals_close(d);
    if (!world_host_idle(d->wh)) {
        world_host_stop_writes(d->wh);
        db_close(d->db);
        uv_run(&d->loop, UV_RUN_NOWAIT); /* the socket's file is removed when its handle closes */
        log_warning("a call to the host has not returned: exiting around it");
        _exit(d->status);
    }
    world_host_stop(d->wh);
    core_dispose(&d->core);
    world_host_free(d->wh);
    db_close(d->db);
}

/* ---- everything ---- */

/* Helpers look for themselves; here a mistake is found before anything depends on it. */
static int check_helper_user(const struct config *c, struct error *e)
{
    struct confine_user user;
    return geteuid() ? 0 : confine_user_find(config_text(c, KEY_HELPER_USER), &user, e);
}

/* On an error the config is freed and the process has nothing else to undo. */
static int start(struct daemon *d, struct config *config, struct error *e)
{
    struct db_rows rows = {0};
    int rc = check_helper_user(config, e);
    if (!rc)
        rc = make_state(config, e);
    if (!rc)
        rc = take_lock(d, config, e);
    if (!rc)
        rc = open_database(d, config, &rows, e);
    if (!rc)
        rc = world_host_new(&d->loop, d->db, &d->wh, e);
    if (rc) {
        config_free(config);
        db_rows_dispose(&rows);
        return rc;
    }
    signals_start(d);
    core_init(&d->core, world_host_world(d->wh), config);
    d->core.owner = d;
    d->core.startup.on_started = started;
    api_init(&d->service, &d->core);
    apply_config(d);
    core_start(&d->core, &rows);
    db_rows_dispose(&rows);
    return 0;
}

int daemon_run(struct config *config, const struct config_sources *sources, int report_fd)
{
    struct daemon *d = calloc(1, sizeof *d);
    struct error e;
    if (!d || uv_loop_init(&d->loop)) {
        log_error("out of memory");
        return 1;
    }
    d->sources = sources;
    d->report_fd = report_fd;
    d->lock_fd = -1;
    if (start(d, config, &e)) {
        fail(d, &e);
        db_close(d->db);
    } else {
        uv_run(&d->loop, UV_RUN_DEFAULT);
        finish(d);
    }
    int status = d->status;
    uv_loop_close(&d->loop);
    fd_close(&d->lock_fd);
    free(d);
    return status;
}
