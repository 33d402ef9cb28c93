/* See children.h. */
#define _GNU_SOURCE

#include "guest/children.h"

#include "guest/tree.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    TREES_MAX = 8,

    /* As wide as the limits of cpus.c and disks.c, and for the same reason. */
    TREE_LIMIT_MS = 30000,
    TREE_START_LIMIT_MS = 120000,
    POLL_MS = 10,
    NAP_LIMIT_MS = 1000,
};

/* Trees are only ever added. The lock guards the count. */
static struct {
    pthread_mutex_t lock;
    struct tree_share *shares[TREES_MAX];
    size_t count;
    size_t asked; /* trees of the present round; of the thread that checks */
} trees = {.lock = PTHREAD_MUTEX_INITIALIZER};

static char *const no_environment[] = {NULL};

static void share_ask(struct tree_share *share)
{
    __atomic_add_fetch(&share->round_asked, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &share->round_asked, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* How many processes have answered the present round, and how many of these well. */
static size_t share_answers(const struct tree_share *share, size_t *good)
{
    size_t answered = 0;
    for (uint32_t i = 0; i < share->processes; i++) {
        const struct tree_answer *a = &share->answers[i];
        if (__atomic_load_n(&a->round, __ATOMIC_ACQUIRE) != share->round_asked)
            continue;
        answered++;
        *good += a->ok != 0;
    }
    return answered;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Sleeps, and subtracts the time from *left_ms: at most NAP_LIMIT_MS, since the domain may have
 * been paused meanwhile. */
static void nap(uint64_t *left_ms)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000};
    uint64_t before = now_ms();
    nanosleep(&pause, NULL);
    uint64_t took = now_ms() - before;
    if (took > NAP_LIMIT_MS)
        took = NAP_LIMIT_MS;
    *left_ms -= took < *left_ms ? took : *left_ms;
}

static size_t share_wait(const struct tree_share *share, uint64_t *left_ms)
{
    for (;;) {
        size_t good = 0;
        if (share_answers(share, &good) == share->processes || !*left_ms)
            return good;
        nap(left_ms);
    }
}

/* Starts a program that has fd as its descriptor `as`; its pid, or -1. */
static pid_t spawn(const char *path, char *const *argv, int fd, int as)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    posix_spawn_file_actions_init(&actions);
    bool ok = !posix_spawn_file_actions_adddup2(&actions, fd, as) &&
              !posix_spawn(&pid, path, &actions, NULL, argv, no_environment);
    posix_spawn_file_actions_destroy(&actions);
    return ok ? pid : -1;
}

bool tree_start(unsigned long processes, uint64_t seed)
{
    char *argv[] = {"work-tree", NULL};
    struct tree_share *share = MAP_FAILED;
    int fd = memfd_create("tree", MFD_CLOEXEC);
    uint64_t left_ms = TREE_START_LIMIT_MS;
    bool ok = false;
    if (fd >= 0 && processes > 0 && processes <= TREE_PROCESSES_MAX && trees.count < TREES_MAX &&
        !ftruncate(fd, sizeof *share))
        share = mmap(NULL, sizeof *share, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (share != MAP_FAILED) {
        share->seed = seed;
        share->processes = (uint32_t)processes;
        share_ask(share);
        ok = spawn("/bin/work-tree", argv, fd, TREE_FD) > 0 &&
             share_wait(share, &left_ms) == processes;
    }
    if (fd >= 0)
        close(fd);
    if (ok) {
        pthread_mutex_lock(&trees.lock);
        trees.shares[trees.count++] = share;
        pthread_mutex_unlock(&trees.lock);
    }
    return ok;
}

size_t trees_size(void)
{
    size_t n = 0;
    pthread_mutex_lock(&trees.lock);
    for (size_t i = 0; i < trees.count; i++)
        n += trees.shares[i]->processes;
    pthread_mutex_unlock(&trees.lock);
    return n;
}

void trees_ask(void)
{
    pthread_mutex_lock(&trees.lock);
    trees.asked = trees.count;
    pthread_mutex_unlock(&trees.lock);
    for (size_t i = 0; i < trees.asked; i++)
        share_ask(trees.shares[i]);
}

size_t trees_wait(void)
{
    uint64_t left_ms = TREE_LIMIT_MS;
    size_t good = 0;
    for (size_t i = 0; i < trees.asked; i++)
        good += share_wait(trees.shares[i], &left_ms);
    return good;
}

/* The number in what free-pages prints; -1 when it is not that. */
static long read_filled(int fd)
{
    FILE *f = fdopen(fd, "re");
    if (!f) {
        close(fd);
        return -1;
    }
    long mib = -1;
    if (fscanf(f, "free-pages: filled %ld MiB", &mib) != 1)
        mib = -1;
    fclose(f);
    return mib;
}

long free_pages_run(const char *arg)
{
    char *argv[] = {"free-pages", (char *)arg, NULL};
    int out[2];
    if (pipe2(out, O_CLOEXEC))
        return -1;
    pid_t pid = spawn("/bin/free-pages", argv, out[1], STDOUT_FILENO);
    close(out[1]);
    long mib = read_filled(out[0]);
    int status;
    if (pid > 0 && waitpid(pid, &status, 0) == pid && !status)
        return mib;
    return -1;
}
