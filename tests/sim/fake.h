/*
 * A fake host: a directory (environment DOMPOOL_FAKE_HOST) in which every domain is a file
 * named by its domid, holding "uuid name tag state reason". Daemon (fake_host.c in place of
 * dp_xen), helpers (fake_slot.c) and tests share it, so it survives a killed daemon as Xen does.
 *
 * Faults are read from files in it, one word or number each:
 *
 *   build      fail | die | hang | no-memory    what dompool-slot does when it is to build
 *   build_ms   N                                how long that takes, default 20
 *   created    die                              after the domain exists
 *   complete   fail | die | hang | vanish       when it is to complete (vanish: the domain, too)
 *   disk       changed                          of every image, since it was imported
 *   complete_ms N                               default 1
 *   turn       fail | die | hang | no-memory | refuse    into another version of its image
 *   turn_ms    N                                default 5
 *   import, capture, export, verify, diff
 *              fail | die | hang                dompool-image
 *   import_ms, ...  N                           default 5
 *   destroy    fail | hang                      host_destroy
 *   destroy_ms N                                default 5
 *   disk_free  N                                MiB for copy-on-write files, default 8192
 *   layers     lines "uuid vdev Invalid"        host_layers: disks that take no writes
 *   list       fail                             host_list
 *   free_mib   N                                host_memory, default 8192
 *   open       fail                             host_open: as without Xen
 *
 * dompool-slot leaves a file level.PID in it: the level of its log, as it was told last.
 */
#ifndef TESTS_SIM_FAKE_H
#define TESTS_SIM_FAKE_H

#include "restore/xen/host.h"

#define FAKE_ENV "DOMPOOL_FAKE_HOST"

/* The directory; the process ends with a message when the environment does not name one. */
const char *fake_dir(void);
/* A fault's word into buf, "" when it is not set. */
void fake_fault(const char *name, char *buf, size_t size);
bool fake_fault_is(const char *name, const char *word);
/* Sleeps for the file's milliseconds, or for the default. */
void fake_sleep(const char *name, unsigned default_ms);

/* 0 or -1. */
int fake_domain_write(const struct host_domain *d);
int fake_domain_read(uint32_t domid, struct host_domain *d);
void fake_domain_remove(uint32_t domid);
/* Makes the file of this process, of which only the name's beginning is given: NAME.PID. */
void fake_note(const char *name, const char *text);
/* Takes the next domid, as Xen does: one that is in use is passed over, and behind the last comes
 * 1. 0: all are in use, or the directory cannot be written. */
uint32_t fake_domid_next(void);

#endif
