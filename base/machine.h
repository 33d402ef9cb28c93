/*
 * A state machine as a table: the names of its states, and for each state a bit set of those that
 * may come next. Whoever owns a state moves it through machine_step alone, so a move that is not in
 * the diagram cannot happen unseen.
 */
#ifndef BASE_MACHINE_H
#define BASE_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

struct machine {
    const char *what;           /* of whom: "slot" */
    const char *const *names;   /* by state */
    const unsigned *successors; /* by state: bit n is set when state n may come next */
    unsigned n;                 /* states, 32 at most */
};

/* Name of a state; "?" for a number that is none. Borrowed, lives for ever. */
const char *machine_name(const struct machine *m, unsigned state);
/* State of that name, m->n when no state has it. */
unsigned machine_find(const struct machine *m, const char *name);
/* Whether the table has an arrow from one to the other. */
bool machine_allows(const struct machine *m, unsigned from, unsigned to);
/* Returns `to`. A move that the table does not have is a fault in this program: it is logged with
 * the owner's id, and the process aborts. A restart puts things in order. */
unsigned machine_step(const struct machine *m, unsigned from, unsigned to, uint64_t id);

#endif
