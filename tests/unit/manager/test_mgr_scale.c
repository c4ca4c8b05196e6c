/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_mgr_scale.c - what a policy is told of the traffic: who was late, how busy members were.
 */
#include "mgr_harness.h"

#include <math.h>
#include <stdio.h>

#define COUNTED(goal, requests, counts)                                                            \
    "<report full=\"true\"><cluster name=\"web\" responsible=\"true\" goal-us=\"" goal             \
    "\" " counts                                                                                   \
    "><server id=\"web-1\" p50-ms=\"1\" p90-ms=\"2\" p99-ms=\"999\" requests=\"" requests          \
    "\"/></cluster></report>"

#define FORECASTS(members)                                                                         \
    "clusters:\n"                                                                                  \
    "  web:\n"                                                                                     \
    "    members: [" members "]\n"                                                                 \
    "    scale: { from: rack, policy: forecast, mode: observe }\n"                                 \
    "pools:\n"                                                                                     \
    "  rack: { provider: static, servers: [\"127.0.0.1:9101\"] }\n"

/* With an edge that is there; its cluster. */
static struct mgr_cluster *
begin(struct harness *harness, struct peer *edge, const char *settings)
{
    harness_start(harness, settings);
    peer_connect(harness, edge, "edge", "edge-1", 0);
    return mgr_cluster_find(harness->mgr, FR_VIEW("web"));
}

/* One report, and waits until the manager has it. */
__attribute__((format(printf, 3, 4))) static void
report(struct harness *harness, struct peer *peer, const char *format, ...)
{
    uint64_t before = harness->mgr->counters.reports;
    char words[1024];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    assert_in_range(len, 0, sizeof(words) - 1);
    peer_say(peer, "%s", words);
    harness_wait_count(harness, &harness->mgr->counters.reports, before + 1);
}

/* Edges count the late ones against the goal; quantiles are for senders that do not. */
static void
test_late_ones_are_counted(void **state)
{
    static const char settings[] =
        "clusters:\n"
        "  web:\n"
        "    members: [{ address: \"127.0.0.1:9001\", id: web-1 }]\n"
        "    scale: { from: rack, min: 1, max: 4, upper: 0.80, slo: 300ms }\n"
        "pools:\n"
        "  rack: { provider: static, servers: [\"127.0.0.1:9101\"] }\n";
    struct harness harness;
    struct peer edge;
    (void)state;

    struct mgr_cluster *cluster = begin(&harness, &edge, settings);
    report(&harness, &edge, COUNTED("300000", "1000", "timed=\"1000\" late=\"900\""));
    assert_float_equal(cluster->answered, 0, 1e-9); /* counted since when? */
    report(&harness, &edge, COUNTED("300000", "2000", "timed=\"1900\" late=\"907\""));
    assert_float_equal(cluster->answered, 900, 1e-9);
    assert_float_equal(cluster->late, 7, 1e-9);
    /* It began anew, or more were late than there were: neither is a number of ours. */
    report(&harness, &edge, COUNTED("300000", "2100", "timed=\"100\" late=\"50\""));
    report(&harness, &edge, COUNTED("300000", "2200", "timed=\"110\" late=\"70\""));
    assert_float_equal(cluster->answered, 900, 1e-9);
    report(&harness, &edge, COUNTED("300000", "2300", "timed=\"120\" late=\"71\""));
    assert_float_equal(cluster->answered, 910, 1e-9);
    assert_float_equal(cluster->late, 8, 1e-9);
    /* Another goal than ours: then by the quantiles, between p90 and p99. */
    report(&harness, &edge, COUNTED("200000", "2400", "timed=\"220\" late=\"171\""));
    assert_float_equal(cluster->answered, 1010, 1e-9);
    assert_true(cluster->late > 9 && cluster->late < 18);
    peer_close(&edge);
    harness_stop(&harness);
}

/* A follower has no goal of its own: it is told, and told anew when the goal is another. */
static void
test_edges_are_told_the_goal(void **state)
{
    struct harness harness;
    struct peer edge;
    (void)state;

    (void)begin(&harness, &edge,
                "clusters:\n"
                "  web:\n"
                "    scale: { from: rack, slo: 300ms }\n"
                "pools:\n"
                "  rack: { provider: static, servers: [\"127.0.0.1:9101\"] }\n");
    report(&harness, &edge, "<report full=\"true\"><cluster name=\"web\"/></report>");
    assert_int_equal(peer_next(&harness, &edge, WIRE_LEVELS)->goal_us, 300000);
    harness_reload(&harness, "300ms", "250ms");
    assert_int_equal(peer_next(&harness, &edge, WIRE_LEVELS)->goal_us, 250000);
    peer_close(&edge);
    harness_stop(&harness);
}

/* A load that swings: between the crossings, which are reported at once, members have little to
 * do. What one can do is learnt from looks that the load did not choose. */
static void
test_crossings_teach_nothing_of_a_member(void **state)
{
    struct harness harness;
    struct peer edge;
    struct policy_traffic traffic = {0};
    (void)state;

    struct mgr_cluster *cluster = begin(&harness, &edge,
                                        FORECASTS("{ address: \"127.0.0.1:9001\", id: web-1 },"
                                                  " { address: \"127.0.0.1:9002\", id: web-2 }"));
    for (unsigned i = 0; i < 30; i++) {
        bool is_regular = i % 10 == 0;
        report(&harness, &edge,
               "<report%s><cluster name=\"web\" responsible=\"true\" requests=\"%u\"><server"
               " id=\"web-1\" utilization=\"%s\"/><server id=\"web-2\" utilization=\"%s\"/>"
               "</cluster></report>",
               is_regular ? " full=\"true\"" : " crossing=\"true\"", i * 100,
               is_regular ? "0.25" : "1.2", is_regular ? "1.75" : "0.9");
    }
    assert_int_equal(cluster->looks, 2);               /* the first began the tick */
    assert_float_equal(cluster->busy, 2 * 1.25, 1e-6); /* what waits is not done */
    assert_true(
        mgr_scale_traffic(cluster, loop_now_us(harness.loop) + 3600 * FR_US_PER_S, &traffic));
    assert_float_equal(traffic.busy, 1.25, 1e-6);
    assert_int_equal(cluster->looks, 0);
    /* Nobody looked, or not at all of them: there is no number. */
    assert_true(
        mgr_scale_traffic(cluster, loop_now_us(harness.loop) + 7200 * FR_US_PER_S, &traffic));
    assert_true(isnan(traffic.busy));
    peer_close(&edge);
    harness_stop(&harness);
}

/* A member that is full finishes as much however many come: what came is what was finished, and
 * what is begun or waits beyond what did before. What a member can do is told by the former. */
static void
test_what_came_is_more_than_what_was_finished(void **state)
{
    static const struct {
        unsigned requests, in_flight, waiting;
        double came, served; /* since the last one */
    } rows[] = {
        {1000, 10, 0, 0, 0},       {1500, 10, 0, 500, 500},
        {2000, 60, 150, 700, 500}, /* 500 finished, 200 more are pending */
        {2500, 60, 0, 350, 500},   /* ... 150 of which were finished */
        {2600, 0, 0, 40, 100},     {2600, 0, 0, 0, 0},
    };
    struct harness harness;
    struct peer edge;
    (void)state;

    struct mgr_cluster *cluster =
        begin(&harness, &edge, FORECASTS("{ address: \"127.0.0.1:9001\", id: web-1 }"));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct policy_traffic traffic = {0};
        report(&harness, &edge,
               "<report full=\"true\"><cluster name=\"web\" responsible=\"true\" requests=\"%u\""
               " waiting=\"%u\"><server id=\"web-1\" in-flight=\"%u\"/></cluster></report>",
               rows[i].requests, rows[i].waiting, rows[i].in_flight);
        struct mgr_view *view = cluster->responsible;
        double passed_s = (double)(view->at_us - view->ticked_at_us) / 1e6;
        cluster->tick_at_us = i ? 1 : 0;
        bool known = mgr_scale_traffic(cluster, loop_now_us(harness.loop), &traffic);
        assert_int_equal(known, i > 0);
        if (!known)
            continue;
        assert_true(fabs(traffic.rate * passed_s - rows[i].came) < 1e-6);
        assert_true(fabs(traffic.served * passed_s - rows[i].served) < 1e-6);
    }
    peer_close(&edge);
    harness_stop(&harness);
}

/* A purge is announced in the midst of a tick: more is about to come, and what members do is what
 * they did, or one would be taken for two. */
static void
test_a_purge_tells_of_what_comes(void **state)
{
    struct harness harness;
    struct peer edge;
    struct policy_traffic traffic = {0};
    (void)state;

    struct mgr_cluster *cluster =
        begin(&harness, &edge, FORECASTS("{ address: \"127.0.0.1:9001\", id: web-1 }"));
    for (unsigned requests = 1000; requests <= 1500; requests += 500) {
        report(&harness, &edge,
               "<report full=\"true\"><cluster name=\"web\" responsible=\"true\" requests=\"%u\">"
               "<server id=\"web-1\" utilization=\"0.4\"/></cluster></report>",
               requests);
        if (requests == 1000)
            (void)mgr_scale_traffic(cluster, loop_now_us(harness.loop), &traffic);
    }
    double passed_s =
        (double)(cluster->responsible->at_us - cluster->responsible->ticked_at_us) / 1e6;
    const struct policy_member before = {.utilization = 0.4, .healthy = true};
    const struct policy_member behind = {.utilization = 0.8, .healthy = true};
    cluster->looks = 0;
    cluster->busy = cluster->busy_usable = 0;
    cluster->is_look_due = true;
    mgr_scale_look(cluster, loop_now_us(harness.loop), &before, 1);
    cluster->announced_factor = 2;
    cluster->announced_until_us = loop_now_us(harness.loop) + FR_US_PER_S;
    cluster->is_look_due = true;
    mgr_scale_look(cluster, loop_now_us(harness.loop), &behind, 1);
    cluster->tick_at_us = 1;
    assert_true(mgr_scale_traffic(cluster, loop_now_us(harness.loop), &traffic));
    assert_true(fabs(traffic.rate * passed_s - 1000) < 1e-6);
    assert_true(fabs(traffic.served * passed_s - 500) < 1e-6);
    assert_true(fabs(traffic.busy - 0.4) < 1e-9);
    assert_true(fabs(traffic.busy_usable - 0.4) < 1e-9);
    peer_close(&edge);
    harness_stop(&harness);
}

/* One that starts serves already, and one that drains still does: what is finished is theirs too.
 * What members have and are not at yet is a backlog once it is more than a second's work. */
static void
test_all_that_serve_are_looked_at(void **state)
{
    static const struct {
        unsigned requests, in_flight;
        const char *utilization;
        double late; /* of web-1's, as they would be done one after another */
    } rows[] = {
        {1000, 8, "1", 0},
        {1100, 8, "1", 0},
        {1100, 4000, "5", 3200},
        {100000, 40, "5", 0},
    };
    struct harness harness;
    struct peer edge;
    (void)state;

    struct mgr_cluster *cluster =
        begin(&harness, &edge, FORECASTS("{ address: \"127.0.0.1:9001\", id: web-1 }"));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct policy_traffic traffic = {0};
        report(&harness, &edge,
               "<report full=\"true\"><cluster name=\"web\" responsible=\"true\" requests=\"%u\">"
               "<server id=\"web-1\" state=\"ready\" utilization=\"%s\" in-flight=\"%u\"/>"
               "<server id=\"web-2\" state=\"starting\" utilization=\"0.5\"/>"
               "<server id=\"web-3\" state=\"starting\"/>"
               "<server id=\"web-4\" state=\"draining\" utilization=\"0.25\"/></cluster></report>",
               rows[i].requests, rows[i].utilization, rows[i].in_flight);
        if (i == 1) {
            assert_true(fabs(cluster->busy / cluster->looks - 1.75) < 1e-6);
            assert_true(fabs(cluster->busy_usable / cluster->looks - 1) < 1e-6);
        }
        cluster->tick_at_us = i ? 1 : 0;
        if (mgr_scale_traffic(cluster, loop_now_us(harness.loop) + FR_US_PER_S, &traffic))
            assert_true(fabs(traffic.queue - rows[i].late) < 1e-6);
        cluster->busy = cluster->looks = 0;
    }
    peer_close(&edge);
    harness_stop(&harness);
}

/* A server that drains is not among the ready, and the request for it is unanswered until it is
 * empty: counted twice it would be missed at once, and another one allocated in its place. */
static void
test_what_drains_is_taken_off_once(void **state)
{
    struct harness harness;
    struct peer edge;
    (void)state;

    struct mgr_cluster *cluster =
        begin(&harness, &edge,
              "clusters:\n"
              "  web:\n"
              "    scale: { from: rack, min: 0, max: 4, policy: target, idle: 1h,\n"
              "             cooldown: { up: 0s, down: 0s } }\n"
              "pools:\n"
              "  rack: { provider: static, servers: [\"127.0.0.1:9101\"] }\n");
    static const char *const shown[] = {"ready", "draining"};
    for (unsigned i = 0; i < 2; i++) {
        report(&harness, &edge,
               "<report full=\"true\"><cluster name=\"web\" responsible=\"true\"><server"
               " id=\"rack-1\" pool=\"rack\" utilization=\"0.6\"/><server id=\"rack-2\""
               " pool=\"rack\" utilization=\"0.6\" state=\"%s\"/></cluster></report>",
               shown[i]);
        if (i > 0)
            break;
        struct mgr_ask ask = {
            .operation = WIRE_DEALLOCATE,
            .cluster = cluster,
            .target = cluster->responsible->source,
            .server = "rack-2",
            .count = 1,
            .reason = "a test",
        };
        assert_true(mgr_request_send(harness.mgr, &ask, NULL));
        assert_int_equal(mgr_request_shown(harness.mgr, cluster->responsible), 0);
    }
    assert_int_equal(mgr_request_shown(harness.mgr, cluster->responsible), 1);
    harness_turns(&harness, 20);
    assert_int_equal(cluster->policy.pending_down, 1);
    assert_int_equal(cluster->policy.pending_down_shown, 1);
    assert_true(peer_hears_none(&harness, &edge, WIRE_ALLOCATE, 50));
    peer_close(&edge);
    harness_stop(&harness);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_late_ones_are_counted),
        cmocka_unit_test(test_edges_are_told_the_goal),
        cmocka_unit_test(test_crossings_teach_nothing_of_a_member),
        cmocka_unit_test(test_what_came_is_more_than_what_was_finished),
        cmocka_unit_test(test_a_purge_tells_of_what_comes),
        cmocka_unit_test(test_all_that_serve_are_looked_at),
        cmocka_unit_test(test_what_drains_is_taken_off_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
