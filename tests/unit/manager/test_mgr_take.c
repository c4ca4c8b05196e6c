/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_mgr_take.c - two clusters of one pool, and an edge that speaks real bytes: what is wanted,
 * kept and given.
 */
#include "mgr_harness.h"

#include <stdlib.h>

static const char town[] =
    "stream: { report-interval: 200ms }\n"
    "clusters:\n"
    "  high:\n"
    "    limit: 10\n"
    "    drain: 1s\n"
    "    members: [{ address: \"127.0.0.1:9001\", id: high-1 }]\n"
    "    scale: { from: rack, min: 1, max: 4, priority: 10, upper: 0.80, relief: [allocate] }\n"
    "  low:\n"
    "    limit: 10\n"
    "    drain: 1s\n"
    "    members: [{ address: \"127.0.0.1:9002\", id: low-1 }]\n"
    "    scale: { from: rack, min: 1, max: 20, upper: 0.80, relief: [allocate] }\n"
    "pools:\n"
    "  rack: { provider: static, servers: [\"127.0.0.1:9101\", \"127.0.0.1:9102\"] }\n";

#define CLUSTER_BYTES 4096

/* <cluster> with so many members, the first of the configuration, the rest of the pool. */
static const char *
cluster(char out[CLUSTER_BYTES], const char *name, unsigned members, double utilization)
{
    int len = snprintf(out, CLUSTER_BYTES, "<cluster name=\"%s\" responsible=\"true\">", name);
    for (unsigned i = 1; i <= members; i++)
        len += snprintf(out + len, CLUSTER_BYTES - (size_t)len,
                        "<server id=\"%s-%u\" address=\"127.0.0.1:%u\" state=\"ready\"%s"
                        " weight=\"100\" utilization=\"%.3f\" requests=\"10\" in-flight=\"1\"/>",
                        name, i, 9000 + i + 100 * (unsigned)name[0], i > 1 ? " pool=\"rack\"" : "",
                        utilization);
    snprintf(out + len, CLUSTER_BYTES - (size_t)len, "</cluster>");
    return out;
}

static void
report(struct peer *peer, const char *high, const char *low, unsigned available)
{
    peer_say(peer,
             "<report seq=\"1\" at=\"2026-01-01T00:00:00Z\" full=\"true\">%s%s"
             "<pool name=\"rack\" available=\"%u\" allocated=\"9\"/></report>",
             high, low, available);
}

static struct mgr_cluster *
find(struct harness *harness, const char *name)
{
    struct mgr_cluster *found = mgr_cluster_find(harness->mgr, fr_view_of(name));
    assert_non_null(found);
    return found;
}

/* Three of at most four: its neighbour gives the one that it may still have, however many its load
 * would need. */
static void
test_no_more_is_taken_than_the_maximum_allows(void **state)
{
    struct harness harness;
    struct peer edge;
    char high[CLUSTER_BYTES], low[CLUSTER_BYTES];
    (void)state;

    harness_start(&harness, town);
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    report(&edge, cluster(high, "high", 3, 3.0), cluster(low, "low", 8, 0.5), 0);
    assert_string_equal(peer_next(&harness, &edge, WIRE_DEALLOCATE)->cluster, "low");
    assert_true(peer_hears_none(&harness, &edge, WIRE_DEALLOCATE, 100));
    assert_int_equal(find(&harness, "high")->rivalry.wanted, 1);
    assert_int_equal(mgr_take_reserved(find(&harness, "low"), "rack"), 1);
    peer_close(&edge);
    harness_stop(&harness);
}

/* Its minute's changes are used up, its need is not: what the pool has stays for it. */
static void
test_the_change_limit_loses_no_place(void **state)
{
    struct harness harness;
    struct peer edge;
    char high[CLUSTER_BYTES], low[CLUSTER_BYTES], yaml[sizeof(town) + 64];
    char *priority;
    (void)state;

    memcpy(yaml, town, sizeof(town));
    priority = strstr(yaml, "priority: 10");
    assert_non_null(priority);
    (void)snprintf(priority, sizeof(yaml) - (size_t)(priority - yaml),
                   "changes: 1, cooldown: { up: 0s }, %s", strstr(town, "priority: 10"));
    harness_start(&harness, yaml);
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    report(&edge, cluster(high, "high", 2, 1.0), cluster(low, "low", 2, 0.5), 3);
    const struct order *order = peer_next(&harness, &edge, WIRE_ALLOCATE);
    assert_string_equal(order->cluster, "high");
    assert_int_equal(order->count, 1);
    peer_done(&edge, order, "<server id=\"high-3\" address=\"127.0.0.1:9101\"/>");
    harness_wait_count(&harness, &harness.mgr->counters.requests_done, 1);
    report(&edge, cluster(high, "high", 3, 2.0), cluster(low, "low", 2, 0.5), 2);
    harness_wait_count(&harness, &harness.mgr->counters.holds, 1);
    for (int i = 0; i < 100 && find(&harness, "high")->hold.rule != POLICY_RULE_CHANGE_LIMIT; i++)
        harness_turns(&harness, 10);
    assert_int_equal(find(&harness, "high")->hold.rule, POLICY_RULE_CHANGE_LIMIT);
    assert_int_equal(mgr_take_reserved(find(&harness, "low"), "rack"), 1);
    peer_close(&edge);
    harness_stop(&harness);
}

/* What others give back by themselves, later on, is not said to be taken from who gave once. */
static void
test_who_wants_none_remembers_no_giver(void **state)
{
    struct harness harness;
    struct peer edge;
    char high[CLUSTER_BYTES], low[CLUSTER_BYTES];
    (void)state;

    harness_start(&harness, town);
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    report(&edge, cluster(high, "high", 3, 3.0), cluster(low, "low", 8, 0.5), 0);
    assert_string_equal(peer_next(&harness, &edge, WIRE_DEALLOCATE)->cluster, "low");
    assert_string_equal(find(&harness, "high")->rivalry.giver, "low");
    report(&edge, cluster(high, "high", 3, 0.5), cluster(low, "low", 8, 0.5), 0);
    for (int i = 0; i < 100 && find(&harness, "high")->rivalry.wanted > 0; i++)
        harness_turns(&harness, 10);
    assert_int_equal(find(&harness, "high")->rivalry.wanted, 0);
    assert_string_equal(find(&harness, "high")->rivalry.giver, "");
    peer_close(&edge);
    harness_stop(&harness);
}

/* A pool that was removed at run time is in no full report any more; a partial one says nothing of
 * what it does not name, and no report of what another edge has. */
static void
test_a_removed_pool_is_forgotten(void **state)
{
    struct harness harness;
    struct peer edge, other;
    uint64_t reports;
    (void)state;

    harness_start(&harness, town);
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    peer_connect(&harness, &other, "edge", "edge-2", 0);
    reports = harness.mgr->counters.reports;
    peer_say(&other, "<report seq=\"1\" at=\"2026-01-01T00:00:00Z\" full=\"true\">"
                     "<pool name=\"barn\" available=\"1\"/></report>");
    harness_wait_count(&harness, &harness.mgr->counters.reports, reports + 1);
    peer_say(&edge, "<report seq=\"1\" at=\"2026-01-01T00:00:00Z\" full=\"true\">"
                    "<pool name=\"rack\" available=\"2\"/><pool name=\"barn\" available=\"1\"/>"
                    "</report>");
    reports = harness.mgr->counters.reports;
    harness_wait_count(&harness, &harness.mgr->counters.reports, reports + 1);
    assert_int_equal(fr_map_count(harness.mgr->pools), 3);
    peer_say(&edge, "<report seq=\"2\" at=\"2026-01-01T00:00:01Z\">"
                    "<pool name=\"rack\" available=\"1\"/></report>");
    harness_wait_count(&harness, &harness.mgr->counters.reports, reports + 2);
    assert_int_equal(fr_map_count(harness.mgr->pools), 3);
    peer_say(&edge, "<report seq=\"3\" at=\"2026-01-01T00:00:02Z\" full=\"true\">"
                    "<pool name=\"rack\" available=\"1\"/></report>");
    harness_wait_count(&harness, &harness.mgr->counters.reports, reports + 3);
    assert_int_equal(fr_map_count(harness.mgr->pools), 2);
    assert_non_null(mgr_pool_find(mgr_source_find(harness.mgr, FR_VIEW("edge-2")), "barn"));
    assert_null(mgr_pool_find(mgr_source_find(harness.mgr, FR_VIEW("edge-1")), "barn"));
    peer_close(&edge);
    peer_close(&other);
    harness_stop(&harness);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_more_is_taken_than_the_maximum_allows),
        cmocka_unit_test(test_the_change_limit_loses_no_place),
        cmocka_unit_test(test_who_wants_none_remembers_no_giver),
        cmocka_unit_test(test_a_removed_pool_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
