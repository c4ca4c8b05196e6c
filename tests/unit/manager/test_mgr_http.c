/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_mgr_http.c - /status, /metrics, /why and POST /report, over the very listener streams use.
 */
#include "mgr_harness.h"

#include <jansson.h>

static const char web[] =
    "clusters:\n"
    "  web:\n"
    "    members: [{ address: \"127.0.0.1:9001\", id: web-1 }]\n"
    "    scale: { from: rack, min: 1, max: 4, upper: 0.80, relief: [allocate] }\n"
    "pools:\n"
    "  rack: { provider: static, servers: [\"127.0.0.1:9101\"] }\n";

#define DOCUMENT(inside) "<report xmlns=\"" WIRE_NAMESPACE "\" full=\"true\">" inside "</report>"

static void
expect(struct harness *harness, const char *method, const char *target, const char *body,
       const char *status, const char *words)
{
    char *answer = harness_http(harness, method, target, body);

    if (strncmp(answer, "HTTP/1.1 ", 9) != 0 || strncmp(answer + 9, status, strlen(status)) != 0)
        fail_msg("%s %s: expected %s, got %s", method, target, status, answer);
    if (words && !strstr(answer, words))
        fail_msg("%s %s: expected \"%s\" in %s", method, target, words, answer);
    fr_free(answer);
}

static json_t *
get_json(struct harness *harness, const char *target)
{
    json_error_t error;
    char *answer = harness_http(harness, "GET", target, "");
    const char *body = strstr(answer, "\r\n\r\n");

    assert_non_null(body);
    json_t *json = json_loads(body + 4, 0, &error);
    if (!json)
        fail_msg("%s: %s in %s", target, error.text, body);
    fr_free(answer);
    return json;
}

static void
test_report_by_post(void **state)
{
    struct harness harness;
    struct peer edge;
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    peer_say(&edge, "<report full=\"true\"><cluster name=\"web\" responsible=\"true\"><server"
                    " id=\"web-1\" address=\"127.0.0.1:9001\"/></cluster></report>");
    (void)peer_next(&harness, &edge, WIRE_LEVELS);
    assert_true(peer_hears_none(&harness, &edge, WIRE_ALLOCATE, 50));
    /* Anything that can POST can be the sensor. */
    expect(&harness, "POST", "/report?id=probe",
           DOCUMENT("<cluster name=\"web\"><server id=\"web-1\" utilization=\"0.99\"/></cluster>"),
           "204", NULL);
    assert_non_null(peer_next(&harness, &edge, WIRE_ALLOCATE));
    assert_int_equal(harness.mgr->counters.reports_posted, 1);
    expect(&harness, "POST", "/report",
           DOCUMENT("<server id=\"host-9\" role=\"agent\" cpu=\"0.2\"/>"), "204", NULL);
    assert_non_null(mgr_source_find(harness.mgr, FR_VIEW("host-9")));
    /* A poster cannot pose as a connected edge, nor become responsible. */
    expect(&harness, "POST", "/report?id=edge-1", DOCUMENT(""), "409", "stream of its own");
    expect(&harness, "POST", "/report?id=liar",
           DOCUMENT("<cluster name=\"web\" responsible=\"true\"/>"), "204", NULL);
    struct mgr_cluster *cluster = mgr_cluster_find(harness.mgr, FR_VIEW("web"));
    assert_string_equal(cluster->responsible->source->id, "edge-1");
    peer_close(&edge);
    harness_stop(&harness);
}

static void
test_bad_reports_change_nothing(void **state)
{
    struct harness harness;
    (void)state;

    harness_start(&harness, web);
    expect(&harness, "POST", "/report?id=p", "", "400", NULL);
    expect(&harness, "POST", "/report?id=p", "<report", "400", NULL);
    expect(&harness, "POST", "/report?id=p", "{\"utilization\": 1}", "400", "not-well-formed");
    expect(&harness, "POST", "/report?id=p", "<report/>", "400", "namespace");
    expect(&harness, "POST", "/report?id=p",
           DOCUMENT("<cluster name=\"web\"><server id=\"web-1\" utilization=\"lots\"/></cluster>"),
           "400", "utilization");
    expect(&harness, "POST", "/report?id=p", "<!DOCTYPE x>" DOCUMENT(""), "400", "doctype");
    /* Whole and good, and then something behind it: none of it counts. */
    expect(&harness, "POST", "/report?id=p", DOCUMENT("<cluster name=\"web\"/>") "<more/>", "400",
           NULL);
    expect(&harness, "POST", "/report", DOCUMENT(""), "400", "who reports");
    expect(&harness, "POST", "/report?id=a%20b", DOCUMENT(""), "400", "name");
    assert_int_equal(harness.mgr->counters.reports, 0);
    assert_int_equal(harness.mgr->counters.reports_bad, 9);
    assert_int_equal(fr_map_count(harness.mgr->sources), 0);
    expect(&harness, "GET", "/report", "", "405", NULL);
    harness_stop(&harness);
}

static void
test_status(void **state)
{
    struct harness harness;
    struct peer edge;
    (void)state;

    harness_start(&harness, web);
    json_t *json = get_json(&harness, "/status");
    assert_int_equal(json_array_size(json_object_get(json, "sources")), 0);
    assert_int_equal(json_array_size(json_object_get(json, "clusters")), 1);
    json_decref(json);

    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    peer_say(&edge,
             "<report full=\"true\" seq=\"7\"><server id=\"edge-1\" role=\"edge\""
             " utilization=\"0.25\" requests=\"9\"/><cluster name=\"web\" responsible=\"true\""
             " generation=\"3\"><server id=\"web-1\" address=\"127.0.0.1:9001\" state=\"ready\""
             " weight=\"100\" utilization=\"0.93\" in-flight=\"5\" requests=\"70\" p99-ms=\"3.5\"/>"
             "</cluster><pool name=\"rack\" available=\"1\" allocated=\"0\"/></report>");
    (void)peer_next(&harness, &edge, WIRE_ALLOCATE);
    json = get_json(&harness, "/status");
    json_t *source = json_array_get(json_object_get(json, "sources"), 0);
    assert_string_equal(json_string_value(json_object_get(source, "id")), "edge-1");
    assert_true(json_is_true(json_object_get(source, "connected")));
    assert_int_equal(json_integer_value(json_object_get(source, "seq")), 7);
    json_t *cluster = json_array_get(json_object_get(json, "clusters"), 0);
    assert_string_equal(json_string_value(json_object_get(cluster, "responsible")), "edge-1");
    assert_true(json_integer_value(json_object_get(cluster, "allocating")) >= 1);
    json_t *member = json_array_get(json_object_get(cluster, "members"), 0);
    assert_string_equal(json_string_value(json_object_get(member, "state")), "ready");
    assert_int_equal(json_integer_value(json_object_get(member, "requests")), 70);
    assert_true(json_real_value(json_object_get(member, "utilization")) > 0.92);
    json_t *pool = json_array_get(json_object_get(json, "pools"), 0);
    assert_int_equal(json_integer_value(json_object_get(pool, "available")), 1);
    bool found = false;
    size_t i;
    json_t *request;
    json_array_foreach (json_object_get(json, "requests"), i, request)
        found |= strcmp(json_string_value(json_object_get(request, "operation")), "allocate") == 0;
    assert_true(found);
    json_decref(json);
    expect(&harness, "GET", "/metrics", "",
           "200", "freshet_manager_member_utilization{cluster=\"web\",member=\"web-1\"} 0.9300");
    expect(&harness, "GET", "/metrics", "", "200", "freshet_manager_samples_total 1\n");
    expect(&harness, "GET", "/nowhere", "", "404", NULL);
    peer_close(&edge);
    harness_stop(&harness);
}

static void
test_why(void **state)
{
    struct harness harness;
    struct peer edge;
    (void)state;

    harness_start(&harness, web);
    expect(&harness, "GET", "/why?cluster=web", "", "200", "no server that is responsible");
    expect(&harness, "GET", "/why?cluster=wob", "", "404", "there is: web");
    expect(&harness, "GET", "/why", "", "400", "cluster=NAME");
    expect(&harness, "GET", "/why?cluster=web&n=0", "", "400", "from 1 to");
    expect(&harness, "GET", "/why?cluster=web&n=99999", "", "400", "from 1 to");

    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    for (unsigned i = 0; i < 3; i++) {
        peer_say(&edge, "<report full=\"true\"><cluster name=\"web\" responsible=\"true\"><server"
                        " id=\"web-1\" utilization=\"0.5\"/></cluster></report>");
        harness_turns(&harness, 20);
    }
    peer_say(&edge, "<report full=\"true\"><cluster name=\"web\" responsible=\"true\"><server"
                    " id=\"web-1\" utilization=\"0.93\"/></cluster></report>");
    const struct order *order = peer_next(&harness, &edge, WIRE_ALLOCATE);
    expect(&harness, "GET", "/why?cluster=web", "", "200", "not answered yet");
    peer_refuse(&edge, order, "pool-empty");
    harness_wait_count(&harness, &harness.mgr->counters.requests_refused, 1);

    char *answer = harness_http(&harness, "GET", "/why?cluster=web&n=50", "");
    const char *hold = strstr(answer, "times, last");
    const char *act = strstr(answer, "web-1 at 0.93");
    assert_non_null(hold); /* three holds of one rule are one line */
    assert_non_null(act);
    assert_true(hold < act); /* newest last */
    assert_non_null(strstr(answer, "-> refused after"));
    assert_non_null(strstr(answer, "pool-empty: so it is"));
    print_message("%s", strstr(answer, "\r\n\r\n") + 4);
    fr_free(answer);

    json_t *json = get_json(&harness, "/why?cluster=web&format=json&n=50");
    assert_true(json_array_size(json) >= 2);
    json_t *first = json_array_get(json, 0);
    assert_string_equal(json_string_value(json_object_get(first, "verdict")), "hold");
    assert_true(json_integer_value(json_object_get(first, "repeats")) >= 3);
    json_decref(json);
    peer_close(&edge);
    harness_stop(&harness);
}

/* The responsible one is one of many: where each edge stands is told of each. */
static void
test_why_tells_every_edges_rung(void **state)
{
    struct harness harness;
    struct peer edge, other, allocator;
    (void)state;

    harness_start(&harness, web);
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    peer_connect(&harness, &other, "edge", "edge-2", 0);
    peer_connect(&harness, &allocator, "allocator", "alloc", 0);
    peer_say(&allocator,
             "<report full=\"true\"><cluster name=\"web\" responsible=\"true\"/></report>");
    peer_say(&edge, "<report full=\"true\"><cluster name=\"web\"/></report>");
    peer_say(&other, "<report full=\"true\"><cluster name=\"web\" rung=\"stale\"/></report>");
    harness_wait_count(&harness, &harness.mgr->counters.reports, 3);

    char *answer = harness_http(&harness, "GET", "/why?cluster=web&n=1", "");
    const char *now = strstr(answer, "\nladder now: ");
    if (!now || !strstr(now, "edge-1 on the ground") || !strstr(now, "edge-2 at stale since ") ||
        strstr(now, "alloc"))
        fail_msg("%s", answer);
    fr_free(answer);

    json_t *json = get_json(&harness, "/why?cluster=web&format=json&n=1");
    json_t *row = json_array_get(json, json_array_size(json) - 1);
    assert_string_equal(json_string_value(json_object_get(row, "verdict")), "rungs");
    json_t *edges = json_object_get(row, "edges");
    assert_int_equal(json_array_size(edges), 2);
    for (size_t i = 0; i < 2; i++) {
        json_t *one = json_array_get(edges, i);
        bool is_other = strcmp(json_string_value(json_object_get(one, "edge")), "edge-2") == 0;
        assert_string_equal(json_string_value(json_object_get(one, "rung")),
                            is_other ? "stale" : "");
        assert_int_equal(json_integer_value(json_object_get(one, "silent_ms")), 0);
    }
    json_decref(json);

    json = get_json(&harness, "/status");
    json_t *cluster = json_array_get(json_object_get(json, "clusters"), 0);
    assert_int_equal(json_array_size(json_object_get(cluster, "rungs")), 2);
    json_decref(json);

    /* What a silent one said last is old, and says so. */
    mgr_source_find(harness.mgr, FR_VIEW("edge-2"))->fresh_until_us = 1;
    expect(&harness, "GET", "/why?cluster=web", "", "200", "Z when last heard, ");
    peer_say(&other, "<report full=\"true\"><cluster name=\"web\"/></report>");
    harness_wait_count(&harness, &harness.mgr->counters.reports, 4);
    expect(&harness, "GET", "/why?cluster=web", "", "200", "edge-2 on the ground");
    peer_close(&edge);
    peer_close(&other);
    peer_close(&allocator);
    harness_stop(&harness);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report_by_post),
        cmocka_unit_test(test_bad_reports_change_nothing),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_why),
        cmocka_unit_test(test_why_tells_every_edges_rung),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
