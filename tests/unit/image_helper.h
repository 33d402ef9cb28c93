/*
 * The program dompool-image as the daemon has it: a child at the other end of a socket. Every
 * function fails the test when something is not as it says.
 */
#ifndef TESTS_UNIT_IMAGE_HELPER_H
#define TESTS_UNIT_IMAGE_HELPER_H

#include "tests/unit/stream_build.h"

#include "base/message.h"

#include <sys/types.h>

struct helper {
    pid_t pid;
    int fd;
    struct message_reader reader;
};

void helper_start(struct helper *h);
/* Closes the socket and waits for its end; its status of waitpid(2). */
int helper_end(struct helper *h);
/* Asks for an import, with the disk of stream_build named. */
void helper_ask(struct helper *h, const char *save, const char *image);
/* The next message that is not about progress. New reference. */
json_t *helper_hear(struct helper *h);

/* The save file "s" in the directory of the test. */
void write_save_file(struct stream_build *b);
/* A FIFO as save file, of which half is written: the helper is in the middle of it for as long as
 * the test likes. The descriptor is the caller's. */
int feed_half(const char *fifo, const struct built *f);

#endif
