/*
 * What a helper process says when an image file cannot be read.
 *
 * Images are mapped. When the disk does not give a page of the mapping, or the file has become
 * shorter, the kernel sends SIGBUS to whoever touches it. Then this process cannot go on, but it
 * can still say which file it was: its owner would else hear of a helper that died, and try the
 * next one.
 */
#ifndef RESTORE_UNREADABLE_H
#define RESTORE_UNREADABLE_H

/*
 * From now on, SIGBUS inside the mapping of an open image sends
 *
 *   {"event":"failed","answer":"ImageRefused","error":"image file PATH: byte N cannot be read ..."}
 *
 * on the socket fd and ends the process with status 1. fd < 0: the text goes to standard error. Any
 * other SIGBUS ends the process as always. What the process was making stays where it is, as after
 * SIGKILL.
 */
void unreadable_report(int fd);

#endif
