/* MAC addresses of slots: see slot_mac.h. */
#include "pool/core/slot_mac.h"

int slot_mac_may_choose(uid_t uid, const struct mac *mac, struct error *e)
{
    return mac && uid != 0
               ? error_set(e, ANSWER_NOT_PERMITTED, "only root may choose a MAC address")
               : 0;
}

/* Its guest runs, or is about to. */
static bool is_on_the_wire(const struct slot *s)
{
    return slot_is_leased(s) || s->state == SLOT_COMPLETING;
}

/* all: warm slots count, too: they may be completed next. */
static int check(const struct core *core, const struct slot *but, const struct macs *macs, bool all,
                 struct error *e)
{
    char text[MACS_TEXT_SIZE];
    list_each (node, &core->slots) {
        const struct slot *s = slot_at(node);
        if (s == but || !(all || is_on_the_wire(s)) || !macs_share(macs, &s->macs))
            continue;
        macs_format(macs, text);
        return error_set(e, ANSWER_MAC_IN_USE, "MAC address %s: slot s%llu has it", text,
                         (unsigned long long)s->id);
    }
    return 0;
}

int slot_mac_check(const struct core *core, const struct slot *s, const struct mac *mac,
                   struct error *e)
{
    if (mac) {
        const struct macs chosen = {.n = 1, .at = {*mac}};
        return check(core, NULL, &chosen, true, e);
    }
    return s && s->macs.n && s->set->mac == MAC_SAVED ? check(core, s, &s->macs, false, e) : 0;
}

void slot_mac_take(struct slot *s, const struct mac *mac)
{
    s->own_mac = s->macs.at[0];
    if (mac && s->macs.n)
        s->macs.at[0] = *mac;
}

void slot_mac_give_back(struct slot *s)
{
    if (s->macs.n)
        s->macs.at[0] = s->own_mac;
}
