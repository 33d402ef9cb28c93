/*
 * Memory and threads that run out on demand (fault.h). The linker sends the program's own calls
 * here; those of its libraries are not affected (--wrap, see tests/unit/CMakeLists.txt).
 */
#include "tests/fake_xen/fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *s);
int __real_vasprintf(char **out, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
int __real_thread_start(pthread_t *thread, void *(*run)(void *data), void *data);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *s);
int __wrap_vasprintf(char **out, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
int __wrap___vasprintf_chk(char **out, int flag, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));
int __wrap_thread_start(pthread_t *thread, void *(*run)(void *data), void *data);

void *__wrap_malloc(size_t size)
{
    return FAULT(FAULT_MEMORY) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return FAULT(FAULT_MEMORY) ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return FAULT(FAULT_MEMORY) ? NULL : __real_realloc(p, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return FAULT(FAULT_MEMORY) ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strdup(const char *s)
{
    return FAULT(FAULT_MEMORY) ? NULL : __real_strdup(s);
}

int __wrap_vasprintf(char **out, const char *fmt, va_list ap)
{
    return FAULT(FAULT_MEMORY) ? -1 : __real_vasprintf(out, fmt, ap);
}

/* What the same call is in a build with _FORTIFY_SOURCE. */
int __wrap___vasprintf_chk(char **out, int flag, const char *fmt, va_list ap)
{
    (void)flag;
    return __wrap_vasprintf(out, fmt, ap);
}

int __wrap_thread_start(pthread_t *thread, void *(*run)(void *data), void *data)
{
    return FAULT(FAULT_THREAD) ? EAGAIN : __real_thread_start(thread, run, data);
}
