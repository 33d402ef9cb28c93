/* Element counts. */
#ifndef BASE_ARRAY_H
#define BASE_ARRAY_H

/* Element count of an array; a pointer is a compile error. */
#define ARRAY_SIZE(a)                                                                              \
    (sizeof(a) / sizeof((a)[0]) +                                                                  \
     0 * sizeof(char[1 - 2 * __builtin_types_compatible_p(__typeof__(a), __typeof__(&(a)[0]))]))

#endif
