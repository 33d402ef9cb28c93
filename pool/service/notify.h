/* sd_notify(3) in a few lines: tells the service manager, if there is one, how the daemon is. */
#ifndef POOL_NOTIFY_H
#define POOL_NOTIFY_H

#include <stdint.h>

/* state: "READY=1" and the like, several separated by newlines. Errors are not reported: a
 * service manager that does not listen notices by itself. */
void notify(const char *state);
/* Microseconds within which WATCHDOG=1 is expected, 0: not asked for. */
uint64_t notify_watchdog_us(void);

#endif
