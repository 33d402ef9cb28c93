/* Targets: see targets.h. */
#include "tests/bench/targets.h"

#include "base/array.h"

/* Of guests with 1 vCPU; all have 4 disks. */
#define GUEST(row, who, guest, mib, delta, metric)                                                 \
    {                                                                                              \
        row, who, guest, mib, 1, delta, metric                                                     \
    }
#define PV(row, who, mib, delta, metric) GUEST(row, who, "pv", mib, delta, metric)
#define PVH(row, who, mib, delta, metric) GUEST(row, who, "pvh", mib, delta, metric)
#define ALONE PV("", "", 0, 0, "")

const struct target targets[] = {
    {"unpaused, 1,024 delta pages: xl restore against allocate", TARGET_MEDIAN,
     PV("allocate", "xl", 400, 1024, "unpaused"), PV("allocate", "direct", 400, 1024, "unpaused"),
     true, 100},
    {"unpaused, no delta: xl restore against allocate", TARGET_MEDIAN,
     PV("allocate", "xl", 400, 0, "unpaused"), PV("allocate", "direct", 400, 0, "unpaused"), true,
     150},
    {"one more delta page against a memcpy of one, cold", TARGET_SLOPE,
     PV("allocate", "direct", 400, 0, "unpaused"), PV("floor", "memcpy", 400, 0, "cold"), false, 3},
    {"one more delta page against a memcpy of one, once more", TARGET_SLOPE,
     PV("allocate", "direct", 400, 0, "unpaused"), PV("floor", "memcpy", 400, 0, "warm"), false, 3},
    {"unpaused, 1024 MB against 128 MB", TARGET_MEDIAN,
     PV("size", "direct", 1024, 1024, "unpaused"), PV("size", "direct", 128, 1024, "unpaused"),
     false, 1.15},
    {"unpaused, 20 slots and leases against 2", TARGET_MEDIAN,
     PV("scale", "20 slots and leases", 128, 1024, "unpaused"),
     PV("scale", "2 slots and leases", 128, 1024, "unpaused"), false, 1.15},
    {"p95 of unpaused, pool refills and domains are destroyed, against idle", TARGET_P95,
     PV("busy", "busy", 400, 1024, "unpaused"), PV("busy", "idle", 400, 1024, "unpaused"), false,
     2},
    {"a slot: xl restore of the base against building", TARGET_MEDIAN,
     PV("build", "xl", 400, 0, "unpaused"), PV("build", "direct", 400, 0, "warm"), true, 3},
    {"hypercalls of an allocation besides copies, 1 vCPU", TARGET_MEDIAN,
     PV("allocate", "direct", 400, 1024, "hypercalls"), ALONE, false, 16},
    {"pages of the p2m (few: superpages): PVH slot against xl create", TARGET_MEDIAN,
     PVH("superpages", "direct", 400, 0, "p2m pages"),
     PVH("superpages", "xl create", 400, 0, "p2m pages"), false, 1},
};
const size_t n_targets = ARRAY_SIZE(targets);

/* The 95th percentile of fewer samples is the largest of them (nearest rank), which says nothing.
 */
enum { P95_SAMPLES = 20 };

static bool figure_of(enum target_figure figure, const struct series_key *key,
                      const struct samples *s, double *value)
{
    if (figure == TARGET_SLOPE)
        return samples_slope(s, key, value);
    const struct series *found = samples_find(s, key);
    if (!found || (figure == TARGET_P95 && found->n < P95_SAMPLES))
        return false;
    *value = figure == TARGET_P95 ? series_p95(found) : series_median(found);
    return true;
}

enum verdict target_judge(const struct target *t, const struct samples *s, double *value)
{
    double over, under = 1;
    if (!figure_of(t->figure, &t->over, s, &over) ||
        (t->under.row[0] && !figure_of(t->figure, &t->under, s, &under)) || under <= 0)
        return VERDICT_NOT_MEASURED;
    *value = over / under;
    return (t->at_least ? *value >= t->limit : *value <= t->limit) ? VERDICT_MET : VERDICT_MISSED;
}

const char *verdict_name(enum verdict v)
{
    static const char *const names[] = {"met", "missed", "not measured"};
    return names[v];
}
