/*
 * The console. It is opened non-blocking: a full ring costs the line, never the caller's time. A
 * line that went out in part is finished before another one begins, so the reader gets whole lines.
 */
#ifndef GUEST_CONSOLE_H
#define GUEST_CONSOLE_H

enum { LINE_BYTES = 256 };

/* Ends the guest if there is none. */
void console_open(void);

/* Prints a line, from any thread; cuts it at LINE_BYTES, with the newline that it adds. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Hands each line that is read to run, which may change it. Never returns. */
_Noreturn void console_serve(void (*run)(char *line));

#endif
