/*
 * What a lease is called: its id and its name, each found by itself. A name stands for one domain
 * on the host: nobody gets one that a domain or another lease has. By `xl rename` two leases may
 * come to the same one for a while.
 */
#ifndef POOL_LABEL_H
#define POOL_LABEL_H

#include "pool/core/ground.h"

#include <sys/types.h>

struct label {
    struct hash_node by_id, by_name; /* in core->tables, once it has one */
    uint64_t id;                     /* 0: none yet */
    char name[DB_NAME_SIZE];         /* "": none yet */
};

void label_init(struct label *label);
/* Nobody finds it any more. Harmless when nobody did. */
void label_dispose(struct label *label, struct core *core);

/* Once. */
void label_set_id(struct label *label, struct core *core, uint64_t id);
/* Also another one; "": none. */
void label_set_name(struct label *label, struct core *core, const char *name);
/* <prefix of the user's names><image>-l<id>, with a number behind it if that is taken. Of a long
 * image name as much as leaves room for both. */
void label_choose_name(struct label *label, struct core *core, uid_t uid, const char *image);
/* May this user ask for this name? 0, ANSWER_BAD_VALUE, ANSWER_NAME_IN_USE or
 * ANSWER_NOT_PERMITTED. */
int label_check_name(const struct core *core, uid_t uid, const char *name, struct error *e);

/* NULL: nobody is called so. */
struct label *label_of_id(const struct core *core, uint64_t id);
/* The first one of this name, and the next one; NULL: no more. */
struct label *label_named(const struct core *core, const char *name);
struct label *label_next_named(const struct core *core, const struct label *label);

#endif
