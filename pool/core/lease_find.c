/* Looking for leases: see lease_find.h. */
#include "pool/core/lease_find.h"

#include "base/units.h"

#include <inttypes.h>

static struct lease *of_label(struct label *label)
{
    return label ? container_of(label, struct lease, label) : NULL;
}

static struct lease *find_domid(const struct core *core, uint64_t domid)
{
    struct slot *s = slot_leased_as(core, domid);
    return s ? s->lease : NULL;
}

/* By xl rename two may have the same: the active one is meant. */
static struct lease *find_name(const struct core *core, const char *name)
{
    struct label *label = label_named(core, name);
    while (label && of_label(label)->state != LEASE_ACTIVE)
        label = label_next_named(core, label);
    return of_label(label);
}

struct lease *lease_find(const struct core *core, const char *what)
{
    uint64_t number = 0;
    struct lease *l;
    if (what[0] == 'l' && !number_parse(what + 1, 1, INT64_MAX, &number))
        l = of_label(label_of_id(core, number));
    else if (!number_parse(what, 0, UINT32_MAX, &number))
        l = find_domid(core, number);
    else
        l = find_name(core, what);
    return l && l->state == LEASE_ACTIVE ? l : NULL;
}

int lease_unknown(const char *what, struct error *e)
{
    return error_set(e, ANSWER_NO_SUCH_LEASE, "no lease, domain name or domid matches %.80s", what);
}

bool lease_belongs_to(const struct lease *l, uid_t uid)
{
    return uid == 0 || l->owner->uid == uid;
}

int lease_not_yours(uint64_t id, struct error *e)
{
    return error_set(e, ANSWER_NOT_PERMITTED, "lease l%" PRIu64 " is another user's", id);
}

int lease_need(const struct core *core, const char *what, uid_t uid, struct lease **out,
               struct error *e)
{
    *out = lease_find(core, what);
    if (!*out)
        return lease_unknown(what, e);
    return lease_belongs_to(*out, uid) ? 0 : lease_not_yours((*out)->label.id, e);
}
