/* Clocks. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_mono_us(void); /* CLOCK_MONOTONIC */
int64_t clock_wall_ms(void);  /* CLOCK_REALTIME, since the epoch */

#endif
