/* Files that people take for a save file of xl's: what they are, by their first bytes, and how to
 * get on with them. */
#ifndef RESTORE_FOREIGN_H
#define RESTORE_FOREIGN_H

#include <stddef.h>

/* As many of a file's first bytes as any of them needs. */
#define FOREIGN_BYTES 16u

struct foreign {
    const char *magic; /* the first bytes */
    size_t magic_len;
    const char *name, *advice; /* "compressed by gzip", what to do instead */
};

/* What begins with these n bytes, FOREIGN_BYTES or more; NULL: nothing that is known. Static. */
const struct foreign *foreign_find(const void *head, size_t n);
/* All of them, for tests. */
const struct foreign *foreign_list(size_t *n);

#endif
