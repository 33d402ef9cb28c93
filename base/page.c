/* Pages: see page.h. */
#include "base/page.h"

#include <string.h>

bool page_is_repeated(const void *page, uint64_t *word)
{
    const unsigned char *p = page;
    memcpy(word, p, sizeof *word);
    return !memcmp(p, p + sizeof *word, PAGE_BYTES - sizeof *word);
}

bool page_is_zero(const void *page)
{
    uint64_t word;
    return page_is_repeated(page, &word) && !word;
}
