/*
 * Every key that xl writes into a save file of a PV or PVH guest (Xen's
 * tools/libs/light/libxl_types.idl, 4.17 to 4.22), and what becomes of it here. dompoold(8) and the
 * reader have the same table: a key is taken, has no effect for a reason, or is refused by its
 * name.
 */
#ifndef RESTORE_DOMCONF_KEYS_H
#define RESTORE_DOMCONF_KEYS_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* X(symbol, how the object is called in texts) */
#define KEY_PLACES(X)                                                                              \
    X(TOP, "")                                                                                     \
    X(C_INFO, "c_info")                                                                            \
    X(B_INFO, "b_info")                                                                            \
    X(PV, "b_info.type.pv")                                                                        \
    X(PVH, "b_info.type.pvh")                                                                      \
    X(X86, "b_info.arch_x86")                                                                      \
    X(SCHED, "b_info.sched_params")                                                                \
    X(DISK, "disks")                                                                               \
    X(NIC, "nics")

enum key_place {
#define KEY_PLACE_ENUM(sym, name) KEY_##sym,
    KEY_PLACES(KEY_PLACE_ENUM)
#undef KEY_PLACE_ENUM
        KEY_PLACES_COUNT
};

enum key_fate {
    KEY_TAKEN,   /* the domain gets it, as with xl restore; bad values are refused */
    KEY_NOTHING, /* it has no effect on a restored domain */
    KEY_REFUSED, /* with any value besides the harmless one and "nothing" */
};

struct domconf_key {
    enum key_place place;
    enum key_fate fate;
    const char *key;      /* a * at its end stands for anything */
    const char *harmless; /* KEY_REFUSED: a value that is fine, or NULL */
    const char *why;      /* what it becomes; why nothing; why refused and what to do */
};

extern const struct domconf_key domconf_keys[];
extern const size_t domconf_keys_count;

/* The row of a key, or NULL. */
const struct domconf_key *domconf_key_find(enum key_place place, const char *key);

/* Whether a value may stand under this key, k NULL: one that the table does not have. Nothing is
 * lost with it, or the key is not refused. */
bool domconf_key_allows(const struct domconf_key *k, const json_t *v);

/* True for values that libxl would leave out, or that change nothing. */
bool domconf_value_is_nothing(const json_t *v);

/* "c_info" and so on; "" for the top. Static. */
const char *key_place_name(enum key_place place);

/*
 * Whether nothing is lost: every key of the object is in the table and none is refused. o may be
 * NULL, for an object that is not there. Objects in it are for the caller. ANSWER_IMAGE_REFUSED,
 * naming the key, for one that is refused, or that the table does not have and whose value is not
 * empty. Of a disk or an interface the text begins with the key: its caller says which one it is.
 */
int domconf_keys_check(const json_t *o, enum key_place place, struct error *e);

#endif
