/*
 * A simulated world for the core: virtual time, a hypervisor that is an array, helpers that are
 * scripts, a real database file, clients in memory. Everything that takes time is an event; one
 * run is one sequence of events, the same each time.
 *
 * Faults are set by the test (struct sim_faults), or drawn from the random sequence.
 */
#ifndef TESTS_SIM_WORLD_SIM_H
#define TESTS_SIM_WORLD_SIM_H

#include "base/uuid.h"
#include "pool/core/api.h"
#include "pool/core/pool.h"

/* An assertion that stays in every build. Needs a `struct sim *s`. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            sim_violated(s, __FILE__, __LINE__, #condition);                                       \
    } while (0)

/* What becomes of a helper. */
enum sim_fate {
    FATE_GOOD,
    FATE_BUILD_FAILS,       /* before there is a domain */
    FATE_BUILD_FAILS_LATE,  /* "created", then "failed", the domain is left */
    FATE_BUILD_NO_MEMORY,   /* says NoHostMemory */
    FATE_BUILD_UNREADABLE,  /* the image's file: says ImageRefused */
    FATE_BUILD_DIES,        /* before it says anything, without a domain */
    FATE_BUILD_DIES_UNTOLD, /* the domain exists, but "created" was never said */
    FATE_BUILD_DIES_LATE,   /* after "created" */
    FATE_BUILD_DIES_NAMED,  /* likewise, before there is a domain */
    FATE_BUILD_HANGS,
    FATE_WARM_DIES, /* some time after "warm" */
    FATE_COMPLETE_FAILS,
    FATE_COMPLETE_UNREADABLE, /* like that, with the slot spoilt */
    FATE_COMPLETE_DIES,
    FATE_COMPLETE_HANGS,
    FATE_COMPLETED_HANGS, /* says "completed" and does not exit */
    FATE_NONSENSE,        /* "completed" when it should say "warm" */
    FATE_DOMID,           /* "created" with a number that is no domid */
    FATE_GARBAGE,         /* no message at all */
    FATE_NO_START,        /* cannot be started */
    FATE_REFUSED,         /* of a completion: the image, before anything is changed */
    FATE_UNREAD,          /* likewise, for a reason that may pass */
    FATE_UNPAUSED,        /* of a completion: somebody has unpaused the domain */
    FATE_DISK_CHANGED,    /* likewise: a disk of the image is not what it was */
    FATE_TURN_REFUSED,    /* the versions have no lineage in common */
    FATE_TURN_FAILS,
    FATE_TURN_DIES,
    FATE_TURN_HANGS,
    FATE_WORK_FAILS,      /* of an image helper from here on: says ImageRefused */
    FATE_WORK_FAILS_DONE, /* says "done", then "failed" */
    FATE_WORK_DIES,       /* in the middle, leaving a temporary file */
    FATE_WORK_DIES_LATE,  /* with the file whole, before it says so */
    FATE_WORK_HANGS,      /* in the middle; does not listen to a signal either */
    FATE_WORK_DONE_HANGS, /* says "done" and does not exit */
    FATE_WORK_NONSENSE,   /* "done" with a result that is none */
    FATE_COUNT
};

/* A fate, and of how many it is; 0: of all. */
struct sim_doom {
    enum sim_fate fate;
    unsigned n;
};

struct sim_faults {
    enum sim_fate fate;         /* of the slot helpers that start from now on */
    unsigned fate_for;          /* of so many of them, then FATE_GOOD; 0: of all */
    struct sim_doom turn, work; /* of what is turned, and of image helpers, from now on */
    struct sim_doom complete;   /* of completions: FATE_REFUSED to FATE_DISK_CHANGED */
    unsigned destroy_fails, destroy_hangs, list_fails, write_fails; /* the next n of them */
    unsigned reads_fail;     /* likewise, of image files when the daemon starts: the disk's fault */
    bool writes_fail;        /* all */
    unsigned random_percent; /* chance of each fault; uses sim->random */
};

struct sim_domain {
    struct list node;
    struct host_domain d;
    bool used;          /* somebody has had it */
    const char *failed; /* its disk that takes no writes any more; NULL: none */
};

struct sim_client {
    struct list node;
    struct sim *sim;
    struct conn conn;
    struct list replies; /* struct sim_reply */
    unsigned sent, answered;
    bool hung_up; /* the service wants it gone */
};

struct sim {
    struct world world;
    struct core core;
    struct service service;
    struct db *db;
    char dir[64], boot[48];
    uint64_t now_us, seq, alarm_us, random, identities;
    struct list events, domains, helpers, writes, clients;
    struct sim_faults faults;
    uint32_t next_domid;
    uint64_t free_kib;              /* of the host */
    uint64_t disk_free, disk_total; /* bytes, of copy-on-write files; total 0: unknown */
    unsigned hang_ms;               /* work that hangs goes on after this; 0: never */
    unsigned build_ms, turn_ms, complete_us, write_us, list_us, destroy_ms;
    bool started, stopped, dead;
    bool stopped_idle; /* ... and nothing that was asked of the host was left without an answer */
    bool start_only;   /* a restart runs until the daemon is ready, not on until it has its slots */
    bool restored;     /* the test restores saved domains as xl does */
    bool unchecked;    /* sim_check does nothing: the test has too many leases for it */
    bool renamed;      /* the test gives domains the names of others, as root can */
    bool damaged;      /* the test has damaged the database's file: any write may fail */
    bool orphans;      /* the test has planted domains that no slot knows */
    int start_rc;
    struct error start_error;
    unsigned moves, discarded;
    uint64_t digest;                /* of all moves of slots: when, which, from where to where */
    unsigned turned;                /* slots that were turned into another version */
    int64_t cow_max;                /* of the slot that was built last, in bytes */
    bool vif_isolation, vif_filter; /* likewise */
    char vif_script[64];            /* likewise */
    unsigned nics;                  /* interfaces of each image */
    unsigned missed;    /* files that were gone when an image helper came to read them */
    unsigned stranded;  /* domains that a killed capture has left suspended */
    json_t *asked;      /* the last message to an image helper */
    struct uuid saved;  /* of the domain whose state these have; none: it is not said */
    int input;          /* that the last image helper was given; -1: none */
    json_t *on_end;     /* of all images: what becomes of domains whose guest ends; NULL: nothing */
    json_t *disks;      /* of the images that are made from now on; NULL: one of each kind */
    json_t *missing;    /* disks that an import which fails asks for; NULL: it is refused */
    json_t *warnings;   /* that come with what image helpers have done; NULL: none */
    int64_t began_us;   /* what helpers say when they completed a slot; 0: the truth */
    json_t *stages;     /* that helpers have completed a slot in; NULL: one */
    uint64_t allocated; /* replies of Allocate that gave a lease */
};

/* Starts a daemon in a fresh directory, and runs until it is ready. config: text of a file, NULL:
 * none. */
void sim_start(struct sim *s, const char *config);
/* kill -9: the core and its helpers are gone, domains and database stay. */
void sim_crash(struct sim *s);
/* Another daemon on what is there. boot: another boot id. Asserts that it starts. */
void sim_restart(struct sim *s, const char *config, const char *boot);
/* The same, but it may fail: false, start_error says why, and then it is dead again. */
bool sim_try_restart(struct sim *s, const char *config);
/* core_stop, runs until it has stopped, and ends it in order. */
void sim_stop(struct sim *s);
/* Frees everything. */
void sim_end(struct sim *s);

/* Lets time pass, checking the invariants after each event. */
void sim_run(struct sim *s, uint64_t ms);
void sim_run_us(struct sim *s, uint64_t us);
/* Imports an image; it must succeed. base NULL: stored whole. */
void sim_image(struct sim *s, const char *name);
void sim_derive(struct sim *s, const char *name, const char *base);
/* Damages the file of an image: its digests are wrong from now on. */
void sim_image_rot(struct sim *s, const char *name);
/* Files in the directory of images. */
unsigned sim_image_files(struct sim *s);
struct pool *sim_pool(struct sim *s, const char *name);
struct entry *sim_entry(struct sim *s, const char *name);

/* ---- clients ---- */

struct sim_client *sim_connect(struct sim *s, uid_t uid);
void sim_disconnect(struct sim_client *c);
void sim_call(struct sim_client *c, const char *method, json_t *parameters);
/* The oldest reply that has come, or NULL. Caller owns it. */
json_t *sim_reply(struct sim_client *c);
/* Sends, runs up to ms, and gives the reply, which must come. */
json_t *sim_ask(struct sim_client *c, const char *method, json_t *parameters, uint64_t ms);
/* Like sim_ask; asserts that the error is io.dompool.<name>. NULL name: that it is none. */
void sim_expect(struct sim_client *c, const char *method, json_t *parameters, uint64_t ms,
                const char *name);
const char *sim_error_name(const json_t *reply); /* "" when it is no error */

/* ---- domains ---- */

struct sim_domain *sim_domain_add(struct sim *s, const char *name, const char *tag,
                                  const struct uuid *uuid);
struct sim_domain *sim_domain_find(struct sim *s, uint32_t domid);
/* Ends by itself; reason as in host.h. */
void sim_domain_shutdown(struct sim *s, uint32_t domid, unsigned reason);
/* xl destroy */
void sim_domain_destroy(struct sim *s, uint32_t domid);
/* xl unpause: nobody is told. */
void sim_domain_unpause(struct sim *s, uint32_t domid);
/* xl shutdown, or xl save, of one that does not run: it is asked, and nobody is told. */
void sim_domain_ask(struct sim *s, uint32_t domid);
/* Domains with the core's tag. */
unsigned sim_domains(struct sim *s);

uint64_t sim_random(struct sim *s, uint64_t below);

_Noreturn void sim_violated(const struct sim *s, const char *file, int line, const char *what);

/* Tests that make memory scarce override these two: between them the simulator's own
 * allocations are spared. */
bool sim_memory_spare(void);
void sim_memory_restore(bool before);

/* sim_events.c: what the others stand on. */
void *sim_alloc(size_t size); /* zeroed; never fails */
void sim_at(struct sim *s, uint64_t delay_us, void (*fire)(struct sim *s, void *arg), void *arg);
void sim_cancel(struct sim *s, const void *arg);
/* Cancels all; dispose gets the arg of those that would call fire. */
void sim_events_drop(struct sim *s, void (*fire)(struct sim *s, void *arg),
                     void (*dispose)(void *arg));
/* The next thing that happens, if it does before until_us; false: nothing more. */
bool sim_step(struct sim *s, uint64_t until_us);

bool sim_unlucky(struct sim *s, unsigned *left);
/* The image whose file this is, in its present version; or NULL. */
struct entry *sim_entry_at_path(struct sim *s, const char *path);
/* Domains have come, gone or changed: the daemon hears of it soon. */
void sim_changed(struct sim *s);

/* sim_helpers.c: helpers and image files. */
int sim_helper_start(struct world *w, enum helper_kind kind, int input,
                     const struct helper_events *events, void *owner, struct helper **out,
                     struct error *e);
void sim_helper_send(struct helper *h, const json_t *message);
void sim_helper_stop(struct helper *h);
void sim_helper_kill(struct helper *h);
/* What a slot's helper has been told to expect last: paths, borrowed; NULL: nothing. */
const json_t *sim_helper_expects(const struct helper *h);
void sim_helpers_drop(struct sim *s);
int sim_image_read(struct world *w, const char *path, struct image_facts *out, struct error *e);
void sim_images_list(struct world *w, const char *dir,
                     void (*found)(struct world *w, const char *name));
void sim_image_discard(struct world *w, const char *path);

/* sim_check.c: what must always hold. */
void sim_check(struct sim *s);
/* ... and what must hold when nothing is under way: the rows say what the core says. */
void sim_check_quiet(struct sim *s);

#endif
