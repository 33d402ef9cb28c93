/* The message reader: bytes in pieces whose sizes the input chooses. First byte: the limit. */
#include "tests/fuzz/fuzz.h"

#include "base/message.h"

#include <errno.h>

static void take_all(struct message_reader *r)
{
    struct error e = {0};
    json_t *o;
    int rc;
    while ((rc = message_reader_next(r, &o, &e)) != 0 && rc != -EMSGSIZE) {
        FUZZ_CHECK(rc == 1 || (rc == -EPROTO && e.text[0]));
        if (rc != 1)
            continue;
        size_t len;
        char *text = message_encode(o, &len);
        FUZZ_CHECK(text && len && !text[len - 1]);
        free(text);
        json_decref(o);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct message_reader r;
    message_reader_init(&r, (size_t)data[0] * 4);
    for (size_t at = 1; at < size;) {
        size_t piece = (size_t)data[at] % 61 + 1;
        piece = piece < size - at ? piece : size - at;
        if (message_reader_feed(&r, data + at, piece, NULL))
            break;
        FUZZ_CHECK(r.used <= r.size);
        take_all(&r);
        at += piece;
    }
    message_reader_dispose(&r);
    return 0;
}
