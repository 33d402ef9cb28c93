/*
 * Rows: what the core knows, written down.
 *
 * Writes are committed by another thread in the order in which they are started, each in a
 * transaction. Most are sent off and forgotten: a row that lags is repaired at the next start,
 * since a restart destroys whatever is not leased. Two are waited for: the row of a slot before
 * anything is built (or a kill between would leave a domain that no row knows), and the rows of a
 * lease before its caller is answered.
 *
 * When a write fails the database counts as failing: leased domains run on, releases work, but no
 * lease is given and nothing is built. Every second all live rows are written again; when that
 * works, all is as if nothing had happened: whatever else was refused meanwhile has changed
 * nothing.
 */
#ifndef POOL_ROWS_H
#define POOL_ROWS_H

#include "pool/core/ground.h"

/* Operations that are to be committed together, ROWS_MAX at most. */
#define ROWS_MAX 8
struct rows;

/* NULL: out of memory; every call below takes that. */
struct rows *rows_new(struct core *core);
/* Room for more. */
struct rows *rows_new_sized(struct core *core, size_t size);

/* One more operation, zeroed, to be filled in by its noun. NULL when r is. */
struct db_op *rows_add(struct rows *r, enum db_op_kind kind);
/* There was no memory for a part of it: it will not be written. */
void rows_spoil(struct rows *r);

void rows_image(struct rows *r, const struct image_row *image);
void rows_image_gone(struct rows *r, const struct image_row *image);
/* A file that no row names any more may be removed, then or at the next start. */
void rows_discard(struct rows *r, const char *file);

/* Commits and frees r; then(owner, rc, text), which may be NULL, comes later. False: it could not
 * even be started (r may be NULL), the database counts as failing and then is not called. */
bool rows_commit(struct core *core, struct rows *r,
                 void (*then)(void *owner, int rc, const struct error *e), void *owner);

#endif
