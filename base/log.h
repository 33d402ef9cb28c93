/*
 * Log lines go to stderr: with sd-daemon's "<N>" priority prefix when stderr
 * is the journal (JOURNAL_STREAM is set), else with time and level. Control
 * characters are replaced, so nothing that a guest or client chose can forge
 * a line. Thread safe; one write(2) a line. Never waits: when nobody reads stderr, lines
 * are lost, and the next one that goes out says how many.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* ident is put in front of each line ("dompoold"); it is not copied. */
void log_init(const char *ident, enum log_level level);
void log_set_level(enum log_level level);
/* 0 and *out, or -1 when name is none of error, warning, info, debug. */
int log_level_parse(const char *name, enum log_level *out);

void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * For lines that others cause as often as they like: so many of one kind within ten seconds are
 * said, and the first one after that says how many were not. Zeroed before use. Whoever stops for
 * good may leave a number unsaid.
 */
#define LOG_LIMIT_LINES 500
struct log_limit {
    uint64_t since_us;
    unsigned said, left_out;
};
/* Whether a line may be said. now_us: of a clock that goes on; any one, but always the same. */
bool log_allowed(struct log_limit *limit, uint64_t now_us);

#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_at(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
