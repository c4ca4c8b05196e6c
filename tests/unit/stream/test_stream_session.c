/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_stream_session.c - the life of a stream: opening, ending, silence, connecting again, and
 * sessions freed inside their callbacks.
 */
#include "stream_stage.h"

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
    assert_int_equal(stream_session_accept(stage->loop, fds[0], NULL, &options, &stage_callbacks,
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
    assert_int_equal(stream_session_accept(stage->loop, fds[0], first, &options, &stage_callbacks,
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
    int64_t from_us = loop_now_us(stage->loop);
    write_raw(stage, RAW_OPEN);
    run_until(stage, a_open);
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
    assert_int_equal(stream_session_accept(stage->loop, fd, NULL, &options, &stage_callbacks,
                                           &stage->b, &stage->b.session),
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
    assert_int_equal(stream_session_connect(stage->loop, &service->addr, &options, &stage_callbacks,
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
    assert_in_range(counters.failures, 2, 5);
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        STAGED(test_both_ends_open),
        STAGED(test_answer_from_inside_the_callback),
        STAGED(test_nothing_can_be_sent_before_both_opened),
        STAGED(test_our_own_bad_opening_is_refused),
        STAGED(test_bytes_read_before_are_taken),
        STAGED(test_close_delivers_what_is_queued),
        STAGED(test_a_refusal_reaches_the_peer_in_words),
        STAGED(test_free_inside_opened),
        STAGED(test_free_inside_event),
        STAGED(test_free_inside_ended),
        STAGED(test_silence_is_filled_and_noticed),
        STAGED(test_two_quiet_ends_stay_together),
        STAGED(test_reconnects_after_the_stream_ended),
        STAGED(test_waits_for_a_peer_that_is_not_there_yet),
        STAGED(test_close_while_waiting),
        STAGED(test_free_while_connecting),
        STAGED(test_refused_again_and_again_backs_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
