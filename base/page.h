/* Pages of 4 KiB: what is in one. */
#ifndef BASE_PAGE_H
#define BASE_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#define PAGE_BYTES 4096u

/* True when the page is one 64-bit word over and over. *word is its first in any case. */
bool page_is_repeated(const void *page, uint64_t *word);
/* True when every byte of the page is zero. */
bool page_is_zero(const void *page);

#endif
