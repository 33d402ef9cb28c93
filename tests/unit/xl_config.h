/* Configurations as xl writes them, for tests that read one. */
#ifndef TESTS_XL_CONFIG_H
#define TESTS_XL_CONFIG_H

#include "tests/unit/check.h"

#include "restore/formats/domconf.h"

#include <string.h>

#define XL(c_info, b_info, rest)                                                                   \
    "{\"c_info\":{\"type\":\"pv\"" c_info "},\"b_info\":{\"max_memkb\":1024" b_info "}" rest "}"

/* It must be refused, and the text must say why. */
static inline void refused(const char *json, const char *why)
{
    struct domconf c;
    struct error e = {0};
    domconf_init(&c);
    if (domconf_from_xl(json, strlen(json), &c, &e) != ANSWER_IMAGE_REFUSED)
        fail_msg("accepted: %s", json);
    assert_says(e.text, why);
    domconf_dispose(&c);
}

/* It must be taken; the caller disposes *c. */
static inline void parse(const char *json, struct domconf *c)
{
    struct error e = {0};
    domconf_init(c);
    if (domconf_from_xl(json, strlen(json), c, &e))
        fail_msg("refused: %s", e.text);
}

#endif
