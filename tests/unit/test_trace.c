/* restore/engine/trace.h: what a stage counts, and that a trace that is too long stays whole. */
#include "tests/cmocka.h"

#include "restore/engine/trace.h"
#include "restore/xen/xen.h"

#include <jansson.h>

static uint64_t hypercalls;

uint64_t xen_hypercalls(void)
{
    return hypercalls;
}

static void counts(void **state)
{
    (void)state;
    uint32_t domid = 7;
    struct trace t;
    trace_start(&t, "complete", &domid);
    trace_pages(&t, 3);
    trace_pages(&t, 4);
    hypercalls += 5;
    trace_stage_end(&t, "delta");
    trace_stage_end(&t, "unpause");
    assert_int_equal(t.n, 2);
    assert_int_equal(t.stages[0].pages, 7);
    assert_int_equal(t.stages[0].hypercalls, 5);
    assert_int_equal(t.stages[1].pages, 0); /* each stage counts its own */
    assert_int_equal(t.stages[1].hypercalls, 0);
    assert_int_equal(t.stages[0].us + t.stages[1].us, trace_total_us(&t));
    trace_pages(&t, 1);
    trace_start(&t, "complete", &domid);
    trace_stage_end(&t, "again");
    assert_int_equal(t.n, 1);
    assert_int_equal(t.stages[0].pages, 0);
}

static void as_json(void **state)
{
    (void)state;
    uint32_t domid = 7;
    struct trace t;
    trace_start(&t, "complete", &domid);
    trace_pages(&t, 12);
    trace_stage_end(&t, "delta");
    t.stages[0].us = 34;
    json_t *list = trace_to_json(&t);
    json_t *wanted = json_pack("[{s:s, s:i, s:i, s:i}]", "name", "delta", "us", 34, "hypercalls", 0,
                               "pages", 12);
    assert_true(json_equal(list, wanted));
    json_decref(list);
    json_decref(wanted);
}

static void too_many(void **state)
{
    (void)state;
    uint32_t domid = 7;
    struct trace t;
    trace_start(&t, "build", &domid);
    for (unsigned i = 0; i < 2 * TRACE_STAGES_MAX; i++)
        trace_stage_end(&t, i < TRACE_STAGES_MAX ? "kept" : "seen by the probe alone");
    assert_int_equal(t.n, TRACE_STAGES_MAX);
    assert_string_equal(t.stages[TRACE_STAGES_MAX - 1].name, "kept");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
        cmocka_unit_test(as_json),
        cmocka_unit_test(too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
