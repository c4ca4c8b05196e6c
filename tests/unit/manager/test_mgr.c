/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_mgr.c - a manager and peers that speak real bytes: crossing to request, answers, restarts,
 * followers, relief, intruders.
 */
#include "mgr_harness.h"

#include <inttypes.h>
#include <stdlib.h>

static const char web[] =
    "stream: { report-interval: 200ms }\n"
    "clusters:\n"
    "  web:\n"
    "    limit: 10\n"
    "    drain: 1s\n"
    "    members: [{ address: \"127.0.0.1:9001\", id: web-1 }]\n"
    "    scale: { from: rack, min: 1, max: 4, upper: 0.80, relief: [allocate],\n"
    "             lower: { level: 0.30, for: 0s }, cooldown: { up: 0s, down: 0s } }\n"
    "pools:\n"
    "  rack: { provider: static, servers: [\"127.0.0.1:9101\", \"127.0.0.1:9102\"] }\n";

/* <server> of a member; pool NULL: of the configuration. */
static const char *
server(char out[256], const char *id, const char *state, const char *pool, double utilization)
{
    snprintf(out, 256,
             "<server id=\"%s\" address=\"127.0.0.1:9%03d\" state=\"%s\"%s%s%s weight=\"100\""
             " utilization=\"%.3f\" requests=\"10\" in-flight=\"1\"/>",
             id, atoi(id + 4), state, pool ? " pool=\"" : "", pool ? pool : "", pool ? "\"" : "",
             utilization);
    return out;
}

static void
report(struct peer *peer, bool is_responsible, const char *servers)
{
    peer_say(peer,
             "<report seq=\"1\" at=\"2026-01-01T00:00:00Z\" full=\"true\">"
             "<cluster name=\"web\" responsible=\"%s\">%s</cluster></report>",
             is_responsible ? "true" : "false", servers);
}

static void
report_one(struct peer *peer, double utilization)
{
    char text[256];
    report(peer, true, server(text, "web-1", "ready", NULL, utilization));
}

/* Two members, the second of the pool. */
static void
report_two(struct peer *peer, bool is_responsible, const char *state, double utilization)
{
    char first[256];
    char second[256];
    char both[600];

    snprintf(both, sizeof(both), "%s%s", server(first, "web-1", "ready", NULL, utilization),
             server(second, "web-2", state, "rack", utilization));
    report(peer, is_responsible, both);
}

/* ---- deciding -------------------------------------------------------------------------------- */

static void
test_crossing_becomes_a_request(void **state)
{
    struct harness harness;
    struct peer edge;
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    assert_int_equal(edge.manager_epoch, 1);
    report_one(&edge, 0.5);
    const struct order *levels = peer_next(&harness, &edge, WIRE_LEVELS);
    assert_string_equal(levels->cluster, "web");
    assert_true(levels->upper > 0.799 && levels->upper < 0.801);
    assert_true(levels->lower > 0.299 && levels->lower < 0.301);
    assert_true(peer_hears_none(&harness, &edge, WIRE_ALLOCATE, 50));

    int64_t start_us = fr_clock_mono_us();
    report_one(&edge, 0.93);
    const struct order *order = peer_next(&harness, &edge, WIRE_ALLOCATE);
    print_message("crossing to request: %" PRId64 " us\n", order->at_us - start_us);
    assert_true(order->at_us - start_us < 250000);
    assert_int_equal(order->id.epoch, 1);
    assert_true(order->id.sequence > levels->id.sequence);
    assert_true(order->count >= 1);
    assert_string_equal(order->cluster, "web");

    /* What is pending is not asked for twice, however often it is reported. */
    for (unsigned i = 0; i < 5; i++)
        report_one(&edge, 0.95);
    assert_true(peer_hears_none(&harness, &edge, WIRE_ALLOCATE, 400));

    /* Answered, it stands in the manager's picture before the next report says so: no second
     * request for the same need. */
    peer_done(&edge, order, "<server id=\"web-2\" address=\"127.0.0.1:9101\"/>");
    assert_true(peer_hears_none(&harness, &edge, WIRE_ALLOCATE, 20));
    assert_int_equal(harness.mgr->counters.requests_done, 1);
    assert_int_equal(harness.mgr->request_count, 1); /* the levels, unanswered */
    peer_close(&edge);
    harness_stop(&harness);
}

/* What was purged from a cache is about to be asked of the members: capacity is asked for before
 * their utilization says so. */
static void
test_purge_announces_load(void **state)
{
    struct harness harness;
    struct peer edge;
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    report_one(&edge, 0.3);
    report_one(&edge, 0.3);
    (void)peer_next(&harness, &edge, WIRE_LEVELS);
    assert_true(peer_hears_none(&harness, &edge, WIRE_ALLOCATE, 50));
    peer_say(&edge,
             "<report full=\"true\"><cluster name=\"web\" responsible=\"true\" requests=\"10\" "
             "purged=\"3\" purged-rate=\"0\"><server id=\"web-1\" address=\"127.0.0.1:9100\" "
             "state=\"ready\" utilization=\"0.3\"/></cluster></report>");
    assert_true(peer_hears_none(&harness, &edge, WIRE_ALLOCATE, 50)); /* nobody asked for it */
    peer_say(&edge,
             "<report full=\"true\"><cluster name=\"web\" responsible=\"true\" requests=\"10\" "
             "purged=\"3\" purged-rate=\"500\"><server id=\"web-1\" address=\"127.0.0.1:9100\" "
             "state=\"ready\" utilization=\"0.3\"/></cluster></report>");
    const struct order *order = peer_next(&harness, &edge, WIRE_ALLOCATE);
    assert_true(order->count >= 1);
    peer_close(&edge);
    harness_stop(&harness);
}

static void
test_results_match_once(void **state)
{
    struct harness harness;
    struct peer edge;
    struct peer other;
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    peer_connect(&harness, &other, "edge", "edge-2", 0);
    report_one(&edge, 0.93);
    const struct order *order = peer_next(&harness, &edge, WIRE_ALLOCATE);
    const uint64_t *unknown = &harness.mgr->counters.results_unknown;
    peer_say(&edge, "<result id=\"77:1\" status=\"done\"/>");
    harness_wait_count(&harness, unknown, 1);
    peer_done(&other, order, ""); /* it was not asked */
    harness_wait_count(&harness, unknown, 2);
    assert_int_equal(harness.mgr->counters.requests_done, 0);
    report_one(&edge, 0.5);
    peer_refuse(&edge, order, "pool-empty");
    harness_wait_count(&harness, &harness.mgr->counters.requests_refused, 1);
    peer_refuse(&edge, order, "pool-empty"); /* said twice */
    harness_wait_count(&harness, unknown, 3);
    peer_close(&edge);
    peer_close(&other);
    harness_stop(&harness);
}

static void
test_under_utilized_gives_back(void **state)
{
    struct harness harness;
    struct peer edge;
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    report_two(&edge, true, "ready", 0.05);
    const struct order *order = peer_next(&harness, &edge, WIRE_DEALLOCATE);
    assert_string_equal(order->server, "web-2"); /* the one of the pool */
    report_two(&edge, true, "draining", 0.05);
    const struct order *release = peer_next(&harness, &edge, WIRE_RELEASE);
    assert_string_equal(release->server, "web-2");
    report_two(&edge, true, "draining", 0.05);
    assert_true(peer_hears_none(&harness, &edge, WIRE_RELEASE, 300)); /* once is enough */
    peer_done(&edge, release, "");
    peer_done(&edge, order, "<server id=\"web-2\"/>");
    report_one(&edge, 0.05);
    assert_true(peer_hears_none(&harness, &edge, WIRE_DEALLOCATE, 300)); /* the last one stays */
    peer_close(&edge);
    harness_stop(&harness);
}

static void
test_silence_never_shrinks(void **state)
{
    struct harness harness;
    struct peer edge;
    struct peer silent;
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &silent, "edge", "edge-2", 0);
    report_two(&silent, false, "ready", 0.05);
    harness_turns(&harness, 900); /* past three intervals of 200 ms */
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    for (unsigned i = 0; i < 4; i++) {
        report_two(&edge, true, "ready", 0.05);
        assert_true(peer_hears_none(&harness, &edge, WIRE_DEALLOCATE, 100));
    }
    /* It speaks again: now everything is known. */
    report_two(&silent, false, "ready", 0.05);
    report_two(&edge, true, "ready", 0.05);
    assert_non_null(peer_next(&harness, &edge, WIRE_DEALLOCATE));
    peer_close(&edge);
    peer_close(&silent);
    harness_stop(&harness);
}

static void
test_silence_of_the_responsible_holds(void **state)
{
    struct harness harness;
    struct peer edge;
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    report_two(&edge, true, "ready", 0.5);
    harness_turns(&harness, 900);
    struct mgr_cluster *cluster = mgr_cluster_find(harness.mgr, FR_VIEW("web"));
    struct mgr_member *member = mgr_member_find(cluster, FR_VIEW("web-2"));
    assert_true(mgr_member_load(member, loop_now_us(harness.loop)).is_stale);
    assert_true(peer_hears_none(&harness, &edge, WIRE_DEALLOCATE, 10));
    assert_true(peer_hears_none(&harness, &edge, WIRE_ALLOCATE, 10));
    peer_close(&edge);
    harness_stop(&harness);
}

/* Three edges at 4 in flight each: none sees the upper level, all together do (limit 10). */
static void
test_edges_add_up(void **state)
{
    struct harness harness;
    struct peer edges[3];
    char id[16];
    (void)state;

    harness_start(&harness, web);
    for (unsigned i = 0; i < 3; i++) {
        snprintf(id, sizeof(id), "edge-%u", i);
        peer_connect(&harness, &edges[i], "edge", id, 0);
        peer_say(&edges[i],
                 "<report full=\"true\"><cluster name=\"web\" responsible=\"%s\"><server"
                 " id=\"web-1\" address=\"127.0.0.1:9001\" utilization=\"0.4\""
                 " in-flight=\"4\"/></cluster></report>",
                 i == 0 ? "true" : "false");
    }
    assert_non_null(peer_next(&harness, &edges[0], WIRE_ALLOCATE));
    for (unsigned i = 1; i < 3; i++)
        assert_true(peer_hears_none(&harness, &edges[i], WIRE_ALLOCATE, 10));
    for (unsigned i = 0; i < 3; i++)
        peer_close(&edges[i]);
    harness_stop(&harness);
}

static void
test_agent_speaks_for_its_host(void **state)
{
    struct harness harness;
    struct peer allocator;
    struct peer agent;
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &allocator, "allocator", "alloc-1", 0);
    peer_connect(&harness, &agent, "agent", "agent-1", 0);
    report(&allocator, true, "<server id=\"web-1\" address=\"127.0.0.1:9001\" state=\"ready\"/>");
    assert_true(peer_hears_none(&harness, &allocator, WIRE_ALLOCATE, 50));
    peer_say(&agent, "<report full=\"true\"><server id=\"host-1\" role=\"agent\""
                     " address=\"127.0.0.1:9001\" cpu=\"0.97\"/></report>");
    assert_non_null(peer_next(&harness, &allocator, WIRE_ALLOCATE));
    peer_close(&agent);
    peer_close(&allocator);
    harness_stop(&harness);
}

static void
test_unknown_cluster_is_only_shown(void **state)
{
    struct harness harness;
    struct peer edge;
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    peer_say(&edge, "<report full=\"true\"><cluster name=\"other\" responsible=\"true\">"
                    "<server id=\"x-1\" address=\"127.0.0.1:1\" utilization=\"0.99\"/>"
                    "</cluster></report>");
    harness_wait_count(&harness, &harness.mgr->counters.reports, 1);
    assert_true(peer_hears_none(&harness, &edge, WIRE_ALLOCATE, 100));
    assert_int_equal(edge.order_count, 0);
    assert_non_null(mgr_cluster_find(harness.mgr, FR_VIEW("other")));
    peer_say(&edge, "<report full=\"true\"/>");
    harness_wait_count(&harness, &harness.mgr->counters.reports, 2);
    assert_null(mgr_cluster_find(harness.mgr, FR_VIEW("other")));
    peer_close(&edge);
    harness_stop(&harness);
}

/* ---- streams --------------------------------------------------------------------------------- */

static void
test_only_the_manager_commands(void **state)
{
    struct harness harness;
    struct peer edge;
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    peer_say(&edge, "<reconfigure id=\"1:1\" cluster=\"web\"><allocate/></reconfigure>");
    peer_wait_ended(&harness, &edge);
    assert_string_equal(edge.error_code, "not-the-manager");
    assert_int_equal(harness.mgr->counters.intruders, 1);
    peer_close(&edge);
    peer_connect(&harness, &edge, "edge", "edge-1", 0); /* and may come back */
    peer_close(&edge);
    harness_stop(&harness);
}

static void
test_newer_stream_of_an_id_wins(void **state)
{
    struct harness harness;
    struct peer older;
    struct peer newer;
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &older, "edge", "edge-1", 0);
    report_one(&older, 0.93);
    const struct order *order = peer_next(&harness, &older, WIRE_ALLOCATE);
    peer_connect(&harness, &newer, "edge", "edge-1", 0);
    peer_wait_ended(&harness, &older);
    assert_string_equal(older.error_code, "replaced");
    report_one(&newer, 0.93);
    const struct order *again = peer_next(&harness, &newer, WIRE_ALLOCATE);
    assert_int_equal(again->id.epoch, order->id.epoch);
    assert_int_equal(again->id.sequence, order->id.sequence); /* its old id */
    peer_close(&older);
    peer_close(&newer);
    harness_stop(&harness);
}

static void
test_too_many_streams(void **state)
{
    struct harness harness;
    struct peer first;
    struct peer second;
    (void)state;

    harness_start(&harness, "stream: { sessions: 1 }\n");
    peer_connect(&harness, &first, "edge", "edge-1", 0);
    memset(&second, 0, sizeof(second));
    peer_connect(&harness, &second, "edge", "edge-2", 0);
    peer_wait_ended(&harness, &second);
    assert_string_equal(second.error_code, "full");
    assert_false(first.is_ended);
    peer_close(&first);
    peer_close(&second);
    harness_stop(&harness);
}

static void
test_bad_ids_are_refused(void **state)
{
    struct harness harness;
    struct peer edge;
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &edge, "edge", "../etc/passwd", 0);
    peer_wait_ended(&harness, &edge);
    assert_string_equal(edge.error_code, "invalid");
    peer_close(&edge);
    peer_connect(&harness, &edge, "manager", "usurper", 0);
    peer_wait_ended(&harness, &edge);
    assert_string_equal(edge.error_code, "invalid");
    peer_close(&edge);
    assert_int_equal(fr_map_count(harness.mgr->sources), 0);
    harness_stop(&harness);
}

static void
test_stop_says_goodbye(void **state)
{
    struct harness harness;
    struct peer edge;
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    mgr_stop(harness.mgr, (loop_fn)(void (*)(void))loop_stop, harness.loop);
    harness_turns(&harness, 5000); /* the manager's own stop ends it earlier */
    peer_poll(&edge);
    assert_true(edge.is_ended);
    assert_string_equal(edge.error_code, "");
    peer_close(&edge);
    harness_stop(&harness);
}

/* ---- restarts -------------------------------------------------------------------------------- */

static void
test_restart_goes_on_from_the_journal(void **state)
{
    struct harness harness;
    struct peer edge;
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    report_one(&edge, 0.93);
    struct order asked = *peer_next(&harness, &edge, WIRE_ALLOCATE);
    peer_close(&edge);

    harness_restart(&harness);
    assert_int_equal(harness.mgr->epoch, 2);
    assert_int_equal(harness.mgr->request_count, 1); /* allocate; the levels were superseded */
    peer_connect(&harness, &edge, "edge", "edge-1", 1);
    assert_int_equal(edge.manager_epoch, 2);
    report_one(&edge, 0.93);
    const struct order *again = peer_next(&harness, &edge, WIRE_ALLOCATE);
    assert_int_equal(again->id.epoch, asked.id.epoch);
    assert_int_equal(again->id.sequence, asked.id.sequence);
    assert_int_equal(again->count, asked.count);
    report_one(&edge, 0.95);
    assert_true(peer_hears_none(&harness, &edge, WIRE_ALLOCATE, 300)); /* it is pending */
    peer_done(&edge, again, "<server id=\"web-2\" address=\"127.0.0.1:9101\"/>");
    harness_wait_count(&harness, &harness.mgr->counters.requests_done, 1);
    peer_close(&edge);

    harness_restart(&harness);
    assert_int_equal(harness.mgr->epoch, 3);
    assert_int_equal(harness.mgr->request_count, 0);
    harness_stop(&harness);
}

static void
test_lost_stream_sends_again(void **state)
{
    struct harness harness;
    struct peer edge;
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    report_one(&edge, 0.93);
    struct order asked = *peer_next(&harness, &edge, WIRE_ALLOCATE);
    peer_close(&edge);
    harness_turns(&harness, 300);
    peer_connect(&harness, &edge, "edge", "edge-1", 1);
    assert_true(peer_hears_none(&harness, &edge, WIRE_ALLOCATE, 300)); /* responsible for nothing */
    report_one(&edge, 0.93);
    const struct order *again = peer_next(&harness, &edge, WIRE_ALLOCATE);
    assert_int_equal(again->id.sequence, asked.id.sequence);
    peer_close(&edge);
    harness_stop(&harness);
}

static void
test_epoch_goes_beyond_what_peers_obeyed(void **state)
{
    struct harness harness;
    struct peer edge;
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &edge, "edge", "edge-1", 41);
    report_one(&edge, 0.93);
    assert_int_equal(peer_next(&harness, &edge, WIRE_ALLOCATE)->id.epoch, 42);
    peer_close(&edge);
    peer_connect(&harness, &edge, "edge", "edge-2", UINT64_MAX - 2);
    assert_int_equal(harness.mgr->epoch, 42); /* beyond belief */
    peer_close(&edge);
    harness_restart(&harness);
    assert_int_equal(harness.mgr->epoch, 43);
    harness_stop(&harness);
}

/* ---- followers ------------------------------------------------------------------------------- */

static void
test_followers_follow(void **state)
{
    struct harness harness;
    struct peer leader;
    struct peer follower;
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &leader, "edge", "edge-1", 0);
    peer_connect(&harness, &follower, "edge", "edge-2", 0);
    char text[256];
    report_two(&leader, true, "ready", 0.5);
    report(&follower, false, server(text, "web-1", "ready", NULL, 0.5));
    const struct order *join = peer_next(&harness, &follower, WIRE_JOIN);
    assert_string_equal(join->server, "web-2");
    assert_string_equal(join->address, "127.0.0.1:9002");
    assert_string_equal(join->pool, "rack");
    assert_int_equal(join->weight, 100);
    report_two(&leader, true, "ready", 0.5);
    assert_true(peer_hears_none(&harness, &follower, WIRE_JOIN, 50)); /* pending */
    peer_done(&follower, join, "");
    report_two(&leader, true, "ready", 0.5);
    assert_true(peer_hears_none(&harness, &follower, WIRE_JOIN, 50)); /* done, not reported yet */
    report_two(&follower, false, "ready", 0.5);

    /* The way back, in two phases. */
    report_two(&leader, true, "draining", 0.5);
    const struct order *leave = peer_next(&harness, &follower, WIRE_LEAVE);
    assert_string_equal(leave->server, "web-2");
    report_two(&leader, true, "draining", 0.5);
    assert_true(peer_hears_none(&harness, &leader, WIRE_RELEASE, 300)); /* it is still held */
    report_two(&follower, false, "draining", 0.5);
    assert_true(peer_hears_none(&harness, &leader, WIRE_RELEASE, 50));
    peer_done(&follower, leave, "");
    const struct order *release = peer_next(&harness, &leader, WIRE_RELEASE);
    assert_string_equal(release->server, "web-2");
    peer_close(&leader);
    peer_close(&follower);
    harness_stop(&harness);
}

static void
test_follower_keeps_what_left_meanwhile(void **state)
{
    struct harness harness;
    struct peer leader;
    struct peer follower;
    char text[256];
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &leader, "edge", "edge-1", 0);
    peer_connect(&harness, &follower, "edge", "edge-2", 0);
    report(&leader, true, server(text, "web-1", "ready", NULL, 0.5));
    report_two(&follower, false, "ready", 0.5); /* it slept through the leaving of web-2 */
    assert_string_equal(peer_next(&harness, &follower, WIRE_LEAVE)->server, "web-2");
    peer_close(&leader);
    peer_close(&follower);
    harness_stop(&harness);
}

static void
test_lost_follower_is_waited_for(void **state)
{
    struct harness harness;
    struct peer leader;
    struct peer follower;
    (void)state;

    harness_start(&harness, web); /* drain: 1s */
    peer_connect(&harness, &leader, "edge", "edge-1", 0);
    peer_connect(&harness, &follower, "edge", "edge-2", 0);
    report_two(&leader, true, "ready", 0.5);
    report_two(&follower, false, "ready", 0.5);
    harness_turns(&harness, 20);
    int64_t gone_us = fr_clock_mono_us();
    peer_close(&follower); /* gone, and perhaps still sending requests to web-2 */
    for (unsigned i = 0; i < 3; i++) {
        report_two(&leader, true, "draining", 0.5);
        assert_true(peer_hears_none(&harness, &leader, WIRE_RELEASE, 100));
    }
    const struct order *release = NULL;
    for (unsigned i = 0; i < 40 && !release; i++) {
        report_two(&leader, true, "draining", 0.5);
        if (!peer_hears_none(&harness, &leader, WIRE_RELEASE, 100))
            release = peer_next(&harness, &leader, WIRE_RELEASE);
    }
    assert_non_null(release);
    assert_true(release->at_us - gone_us >= 900000);
    peer_close(&leader);
    harness_stop(&harness);
}

/* After a restart nobody has reported yet: absence must not be taken for consent. */
static void
test_restart_waits_before_release(void **state)
{
    struct harness harness;
    struct peer leader;
    struct peer follower;
    (void)state;

    harness_start(&harness, web);
    harness_restart(&harness);
    peer_connect(&harness, &leader, "edge", "edge-1", 0);
    report_two(&leader, true, "draining", 0.5);
    assert_true(peer_hears_none(&harness, &leader, WIRE_RELEASE, 600));
    peer_connect(&harness, &follower, "edge", "edge-2", 0);
    report_two(&follower, false, "ready", 0.5);
    report_two(&leader, true, "draining", 0.5);
    const struct order *leave = peer_next(&harness, &follower, WIRE_LEAVE);
    assert_true(peer_hears_none(&harness, &leader, WIRE_RELEASE, 50));
    peer_done(&follower, leave, "");
    harness.mgr->grace_until_us = 0; /* the time passes */
    assert_non_null(peer_next(&harness, &leader, WIRE_RELEASE));
    peer_close(&leader);
    peer_close(&follower);
    harness_stop(&harness);
}

/* ---- weights and relief ---------------------------------------------------------------------- */

static void
test_weight_goes_to_every_edge_once(void **state)
{
    struct harness harness;
    struct peer edges[2];
    static const char yaml[] =
        "clusters:\n"
        "  web:\n"
        "    members: [{ address: \"127.0.0.1:9001\", id: web-1 },"
        " { address: \"127.0.0.1:9002\", id: web-2 }]\n"
        "    scale: { min: 1, max: 4, upper: 0.80, relief: [weight] }\n";
    static const char servers[] =
        "<server id=\"web-1\" address=\"127.0.0.1:9001\" weight=\"100\" utilization=\"0.95\"/>"
        "<server id=\"web-2\" address=\"127.0.0.1:9002\" weight=\"100\" utilization=\"0.20\"/>";
    (void)state;

    harness_start(&harness, yaml);
    peer_connect(&harness, &edges[0], "edge", "edge-1", 0);
    peer_connect(&harness, &edges[1], "edge", "edge-2", 0);
    report(&edges[1], false, servers);
    harness_turns(&harness, 20);
    report(&edges[0], true, servers);
    const struct order *first = peer_next(&harness, &edges[0], WIRE_WEIGHT);
    const struct order *second = peer_next(&harness, &edges[1], WIRE_WEIGHT);
    assert_string_equal(first->server, "web-1");
    assert_true(first->weight < 100);
    assert_int_equal(first->weight, second->weight);
    /* Answered at once: the old utilization must not shift the load a second time. */
    peer_done(&edges[0], first, "");
    peer_done(&edges[1], second, "");
    report(&edges[0], true, servers);
    assert_true(peer_hears_none(&harness, &edges[0], WIRE_WEIGHT, 300));
    peer_close(&edges[0]);
    peer_close(&edges[1]);
    harness_stop(&harness);
}

static void
test_edge_relief(void **state)
{
    struct harness harness;
    struct peer edge;
    static const char yaml[] = "edge: { relief: { upper: { level: 0.9, for: 0s },"
                               " lower: { level: 0.6, for: 0s }, steps: [stale, shed] } }\n";
    (void)state;

    harness_start(&harness, yaml);
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    peer_say(&edge, "<report full=\"true\"><server id=\"edge-1\" role=\"edge\""
                    " utilization=\"0.96\" relief=\"0\"/></report>");
    const struct order *order = peer_next(&harness, &edge, WIRE_RELIEVE);
    assert_int_equal(order->step, 1);
    peer_done(&edge, order, "");
    for (unsigned i = 0; i < 4; i++) {
        peer_say(&edge, "<report full=\"true\"><server id=\"edge-1\" role=\"edge\""
                        " utilization=\"0.40\" relief=\"1\"/></report>");
        harness_turns(&harness, 400);
    }
    assert_int_equal(peer_next(&harness, &edge, WIRE_RELIEVE)->step, 0);
    char *answer = harness_http(&harness, "GET", "/why?edge=edge-1", "");
    assert_non_null(strstr(answer, "relieve step 1 (serve stale): edge-1 at 0.96"));
    fr_free(answer);
    peer_close(&edge);
    harness_stop(&harness);
}

static void
test_reload_sends_new_levels(void **state)
{
    struct harness harness;
    struct peer edge;
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    report_one(&edge, 0.5);
    (void)peer_next(&harness, &edge, WIRE_LEVELS);
    harness_reload(&harness, "0.80", "0.40");
    const struct order *levels = peer_next(&harness, &edge, WIRE_LEVELS);
    assert_true(levels->upper > 0.399 && levels->upper < 0.401);
    assert_non_null(peer_next(&harness, &edge, WIRE_ALLOCATE)); /* 0.5 is over it now */
    peer_close(&edge);
    harness_stop(&harness);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crossing_becomes_a_request),
        cmocka_unit_test(test_purge_announces_load),
        cmocka_unit_test(test_results_match_once),
        cmocka_unit_test(test_under_utilized_gives_back),
        cmocka_unit_test(test_silence_never_shrinks),
        cmocka_unit_test(test_silence_of_the_responsible_holds),
        cmocka_unit_test(test_edges_add_up),
        cmocka_unit_test(test_agent_speaks_for_its_host),
        cmocka_unit_test(test_unknown_cluster_is_only_shown),
        cmocka_unit_test(test_only_the_manager_commands),
        cmocka_unit_test(test_newer_stream_of_an_id_wins),
        cmocka_unit_test(test_too_many_streams),
        cmocka_unit_test(test_bad_ids_are_refused),
        cmocka_unit_test(test_stop_says_goodbye),
        cmocka_unit_test(test_restart_goes_on_from_the_journal),
        cmocka_unit_test(test_lost_stream_sends_again),
        cmocka_unit_test(test_epoch_goes_beyond_what_peers_obeyed),
        cmocka_unit_test(test_followers_follow),
        cmocka_unit_test(test_follower_keeps_what_left_meanwhile),
        cmocka_unit_test(test_lost_follower_is_waited_for),
        cmocka_unit_test(test_restart_waits_before_release),
        cmocka_unit_test(test_weight_goes_to_every_edge_once),
        cmocka_unit_test(test_edge_relief),
        cmocka_unit_test(test_reload_sends_new_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
