/* SPDX-License-Identifier: Apache-2.0 */
/* test_cluster_prequal.c - lanes, latency at a like load, aversion, and what probes forget. */
#include "cluster/cluster_balance.h"
#include "cluster_fixture.h"

#define SEED 20260108
#define SECOND 1000000LL
#define PICKS 4000

struct bed {
    struct fixture f;
    struct cluster_view *view;
    struct cluster_judgement judgements[16];
    struct fr_rand rand;
    struct cluster_pick pick;
    uint32_t hits[FIXTURE_MEMBERS];
};

static void
bed_init(struct bed *b, uint32_t members, uint32_t workers)
{
    memset(b, 0, sizeof(*b));
    fixture_init(&b->f, members, workers);
    b->f.config->balance = CONFIG_BALANCE_PREQUAL;
    b->view = fixture_view(&b->f);
    fr_rand_init(&b->rand, SEED);
    b->pick = (struct cluster_pick){.now_us = 100 * SECOND,
                                    .rand = &b->rand,
                                    .judgements = b->judgements,
                                    .prequal = cluster_prequal_new()};
}

static void
bed_fini(struct bed *b)
{
    cluster_prequal_free(&b->pick.prequal);
    cluster_view_unref(&b->view);
    fixture_fini(&b->f);
}

static struct cluster_judgement *
judgement_of(struct bed *b, uint32_t i)
{
    return &b->judgements[b->f.members[i]->slot];
}

static void
teach(struct bed *b, uint32_t i, uint32_t in_flight, int64_t latency_us, bool failed)
{
    for (int k = 0; k < CLUSTER_LATENCY_SAMPLES; k++)
        cluster_prequal_observe(judgement_of(b, i), in_flight, latency_us, failed, b->pick.now_us);
}

static uint32_t
pick(struct bed *b)
{
    const struct cluster_endpoint *e = cluster_balance_pick(b->view, &b->pick);
    assert_non_null(e);
    return e->index;
}

/* Each takes a millisecond of the clock and is over at once. */
static void
run(struct bed *b)
{
    memset(b->hits, 0, sizeof(b->hits));
    for (int i = 0; i < PICKS; i++) {
        b->pick.now_us += 1000;
        b->hits[pick(b)]++;
    }
}

static void
the_fastest_of_the_cold_ones(void **state)
{
    struct bed b;
    (void)state;
    bed_init(&b, 4, 1);
    for (uint32_t i = 0; i < 4; i++) {
        teach(&b, i, 3, 10000 * (int64_t)(i + 1), false);
        b.f.members[i]->stats[0].in_flight = 3;
    }
    run(&b);
    assert_true(b.hits[0] > PICKS / 2);
    assert_true(b.hits[3] < PICKS / 10);
    bed_fini(&b);
}

/* Nobody is slow: what tells two medians apart is noise, and shares are those of the weights. */
static void
alike_ones_keep_the_shares_of_their_weights(void **state)
{
    struct bed b;
    (void)state;
    bed_init(&b, 4, 1);
    cluster_view_unref(&b.view);
    b.f.endpoints[3].weight = 50;
    b.view = fixture_view(&b.f);
    for (uint32_t i = 0; i < 4; i++)
        teach(&b, i, 0, 10000 + 500 * (int64_t)i, false);
    run(&b);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(b.hits[i] > PICKS * 2 / 7 * 3 / 4);
        assert_true(b.hits[i] < PICKS * 2 / 7 * 5 / 4);
    }
    assert_true(b.hits[3] > PICKS / 7 / 2);
    assert_true(b.hits[3] < PICKS / 7 * 3 / 2);
    bed_fini(&b);
}

static void
a_hot_one_is_left_however_fast_it_is(void **state)
{
    struct bed b;
    (void)state;
    bed_init(&b, 4, 1);
    for (uint32_t i = 0; i < 4; i++) {
        teach(&b, i, i == 0 ? 50 : 1, i == 0 ? 1000 : 20000, false);
        b.f.members[i]->stats[0].in_flight = i == 0 ? 50 : 1;
    }
    run(&b);
    assert_true(b.hits[0] < PICKS / 10);
    bed_fini(&b);
}

static void
latency_counts_at_a_like_number_in_flight(void **state)
{
    struct bed b;
    (void)state;
    bed_init(&b, 2, 1);
    /* Fast while it is alone and slow beside ten others; the other one in between, always. */
    for (int k = 0; k < CLUSTER_LATENCY_SAMPLES; k++) {
        cluster_prequal_observe(judgement_of(&b, 0), k % 2 ? 0 : 10, k % 2 ? 1000 : 90000, false,
                                b.pick.now_us);
        cluster_prequal_observe(judgement_of(&b, 1), 10, 30000, false, b.pick.now_us);
    }
    b.f.members[0]->stats[0].in_flight = b.f.members[1]->stats[0].in_flight = 10;
    run(&b);
    assert_true(b.hits[1] > b.hits[0]);
    b.f.members[0]->stats[0].in_flight = b.f.members[1]->stats[0].in_flight = 1;
    run(&b);
    assert_true(b.hits[0] > b.hits[1]);
    bed_fini(&b);
}

static void
what_fails_fast_is_no_sink(void **state)
{
    struct bed b;
    (void)state;
    bed_init(&b, 3, 1);
    for (uint32_t i = 0; i < 3; i++) {
        teach(&b, i, 2, i == 0 ? 100 : 50000, i == 0);
        b.f.members[i]->stats[0].in_flight = i == 0 ? 0 : 5;
    }
    run(&b); /* four seconds: it was not forgotten by then */
    assert_int_equal(b.hits[0], 0);
    /* ... but in a while it is: nobody would learn that it is well again. */
    b.pick.now_us += 60 * SECOND;
    run(&b);
    assert_true(b.hits[0] > 0);
    bed_fini(&b);
}

static void
all_that_fail_still_serve(void **state)
{
    struct bed b;
    (void)state;
    bed_init(&b, 3, 1);
    for (uint32_t i = 0; i < 3; i++)
        teach(&b, i, 0, 100, true);
    run(&b);
    assert_int_equal(b.hits[0] + b.hits[1] + b.hits[2], PICKS);
    bed_fini(&b);
}

static void
a_slow_one_that_idles_is_tried_again(void **state)
{
    struct bed b;
    (void)state;
    bed_init(&b, 3, 1);
    for (uint32_t i = 0; i < 3; i++)
        teach(&b, i, 0, i == 0 ? 800000 : 10000, false);
    b.pick.now_us += SECOND;
    for (int i = 0; i < 100; i++)
        b.hits[pick(&b)]++;
    assert_int_equal(b.hits[0], 0);
    b.pick.now_us += 30 * SECOND;
    for (uint32_t i = 1; i < 3; i++)
        teach(&b, i, 0, 10000, false);
    for (int i = 0; i < 100; i++)
        b.hits[pick(&b)]++;
    assert_true(b.hits[0] > 0);
    bed_fini(&b);
}

static void
in_flight_is_that_of_all_workers(void **state)
{
    struct bed b;
    (void)state;
    bed_init(&b, 2, 3);
    b.f.members[0]->stats[2].in_flight = 40;
    b.f.members[0]->stats[1].in_flight = 2;
    assert_int_equal(cluster_prequal_in_flight(b.f.members[0]), 42);
    for (uint32_t i = 0; i < 2; i++)
        teach(&b, i, 0, 1000, false);
    run(&b); /* of worker 0, which sees none of its own */
    assert_true(b.hits[1] > PICKS * 9 / 10);
    bed_fini(&b);
}

static void
weights_are_followed(void **state)
{
    struct bed b;
    (void)state;
    bed_init(&b, 3, 1);
    b.f.endpoints[0].weight = 0;
    b.f.endpoints[1].healthy = false;
    cluster_view_unref(&b.view);
    b.view = fixture_view(&b.f);
    run(&b);
    assert_int_equal(b.hits[2], PICKS);
    bed_fini(&b);
}

/* A view that has other members than the probes: none of them may be asked for by mistake. */
static void
probes_outlive_no_member(void **state)
{
    struct bed b;
    (void)state;
    bed_init(&b, 8, 1);
    run(&b);
    for (uint32_t left = 7; left > 0; left--) {
        struct cluster_endpoint first = b.f.endpoints[0];
        memmove(b.f.endpoints, b.f.endpoints + 1, 7 * sizeof(first));
        b.f.endpoints[7] = first;
        cluster_view_unref(&b.view);
        b.view = cluster_view_new(0, b.f.config, b.f.endpoints, left);
        for (int i = 0; i < 200; i++)
            assert_true(pick(&b) < left);
    }
    bed_fini(&b);
}

static void
without_its_state_it_is_p2c(void **state)
{
    struct bed b;
    (void)state;
    bed_init(&b, 3, 1);
    cluster_prequal_free(&b.pick.prequal);
    run(&b);
    for (int i = 0; i < 3; i++)
        assert_true(b.hits[i] > PICKS / 4);
    bed_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fastest_of_the_cold_ones),
        cmocka_unit_test(alike_ones_keep_the_shares_of_their_weights),
        cmocka_unit_test(a_hot_one_is_left_however_fast_it_is),
        cmocka_unit_test(latency_counts_at_a_like_number_in_flight),
        cmocka_unit_test(what_fails_fast_is_no_sink),
        cmocka_unit_test(all_that_fail_still_serve),
        cmocka_unit_test(a_slow_one_that_idles_is_tried_again),
        cmocka_unit_test(in_flight_is_that_of_all_workers),
        cmocka_unit_test(weights_are_followed),
        cmocka_unit_test(probes_outlive_no_member),
        cmocka_unit_test(without_its_state_it_is_p2c),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
