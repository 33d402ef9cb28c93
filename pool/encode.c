/* JSON to text: see encode.h. */
#include "pool/encode.h"

#include <stdlib.h>

char *json_encode(const json_t *json, size_t *len)
{
    size_t n = json_dumpb(json, NULL, 0, JSON_COMPACT);
    char *text = n ? malloc(n + 1) : NULL;
    if (!text)
        return NULL;
    if (json_dumpb(json, text, n, JSON_COMPACT) != n) { /* it also notes where it has been */
        free(text);
        return NULL;
    }
    text[n] = '\0';
    *len = n + 1;
    return text;
}
