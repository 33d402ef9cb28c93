/* Small things every layer uses: sizes, file descriptors, ids, clocks, units. */
#ifndef BASE_UTIL_H
#define BASE_UTIL_H

#include "base/error.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Element count of an array; a pointer is a compile error. */
#define ARRAY_SIZE(a)                                                                              \
    (sizeof(a) / sizeof((a)[0]) +                                                                  \
     0 * sizeof(char[1 - 2 * __builtin_types_compatible_p(__typeof__(a), __typeof__(&(a)[0]))]))

#define PAGE_BYTES 4096u

/* ---- file descriptors ---- */

/* Closes *fd if it is >= 0 and sets it to -1. Keeps errno. */
void fd_close(int *fd);
/* Reads exactly size bytes; 0, -EIO-like code, or -ENODATA when the file ends before. */
int read_full(int fd, void *buf, size_t size);
int pread_full(int fd, void *buf, size_t size, uint64_t offset);
int write_full(int fd, const void *buf, size_t size);
int pwrite_full(int fd, const void *buf, size_t size, uint64_t offset);
/* mkdir -p with mode for what is missing. */
int make_dirs(const char *path, unsigned mode, struct error *e);
/* rename that overwrites nothing: 0, -EEXIST when there is something at `to`, or another code. */
int rename_new(const char *from, const char *to);
/* fsync of the directory that holds path, so that a rename in it is durable. */
int fsync_parent(const char *path, struct error *e);
/* Reads a whole small file, at most max bytes, NUL-terminated, caller frees. */
int read_file(const char *path, size_t max, char **out, size_t *len, struct error *e);

/* True when the page is one 64-bit word over and over. *word is its first in any case. */
bool page_is_repeated(const void *page, uint64_t *word);
/* True when every byte of the page is zero. */
bool page_is_zero(const void *page);

/* ---- strings ---- */

/* snprintf into buf; false when it did not fit. */
bool format_fits(char *buf, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* malloc'd string or NULL. */
char *format_new(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Names of images, domains: 1..63 characters of [A-Za-z0-9._-], first one alphanumeric. */
bool name_valid(const char *name);

/* ---- ids ---- */

#define UUID_TEXT_SIZE 37
/* Random version 4 UUID. */
/* Two lower-case digits for each byte, and a NUL: text holds 2 n + 1. */
void hex_format(const uint8_t *bytes, size_t n, char *text);
/* Exactly n bytes, 0 or -1. */
int hex_parse(const char *text, uint8_t *bytes, size_t n);
void uuid_random(uint8_t uuid[16]);
/* n bytes of the system's generator. Without randomness two domains could share an identity, so
 * there is no fallback: the process ends. */
void random_bytes(void *out, size_t n);
/* Makes a UUID of version 4 (RFC 4122) of 16 random bytes. */
void uuid_version4(uint8_t uuid[16]);
/* All zero: none. */
bool uuid_is_none(const uint8_t uuid[16]);
void uuid_format(const uint8_t uuid[16], char text[UUID_TEXT_SIZE]);
/* 0 or -1. Accepts upper and lower case. */
int uuid_parse(const char *text, uint8_t uuid[16]);

/* ---- clocks ---- */

uint64_t clock_mono_us(void); /* CLOCK_MONOTONIC */
int64_t clock_wall_ms(void);  /* CLOCK_REALTIME, since the epoch */

/* ---- priority ---- */

/*
 * Background work gives way to whatever else wants a processor (nice 10), until it is foreground
 * again. Of the calling thread, or of every thread of the calling process, which must lead a
 * process group: by group is how all threads can be reached. Without effect for who may not raise a
 * priority again.
 */
void background_thread(bool on);
void background_group(bool on);

/* ---- threads ---- */

/* A joinable thread that takes no signals: they are the main thread's, whose handlers end the
 * process in order and whose calls they interrupt. 0, or what pthread_create says. */
int thread_start(pthread_t *thread, void *(*run)(void *data), void *data);

/* ---- units, as the command line and the configuration write them ---- */

/* "500ms" "10s" "5m" "2h" "0"; 0 or -1. At most 10 years. */
int duration_parse_ms(const char *text, uint64_t *ms);
/* Shortest exact form: 90000 -> "90s". */
void duration_format_ms(uint64_t ms, char *buf, size_t size);
/* "4096" (bytes) "512K" "512M" "2G" "1T"; 0 or -1. */
int size_parse_bytes(const char *text, uint64_t *bytes);
void size_format_bytes(uint64_t bytes, char *buf, size_t size);
/* Decimal, whole string, in [min, max]; 0 or -1. */
int number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *out);

#endif
