/*
 * The catalog: the images that there are. An entry is one image: its row, what is known of its
 * file, whether that file can be trusted, and the files of the versions before. The slots made of
 * an image are its pool's (pool.h).
 *
 *   unverified <-> checking -> sound         digests of files that were there at the daemon's start
 *   unverified, checking, sound -> damaged   its file cannot be used, for good
 *   any of these -> sound                    replaced by a new version, checked as it came
 *   any of these -> marking -> removing      that it is to go is on record; its slots go
 *   marking -> what it was before            that could not be recorded
 *   removing <-> erasing -> (freed)          its row goes last
 *
 * A derived image is stored as what differs from its base, and served by the slots of that base.
 */
#ifndef POOL_CATALOG_H
#define POOL_CATALOG_H

#include "base/uuid.h"
#include "pool/core/failures.h"

enum entry_state {
    ENTRY_UNVERIFIED,
    ENTRY_CHECKING,
    ENTRY_SOUND,
    ENTRY_DAMAGED,
    ENTRY_MARKING,
    ENTRY_REMOVING,
    ENTRY_ERASING,
    ENTRY_STATE_COUNT
};

/* Path of an image's file, with its NUL. */
#define IMAGE_PATH_SIZE 400

struct pool;
struct old_file;

struct entry {
    struct core *core;
    struct list in_core;
    struct image_row row;
    struct image_facts facts;
    enum entry_state state;
    enum entry_state before;     /* marking: what it goes back to */
    char damage[DB_REASON_SIZE]; /* damaged: why */
    struct failures checks;      /* of its file, when the daemon had started */
    struct failures completions; /* of slots that were to become it, in a row for one reason */
    struct list old;             /* files of versions that were replaced */
    struct entry *base;          /* NULL: it is stored whole, or its base is missing */
    struct pool *own;            /* of its own slots; a derived image's is empty, once those that it
                                    had before it was derived are gone */
    struct pool *pool;           /* whose slots serve it: its base's, or its own */
    struct list removals;        /* callers of ImageRemove */
    unsigned leases;             /* of this image, those that wait for a slot included */
    uint64_t ttl_ms, backoff_ms, backoff_max_ms; /* as configured for it */
    enum on_end on_end;                          /* likewise */
    uint64_t used_us;  /* when it was allocated last, 0: not since the daemon started */
    bool prefetch_due; /* what its slots should open ahead may have changed */
};

static inline struct entry *entry_at(struct list *node)
{
    return container_of(node, struct entry, in_core);
}

/* Adds an entry; facts' config becomes the entry's. Its pool is for the caller to make, who then
 * calls entries_link. state: where it starts; one whose row says so starts as being removed. NULL:
 * no memory. */
struct entry *entry_new(struct core *core, const struct image_row *row, struct image_facts *facts,
                        enum entry_state state);
/* Takes it out. Files stay. The caller calls entries_link if the core goes on. */
void entry_free(struct entry *im);
/* Finds the base of every derived image, and whose slots serve it; after images came or went. */
void entries_link(struct core *core);
/* Takes the settings from the configuration anew. */
void entry_configure(struct entry *im);

/* NULL: none has the name. One that is being removed is found, too. */
struct entry *entry_find(const struct core *core, const char *name);
/* Likewise by the id of its content. */
struct entry *entry_of_id(const struct core *core, const struct uuid *id);
/* Likewise. ANSWER_NO_SUCH_IMAGE. */
int entry_look_up(const struct core *core, const char *name, struct entry **out, struct error *e);
/* One that can be worked with, which is not being removed. ANSWER_NO_SUCH_IMAGE. */
int entry_need(const struct core *core, const char *name, struct entry **out, struct error *e);
/* Its disks as a request names them: {"xvda": "cow:/dev/vg0/web"}. New reference; NULL: no
 * memory. */
json_t *entry_disks(const struct entry *im);
/* Path of its file. */
void entry_path(const struct entry *im, char buf[IMAGE_PATH_SIZE]);

/* Whether its row names a base, be it there or not. */
bool entry_is_derived(const struct entry *im);
/* Marking, removing or erasing. */
bool entry_is_going(const struct entry *im);
/* Unverified or checking: the digests of its file have not been found right yet. */
bool entry_is_unchecked(const struct entry *im);
/* Whether images are derived from it, or are just being recorded; their names into text, for a
 * message. */
bool entry_has_derived(const struct entry *im, char *text, size_t size);
/* No slot may become an image whose file is not checked: true when it and all that is derived from
 * it are. One that cannot be checked does not hold up the others: whoever wants it is refused. */
bool entry_family_checked(const struct entry *im);
/* 0, or ANSWER_IMAGE_BROKEN or the host's trouble with the reason: its file is damaged or could not
 * be checked several times in a row, or slots failed to become it and the pause after that is not
 * over. */
int entry_check(const struct entry *im, struct error *e);

/* Moves by the diagram above. */
void entry_move(struct entry *im, enum entry_state to);
/* Its file cannot be used, for good. */
void entry_damaged(struct entry *im, const char *text);
/* A slot has become it. */
void entry_completed(struct entry *im);
/* A slot failed while it became the image. What the host lacks is not the image's fault and does
 * not count; nor does one slot's failure of its own. */
void entry_completion_failed(struct entry *im, int answer, const char *text);
/* It is being allocated. */
void entry_used(struct entry *im);
/* What warm slots that may become it should open ahead may have changed. Does nothing at once. */
void entry_changed(struct entry *im);

/* To remember the file of the version before. NULL: no memory. free() it if it is not needed. */
struct old_file *old_file_new(void);
struct old_file {
    struct list node; /* entry.old */
    struct uuid id;   /* row.id of that version */
    char path[IMAGE_PATH_SIZE];
};
/* The new version is on record: row, facts' config and old become the entry's. */
void entry_replace(struct entry *im, const struct image_row *row, struct image_facts *facts,
                   struct old_file *old);
/* Removes one file, or all, of versions that were replaced. */
void old_file_discard(struct entry *im, struct old_file *old);
void entry_discard_old(struct entry *im);

#endif
