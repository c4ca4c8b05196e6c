/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_edge_report.c - what a report says and when it goes out: at every interval, at once when a
 * level was crossed or a server changed, and paced where much changes.
 */
#include "edge_bed.h"

#include <math.h>

/* Of the regular ones only the first comes. */
#define EVENTS_ONLY "stream: { report-interval: 60s, rate: 1000000 }\n"

static void
the_first_says_it_all(void **state)
{
    struct bed *bed = bed_open(EVENTS_ONLY BED_SETTINGS);
    const struct said_report *report = &bed->report;
    (void)state;
    assert_string_equal(bed->role, "edge");
    assert_string_equal(bed->id, "edge-1");
    assert_int_equal(bed->obeyed, 0); /* it met nobody before */
    assert_int_equal(report->seq, 1);
    assert_true(report->full);
    int64_t age_us = fr_clock_wall_us() - report->wall_us;
    assert_true(age_us >= -FR_US_PER_S && age_us < BED_WAIT_MS * FR_US_PER_MS);
    assert_string_equal(report->self.id, "edge-1");
    assert_string_equal(report->self.role, "edge");
    assert_int_equal(report->self.requests, 0);
    assert_int_equal(report->self.relief, 0);
    assert_true(report->self.memory_bytes > (1 << 20));
    assert_true(report->self.utilization >= 0);
    assert_int_equal(report->worker_count, 1);
    assert_int_equal(report->cluster_count, 3);
    assert_true(bed_said_cluster(bed, "api")->responsible); /* it scales here */
    assert_false(bed_said_cluster(bed, "web")->responsible);
    assert_int_equal(bed_said_cluster(bed, "api")->server_count, 0);
    const struct said_server *server = bed_said_server(bed, "web", "web-2");
    assert_string_equal(server->address, "127.0.0.1:10");
    assert_string_equal(server->state, "ready");
    assert_string_equal(server->pool, "");
    assert_int_equal(server->weight, 50);
    assert_int_equal(server->weight_normal, 50);
    assert_true(isnan(server->utilization)); /* nobody measures it: absent, not 0 */
    assert_int_equal(report->pool_count, 1);
    assert_string_equal(report->pools[0].name, "rack");
    assert_int_equal(report->pools[0].available, 4);
    bed_close(bed);
}

static void
one_an_interval(void **state)
{
    struct bed *bed = bed_open("stream: { report-interval: 50ms }\n" BED_SETTINGS);
    (void)state;
    bed_until(bed, bed->report_count >= 6);
    assert_int_equal(bed->report.seq, bed->report_count); /* none is lost, none comes twice */
    int64_t took_us = bed->report_at_us[5] - bed->report_at_us[1];
    assert_true(took_us >= 4 * 50 * FR_US_PER_MS - 10 * FR_US_PER_MS);
    assert_int_equal(bed->crossing_count, 0); /* nothing happened */
    bed_close(bed);
}

static void
changes_are_told_at_once(void **state)
{
    struct bed *bed = bed_open(EVENTS_ONLY BED_SETTINGS);
    (void)state;
    bed_done(bed, "far", "<join server='far-1' address='127.0.0.1:15' pool='other'/>");
    bed_until(bed, bed_said_server(bed, "far", "far-1") != NULL);
    assert_true(bed->crossing_count > 0);
    assert_string_equal(bed_said_server(bed, "far", "far-1")->pool, "other");
    struct said_result one = *bed_ask(bed, "api", "<allocate/>");
    bed_until(bed, bed_said_state(bed, "api", one.servers[0], "ready"));
    bed_until(bed, bed->report.pools[0].allocated == 1);
    assert_int_equal(bed->report.pools[0].available, 3);
    /* A weight is no crossing, but it is news. */
    bed_done(bed, "web", "<weight server='web-1' weight='5'/>");
    bed_until(bed, bed_said_server(bed, "web", "web-1")->weight == 5);
    assert_int_equal(bed_said_server(bed, "web", "web-1")->weight_normal, 100);
    assert_false(bed->crossings[bed->report_count - 1]);
    bed_done(bed, "api", "<deallocate/>");
    bed_until(bed, bed_said_cluster(bed, "api")->server_count == 0);
    bed_close(bed);
}

/* Many changes share reports: a burst at once, then one each EDGE_REPORT_US; the last word gets
 * through all the same. */
static void
a_stream_of_changes_is_paced(void **state)
{
    struct bed *bed = bed_open(EVENTS_ONLY BED_SETTINGS);
    char weigh[96];
    (void)state;
    size_t before = bed->report_count;
    int64_t from_us = loop_now_us(bed->loop);
    for (unsigned i = 1; i <= 200; i++) {
        (void)snprintf(weigh, sizeof(weigh), "<weight server='far-0' weight='%u'/>", i);
        bed_done(bed, "far", weigh);
    }
    bed_until(bed, bed_said_server(bed, "far", "far-0")->weight == 200);
    int64_t took_us = loop_now_us(bed->loop) - from_us;
    size_t reports = bed->report_count - before;
    assert_true(reports >= EDGE_REPORT_BURST);
    assert_true(reports <= EDGE_REPORT_BURST + 1 + (size_t)(took_us / EDGE_REPORT_US));
    bed_close(bed);
}

static void
a_lost_manager_gets_no_reports(void **state)
{
    struct bed *bed = bed_open(EVENTS_ONLY BED_SETTINGS);
    (void)state;
    bed_hang_up(bed);
    bed_until(bed, !stream_session_is_open(bed->edge->stream));
    uint64_t seq = bed->edge->report_seq;
    edge_report_soon(bed->edge, true);
    bed_turn(bed);
    assert_int_equal(bed->edge->report_seq, seq); /* numbers are of what was sent */
    bed_meet(bed, 3);
    assert_int_equal(bed->report.seq, seq + 1);
    bed_close(bed);
}

static void
an_allocator_reports_servers_without_measures(void **state)
{
    struct bed *bed = bed_new();
    (void)state;
    bed_manager_up(bed);
    bed_start(bed,
              bed_config(bed, CONFIG_ROLE_ALLOCATOR, true,
                         EVENTS_ONLY
                         "clusters:\n"
                         "  api: { health: { type: none }, scale: { from: rack, min: 1 } }\n"
                         "pools:\n"
                         "  rack: { provider: static, servers: [\"127.0.0.1:11\"] }\n"),
              WIRE_ROLE_ALLOCATOR);
    bed_meet(bed, 7);
    assert_string_equal(bed->role, "allocator");
    bed_until(bed, bed_said_cluster(bed, "api")->server_count == 1);
    const struct said_server *server = &bed_said_cluster(bed, "api")->servers[0];
    bed_until(bed, strcmp(server->state, "ready") == 0);
    assert_true(bed_said_cluster(bed, "api")->responsible);
    assert_true(isnan(server->utilization));
    assert_int_equal(server->requests, WIRE_NONE);
    assert_int_equal(bed->report.worker_count, 0);
    bed_close(bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_says_it_all),
        cmocka_unit_test(one_an_interval),
        cmocka_unit_test(changes_are_told_at_once),
        cmocka_unit_test(a_stream_of_changes_is_paced),
        cmocka_unit_test(a_lost_manager_gets_no_reports),
        cmocka_unit_test(an_allocator_reports_servers_without_measures),
    };
    fr_log_setup(FR_LOG_ERROR, FR_LOG_SHAPE_HUMAN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
