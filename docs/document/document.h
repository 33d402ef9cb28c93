/*
 * What makes the documents: the tables that they contain, each printed from where the program
 * itself has it, and what mdoc(7) wants of a text.
 *
 * Each table_ function prints to stdout. Nothing here fails but by ending the program.
 */
#ifndef DOCS_DOCUMENT_H
#define DOCS_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>

/* ---- tables ---- */

/* Of the command table (cli/command.h): table_commands.c. */
void table_synopsis(void);
void table_common_options(void);
void table_commands(void);
void table_json(void);          /* what each command prints with --json */
void table_exit_statuses(void); /* of cli/command.h */
void table_errors(void);        /* name and meaning of each, of base/error.h */
void table_completion(void);    /* for cli/completion.bash.in, which says what a line is */

/* Of the keys of the configuration (pool/service/config.h): table_config.c. */
void table_daemon_keys(void);
void table_pool_keys(void);
void table_daemon_sample(void); /* as lines of a configuration file, commented out */
void table_pool_sample(void);

/* Of the keys of a saved configuration (restore/formats/domconf_keys.h): table_keys.c. */
void table_saved_keys(void);

/* Of the interface file (pool/core/io.dompool.varlink): table_interface.c. */
extern const char *interface_path;
void table_interface(void); /* what is said of the whole */
void table_types(void);
void table_methods(void);
void table_error_names(void);
/* Whether what is said of a method begins with "Root only". */
bool interface_root_only(const char *method);

/* ---- mdoc(7) ---- */

/* One paragraph, a sentence to a line; `...` quotes a command. Ends with a newline. */
void mdoc_sentences(const char *text, size_t len);
/* Paragraphs, a blank line between them. */
void mdoc_paragraphs(const char *text);
/* A sentence that has no period. */
void mdoc_summary(const char *summary);
/* A line as it is, as in .Bd -literal. */
void mdoc_literal(const char *line, size_t len);

#endif
