/* See running.h. */
#include "tests/sim/running.h"

#include "base/io.h"
#include "base/message.h"
#include "base/text.h"
#include "tests/sim/fake.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 60000     /* a machine that is busy with sanitizers and other tests is slow */
#define STATE_SIZE "size=48m" /* of the state directory's file system */
#define FILE_BYTES_MAX (64u << 20)

static _Noreturn void give_up(const char *doing, const char *what)
{
    fprintf(stderr, "%s %s: %s\n", doing, what, strerror(errno));
    exit(1);
}

static void must(bool ok, const char *doing, const char *what)
{
    if (!ok)
        give_up(doing, what);
}

/* ---- its directory ---- */

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    must(f && fputs(text, f) >= 0 && !fclose(f), "write", path);
}

static void mount_state(const struct running *r)
{
    must(!unshare(CLONE_NEWNS), "unshare", "mounts (root may)");
    must(!mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), "make private", "/");
    must(!mount("tmpfs", r->state_dir, "tmpfs", 0, STATE_SIZE), "mount", r->state_dir);
}

void running_init(struct running *r, const char *settings)
{
    char text[800];
    *r = (struct running){.dir = "/tmp/dompool-soak.XXXXXX"};
    must(mkdtemp(r->dir) != NULL, "make", r->dir);
    format_fits(r->host_dir, sizeof r->host_dir, "%s/host", r->dir);
    format_fits(r->state_dir, sizeof r->state_dir, "%s/state", r->dir);
    format_fits(r->sock, sizeof r->sock, "%s/run/io.dompool", r->dir);
    format_fits(r->conf, sizeof r->conf, "%s/conf", r->dir);
    format_fits(r->log, sizeof r->log, "%s/log", r->dir);
    must(!mkdir(r->host_dir, 0700) && !mkdir(r->state_dir, 0700), "make directories in", r->dir);
    mount_state(r);
    format_fits(text, sizeof text, "[daemon]\nstate_dir = %s\nrun_dir = %s/run\n%s", r->state_dir,
                r->dir, settings);
    write_text(r->conf, text);
    setenv(FAKE_ENV, r->host_dir, 1);
    setenv("DOMPOOL_LIBEXEC", LIBEXEC, 1);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

void running_dispose(struct running *r)
{
    running_kill(r);
    must(!umount2(r->state_dir, MNT_DETACH), "unmount", r->state_dir); /* helpers may still end */
    must(!nftw(r->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), "remove", r->dir);
}

/* ---- the process ---- */

static pid_t spawn(const struct running *r)
{
    const char *args[] = {DAEMON, "--config", r->conf, NULL};
    pid_t pid = fork();
    must(pid >= 0, "fork", DAEMON);
    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* however the test ends */
    int log = open(r->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dup2(log, STDERR_FILENO);
    execv(DAEMON, (char *const *)args);
    _exit(127);
}

static json_t *receive(int fd)
{
    struct message_reader reader;
    json_t *reply = NULL;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    message_reader_init(&reader, 4u << 20);
    if (poll(&p, 1, PATIENCE_MS) == 1 && message_receive(fd, &reader, &reply, NULL) != 1)
        reply = NULL;
    message_reader_dispose(&reader);
    return reply;
}

static json_t *ask_on(int fd, const char *method, json_t *parameters)
{
    running_send(fd, method, parameters);
    return receive(fd);
}

/* A connection alone is no sign: a helper of a killed daemon may hold its socket for a moment. */
static bool answers(const struct running *r)
{
    int fd = running_connect(r);
    json_t *reply = fd >= 0 ? ask_on(fd, "Status", NULL) : NULL;
    fd_close(&fd);
    json_decref(reply);
    return reply != NULL;
}

void running_start(struct running *r)
{
    r->pid = spawn(r);
    for (int i = 0; i < PATIENCE_MS / 20; i++) {
        if (answers(r))
            return;
        if (!running_alive(r))
            break;
        usleep(20000);
    }
    fprintf(stderr, "the daemon does not start; see %s\n", r->log);
    exit(1);
}

void running_kill(struct running *r)
{
    if (!r->pid)
        return;
    kill(r->pid, SIGKILL);
    must(waitpid(r->pid, NULL, 0) == r->pid, "wait for", DAEMON);
    r->pid = 0;
}

bool running_alive(struct running *r)
{
    if (r->pid && waitpid(r->pid, NULL, WNOHANG) == r->pid)
        r->pid = 0;
    return r->pid != 0;
}

/* ---- its clients ---- */

int running_connect(const struct running *r)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    format_fits(address.sun_path, sizeof address.sun_path, "%s", r->sock);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0, "make", "a socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address))
        fd_close(&fd);
    return fd;
}

void running_send(int fd, const char *method, json_t *parameters)
{
    char name[80];
    format_fits(name, sizeof name, "io.dompool.%s", method);
    json_t *m = json_pack("{s:s, s:o}", "method", name, "parameters",
                          parameters ? parameters : json_object());
    (void)message_send(fd, m, NULL);
    json_decref(m);
}

json_t *running_ask(const struct running *r, const char *method, json_t *parameters)
{
    int fd = running_connect(r);
    must(fd >= 0, "connect for", method);
    json_t *reply = ask_on(fd, method, parameters);
    fd_close(&fd);
    must(reply != NULL, "no reply of", method);
    return reply;
}

/* ---- what is done to it ---- */

void running_fault(const struct running *r, const char *name, const char *word)
{
    char path[160], aside[176];
    format_fits(path, sizeof path, "%s/%s", r->host_dir, name);
    format_fits(aside, sizeof aside, "%s.new", path);
    if (!word[0]) {
        unlink(path);
        return;
    }
    write_text(aside, word);
    must(!rename(aside, path), "rename to", path);
}

void running_fill(const struct running *r, bool full)
{
    static const char zeros[4096];
    char path[100];
    format_fits(path, sizeof path, "%s/filler", r->state_dir);
    if (!full) {
        must(!unlink(path), "remove", path);
        return;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    must(fd >= 0, "create", path);
    while (write(fd, zeros, sizeof zeros) > 0)
        ;
    must(errno == ENOSPC, "fill", path);
    fd_close(&fd);
}

/* ---- what is seen of it ---- */

unsigned running_descriptors(const struct running *r)
{
    char path[40];
    unsigned n = 0;
    format_fits(path, sizeof path, "/proc/%d/fd", (int)r->pid);
    DIR *dir = opendir(path);
    must(dir != NULL, "open", path);
    for (const struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

unsigned long running_rss_kib(const struct running *r)
{
    char path[40];
    unsigned long pages;
    format_fits(path, sizeof path, "/proc/%d/statm", (int)r->pid);
    FILE *f = fopen(path, "r");
    must(f != NULL, "open", path);
    must(fscanf(f, "%*u %lu", &pages) == 1, "read", path);
    fclose(f);
    return pages * (unsigned long)sysconf(_SC_PAGESIZE) / 1024;
}

unsigned long running_file_kib(const struct running *r, const char *name)
{
    char path[100];
    struct stat st;
    format_fits(path, sizeof path, "%s/%s", r->state_dir, name);
    return stat(path, &st) ? 0 : (unsigned long)st.st_size / 1024;
}

static void copy(const struct running *r, const char *name, const char *suffix)
{
    char from[100], to[100], *bytes;
    size_t n;
    format_fits(from, sizeof from, "%s/%s%s", r->state_dir, name, suffix);
    format_fits(to, sizeof to, "%s/copy%s", r->dir, suffix);
    unlink(to);
    if (read_file(from, FILE_BYTES_MAX, &bytes, &n, NULL))
        return; /* no log */
    int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(fd >= 0 && !write_full(fd, bytes, n), "write", to);
    fd_close(&fd);
    free(bytes);
}

char *running_integrity(const struct running *r)
{
    char path[64], *said = NULL;
    sqlite3 *handle;
    sqlite3_stmt *s = NULL;
    copy(r, DATABASE, "");
    copy(r, DATABASE, "-wal");
    format_fits(path, sizeof path, "%s/copy", r->dir);
    if (sqlite3_open(path, &handle) == SQLITE_OK &&
        sqlite3_prepare_v2(handle, "PRAGMA integrity_check", -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW)
        said = strdup((const char *)sqlite3_column_text(s, 0));
    else
        said = strdup(sqlite3_errmsg(handle));
    sqlite3_finalize(s);
    sqlite3_close(handle);
    must(said != NULL, "check", path);
    return said;
}
