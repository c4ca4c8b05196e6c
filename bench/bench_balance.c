/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_balance.c - what picking a member costs, by balancer and number of members, and what
 * building the table of consistent hashing does. Prints one line each: name, members, nanoseconds.
 *
 * usage: bench-balance
 */
#include "cluster/cluster_balance.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"

#include <stdio.h>

#define PICKS 2000000u
#define BUILDS 20u
#define MEMBERS_MAX 1000u
#define NS_PER_US 1000.0

struct cast {
    struct cluster_slots *slots;
    struct config_cluster *config;
    struct cluster_endpoint *endpoints;
    struct cluster_judgement *judgements;
    uint32_t count;
};

static void
cast_init(struct cast *cast, uint32_t count)
{
    struct loop_addr addr;
    char id[32];
    cast->slots = cluster_slots_new();
    cast->config = config_cluster_new(FR_VIEW("bench"));
    cast->endpoints = fr_xalloc(count * sizeof(*cast->endpoints));
    cast->judgements = fr_xalloc(MEMBERS_MAX * 2 * sizeof(*cast->judgements));
    cast->count = count;
    fr_require(loop_addr_parse(FR_VIEW("127.0.0.1:80"), &addr) == FR_OK);
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(id, sizeof(id), "bench-%u", i);
        struct cluster_member *member =
            cluster_member_new(cast->slots, fr_view_of(id), FR_VIEW(""), &addr, 1);
        fr_require(member != NULL);
        cast->endpoints[i] = (struct cluster_endpoint){member, 100, true, 0};
        member->stats[0].in_flight = 2; /* a steady load */
    }
}

static void
cast_fini(struct cast *cast)
{
    for (uint32_t i = 0; i < cast->count; i++)
        cluster_member_unref(&cast->endpoints[i].member);
    config_cluster_unref(&cast->config);
    cluster_slots_free(&cast->slots);
    fr_free(cast->endpoints);
    fr_free(cast->judgements);
}

static void
pick(struct cast *cast, const char *name, enum config_balance balance, double bound)
{
    struct fr_rand rand;
    cast->config->balance = balance;
    cast->config->hash.bound = bound;
    struct cluster_view *view = cluster_view_new(0, cast->config, cast->endpoints, cast->count);
    cluster_view_complete(view, NULL, NULL);
    fr_rand_init(&rand, 1);
    struct cluster_pick one = {.now_us = 1,
                               .rand = &rand,
                               .judgements = cast->judgements,
                               .keyed = true,
                               .in_flight = 2 * (uint64_t)cast->count,
                               .prequal = cluster_prequal_new()};
    uint64_t sum = 0;
    int64_t from_us = fr_clock_process_cpu_us();
    for (uint32_t i = 0; i < PICKS; i++) {
        one.key = cluster_ring_mix(i);
        const struct cluster_member *member = cluster_balance_pick(view, &one)->member;
        if (one.prequal && i % 4 == 0)
            cluster_prequal_observe(&cast->judgements[member->slot], 2, 5000 + i % 1000, false, 1);
        sum += member->slot;
    }
    int64_t took_us = fr_clock_process_cpu_us() - from_us;
    printf("%-24s %4u members %8.1f ns a pick (sum %llu)\n", name, cast->count,
           (double)took_us * NS_PER_US / PICKS, (unsigned long long)sum);
    cluster_prequal_free(&one.prequal);
    cluster_view_unref(&view);
}

static void
build(struct cast *cast)
{
    uint32_t points = 0;
    struct cluster_view *view = cluster_view_new(0, cast->config, cast->endpoints, cast->count);
    int64_t from_us = fr_clock_process_cpu_us();
    for (uint32_t i = 0; i < BUILDS; i++) {
        struct cluster_ring *ring = cluster_ring_new(&view->roster);
        points = cluster_ring_points(ring);
        cluster_ring_unref(&ring);
    }
    printf("%-24s %4u members %8.0f us a table of %u points\n", "hash, building", cast->count,
           (double)(fr_clock_process_cpu_us() - from_us) / BUILDS, points);
    cluster_view_unref(&view);
}

int
main(void)
{
    static const uint32_t counts[] = {4, 32, 250, MEMBERS_MAX};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct cast cast;
        cast_init(&cast, counts[i]);
        pick(&cast, "p2c", CONFIG_BALANCE_P2C, 0);
        pick(&cast, "hash, no bound", CONFIG_BALANCE_HASH, 0);
        pick(&cast, "hash, bound 1.25", CONFIG_BALANCE_HASH, 1.25);
        pick(&cast, "least-request", CONFIG_BALANCE_LEAST_REQUEST, 0);
        pick(&cast, "prequal", CONFIG_BALANCE_PREQUAL, 0);
        build(&cast);
        cast_fini(&cast);
    }
    return 0;
}
