/* Who this guest is: the id of its boot, and the name that it was given. */
#ifndef GUEST_IDENTITY_H
#define GUEST_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

enum { TAG_BYTES = 33 };

/* Made by boot_id_make, which runs before there are threads; never changes. */
extern uint64_t boot_id;
void boot_id_make(void);

/* A name is letters, digits, - _ and ., less than TAG_BYTES of them; "-": none yet. */
bool tag_valid(const char *text);
/* text must be valid. */
void tag_set(const char *text);
void tag_get(char out[TAG_BYTES]);

/* What makes memory of one name another than memory of another name. */
uint64_t tag_salt(const char *text);

#endif
