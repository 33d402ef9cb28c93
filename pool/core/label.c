/* What leases are called: see label.h. */
#include "pool/core/label.h"

#include "base/text.h"
#include "pool/core/name_prefix.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NAME_TRIES 9 /* with small numbers, before random ones */

void label_init(struct label *label)
{
    *label = (struct label){0};
    hash_node_init(&label->by_id);
    hash_node_init(&label->by_name);
}

void label_dispose(struct label *label, struct core *core)
{
    hash_remove(&core->tables.lease_ids, &label->by_id);
    hash_remove(&core->tables.lease_names, &label->by_name);
}

void label_set_id(struct label *label, struct core *core, uint64_t id)
{
    label->id = id;
    hash_put(&core->tables.lease_ids, &label->by_id, key_of_number(core, id));
}

void label_set_name(struct label *label, struct core *core, const char *name)
{
    struct hash *table = &core->tables.lease_names;
    hash_remove(table, &label->by_name);
    format_fits(label->name, sizeof label->name, "%s", name);
    if (label->name[0])
        hash_put(table, &label->by_name, key_of_text(core, label->name));
}

/* ---- looking up ---- */

struct label *label_of_id(const struct core *core, uint64_t id)
{
    const struct hash *table = &core->tables.lease_ids;
    struct hash_node *node = hash_first(table, key_of_number(core, id));
    for (; node; node = hash_next(table, node))
        if (container_of(node, struct label, by_id)->id == id)
            return container_of(node, struct label, by_id);
    return NULL;
}

/* node or the first one behind it that has the name. */
static struct label *with_name(const struct core *core, struct hash_node *node, const char *name)
{
    for (; node; node = hash_next(&core->tables.lease_names, node))
        if (!strcmp(container_of(node, struct label, by_name)->name, name))
            return container_of(node, struct label, by_name);
    return NULL;
}

struct label *label_named(const struct core *core, const char *name)
{
    const struct hash *table = &core->tables.lease_names;
    return with_name(core, hash_first(table, key_of_text(core, name)), name);
}

struct label *label_next_named(const struct core *core, const struct label *label)
{
    struct hash_node *next = hash_next(&core->tables.lease_names, &label->by_name);
    return with_name(core, next, label->name);
}

/* ---- names that may be given ---- */

/* True when a domain has this name, or a lease that is alive or about to be. */
static bool name_taken(const struct core *core, const char *name)
{
    return label_named(core, name) || domain_list_named(&core->listing.domains, name);
}

/* Whoever has taken many such names does not keep us long: one of the random ones is free. */
void label_choose_name(struct label *label, struct core *core, uid_t uid, const char *image)
{
    char name[DB_NAME_SIZE], prefix[NAME_PREFIX_SIZE], id[sizeof "-l18446744073709551615"];
    uint32_t behind = 1;
    name_prefix_of(core->config, uid, prefix);
    snprintf(id, sizeof id, "-l%" PRIu64, label->id);
    int room = DB_NAME_SIZE - (int)(strlen(prefix) + strlen(id) + sizeof "-4294967295");
    int stem = snprintf(name, sizeof name, "%s%.*s%s", prefix, room, image, id);
    while (name_taken(core, name)) {
        if (++behind > NAME_TRIES)
            core->world->ops->random(core->world, &behind, sizeof behind);
        snprintf(name + stem, sizeof name - (size_t)stem, "-%" PRIu32, behind);
    }
    label_set_name(label, core, name);
}

/* "l7" and "7" would be taken for a lease id and a domid. */
static bool name_ambiguous(const char *name)
{
    const char *digits = name[0] == 'l' ? name + 1 : name;
    return digits[0] && strspn(digits, "0123456789") == strlen(digits);
}

int label_check_name(const struct core *core, uid_t uid, const char *name, struct error *e)
{
    if (!name_valid(name) || name_ambiguous(name))
        return error_set(e, ANSWER_BAD_VALUE,
                         "name \"%.80s\": 1 to 63 letters, digits, '.', '_' or '-', first a letter "
                         "or digit, and not like a lease id or domid",
                         name);
    if (!strcasecmp(name, "Domain-0") || !strcasecmp(name, "Xenstore"))
        return error_set(e, ANSWER_NAME_IN_USE, "name \"%s\" is Xen's own", name);
    if (name_prefix_check(core->config, uid, name, e))
        return e->code;
    if (name_taken(core, name))
        return error_set(e, ANSWER_NAME_IN_USE, "a domain named %s exists already", name);
    return 0;
}
