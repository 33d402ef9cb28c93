/*
 * An image that a process without rights has made, looked at by the one that asked for it.
 *
 * Consent is asked for where the save file is read (restore/formats/consent.h), so that an import
 * is refused early. But whoever takes that process over need not ask. So what the image names of
 * the host is held against the same rules once more, with the finished file. What the image says of
 * the guest is not checked: that is the guest's own.
 */
#ifndef RESTORE_MADE_H
#define RESTORE_MADE_H

#include "restore/imaging/image_import.h"

/*
 * Each disk is the one that o names; or has consent; or, if o is trusted, is where xl_config has
 * it. And xl's configuration in the image, which an export writes, names no other files of the
 * host. xl_config is only used if o is trusted; NULL: a whole save file is, and nothing is checked.
 * Nobody writes to the image any more. Blocking. ANSWER_DISKS_NOT_ALLOWED if a disk has lost its
 * consent meanwhile; -EPROTO: what was made is not what was asked for; -ENOMEM, or an error of the
 * base's file.
 */
int made_check(const struct import_options *o, const char *xl_config, size_t len,
               const struct image *im, struct error *e);

#endif
