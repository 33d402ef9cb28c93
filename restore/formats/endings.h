/*
 * What is to become of a domain when its guest has ended: the keys on_poweroff and so on of
 * xl.cfg(5). What dompool makes of them is for the daemon to say (pool/core/ending.h).
 */
#ifndef RESTORE_ENDINGS_H
#define RESTORE_ENDINGS_H

#include "base/error.h"

#include <jansson.h>

enum ending_reason {
    ENDING_POWEROFF,
    ENDING_REBOOT,
    ENDING_CRASH,
    ENDING_WATCHDOG,
    ENDING_SOFT_RESET,
    ENDING_REASONS
};

enum ending_action {
    ENDING_DESTROY,
    ENDING_RESTART,
    ENDING_RENAME_RESTART,
    ENDING_PRESERVE,
    ENDING_COREDUMP_DESTROY,
    ENDING_COREDUMP_RESTART,
    ENDING_RESET,
    ENDING_ACTIONS
};

struct endings {
    enum ending_action of[ENDING_REASONS]; /* all 0: destroy, as libxl has it */
};

/* Of a libxl_domain_config (its keys on_poweroff and so on). ANSWER_IMAGE_REFUSED, naming the
 * key. */
int endings_from_xl(const json_t *o, struct endings *out, struct error *e);

/* Our own form: {"crash": "preserve"}; reasons and actions are xl.cfg(5)'s words. What is left out
 * is "destroy". New reference; NULL: no memory. */
json_t *endings_to_json(const struct endings *in);
/* NULL: all "destroy". ANSWER_IMAGE_REFUSED for a word that is not known. */
int endings_from_json(json_t *o, struct endings *out, struct error *e);

#endif
