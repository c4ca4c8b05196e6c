/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cluster_balance.c - shares, ramps, ejection and panic, with seeded randomness.
 */
#include "cluster/cluster_balance.h"
#include "cluster_fixture.h"

#include <inttypes.h>

#define SEED 20260101
#define PICKS 100000

struct bench {
    struct fixture f;
    struct cluster_view *view;
    struct cluster_judgement judgements[FIXTURE_MEMBERS];
    struct fr_rand rand;
    struct cluster_pick pick;
    uint32_t hits[FIXTURE_MEMBERS];
};

static void
bench_init(struct bench *b, uint32_t members, enum config_balance balance)
{
    memset(b, 0, sizeof(*b));
    fixture_init(&b->f, members, 1);
    b->f.config->balance = balance;
    fr_rand_init(&b->rand, SEED);
    print_message("seed %d\n", SEED);
    b->pick =
        (struct cluster_pick){.now_us = 1000000, .rand = &b->rand, .judgements = b->judgements};
}

static void
bench_view(struct bench *b)
{
    cluster_view_unref(&b->view);
    b->view = fixture_view(&b->f);
}

static void
bench_fini(struct bench *b)
{
    cluster_view_unref(&b->view);
    fixture_fini(&b->f);
}

static uint32_t
bench_pick(struct bench *b)
{
    const struct cluster_endpoint *e = cluster_balance_pick(b->view, &b->pick);
    assert_non_null(e);
    return e->index;
}

static void
bench_run(struct bench *b, uint32_t picks)
{
    memset(b->hits, 0, sizeof(b->hits));
    for (uint32_t i = 0; i < picks; i++)
        b->hits[bench_pick(b)]++;
}

static void
assert_share(const struct bench *b, uint32_t i, double share, double within)
{
    double got = b->hits[i] / (double)PICKS;
    if (got < share - within || got > share + within)
        fail_msg("endpoint %u got %.4f, expected %.4f +- %.4f", i, got, share, within);
}

static const enum config_balance all_balancers[] = {CONFIG_BALANCE_P2C, CONFIG_BALANCE_ROUND_ROBIN,
                                                    CONFIG_BALANCE_LEAST_REQUEST};
#define EACH_BALANCER(i) for (size_t i = 0; i < 3; i++)

static void
round_robin_is_exact_and_smooth(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 3, CONFIG_BALANCE_ROUND_ROBIN);
    b.f.endpoints[0].weight = 5;
    b.f.endpoints[1].weight = 1;
    b.f.endpoints[2].weight = 1;
    bench_view(&b);
    /* The sequence of nginx's own example for {5, 1, 1}. */
    const uint32_t expected[] = {0, 0, 1, 0, 2, 0, 0};
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < 7; i++)
            assert_int_equal(bench_pick(&b), expected[i]);
    bench_fini(&b);
}

static void
equal_weights_share_equally(void **state)
{
    (void)state;
    EACH_BALANCER(k) {
        struct bench b;
        bench_init(&b, 4, all_balancers[k]);
        bench_view(&b);
        bench_run(&b, PICKS);
        for (uint32_t i = 0; i < 4; i++)
            assert_share(&b, i, 0.25, 0.01);
        bench_fini(&b);
    }
}

/* With requests that stay in flight, a member of weight w must carry w's share of them. */
static void
loads_in_flight_follow_weights(void **state)
{
    (void)state;
    EACH_BALANCER(k) {
        struct bench b;
        bench_init(&b, 3, all_balancers[k]);
        b.f.endpoints[0].weight = 50;
        b.f.endpoints[1].weight = 100;
        b.f.endpoints[2].weight = 150;
        bench_view(&b);
        for (uint32_t i = 0; i < 6000; i++)
            cluster_member_enter(cluster_view_at(b.view, bench_pick(&b))->member, 0, 0);
        for (uint32_t i = 0; i < 3; i++) {
            double n = (double)b.f.members[i]->stats[0].in_flight;
            double expected = 1000.0 * (i + 1);
            assert_true(n > 0.95 * expected && n < 1.05 * expected);
            while (b.f.members[i]->stats[0].in_flight)
                cluster_member_leave(b.f.members[i], 0, 0);
        }
        bench_fini(&b);
    }
}

static void
p2c_prefers_the_idler_of_two(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 2, CONFIG_BALANCE_P2C);
    bench_view(&b);
    cluster_member_enter(b.f.members[0], 0, 0);
    bench_run(&b, 1000);
    assert_int_equal(b.hits[0], 0);
    assert_int_equal(b.hits[1], 1000);
    cluster_member_leave(b.f.members[0], 0, 0);
    bench_fini(&b);
}

/* One request on the member of full weight makes the idle one of a tenth no better. */
static void
p2c_keeps_to_weights_under_light_load(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 2, CONFIG_BALANCE_P2C);
    b.f.endpoints[0].weight = 10;
    bench_view(&b);
    cluster_member_enter(b.f.members[1], 0, 0);
    bench_run(&b, PICKS);
    assert_share(&b, 0, 10.0 / 110, 0.01);
    cluster_member_enter(b.f.members[0], 0, 0); /* both have one: the tenth is worse off */
    bench_run(&b, 1000);
    assert_int_equal(b.hits[1], 1000);
    cluster_member_leave(b.f.members[0], 0, 0);
    cluster_member_leave(b.f.members[1], 0, 0);
    bench_fini(&b);
}

static void
least_request_takes_the_least(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 4, CONFIG_BALANCE_LEAST_REQUEST);
    b.f.endpoints[3].weight = 200;
    bench_view(&b);
    for (uint32_t i = 0; i < 3; i++)
        cluster_member_enter(b.f.members[i], 0, 0);
    cluster_member_enter(b.f.members[3], 0, 0); /* 1/200 is less than 1/100 */
    bench_run(&b, 1000);
    assert_int_equal(b.hits[3], 1000);
    cluster_member_enter(b.f.members[3], 0, 0); /* 2/200 ties with the three others */
    bench_run(&b, PICKS);
    for (uint32_t i = 0; i < 4; i++)
        assert_share(&b, i, 0.25, 0.01);
    for (uint32_t i = 0; i < 4; i++)
        while (b.f.members[i]->stats[0].in_flight)
            cluster_member_leave(b.f.members[i], 0, 0);
    bench_fini(&b);
}

static void
slow_start_rises_from_a_tenth(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 2, CONFIG_BALANCE_ROUND_ROBIN);
    b.f.config->slow_start_us = 10000000;
    b.f.endpoints[1].ramp_from_us = 1000000;
    bench_view(&b);
    const struct cluster_endpoint *young = cluster_view_at(b.view, 1);
    assert_int_equal(cluster_endpoint_weight(b.view, young, 0), 10); /* before its start */
    assert_int_equal(cluster_endpoint_weight(b.view, young, 1000000), 10);
    assert_int_equal(cluster_endpoint_weight(b.view, young, 6000000), 55);
    assert_int_equal(cluster_endpoint_weight(b.view, young, 10999999), 99);
    assert_int_equal(cluster_endpoint_weight(b.view, young, 11000000), 100);
    assert_int_equal(cluster_endpoint_weight(b.view, cluster_view_at(b.view, 0), 1000000), 100);
    b.pick.now_us = 1000000;
    bench_run(&b, PICKS);
    assert_share(&b, 1, 10.0 / 110, 0.005);
    b.pick.now_us = 11000000;
    bench_run(&b, PICKS);
    assert_share(&b, 1, 0.5, 0.005);
    b.f.endpoints[1].weight = 3; /* a ramp never rounds to nothing */
    bench_view(&b);
    assert_int_equal(cluster_endpoint_weight(b.view, cluster_view_at(b.view, 1), 1000000), 1);
    bench_fini(&b);
}

static void
unfit_ones_are_passed_over(void **state)
{
    (void)state;
    EACH_BALANCER(k) {
        struct bench b;
        bench_init(&b, 5, all_balancers[k]);
        b.f.endpoints[0].weight = 0;
        b.f.endpoints[1].healthy = false;
        cluster_eject(b.f.members[2], 0, b.judgements, b.pick.now_us + 1);
        const struct cluster_member *avoid[] = {b.f.members[3]};
        b.pick.avoid = avoid;
        b.pick.avoid_count = 1;
        bench_view(&b);
        bench_run(&b, 1000);
        assert_int_equal(b.hits[4], 1000);
        b.pick.now_us++; /* the ejection is over */
        bench_run(&b, 1000);
        assert_true(b.hits[2] > 0);
        assert_int_equal(b.hits[0] + b.hits[1] + b.hits[3], 0);
        bench_fini(&b);
    }
}

/* Ejection is a guess and gives way; a failed active check and a weight of 0 do not. */
static void
when_only_ejected_ones_are_left_they_are_tried(void **state)
{
    (void)state;
    EACH_BALANCER(k) {
        struct bench b;
        bench_init(&b, 4, all_balancers[k]);
        b.f.endpoints[0].weight = 0;
        b.f.endpoints[1].healthy = false;
        cluster_eject(b.f.members[2], 0, b.judgements, b.pick.now_us + 1);
        cluster_eject(b.f.members[3], 0, b.judgements, b.pick.now_us + 1);
        bench_view(&b);
        bench_run(&b, 1000);
        assert_int_equal(b.hits[0] + b.hits[1], 0);
        assert_true(b.hits[2] > 300 && b.hits[3] > 300);
        const struct cluster_member *avoid[] = {b.f.members[2], b.f.members[3]};
        b.pick.avoid = avoid;
        b.pick.avoid_count = 2;
        assert_null(cluster_balance_pick(b.view, &b.pick));
        bench_fini(&b);
        bench_init(&b, 0, all_balancers[k]);
        bench_view(&b);
        assert_null(cluster_balance_pick(b.view, &b.pick));
        bench_fini(&b);
    }
}

static void
failures_in_a_row_eject_longer_each_time(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 2, CONFIG_BALANCE_P2C);
    b.f.config->ejection =
        (struct config_ejection){.failures = 3, .time_us = 10000, .max_share = 0.5};
    bench_view(&b);
    const struct cluster_endpoint *bad = cluster_view_at(b.view, 0);
    struct cluster_judgement *j = &b.judgements[bad->member->slot];
    assert_false(cluster_judge(b.view, bad, 0, b.judgements, 1000, true));
    assert_false(cluster_judge(b.view, bad, 0, b.judgements, 1000, true));
    assert_false(cluster_judge(b.view, bad, 0, b.judgements, 1000, false)); /* the row is broken */
    for (int i = 0; i < 2; i++)
        assert_false(cluster_judge(b.view, bad, 0, b.judgements, 1000, true));
    assert_true(cluster_judge(b.view, bad, 0, b.judgements, 1000, true));
    assert_int_equal(j->ejected_until_us, 11000);
    /* Answers to what was sent before change nothing while it is out. */
    assert_false(cluster_judge(b.view, bad, 0, b.judgements, 10999, false));
    assert_false(cluster_judge(b.view, bad, 0, b.judgements, 10999, true));
    assert_int_equal(j->ejections_in_row, 1);
    for (int i = 0; i < 2; i++)
        assert_false(cluster_judge(b.view, bad, 0, b.judgements, 11000, true));
    assert_true(cluster_judge(b.view, bad, 0, b.judgements, 11000, true));
    assert_int_equal(j->ejected_until_us, 31000);
    assert_false(cluster_judge(b.view, bad, 0, b.judgements, 31000, false));
    assert_int_equal(j->ejections_in_row, 0);
    bench_fini(&b);
}

static void
no_more_than_the_share_is_ejected(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 4, CONFIG_BALANCE_P2C);
    b.f.config->ejection =
        (struct config_ejection){.failures = 1, .time_us = 10000, .max_share = 0.5};
    bench_view(&b);
    assert_true(cluster_judge(b.view, cluster_view_at(b.view, 0), 0, b.judgements, 1, true));
    assert_true(cluster_judge(b.view, cluster_view_at(b.view, 1), 0, b.judgements, 1, true));
    assert_false(cluster_judge(b.view, cluster_view_at(b.view, 2), 0, b.judgements, 1, true));
    /* Once one is back, the next failure may take the place. */
    assert_true(cluster_judge(b.view, cluster_view_at(b.view, 2), 0, b.judgements, 10001, true));
    b.f.config->ejection.failures = 0; /* off */
    assert_false(cluster_judge(b.view, cluster_view_at(b.view, 3), 0, b.judgements, 99999, true));
    bench_fini(&b);
}

/* Among many, too, shares are exact over a round, whoever is left out. */
static void
a_large_round_is_exact(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, FIXTURE_MEMBERS, CONFIG_BALANCE_ROUND_ROBIN);
    for (uint32_t i = 0; i < FIXTURE_MEMBERS; i++)
        b.f.endpoints[i].weight = i % 2 ? 100 : 25;
    b.f.endpoints[7].weight = 0;
    b.f.endpoints[9].healthy = false;
    cluster_eject(b.f.members[11], 0, b.judgements, INT64_MAX);
    b.judgements[b.f.members[13]->slot].rr_current = (uint64_t)-50; /* of a time with few */
    bench_view(&b);
    uint32_t round = 96 * 4 + 100; /* of the odd ones four are left out */
    bench_run(&b, 1);
    bench_run(&b, 5 * round);
    for (uint32_t i = 0; i < FIXTURE_MEMBERS; i++) {
        bool out = i == 7 || i == 9 || i == 11;
        uint32_t want = out ? 0 : i % 2 ? 20 : 5;
        if (b.hits[i] + 1 < want || b.hits[i] > want + 1)
            fail_msg("endpoint %u got %u, expected %u", i, b.hits[i], want);
    }
    for (uint32_t i = 0; i < FIXTURE_MEMBERS; i++) /* the heavy one is away */
        b.f.endpoints[i] = (struct cluster_endpoint){b.f.members[i], i ? 1 : 60000, i > 0, 0};
    bench_view(&b);
    bench_run(&b, 10 * (FIXTURE_MEMBERS - 2));
    for (uint32_t i = 1; i < FIXTURE_MEMBERS; i++)
        assert_int_equal(b.hits[i] > 0, i != 11);
    for (uint32_t i = 0; i < FIXTURE_MEMBERS; i++)
        b.f.endpoints[i].healthy = false;
    bench_view(&b);
    assert_null(cluster_balance_pick(b.view, &b.pick));
    bench_fini(&b);
}

/* Among many the least loaded is picked of some: the loaded ones get next to nothing. */
static void
least_request_among_many(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, FIXTURE_MEMBERS, CONFIG_BALANCE_LEAST_REQUEST);
    for (uint32_t i = 0; i < FIXTURE_MEMBERS; i++)
        for (uint32_t n = 0; n < (i % 2 ? 5u : 1u); n++)
            cluster_member_enter(b.f.members[i], 0, 0);
    b.f.endpoints[8].weight = 0;
    bench_view(&b);
    bench_run(&b, PICKS);
    uint32_t loaded = 0;
    for (uint32_t i = 1; i < FIXTURE_MEMBERS; i += 2)
        loaded += b.hits[i];
    assert_true(loaded < PICKS / 1000);
    assert_int_equal(b.hits[8], 0);
    for (uint32_t i = 0; i < FIXTURE_MEMBERS; i += 2)
        if (i != 8)
            assert_share(&b, i, 1.0 / (FIXTURE_MEMBERS / 2 - 1), 0.002);
    for (uint32_t i = 0; i < FIXTURE_MEMBERS; i++)
        while (b.f.members[i]->stats[0].in_flight)
            cluster_member_leave(b.f.members[i], 0, 0);
    bench_fini(&b);
}

/* One request ends at random and the next comes: among many that are all busy, too, nobody has much
 * more than the others. The square of the distance from the mean tells it: drawn at random it would
 * be 3, the better of two each time makes it 1.2, the best of sixteen 0.24. */
static void
busy_ones_among_many_stay_even(void **state)
{
    (void)state;
    struct bench b;
    static uint32_t at[3 * FIXTURE_MEMBERS]; /* whose each request is */
    struct fr_rand rand;
    fr_rand_init(&rand, SEED);
    bench_init(&b, FIXTURE_MEMBERS, CONFIG_BALANCE_LEAST_REQUEST);
    bench_view(&b);
    uint64_t squares = 0, highest = 0;
    const uint32_t steps = 40000, requests = 3 * FIXTURE_MEMBERS;
    for (uint32_t step = 0; step < steps; step++) {
        uint32_t n = step < requests ? step : fr_rand_below(&rand, requests);
        if (step >= requests)
            cluster_member_leave(b.f.members[at[n]], 0, 0);
        at[n] = bench_pick(&b);
        cluster_member_enter(b.f.members[at[n]], 0, 0);
        for (uint32_t i = 0; step >= steps / 2 && i < FIXTURE_MEMBERS; i++) {
            int64_t far = (int64_t)b.f.members[i]->stats[0].in_flight - 3;
            squares += (uint64_t)(far * far);
            highest = far > (int64_t)highest ? (uint64_t)far : highest;
        }
    }
    double spread = (double)squares / (steps / 2 * FIXTURE_MEMBERS);
    print_message("spread %.3f, at most %" PRIu64 " above the mean\n", spread, highest);
    assert_true(spread < 0.3);
    assert_true(highest <= 2);
    for (uint32_t n = 0; n < requests; n++)
        cluster_member_leave(b.f.members[at[n]], 0, 0);
    bench_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_robin_is_exact_and_smooth),
        cmocka_unit_test(a_large_round_is_exact),
        cmocka_unit_test(least_request_among_many),
        cmocka_unit_test(busy_ones_among_many_stay_even),
        cmocka_unit_test(equal_weights_share_equally),
        cmocka_unit_test(loads_in_flight_follow_weights),
        cmocka_unit_test(p2c_prefers_the_idler_of_two),
        cmocka_unit_test(p2c_keeps_to_weights_under_light_load),
        cmocka_unit_test(least_request_takes_the_least),
        cmocka_unit_test(slow_start_rises_from_a_tenth),
        cmocka_unit_test(unfit_ones_are_passed_over),
        cmocka_unit_test(when_only_ejected_ones_are_left_they_are_tried),
        cmocka_unit_test(failures_in_a_row_eject_longer_each_time),
        cmocka_unit_test(no_more_than_the_share_is_ejected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
