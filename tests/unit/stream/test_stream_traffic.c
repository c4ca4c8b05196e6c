/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_stream_traffic.c - what goes out together, what gives way when it is too much, and peers
 * that break the rules.
 */
#include "stream_stage.h"

/* ---- sending -------------------------------------------------------------------------------- */

static void
test_a_turn_is_one_send(void **state)
{
    struct stage *stage = *state;
    struct stream_counters before, after;
    join_open(stage);
    stream_session_read_counters(stage->a.session, &before);
    for (unsigned i = 1; i <= 20; i++)
        assert_int_equal(send_request(&stage->a, i), FR_OK);
    stage->wanted = 20;
    run_until(stage, b_has_wanted);
    stream_session_read_counters(stage->a.session, &after);
    assert_int_equal(after.sends - before.sends, 1);
    assert_int_equal(after.stanzas_out - before.stanzas_out, 20);
    assert_int_equal(stage->b.requests, 20);
    stream_session_read_counters(stage->b.session, &after);
    assert_int_equal(after.stanzas_in, 20);
}

/* ---- a full queue --------------------------------------------------------------------------- */

static void
test_reports_give_way_to_newer_ones_and_to_requests(void **state)
{
    struct stage *stage = *state;
    struct stream_options of_a = options_of(WIRE_ROLE_EDGE, "e");
    struct stream_options of_b = options_of(WIRE_ROLE_MANAGER, "m");
    struct stream_counters counters;
    of_a.queue_bytes = 20000;
    join(stage, &of_a, &of_b);
    run_until(stage, both_open);
    /* One turn, and so nothing is sent meanwhile: some 1.6 KB a report, a hundred of them. */
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(send_request(&stage->a, i), FR_OK);
    for (uint64_t seq = 1; seq <= 100; seq++)
        assert_int_equal(send_report(&stage->a, seq, 20), FR_OK);
    assert_true(stream_session_queued_bytes(stage->a.session) <= 20000);
    run_until(stage, drained);
    stream_session_read_counters(stage->a.session, &counters);
    assert_int_equal(stage->b.requests, 10);
    assert_int_equal(counters.reports_dropped + stage->b.reports, 100);
    assert_true(counters.reports_dropped > 80);
    assert_int_equal(stage->b.first_seq, counters.reports_dropped + 1); /* the oldest went */
    assert_int_equal(counters.refused, 0);
}

static void
test_requests_are_refused_where_reports_are_gone(void **state)
{
    struct stage *stage = *state;
    struct stream_options of_a = options_of(WIRE_ROLE_EDGE, "e");
    struct stream_options of_b = options_of(WIRE_ROLE_MANAGER, "m");
    struct stream_counters counters;
    unsigned accepted = 0;
    of_a.queue_bytes = 2000;
    join(stage, &of_a, &of_b);
    run_until(stage, both_open);
    assert_int_equal(send_report(&stage->a, 1, 5), FR_OK);
    for (unsigned i = 0; i < 100; i++)
        accepted += send_request(&stage->a, i) == FR_OK;
    assert_true(accepted > 10 && accepted < 30);
    stage->wanted = accepted;
    run_until(stage, b_has_wanted);
    stream_session_read_counters(stage->a.session, &counters);
    assert_int_equal(counters.refused, 100 - accepted);
    assert_int_equal(counters.reports_dropped, 1);
    assert_int_equal(stage->b.reports, 0);
    assert_int_equal(stage->b.requests, accepted);
}

static void
test_a_stanza_that_the_peer_would_refuse(void **state)
{
    struct stage *stage = *state;
    struct stream_options of_a = options_of(WIRE_ROLE_EDGE, "e");
    struct stream_options of_b = options_of(WIRE_ROLE_MANAGER, "m");
    of_a.limits.stanza_bytes = 4096;
    join(stage, &of_a, &of_b);
    run_until(stage, both_open);
    assert_int_equal(send_report(&stage->a, 1, 400), FR_ERR_RANGE);
    assert_int_equal(send_report(&stage->a, 100, 4), FR_OK);
    run_until(stage, drained);
}

/* ---- peers that break the rules -------------------------------------------------------------- */

static void
expect_error(struct stage *stage, const char *bytes, const char *code)
{
    struct stream_options options = options_of(WIRE_ROLE_MANAGER, "m");
    char wanted[64];
    options.limits.stanza_bytes = 2048;
    options.limits.depth = 5;
    options.stanza_rate = 50;
    join_raw(stage, &options);
    write_raw(stage, bytes);
    end_raw(stage);
    (void)snprintf(wanted, sizeof(wanted), "<error code=\"%s\"", code);
    if (strstr(stage->raw.text, wanted) == NULL)
        fail_msg("no %s in \"%s\"", wanted, stage->raw.text);
    assert_non_null(strstr(stage->raw.text, "</stream>"));
    assert_non_null(strstr(stage->raw.text, "<stream "));
}

static void
test_oversized_stanza(void **state)
{
    char text[4096] = RAW_OPEN "<report>";
    for (size_t i = 0; i < 200; i++)
        strncat(text, "<pool name='x'/>", sizeof(text) - strlen(text) - 1);
    expect_error(*state, text, "too-large");
}

static void
test_too_deep(void **state)
{
    expect_error(*state, RAW_OPEN "<x><x><x><x><x>", "too-deep");
}

static void
test_doctype(void **state)
{
    expect_error(*state, "<!DOCTYPE stream [<!ENTITY a 'b'>]>" RAW_OPEN, "doctype");
}

static void
test_unknown_version(void **state)
{
    expect_error(*state, "<stream xmlns='urn:freshet:stream:1' version='2' role='edge' id='raw'>",
                 "version");
}

static void
test_not_xml(void **state)
{
    expect_error(*state, "GET / HTTP/1.1\r\n\r\n", "not-well-formed");
}

static void
test_rate(void **state)
{
    struct stage *stage = *state;
    char text[8192] = RAW_OPEN;
    for (size_t i = 0; i < 60; i++)
        strncat(text, "<report seq='1'/>", sizeof(text) - strlen(text) - 1);
    expect_error(stage, text, "rate");
    assert_int_equal(stage->a.reports, 50); /* not one more was given on */
}

static void
test_rate_counts_what_is_unknown(void **state)
{
    char text[8192] = RAW_OPEN;
    for (size_t i = 0; i < 60; i++)
        strncat(text, "<novelty/>", sizeof(text) - strlen(text) - 1);
    expect_error(*state, text, "rate");
}

static void
test_a_cut_stream(void **state)
{
    struct stage *stage = *state;
    struct stream_options options = options_of(WIRE_ROLE_MANAGER, "m");
    struct stream_counters counters;
    join_raw(stage, &options);
    write_raw(stage, RAW_OPEN "<report seq='1'><cluster name='we");
    run_until(stage, a_open);
    close(stage->raw.fd);
    stage->raw.fd = -1;
    run_until(stage, a_ended);
    assert_int_equal(stage->a.reports, 0);
    assert_true(strstr(stage->a.why, "cut") != NULL || strstr(stage->a.why, "broke") != NULL);
    stream_session_read_counters(stage->a.session, &counters);
    assert_int_equal(counters.failures, 1);
}

static void
test_a_peer_that_ends_in_words(void **state)
{
    struct stage *stage = *state;
    struct stream_options options = options_of(WIRE_ROLE_MANAGER, "m");
    join_raw(stage, &options);
    write_raw(stage, RAW_OPEN "<error code='full' words='no room &amp; no time'/></stream>");
    end_raw(stage);
    assert_string_equal(stage->a.why, "the peer ended the stream: full: no room & no time");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        STAGED(test_a_turn_is_one_send),
        STAGED(test_reports_give_way_to_newer_ones_and_to_requests),
        STAGED(test_requests_are_refused_where_reports_are_gone),
        STAGED(test_a_stanza_that_the_peer_would_refuse),
        STAGED(test_oversized_stanza),
        STAGED(test_too_deep),
        STAGED(test_doctype),
        STAGED(test_unknown_version),
        STAGED(test_not_xml),
        STAGED(test_rate),
        STAGED(test_rate_counts_what_is_unknown),
        STAGED(test_a_cut_stream),
        STAGED(test_a_peer_that_ends_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
