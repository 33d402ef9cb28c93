/*
 * Removing an image, the method ImageRemove: its row says so first, so that a restart goes on with
 * it; then its slots go, then its row, then its file, then the callers are answered.
 */
#ifndef POOL_REMOVE_CALL_H
#define POOL_REMOVE_CALL_H

#include "pool/core/catalog.h"
#include "pool/service/varlink.h"

/* Answers or defers the call. */
const struct answered *remove_call(struct core *core, struct call *call, const char *image);
/* Background work: an image that is being removed and has no more slots. */
void removal_check(struct entry *im);
/* All that wait are refused. */
void removals_refuse(struct entry *im, int answer, const char *text);

#endif
