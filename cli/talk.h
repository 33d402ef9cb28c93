/*
 * Talking to the daemon: a command asks, and gets an exit status. What goes wrong is said on
 * stderr here, once, the same way for every command.
 */
#ifndef CLI_TALK_H
#define CLI_TALK_H

#include "cli/command.h"
#include "dompool.h"

#include <jansson.h>

/* Connects if that is not done yet: for the library's typed calls, which take inv->daemon.
 * STATUS_UNREACHABLE says which socket and what to do. */
int talk_connect(struct invocation *inv);

/* Turns what the library returned into an exit status, and says what is wrong. what: in front of
 * the daemon's text, when one command asks more than once; may be NULL. */
int talk_failed(struct invocation *inv, int rc, const char *what);

/* The same two for a connection of one's own: *d is closed by the caller. */
int talk_connect_to(struct invocation *inv, struct dompool **d);
int talk_failed_on(struct invocation *inv, struct dompool *d, int rc, const char *what);

/* Prints the whole answer of the typed call that succeeded last, for --json. */
void talk_print(const struct invocation *inv);

/* Parameters as the library takes them: malloc'd, NULL for NULL. Steals parameters. */
char *talk_text(json_t *parameters);

/* Asks and waits. Steals parameters; NULL: none. On STATUS_DONE the caller owns *reply. */
int talk(struct invocation *inv, const char *method, json_t *parameters, json_t **reply);

/* What gets the answers of a stream. refused, which may be NULL, gets the parameters of a refusal,
 * once its text was said. */
struct listener {
    void (*each)(const json_t *reply, void *data);
    void (*refused)(const json_t *parameters, void *data);
    void *data;
};

/* Asks for a stream. fd: passed with the request; -1: none. */
int talk_stream(struct invocation *inv, const char *method, json_t *parameters, int fd,
                const struct listener *listener);

/* Asks with the command's method, and with --json prints the answer as it came, else gives it to
 * human. */
int talk_show(struct invocation *inv, json_t *parameters, void (*human)(const json_t *reply));

#endif
