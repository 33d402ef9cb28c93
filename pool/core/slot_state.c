/* States of a slot: see slot_state.h. */
#include "pool/core/slot_state.h"

static const char *const names[] = {
#define SLOT_NAME(sym, name) [SLOT_##sym] = (name),
    SLOT_STATES(SLOT_NAME)
#undef SLOT_NAME
};

/* The diagram of slot_state.h. */
#define TO(sym) (1u << SLOT_##sym)
static const unsigned successors[] = {
    [SLOT_BUILDING] = TO(WARM) | TO(RELEASING) | TO(BROKEN),
    [SLOT_WARM] = TO(TURNING) | TO(COMPLETING) | TO(RELEASING) | TO(BROKEN),
    [SLOT_TURNING] = TO(WARM) | TO(RELEASING) | TO(BROKEN),
    [SLOT_COMPLETING] = TO(LEASED) | TO(WARM) | TO(BROKEN),
    [SLOT_LEASED] = TO(SAVED) | TO(KEPT) | TO(RELEASING) | TO(BROKEN),
    [SLOT_SAVED] = TO(LEASED) | TO(RELEASING) | TO(BROKEN),
    [SLOT_KEPT] = TO(LEASED) | TO(RELEASING) | TO(BROKEN),
    [SLOT_RELEASING] = TO(GONE) | TO(BROKEN),
    [SLOT_BROKEN] = TO(GONE),
    [SLOT_GONE] = 0,
};
#undef TO

const struct machine slot_machine = {"slot", names, successors, SLOT_STATE_COUNT};

const char *slot_state_name(enum slot_state state)
{
    return machine_name(&slot_machine, state);
}

enum slot_state slot_state_parse(const char *name)
{
    return (enum slot_state)machine_find(&slot_machine, name);
}

bool slot_move_legal(enum slot_state from, enum slot_state to)
{
    return machine_allows(&slot_machine, from, to);
}
