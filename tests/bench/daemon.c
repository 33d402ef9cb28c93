/*
 * What the daemon itself costs, without Xen: dompoold-sim over the fake host of tests/sim, whose
 * helpers only pretend. For each number of leases a daemon of its own:
 *
 *   start        from exec until it answers
 *   own          of an allocation, what is the daemon's: its stages "pick" and "commit"
 *   the machine  what "commit" cannot be less than: another thread is woken, appends as much to
 *                a file as the database does, and wakes this one; in turn with the allocations
 *   round trip   of an allocation, as a client sees it; 1 ms of it is the fake helper's
 *   status       of a client that asks one after the other: alone, and while another client floods
 *   list         until the whole reply is there, and `dompool list`
 *
 *   daemon DOMPOOLD-SIM LIBEXEC DOMPOOL JSON [LEASES...]        10 1000 10000
 *
 * Leases are planted as rows, and their domains as files: they come from an earlier daemon. Figures
 * go to standard output, and as JSON to a file. It fails when something does not work, never
 * because something is slow.
 */
#include "base/array.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "base/message.h"
#include "base/text.h"
#include "base/units.h"
#include "base/uuid.h"
#include "store/db.h"
#include "tests/sim/fake.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 500
#define ASKED 3000
#define ASKED_MAX_US 20000000ull /* of a client that is kept waiting */
#define WARM 4
#define FLOOD_BYTES (64u << 10)
#define FIRST_DOMID 1000u
#define LEASES_MAX 30000u /* beside them there are domids for what is allocated */

static const char *program, *dompool;
static char dir[64], socket_path[100], conf[80], state_dir[80], host_dir[80];
static pid_t daemon_pid;

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "daemon: %s: %s\n", what, why);
    if (daemon_pid > 0)
        kill(daemon_pid, SIGKILL);
    exit(1);
}

/* ---- figures ---- */

struct figures {
    double *ms;
    size_t n, room;
};

static void figures_add(struct figures *f, uint64_t us)
{
    if (f->n == f->room) {
        f->room = f->room ? 2 * f->room : 256;
        f->ms = realloc(f->ms, f->room * sizeof *f->ms);
        if (!f->ms)
            die("figures", "out of memory");
    }
    f->ms[f->n++] = (double)us / 1000;
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Nearest rank. Sorted by figures_print. */
static double figures_at(const struct figures *f, unsigned percent)
{
    size_t rank = (f->n * percent + 99) / 100;
    return f->n ? f->ms[rank ? rank - 1 : 0] : 0;
}

static void figures_print(struct figures *f, const char *what, json_t *into)
{
    qsort(f->ms, f->n, sizeof *f->ms, by_value);
    printf("  %-28s %6zu %9.3f %9.3f %9.3f %9.3f\n", what, f->n, figures_at(f, 50),
           figures_at(f, 90), figures_at(f, 99), figures_at(f, 100));
    json_object_set_new(into, what,
                        json_pack("{s:i, s:f, s:f, s:f, s:f}", "n", (int)f->n, "p50",
                                  figures_at(f, 50), "p90", figures_at(f, 90), "p99",
                                  figures_at(f, 99), "max", figures_at(f, 100)));
    free(f->ms);
    *f = (struct figures){0};
}

/* ---- a client ---- */

static int connect_now(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    format_fits(address.sun_path, sizeof address.sun_path, "%s", socket_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address))
        fd_close(&fd);
    return fd;
}

struct client {
    int fd;
    struct message_reader reader;
};

static struct client client_new(void)
{
    struct client c = {.fd = connect_now()};
    if (c.fd < 0)
        die("connect", strerror(errno));
    message_reader_init(&c.reader, 64u << 20);
    return c;
}

static void client_end(struct client *c)
{
    fd_close(&c->fd);
    message_reader_dispose(&c->reader);
}

/* The reply's parameters; new reference. Takes parameters, which may be NULL. */
static json_t *ask(struct client *c, const char *method, json_t *parameters)
{
    char name[64];
    struct error e;
    json_t *reply;
    format_fits(name, sizeof name, "io.dompool.%s", method);
    json_t *call = json_pack("{s:s, s:o}", "method", name, "parameters",
                             parameters ? parameters : json_object());
    if (message_send(c->fd, call, &e) || message_receive(c->fd, &c->reader, &reply, &e) != 1)
        die(method, "no reply");
    json_decref(call);
    if (json_object_get(reply, "error"))
        die(method, json_dumps(reply, 0));
    json_t *p = json_incref(json_object_get(reply, "parameters"));
    json_decref(reply);
    return p;
}

static void tell(struct client *c, const char *method, json_t *parameters)
{
    json_decref(ask(c, method, parameters));
}

static void pool_full(struct client *c)
{
    tell(c, "PoolWait", json_pack("{s:i}", "timeout_ms", 60000));
}

/* ---- the daemon ---- */

/* Returns the microseconds until it answered. */
static uint64_t daemon_start(void)
{
    uint64_t began = clock_mono_us();
    daemon_pid = fork();
    if (!daemon_pid) {
        execl(program, program, "--config", conf, "--log-level", "warning", (char *)NULL);
        _exit(127);
    }
    int fd;
    while ((fd = connect_now()) < 0) {
        if (waitpid(daemon_pid, NULL, WNOHANG))
            die(program, "ended while it was starting");
        usleep(1000);
    }
    fd_close(&fd);
    struct client c = client_new();
    tell(&c, "Status", NULL);
    client_end(&c);
    return clock_mono_us() - began;
}

static void daemon_stop(void)
{
    int status;
    kill(daemon_pid, SIGTERM);
    if (waitpid(daemon_pid, &status, 0) != daemon_pid || status)
        die(program, "did not end in order");
    daemon_pid = 0;
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    if (!f || fputs(text, f) < 0 || fclose(f))
        die(path, strerror(errno));
}

/* Directories, a daemon with one image, and an end of it. */
static void prepare(void)
{
    char text[400];
    format_fits(dir, sizeof dir, "/var/tmp/dompool-daemon.XXXXXX");
    if (!mkdtemp(dir))
        die(dir, strerror(errno));
    format_fits(host_dir, sizeof host_dir, "%s/host", dir);
    format_fits(state_dir, sizeof state_dir, "%s/state", dir);
    format_fits(conf, sizeof conf, "%s/conf", dir);
    format_fits(socket_path, sizeof socket_path, "%s/run/io.dompool", dir);
    if (make_dirs(host_dir, 0700, NULL))
        die(host_dir, strerror(errno));
    setenv(FAKE_ENV, host_dir, 1);
    setenv("DOMPOOL_SOCKET", socket_path, 1);
    format_fits(text, sizeof text, "[daemon]\nstate_dir = %s\nrun_dir = %s/run\n[pool]\nmin = %d\n",
                state_dir, dir, WARM);
    write_text(conf, text);
    daemon_start();
    struct client c = client_new();
    tell(&c, "ImageImport", json_pack("{s:s, s:s}", "name", "fire", "path", conf));
    client_end(&c);
    daemon_stop();
}

static void clean(void)
{
    char command[100];
    format_fits(command, sizeof command, "rm -rf %s", dir);
    if (system(command))
        die(command, "failed");
}

static void plant_one(struct db *db, const char *tag, uint64_t id)
{
    struct db_op ops[2] = {{.kind = DB_SLOT_PUT}, {.kind = DB_LEASE_PUT}};
    struct slot_row *slot = &ops[0].slot;
    struct lease_row *lease = &ops[1].lease;
    struct error e;
    slot->id = lease->id = lease->slot = id;
    slot->domid = (int64_t)(FIRST_DOMID + id);
    slot->since_ms = lease->created_ms = clock_wall_ms();
    lease->expires_ms = lease->created_ms + 86400000 + (int64_t)id;
    lease->owner_uid = 1000;
    uuid_random(&slot->uuid);
    format_fits(slot->image, sizeof slot->image, "fire");
    format_fits(lease->image, sizeof lease->image, "fire");
    format_fits(slot->state, sizeof slot->state, "leased");
    format_fits(slot->engine, sizeof slot->engine, "direct");
    format_fits(slot->name, sizeof slot->name, "planted-%u", (unsigned)id);
    format_fits(lease->name, sizeof lease->name, "planted-%u", (unsigned)id);
    struct host_domain d = {.domid = (uint32_t)slot->domid, .uuid = slot->uuid};
    format_fits(d.name, sizeof d.name, "%s", slot->name);
    format_fits(d.tag, sizeof d.tag, "%s", tag);
    if (db_apply(db, ops, ARRAY_SIZE(ops), &e))
        die("plant", e.text);
    if (fake_domain_write(&d))
        die("plant", "its domain cannot be written");
}

/* What an earlier daemon would have left: n leases, whose domains run. */
static void plant(unsigned n)
{
    char path[120], *boot;
    struct error e;
    struct db *db;
    struct db_rows rows;
    format_fits(path, sizeof path, "%s/dompool.db", state_dir);
    if (read_file("/proc/sys/kernel/random/boot_id", 100, &boot, NULL, &e))
        die("boot", e.text);
    boot[strcspn(boot, "\n")] = '\0';
    if (db_open(path, boot, &db, &e) || db_load(db, &rows, &e))
        die(path, e.text);
    for (uint64_t id = 1; id <= n; id++)
        plant_one(db, rows.tag, rows.next_slot + id);
    db_rows_dispose(&rows);
    db_close(db);
    free(boot);
}

/* ---- what the machine takes for it ---- */

#define LOG_BYTES                                                                                  \
    (3 * 4120) /* three pages in SQLite's log, each with its header: what a commit writes */

/* As work.c of the daemon does it: a condition one way, an eventfd the other. */
static struct {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t called;
    bool call, end;
    int done, file;
} other = {.lock = PTHREAD_MUTEX_INITIALIZER, .called = PTHREAD_COND_INITIALIZER};

static void *other_main(void *arg)
{
    static char bytes[LOG_BYTES];
    uint64_t one = 1;
    (void)arg;
    for (;;) {
        pthread_mutex_lock(&other.lock);
        while (!other.call && !other.end)
            pthread_cond_wait(&other.called, &other.lock);
        other.call = false;
        pthread_mutex_unlock(&other.lock);
        if (other.end)
            return NULL;
        if (write(other.file, bytes, sizeof bytes) != sizeof bytes ||
            write(other.done, &one, sizeof one) != sizeof one)
            die("the other thread", strerror(errno));
    }
}

static void other_call(bool end)
{
    pthread_mutex_lock(&other.lock);
    other.call = !end;
    other.end = end;
    pthread_cond_signal(&other.called);
    pthread_mutex_unlock(&other.lock);
}

static void other_start(void)
{
    char path[100];
    format_fits(path, sizeof path, "%s/log", dir);
    other.file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_TRUNC, 0600);
    other.done = eventfd(0, EFD_CLOEXEC);
    other.end = false;
    if (other.file < 0 || other.done < 0 || pthread_create(&other.thread, NULL, other_main, NULL))
        die("the other thread", strerror(errno));
}

static void other_stop(void)
{
    other_call(true);
    pthread_join(other.thread, NULL);
    fd_close(&other.file);
    fd_close(&other.done);
}

static uint64_t machine_us(void)
{
    uint64_t n, began = clock_mono_us();
    struct pollfd p = {.fd = other.done, .events = POLLIN};
    other_call(false);
    if (poll(&p, 1, -1) != 1 || read(other.done, &n, sizeof n) != sizeof n)
        die("the other thread", strerror(errno));
    return clock_mono_us() - began;
}

/* ---- what is measured ---- */

static uint64_t stage_us(const json_t *allocated, const char *name)
{
    size_t i;
    json_t *stage;
    json_array_foreach (json_object_get(allocated, "stages"), i, stage)
        if (!strcmp(json_string_value(json_object_get(stage, "name")), name))
            return (uint64_t)json_integer_value(json_object_get(stage, "us"));
    die("Allocate", "a stage is missing");
}

static void measure_allocations(json_t *into)
{
    struct figures own = {0}, pick = {0}, trip = {0}, machine = {0};
    struct client c = client_new();
    other_start();
    for (unsigned i = 0; i < ROUNDS; i++) {
        pool_full(&c);
        usleep(5000); /* what the last one set off is over */
        uint64_t began = clock_mono_us();
        json_t *p = ask(&c, "Allocate", json_pack("{s:s}", "image", "fire"));
        figures_add(&trip, clock_mono_us() - began);
        figures_add(&pick, stage_us(p, "pick"));
        figures_add(&own, stage_us(p, "pick") + stage_us(p, "commit"));
        tell(&c, "Release", json_pack("{s:[O]}", "leases", json_object_get(p, "lease")));
        json_decref(p);
        usleep(5000);
        figures_add(&machine, machine_us());
    }
    other_stop();
    client_end(&c);
    figures_print(&own, "own (pick + commit)", into);
    figures_print(&machine, "the machine, for a commit", into);
    figures_print(&pick, "pick", into);
    figures_print(&trip, "round trip", into);
}

static void measure_status(const char *what, json_t *into)
{
    struct figures f = {0};
    struct client c = client_new();
    const uint64_t end = clock_mono_us() + ASKED_MAX_US;
    for (unsigned i = 0; i < ASKED && clock_mono_us() < end; i++) {
        uint64_t began = clock_mono_us();
        tell(&c, "Status", NULL);
        figures_add(&f, clock_mono_us() - began);
        usleep(500);
    }
    client_end(&c);
    figures_print(&f, what, into);
}

/* Sends what it can for as long as it lives: calls that are answered by nothing, behind one that
 * stays open, so that no reply has to be read. */
static _Noreturn void flood(void)
{
    static const char message[] = "{\"method\":\"io.dompool.ConfigShow\",\"oneway\":true}";
    static char many[FLOOD_BYTES];
    size_t used = 0;
    for (; used + sizeof message <= sizeof many; used += sizeof message)
        memcpy(many + used, message, sizeof message);
    int fd = connect_now();
    for (size_t at = 0;;) {
        ssize_t n = send(fd, many + at, used - at, MSG_NOSIGNAL);
        if (n <= 0)
            _exit(1);
        at = (at + (size_t)n) % used;
    }
}

static void measure_flooded(json_t *into)
{
    pid_t pid = fork();
    if (!pid)
        flood();
    usleep(300000);
    measure_status("status, another one floods", into);
    if (waitpid(pid, NULL, WNOHANG))
        die("flood", "the daemon has closed its connection");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void measure_list(unsigned n, json_t *into)
{
    struct figures reply = {0}, command = {0};
    char text[200];
    struct client c = client_new();
    for (unsigned i = 0; i < 10; i++) {
        uint64_t began = clock_mono_us();
        json_t *p = ask(&c, "List", NULL);
        figures_add(&reply, clock_mono_us() - began);
        if (json_array_size(json_object_get(p, "leases")) != n)
            die("List", "not all leases are listed");
        json_decref(p);
    }
    client_end(&c);
    format_fits(text, sizeof text, "%s list >/dev/null", dompool);
    for (unsigned i = 0; i < 5; i++) {
        uint64_t began = clock_mono_us();
        if (system(text))
            die(text, "failed");
        figures_add(&command, clock_mono_us() - began);
    }
    figures_print(&reply, "list, read and parsed", into);
    figures_print(&command, "dompool list", into);
}

static json_t *measure(unsigned n)
{
    json_t *into = json_object();
    struct figures start = {0};
    printf("%u leases, milliseconds\n  %-28s %6s %9s %9s %9s %9s\n", n, "", "n", "p50", "p90",
           "p99", "max");
    prepare();
    plant(n);
    for (unsigned i = 0; i < 5; i++) {
        figures_add(&start, daemon_start());
        daemon_stop();
    }
    figures_print(&start, "start", into);
    daemon_start();
    struct client c = client_new();
    pool_full(&c);
    client_end(&c);
    measure_allocations(into);
    measure_status("status", into);
    measure_flooded(into);
    measure_list(n, into);
    daemon_stop();
    clean();
    fflush(stdout);
    return into;
}

int main(int argc, char **argv)
{
    static const char *const usual[] = {"10", "1000", "10000"};
    const char *const *numbers = usual;
    size_t n_numbers = ARRAY_SIZE(usual);
    if (argc < 5)
        die("usage", "daemon DOMPOOLD-SIM LIBEXEC DOMPOOL JSON [LEASES...]");
    program = argv[1];
    dompool = argv[3];
    setenv("DOMPOOL_LIBEXEC", argv[2], 1);
    if (argc > 5) {
        numbers = (const char *const *)argv + 5;
        n_numbers = (size_t)argc - 5;
    }
    json_t *all = json_object();
    for (size_t i = 0; i < n_numbers; i++) {
        uint64_t n;
        if (number_parse(numbers[i], 1, LEASES_MAX, &n))
            die(numbers[i], "no number of leases");
        json_object_set_new(all, numbers[i], measure((unsigned)n));
    }
    if (json_dump_file(all, argv[4], JSON_INDENT(1)))
        die(argv[4], "cannot be written");
    json_decref(all);
    return 0;
}
