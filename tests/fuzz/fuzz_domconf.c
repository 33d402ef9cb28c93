/* Configurations: what is accepted can be written, read again, and is then the same. */
#include "tests/fuzz/fuzz.h"

#include "restore/formats/domconf.h"

#include <string.h>

static void check_own_form(const struct domconf *c)
{
    struct error e = {0};
    struct domconf back;
    char *text, *again;
    FUZZ_CHECK(!domconf_to_json(c, &text, &e));
    domconf_init(&back);
    FUZZ_CHECK(!domconf_from_json(text, &back, &e));
    FUZZ_CHECK(!domconf_to_json(&back, &again, &e));
    FUZZ_CHECK(!strcmp(text, again));
    free(text);
    free(again);
    domconf_dispose(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error e = {0};
    struct domconf c;
    domconf_init(&c);
    if (!domconf_from_xl((const char *)data, size, &c, &e)) {
        check_own_form(&c);
        (void)domconf_set_disk(&c, "xvda", "scratch:1M", &e);
        check_own_form(&c);
    } else {
        FUZZ_CHECK(e.text[0]);
    }
    char *text = malloc(size + 1);
    FUZZ_CHECK(text);
    memcpy(text, data, size);
    text[size] = '\0';
    if (!domconf_from_json(text, &c, &e))
        check_own_form(&c);
    free(text);
    domconf_dispose(&c);
    return 0;
}
