/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_wire_stanza.c - elements into structs: every field, what is unknown, what is missing and
 * what is nonsense.
 */
#include "wire_case.h"

#define OPEN WIRE_CASE_OPEN
#define CLOSE "</stream>"

/* ---- one event, looked at while it lives ---------------------------------------------------- */

struct look {
    enum wire_event_kind kind;
    void (*at)(const struct wire_event *event);
    unsigned seen;
};

static bool
look_event(void *ctx, const struct wire_event *event)
{
    struct look *look = ctx;
    if (event->kind == look->kind) {
        look->seen++;
        look->at(event);
    }
    return true;
}

static void
look_at(const char *text, enum wire_event_kind kind, void (*at)(const struct wire_event *event))
{
    struct look look = {.kind = kind, .at = at};
    struct wire_decoder *decoder;
    assert_int_equal(wire_decoder_new(WIRE_STREAM, NULL, look_event, &look, &decoder), FR_OK);
    if (wire_decoder_feed(decoder, fr_view_of(text)) != WIRE_OK)
        fail_msg("%s in %s", wire_decoder_words(decoder), text);
    wire_decoder_free(&decoder);
    assert_int_equal(look.seen, 1);
}

static bool
is(struct fr_view view, const char *text)
{
    return fr_view_is(view, text);
}

static void
expect_invalid(const char *stanza, const char *words)
{
    char text[2048];
    struct wire_case one;
    (void)snprintf(text, sizeof(text), OPEN "%s" CLOSE, stanza);
    wire_case_init(&one);
    enum wire_error error = wire_case_whole(&one, WIRE_STREAM, NULL, fr_view_of(text));
    if (error != WIRE_INVALID || strstr(one.words, words) == NULL)
        fail_msg("%s (%s), expected \"%s\": %s", wire_error_code(error), one.words, words, stanza);
    assert_int_equal(one.events, 1); /* the opening only */
    wire_case_fini(&one);
}

/* ---- openings and reports ------------------------------------------------------------------- */

static void
at_open(const struct wire_event *event)
{
    assert_int_equal(event->as.open->role, WIRE_ROLE_ALLOCATOR);
    assert_true(is(event->as.open->id, "a<b"));
    assert_int_equal(event->as.open->epoch, 12);
    assert_true(is(event->as.open->boot, "x"));
}

static void
test_open(void **state)
{
    (void)state;
    look_at("<stream xmlns='urn:freshet:stream:1' boot='x' epoch='12' id='a&lt;b' new='1' "
            "role='allocator' version='1'>",
            WIRE_EVENT_OPEN, at_open);
}

static void
at_report(const struct wire_event *event)
{
    const struct wire_report *report = event->as.report;
    assert_int_equal(report->seq, 17);
    assert_int_equal(report->at_us, 1767268800000000LL);
    assert_true(report->crossing);
    assert_false(report->full);
    assert_true(report->has_self);
    assert_true(is(report->self.role, "edge"));
    assert_int_equal(report->worker_count, 2);
    assert_int_equal(report->workers[1].index, 1);
    assert_true(isnan(report->workers[1].cpu));
    assert_int_equal(report->cluster_count, 3);
    assert_int_equal(report->clusters[0].server_count, 2);
    assert_int_equal(report->clusters[1].server_count, 0);
    assert_int_equal(report->clusters[2].server_count, 1);
    assert_true(report->clusters[0].responsible);
    assert_int_equal(report->clusters[0].requests, 8010);
    assert_true(report->clusters[0].generation == WIRE_NONE);
    const struct wire_server *server = &report->clusters[0].servers[1];
    assert_true(is(server->id, "web-3"));
    assert_true(is(server->address, "10.0.0.7:8080"));
    assert_true(is(server->state, "ready"));
    assert_true(is(server->pool, "rack"));
    assert_int_equal(server->weight, 100);
    assert_true(server->utilization > 0.9299 && server->utilization < 0.9301);
    assert_int_equal(server->requests, 2711);
    assert_int_equal(server->errors, 0);
    assert_int_equal(server->connect_failures, 4);
    assert_int_equal(server->in_flight, 15);
    assert_int_equal(server->connections, 16);
    assert_int_equal(server->bytes_in, 17);
    assert_int_equal(server->bytes_out, 18);
    assert_true(server->p50_ms > 4.09 && server->p50_ms < 4.11);
    assert_true(isnan(server->p90_ms));
    assert_int_equal(server->memory_bytes, 19);
    assert_int_equal(server->cache_hits, 20);
    assert_int_equal(server->cache_misses, 21);
    assert_int_equal(server->cache_bytes, 22);
    assert_int_equal(server->relief, 2);
    assert_true(is(report->clusters[2].servers[0].id, "last"));
    assert_true(report->clusters[2].servers[0].requests == WIRE_NONE);
    assert_true(isnan(report->clusters[2].servers[0].utilization));
    assert_int_equal(report->pool_count, 1);
    assert_int_equal(report->pools[0].available, 7);
    assert_true(report->pools[0].allocated == WIRE_NONE);
}

static void
test_report(void **state)
{
    (void)state;
    look_at(OPEN "<report seq='17' at='2026-01-01T12:00:00.000Z' crossing='true' full='false'>"
                 "<server id='edge-1' role='edge'><worker index='0' cpu='0.5'/>"
                 "<worker index='1'/></server>"
                 "<cluster name='web' responsible='1' requests='8010'><server id='one'/>"
                 "<server relief='2' cache-bytes='22' cache-misses='21' cache-hits='20' "
                 "memory-bytes='19' p50-ms='4.1' bytes-out='18' bytes-in='17' connections='16' "
                 "in-flight='15' connect-failures='4' errors='0' requests='2711' "
                 "utilization='0.93' weight='100' pool='rack' state='ready' "
                 "address='10.0.0.7:8080' id='web-3'/></cluster>"
                 "<cluster name='none'/><cluster name='three'><server id='last'/></cluster>"
                 "<pool name='rack' available='7'/></report>",
            WIRE_EVENT_REPORT, at_report);
}

static void
at_little(const struct wire_event *event)
{
    const struct wire_report *report = event->as.report;
    assert_int_equal(report->seq, 0);
    assert_int_equal(report->at_us, 0);
    assert_false(report->has_self);
    assert_int_equal(report->cluster_count, 1);
    assert_int_equal(report->clusters[0].server_count, 1);
    assert_true(is(report->clusters[0].servers[0].id, "known"));
    assert_int_equal(report->pool_count, 0);
}

/* What is not known is skipped with all that is in it, known names included. */
static void
test_unknown_elements_and_attributes(void **state)
{
    (void)state;
    look_at(OPEN "<novelty><report seq='9'><cluster name='hidden'/></report></novelty>"
                 "<report novel='1'>text<x:server xmlns:x='urn:other' id='no'/>"
                 "<future><server id='hidden'/><cluster name='hidden'><server id='h'/></cluster>"
                 "</future>"
                 "<cluster name='web' a='b'><worker index='0'/><pool name='hidden'/>"
                 "<server id='known' x:id='other' xmlns:x='urn:x'><server id='inner'/>"
                 "<cluster name='inner'/></server></cluster>"
                 "</report>",
            WIRE_EVENT_REPORT, at_little);
}

static void
test_reports_that_are_nonsense(void **state)
{
    (void)state;
    expect_invalid("<report seq='-1'/>", "seq");
    expect_invalid("<report seq=''/>", "seq");
    expect_invalid("<report at='yesterday'/>", "at");
    expect_invalid("<report at='1969-12-31T23:59:59Z'/>", "at");
    expect_invalid("<report full='yes'/>", "full");
    expect_invalid("<report><server/></report>", "\"id\" or \"address\"");
    expect_invalid("<report><server id='a'/><server id='b'/></report>", "second <server>");
    expect_invalid("<report><server id='a'><worker/></server></report>", "\"index\"");
    expect_invalid("<report><cluster/></report>", "\"name\"");
    expect_invalid("<report><cluster name='&#9;'/></report>", "name");
    expect_invalid("<report><cluster name='a&#x85;'/></report>", "name");
    expect_invalid("<report><pool/></report>", "\"name\"");
    static const char *const attributes[] = {
        "utilization='NaN'", "utilization='-0.1'",
        "utilization='1e3'", "utilization='1000.1'",
        "utilization='inf'", "utilization=''",
        "cpu='0x1'",         "weight='65536'",
        "requests='1.5'",    "requests='18446744073709551615'",
        "in-flight='-1'",    "p50-ms='1000000001'",
        "relief='1001'",     "state=''",
        "pool=''",
    };
    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
        char text[256];
        (void)snprintf(text, sizeof(text),
                       "<report><cluster name='c'><server id='s' %s/></cluster></report>",
                       attributes[i]);
        expect_invalid(text, "<server ");
    }
}

static void
test_name_bytes(void **state)
{
    char text[512], name[130];
    (void)state;
    memset(name, 'n', sizeof(name));
    struct wire_case one;
    wire_case_init(&one);
    (void)snprintf(text, sizeof(text), OPEN "<report><pool name='%.128s'/></report>" CLOSE, name);
    assert_int_equal(wire_case_whole(&one, WIRE_STREAM, NULL, fr_view_of(text)), WIRE_OK);
    wire_case_fini(&one);
    (void)snprintf(text, sizeof(text), "<report><pool name='%.129s'/></report>", name);
    expect_invalid(text, "128 bytes");
}

/* ---- requests and results ------------------------------------------------------------------- */

static void
at_allocate(const struct wire_event *event)
{
    const struct wire_reconfigure *request = event->as.reconfigure;
    assert_int_equal(request->operation, WIRE_ALLOCATE);
    assert_int_equal(request->id.epoch, 3);
    assert_int_equal(request->id.sequence, 81);
    assert_true(is(request->cluster, "web"));
    assert_true(is(request->reason, "because"));
    assert_int_equal(request->count, 1);
    assert_int_equal(request->server.len, 0);
    assert_true(request->weight == WIRE_NONE);
    assert_true(isnan(request->upper));
    assert_null(request->settings);
}

static void
at_levels(const struct wire_event *event)
{
    const struct wire_reconfigure *request = event->as.reconfigure;
    assert_int_equal(request->operation, WIRE_LEVELS);
    assert_true(request->upper > 0.799 && request->upper < 0.801);
    assert_true(isnan(request->lower));
    assert_int_equal(request->goal_us, 300000);
}

static void
at_join(const struct wire_event *event)
{
    const struct wire_reconfigure *request = event->as.reconfigure;
    assert_int_equal(request->operation, WIRE_JOIN);
    assert_true(is(request->server, "s"));
    assert_true(is(request->address, "h:1"));
    assert_true(is(request->pool, "p"));
    assert_int_equal(request->weight, 9);
}

static void
at_unknown(const struct wire_event *event)
{
    assert_int_equal(event->as.reconfigure->operation, WIRE_OPERATION_COUNT);
    assert_int_equal(event->as.reconfigure->id.sequence, 5);
}

static void
test_requests(void **state)
{
    (void)state;
    look_at(OPEN "<reconfigure id='3:81' cluster='web'><allocate reason='because' new='1'/>"
                 "</reconfigure>",
            WIRE_EVENT_RECONFIGURE, at_allocate);
    look_at(OPEN "<reconfigure id='3:82' cluster='web'><levels upper='0.8' goal-us='300000'/>"
                 "</reconfigure>",
            WIRE_EVENT_RECONFIGURE, at_levels);
    look_at(OPEN "<reconfigure id='3:82' cluster='w'><join server='s' address='h:1' weight='9' "
                 "pool='p'/></reconfigure>",
            WIRE_EVENT_RECONFIGURE, at_join);
    look_at(OPEN "<reconfigure id='3:5'><transmogrify><allocate/></transmogrify></reconfigure>",
            WIRE_EVENT_RECONFIGURE, at_unknown);
}

static void
test_requests_that_are_nonsense(void **state)
{
    (void)state;
    expect_invalid("<reconfigure><allocate/></reconfigure>", "\"id\"");
    expect_invalid("<reconfigure id='3'/>", "id");
    expect_invalid("<reconfigure id='3:1'><allocate/></reconfigure>", "\"cluster\"");
    static const char *const operations[][2] = {
        {"<allocate count='0'/>", "count"},
        {"<allocate count='10001'/>", "count"},
        {"<allocate/><allocate/>", "second operation"},
        {"<allocate/><remove-pool name='p'/>", "second operation"},
        {"<weight server='a'/>", "weight"},
        {"<weight weight='1'/>", "server"},
        {"<weight server='a' weight='-1'/>", "weight"},
        {"<move server='a'/>", "to"},
        {"<join server='a'/>", "address"},
        {"<leave/>", "server"},
        {"<release/>", "server"},
        {"<levels upper='-1'/>", "upper"},
        {"<levels goal-us='3600000001'/>", "goal-us"},
        {"<relieve/>", "step"},
        {"<purge text='a'/>", "what"},
        {"<purge what=''/>", "what"},
        {"<purge what='tag' text='a&#10;b'/>", "text"},
        {"<purge what='tag' soft='perhaps'/>", "soft"},
        {"<route/>", "name"},
        {"<cluster/>", "name"},
        {"<pool/>", "name"},
        {"<remove-route/>", "name"},
        {"<remove-cluster/>", "name"},
        {"<remove-pool name=''/>", "name"},
        {"<pool name='p'>text<x/></pool>", "text beside elements"},
        {"<pool name='p'><x/>text</pool>", "text beside elements"},
        {"<pool name='p'><\xc3\xa9/></pool>", "cannot be the name"},
        {"<pool name='p' xmlx=''/>", "cannot be the name"},
    };
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        char text[256];
        (void)snprintf(text, sizeof(text), "<reconfigure id='3:1' cluster='c'>%s</reconfigure>",
                       operations[i][0]);
        expect_invalid(text, operations[i][1]);
    }
}

static void
at_settings(const struct wire_event *event)
{
    const struct wire_reconfigure *request = event->as.reconfigure;
    assert_int_equal(request->operation, WIRE_PUT_CLUSTER);
    assert_true(is(request->name, "api"));
    assert_true(is(request->reason, "new type"));
    const struct wire_setting *root = request->settings;
    assert_true(is(root->name, "cluster"));
    const struct wire_setting *balance = root->first_child;
    assert_true(balance->is_attribute);
    assert_true(is(balance->name, "balance"));
    assert_true(is(balance->value, "p2c"));
    const struct wire_setting *scale = balance->next;
    assert_false(scale->is_attribute);
    assert_true(is(scale->name, "scale"));
    assert_true(is(scale->first_child->name, "name")); /* taken at the top only */
    const struct wire_setting *upper = scale->first_child->next;
    assert_true(is(upper->name, "upper"));
    assert_true(is(upper->value, "0.8 of <all>"));
    assert_null(upper->next);
    const struct wire_setting *members = scale->next;
    const struct wire_setting *first = members->first_child;
    assert_true(is(first->name, "item"));
    assert_true(is(first->value, "127.0.0.1:9001"));
    const struct wire_setting *second = first->next;
    assert_true(second->first_child->is_attribute);
    assert_true(is(second->first_child->value, "127.0.0.1:9002"));
    assert_int_equal(second->value.len, 0);
    assert_null(second->next);
    assert_null(members->next);
}

static void
test_settings(void **state)
{
    (void)state;
    look_at(OPEN "<reconfigure id='3:1' reason='new type'><cluster balance='p2c' name='api'>\n"
                 "  <scale name='x'><upper> 0.8 of &lt;a<![CDATA[ll>]]>\n</upper></scale>\n"
                 "  <members>\n<item>127.0.0.1:9001</item><item address='127.0.0.1:9002'></item>"
                 "<f:other xmlns:f='urn:f'><item>hidden</item>text</f:other>"
                 "</members></cluster></reconfigure>",
            WIRE_EVENT_RECONFIGURE, at_settings);
}

static void
at_result(const struct wire_event *event)
{
    const struct wire_result *result = event->as.result;
    assert_int_equal(result->status, WIRE_REFUSED);
    assert_true(is(result->code, "pool-empty"));
    assert_true(is(result->reason, "no more"));
    assert_true(result->generation == WIRE_NONE);
    assert_int_equal(result->server_count, 2);
    assert_true(is(result->servers[1].address, "h:2"));
}

static void
test_results(void **state)
{
    (void)state;
    look_at(OPEN "<result id='3:1' status='refused' code='pool-empty' reason='no more'>"
                 "<server id='a'/><x/><server address='h:2'/></result>",
            WIRE_EVENT_RESULT, at_result);
    expect_invalid("<result status='done'/>", "\"id\"");
    expect_invalid("<result id='1:1'/>", "\"status\"");
    expect_invalid("<result id='1:1' status='maybe'/>", "done or refused");
    expect_invalid("<result id='1:1' status='done'><server/></result>", "\"id\" or \"address\"");
}

static void
at_error(const struct wire_event *event)
{
    assert_true(is(event->as.error.code, "too-deep"));
    assert_true(is(event->as.error.words, "line 1, column 2: & more"));
}

static void
test_parting_words(void **state)
{
    (void)state;
    look_at(OPEN "<error code='too-deep' words='line 1, column 2: &amp; more'/>", WIRE_EVENT_ERROR,
            at_error);
    expect_invalid("<error/>", "\"code\"");
}

/* ---- one stanza leaves nothing behind for the next ------------------------------------------ */

static bool
second_is_empty(void *ctx, const struct wire_event *event)
{
    unsigned *reports = ctx;
    if (event->kind == WIRE_EVENT_REPORT && (*reports)++ == 1) {
        const struct wire_report *report = event->as.report;
        assert_int_equal(report->seq, 0);
        assert_false(report->crossing || report->full || report->has_self);
        assert_int_equal(report->cluster_count + report->pool_count + report->worker_count, 0);
    }
    return true;
}

static void
test_stanzas_are_apart(void **state)
{
    struct wire_decoder *decoder;
    unsigned reports = 0;
    (void)state;
    assert_int_equal(wire_decoder_new(WIRE_STREAM, NULL, second_is_empty, &reports, &decoder),
                     FR_OK);
    assert_int_equal(
        wire_decoder_feed(decoder, FR_VIEW(OPEN "<report seq='9' crossing='true' full='true'>"
                                                "<server id='e'><worker index='1'/></server>"
                                                "<cluster name='c'><server id='s'/></cluster>"
                                                "<pool name='p'/></report><report/>")),
        WIRE_OK);
    wire_decoder_free(&decoder);
    assert_int_equal(reports, 2);
}

/* ---- documents ------------------------------------------------------------------------------ */

static void
expect_document(const char *text, enum wire_error expected, unsigned reports)
{
    for (size_t step = 1; step < 40; step += 19) {
        struct wire_case one;
        wire_case_init(&one);
        enum wire_error error =
            wire_case_run(&one, WIRE_REPORT_DOCUMENT, NULL, fr_view_of(text), 0, step);
        if (error != expected || one.events != reports)
            fail_msg("%s (%s), %u reports: %s", wire_error_code(error), one.words, one.events,
                     text);
        wire_case_fini(&one);
    }
}

static void
test_documents(void **state)
{
    (void)state;
    expect_document("<?xml version='1.0'?><report xmlns='urn:freshet:stream:1'><server id='a' "
                    "utilization='0.9'/></report>\n",
                    WIRE_OK, 1);
    expect_document("<report xmlns='urn:freshet:stream:1'/>", WIRE_OK, 1);
    expect_document("<report/>", WIRE_NAMESPACE_BAD, 0);
    expect_document(OPEN CLOSE, WIRE_NAMESPACE_BAD, 0);
    /* What follows spoils it: nothing is given on. */
    expect_document("<report xmlns='urn:freshet:stream:1'/><report/>", WIRE_NOT_WELL_FORMED, 0);
    expect_document("<report xmlns='urn:freshet:stream:1'>", WIRE_NOT_WELL_FORMED, 0);
    expect_document("<report xmlns='urn:freshet:stream:1' seq='x'/>", WIRE_INVALID, 0);
    expect_document("", WIRE_NOT_WELL_FORMED, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_unknown_elements_and_attributes),
        cmocka_unit_test(test_reports_that_are_nonsense),
        cmocka_unit_test(test_name_bytes),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_requests_that_are_nonsense),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_parting_words),
        cmocka_unit_test(test_stanzas_are_apart),
        cmocka_unit_test(test_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
