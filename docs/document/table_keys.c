/*
 * The keys of a saved configuration. The table is the one by which the reader takes and refuses
 * them (restore/formats/domconf_keys.h).
 */
#include "docs/document/document.h"

#include "restore/formats/domconf_keys.h"

#include <stdio.h>
#include <string.h>

static bool says_the_same(size_t i, size_t k)
{
    const struct domconf_key *a = &domconf_keys[i], *b = &domconf_keys[k];
    return a->place == b->place && a->fate == b->fate && !strcmp(a->why, b->why) && !a->harmless &&
           !b->harmless;
}

/* Keys of which the same is to be said stand together, at the first of them. */
static bool is_told_before(size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (says_the_same(k, i))
            return true;
    return false;
}

static void print_item(size_t i)
{
    static const char *const fates[] = {
        [KEY_TAKEN] = "Taken", [KEY_NOTHING] = "No effect", [KEY_REFUSED] = "Refused"};
    const struct domconf_key *key = &domconf_keys[i];
    char sentence[400];
    printf(".It Cm %s", key->key);
    for (size_t k = i + 1; k < domconf_keys_count; k++)
        if (says_the_same(i, k))
            printf(" , %s", domconf_keys[k].key);
    printf("\n");
    if (key->harmless)
        snprintf(sentence, sizeof sentence, "%s, unless it is %s: %s", fates[key->fate],
                 key->harmless, key->why);
    else
        snprintf(sentence, sizeof sentence, "%s: %s", fates[key->fate], key->why);
    mdoc_summary(sentence);
}

void table_saved_keys(void)
{
    for (enum key_place p = KEY_TOP; p < KEY_PLACES_COUNT; p++) {
        puts(".Pp");
        if (p == KEY_TOP)
            puts("At the top:");
        else if (p == KEY_DISK || p == KEY_NIC)
            printf("In each entry of\n.Cm %s :\n", key_place_name(p));
        else
            printf("In\n.Cm %s :\n", key_place_name(p));
        printf(".Bl -tag -width Ds\n");
        for (size_t i = 0; i < domconf_keys_count; i++)
            if (domconf_keys[i].place == p && !is_told_before(i))
                print_item(i);
        printf(".El\n");
    }
}
