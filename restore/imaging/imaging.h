/*
 * Room imaging: image files made, compared and written out. All of it blocks and belongs in
 * dompool-image, a process for one piece of work (restore/protocol/image_protocol.h), because a
 * save file and a running guest are hostile input.
 *
 * For others, which are image_main.c and tests:
 *   image_import.h  a save file becomes an image; image_export.h: the way back
 *   capture.h       a running domain becomes an image; suspend.h finds it and lets it go on
 *   image_diff.h    what two images differ in
 *   confined.h      all of these, with the reading done by a process without rights
 * Inner: guard.h, made.h, running_conf.h, worker.h; works.h and stopped.h of dompool-image.
 *
 * May include: xen, formats, protocol, store, base.
 */
#ifndef RESTORE_IMAGING_H
#define RESTORE_IMAGING_H

#endif
