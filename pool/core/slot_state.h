/*
 * States of a slot.
 *
 *   building -> warm -> completing -> leased -> releasing -> gone
 *       \        \------------------------------> releasing           (not needed any more)
 *   warm -> turning -> warm                     (written over with a new version of its image)
 *   leased -> saved -> leased | releasing       (saved by xl save; back by xl restore)
 *   leased -> kept -> leased | releasing        (its guest has ended, its domain stays)
 *   completing -> warm                          (the image was refused; nothing was changed)
 *   any state but gone -> broken -> gone        (failed: see the slot's reason)
 */
#ifndef POOL_SLOT_STATE_H
#define POOL_SLOT_STATE_H

#include "base/machine.h"

/* X(symbol, name); rows of the database and the interface have the names. */
#define SLOT_STATES(X)                                                                             \
    X(BUILDING, "building")                                                                        \
    X(WARM, "warm")                                                                                \
    X(TURNING, "turning")                                                                          \
    X(COMPLETING, "completing")                                                                    \
    X(LEASED, "leased")                                                                            \
    X(SAVED, "saved") /* leased; its domain is in a file, its disks are kept */                    \
    X(KEPT, "kept")   /* leased; its guest has ended, its domain stays as it is */                 \
    X(RELEASING, "releasing")                                                                      \
    X(BROKEN, "broken")                                                                            \
    X(GONE, "gone")

enum slot_state {
#define SLOT_ENUM(sym, name) SLOT_##sym,
    SLOT_STATES(SLOT_ENUM)
#undef SLOT_ENUM
        SLOT_STATE_COUNT
};

extern const struct machine slot_machine;

/* Borrowed, lives for ever. */
const char *slot_state_name(enum slot_state state);
/* SLOT_STATE_COUNT when the name is not known. */
enum slot_state slot_state_parse(const char *name);
bool slot_move_legal(enum slot_state from, enum slot_state to);

#endif
