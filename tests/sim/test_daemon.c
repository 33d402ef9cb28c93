/*
 * The real daemon over its real socket, with processes for helpers and a directory for a host
 * (fake.h): start, background, reload, signals, kill -9 of every party, a second daemon, clients
 * that misbehave.
 */
#include "base/array.h"
#include "base/io.h"
#include "base/message.h"
#include "tests/cmocka.h"
#include "tests/sim/fake.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 20000 /* a machine under valgrind is slow */

static char dir[64], host_dir[80], state_dir[80], run_dir[80], sock[100], conf[80], log_path[80];
static pid_t daemon_pid;

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* Sets a fault of the fake host; "" removes it. */
static void fault(const char *name, const char *word)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", host_dir, name);
    if (word[0])
        write_text(path, word);
    else
        unlink(path);
}

static unsigned domains(void)
{
    char command[160], text[32] = "";
    snprintf(command, sizeof command, "ls %s | grep -c '^domain\\.[0-9]*$'", host_dir);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    pclose(f);
    return (unsigned)atoi(text);
}

static void eventually(bool (*true_now)(unsigned), unsigned n, const char *what)
{
    for (int i = 0; i < PATIENCE_MS / 20; i++) {
        if (true_now(n))
            return;
        usleep(20000);
    }
    fail_msg("never came true: %s %u", what, n);
}

static bool domains_are(unsigned n)
{
    return domains() == n;
}

static int connect_now(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, sock);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!connect(fd, (struct sockaddr *)&address, sizeof address))
        return fd;
    close(fd);
    return -1;
}

static void send_call(int fd, const char *method, json_t *parameters, bool more)
{
    char name[80];
    snprintf(name, sizeof name, "io.dompool.%s", method);
    json_t *m = json_pack("{s:s, s:o, s:b}", "method", name, "parameters",
                          parameters ? parameters : json_object(), "more", (int)more);
    (void)message_send(fd, m, NULL); /* who is gone does not reply either */
    json_decref(m);
}

/* The next reply; NULL at the connection's end. Asks for no byte behind it. */
static json_t *receive(int fd)
{
    struct message_reader reader;
    json_t *reply = NULL;
    struct error e = {0};
    char byte;
    message_reader_init(&reader, 1u << 22);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    while (!reply && recv(fd, &byte, 1, 0) == 1) {
        assert_int_equal(message_reader_feed(&reader, &byte, 1, &e), 0);
        if (!byte && message_reader_next(&reader, &reply, &e) < 0)
            fail_msg("%s", e.text);
    }
    message_reader_dispose(&reader);
    return reply;
}

static pid_t spawn(const char *const *extra)
{
    const char *args[16] = {DAEMON, "--config", conf};
    size_t n = 3;
    for (; *extra; extra++)
        args[n++] = *extra;
    pid_t pid = fork();
    if (pid)
        return pid;
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(log, 2);
    execv(DAEMON, (char *const *)args);
    _exit(127);
}

static void start(void)
{
    static const char *const none[] = {NULL};
    daemon_pid = spawn(none);
    for (int i = 0; i < PATIENCE_MS / 20; i++) {
        /* A helper forked by a killed daemon may hold its socket until it calls exec: being
         * connected is not enough. */
        int fd = connect_now();
        if (fd >= 0) {
            send_call(fd, "Status", NULL, false);
            json_t *reply = receive(fd);
            close(fd);
            json_decref(reply);
            if (reply)
                return;
        }
        usleep(20000);
    }
    fail_msg("the daemon does not answer; see %s", log_path);
}

static int stop(int sig)
{
    int status = -1;
    if (daemon_pid <= 0)
        return 0;
    kill(daemon_pid, sig);
    assert_int_equal(waitpid(daemon_pid, &status, 0), daemon_pid);
    daemon_pid = 0;
    return status;
}

static json_t *ask_on(int fd, const char *method, json_t *parameters)
{
    send_call(fd, method, parameters, false);
    return receive(fd);
}

/* Asserts the error's name, NULL for none. Returns the reply. */
static json_t *ask(const char *method, json_t *parameters, const char *error)
{
    int fd = connect_now();
    assert_true(fd >= 0);
    json_t *reply = ask_on(fd, method, parameters);
    close(fd);
    const char *name = json_string_value(json_object_get(reply, "error"));
    if (!reply || !name != !error || (error && strcmp(strrchr(name, '.') + 1, error) != 0))
        fail_msg("%s: %s", method, reply ? json_dumps(reply, 0) : "no reply");
    return reply;
}

static void tell(const char *method, json_t *parameters, const char *error)
{
    json_decref(ask(method, parameters, error));
}

static json_t *get(json_t *reply, const char *key)
{
    return json_object_get(json_object_get(reply, "parameters"), key);
}

static json_t *want(int wait_ms)
{
    return json_pack("{s:s, s:i}", "image", "fire", "wait_ms", wait_ms);
}

static void import(const char *name)
{
    tell("ImageImport", json_pack("{s:s, s:s}", "name", name, "path", conf), NULL);
}

static void full(void)
{
    tell("PoolWait", json_pack("{s:i}", "timeout_ms", PATIENCE_MS), NULL);
}

static int begin(void **state)
{
    char text[400];
    (void)state;
    strcpy(dir, "/tmp/dompool-daemon.XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(host_dir, sizeof host_dir, "%s/host", dir);
    snprintf(state_dir, sizeof state_dir, "%s/state", dir);
    snprintf(run_dir, sizeof run_dir, "%s/run", dir);
    snprintf(sock, sizeof sock, "%s/io.dompool", run_dir);
    snprintf(conf, sizeof conf, "%s/conf", dir);
    snprintf(log_path, sizeof log_path, "%s/log", dir);
    mkdir(host_dir, 0700);
    setenv(FAKE_ENV, host_dir, 1);
    setenv("DOMPOOL_LIBEXEC", LIBEXEC, 1);
    snprintf(text, sizeof text,
             "[daemon]\nlog_level = debug\nstate_dir = %s\nrun_dir = %s\nstop_timeout = 3s\n"
             "complete_timeout = 1s\ndestroy_timeout = 1s\n[pool]\nmin = 2\nbackoff = 100ms\n",
             state_dir, run_dir);
    write_text(conf, text);
    start();
    return 0;
}

static int end(void **state)
{
    char command[120];
    (void)state;
    stop(SIGKILL);
    snprintf(command, sizeof command, "%s -rf %s", getenv("KEEP") ? "ls" : "rm", dir);
    return system(command);
}

static void test_life(void **state)
{
    (void)state;
    import("fire");
    full();
    assert_int_equal(domains(), 2);
    json_t *reply = ask("Allocate", want(0), NULL);
    assert_string_equal(json_string_value(get(reply, "name")), "fire-l1");
    json_decref(reply);
    full();
    assert_int_equal(domains(), 3);
    tell("Release", json_pack("{s:[s]}", "leases", "fire-l1"), NULL);
    assert_int_equal(domains(), 2);
    reply = ask("Status", NULL, NULL);
    assert_int_equal(json_integer_value(get(reply, "pid")), daemon_pid);
    assert_true(json_is_true(get(reply, "xen")));
    json_decref(reply);
    tell("ImageRemove", json_pack("{s:s}", "name", "fire"), NULL);
    assert_int_equal(domains(), 0);
}

/* SIGTERM: exit 0, leased domains live on, warm ones are gone, no socket is left. */
static void test_term(void **state)
{
    (void)state;
    import("fire");
    full();
    tell("Allocate", want(0), NULL);
    int held = connect_now();
    json_decref(
        ask_on(held, "Allocate",
               json_pack("{s:s, s:b, s:i}", "image", "fire", "hold", 1, "wait_ms", PATIENCE_MS)));
    full();
    assert_int_equal(stop(SIGTERM), 0);
    assert_int_equal(domains(), 1);
    assert_int_equal(access(sock, F_OK), -1);
    assert_null(receive(held));
    close(held);
    start();
    full();
    assert_int_equal(domains(), 3);
    json_t *reply = ask("List", NULL, NULL);
    assert_int_equal(json_array_size(get(reply, "leases")), 1);
    json_decref(reply);
    tell("Release", json_pack("{s:b}", "all", 1), NULL);
    assert_int_equal(domains(), 2);
    fault("destroy", "hang");
    assert_int_equal(stop(SIGTERM), 0); /* in bounded time */
    assert_int_equal(access(sock, F_OK), -1);
    fault("destroy", "");
    start();
    full();
    assert_int_equal(domains(), 2);
}

/* kill -9 of the daemon, again and again, while a client allocates and releases. */
static void test_kill_daemon(void **state)
{
    (void)state;
    import("fire");
    for (useconds_t delay = 0; delay < 60000; delay += 4000) {
        int fd = connect_now();
        full();
        send_call(fd, "Allocate", want(PATIENCE_MS), false);
        send_call(fd, "Allocate", want(PATIENCE_MS), false);
        send_call(fd, "Allocate", want(PATIENCE_MS), false);
        send_call(fd, "Release", json_pack("{s:b}", "all", 1), false);
        usleep(delay);
        stop(SIGKILL);
        close(fd);
        start();
        full();
        json_t *reply = ask("List", NULL, NULL);
        size_t leases = json_array_size(get(reply, "leases"));
        assert_int_equal(json_array_size(get(reply, "slots")), leases + 2);
        json_decref(reply);
        assert_int_equal(domains(), leases + 2);
        tell("Release", json_pack("{s:b}", "all", 1), NULL);
        eventually(domains_are, 2, "domains are");
    }
}

/* Helpers die with the daemon. */
static void test_helpers_die_too(void **state)
{
    char command[100], line[32];
    pid_t pids[8];
    size_t n = 0;
    (void)state;
    import("fire");
    full();
    snprintf(command, sizeof command, "pgrep -P %d", (int)daemon_pid);
    FILE *f = popen(command, "r");
    while (f && n < ARRAY_SIZE(pids) && fgets(line, sizeof line, f))
        pids[n++] = atoi(line);
    pclose(f);
    assert_int_equal(n, 2);
    stop(SIGKILL);
    for (int i = 0; i < PATIENCE_MS / 20 && (!kill(pids[0], 0) || !kill(pids[1], 0)); i++)
        usleep(20000);
    assert_true(kill(pids[0], 0) && kill(pids[1], 0));
    start();
}

static void test_kill_helpers(void **state)
{
    char command[100];
    (void)state;
    import("fire");
    full();
    snprintf(command, sizeof command, "pkill -9 -P %d", (int)daemon_pid);
    assert_int_equal(system(command), 0);
    usleep(100000);
    full();
    eventually(domains_are, 2, "domains are");
    /* ... at each step */
    static const char *const faults[] = {"build", "created", "populate", "complete"};
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
        fault(faults[i], "die");
        for (int k = 0; k < 3; k++)
            json_decref(ask_on(connect_now(), "Allocate", want(200)));
        fault(faults[i], "");
        usleep(300000);
        full();
        tell("Release", json_pack("{s:b}", "all", 1), NULL);
        full();
        eventually(domains_are, 2, "domains are");
    }
}

static bool leases_are(unsigned n)
{
    json_t *reply = ask("List", NULL, NULL);
    size_t leases = json_array_size(get(reply, "leases"));
    json_decref(reply);
    return leases == n;
}

/* A client that is killed: what it waited for and what it held goes. */
static void test_kill_client(void **state)
{
    (void)state;
    import("fire");
    full();
    int fd = connect_now();
    json_decref(ask_on(fd, "Allocate", json_pack("{s:s, s:b}", "image", "fire", "hold", 1)));
    send_call(fd, "Allocate", want(PATIENCE_MS), false);
    close(fd);
    eventually(leases_are, 0, "leases are");
    full();
    eventually(domains_are, 2, "domains are");
}

static void test_domain_destroyed_by_hand(void **state)
{
    (void)state;
    import("fire");
    full();
    json_t *reply = ask("Allocate", want(0), NULL);
    char path[160];
    snprintf(path, sizeof path, "%s/domain.%d", host_dir,
             (int)json_integer_value(get(reply, "domid")));
    json_decref(reply);
    unlink(path);
    eventually(leases_are, 0, "leases are");
}

static void test_second_daemon(void **state)
{
    static const char *const none[] = {NULL};
    int status;
    (void)state;
    pid_t second = spawn(none);
    assert_int_equal(waitpid(second, &status, 0), second);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    char *text;
    assert_int_equal(read_file(log_path, 1 << 20, &text, NULL, NULL), 0);
    assert_non_null(strstr(text, "another dompoold uses the state directory"));
    free(text);
    /* Another state directory, but a socket that is taken. */
    char other[100];
    snprintf(other, sizeof other, "%s/other", dir);
    const char *const extra[] = {"--state-dir", other, NULL};
    second = spawn(extra);
    assert_int_equal(waitpid(second, &status, 0), second);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    tell("Status", NULL, NULL); /* the first one has not lost its socket */
}

static void test_background(void **state)
{
    int status;
    (void)state;
    stop(SIGTERM);
    const char *const extra[] = {"--background", NULL};
    pid_t parent = spawn(extra);
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_int_equal(status, 0);
    json_t *reply = ask("Status", NULL, NULL); /* it answers when the parent returns */
    daemon_pid = 0;
    pid_t pid = (pid_t)json_integer_value(get(reply, "pid"));
    json_decref(reply);
    kill(pid, SIGTERM);
    for (int i = 0; i < PATIENCE_MS / 20 && !kill(pid, 0); i++)
        usleep(20000);
    fault("open", "fail"); /* no Xen */
    parent = spawn(extra);
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    fault("open", "");
    const char *const bad[] = {"--log-level", "loud", NULL};
    parent = spawn(bad);
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    const char *const usage[] = {"--wat", NULL};
    parent = spawn(usage);
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 64);
}

static bool min_is(unsigned n)
{
    json_t *reply = ask("PoolShow", NULL, NULL);
    json_int_t min =
        json_integer_value(json_object_get(json_array_get(get(reply, "pools"), 0), "min"));
    json_decref(reply);
    return min == (json_int_t)n;
}

static void test_reload(void **state)
{
    static const char *const wrong[] = {"min = 0\nwat = 1\n", "min = 5\n"}; /* max = 4 was set */
    char *text, longer[600];
    (void)state;
    import("fire");
    assert_int_equal(read_file(conf, 1000, &text, NULL, NULL), 0);
    snprintf(longer, sizeof longer, "%s[image fire]\nmin = 4\n", text);
    write_text(conf, longer);
    kill(daemon_pid, SIGHUP);
    eventually(min_is, 4, "min is");
    full();
    tell("PoolSet", json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "max", "4"), NULL);
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) { /* changes nothing */
        snprintf(longer, sizeof longer, "%s[image fire]\n%s", text, wrong[i]);
        write_text(conf, longer);
        kill(daemon_pid, SIGHUP);
        usleep(300000);
        assert_true(min_is(4));
    }
    write_text(conf, text);
    kill(daemon_pid, SIGHUP);
    eventually(min_is, 2, "min is");
    eventually(domains_are, 2, "domains are");
    free(text);
}

/* Helpers that log warnings and errors alone; those that have ended are counted, too. */
static bool quiet_ones_are(unsigned n)
{
    char command[200], line[32] = "";
    snprintf(command, sizeof command, "grep -lx warning %s/level.* 2>/dev/null | wc -l", host_dir);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    pclose(f);
    return (unsigned)atoi(line) == n;
}

/* A reload reaches the helpers: those that are there, and those that start later. */
static void test_reload_log_level(void **state)
{
    char *text, longer[600];
    (void)state;
    import("fire");
    full();
    assert_true(quiet_ones_are(0));
    assert_int_equal(read_file(conf, 1000, &text, NULL, NULL), 0);
    snprintf(longer, sizeof longer, "[daemon]\nlog_level = warning\n%s", strstr(text, "state_dir"));
    write_text(conf, longer);
    kill(daemon_pid, SIGHUP);
    eventually(quiet_ones_are, 2, "quiet ones are");
    json_decref(ask("Allocate", want(200), NULL));
    full();
    eventually(quiet_ones_are, 3, "quiet ones are");
    free(text);
}

static void test_bad_clients(void **state)
{
    char junk[8192];
    (void)state;
    memset(junk, 'j', sizeof junk);
    int fd = connect_now();
    for (int i = 0; i < 200 && send(fd, junk, sizeof junk, MSG_NOSIGNAL) > 0; i++)
        ;
    close(fd);
    fd = connect_now();
    assert_int_equal(send(fd, "{\"x", 3, MSG_NOSIGNAL), 3); /* half a message, then nothing */
    /* One that asks and never reads is dropped when it has left too much unread. */
    int deaf = connect_now();
    struct timeval second = {.tv_sec = 1};
    setsockopt(deaf, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof second);
    static const char question[] = "{\"method\":\"org.varlink.service.GetInterfaceDescription\","
                                   "\"parameters\":{\"interface\":\"io.dompool\"}}";
    ssize_t n = 0;
    for (int i = 0; i < 20000 && n >= 0; i++)
        n = send(deaf, question, sizeof question, MSG_NOSIGNAL);
    assert_true(n < 0);
    /* More than max_clients: the last ones are turned away, the daemon goes on. */
    int many[200];
    for (int i = 0; i < 200; i++)
        many[i] = connect_now();
    usleep(100000);
    for (int i = 0; i < 200; i++)
        close(many[i]);
    usleep(200000);
    tell("Status", NULL, NULL);
    close(fd);
    close(deaf);
}

#define NOBODY 65534
#define PER_USER 5u

/* How many of 20 connections of another user are kept. */
static unsigned kept_of_nobody(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        unsigned kept = 0;
        if (setresuid(NOBODY, NOBODY, NOBODY))
            _exit(99);
        for (int i = 0; i < 20; i++) {
            int fd = connect_now();
            struct pollfd p = {.fd = fd, .events = POLLIN};
            kept += fd >= 0 && poll(&p, 1, 200) == 0;
        }
        _exit((int)kept);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return (unsigned)WEXITSTATUS(status);
}

/* One user cannot take the places of all others. Needs root. */
static void test_clients_per_user(void **state)
{
    char *text, other[600];
    (void)state;
    assert_int_equal(geteuid(), 0);
    stop(SIGTERM);
    assert_int_equal(read_file(conf, 1000, &text, NULL, NULL), 0);
    snprintf(other, sizeof other, "[daemon]\nsocket_mode = 0666\nclients_per_user = %u\n%s",
             PER_USER, strstr(text, "state_dir"));
    write_text(conf, other);
    free(text);
    start();
    assert_int_equal(chmod(dir, 0755) || chmod(run_dir, 0755), 0);
    assert_int_equal(kept_of_nobody(), PER_USER);
    tell("Status", NULL, NULL);
    usleep(100000);
    assert_int_equal(kept_of_nobody(), PER_USER); /* the places are free again */
}

static void test_import(void **state)
{
    char command[120];
    (void)state;
    int fd = connect_now();
    send_call(fd, "ImageImport", json_pack("{s:s, s:s}", "name", "fire", "path", conf), true);
    json_t *reply = receive(fd);
    assert_true(json_is_true(json_object_get(reply, "continues")));
    assert_int_equal(json_integer_value(get(reply, "total_bytes")), 100);
    json_decref(reply);
    reply = receive(fd);
    assert_string_equal(json_string_value(json_object_get(get(reply, "image"), "name")), "fire");
    json_decref(reply);
    close(fd);
    fault("import", "fail");
    tell("ImageImport", json_pack("{s:s, s:s}", "name", "ice", "path", conf), "ImageRefused");
    fault("import", "die");
    tell("ImageImport", json_pack("{s:s, s:s}", "name", "ice", "path", conf), "Internal");
    tell("ImageImport", json_pack("{s:s, s:s}", "name", "ice", "path", "/nonexistent"),
         "ImageRefused");
    fault("import", "hang");
    fd = connect_now();
    send_call(fd, "ImageImport", json_pack("{s:s, s:s}", "name", "ice", "path", conf), false);
    usleep(300000);
    close(fd); /* cancels it */
    usleep(300000);
    snprintf(command, sizeof command, "test $(ls -A %s/images | wc -l) = 1", state_dir);
    assert_int_equal(system(command), 0); /* nothing half-made stays */
    fault("import", "");
    import("ice");
}

static json_t *version(const char *name, const char *base)
{
    return json_pack("{s:s, s:s, s:s*, s:b}", "name", name, "path", conf, "base", base, "replace",
                     1);
}

static bool files_are(unsigned n)
{
    char command[160];
    snprintf(command, sizeof command, "test $(ls -A %s/images | wc -l) = %u", state_dir, n);
    return !system(command);
}

/* Derived images and new versions, with helpers that open the files. */
static void test_images(void **state)
{
    static const char *const faults[] = {"", "refuse", "fail", "die"};
    char save[100];
    (void)state;
    import("fire");
    tell("ImageImport", version("mist", "fire"), NULL);
    tell("ImageImport", version("fire", NULL), "ImageInUse");
    json_t *reply =
        ask("Allocate", json_pack("{s:s, s:i}", "image", "mist", "wait_ms", PATIENCE_MS), NULL);
    assert_string_equal(json_string_value(get(reply, "image")), "mist");
    tell(
        "ImageCapture",
        json_pack("{s:s, s:O, s:s}", "name", "snow", "domain", get(reply, "lease"), "base", "fire"),
        NULL);
    json_decref(reply);
    snprintf(save, sizeof save, "%s/save", dir);
    tell("ImageExport", json_pack("{s:s, s:s}", "name", "snow", "path", save), NULL);
    tell("ImageDiff", json_pack("{s:s, s:s}", "a", "fire", "b", "mist"), NULL);
    tell("ImageVerify", json_pack("{s:s}", "name", "mist"), NULL);
    fault("verify", "die"); /* the start goes on when the check does */
    stop(SIGTERM);
    start();
    fault("verify", "");
    full();
    tell("Release", json_pack("{s:b}", "all", 1), NULL);
    tell("ImageRemove", json_pack("{s:s}", "name", "snow"), NULL);
    tell("ImageRemove", json_pack("{s:s}", "name", "mist"), NULL);
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
        fault("turn", faults[i]);
        tell("ImageImport", version("fire", NULL), NULL);
        usleep(300000);
        fault("turn", "");
        full();
        eventually(domains_are, 2, "domains are");
        eventually(files_are, 1, "image files are");
        json_decref(ask("Allocate", want(PATIENCE_MS), NULL));
        tell("Release", json_pack("{s:b}", "all", 1), NULL);
        full();
    }
}

static unsigned lost_files(void)
{
    json_t *reply = ask("Status", NULL, NULL);
    unsigned n = (unsigned)json_array_size(get(reply, "lost_images"));
    json_decref(reply);
    return n;
}

/* kill -9 of the daemon while an image is replaced. One whose file is whole, and was not recorded
 * yet, stays as a lost file. */
static void test_kill_replacing(void **state)
{
    (void)state;
    import("fire");
    for (useconds_t delay = 0; delay < 40000; delay += 4000) {
        int fd = connect_now();
        full();
        send_call(fd, "ImageImport", version("fire", NULL), false);
        usleep(delay);
        stop(SIGKILL);
        close(fd);
        start();
        full();
        eventually(files_are, 1 + lost_files(), "image files are");
        json_decref(ask("Allocate", want(PATIENCE_MS), NULL));
        tell("Release", json_pack("{s:b}", "all", 1), NULL);
        eventually(domains_are, 2, "domains are");
    }
}

#define FLOOD 12000u
#define FLOOD_TURNS 20u

/* Bytes of replies that fd could read. */
static unsigned unread(int fd)
{
    int n = 0;
    assert_int_equal(ioctl(fd, FIONREAD, &n), 0);
    return (unsigned)n;
}

/* Sends FLOOD calls at once; how many calls of another client are answered until theirs are. */
static unsigned flood_once(int flood, int other)
{
    static const char call[] = "{\"method\":\"io.dompool.ImageList\",\"oneway\":true}";
    static const char last[] = "{\"method\":\"io.dompool.ImageList\"}";
    static char bytes[FLOOD * sizeof call + sizeof last];
    unsigned n = 0;
    for (size_t i = 0; i < FLOOD; i++)
        memcpy(bytes + i * sizeof call, call, sizeof call);
    memcpy(bytes + FLOOD * sizeof call, last, sizeof last);
    pid_t sender = fork();
    if (!sender)
        _exit(send(flood, bytes, sizeof bytes, 0) != sizeof bytes);
    while (!unread(flood)) {
        json_decref(ask_on(other, "Status", NULL));
        n++;
    }
    json_decref(receive(flood));
    int status;
    assert_int_equal(waitpid(sender, &status, 0), sender);
    assert_int_equal(status, 0);
    return n;
}

/* Whoever sends thousands of calls at once does not keep another waiting for all of them. */
static void test_flood(void **state)
{
    (void)state;
    unsigned most = 0;
    int flood = connect_now(), other = connect_now();
    for (int i = 0; i < 5 && most < FLOOD_TURNS; i++) {
        unsigned n = flood_once(flood, other);
        most = n > most ? n : most;
    }
    assert_in_range(most, FLOOD_TURNS, FLOOD);
    close(flood);
    close(other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_life),
        TEST(test_term),
        TEST(test_kill_daemon),
        TEST(test_helpers_die_too),
        TEST(test_kill_helpers),
        TEST(test_kill_client),
        TEST(test_domain_destroyed_by_hand),
        TEST(test_second_daemon),
        TEST(test_background),
        TEST(test_reload),
        TEST(test_reload_log_level),
        TEST(test_bad_clients),
        TEST(test_import),
        TEST(test_images),
        TEST(test_kill_replacing),
        TEST(test_flood),
        TEST(test_clients_per_user),
    };
    signal(SIGPIPE, SIG_IGN);
    if (getenv("ONLY"))
        cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
