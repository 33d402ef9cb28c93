/* The daemon: everything put together. main.c reads the command line and calls this. */
#ifndef POOL_DAEMON_H
#define POOL_DAEMON_H

#include "pool/service/config.h"

/*
 * Runs until a signal ends it; the process's exit status. config becomes the daemon's; sources are
 * for reloads and must stay. report_fd: where the start's outcome is written, "+" or the reason of
 * the failure, and closed; -1: nowhere.
 */
int daemon_run(struct config *config, const struct config_sources *sources, int report_fd);

#endif
