/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_stream_session.c - streams between two sessions, and between a session and a peer that
 * breaks the rules, over socket pairs and Unix sockets on a real loop.
 */
#include "stream/stream_session.h"

#include "base/fr_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_US 10000000LL

struct end { /* one session and what it said */
    struct stream_session *session;
    struct loop *loop;
    unsigned opened, ended, reports, requests, results;
    uint64_t last_seq;
    uint64_t first_seq;
    char why[512];
    char peer_id[64];
    uint64_t peer_epoch;
    void (*on_opened)(struct end *end);
    void (*on_event)(struct end *end, const struct wire_event *event);
    void (*on_ended)(struct end *end);
};

struct raw { /* the other end of a socket pair, spoken to by hand */
    int fd;
    char text[65536];
    size_t len;
    bool ended;
};

struct stage {
    struct loop *loop;
    bool (*until)(struct stage *stage);
    bool late;
    struct loop_timer poll, deadline;
    struct end a, b;
    struct raw raw;
    int64_t waited_from_us;
    unsigned wanted;
};

/* ---- the stage ------------------------------------------------------------------------------ */

static void
end_opened(void *ctx, const struct wire_open *open)
{
    struct end *end = ctx;
    end->opened++;
    (void)fr_view_copy(open->id, end->peer_id, sizeof(end->peer_id)); /* ids here are short */
    end->peer_epoch = open->epoch;
    if (end->on_opened != NULL)
        end->on_opened(end);
}

static void
end_event(void *ctx, const struct wire_event *event)
{
    struct end *end = ctx;
    if (event->kind == WIRE_EVENT_REPORT) {
        end->last_seq = event->as.report->seq;
        if (end->reports++ == 0)
            end->first_seq = end->last_seq;
    } else if (event->kind == WIRE_EVENT_RECONFIGURE) {
        end->requests++;
    } else if (event->kind == WIRE_EVENT_RESULT) {
        end->results++;
    }
    if (end->on_event != NULL)
        end->on_event(end, event);
}

static void
end_ended(void *ctx, const char *why)
{
    struct end *end = ctx;
    end->ended++;
    (void)snprintf(end->why, sizeof(end->why), "%s", why);
    if (end->on_ended != NULL)
        end->on_ended(end);
}

static const struct stream_callbacks callbacks = {end_opened, end_event, end_ended};

static struct stream_options
options_of(enum wire_role role, const char *id)
{
    return (struct stream_options){
        .open = {.role = role, .id = fr_view_of(id), .epoch = 3, .boot = FR_VIEW("boot-1")},
        .seed = 17,
    };
}

static void
read_raw(struct raw *raw)
{
    ssize_t count;
    while (raw->fd >= 0 && raw->len < sizeof(raw->text) - 1 &&
           (count = read(raw->fd, raw->text + raw->len, sizeof(raw->text) - 1 - raw->len)) >= 0) {
        raw->ended = count == 0;
        raw->len += (size_t)count;
        raw->text[raw->len] = '\0';
        if (count == 0)
            break;
    }
}

static void
write_raw(struct stage *stage, const char *text)
{
    size_t len = strlen(text);
    assert_int_equal(write(stage->raw.fd, text, len), (ssize_t)len);
}

static void
stage_poll(void *ctx)
{
    struct stage *stage = ctx;
    read_raw(&stage->raw);
    if (stage->until(stage))
        loop_stop(stage->loop);
    else
        loop_timer_start(stage->loop, &stage->poll, 1000, stage_poll, stage);
}

static void
stage_late(void *ctx)
{
    struct stage *stage = ctx;
    stage->late = true;
    loop_stop(stage->loop);
}

static void
run_until(struct stage *stage, bool (*until)(struct stage *stage))
{
    stage->until = until;
    stage->late = false;
    stage->waited_from_us = loop_now_us(stage->loop);
    loop_timer_start(stage->loop, &stage->poll, 0, stage_poll, stage);
    loop_timer_start(stage->loop, &stage->deadline, DEADLINE_US, stage_late, stage);
    assert_int_equal(loop_run(stage->loop), FR_OK);
    loop_timer_stop(&stage->poll);
    loop_timer_stop(&stage->deadline);
    if (stage->late)
        fail_msg("nothing came: a %u/%u \"%s\", b %u/%u \"%s\", raw \"%s\"", stage->a.opened,
                 stage->a.ended, stage->a.why, stage->b.opened, stage->b.ended, stage->b.why,
                 stage->raw.text);
}

static int
stage_set_up(void **state)
{
    struct stage *stage = fr_xalloc(sizeof(*stage));
    stage->raw.fd = -1;
    if (loop_new(NULL, &stage->loop) != FR_OK)
        return -1;
    stage->a.loop = stage->b.loop = stage->loop;
    *state = stage;
    return 0;
}

static int
stage_tear_down(void **state)
{
    struct stage *stage = *state;
    stream_session_free(&stage->a.session);
    stream_session_free(&stage->b.session);
    if (stage->raw.fd >= 0)
        close(stage->raw.fd);
    loop_free(&stage->loop);
    fr_free(stage);
    return 0;
}

static void
make_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

/* a and b, each accepting one end of a socket pair. */
static void
join(struct stage *stage, const struct stream_options *of_a, const struct stream_options *of_b)
{
    int fds[2];
    make_pair(fds);
    assert_int_equal(stream_session_accept(stage->loop, fds[0], NULL, of_a, &callbacks, &stage->a,
                                           &stage->a.session),
                     FR_OK);
    assert_int_equal(stream_session_accept(stage->loop, fds[1], NULL, of_b, &callbacks, &stage->b,
                                           &stage->b.session),
                     FR_OK);
}

static bool
both_open(struct stage *stage)
{
    return stage->a.opened > 0 && stage->b.opened > 0;
}

static void
join_open(struct stage *stage)
{
    struct stream_options of_a = options_of(WIRE_ROLE_MANAGER, "m");
    struct stream_options of_b = options_of(WIRE_ROLE_EDGE, "edge-1");
    join(stage, &of_a, &of_b);
    run_until(stage, both_open);
}

/* a against bytes by hand. */
static void
join_raw(struct stage *stage, const struct stream_options *options)
{
    int fds[2];
    make_pair(fds);
    stage->raw.fd = fds[1];
    assert_int_equal(stream_session_accept(stage->loop, fds[0], NULL, options, &callbacks,
                                           &stage->a, &stage->a.session),
                     FR_OK);
}

#define RAW_OPEN                                                                                   \
    "<stream xmlns='urn:freshet:stream:1' version='1' role='edge' id='raw' epoch='2' boot='b'>"

static bool
a_open(struct stage *stage)
{
    return stage->a.opened > 0;
}

static bool
a_ended(struct stage *stage)
{
    return stage->a.ended > 0;
}

/* The peer has seen all, the end included; closing our end lets the session end at once. */
static bool
raw_ended(struct stage *stage)
{
    return stage->raw.ended;
}

static void
end_raw(struct stage *stage)
{
    run_until(stage, raw_ended);
    close(stage->raw.fd);
    stage->raw.fd = -1;
    run_until(stage, a_ended);
}

static enum fr_err
send_report(struct end *end, uint64_t seq, size_t servers)
{
    struct wire_server *list = fr_xalloc((servers + 1) * sizeof(*list));
    struct wire_cluster cluster = wire_cluster_none();
    for (size_t i = 0; i < servers; i++) {
        list[i] = wire_server_none();
        list[i].id = FR_VIEW("server-with-quite-a-long-name-1234567890");
        list[i].utilization = 0.5;
    }
    cluster.name = FR_VIEW("web");
    cluster.servers = list;
    cluster.server_count = servers;
    struct wire_report report = {.seq = seq, .clusters = &cluster, .cluster_count = 1};
    enum fr_err err = stream_session_send_report(end->session, &report);
    fr_free(list);
    return err;
}

static enum fr_err
send_request(struct end *end, uint64_t sequence)
{
    struct wire_reconfigure request = wire_reconfigure_none();
    request.id = (struct wire_request_id){3, sequence};
    request.cluster = FR_VIEW("web");
    request.operation = WIRE_ALLOCATE;
    request.reason = FR_VIEW("because");
    return stream_session_send_reconfigure(end->session, &request);
}

/* ---- talking -------------------------------------------------------------------------------- */

static void
test_both_ends_open(void **state)
{
    struct stage *stage = *state;
    join_open(stage);
    assert_string_equal(stage->a.peer_id, "edge-1");
    assert_string_equal(stage->b.peer_id, "m");
    assert_int_equal(stage->b.peer_epoch, 3);
    assert_true(stream_session_is_open(stage->a.session));
    assert_true(fr_view_is(stream_session_peer(stage->a.session)->boot, "boot-1"));
}

static bool
b_has_wanted(struct stage *stage)
{
    return stage->b.reports + stage->b.requests >= stage->wanted;
}

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

static void
answer(struct end *end, const struct wire_event *event)
{
    struct wire_result result = {.id = event->as.reconfigure->id,
                                 .status = WIRE_REFUSED,
                                 .code = FR_VIEW("pool-empty"),
                                 .reason = FR_VIEW("no server is available"),
                                 .generation = 7};
    assert_int_equal(stream_session_send_result(end->session, &result), FR_OK);
}

static bool
a_has_result(struct stage *stage)
{
    return stage->a.results > 0;
}

static void
test_answer_from_inside_the_callback(void **state)
{
    struct stage *stage = *state;
    stage->b.on_event = answer;
    join_open(stage);
    assert_int_equal(send_request(&stage->a, 1), FR_OK);
    run_until(stage, a_has_result);
}

static void
test_nothing_can_be_sent_before_both_opened(void **state)
{
    struct stage *stage = *state;
    struct stream_options options = options_of(WIRE_ROLE_MANAGER, "m");
    join_raw(stage, &options);
    assert_int_equal(send_report(&stage->a, 1, 0), FR_ERR_CLOSED);
    assert_false(stream_session_is_open(stage->a.session));
    assert_null(stream_session_peer(stage->a.session));
    write_raw(stage, RAW_OPEN);
    run_until(stage, a_open);
    assert_int_equal(send_report(&stage->a, 1, 0), FR_OK);
}

static void
test_our_own_bad_opening_is_refused(void **state)
{
    struct stage *stage = *state;
    struct stream_options options = options_of(WIRE_ROLE_MANAGER, "");
    int fds[2];
    make_pair(fds);
    assert_int_equal(stream_session_accept(stage->loop, fds[0], NULL, &options, &callbacks,
                                           &stage->a, &stage->a.session),
                     FR_ERR_SYNTAX);
    assert_int_equal(fcntl(fds[0], F_GETFD), -1); /* closed all the same */
    close(fds[1]);
}

static void
test_bytes_read_before_are_taken(void **state)
{
    struct stage *stage = *state;
    struct stream_options options = options_of(WIRE_ROLE_MANAGER, "m");
    struct loop_buf *first = loop_buf_take(stage->loop);
    int fds[2];
    make_pair(fds);
    stage->raw.fd = fds[1];
    assert_non_null(first);
    const char *text = RAW_OPEN "<report seq='5'><clu";
    memcpy(first->data, text, strlen(text));
    first->len = (uint32_t)strlen(text);
    assert_int_equal(stream_session_accept(stage->loop, fds[0], first, &options, &callbacks,
                                           &stage->a, &stage->a.session),
                     FR_OK);
    assert_int_equal(stage->a.opened, 0); /* never inside the call */
    write_raw(stage, "ster name='c'/></report></stream>");
    run_until(stage, a_ended);
    assert_int_equal(stage->a.reports, 1);
    assert_int_equal(stage->a.last_seq, 5);
}

/* ---- ending --------------------------------------------------------------------------------- */

static bool
both_ended(struct stage *stage)
{
    return stage->a.ended > 0 && stage->b.ended > 0;
}

static void
test_close_delivers_what_is_queued(void **state)
{
    struct stage *stage = *state;
    struct stream_counters counters;
    join_open(stage);
    assert_int_equal(send_request(&stage->a, 1), FR_OK);
    assert_int_equal(send_report(&stage->a, 9, 3), FR_OK);
    stream_session_close(stage->a.session);
    stream_session_close(stage->a.session); /* twice is once */
    assert_int_equal(send_request(&stage->a, 2), FR_ERR_CLOSED);
    run_until(stage, both_ended);
    assert_int_equal(stage->b.requests, 1);
    assert_int_equal(stage->b.reports, 1);
    assert_string_equal(stage->a.why, "closed");
    assert_string_equal(stage->b.why, "the peer closed the stream");
    assert_int_equal(stage->a.ended, 1);
    stream_session_read_counters(stage->b.session, &counters);
    assert_int_equal(counters.failures, 0);
    assert_true(loop_now_us(stage->loop) - stage->waited_from_us < STREAM_LINGER_US);
}

static void
test_a_refusal_reaches_the_peer_in_words(void **state)
{
    struct stage *stage = *state;
    join_open(stage);
    stream_session_fail(stage->a.session, "stale-epoch", "epoch 2 is older than <3>");
    run_until(stage, both_ended);
    assert_string_equal(stage->b.why, "the peer ended the stream: stale-epoch: epoch 2 is older "
                                      "than <3>");
    assert_string_equal(stage->a.why, "refused by this side: stale-epoch: epoch 2 is older than "
                                      "<3>");
}

static void
free_me(struct end *end)
{
    stream_session_free(&end->session);
}

static void
free_me_on_event(struct end *end, const struct wire_event *event)
{
    (void)event;
    stream_session_free(&end->session);
}

static bool
b_gone_a_ended(struct stage *stage)
{
    return stage->b.session == NULL && stage->a.ended > 0;
}

static void
test_free_inside_opened(void **state)
{
    struct stage *stage = *state;
    struct stream_options of_a = options_of(WIRE_ROLE_MANAGER, "m");
    struct stream_options of_b = options_of(WIRE_ROLE_EDGE, "edge-1");
    stage->b.on_opened = free_me;
    join(stage, &of_a, &of_b);
    run_until(stage, b_gone_a_ended);
    assert_int_equal(stage->b.ended, 0);
}

static void
test_free_inside_event(void **state)
{
    struct stage *stage = *state;
    stage->b.on_event = free_me_on_event;
    join_open(stage);
    assert_int_equal(send_request(&stage->a, 1), FR_OK);
    assert_int_equal(send_request(&stage->a, 2), FR_OK);
    run_until(stage, b_gone_a_ended);
    assert_int_equal(stage->b.requests, 1);
}

static void
test_free_inside_ended(void **state)
{
    struct stage *stage = *state;
    stage->b.on_ended = free_me;
    join_open(stage);
    stream_session_close(stage->a.session);
    run_until(stage, b_gone_a_ended);
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
    expect_error(*state,
                 "<stream xmlns='urn:freshet:stream:1' version='2' role='edge' id='raw'>",
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

/* ---- silence -------------------------------------------------------------------------------- */

static bool
three_alive(struct stage *stage)
{
    const char *at = stage->raw.text;
    unsigned count = 0;
    while ((at = strstr(at, "<alive/>")) != NULL) {
        count++;
        at++;
    }
    return count >= 3;
}

static void
test_silence_is_filled_and_noticed(void **state)
{
    struct stage *stage = *state;
    struct stream_options options = options_of(WIRE_ROLE_MANAGER, "m");
    options.keepalive_us = 40000;
    join_raw(stage, &options);
    write_raw(stage, RAW_OPEN);
    run_until(stage, a_open);
    int64_t from_us = loop_now_us(stage->loop);
    run_until(stage, raw_ended);
    assert_non_null(strstr(stage->raw.text, "<alive/>"));
    assert_non_null(strstr(stage->raw.text, "<error code=\"silent\""));
    assert_true(loop_now_us(stage->loop) - from_us >= 3 * 40000 - 2000);
    close(stage->raw.fd);
    stage->raw.fd = -1;
    run_until(stage, a_ended);
    assert_non_null(strstr(stage->a.why, "silent"));
}

static void
speak(void *ctx)
{
    struct stage *stage = ctx;
    assert_int_equal(write(stage->raw.fd, "<alive/>", 8), 8);
}

static void
test_two_quiet_ends_stay_together(void **state)
{
    struct stage *stage = *state;
    struct stream_options of_a = options_of(WIRE_ROLE_MANAGER, "m");
    struct loop_timer speaking[8] = {0};
    of_a.keepalive_us = 40000;
    join_raw(stage, &of_a);
    write_raw(stage, RAW_OPEN);
    run_until(stage, a_open);
    for (int i = 0; i < 8; i++) /* longer than the patience of 120 ms, all in all */
        loop_timer_start(stage->loop, &speaking[i], 40000 * i, speak, stage);
    run_until(stage, three_alive);
    assert_int_equal(stage->a.ended, 0);
    for (int i = 0; i < 8; i++)
        loop_timer_stop(&speaking[i]);
}

/* ---- a full queue --------------------------------------------------------------------------- */

static bool
drained(struct stage *stage)
{
    return stage->b.last_seq == 100;
}

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

/* ---- connecting ----------------------------------------------------------------------------- */

struct service { /* accepts streams as b, one after another */
    struct stage *stage;
    struct loop_listener listener;
    struct loop_addr addr;
    char folder[64], path[96];
    unsigned accepted;
    int64_t accepted_at_us[16];
};

static void
on_accept(void *ctx, int fd, const struct loop_addr *peer)
{
    struct service *service = ctx;
    struct stage *stage = service->stage;
    struct stream_options options = options_of(WIRE_ROLE_MANAGER, "m");
    (void)peer;
    service->accepted_at_us[service->accepted++ % 16] = loop_now_us(stage->loop);
    stream_session_free(&stage->b.session);
    assert_int_equal(stream_session_accept(stage->loop, fd, NULL, &options, &callbacks, &stage->b,
                                           &stage->b.session),
                     FR_OK);
}

static void
service_init(struct service *service, struct stage *stage)
{
    char text[128];
    *service = (struct service){.stage = stage};
    (void)snprintf(service->folder, sizeof(service->folder), "%s/freshet-XXXXXX",
                   getenv("TMPDIR") != NULL && strlen(getenv("TMPDIR")) < 40 ? getenv("TMPDIR")
                                                                            : "/tmp");
    assert_non_null(mkdtemp(service->folder));
    (void)snprintf(service->path, sizeof(service->path), "%s/sock", service->folder);
    (void)snprintf(text, sizeof(text), "unix:%s", service->path);
    assert_int_equal(loop_addr_parse(fr_view_of(text), &service->addr), FR_OK);
}

static void
service_start(struct service *service)
{
    int fd, error;
    assert_int_equal(loop_bind(&service->addr, false, &fd, &error), FR_OK);
    assert_int_equal(loop_listen(&service->listener, service->stage->loop, fd, on_accept, service),
                     FR_OK);
}

static void
service_fini(struct service *service)
{
    (void)unlink(service->path);
    assert_int_equal(rmdir(service->folder), 0);
}

static void
connect_a(struct stage *stage, struct service *service)
{
    struct stream_options options = options_of(WIRE_ROLE_EDGE, "edge-1");
    assert_int_equal(stream_session_connect(stage->loop, &service->addr, &options, &callbacks,
                                            &stage->a, &stage->a.session),
                     FR_OK);
}

static bool
a_opened_twice(struct stage *stage)
{
    return stage->a.opened == 2 && stage->b.opened == 2;
}

static void
test_reconnects_after_the_stream_ended(void **state)
{
    struct stage *stage = *state;
    struct service service;
    service_init(&service, stage);
    service_start(&service);
    connect_a(stage, &service);
    run_until(stage, both_open);
    stream_session_set_epoch(stage->a.session, 9);
    stream_session_free(&stage->b.session); /* no goodbye: as if the manager was killed */
    run_until(stage, a_opened_twice);
    assert_int_equal(stage->a.ended, 1);
    assert_int_equal(stage->b.peer_epoch, 9);
    assert_int_equal(service.accepted, 2);
    assert_true(service.accepted_at_us[1] - service.accepted_at_us[0] >= 70000);
    assert_int_equal(send_report(&stage->a, 100, 1), FR_OK);
    run_until(stage, drained);
    loop_listener_close(&service.listener);
    service_fini(&service);
}

static bool
waited_a_second(struct stage *stage)
{
    return loop_now_us(stage->loop) - stage->waited_from_us > 1000000;
}

static void
test_waits_for_a_peer_that_is_not_there_yet(void **state)
{
    struct stage *stage = *state;
    struct service service;
    struct stream_counters counters;
    service_init(&service, stage);
    connect_a(stage, &service);
    run_until(stage, waited_a_second);
    assert_int_equal(stage->a.ended, 1); /* told once, though it tried more often */
    assert_non_null(strstr(stage->a.why, "cannot connect to unix:"));
    stream_session_read_counters(stage->a.session, &counters);
    /* at 0, ~100, ~300, ~700 ms: doubling, not hammering */
    assert_in_range(counters.failures, 3, 5);
    service_start(&service);
    run_until(stage, both_open);
    loop_listener_close(&service.listener);
    service_fini(&service);
}

static void
test_close_while_waiting(void **state)
{
    struct stage *stage = *state;
    struct service service;
    service_init(&service, stage);
    connect_a(stage, &service);
    run_until(stage, a_ended);
    stage->a.ended = 0;
    stream_session_close(stage->a.session);
    assert_int_equal(stage->a.ended, 0); /* never inside the call */
    run_until(stage, a_ended);
    assert_string_equal(stage->a.why, "closed");
    run_until(stage, waited_a_second);
    assert_int_equal(stage->a.ended, 1);
    service_fini(&service);
}

static void
test_free_while_connecting(void **state)
{
    struct stage *stage = *state;
    struct service service;
    service_init(&service, stage);
    service_start(&service);
    connect_a(stage, &service);
    stream_session_free(&stage->a.session);
    assert_null(stage->a.session);
    stream_session_free(&stage->a.session);
    run_until(stage, waited_a_second);
    assert_int_equal(service.accepted, 0);
    loop_listener_close(&service.listener);
    service_fini(&service);
}

/* A session that a refusing peer turns away again and again comes back ever later. */
static void
refuse(struct end *end)
{
    stream_session_fail(end->session, "full", "come back later");
}

static void
test_refused_again_and_again_backs_off(void **state)
{
    struct stage *stage = *state;
    struct service service;
    service_init(&service, stage);
    service_start(&service);
    stage->b.on_opened = refuse;
    connect_a(stage, &service);
    run_until(stage, waited_a_second);
    assert_in_range(service.accepted, 2, 5);
    assert_int_equal(stage->a.ended, stage->a.opened);
    loop_listener_close(&service.listener);
    service_fini(&service);
}

#define STAGED(test) cmocka_unit_test_setup_teardown(test, stage_set_up, stage_tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        STAGED(test_both_ends_open),
        STAGED(test_a_turn_is_one_send),
        STAGED(test_answer_from_inside_the_callback),
        STAGED(test_nothing_can_be_sent_before_both_opened),
        STAGED(test_our_own_bad_opening_is_refused),
        STAGED(test_bytes_read_before_are_taken),
        STAGED(test_close_delivers_what_is_queued),
        STAGED(test_a_refusal_reaches_the_peer_in_words),
        STAGED(test_free_inside_opened),
        STAGED(test_free_inside_event),
        STAGED(test_free_inside_ended),
        STAGED(test_oversized_stanza),
        STAGED(test_too_deep),
        STAGED(test_doctype),
        STAGED(test_unknown_version),
        STAGED(test_not_xml),
        STAGED(test_rate),
        STAGED(test_rate_counts_what_is_unknown),
        STAGED(test_a_cut_stream),
        STAGED(test_a_peer_that_ends_in_words),
        STAGED(test_silence_is_filled_and_noticed),
        STAGED(test_two_quiet_ends_stay_together),
        STAGED(test_reports_give_way_to_newer_ones_and_to_requests),
        STAGED(test_requests_are_refused_where_reports_are_gone),
        STAGED(test_a_stanza_that_the_peer_would_refuse),
        STAGED(test_reconnects_after_the_stream_ended),
        STAGED(test_waits_for_a_peer_that_is_not_there_yet),
        STAGED(test_close_while_waiting),
        STAGED(test_free_while_connecting),
        STAGED(test_refused_again_and_again_backs_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
