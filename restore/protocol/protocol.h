/*
 * Room protocol: what the daemon and its helper processes say to one another.
 *
 * A helper is started with a connected stream socket as descriptor HELPER_FD and speaks
 * NUL-terminated JSON (base/message.h) on it, each message as a table says (fields.h). It dies with
 * its parent (PR_SET_PDEATHSIG) and when the socket closes.
 *
 * For the daemon: this header, the messages in slot_protocol.h (dompool-slot) and image_protocol.h
 * (dompool-image), and image_made.h, what dompool-image says of an image that it has made. For the
 * helpers besides: parent.h, their end of the socket; unreadable.h, what they say when an image
 * file cannot be read.
 *
 * May include: base, store.
 */
#ifndef RESTORE_PROTOCOL_H
#define RESTORE_PROTOCOL_H

#define HELPER_FD 3
#define HELPER_INPUT_FD 4 /* a file that the daemon was given for it; only if a message says so */
/* The environment of a helper has its log's level, and the name of the user as whom it reads what
 * is foreign (base/confine.h). */
#define HELPER_LEVEL_VARIABLE "DOMPOOL_LOG_LEVEL"
#define HELPER_USER_VARIABLE "DOMPOOL_HELPER_USER"
#define HELPER_MESSAGE_LIMIT (1u << 20) /* bytes */

#endif
