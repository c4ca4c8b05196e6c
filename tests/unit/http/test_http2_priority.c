/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http2_priority.c - in which order DATA is sent, by what the client said of its requests.
 */
#include "http2_help.h"

#define BODY_BYTES 40000 /* three frames */

static char body[BODY_BYTES];

static void
update(struct owner *owner, int32_t id, const char *value)
{
    char payload[64];
    char *at = http2_u32_put(payload, (uint32_t)id);
    memcpy(at, value, strlen(value));
    say_frame(owner, HTTP2_PRIORITY_UPDATE, 0, 0, fr_view_make(payload, 4 + strlen(value)));
}

/* With a field, or NULL. */
static void
ask(struct owner *owner, int32_t id, const char *value)
{
    char block[64] = GET "\0\x8priority";
    size_t len = 6;
    if (value) {
        block[16] = (char)strlen(value);
        memcpy(block + 17, value, strlen(value));
        len = 17 + strlen(value);
    }
    owner->len = 0;
    say_frame(owner, HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS | HTTP2_FLAG_END_STREAM, id,
              fr_view_make(block, len));
}

static void
give(struct owner *owner, int32_t id)
{
    const struct iovec part = {body, BODY_BYTES};
    answer(stream_of(owner, id), "HTTP/1.1 200 OK\r\n\r\n", false);
    http2_stream_body(stream_of(owner, id), &part, 1, true, (struct fr_view){0});
}

static struct owner *
begin_wide(void)
{
    struct owner *owner = begin(NULL);
    say(owner, FR_VIEW(GREETING));
    say_number(owner, HTTP2_WINDOW_UPDATE, 0, 1000000);
    pull(owner);
    owner->wire_bytes = 0;
    return owner;
}

/* The streams of all DATA frames in their order, by one digit; a room may cut a frame in two. */
static void
assert_order(struct owner *owner, const char *want)
{
    struct frame frame;
    char got[32];
    size_t count = 0;
    pull(owner);
    for (size_t at = 0; next(owner, &at, &frame);)
        if (frame.type == HTTP2_DATA && (count == 0 || got[count - 1] != '0' + (int)frame.stream)) {
            assert_in_range(count, 0, sizeof(got) - 2);
            got[count++] = (char)('0' + frame.stream);
        }
    got[count] = '\0';
    assert_string_equal(got, want);
    end(owner);
}

/* ---- what the request says ------------------------------------------------------------------ */

static void
the_more_urgent_come_first(void **state)
{
    struct owner *owner = begin_wide();
    (void)state;
    ask(owner, 1, "u=7");
    ask(owner, 3, NULL); /* 3 */
    ask(owner, 5, "u=2");
    ask(owner, 7, "u=0");
    for (int32_t id = 1; id <= 7; id += 2)
        give(owner, id);
    assert_order(owner, "7531");
}

static void
what_cannot_be_read_is_usual(void **state)
{
    static const char *const values[] = {"u=8", "u=-1", "u=1.0", "u", "u=1, i=?", "u=0;", "x=1"};
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct owner *owner = begin_wide();
        ask(owner, 1, "u=4");
        ask(owner, 3, values[i]);
        ask(owner, 5, "u=2");
        for (int32_t id = 1; id <= 5; id += 2)
            give(owner, id);
        assert_order(owner, "531");
    }
}

/* In the order of their requests, whichever was answered first. */
static void
whole_ones_go_one_after_another(void **state)
{
    struct owner *owner = begin_wide();
    (void)state;
    for (int32_t id = 1; id <= 5; id += 2)
        ask(owner, id, NULL);
    give(owner, 5);
    give(owner, 1);
    give(owner, 3);
    assert_order(owner, "135");
}

static void
incremental_ones_take_turns(void **state)
{
    struct owner *owner = begin_wide();
    (void)state;
    ask(owner, 1, "i");
    ask(owner, 3, "u=3, i");
    ask(owner, 5, NULL); /* in front of both */
    ask(owner, 7, "i=?0");
    for (int32_t id = 1; id <= 7; id += 2)
        give(owner, id);
    size_t bytes[8] = {0};
    uint32_t before = 0;
    struct frame frame;
    pull(owner);
    for (size_t at = 0; next(owner, &at, &frame);) {
        if (frame.type != HTTP2_DATA)
            continue;
        bool whole = frame.stream == 5 || frame.stream == 7;
        if (whole)
            assert_int_equal(bytes[1] + bytes[3], 0);
        else if (bytes[1] < BODY_BYTES && bytes[3] < BODY_BYTES)
            assert_int_not_equal(frame.stream, before);
        bytes[frame.stream] += frame.payload.len;
        before = frame.stream;
    }
    for (size_t id = 1; id <= 7; id += 2)
        assert_int_equal(bytes[id], BODY_BYTES);
    end(owner);
}

/* A stream that its window holds up holds up no other. */
static void
what_may_not_be_sent_stands_aside(void **state)
{
    struct owner *owner = begin_wide();
    (void)state;
    say_frame(owner, HTTP2_SETTINGS, 0, 0, FR_VIEW("\0\4\0\0\x10\0")); /* 4096 */
    ask(owner, 1, "u=0");
    ask(owner, 3, NULL);
    give(owner, 1);
    give(owner, 3);
    pull(owner);
    say_number(owner, HTTP2_WINDOW_UPDATE, 3, 100000);
    pull(owner);
    say_number(owner, HTTP2_WINDOW_UPDATE, 1, 100000);
    assert_order(owner, "131");
}

/* ---- what a frame says ---------------------------------------------------------------------- */

static void
a_frame_moves_what_waits(void **state)
{
    struct owner *owner = begin_wide();
    char room[16384 + 1024];
    (void)state;
    for (int32_t id = 1; id <= 5; id += 2)
        ask(owner, id, NULL), give(owner, id);
    size_t bytes = http2_session_fill(owner->session, room, sizeof(room));
    assert_in_range(bytes, 16384, sizeof(room)); /* the first of 1 */
    update(owner, 1, "u=6");
    update(owner, 5, "u=1");
    assert_order(owner, "531");
}

/* A frame in front of its request: it is above the request's own field (RFC 9218 section 7). */
static void
a_frame_may_come_first(void **state)
{
    struct owner *owner = begin_wide();
    (void)state;
    update(owner, 3, "u=5");
    update(owner, 3, "u=0"); /* the last counts */
    update(owner, 5, "u=1");
    ask(owner, 1, "u=2");
    ask(owner, 3, "u=7");
    ask(owner, 5, NULL);
    for (int32_t id = 1; id <= 5; id += 2)
        give(owner, id);
    assert_order(owner, "351");
}

/* Those that were said of streams which never came make room for others. */
static void
early_ones_are_few(void **state)
{
    struct owner *owner = begin_wide();
    (void)state;
    update(owner, 5, "u=0");
    for (int32_t id = 11; id < 11 + 2 * 8; id += 2) /* as many as there are places */
        update(owner, id, "u=7");
    for (int32_t id = 1; id <= 5; id += 2)
        ask(owner, id, NULL), give(owner, id);
    assert_order(owner, "135");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_more_urgent_come_first),
        cmocka_unit_test(what_cannot_be_read_is_usual),
        cmocka_unit_test(whole_ones_go_one_after_another),
        cmocka_unit_test(incremental_ones_take_turns),
        cmocka_unit_test(what_may_not_be_sent_stands_aside),
        cmocka_unit_test(a_frame_moves_what_waits),
        cmocka_unit_test(a_frame_may_come_first),
        cmocka_unit_test(early_ones_are_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
