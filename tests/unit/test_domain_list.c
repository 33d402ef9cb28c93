/* pool/service/domain_list.h: what it finds by uuid and by name is what one finds who looks at
 * all. */
#include "tests/cmocka.h"

#include "base/array.h"
#include "pool/service/domain_list.h"
#include "tests/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 100

static bool memory = true;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
    return memory ? __real_calloc(n, size) : NULL;
}

/* The domains of a test, by domid; some have the uuid or the name of another one. */
static struct host_domain domains[MOST];
static bool gone[MOST];

static struct uuid uuid_of(unsigned number)
{
    return (struct uuid){{(uint8_t)(number * 37), 1, (uint8_t)number}};
}

static void make(struct domain_list *l, unsigned n)
{
    struct host_domain *all = malloc(MOST * sizeof *all);
    assert_non_null(all);
    memset(domains, 0, sizeof domains);
    memset(gone, 0, sizeof gone);
    for (unsigned i = 0; i < n; i++) {
        domains[i].domid = i + 1;
        domains[i].uuid = uuid_of(below(n));
        snprintf(domains[i].name, sizeof domains[i].name, "d%u", below(n));
    }
    for (unsigned i = 0; i < n; i++) /* the host has its own order */
        all[i] = domains[n - 1 - i];
    assert_int_equal(domain_list_make(l, all, n, NULL), 0);
}

static void forget(struct domain_list *l, unsigned n, unsigned number)
{
    const struct uuid uuid = uuid_of(number);
    domain_list_forget(l, &uuid);
    for (unsigned i = 0; i < n; i++)
        gone[i] |= uuid_equal(&domains[i].uuid, &uuid);
}

static void compare_uuid(const struct domain_list *l, unsigned n, unsigned number)
{
    const struct uuid uuid = uuid_of(number);
    const struct host_domain *d = domain_list_first(l, &uuid);
    for (unsigned i = 0; i < n; i++) {
        if (gone[i] || !uuid_equal(&domains[i].uuid, &uuid))
            continue;
        assert_non_null(d);
        assert_int_equal(d->domid, domains[i].domid);
        d = domain_list_next(l, d);
    }
    assert_null(d);
}

static void compare_name(const struct domain_list *l, unsigned n, unsigned number)
{
    char name[16];
    bool named = false;
    snprintf(name, sizeof name, "d%u", number);
    for (unsigned i = 0; i < n; i++)
        named |= !gone[i] && !strcmp(domains[i].name, name);
    assert_int_equal(domain_list_named(l, name), named);
}

static void compare_all(const struct domain_list *l, unsigned n)
{
    unsigned present = 0, places = 0;
    for (unsigned i = 0; i < n; i++) {
        compare_uuid(l, n, i);
        compare_name(l, n, i);
        present += !gone[i];
        places += domain_list_at(l, i) != NULL;
    }
    compare_uuid(l, n, MOST + 1);
    compare_name(l, n, MOST + 1);
    assert_int_equal(places, present);
}

static void searched(void **state)
{
    static const unsigned sizes[] = {0, 1, 2, 3, 10, MOST};
    struct domain_list l;
    (void)state;
    random_seed(3);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        make(&l, sizes[i]);
        compare_all(&l, sizes[i]);
        for (unsigned j = 0; j < sizes[i]; j += 3) {
            forget(&l, sizes[i], j);
            compare_all(&l, sizes[i]);
        }
        domain_list_dispose(&l);
        compare_uuid(&l, 0, 1);
    }
}

static void no_memory(void **state)
{
    struct domain_list l;
    struct error e;
    struct host_domain *all = malloc(sizeof *all);
    (void)state;
    assert_non_null(all);
    memory = false;
    assert_int_equal(domain_list_make(&l, all, 1, &e), -ENOMEM);
    memory = true;
    assert_int_equal(l.n, 0);
    assert_false(domain_list_named(&l, "d1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(searched), cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
