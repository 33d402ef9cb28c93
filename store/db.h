/*
 * The daemon's database. Images and settings survive a power cut once their db_apply has returned;
 * slots and leases survive the daemon, not the host. One SQLite file in the state directory:
 *
 *   image    name -> file, identity
 *   discard  image files to be removed: replaced, or of an image that was removed
 *   slot     one row for each domain of the pool, from before it is created until it is gone
 *   lease    who has which slot; ended ones are kept for a while as history
 *   setting  what `pool set` changed
 *   counter  the next slot and lease number: numbers are never used twice
 *   fact     the daemon's tag and the boot of the host that the slots belong to
 *
 * Rows are plain structs that are written whole ("put"): a change of state is one
 * db_apply of one or several operations in one transaction, and writing every live row
 * again is always a correct repair after an error. The calls block and a struct db belongs
 * to one thread at a time; the daemon gives it to a thread of its own (pool/service/world_host.c).
 */
#ifndef STORE_DB_H
#define STORE_DB_H

#include "base/error.h"
#include "base/mac.h"
#include "base/uuid.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DB_NAME_SIZE 64
#define DB_REASON_SIZE 256
#define DB_TAG_SIZE 16
#define DB_TRACE_SIZE 8192     /* of a lease's trace, with its NUL */
#define DB_LEASE_HISTORY 10000 /* ended leases kept, newest first */
#define DB_NO_DOMID (-1)

struct image_row {
    char name[DB_NAME_SIZE];
    char file[64];    /* in the images directory */
    struct uuid id;   /* the content's, struct image_info */
    struct uuid base; /* all zero: stored whole */
    int64_t created_ms;
    bool removing; /* to be removed once its slots are gone */
};

struct discard_row {
    char file[64];
};

struct slot_row {
    uint64_t id;
    struct uuid uuid;
    char image[DB_NAME_SIZE]; /* "": a domain of ours that no row knew */
    char state[16];
    char engine[16];
    int64_t domid; /* DB_NO_DOMID: not known */
    char name[DB_NAME_SIZE];
    int64_t since_ms;
    char reason[DB_REASON_SIZE];
    struct macs macs;
};

struct lease_row {
    uint64_t id;
    uint64_t slot; /* 0: its slot's row is gone */
    char image[DB_NAME_SIZE];
    uint32_t owner_uid;
    char name[DB_NAME_SIZE];
    int64_t created_ms;
    int64_t expires_ms; /* 0: no deadline */
    bool hold, paused;
    char *meta;       /* JSON object, malloc'd; NULL: none */
    int64_t ended_ms; /* 0: alive */
    char end_reason[DB_REASON_SIZE];
    char *trace; /* JSON object, malloc'd; NULL: none. Written when there is one, else as it was */
};

/* What is known of one lease, alive or ended. */
struct lease_lookup {
    uint64_t id;             /* in; 0: by name */
    char name[DB_NAME_SIZE]; /* in: of the ended leases with this name the newest is meant */
    uint32_t owner_uid;      /* in, by name: of those of this user; 0: of all */

    int rc; /* -EUCLEAN: its row is malformed; -EIO and the like */
    struct error error;
    bool found;
    struct lease_row row; /* without meta. The caller frees row.trace, also after an error */
};

struct setting_row {
    char image[DB_NAME_SIZE];
    char key[32];
    char value[128];
};

/* Everything that is alive, as found when the daemon starts. */
struct db_rows {
    struct image_row *images;
    struct discard_row *discards;
    struct slot_row *slots;
    struct lease_row *leases; /* not ended */
    struct setting_row *settings;
    size_t n_images, n_discards, n_slots, n_leases, n_settings;
    uint64_t next_slot, next_lease;
    char tag[DB_TAG_SIZE]; /* "dp-1a2b3c4d", made once for each state directory */
};

enum db_op_kind {
    DB_IMAGE_PUT,
    DB_IMAGE_DELETE,  /* image.name; its settings go with it */
    DB_DISCARD_PUT,   /* discard.file */
    DB_DISCARD_CLEAR, /* they are gone */
    DB_SLOT_PUT,
    DB_SLOT_DELETE, /* slot.id */
    DB_LEASE_PUT,   /* alive or ended */
    DB_LEASE_FIND, /* reads, in its turn among the writes. It fails in *lookup alone: a history that
                      cannot be read is no reason to give no leases */
    DB_SETTING_PUT,
    DB_SETTING_DELETE, /* setting.image, setting.key */
    DB_LIVE_CLEAR      /* forgets all slots and ends all leases: the first step of a repair */
};

struct db_op {
    enum db_op_kind kind;
    union {
        struct image_row image;
        struct discard_row discard;
        struct slot_row slot;
        struct lease_row lease;
        struct setting_row setting;
        struct lease_lookup *lookup; /* borrowed */
    };
};

struct db;

/*
 * Opens or creates path, migrates it to this version's schema, and closes the rows that
 * belong to another boot of the host (boot_id; domains do not survive a host). Negative on
 * failure; a file of a newer schema is refused and left as it is.
 */
int db_open(const char *path, const char *boot_id, struct db **out, struct error *e);
/* Checkpoints and closes. NULL is fine. */
void db_close(struct db *db);

/* Reads everything that is alive, without traces. Caller disposes *out, also after an error. */
int db_load(struct db *db, struct db_rows *out, struct error *e);
void db_rows_dispose(struct db_rows *rows);

/* All operations in one transaction, or none. When one of them is about an image or a setting, it
 * is on the disk when this returns; others are not synced. -ENOSPC: the disk is full. */
int db_apply(struct db *db, const struct db_op *ops, size_t n, struct error *e);
/* Frees what an operation owns (a lease's meta and trace). */
void db_op_dispose(struct db_op *op);

/* How long the next commit may be expected to wait for what is done now. */
enum db_moment {
    DB_BUSY,  /* somebody waits for the next commit */
    DB_QUIET, /* nobody does, just now */
    DB_REST   /* nobody has for a second */
};

/* Moves the log into the database file when it has grown to more than this moment allows: this is
 * where the syncs are. To be called after each db_apply, and at rest. The log's file stays below
 * 32 MiB, plus what one transaction writes, unless somebody reads in the file for long. */
void db_tend(struct db *db, enum db_moment moment);

#endif
