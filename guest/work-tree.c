/*
 * work-tree: a tree of processes that never rest, for the test guest's command `work tree N`.
 *
 * Each process has a parent, up to two children, and a few pages filled with a pattern that follows
 * from a seed and the process's number. Between checks it churns: it maps memory, touches it, forks
 * a child that writes to its copy and ends, and unmaps. So page tables of every level come and go
 * all the time, and a save finds them in the middle of it. When guest asks (tree.h), each process
 * verifies its own pages and answers.
 *
 * A program of its own, because guest has threads, and a child forked from among threads may do
 * next to nothing.
 */
#define _GNU_SOURCE

#include "guest/pattern.h"
#include "guest/tree.h"

#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    OWN_PAGES = 8,

    /* More than the 2 MiB that one L1 table maps, so that tables come and go, not only entries. */
    CHURN_BYTES = 5 * 1024 * 1024,
    CHURN_STRIDE = 256 * 1024,

    /* All processes together take about this long between two churns: a fork costs an emulated
       processor tens of milliseconds, and ticks and checks need it too. */
    CHURN_MS = 250,
};

static void *map_bytes(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static uint64_t own_seed(const struct tree_share *share, uint32_t number, size_t page)
{
    return mix(share->seed ^ mix((uint64_t)number << 32 | page));
}

/* True when every process of the churn did what it should; memory that is short is no failure. */
static bool churn(void)
{
    uint8_t *p = map_bytes(CHURN_BYTES);
    if (!p)
        return true;
    for (size_t i = 0; i < CHURN_BYTES; i += CHURN_STRIDE)
        p[i] = (uint8_t)(i / CHURN_STRIDE + 1);
    pid_t pid = fork();
    if (!pid) {
        for (size_t i = 0; i < CHURN_BYTES; i += 2 * CHURN_STRIDE)
            p[i]++;
        _exit(p[CHURN_STRIDE] == 2 && p[0] == 2 ? 0 : 1);
    }
    int status = 0;
    if (pid > 0 && waitpid(pid, &status, 0) != pid)
        status = 1;
    for (size_t i = 0; i < CHURN_BYTES; i += CHURN_STRIDE)
        if (p[i] != (uint8_t)(i / CHURN_STRIDE + 1))
            status = 1;
    munmap(p, CHURN_BYTES);
    return !status;
}

static bool pages_hold(const struct tree_share *share, uint32_t number, const uint64_t *pages)
{
    bool ok = true;
    for (size_t i = 0; i < OWN_PAGES; i++)
        if (!page_holds(pages + i * PAGE_WORDS, own_seed(share, number, i)))
            ok = false;
    return ok;
}

/* Until a round after the given one is asked for, or it is time to churn. */
static void wait_for_round(struct tree_share *share, uint32_t round)
{
    long ms = (long)share->processes * CHURN_MS;
    struct timespec limit = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    syscall(SYS_futex, &share->round_asked, FUTEX_WAIT, round, &limit, NULL, 0);
}

/* The life of one process. */
static _Noreturn void live(struct tree_share *share, uint32_t number)
{
    struct tree_answer *answer = &share->answers[number];
    uint64_t *pages = map_bytes(OWN_PAGES * PAGE_BYTES);
    if (!pages)
        exit(EXIT_FAILURE);
    bool churns_ok = true;
    for (size_t i = 0; i < OWN_PAGES; i++)
        page_fill(pages + i * PAGE_WORDS, own_seed(share, number, i));
    for (;;) {
        uint32_t asked = __atomic_load_n(&share->round_asked, __ATOMIC_ACQUIRE);
        if (asked != __atomic_load_n(&answer->round, __ATOMIC_RELAXED)) {
            answer->ok = churns_ok && pages_hold(share, number, pages);
            __atomic_store_n(&answer->round, asked, __ATOMIC_RELEASE);
        }
        wait_for_round(share, asked);
        churns_ok = churn() && churns_ok;
    }
}

/* Starts the tree below process 0; returns in every process of it, with its number. */
static uint32_t grow(const struct tree_share *share)
{
    uint32_t number = 0, child = 1;
    while (child <= 2 * number + 2 && child < share->processes) {
        if (fork()) {
            child++;
            continue;
        }
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        number = child;
        child = 2 * number + 1;
    }
    return number;
}

int main(void)
{
    struct tree_share *share =
        mmap(NULL, sizeof *share, PROT_READ | PROT_WRITE, MAP_SHARED, TREE_FD, 0);
    if (share == MAP_FAILED || !share->processes || share->processes > TREE_PROCESSES_MAX)
        return EXIT_FAILURE;
    live(share, grow(share));
}
