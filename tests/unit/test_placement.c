/*
 * What a domain gets of its saved configuration besides memory and devices (restore/xen/domain.h,
 * placement.h): the hypercalls have the values that libxl's have, a host that lacks something is
 * told so, and a call that fails leaves nothing.
 */
#include "tests/unit/on_machine.h"

#include "base/array.h"
#include "restore/xen/domain.h"
#include "tests/fake_xen/domains.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xen/hvm/params.h>

#define ALL 0xfu
#define PAGES 16u

static const struct uuid id = {{0x6d, 0x9b, 1}};

static void conf_parse(struct domconf *c, const char *kind, const char *c_info, const char *b_info)
{
    char json[1024];
    struct error e = {0};
    snprintf(json, sizeof json,
             "{\"c_info\":{\"type\":\"%s\"%s},\"b_info\":{\"max_vcpus\":2,\"avail_vcpus\":[0,1],"
             "\"max_memkb\":2048,\"target_memkb\":1024%s}}",
             kind, c_info, b_info);
    domconf_init(c);
    if (domconf_from_xl(json, strlen(json), c, &e))
        fail_msg("%s: %s", json, e.text);
    /* As a slot gets it: through the image. */
    char *text;
    assert_int_equal(domconf_to_json(c, &text, &e), 0);
    if (domconf_from_json(text, c, &e))
        fail_msg("%s: %s", text, e.text);
    free(text);
}

/* The domain, or DOMID_INVALID. */
static int create(const struct domconf *c, uint32_t *domid, struct error *e)
{
    struct xen x;
    *domid = DOMID_INVALID;
    int rc = xen_open(&x, e);
    if (!rc) {
        *domid = 9;
        rc = domain_create(&x, c, &id, PAGES, domid, e);
    }
    xen_close(&x);
    return rc;
}

static void destroy(uint32_t domid)
{
    struct xen x;
    assert_int_equal(xen_open(&x, &err), 0);
    if (domid != DOMID_INVALID)
        assert_int_equal(domain_discard(&x, domid, &err), 0);
    xen_close(&x);
}

/* ---- right values ---- */

/* All in which the domain is not as one of a configuration that says nothing; "" for nothing. */
static const char *described(uint32_t domid, bool pvh)
{
    static char *text;
    const struct fake_domain *d = fake_domain_find(domid);
    const struct xen_domctl_createdomain *c = &d->created_as;
    const struct {
        const char *what;
        int64_t is, usual;
    } facts[] = {
        {"pool", c->cpupool_id, 0},
        {"hard0", d->hard[0], ALL},
        {"hard1", d->hard[1], ALL},
        {"soft0", d->soft[0], ALL},
        {"soft1", d->soft[1], ALL},
        {"affinities", d->affinities, 0},
        {"nodes", d->nodes, ALL},
        {"weight", d->weight, 256},
        {"cap", d->cap, 0},
        {"time", d->time_offset_s, 0},
        {"grants", c->grant_opts, 2},
        {"vpmu", c->flags & XEN_DOMCTL_CDF_vpmu, 0},
        {"misc", c->arch.misc_flags, 0},
        {"limit", (int64_t)d->map_limit_kib, pvh ? 0 : 2048},
        {"timer", (int64_t)d->memory.params[HVM_PARAM_TIMER_MODE], pvh ? 1 : 0},
        {"max", (int64_t)d->max_mem_kib, 2048},
    };
    size_t size;
    free(text);
    FILE *out = open_memstream(&text, &size);
    for (size_t i = 0; i < ARRAY_SIZE(facts); i++)
        if (facts[i].is != facts[i].usual)
            fprintf(out, " %s=%" PRId64, facts[i].what, facts[i].is);
    fclose(out);
    return *text ? text + 1 : text;
}

static const struct {
    const char *c_info, *b_info, *pv, *pvh; /* pvh NULL: as for pv */
} cases[] = {
    {"", "", "", NULL},
    {"", ",\"sched_params\":{\"sched\":\"credit2\",\"weight\":256,\"cap\":0}", "", NULL},
    {"", ",\"sched_params\":{\"weight\":512}", "weight=512", NULL},
    {"", ",\"sched_params\":{\"sched\":\"credit\",\"weight\":-1,\"cap\":150}", "cap=150", NULL},
    {",\"pool_name\":\"lab\"", ",\"sched_params\":{\"weight\":2,\"cap\":1}",
     "pool=1 weight=2 cap=1", NULL},
    {",\"poolid\":1", "", "pool=1", NULL},
    {",\"poolid\":2,\"pool_name\":\"1\"", "", "pool=1", NULL},
    {",\"poolid\":2,\"pool_name\":\"Pool-0\"", "", "", NULL},
    {"", ",\"vcpu_hard_affinity\":[[1],[2,3,77]]", "hard0=2 hard1=12 affinities=2", NULL},
    {"", ",\"vcpu_hard_affinity\":[[1]],\"vcpu_soft_affinity\":[[0,1],[99]]",
     "hard0=2 soft0=3 soft1=0 affinities=2", NULL},
    {"", ",\"vcpu_soft_affinity\":[[3]]", "soft0=8 affinities=1", NULL},
    {"", ",\"cpumap\":[0,2]", "hard0=5 hard1=5 affinities=2", NULL},
    {"", ",\"cpumap\":[0,2],\"vcpu_hard_affinity\":[[1]]", "hard0=2 affinities=1", NULL},
    {"", ",\"nodemap\":[1,9]", "nodes=2", NULL},
    {"", ",\"nodemap\":[9]", "", NULL},
    {"", ",\"rtc_timeoffset\":7200", "time=7200", NULL},
    {"", ",\"rtc_timeoffset\":4294960096", "time=-7200", NULL},
    {"", ",\"rtc_timeoffset\":-7200", "time=-7200", NULL},
    {"", ",\"localtime\":\"True\",\"rtc_timeoffset\":60", "time=5460", NULL}, /* see main */
    {"", ",\"max_grant_version\":1", "grants=1", NULL},
    {"", ",\"vpmu\":\"True\"", "vpmu=128", NULL},
    {"", ",\"arch_x86\":{\"msr_relaxed\":\"True\"}", "misc=1", NULL},
    {"", ",\"timer_mode\":\"no_missed_ticks_pending\"", "", "timer=2"},
    {"", ",\"type.pv\":{\"slack_memkb\":512}", "limit=2560", ""},
    {"", ",\"video_memkb\":512", "", NULL}, /* of the target, not beyond it */
};

static void right_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases) * 2; i++) {
        size_t n = i / 2;
        bool pvh = i % 2;
        struct domconf c;
        uint32_t domid;
        conf_parse(&c, pvh ? "pvh" : "pv", cases[n].c_info, cases[n].b_info);
        if (create(&c, &domid, &err))
            fail_msg("%s: %s", cases[n].b_info, err.text);
        assert_string_equal(described(domid, pvh),
                            pvh && cases[n].pvh ? cases[n].pvh : cases[n].pv);
        destroy(domid);
        domconf_dispose(&c);
        assert_nothing_left("%s", cases[n].b_info);
    }
}

/* ---- a host that lacks something ---- */

static void refused(const char *c_info, const char *b_info, const char *why)
{
    struct domconf c;
    uint32_t domid;
    err = (struct error){0};
    conf_parse(&c, "pvh", c_info, b_info);
    assert_int_equal(create(&c, &domid, &err), ANSWER_IMAGE_REFUSED);
    assert_says(err.text, why);
    destroy(domid);
    domconf_dispose(&c);
    assert_nothing_left("%s", why);
}

static void host_lacks(void **state)
{
    (void)state;
    refused(",\"pool_name\":\"gone\"", "", "cpupool \"gone\", and this host has none of that name");
    refused(",\"poolid\":2", "", "cpupool 2, and this host has none of that number");
    fake_hypervisor.pools[2] = (struct fake_pool){true, XEN_SCHEDULER_CREDIT2, 0};
    refused(",\"poolid\":2", "", "cpupool 2, and that has no processor");
    refused("", ",\"vcpu_hard_affinity\":[[1],[8,9,10,77]]",
            "vCPU 1 may run only on processors 8-10,77");
    refused(",\"pool_name\":\"lab\"", ",\"vcpu_hard_affinity\":[[0]]",
            "vCPU 0 may run only on processors 0,");
    fake_hypervisor.old_grants = true;
    refused("", ",\"max_grant_version\":2", "grant tables of version 2");
    fake_hypervisor.vpmu = false;
    refused("", ",\"vpmu\":\"True\"", "performance counters");
    fake_store_remove("/local/pool");
    refused(",\"pool_name\":\"lab\"", "", "none of that name");
}

/* xl restore applies what the scheduler of the pool has, and nothing else. */
static void other_scheduler(void **state)
{
    (void)state;
    struct domconf c;
    uint32_t domid;
    fake_hypervisor.pools[0].scheduler = XEN_SCHEDULER_NULL;
    conf_parse(&c, "pv", "", ",\"sched_params\":{\"weight\":2,\"cap\":1}");
    if (create(&c, &domid, &err))
        fail_msg("%s", err.text);
    assert_string_equal(described(domid, false), "");
    destroy(domid);
    domconf_dispose(&c);
}

/* ---- each call fails once ---- */

static void each_call_fails(enum fault_kind kind, const char *pool, unsigned at_least)
{
    unsigned n = 0;
    struct domconf c;
    conf_parse(&c, "pv", pool,
               ",\"vcpu_hard_affinity\":[[1],[2]],\"vcpu_soft_affinity\":[[1],[2]],"
               "\"nodemap\":[0],\"sched_params\":{\"weight\":5,\"cap\":7},\"rtc_timeoffset\":1");
    for (bool came = true; came; n++) {
        uint32_t domid;
        err = (struct error){0};
        fault_plan(kind, n, fault_errno(kind));
        int rc = create(&c, &domid, &err);
        came = fault_end();
        if (!came && rc)
            fail_msg("call %u: %s", n, err.text);
        if (came && !rc && strcmp(fault_call(), "xc_physinfo") != 0)
            fail_msg("call %u (%s) failed unnoticed", n, fault_call());
        if (rc)
            assert_explained(rc, &err, n);
        destroy(domid);
        assert_nothing_left("call %u (%s)", n, fault_call());
    }
    assert_true(n > at_least);
    domconf_dispose(&c);
}

static void calls_fail(void **state)
{
    (void)state;
    each_call_fails(FAULT_HYPERVISOR, "", 12);
    each_call_fails(FAULT_HYPERVISOR, ",\"pool_name\":\"lab\"", 12);
    each_call_fails(FAULT_STORE, ",\"pool_name\":\"lab\"", 3);
    each_call_fails(FAULT_MEMORY, ",\"pool_name\":\"lab\"", 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_MACHINE(right_values),
        TEST_ON_MACHINE(host_lacks),
        TEST_ON_MACHINE(other_scheduler),
        TEST_ON_MACHINE(calls_fail),
    };
    setenv("TZ", "XYZ-1:30", 1); /* 5,400 s east of UTC, in summer too */
    tzset();
    return cmocka_run_group_tests(tests, on_machine_setup, dir_teardown);
}
