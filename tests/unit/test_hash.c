/* base/hash.h: nothing is lost, doubled or put out of order, with memory for buckets and
 * without. */
#include "tests/cmocka.h"

#include "base/hash.h"
#include "tests/random.h"

#define MEMBERS 3000

struct member {
    struct hash_node node;
    unsigned key;
    bool in;
};

static struct member members[MEMBERS];
static bool memory = true;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
    return memory ? __real_calloc(n, size) : NULL;
}

static struct member *member_at(struct hash_node *node)
{
    return node ? container_of(node, struct member, node) : NULL;
}

/* Few different ones, all in the same buckets unless the upper bits are looked at. */
static uint64_t hash_of(unsigned key)
{
    return (uint64_t)(key / 3) * 0x10001;
}

static struct member *find(const struct hash *h, unsigned key)
{
    struct hash_node *node = hash_first(h, hash_of(key));
    while (node && member_at(node)->key != key)
        node = hash_next(h, node);
    return member_at(node);
}

static void look_at_all(const struct hash *h, size_t n)
{
    assert_int_equal(h->n, n);
    for (unsigned i = 0; i < MEMBERS; i++)
        assert_ptr_equal(find(h, i), members[i].in ? &members[i] : NULL);
}

static void begin(struct hash *h)
{
    hash_init(h);
    for (unsigned i = 0; i < MEMBERS; i++) {
        members[i] = (struct member){.key = i};
        hash_node_init(&members[i].node);
    }
}

static void in_and_out(void)
{
    struct hash h;
    size_t n = 0;
    random_seed(1);
    begin(&h);
    for (unsigned round = 0; round < 20 * MEMBERS; round++) {
        struct member *m = &members[below(MEMBERS)];
        if (m->in)
            hash_remove(&h, &m->node);
        else
            hash_put(&h, &m->node, hash_of(m->key));
        n += m->in ? (size_t)-1 : 1;
        m->in = !m->in;
    }
    look_at_all(&h, n);
    for (unsigned i = 0; i < MEMBERS; i++) {
        hash_remove(&h, &members[i].node); /* also those that are in no table */
        members[i].in = false;
    }
    look_at_all(&h, 0);
    hash_dispose(&h);
}

static void with_memory(void **state)
{
    (void)state;
    in_and_out();
}

static void without_memory(void **state)
{
    struct hash h;
    (void)state;
    memory = false;
    in_and_out();
    begin(&h);
    for (unsigned i = 0; i < 100; i++)
        hash_put(&h, &members[i].node, hash_of(i));
    assert_int_equal(h.n_buckets, HASH_FEW);
    memory = true; /* and it grows as soon as there is some */
    hash_put(&h, &members[100].node, hash_of(100));
    assert_int_equal(h.n_buckets, 2 * HASH_FEW);
    assert_ptr_equal(find(&h, 0), &members[0]);
    hash_dispose(&h);
}

/* However often the buckets were doubled meanwhile. */
static void order_kept(void **state)
{
    struct hash h;
    (void)state;
    begin(&h);
    for (unsigned i = 0; i < MEMBERS; i++)
        hash_put(&h, &members[i].node, i % 7);
    assert_true(h.n_buckets >= MEMBERS / 2);
    struct hash_node *node = hash_first(&h, 5);
    for (unsigned i = 5; i < MEMBERS; i += 7, node = hash_next(&h, node))
        assert_ptr_equal(member_at(node), &members[i]);
    assert_null(node);
    hash_dispose(&h);
}

/* A disposed table is empty, and its members may go into it, or into another. */
static void used_again(void **state)
{
    struct hash h;
    (void)state;
    begin(&h);
    for (unsigned turn = 0; turn < 2; turn++) {
        for (unsigned i = 0; i < 100; i++)
            hash_put(&h, &members[i].node, hash_of(i));
        hash_dispose(&h);
        look_at_all(&h, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_memory),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(order_kept),
        cmocka_unit_test(used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
