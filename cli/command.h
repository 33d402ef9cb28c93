/*
 * The command line is one table (commands.c): each row makes a command's parser, its help, its
 * part of the manual page and its completion. This header says what a row is and what the
 * parser makes of argv.
 *
 * Options stand anywhere, before, between and behind the words, until "--"; a value follows
 * as "--name value" or "--name=value"; the last of several wins unless the option repeats. For
 * that an option's name must take a value in all commands or in none (tested).
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "base/error.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(symbol, exit status, what it means). 64 and 74 are those of sysexits.h. */
#define STATUSES(X)                                                                                \
    X(DONE, 0, "Done.")                                                                            \
    X(REFUSED, 1,                                                                                  \
      "The daemon refused. The name of the error and its text are on standard error, like "        \
      "`dompool: PoolEmpty: ...`.")                                                                \
    X(UNREACHABLE, 2, "The daemon cannot be reached, or the connection to it broke.")              \
    X(USAGE, 64, "The command line is wrong. Nothing was done.")                                   \
    X(LOCAL, 74,                                                                                   \
      "A problem on this side: a file cannot be opened, standard output cannot be written, or "    \
      "memory "                                                                                    \
      "ran out.")

enum status {
#define STATUS_ENUM(symbol, number, text) STATUS_##symbol = (number),
    STATUSES(STATUS_ENUM)
#undef STATUS_ENUM
};

enum option_kind {
    OPTION_FLAG,
    OPTION_TEXT,
    OPTION_DURATION, /* "500ms" "10s" "5m" "2h" */
    OPTION_PAIR,     /* KEY=VALUE, may be repeated, each key once */
};

struct option_spec {
    const char *name; /* without the dashes; NULL ends a list */
    enum option_kind kind;
    const char *value;   /* what the help calls the value; NULL for a flag */
    const char *summary; /* one sentence, no period */
};

/* What completion offers for a word. */
enum word_kind { WORD_NONE, WORD_IMAGE, WORD_LEASE, WORD_FILE, WORD_COMMAND, WORD_METHOD };

struct invocation;

struct command {
    const char *name;                   /* "image import" */
    int (*run)(struct invocation *inv); /* returns an enum status */
    const char *method;                 /* of io.dompool, that it calls; NULL: none, or any */
    const char *json;                   /* what --json prints, a sentence without its period; NULL:
                                           the parameters of the method's reply */
    const char *args;                   /* as the usage line writes them; "" for none */
    unsigned min_args, max_args;        /* max_args UINT_MAX: no limit */
    enum word_kind words[2];            /* first, and second with all that follow */
    const struct option_spec *options;  /* besides the common ones; may be NULL */
    const char *summary;                /* one sentence, no period */
    const char *details;                /* paragraphs of plain text, a blank line between */
};

extern const struct command commands[];
extern const size_t n_commands;
/* --socket, --json, --help, --version: with every command. */
extern const struct option_spec common_options[];

struct option_value {
    const struct option_spec *spec;
    const char *text; /* points into argv; NULL for a flag */
    uint64_t ms;      /* OPTION_DURATION */
};

struct dompool;

struct invocation {
    const struct command *command; /* NULL: none given */
    const char **args;             /* the words behind the command's name */
    size_t n_args;
    struct option_value *values; /* in the order given */
    size_t n_values;
    bool json;
    struct dompool *daemon; /* connected at the first request; see talk.h */
};

/*
 * Reads a command line, without argv[0]. STATUS_DONE, or STATUS_USAGE with what is wrong in *e;
 * inv->command is set whenever it was recognised. --help and --version switch off the checks
 * of the words. Strings point into argv. The caller disposes of *inv in any case.
 */
int invocation_parse(int argc, char **argv, struct invocation *inv, struct error *e);
void invocation_dispose(struct invocation *inv);

/* The last value given for an option, NULL when there is none. name must be an option of the
 * command or a common one. */
const struct option_value *option_last(const struct invocation *inv, const char *name);
bool option_given(const struct invocation *inv, const char *name);
/* NULL when not given. */
const char *option_text(const struct invocation *inv, const char *name);

/* A command by its full name ("image import"), NULL when there is none. */
const struct command *command_find(const char *name);
/* True when commands start with this word: "image". */
bool command_group(const char *word);

/* KEY=VALUE: the length of the key, 0 when there is no "=" or nothing before it. */
size_t pair_key_length(const char *text);

/* ---- the commands (image.c lease.c trace.c pool.c misc.c) ---- */

/* Each has the command's name after run_, and returns an enum status. */
int run_image_import(struct invocation *inv);
int run_image_capture(struct invocation *inv);
int run_image_diff(struct invocation *inv);
int run_image_verify(struct invocation *inv);
int run_image_export(struct invocation *inv);
int run_image_list(struct invocation *inv);
int run_image_show(struct invocation *inv);
int run_image_rm(struct invocation *inv);
int run_image_adopt(struct invocation *inv);
int run_allocate(struct invocation *inv);
int run_release(struct invocation *inv);
int run_list(struct invocation *inv);
int run_trace(struct invocation *inv);
int run_status(struct invocation *inv);
int run_pool_show(struct invocation *inv);
int run_pool_set(struct invocation *inv);
int run_pool_wait(struct invocation *inv);
int run_config_show(struct invocation *inv);
int run_call(struct invocation *inv);
int run_help(struct invocation *inv);

#endif
