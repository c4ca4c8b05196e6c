/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cluster_hash.c - picking by key: who gets it, who gets it instead, and the bound on loads.
 */
#include "cluster/cluster_balance.h"
#include "cluster_fixture.h"

#define SEED 20260708
#define KEYS 20000

struct hash_bench {
    struct fixture f;
    struct cluster_view *view;
    struct cluster_judgement judgements[64];
    struct fr_rand rand;
    enum cluster_pick_way way;
    struct cluster_pick pick;
};

static void
hash_bench_init(struct hash_bench *b, uint32_t members)
{
    memset(b, 0, sizeof(*b));
    fixture_init(&b->f, members, 1);
    b->f.config->balance = CONFIG_BALANCE_HASH;
    b->f.config->hash.bound = 0;
    fr_rand_init(&b->rand, SEED);
    b->pick = (struct cluster_pick){.now_us = 1000000,
                                    .rand = &b->rand,
                                    .judgements = b->judgements,
                                    .keyed = true,
                                    .out_way = &b->way};
}

static void
hash_bench_view(struct hash_bench *b)
{
    struct cluster_view *before = b->view;
    b->view = fixture_view(&b->f);
    cluster_view_complete(b->view, before, NULL);
    cluster_view_unref(&before);
}

static void
hash_bench_fini(struct hash_bench *b)
{
    cluster_view_unref(&b->view);
    fixture_fini(&b->f);
}

/* The index of the endpoint that key number n goes to. */
static uint32_t
pick_key(struct hash_bench *b, uint32_t n)
{
    b->pick.key = cluster_ring_mix(n);
    const struct cluster_endpoint *e = cluster_balance_pick(b->view, &b->pick);
    assert_non_null(e);
    return e->index;
}

static uint32_t homes[KEYS];

static void
find_homes(struct hash_bench *b)
{
    for (uint32_t n = 0; n < KEYS; n++) {
        homes[n] = pick_key(b, n);
        assert_int_equal(b->way, CLUSTER_PICK_HOME);
    }
}

static void
a_key_stays(void **state)
{
    (void)state;
    struct hash_bench b;
    hash_bench_init(&b, 5);
    hash_bench_view(&b);
    find_homes(&b);
    for (uint32_t n = 0; n < KEYS; n++)
        assert_int_equal(pick_key(&b, n), homes[n]);
    hash_bench_fini(&b);
}

static void
no_key_is_balanced_by_load(void **state)
{
    (void)state;
    struct hash_bench b;
    uint32_t hits[4] = {0};
    hash_bench_init(&b, 4);
    hash_bench_view(&b);
    b.pick.keyed = false;
    for (uint32_t n = 0; n < 4000; n++)
        hits[pick_key(&b, 7)]++;
    assert_int_equal(b.way, CLUSTER_PICK_KEYLESS);
    for (uint32_t i = 0; i < 4; i++)
        assert_in_range(hits[i], 800, 1200);
    hash_bench_fini(&b);
}

enum trouble { UNHEALTHY, EJECTED, DRAINING, AVOIDED, TROUBLES };

static void
set_trouble(struct hash_bench *b, enum trouble trouble, const struct cluster_member **avoid)
{
    avoid[0] = b->f.members[1];
    b->f.endpoints[1].healthy = trouble != UNHEALTHY;
    b->f.endpoints[1].weight = trouble == DRAINING ? 0 : 100;
    cluster_eject(b->f.members[1], 0, b->judgements, trouble == EJECTED ? b->pick.now_us + 1 : 0);
    b->pick.avoid = avoid;
    b->pick.avoid_count = trouble == AVOIDED;
    hash_bench_view(b);
}

/* Its keys go to others, to more than one of them; the keys of others stay; and back. */
static void
a_member_in_trouble_gives_up_its_own_keys(void **state)
{
    (void)state;
    for (enum trouble trouble = 0; trouble < TROUBLES; trouble++) {
        struct hash_bench b;
        const struct cluster_member *avoid[1];
        uint32_t taken[4] = {0};
        hash_bench_init(&b, 4);
        hash_bench_view(&b);
        find_homes(&b);
        set_trouble(&b, trouble, avoid);
        for (uint32_t n = 0; n < KEYS; n++) {
            uint32_t now = pick_key(&b, n);
            assert_int_not_equal(now, 1);
            if (homes[n] == 1)
                taken[now]++;
            else
                assert_int_equal(now, homes[n]);
            if (homes[n] == 1 && trouble != DRAINING) /* which has no place in the table */
                assert_int_equal(b.way, CLUSTER_PICK_NEXT);
        }
        for (uint32_t i = 0; i < 4; i++)
            if (i != 1)
                assert_in_range(taken[i], KEYS / 4 / 3 / 2, KEYS / 4);
        set_trouble(&b, TROUBLES, avoid);
        for (uint32_t n = 0; n < KEYS; n++)
            assert_int_equal(pick_key(&b, n), homes[n]);
        hash_bench_fini(&b);
    }
}

static void
when_all_are_ejected_the_key_goes_home(void **state)
{
    (void)state;
    struct hash_bench b;
    hash_bench_init(&b, 3);
    hash_bench_view(&b);
    find_homes(&b);
    for (uint32_t i = 0; i < 3; i++)
        cluster_eject(b.f.members[i], 0, b.judgements, b.pick.now_us + 1);
    for (uint32_t n = 0; n < KEYS; n++)
        assert_int_equal(pick_key(&b, n), homes[n]);
    hash_bench_fini(&b);
}

static void
nobody_is_nobody(void **state)
{
    (void)state;
    struct hash_bench b;
    hash_bench_init(&b, 3);
    for (uint32_t i = 0; i < 3; i++)
        b.f.endpoints[i].healthy = false;
    hash_bench_view(&b);
    assert_null(cluster_balance_pick(b.view, &b.pick));
    for (uint32_t i = 0; i < 3; i++)
        b.f.endpoints[i] = (struct cluster_endpoint){b.f.members[i], 0, true, 0};
    hash_bench_view(&b);
    assert_null(b.view->ring);
    assert_null(cluster_balance_pick(b.view, &b.pick));
    hash_bench_fini(&b);
}

static void
enter(struct hash_bench *b, uint32_t index)
{
    cluster_member_enter(b->f.members[index], 0, 0);
    b->pick.in_flight++;
}

/* Everything asks for one key. No member ever has more than the bound, and none is idle for it. */
static void
one_hot_key_is_bounded(void **state)
{
    (void)state;
    static const double bounds[] = {1, 1.25, 2};
    for (size_t row = 0; row < 3; row++) {
        struct hash_bench b;
        hash_bench_init(&b, 6);
        b.f.config->hash.bound = bounds[row];
        for (uint32_t i = 0; i < 6; i++)
            b.f.endpoints[i].weight = i < 3 ? 100 : 50;
        hash_bench_view(&b);
        for (uint32_t n = 1; n <= 900; n++) {
            uint32_t index = pick_key(&b, 42);
            enter(&b, index);
            uint64_t load = b.f.members[index]->stats[0].in_flight;
            double fair = (double)n * b.f.endpoints[index].weight / 450.0;
            assert_true((double)load <= bounds[row] * fair + 1);
        }
        hash_bench_fini(&b);
    }
}

static void
spilled_keys_come_back(void **state)
{
    (void)state;
    struct hash_bench b;
    hash_bench_init(&b, 4);
    b.f.config->hash.bound = 1.25;
    hash_bench_view(&b);
    find_homes(&b);
    uint32_t home = homes[0];
    for (int i = 0; i < 10; i++)
        enter(&b, home);
    uint32_t next = pick_key(&b, 0);
    assert_int_not_equal(next, home);
    assert_int_equal(b.way, CLUSTER_PICK_SPILLED);
    assert_int_equal(pick_key(&b, 0), next); /* ... and all spill to the same one */
    for (uint32_t i = 0; i < 4; i++)
        for (int k = 0; k < 10 && i != home; k++)
            enter(&b, i);
    assert_int_equal(pick_key(&b, 0), home);
    assert_int_equal(b.way, CLUSTER_PICK_HOME);
    while (b.f.members[0]->stats[0].in_flight)
        cluster_member_leave(b.f.members[0], 0, 0);
    hash_bench_fini(&b);
}

/* The mean is made of requests that an ejected member holds as well: then nobody may be within the
 * bound, and the least loaded takes it. */
static void
over_the_bound_everywhere_is_the_least_loaded(void **state)
{
    (void)state;
    struct hash_bench b;
    hash_bench_init(&b, 4);
    b.f.config->hash.bound = 1;
    hash_bench_view(&b);
    for (uint32_t i = 0; i < 4; i++)
        for (uint32_t k = 0; k < 10 + i; k++)
            cluster_member_enter(b.f.members[i], 0, 0);
    b.pick.in_flight = 4;
    for (uint32_t n = 0; n < 100; n++)
        assert_int_equal(pick_key(&b, n), 0);
    hash_bench_fini(&b);
}

static void
slow_start_takes_keys_little_by_little(void **state)
{
    (void)state;
    struct hash_bench b;
    hash_bench_init(&b, 4);
    hash_bench_view(&b);
    find_homes(&b);
    b.f.config->slow_start_us = 1000000;
    b.f.endpoints[3].ramp_from_us = b.pick.now_us;
    hash_bench_view(&b);
    int64_t from_us = b.pick.now_us;
    uint32_t all = 0, had = 0;
    static bool came[KEYS];
    for (uint32_t n = 0; n < KEYS; n++)
        all += homes[n] == 3;
    for (int64_t step = 0; step <= 10; step++) {
        uint32_t has = 0;
        b.pick.now_us = from_us + step * 100000;
        for (uint32_t n = 0; n < KEYS; n++) {
            bool here = pick_key(&b, n) == 3;
            assert_true(here || !came[n]); /* a key that came stays */
            assert_true(homes[n] == 3 || !here);
            came[n] = here;
            has += here;
        }
        assert_true(has > had || step == 0);
        had = has;
        double share = 0.1 + 0.09 * (double)step;
        assert_true(has > (share - 0.05) * all && has < (share + 0.05) * all);
    }
    assert_int_equal(had, all);
    hash_bench_fini(&b);
}

/* All of a cluster's members may be new. */
static void
all_ramping_is_no_reason_to_refuse(void **state)
{
    (void)state;
    struct hash_bench b;
    hash_bench_init(&b, 3);
    b.f.config->slow_start_us = 1000000;
    for (uint32_t i = 0; i < 3; i++)
        b.f.endpoints[i].ramp_from_us = b.pick.now_us;
    hash_bench_view(&b);
    for (uint32_t n = 0; n < 1000; n++)
        assert_int_equal(pick_key(&b, n), pick_key(&b, n));
    hash_bench_fini(&b);
}

static void
the_table_is_shared_while_it_fits(void **state)
{
    (void)state;
    struct hash_bench b;
    hash_bench_init(&b, 3);
    hash_bench_view(&b);
    struct cluster_ring *ring = cluster_ring_ref(b.view->ring);
    b.f.endpoints[0].healthy = false;
    hash_bench_view(&b);
    assert_ptr_equal(b.view->ring, ring);
    b.f.endpoints[0].weight = 10;
    hash_bench_view(&b);
    assert_ptr_not_equal(b.view->ring, ring);
    cluster_ring_unref(&ring);
    b.f.config->balance = CONFIG_BALANCE_P2C;
    hash_bench_view(&b);
    assert_null(b.view->ring);
    hash_bench_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_stays),
        cmocka_unit_test(no_key_is_balanced_by_load),
        cmocka_unit_test(a_member_in_trouble_gives_up_its_own_keys),
        cmocka_unit_test(when_all_are_ejected_the_key_goes_home),
        cmocka_unit_test(nobody_is_nobody),
        cmocka_unit_test(one_hot_key_is_bounded),
        cmocka_unit_test(spilled_keys_come_back),
        cmocka_unit_test(over_the_bound_everywhere_is_the_least_loaded),
        cmocka_unit_test(slow_start_takes_keys_little_by_little),
        cmocka_unit_test(all_ramping_is_no_reason_to_refuse),
        cmocka_unit_test(the_table_is_shared_while_it_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
