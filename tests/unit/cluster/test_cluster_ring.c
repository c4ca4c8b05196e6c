/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cluster_ring.c - the table of consistent hashing: shares, movement, independence of order.
 */
#include "cluster/cluster_ring.h"
#include "cluster_fixture.h"

#include "base/fr_hash.h"

#include <inttypes.h>

#define MEMBERS 40
#define KEYS 100000
#define SEED 20260707
#define EXPECTED_SUM UINT64_C(1888694122931855115)

struct ring_bench {
    struct cluster_slots *slots;
    struct cluster_member *members[MEMBERS];
    struct cluster_endpoint endpoints[MEMBERS];
};

static void
ring_bench_init(struct ring_bench *b)
{
    memset(b, 0, sizeof(*b));
    b->slots = cluster_slots_new();
    for (uint32_t i = 0; i < MEMBERS; i++) {
        char id[32];
        struct loop_addr addr;
        (void)snprintf(id, sizeof(id), "web-10.0.0.%u-8080", i + 1);
        assert_int_equal(loop_addr_parse(FR_VIEW("127.0.0.1:9000"), &addr), FR_OK);
        b->members[i] = cluster_member_new(b->slots, fr_view_of(id), FR_VIEW(""), &addr, 1);
        b->endpoints[i] = (struct cluster_endpoint){b->members[i], 100, true, 0};
    }
}

static void
ring_bench_fini(struct ring_bench *b)
{
    for (uint32_t i = 0; i < MEMBERS; i++)
        cluster_member_unref(&b->members[i]);
    cluster_slots_free(&b->slots);
}

static uint64_t
key_of(uint32_t number)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "/path/%u", number);
    return cluster_ring_key(text, (uint64_t)len);
}

static struct cluster_ring *
ring_of(const struct cluster_endpoint *endpoints, uint32_t count)
{
    struct cluster_roster roster;
    fixture_roster(&roster, endpoints, count);
    struct cluster_ring *ring = cluster_ring_new(&roster);
    cluster_roster_fini(&roster); /* a ring needs it no more */
    return ring;
}

/* The member of every key. */
static void
owners(const struct cluster_endpoint *endpoints, uint32_t count,
       const struct cluster_member *out[KEYS])
{
    struct cluster_ring *ring = ring_of(endpoints, count);
    assert_non_null(ring);
    for (uint32_t i = 0; i < KEYS; i++) {
        struct cluster_ring_point point = cluster_ring_find(ring, key_of(i));
        out[i] = endpoints[cluster_ring_next(ring, &point)].member;
    }
    cluster_ring_unref(&ring);
    assert_null(ring);
}

static const struct cluster_member *before[KEYS], *after[KEYS];

static double
share_of(const struct cluster_member *owner)
{
    uint32_t hits = 0;
    for (uint32_t i = 0; i < KEYS; i++)
        hits += after[i] == owner;
    return (double)hits / KEYS;
}

static void
assert_between(double got, double low, double high)
{
    if (got < low || got > high)
        fail_msg("%.4f is not in %.4f to %.4f", got, low, high);
}

static void
shares_are_even(void **state)
{
    (void)state;
    struct ring_bench b;
    ring_bench_init(&b);
    for (uint32_t count = 1; count <= MEMBERS; count += 3) {
        owners(b.endpoints, count, after);
        for (uint32_t i = 0; i < count; i++)
            assert_between(share_of(b.members[i]) * count, 0.8, 1.2);
    }
    ring_bench_fini(&b);
}

static void
shares_follow_weights(void **state)
{
    (void)state;
    static const uint32_t rows[][4] = {
        {100, 50, 150, 0}, {1, 2, 3, 1}, {65535, 65535, 32768, 1}, {1, 0, 0, 0}, {10, 90, 100, 100},
    };
    struct ring_bench b;
    ring_bench_init(&b);
    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        uint32_t sum = 0;
        for (uint32_t i = 0; i < 4; i++) {
            b.endpoints[i].weight = rows[row][i];
            sum += rows[row][i];
        }
        owners(b.endpoints, 4, after);
        for (uint32_t i = 0; i < 4; i++) {
            double fair = (double)rows[row][i] / sum;
            assert_between(share_of(b.members[i]), fair * 0.8 - 0.0001, fair * 1.2 + 0.0001);
        }
    }
    ring_bench_fini(&b);
}

/* A member that joins takes keys from all and from nowhere else does one move; one that leaves
 * gives up its own alone. */
static void
few_keys_move(void **state)
{
    (void)state;
    struct ring_bench b;
    ring_bench_init(&b);
    for (uint32_t count = 1; count < MEMBERS; count += 4) {
        uint32_t moved = 0;
        owners(b.endpoints, count, before);
        owners(b.endpoints, count + 1, after);
        for (uint32_t i = 0; i < KEYS; i++) {
            if (before[i] == after[i])
                continue;
            moved++;
            assert_ptr_equal(after[i], b.members[count]); /* leaving is this, read backwards */
        }
        double fair = 1.0 / (count + 1);
        print_message("%u to %u members: %.4f of the keys moved, 1/n is %.4f\n", count, count + 1,
                      (double)moved / KEYS, fair);
        assert_between((double)moved / KEYS, fair * 0.8, fair * 1.2);
    }
    ring_bench_fini(&b);
}

/* The heavier it gets the more keys come to it, and none moves between the others. */
static void
a_new_weight_moves_its_difference(void **state)
{
    (void)state;
    struct ring_bench b;
    ring_bench_init(&b);
    owners(b.endpoints, 5, before);
    b.endpoints[2].weight = 60;
    owners(b.endpoints, 5, after);
    uint32_t moved = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        moved += before[i] != after[i];
        if (before[i] != after[i])
            assert_ptr_equal(before[i], b.members[2]);
    }
    /* From 100 of 500 to 60 of 460. */
    assert_between((double)moved / KEYS, 0.05, 0.09);
    ring_bench_fini(&b);
}

static void
order_does_not_matter(void **state)
{
    (void)state;
    struct ring_bench b;
    struct fr_rand rand;
    ring_bench_init(&b);
    fr_rand_init(&rand, SEED);
    print_message("seed %d\n", SEED);
    for (uint32_t i = 0; i < MEMBERS; i++)
        b.endpoints[i].weight = 50 + fr_rand_below(&rand, 100);
    owners(b.endpoints, MEMBERS, before);
    for (uint32_t i = MEMBERS - 1; i > 0; i--) {
        uint32_t k = fr_rand_below(&rand, i + 1);
        struct cluster_endpoint swap = b.endpoints[i];
        b.endpoints[i] = b.endpoints[k];
        b.endpoints[k] = swap;
    }
    owners(b.endpoints, MEMBERS, after);
    assert_memory_equal(before, after, sizeof(before));
    ring_bench_fini(&b);
}

/* The table is part of the agreement between edges, of every version: it must not change. */
static void
the_table_is_a_constant(void **state)
{
    (void)state;
    struct ring_bench b;
    ring_bench_init(&b);
    struct cluster_ring *ring = ring_of(b.endpoints, 7);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        struct cluster_ring_point point = cluster_ring_find(ring, key_of(i));
        sum = sum * 31 + cluster_ring_next(ring, &point);
    }
    print_message("%" PRIu64 "\n", sum);
    assert_true(sum == EXPECTED_SUM);
    cluster_ring_unref(&ring);
    ring_bench_fini(&b);
}

static void
every_point_is_found_and_the_circle_closes(void **state)
{
    (void)state;
    struct ring_bench b;
    ring_bench_init(&b);
    struct cluster_ring *ring = ring_of(b.endpoints, 3);
    assert_int_equal(cluster_ring_points(ring), 2400);
    uint32_t hits[3] = {0};
    struct cluster_ring_point first = cluster_ring_find(ring, 0), point = first;
    for (uint32_t i = 0; i < 2400; i++)
        hits[cluster_ring_next(ring, &point)]++;
    assert_memory_equal(&point, &first, sizeof(point)); /* around */
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(hits[i], 800);
    point = cluster_ring_find(ring, UINT64_MAX); /* behind the last is the first */
    assert_memory_equal(&point, &first, sizeof(point));
    cluster_ring_unref(&ring);
    ring_bench_fini(&b);
}

static void
limits(void **state)
{
    (void)state;
    struct ring_bench b;
    ring_bench_init(&b);
    assert_null(ring_of(b.endpoints, 0));
    b.endpoints[0].weight = b.endpoints[1].weight = 0;
    assert_null(ring_of(b.endpoints, 2));
    struct cluster_roster crowd = {.count = CLUSTER_RING_MEMBERS_MAX + 1, .weight_max = 1};
    assert_null(cluster_ring_new(&crowd));
    for (uint32_t i = 0; i < MEMBERS; i++)
        b.endpoints[i].weight = 65535;
    struct cluster_ring *ring = ring_of(b.endpoints, MEMBERS);
    assert_true(cluster_ring_points(ring) <= CLUSTER_RING_POINTS_MAX);
    assert_true(cluster_ring_points(ring) > CLUSTER_RING_POINTS_MAX / 2);
    cluster_ring_unref(&ring);
    ring_bench_fini(&b);
}

/* Its points around the circle, one after the other. */
static uint64_t
sum_of(const struct cluster_ring *ring)
{
    uint64_t sum = cluster_ring_points(ring);
    struct cluster_ring_point point = cluster_ring_find(ring, 0);
    for (uint32_t i = cluster_ring_points(ring); i > 0; i--)
        sum = sum * 31 + cluster_ring_next(ring, &point);
    return sum;
}

/* Of the members, some are in the roster: one joins, leaves, or has another weight. */
static void
step(struct ring_bench *b, struct cluster_roster *roster, struct fr_rand *rand)
{
    static const uint32_t weights[] = {100, 100, 100, 100, 50, 1, 7, 0, 0, 3000, 65535};
    struct cluster_endpoint *one = &b->endpoints[fr_rand_below(rand, MEMBERS)];
    uint32_t index = 0, way = fr_rand_below(rand, 4);
    while (index < roster->count && cluster_roster_at(roster, index)->member != one->member)
        index++;
    /* From few to many and back, so that rings are built anew as well. */
    if (index == roster->count || way > 0)
        one->weight = weights[fr_rand_below(rand, sizeof(weights) / sizeof(weights[0]))];
    one->healthy = fr_rand_below(rand, 2);
    if (index < roster->count && way == 0)
        cluster_roster_remove(roster, index);
    else
        cluster_roster_put(roster, index, one);
}

static void
changes_are_as_if_built_anew(void **state)
{
    (void)state;
    struct ring_bench b;
    struct cluster_roster roster, last;
    struct fr_rand rand;
    uint32_t none = 0, same = 0;
    ring_bench_init(&b);
    fr_rand_init(&rand, SEED);
    print_message("seed %d\n", SEED);
    fixture_roster(&roster, b.endpoints, 3);
    struct cluster_ring *ring = cluster_ring_new(&roster);
    uint64_t sum = sum_of(ring);
    for (uint32_t i = 0; i < 120; i++) {
        cluster_roster_copy(&roster, &last);
        step(&b, &roster, &rand);
        struct cluster_ring *next = cluster_ring_after(ring, &last, &roster);
        struct cluster_ring *anew = cluster_ring_new(&roster);
        assert_int_equal(next == NULL, anew == NULL);
        assert_true(sum_of(ring) == sum); /* who reads it does not see the change */
        if (next)
            assert_true((sum = sum_of(next)) == sum_of(anew));
        same += next == ring;
        none += next == NULL;
        cluster_ring_unref(&anew);
        cluster_ring_unref(&ring);
        cluster_roster_fini(&last);
        while (!next) {
            step(&b, &roster, &rand);
            next = cluster_ring_new(&roster);
            sum = next ? sum_of(next) : 0;
        }
        ring = next;
    }
    print_message("%u of the changes left the ring as it was, %u left none\n", same, none);
    assert_true(same > 0);
    cluster_ring_unref(&ring);
    cluster_roster_fini(&roster);
    ring_bench_fini(&b);
}

/* By the scale of weights of 1 a weight of 65535 would be 33 million points: they are counted
 * before they are made. */
static void
weights_may_grow_by_any_factor(void **state)
{
    (void)state;
    struct ring_bench b;
    struct cluster_roster before_it, roster;
    ring_bench_init(&b);
    for (uint32_t i = 0; i < MEMBERS; i++)
        b.endpoints[i].weight = 1;
    fixture_roster(&before_it, b.endpoints, MEMBERS);
    struct cluster_ring *ring = cluster_ring_new(&before_it);
    for (uint32_t i = 0; i < MEMBERS; i++)
        b.endpoints[i].weight = 65535;
    fixture_roster(&roster, b.endpoints, MEMBERS);
    struct cluster_ring *next = cluster_ring_after(ring, &before_it, &roster);
    struct cluster_ring *back = cluster_ring_after(next, &roster, &before_it);
    assert_true(cluster_ring_points(next) <= CLUSTER_RING_POINTS_MAX);
    assert_true(sum_of(back) == sum_of(ring));
    cluster_ring_unref(&ring);
    cluster_ring_unref(&next);
    cluster_ring_unref(&back);
    cluster_roster_fini(&roster);
    cluster_roster_fini(&before_it);
    ring_bench_fini(&b);
}

#define TIE_PLACE UINT64_C(0xa304c9836136) /* of point 319 of the one, and point 13 of the other   \
                                            */

static void
assert_tie(const struct cluster_ring *ring, const struct cluster_roster *roster)
{
    static const char *const order[] = {"m22048", "m372"};
    for (uint64_t low = 0; low < 3; low++) { /* a key's last bits, where points have indexes */
        struct cluster_ring_point point = cluster_ring_find(ring, TIE_PLACE << 16 | low);
        for (size_t i = 0; i < 2; i++) {
            uint32_t index = cluster_ring_next(ring, &point);
            assert_string_equal(cluster_roster_at(roster, index)->member->id, order[i]);
        }
    }
}

/* Edges see members in any order, and at any time. */
static void
of_two_at_one_place_the_id_decides(void **state)
{
    (void)state;
    struct ring_bench b;
    struct loop_addr addr;
    ring_bench_init(&b);
    assert_int_equal(loop_addr_parse(FR_VIEW("127.0.0.1:9000"), &addr), FR_OK);
    for (uint32_t i = 0; i < 2; i++) {
        cluster_member_unref(&b.members[i]);
        b.members[i] =
            cluster_member_new(b.slots, fr_view_of(i ? "m372" : "m22048"), FR_VIEW(""), &addr, 1);
        b.endpoints[i].member = b.members[i];
    }
    for (uint32_t first = 0; first < 2; first++) {
        struct cluster_roster one, both;
        fixture_roster(&one, &b.endpoints[first], 1);
        cluster_roster_copy(&one, &both);
        cluster_roster_put(&both, 1, &b.endpoints[1 - first]);
        struct cluster_ring *alone = cluster_ring_new(&one);
        struct cluster_ring *joined = cluster_ring_after(alone, &one, &both);
        struct cluster_ring *anew = cluster_ring_new(&both);
        assert_tie(joined, &both);
        assert_tie(anew, &both);
        struct cluster_ring *left = cluster_ring_after(joined, &both, &one);
        assert_true(sum_of(left) == sum_of(alone));
        cluster_ring_unref(&alone);
        cluster_ring_unref(&joined);
        cluster_ring_unref(&anew);
        cluster_ring_unref(&left);
        cluster_roster_fini(&one);
        cluster_roster_fini(&both);
    }
    ring_bench_fini(&b);
}

static void
what_is_not_of_members_or_weights_changes_nothing(void **state)
{
    (void)state;
    struct ring_bench b;
    struct cluster_roster before_it, roster;
    ring_bench_init(&b);
    fixture_roster(&roster, b.endpoints, 3);
    cluster_roster_copy(&roster, &before_it);
    struct cluster_ring *ring = cluster_ring_new(&roster);
    b.endpoints[1].healthy = false; /* picking sees to that */
    b.endpoints[1].ramp_from_us = 5;
    cluster_roster_put(&roster, 1, &b.endpoints[1]);
    struct cluster_ring *next = cluster_ring_after(ring, &before_it, &roster);
    assert_ptr_equal(next, ring);
    cluster_ring_unref(&next);
    b.endpoints[1].weight = 99;
    cluster_roster_put(&roster, 1, &b.endpoints[1]);
    next = cluster_ring_after(ring, &before_it, &roster);
    assert_ptr_not_equal(next, ring);
    assert_int_equal(cluster_ring_points(next), 2392);
    cluster_ring_unref(&ring);
    assert_int_equal(cluster_ring_points(next), 2392); /* of its own, or counted */
    cluster_ring_unref(&next);
    cluster_ring_unref(&next); /* NULL is allowed */
    cluster_roster_fini(&roster);
    cluster_roster_fini(&before_it);
    ring_bench_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_are_even),
        cmocka_unit_test(shares_follow_weights),
        cmocka_unit_test(few_keys_move),
        cmocka_unit_test(a_new_weight_moves_its_difference),
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(the_table_is_a_constant),
        cmocka_unit_test(every_point_is_found_and_the_circle_closes),
        cmocka_unit_test(limits),
        cmocka_unit_test(changes_are_as_if_built_anew),
        cmocka_unit_test(weights_may_grow_by_any_factor),
        cmocka_unit_test(of_two_at_one_place_the_id_decides),
        cmocka_unit_test(what_is_not_of_members_or_weights_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
