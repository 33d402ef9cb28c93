/*
 * An input as a sequence of pieces: bytes that somebody says, and controls. A control is two bytes:
 * one below 0x20 that is neither NUL nor white space, which no JSON text may hold, and its
 * argument.
 */
#ifndef TESTS_FUZZ_PIECES_H
#define TESTS_FUZZ_PIECES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { CONTROLS = 0x20 };

struct piece {
    uint8_t control; /* 0: none, but bytes */
    uint8_t argument;
    const uint8_t *bytes;
    size_t n;
};

static inline bool piece_is_control(uint8_t byte)
{
    return byte && byte < CONTROLS && !strchr("\t\n\r", byte);
}

/* Takes the next piece from *at; false: there is none. */
static inline bool piece_next(const uint8_t **at, const uint8_t *end, struct piece *out)
{
    if (*at == end)
        return false;
    *out = (struct piece){.bytes = *at};
    if (piece_is_control(**at)) {
        out->control = *(*at)++;
        out->argument = *at < end ? *(*at)++ : 0;
        return true;
    }
    while (*at < end && !piece_is_control(**at))
        (*at)++;
    out->n = (size_t)(*at - out->bytes);
    return true;
}

#endif
