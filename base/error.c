/* Errors: see error.h. */
#include "base/error.h"

#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *text;
} answers[] = {[ANSWER_NONE] = {"None", "no error"},
#define ANSWER_ROW(sym, name, text) [ANSWER_##sym] = {name, text},
               ANSWERS(ANSWER_ROW)
#undef ANSWER_ROW
};

int error_set(struct error *e, int code, const char *fmt, ...)
{
    if (!e)
        return code;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    text_plain(e->text);
    e->code = code;
    return code;
}

int error_errno(struct error *e, int errnum, const char *fmt, ...)
{
    int code = errnum ? -errnum : -EIO;
    if (!e)
        return code;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    size_t used = strlen(e->text);
    char buf[128];
    snprintf(e->text + used, sizeof e->text - used, ": %s",
             strerror_r(-code, buf, sizeof buf)); /* GNU strerror_r returns the text */
    text_plain(e->text);
    e->code = code;
    return code;
}

int error_prefix(struct error *e, const char *fmt, ...)
{
    if (!e)
        return 0;
    char old[sizeof e->text];
    memcpy(old, e->text, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    size_t used = strlen(e->text);
    snprintf(e->text + used, sizeof e->text - used, "%s", old);
    text_plain(e->text);
    return e->code;
}

void error_clear(struct error *e)
{
    if (e) {
        e->code = 0;
        e->text[0] = '\0';
    }
}

const char *answer_name(int code)
{
    if (code < 0 || code >= ANSWER_COUNT)
        return answers[ANSWER_INTERNAL].name;
    return answers[code].name;
}

const char *answer_text(int code)
{
    if (code < 0 || code >= ANSWER_COUNT)
        return answers[ANSWER_INTERNAL].text;
    return answers[code].text;
}

int answer_by_name(const char *name)
{
    for (int i = 1; i < ANSWER_COUNT; i++)
        if (!strcmp(answers[i].name, name))
            return i;
    return ANSWER_NONE;
}
