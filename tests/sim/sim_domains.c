/* The domains of the simulated world, and the image that a path names: see world_sim.h. */
#include "tests/sim/world_sim.h"

#include "base/array.h"
#include "base/text.h"
#include "base/uuid.h"

#include <stdlib.h>
#include <string.h>

#define DOMID_FIRST_RESERVED 0x7ff0 /* of xen/include/public/xen.h */

/* As Xen does: one behind the other, those in use are passed over, and behind the last comes 1. */
static uint32_t domid_take(struct sim *s)
{
    uint32_t domid;
    do {
        domid = s->next_domid++;
        if (s->next_domid >= DOMID_FIRST_RESERVED)
            s->next_domid = 1;
    } while (sim_domain_find(s, domid));
    return domid;
}

struct sim_domain *sim_domain_add(struct sim *s, const char *name, const char *tag,
                                  const struct uuid *uuid)
{
    struct sim_domain *d = sim_alloc(sizeof *d);
    d->d.domid = domid_take(s);
    if (uuid)
        d->d.uuid = *uuid;
    else
        s->world.ops->random(&s->world, d->d.uuid.bytes, sizeof d->d.uuid.bytes);
    format_fits(d->d.name, sizeof d->d.name, "%s", name);
    format_fits(d->d.tag, sizeof d->d.tag, "%s", tag);
    list_append(&s->domains, &d->node);
    return d;
}

struct sim_domain *sim_domain_find(struct sim *s, uint32_t domid)
{
    list_each (node, &s->domains) {
        struct sim_domain *d = container_of(node, struct sim_domain, node);
        if (d->d.domid == domid)
            return d;
    }
    return NULL;
}

static void domains_changed(struct sim *s, void *arg)
{
    (void)arg;
    if (s->dead || !s->started)
        return;
    sim_memory_restore(false);
    s->world.domains_changed(&s->world);
    sim_memory_spare();
}

void sim_changed(struct sim *s)
{
    static int key; /* only its address is used */
    sim_at(s, 50, domains_changed, &key);
}

void sim_domain_destroy(struct sim *s, uint32_t domid)
{
    struct sim_domain *d = sim_domain_find(s, domid);
    MUST(d);
    list_remove(&d->node);
    free(d);
    sim_changed(s);
}

void sim_domain_shutdown(struct sim *s, uint32_t domid, unsigned reason)
{
    struct sim_domain *d = sim_domain_find(s, domid);
    MUST(d);
    d->d.state = HOST_DOMAIN_SHUTDOWN;
    d->d.shutdown_reason = reason;
    sim_changed(s);
}

static struct host_domain *domain_at(struct sim *s, uint32_t domid)
{
    struct sim_domain *d = sim_domain_find(s, domid);
    MUST(d);
    return &d->d;
}

void sim_domain_unpause(struct sim *s, uint32_t domid)
{
    domain_at(s, domid)->paused = false;
}

void sim_domain_ask(struct sim *s, uint32_t domid)
{
    domain_at(s, domid)->asked = true;
}

unsigned sim_domains(struct sim *s)
{
    unsigned n = 0;
    list_each (node, &s->domains)
        n += !strcmp(container_of(node, struct sim_domain, node)->d.tag, s->core.tag);
    return n;
}

const char *host_shutdown_reason_name(unsigned reason)
{
    static const char *const names[] = {"poweroff", "reboot", "suspend", "crash"};
    return reason < ARRAY_SIZE(names) ? names[reason] : "unknown";
}

struct entry *sim_entry_at_path(struct sim *s, const char *path)
{
    char own[IMAGE_PATH_SIZE];
    list_each (node, &s->core.images) {
        entry_path(entry_at(node), own);
        if (!strcmp(own, path))
            return entry_at(node);
    }
    return NULL;
}
