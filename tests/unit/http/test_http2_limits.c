/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http2_limits.c - a client's budgets under a clock of the test's own: what comes back, how
 * fast, and never more than all of it.
 */
#include "http/http2_priv.h"
#include "http_help.h"

#define SECOND INT64_C(1000000)
#define BEGIN (7 * SECOND) /* a clock that does not begin at nothing */
#define RESETS 20
#define IDLE_FRAMES 300

static struct http2_session *
begin(void)
{
    static const struct http2_handlers nobody = {0};
    struct http2_limits limits = {.streams = 4,
                                  .stream_window_bytes = 65535,
                                  .connection_window_bytes = 65535,
                                  .resets = RESETS,
                                  .idle_frames = IDLE_FRAMES};
    struct http2_session *session;
    limits.head = http_limits_default;
    assert_int_equal(http2_session_new(&limits, &nobody, NULL, NULL, &session), FR_OK);
    http2__budgets_refill(session, BEGIN);
    return session;
}

static void
spend(struct http2_session *session, uint32_t resets, uint32_t idle_frames)
{
    while (resets-- > 0)
        assert_true(http2__charge(session, &session->resets, HTTP2_CALM_RESETS));
    while (idle_frames-- > 0)
        assert_true(http2__charge(session, &session->idle_frames, HTTP2_CALM_FRAMES));
    assert_int_equal(http2_session_calm(session), HTTP2_CALM_NONE);
}

/* So many of either are left, and one more is one too many. */
static void
assert_left(struct http2_session *session, uint32_t resets, uint32_t idle_frames)
{
    spend(session, resets, idle_frames);
    assert_false(http2__charge(session, &session->idle_frames, HTTP2_CALM_FRAMES));
    assert_false(http2__charge(session, &session->resets, HTTP2_CALM_RESETS));
    assert_int_equal(http2_session_calm(session), HTTP2_CALM_FRAMES); /* the first tells */
    http2_session_free(&session);
}

static void
pass(struct http2_session *session, int64_t us, int64_t step_us)
{
    for (int64_t at = step_us; at <= us; at += step_us)
        http2__budgets_refill(session, BEGIN + at);
}

static void
a_tenth_comes_back_each_second(void **state)
{
    static const struct {
        int64_t us, step_us;
        uint32_t resets, idle_frames;
    } rows[] = {
        {0, 1, 0, 0},
        {SECOND - 1, SECOND - 1, 1, 29}, /* not yet the second one */
        {SECOND, SECOND, 2, 30},
        {SECOND, SECOND / 100, 2, 30}, /* however often it is looked at */
        {SECOND, 1000, 2, 30},         /* ... also below the least step */
        {SECOND / 2, SECOND / 2, 1, 15},
        {9 * SECOND, SECOND / 10, 18, 270},
        {10 * SECOND, 10 * SECOND, 20, 300},
        {11 * SECOND, 11 * SECOND, 20, 300},     /* all of it, and no more */
        {3600 * SECOND, SECOND, 20, 300},        /* ... also bit by bit */
        {INT64_MAX / 2, INT64_MAX / 2, 20, 300}, /* ... and without an overflow */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct http2_session *session = begin();
        spend(session, RESETS, IDLE_FRAMES);
        pass(session, rows[i].us, rows[i].step_us);
        assert_left(session, rows[i].resets, rows[i].idle_frames);
    }
}

static void
what_is_full_stays_as_it_is(void **state)
{
    (void)state;
    struct http2_session *session = begin(); /* nothing spent */
    pass(session, 3600 * SECOND, SECOND);
    assert_left(session, RESETS, IDLE_FRAMES);
    session = begin(); /* the missing two come back, and not a third */
    spend(session, 2, 31);
    pass(session, SECOND, SECOND);
    assert_left(session, RESETS, IDLE_FRAMES - 1);
}

static void
a_clock_that_stands_or_goes_back_gives_nothing(void **state)
{
    (void)state;
    struct http2_session *session = begin();
    spend(session, RESETS, IDLE_FRAMES);
    for (int i = 0; i < 1000; i++)
        http2__budgets_refill(session, BEGIN);
    http2__budgets_refill(session, BEGIN - 5 * SECOND);
    assert_left(session, 0, 0);
}

static void
use_gives_back_up_to_all_of_it(void **state)
{
    (void)state;
    struct http2_session *session = begin();
    spend(session, RESETS, IDLE_FRAMES);
    http2__give_back(&session->resets, 3);
    http2__give_back(&session->idle_frames, 8);
    assert_left(session, 3, 8);
    session = begin();
    spend(session, 1, 1);
    http2__give_back(&session->resets, 3);
    http2__give_back(&session->idle_frames, 8);
    assert_left(session, RESETS, IDLE_FRAMES);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tenth_comes_back_each_second),
        cmocka_unit_test(what_is_full_stays_as_it_is),
        cmocka_unit_test(a_clock_that_stands_or_goes_back_gives_nothing),
        cmocka_unit_test(use_gives_back_up_to_all_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
