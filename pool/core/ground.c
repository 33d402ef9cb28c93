/* The ground: see ground.h. */
#include "pool/core/ground.h"

#include "base/text.h"
#include "base/uuid.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

static void world_alarm(struct world *w)
{
    struct core *core = w->owner;
    timers_run(&core->timers);
}

static void lists_init(struct core *core)
{
    list_init(&core->images);
    list_init(&core->lost);
    list_init(&core->slots);
    list_init(&core->leases);
    list_init(&core->traces);
    list_init(&core->waits);
    list_init(&core->sets);
    list_init(&core->jobs);
    list_init(&core->reaps);
    list_init(&core->startup.leftovers);
    list_init(&core->listing.job.node);
    list_init(&core->measurement.job.node);
    list_init(&core->layers.job.node);
    list_init(&core->startup.sweep_job.node);
}

_Static_assert(sizeof((struct tables *)0)->secret == crypto_shorthash_KEYBYTES, "SipHash's key");
_Static_assert(sizeof(uint64_t) == crypto_shorthash_BYTES, "SipHash's result");

static void tables_each(struct tables *t, void (*what)(struct hash *table))
{
    what(&t->lease_ids);
    what(&t->lease_names);
    what(&t->slot_ids);
    what(&t->slot_uuids);
    what(&t->slot_domids);
    what(&t->slot_mac_keys);
    what(&t->owners);
}

void ground_init(struct core *core, struct world *world, struct config *config)
{
    *core = (struct core){.world = world, .config = config, .listing.xen_ok = true};
    world->owner = core;
    world->alarm = world_alarm;
    timers_init(&core->timers, world);
    lists_init(core);
    tables_each(&core->tables, hash_init);
    world->ops->random(world, core->tables.secret, sizeof core->tables.secret);
    timer_init(&core->background.kick);
    timer_init(&core->listing.next);
    timer_init(&core->measurement.next);
    timer_init(&core->layers.next);
    timer_init(&core->database.repair);
    timer_init(&core->startup.stop_timer);
    const char *state_dir = config_text(config, KEY_STATE_DIR);
    format_fits(core->images_dir, sizeof core->images_dir, "%s/images", state_dir);
    format_fits(core->cow_dir, sizeof core->cow_dir, "%s/cow", state_dir);
    core->started_us = core_now_us(core);
}

void ground_dispose(struct core *core)
{
    tables_each(&core->tables, hash_dispose);
}

static uint64_t key_of(const struct core *core, const void *bytes, size_t n)
{
    uint64_t key;
    crypto_shorthash((unsigned char *)&key, bytes, n, core->tables.secret);
    return key;
}

uint64_t key_of_number(const struct core *core, uint64_t number)
{
    return key_of(core, &number, sizeof number);
}

uint64_t key_of_text(const struct core *core, const char *text)
{
    return key_of(core, text, strlen(text));
}

uint64_t key_of_uuid(const struct core *core, const struct uuid *uuid)
{
    return key_of(core, uuid, sizeof *uuid);
}

static void kicked(struct timer *t)
{
    struct core *core = container_of(t, struct core, background.kick);
    core->up->work(core);
}

void core_kick_later(struct core *core, uint64_t delay_ms)
{
    timer_start(&core->timers, &core->background.kick, delay_ms, kicked);
}

void core_kick(struct core *core)
{
    core_kick_later(core, 0);
}

int core_running(const struct core *core, struct error *e)
{
    if (core->state == CORE_STOPPING)
        return error_set(e, ANSWER_STOPPING, "the daemon is shutting down");
    return 0;
}

int core_ready(const struct core *core, struct error *e)
{
    if (core_running(core, e))
        return e->code;
    if (core->database.state != DATABASE_WORKS)
        return error_set(e, -EIO, "%.600s", core->database.error.text);
    return 0;
}

uint64_t core_aside_ms(const struct core *core)
{
    uint64_t now = core_now_us(core), until = core->background.aside_until_us;
    return core->background.in_flight && now < until ? (until - now) / 1000 + 1 : 0;
}

void core_new_uuid(struct core *core, struct uuid *uuid)
{
    core->world->ops->random(core->world, uuid, sizeof *uuid);
    uuid_version4(uuid);
}
