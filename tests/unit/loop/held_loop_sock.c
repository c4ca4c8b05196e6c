/* SPDX-License-Identifier: Apache-2.0 */
/*
 * held_loop_sock.c - sends that may wait for the one behind them: how many system calls, in which
 * order, and what becomes of them when nothing follows or nobody reads.
 */
#include "loop_bed.h"

#include <errno.h>

#define PIECES_MAX 64
#define BYTES_MAX 262144

struct end {
    struct bed *bed;
    struct loop_sock sock;
    const char *text; /* what is sent, piece by piece */
    size_t piece_bytes;
    int pieces, said, more; /* so many of them are followed by more */
    int status;
    char got[BYTES_MAX];
    size_t got_bytes, want_bytes;
    bool ended;
};

static void
stop(struct end *end)
{
    loop_stop(end->bed->loop);
}

static void
on_recv(void *ctx, struct loop_buf *buf, int status)
{
    struct end *end = ctx;
    if (status <= 0) {
        end->ended = true;
        stop(end);
        return;
    }
    assert_true(end->got_bytes + buf->len <= BYTES_MAX);
    memcpy(end->got + end->got_bytes, buf->data, buf->len);
    end->got_bytes += buf->len;
    loop_buf_give_back(buf);
    loop_recv(&end->sock, on_recv, end);
    if (end->got_bytes >= end->want_bytes)
        stop(end);
}

static void say(struct end *end);

static void
on_sent(void *ctx, int status)
{
    struct end *end = ctx;
    end->status = status;
    if (status == 0 && end->said < end->pieces)
        say(end);
    else if (end->want_bytes == 0)
        stop(end);
}

static void
say(struct end *end)
{
    const char *at = end->text + (size_t)end->said * end->piece_bytes;
    struct iovec parts[] = {{(void *)(uintptr_t)at, 1},
                            {(void *)(uintptr_t)(at + 1), end->piece_bytes - 1}};
    if (end->said++ < end->more)
        loop_send_more(&end->sock);
    loop_send(&end->sock, parts, 2, on_sent, end);
}

struct two {
    struct bed bed;
    struct end from, to;
    char text[BYTES_MAX];
};

static struct two *
begin(size_t piece_bytes, int pieces, int more)
{
    struct two *two = test_calloc(1, sizeof(*two));
    int fds[2];
    bed_open(&two->bed, NULL);
    make_pair(fds);
    for (size_t i = 0; i < sizeof(two->text); i++)
        two->text[i] = (char)(i * 31 >> 3);
    two->from.bed = two->to.bed = &two->bed;
    two->from.text = two->text;
    two->from.piece_bytes = piece_bytes;
    two->from.pieces = pieces;
    two->from.more = more;
    loop_sock_open(&two->from.sock, two->bed.loop, fds[0]);
    loop_sock_open(&two->to.sock, two->bed.loop, fds[1]);
    two->to.want_bytes = piece_bytes * (size_t)pieces;
    two->from.want_bytes = 1; /* it is the other end that stops */
    return two;
}

static void
finish(struct two *two)
{
    loop_close(&two->from.sock, NULL, NULL);
    loop_close(&two->to.sock, NULL, NULL);
    bed_close(&two->bed);
    test_free(two);
}

static uint64_t
send_calls(struct two *two)
{
    struct loop_counters counters;
    loop_read_counters(two->bed.loop, &counters);
    return counters.send_calls;
}

static void
all_arrives(struct two *two)
{
    loop_recv(&two->to.sock, on_recv, &two->to);
    say(&two->from);
    assert_int_equal(loop_run(two->bed.loop), FR_OK);
    assert_int_equal(two->to.got_bytes, two->to.want_bytes);
    assert_memory_equal(two->to.got, two->text, two->to.want_bytes);
    assert_int_equal(two->from.said, two->from.pieces);
    assert_int_equal(two->from.status, 0);
}

static void
one_call_for_all(void **state)
{
    (void)state;
    struct two *two = begin(1000, 10, 9);
    all_arrives(two);
    assert_int_equal(send_calls(two), 1);
    finish(two);
    two = begin(1000, 10, 0);
    all_arrives(two);
    assert_int_equal(send_calls(two), 10);
    finish(two);
}

/* Whoever said that there is more and sends nothing holds nothing back. */
static void
nothing_follows(void **state)
{
    (void)state;
    struct two *two = begin(1000, 3, 3);
    all_arrives(two);
    assert_int_equal(send_calls(two), 1);
    finish(two);
}

/* More than a buffer takes goes out as it fills. */
static void
more_than_is_held(void **state)
{
    (void)state;
    struct two *two = begin(4000, 60, 60);
    all_arrives(two);
    assert_in_range(send_calls(two), 12, 20); /* of four pieces each, and one that follows */
    finish(two);
    two = begin(60000, 4, 3); /* each of them longer than a buffer */
    all_arrives(two);
    finish(two);
}

/* The kernel takes no more: what is held waits for room, in front of what is sent next. */
static void
nobody_reads(void **state)
{
    char fill[4096] = {0};
    (void)state;
    struct two *two = begin(1000, 12, 8);
    size_t filled = 0;
    ssize_t sent;
    while ((sent = send(two->from.sock.fd, fill, sizeof(fill), MSG_DONTWAIT)) > 0)
        filled += (size_t)sent;
    say(&two->from);
    bed_settle(&two->bed, 20000);
    assert_int_equal(two->from.said, 9); /* eight of them held, and the one behind them waits */
    while (filled > 0) {
        sent = recv(two->to.sock.fd, fill, filled < sizeof(fill) ? filled : sizeof(fill), 0);
        assert_true(sent > 0);
        filled -= (size_t)sent;
    }
    loop_recv(&two->to.sock, on_recv, &two->to);
    assert_int_equal(loop_run(two->bed.loop), FR_OK);
    assert_int_equal(two->to.got_bytes, two->to.want_bytes);
    assert_memory_equal(two->to.got, two->text, two->to.want_bytes);
    finish(two);
}

/* Nothing is behind what waits for room: it goes once there is some. */
static void
nobody_reads_and_nothing_follows(void **state)
{
    char fill[4096] = {0};
    static const char none[sizeof(fill)];
    (void)state;
    struct two *two = begin(1000, 8, 8);
    while (send(two->from.sock.fd, fill, sizeof(fill), MSG_DONTWAIT) > 0)
        ;
    say(&two->from);
    bed_settle(&two->bed, 20000);
    assert_int_equal(two->from.said, 8);
    uint64_t calls = send_calls(two);
    bed_settle(&two->bed, 20000);
    assert_int_equal(send_calls(two), calls); /* it waits, and does not ask again and again */
    ssize_t got;
    while ((got = recv(two->to.sock.fd, fill, sizeof(fill), MSG_DONTWAIT)) > 0)
        assert_memory_equal(fill, none, (size_t)got); /* what filled it: ours has not gone out */
    assert_int_equal(got, -1);
    assert_int_equal(errno, EAGAIN);
    two->to.want_bytes = 8000;
    loop_recv(&two->to.sock, on_recv, &two->to);
    assert_int_equal(loop_run(two->bed.loop), FR_OK);
    assert_memory_equal(two->to.got, two->text, 8000);
    finish(two);
}

static void
an_end_takes_it_along(void **state)
{
    (void)state;
    struct two *two = begin(1000, 2, 2);
    say(&two->from); /* held until the turn is over */
    loop_close(&two->from.sock, NULL, NULL);
    two->to.want_bytes = BYTES_MAX;
    loop_recv(&two->to.sock, on_recv, &two->to);
    assert_int_equal(loop_run(two->bed.loop), FR_OK);
    assert_true(two->to.ended);
    assert_int_equal(two->to.got_bytes, 1000);
    loop_close(&two->to.sock, NULL, NULL);
    bed_close(&two->bed);
    test_free(two);
}

/* The other side is gone: what is held is dropped, and the next send is told. */
static void
nobody_is_there(void **state)
{
    (void)state;
    struct two *two = begin(1000, 4, 2);
    loop_close(&two->to.sock, NULL, NULL);
    two->from.want_bytes = 0;
    say(&two->from);
    for (int turns = 0; turns < 10 && two->from.status == 0; turns++)
        assert_int_equal(loop_run(two->bed.loop), FR_OK);
    assert_true(two->from.status < 0);
    loop_close(&two->from.sock, NULL, NULL);
    bed_close(&two->bed);
    test_free(two);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_call_for_all),
        cmocka_unit_test(nothing_follows),
        cmocka_unit_test(more_than_is_held),
        cmocka_unit_test(nobody_reads),
        cmocka_unit_test(nobody_reads_and_nothing_follows),
        cmocka_unit_test(an_end_takes_it_along),
        cmocka_unit_test(nobody_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
