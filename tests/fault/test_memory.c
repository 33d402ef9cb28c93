/*
 * The daemon's core with scarce memory: a run of everyday requests is repeated, and in each run
 * another allocation fails, until a run needs no more of them than have failed before. Each time
 * every request is answered (or its client is disconnected), and afterwards nothing is lost, leaked
 * or half-made: the pool fills again, the rows say what the core says.
 */
#include "base/log.h"
#include "tests/sim/world_sim.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the allocator: --wrap on the linker's command line, and jansson's hook ---- */

static long left = -1; /* allocations until the one that fails; -1: none does */
static bool spared;
static unsigned long counted;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *text);
int __real_vasprintf(char **out, const char *fmt, va_list ap);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *text);
int __wrap_vasprintf(char **out, const char *fmt, va_list ap);

static bool fails(void)
{
    if (spared || left < 0)
        return false;
    counted++;
    return left-- == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails() ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

int __wrap_vasprintf(char **out, const char *fmt, va_list ap)
{
    return fails() ? -1 : __real_vasprintf(out, fmt, ap);
}

bool sim_memory_spare(void)
{
    bool before = spared;
    spared = true;
    return before;
}

void sim_memory_restore(bool before)
{
    spared = before;
}

static void arm(long n)
{
    left = n;
    counted = 0;
    spared = false;
}

/* True when the failure has been used up: the run needed that many allocations. */
static bool disarm(void)
{
    bool used = left < 0;
    left = -1;
    spared = false;
    return used;
}

/* ---- the runs ---- */

static struct sim sim;
static const char config[] = "complete_timeout = 1s\nbuild_timeout = 5s\n[pool]\nmin = 2\n";

/* What json_pack makes for a request must not be what fails: the test is its client. */
static void ask(struct sim_client *c, const char *method, json_t *parameters)
{
    sim_memory_restore(false);
    sim_call(c, method, parameters);
    sim_memory_spare();
}

static void everyday(struct sim_client *a, struct sim_client *b)
{
    sim_memory_spare();
    ask(a, "Allocate",
        json_pack("{s:s, s:i, s:i, s:{s:s}}", "image", "fire", "wait_ms", 9000, "ttl_ms", 5000,
                  "meta", "k", "v"));
    ask(b, "Allocate", json_pack("{s:s, s:b, s:i}", "image", "fire", "hold", 1, "wait_ms", 9000));
    sim_run(&sim, 5);
    ask(a, "PoolSet",
        json_pack("{s:s, s:{s:s, s:s}}", "image", "fire", "settings", "min", "3", "engine",
                  "guest"));
    ask(b, "List", NULL);
    ask(b, "Trace", json_pack("{s:s}", "lease", "l1"));
    ask(a, "PoolWait", json_pack("{s:i}", "timeout_ms", 3000));
    ask(b, "Status", NULL);
    ask(b, "ConfigShow", NULL);
    ask(b, "ImageShow", json_pack("{s:s}", "name", "fire"));
    sim_run(&sim, 3500);
    ask(a, "ImageImport", json_pack("{s:s, s:s}", "name", "ice", "path", "/x"));
    sim_run(&sim, 2000);
    ask(a, "Release", json_pack("{s:b}", "all", 1));
    ask(b, "Release", json_pack("{s:[s]}", "leases", "l2"));
    sim_run(&sim, 2000);
    ask(a, "Trace", json_pack("{s:s}", "lease", "l2"));
    ask(a, "ImageRemove", json_pack("{s:s}", "name", "ice"));
    ask(b, "PoolSet", json_pack("{s:s, s:{s:s}}", "image", "fire", "settings", "min", "1"));
    sim_run(&sim, 8000);
    sim_memory_restore(false);
}

static void must(bool ok, long n, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "with allocation %ld failing: %s\n", n, what);
    abort();
}

static void recover(long n, const struct sim_client *a, const struct sim_client *b)
{
    must(a->hung_up || a->answered == a->sent, n, "a request was not answered");
    must(b->hung_up || b->answered == b->sent, n, "a request was not answered");
    sim_run(&sim, 400000);
    struct sim_client *root = sim_connect(&sim, 0);
    sim_expect(root, "Release", json_pack("{s:b}", "all", 1), 60000, NULL);
    sim_expect(root, "Allocate", json_pack("{s:s, s:i}", "image", "fire", "wait_ms", 60000), 60000,
               NULL);
    sim_expect(root, "Release", json_pack("{s:b}", "all", 1), 60000, NULL);
    sim_run(&sim, 400000);
    const struct pool *p = sim_pool(&sim, "fire");
    must(p && p->set.total == p->settings.min && p->set.total == p->set.count[SLOT_WARM], n,
         "pool not full");
    sim_check_quiet(&sim);
}

static bool run_everyday(long n)
{
    sim_start(&sim, config);
    sim_image(&sim, "fire");
    sim_run(&sim, 5000);
    struct sim_client *a = sim_connect(&sim, 0), *b = sim_connect(&sim, 0);
    arm(n);
    everyday(a, b);
    bool used = disarm();
    recover(n, a, b);
    sim_end(&sim);
    return used;
}

/* What is done with images, on both of them at once. */
static void images(struct sim_client *a, struct sim_client *b)
{
    sim_memory_spare();
    ask(a, "ImageImport",
        json_pack("{s:s, s:s, s:s}", "name", "mist", "path", "/x", "base", "fire"));
    ask(b, "Allocate", json_pack("{s:s, s:i}", "image", "fire", "wait_ms", 9000));
    sim_run(&sim, 2000);
    ask(b, "ImageCapture",
        json_pack("{s:s, s:s, s:s}", "name", "snow", "domain", "l1", "base", "fire"));
    ask(a, "Allocate", json_pack("{s:s, s:i}", "image", "mist", "wait_ms", 9000));
    sim_run(&sim, 2000);
    ask(a, "ImageVerify", json_pack("{s:s}", "name", "fire"));
    ask(b, "ImageDiff", json_pack("{s:s, s:s}", "a", "fire", "b", "mist"));
    sim_run(&sim, 2000);
    ask(a, "ImageExport", json_pack("{s:s, s:s}", "name", "mist", "path", "/y"));
    ask(b, "Release", json_pack("{s:b}", "all", 1));
    sim_run(&sim, 2000);
    ask(a, "ImageRemove", json_pack("{s:s}", "name", "mist"));
    ask(b, "ImageRemove", json_pack("{s:s}", "name", "snow"));
    sim_run(&sim, 2000);
    ask(a, "ImageImport", json_pack("{s:s, s:s, s:b}", "name", "fire", "path", "/x", "replace", 1));
    sim_run(&sim, 3000);
    sim_memory_restore(false);
}

static bool run_images(long n)
{
    sim_start(&sim, config);
    sim_image(&sim, "fire");
    sim_run(&sim, 5000);
    struct sim_client *a = sim_connect(&sim, 0), *b = sim_connect(&sim, 0);
    arm(n);
    images(a, b);
    bool used = disarm();
    recover(n, a, b);
    sim_end(&sim);
    return used;
}

/* A start that fails leaves all as it was for the next one. */
static bool run_start(long n)
{
    sim_start(&sim, config);
    sim_image(&sim, "fire");
    sim_derive(&sim, "mist", "fire");
    sim_run(&sim, 5000);
    struct sim_client *c = sim_connect(&sim, 0);
    sim_expect(c, "Allocate", json_pack("{s:s, s:{s:s}}", "image", "fire", "meta", "k", "v"), 1000,
               NULL);
    sim_run(&sim, 5000);
    sim_crash(&sim);
    arm(n);
    bool started = sim_try_restart(&sim, config);
    bool used = disarm();
    if (!started)
        sim_restart(&sim, config, NULL);
    must(sim_pool(&sim, "fire")->set.count[SLOT_LEASED] == 1, n, "a lease was lost");
    sim_run(&sim, 400000);
    must(sim_pool(&sim, "fire")->set.count[SLOT_WARM] == 2, n, "pool not full");
    sim_check_quiet(&sim);
    sim_end(&sim);
    return used;
}

static void repeat(bool (*run)(long n), const char *what, long step)
{
    long n = 0;
    for (; run(n); n += step)
        ;
    printf("%s: a run makes %lu allocations\n", what, counted);
}

/* Argument: only every n-th allocation, for slow tools such as valgrind. */
int main(int argc, char **argv)
{
    long step = argc > 1 ? atol(argv[1]) : 1;
    int null = open("/dev/null", O_WRONLY);
    log_init("test", LOG_LEVEL_ERROR);
    if (!getenv("V"))
        dup2(null, STDERR_FILENO); /* each failure is logged, thousands of times */
    close(null);
    json_set_alloc_funcs(__wrap_malloc, free);
    repeat(run_start, "start", step);
    repeat(run_everyday, "everyday", step);
    repeat(run_images, "images", step);
    return 0;
}
