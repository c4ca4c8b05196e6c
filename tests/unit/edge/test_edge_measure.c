/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_edge_measure.c - levels: crossed upwards or downwards once, however the value trembles
 * around them; and what the edge says of itself.
 *
 * The worker's part, a member's ORCA value in the shared counters, is played by the test.
 */
#include "edge_bed.h"

#include <math.h>

#define ONE                                                                                        \
    "stream: { report-interval: 60s, rate: 1000000 }\n"                                            \
    "routes: [{ cluster: web }]\n"                                                                 \
    "clusters: { web: { eject: { time: 100ms },\n"                                                 \
    "                   members: [{ id: web-1, address: \"127.0.0.1:9\" }] } }\n"

struct world {
    struct bed *bed;
    struct edge_member *member;
    size_t crossings;
};

static void
open_world(struct world *world)
{
    world->bed = bed_open(ONE);
    world->member = bed_member(world->bed, "web", "web-1");
    bed_done(world->bed, "web", "<levels upper='0.8' lower='0.3'/>");
    world->crossings = world->bed->crossing_count;
}

/* The member's utilization is this from now on, and was looked at. */
static void
is_at(struct world *world, double value)
{
    struct cluster_member_stats *stats = &world->member->shared->stats[0];
    int64_t now_us = loop_now_us(world->bed->loop);
    cluster_count_set(&stats->orca_utilization, (uint64_t)(value * 1e6 + 0.5));
    __atomic_store_n(&stats->orca_at_us, now_us, __ATOMIC_RELEASE);
    bed_until(world->bed, world->member->utilization.orca_at_us == now_us);
    assert_float_equal(edge_member_utilization(world->member), value, 1e-6);
    /* A report of it, if there is one, was queued before this answer. */
    bed_done(world->bed, "web", "<levels upper='0.8' lower='0.3'/>");
}

static void
expect_crossings(struct world *world, size_t count)
{
    size_t found = world->bed->crossing_count - world->crossings;
    if (found != count)
        fail_msg("%zu crossings at %g, expected %zu", found,
                 edge_member_utilization(world->member), count);
    world->crossings = world->bed->crossing_count;
}

static void
upper_is_crossed_once(void **state)
{
    struct world world;
    (void)state;
    open_world(&world);
    is_at(&world, 0.5);
    expect_crossings(&world, 0);
    is_at(&world, 0.799);
    expect_crossings(&world, 0);
    is_at(&world, 0.8); /* at it is above it */
    expect_crossings(&world, 1);
    assert_float_equal(bed_said_server(world.bed, "web", "web-1")->utilization, 0.8, 1e-3);
    is_at(&world, 0.95);
    is_at(&world, 0.76); /* within what a level is left by */
    is_at(&world, 0.81);
    expect_crossings(&world, 0);
    is_at(&world, 0.74); /* left */
    expect_crossings(&world, 1);
    is_at(&world, 0.8);
    expect_crossings(&world, 1);
    bed_close(world.bed);
}

static void
lower_is_crossed_downwards_only(void **state)
{
    struct world world;
    (void)state;
    open_world(&world);
    is_at(&world, 0.3); /* at it is not below it */
    expect_crossings(&world, 0);
    is_at(&world, 0.29);
    expect_crossings(&world, 1);
    is_at(&world, 0.1);
    is_at(&world, 0.34); /* trembles */
    is_at(&world, 0.29);
    expect_crossings(&world, 0);
    is_at(&world, 0.36); /* left, which is no news */
    expect_crossings(&world, 0);
    is_at(&world, 0.2);
    expect_crossings(&world, 1);
    bed_close(world.bed);
}

static void
no_levels_no_crossings(void **state)
{
    struct bed *bed = bed_open(ONE);
    (void)state;
    struct edge_member *member = bed_member(bed, "web", "web-1");
    struct cluster_member_stats *stats = &member->shared->stats[0];
    assert_true(isnan(edge_member_utilization(member)));
    size_t before = bed->crossing_count;
    int64_t now_us = loop_now_us(bed->loop);
    cluster_count_set(&stats->orca_utilization, 5000000);
    __atomic_store_n(&stats->orca_at_us, now_us, __ATOMIC_RELEASE);
    bed_until(bed, member->utilization.orca_at_us == now_us);
    bed_done(bed, "web", "<weight server='web-1' weight='1'/>");
    assert_int_equal(bed->crossing_count, before);
    bed_close(bed);
}

/* A measure that stopped coming is none, rather than the last one for ever. */
static void
what_is_stale_does_not_count(void **state)
{
    struct world world;
    (void)state;
    open_world(&world);
    is_at(&world, 0.9);
    expect_crossings(&world, 1);
    int64_t old_us = loop_now_us(world.bed->loop) - CLUSTER_UTILIZATION_FRESH_US - 1;
    __atomic_store_n(&world.member->shared->stats[0].orca_at_us, old_us, __ATOMIC_RELEASE);
    bed_until(world.bed, world.member->utilization.orca_at_us == old_us);
    assert_true(isnan(edge_member_utilization(world.member)));
    bed_done(world.bed, "web", "<levels upper='0.8' lower='0.3'/>");
    expect_crossings(&world, 0); /* unknown is not below */
    bed_close(world.bed);
}

static void
ejected_for_its_time(void **state)
{
    struct world world;
    (void)state;
    open_world(&world);
    assert_string_equal(edge_member_state(world.member), "ready");
    cluster_count_add(&world.member->shared->stats[0].ejections, 1);
    bed_until(world.bed, world.member->ejected_at_us != 0);
    int64_t at_us = world.member->ejected_at_us;
    assert_string_equal(edge_member_state(world.member), "ejected");
    bed_until(world.bed, strcmp(edge_member_state(world.member), "ready") == 0);
    assert_true(loop_now_us(world.bed->loop) - at_us >= 100 * FR_US_PER_MS);
    bed_close(world.bed);
}

static void
the_edge_measures_itself(void **state)
{
    struct bed *bed = bed_open_alone(ONE);
    (void)state;
    int64_t before_us = bed->edge->measured_at_us;
    edge_measure_self(bed->edge); /* too soon: a share of so short a time says nothing */
    assert_int_equal(bed->edge->measured_at_us, before_us);
    bed_until(bed, loop_now_us(bed->loop) - before_us >= EDGE_SAMPLE_US);
    int64_t from_us = fr_clock_process_cpu_us();
    for (volatile unsigned i = 0; fr_clock_process_cpu_us() - from_us < 20000; i = i + 1)
        ;
    edge_measure_self(bed->edge);
    assert_true(bed->edge->measured_at_us > before_us);
    assert_true(bed->edge->process_cpu_share > 0);
    assert_true(bed->edge->self_utilization >= 0);
    assert_float_equal(bed->edge->self_utilization, bed->edge->worker_cpu_share[0], 1e-9);
    bed_close(bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upper_is_crossed_once),
        cmocka_unit_test(lower_is_crossed_downwards_only),
        cmocka_unit_test(no_levels_no_crossings),
        cmocka_unit_test(what_is_stale_does_not_count),
        cmocka_unit_test(ejected_for_its_time),
        cmocka_unit_test(the_edge_measures_itself),
    };
    fr_log_setup(FR_LOG_ERROR, FR_LOG_SHAPE_HUMAN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
