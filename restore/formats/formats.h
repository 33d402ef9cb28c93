/*
 * Room formats: the files that Xen's tools and ours write, and what they say of a guest. Nothing
 * here calls Xen; only Xen's public headers are used, for structures and numbers.
 *
 * For others:
 *   records.h       numbers of a stream's records and of our own; page types
 *   source.h        bytes from a file, a pipe or memory
 *   savefile.h      what `xl save` writes: header, configuration, stream
 *   foreign.h       what people take for that, and what it is
 *   stream.h        reads a libxc stream; stream_write.h writes one
 *   domconf.h       a domain's configuration, from xl's JSON or ours; disk_conf.h: of one disk,
 *                   nic_conf.h: of one network interface, nic_address.h: of the addresses that it
 *                   may send from, endings.h: of what becomes of the domain when its guest ends
 *   domconf_keys.h  every key of xl's JSON, and what becomes of it
 *   consent.h       what a save file may have of the host
 *   cpu_set.h       sets of processors
 *   vdev.h          names of block devices
 *   fingerprint.h   whether a disk is still what it was
 *   guest_check.h   whether records and memory agree
 *   lineage.h       whether two images may be base and derived, or versions of one another
 *   pte.h           page-table entries
 * Inner: domconf_private.h.
 *
 * May include: store, base.
 */
#ifndef RESTORE_FORMATS_H
#define RESTORE_FORMATS_H

#endif
