/*
 * A clock for tests: time passes when the program waits, and then at once. The linker sends the
 * program's clock_mono_us, usleep and poll here (see tests/unit/CMakeLists.txt). So a time-out of a
 * minute takes no time, and what the fakes do "after 3 ms" comes in its turn.
 */
#ifndef TESTS_CLOCK_H
#define TESTS_CLOCK_H

#include <stdint.h>

/* us since the test began; each look at it takes one. */
uint64_t fake_clock_us(void);
/* Does what is due meanwhile. */
void fake_clock_pass(uint64_t us);
/* Calls `call` with n once, in us from now. At most 64 are outstanding. */
void fake_clock_in(uint64_t us, void (*call)(uint64_t n), uint64_t n);
/* Nothing is outstanding any more. */
void fake_clock_reset(void);

#endif
