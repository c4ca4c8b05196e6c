/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lazy_loop_sock.c - sockets that epoll does not know yet: nothing that happens to them meanwhile
 * is lost, and those that never wait never cost its calls.
 */
#include "loop_bed.h"

#include "base/fr_mem.h"

#include <errno.h>

#define MANY 200

struct side {
    struct bed *bed;
    struct loop_sock sock;
    int recvs, sends, status;
    size_t bytes;
    bool again, stop;
};

static void
on_recv(void *ctx, struct loop_buf *buf, int status)
{
    struct side *side = ctx;
    side->recvs++;
    side->status = status;
    side->bytes += status > 0 ? (size_t)status : 0;
    loop_buf_give_back(buf);
    if (status > 0 && side->again)
        loop_recv(&side->sock, on_recv, side);
    if (side->stop)
        loop_stop(side->bed->loop);
}

static void
on_sent(void *ctx, int status)
{
    struct side *side = ctx;
    assert_int_equal(status, 0);
    side->sends++;
}

static struct loop_counters
counters_of(const struct bed *bed)
{
    struct loop_counters counters;
    loop_read_counters(bed->loop, &counters);
    return counters;
}

/* Opens fd and expects something there. */
static void
open_expecting(struct side *side, struct bed *bed, int fd)
{
    *side = (struct side){.bed = bed};
    loop_sock_open(&side->sock, bed->loop, fd);
    loop_sock_expect(&side->sock);
    loop_recv(&side->sock, on_recv, side);
}

static void
test_what_never_waits_is_never_registered(void **state)
{
    struct bed bed;
    struct side side;
    struct iovec answer = {"answer", 6};
    char bytes[8];
    int fds[2];
    (void)state;
    bed_open(&bed, NULL);
    make_tcp_pair(fds);
    assert_int_equal(write(fds[1], "request", 7), 7);
    struct loop_counters before = counters_of(&bed);
    open_expecting(&side, &bed, fds[0]);
    assert_int_equal(side.recvs, 0); /* never inside the call */
    bed_settle(&bed, 5000);
    assert_int_equal(side.bytes, 7);
    loop_send(&side.sock, &answer, 1, on_sent, &side);
    bed_settle(&bed, 5000);
    assert_int_equal(side.sends, 1);
    loop_close(&side.sock, NULL, NULL);
    struct loop_counters after = counters_of(&bed);
    assert_int_equal(after.recv_calls - before.recv_calls, 1);
    assert_int_equal(after.send_calls - before.send_calls, 1);
    assert_int_equal(after.ctl_calls - before.ctl_calls, 0);
    assert_int_equal(read(fds[1], bytes, sizeof(bytes)), 6);
    bed_settle(&bed, 5000);
    close(fds[1]);
    bed_close(&bed);
}

static void
test_what_was_expected_in_vain_is_waited_for(void **state)
{
    struct bed bed;
    struct side side;
    int fds[2];
    (void)state;
    bed_open(&bed, NULL);
    make_tcp_pair(fds);
    struct loop_counters before = counters_of(&bed);
    open_expecting(&side, &bed, fds[0]);
    bed_settle(&bed, 5000);
    assert_int_equal(side.recvs, 0);
    struct loop_counters after = counters_of(&bed);
    assert_int_equal(after.recv_calls - before.recv_calls, 1);
    assert_int_equal(after.ctl_calls - before.ctl_calls, 1);
    side.stop = true;
    assert_int_equal(write(fds[1], "abc", 3), 3);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(side.bytes, 3);
    loop_close(&side.sock, NULL, NULL);
    close(fds[1]);
    bed_close(&bed);
}

/* Between a short receive, behind which nothing more was there, and the next, bytes come. */
static void
test_bytes_between_two_receives_are_not_lost(void **state)
{
    struct bed bed;
    struct side side;
    int fds[2];
    (void)state;
    bed_open(&bed, NULL);
    make_tcp_pair(fds);
    assert_int_equal(write(fds[1], "abc", 3), 3);
    open_expecting(&side, &bed, fds[0]);
    bed_settle(&bed, 5000);
    assert_int_equal(side.bytes, 3);
    assert_int_equal(write(fds[1], "defg", 4), 4);
    bed_settle(&bed, 5000);
    assert_int_equal(side.recvs, 1);
    side.stop = true;
    loop_recv(&side.sock, on_recv, &side);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(side.bytes, 7);
    loop_close(&side.sock, NULL, NULL);
    close(fds[1]);
    bed_close(&bed);
}

static void
test_bytes_with_the_end_give_both(void **state)
{
    struct bed bed;
    struct side side;
    struct iovec answer = {"answer", 6};
    char bytes[8];
    int fds[2];
    (void)state;
    for (int expecting = 0; expecting < 2; expecting++) {
        bed_open(&bed, NULL);
        make_tcp_pair(fds);
        assert_int_equal(write(fds[1], "abc", 3), 3);
        assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
        side = (struct side){.bed = &bed, .again = true};
        loop_sock_open(&side.sock, bed.loop, fds[0]);
        if (expecting)
            loop_sock_expect(&side.sock);
        loop_recv(&side.sock, on_recv, &side);
        bed_settle(&bed, 5000);
        assert_int_equal(side.bytes, 3);
        assert_int_equal(side.recvs, 2);
        assert_int_equal(side.status, 0);
        /* The other direction stands, and a receive tells when it is gone as well. */
        loop_send(&side.sock, &answer, 1, on_sent, &side);
        loop_recv(&side.sock, on_recv, &side);
        bed_settle(&bed, 5000);
        assert_int_equal(side.sends, 1);
        assert_int_equal(side.recvs, 2);
        assert_int_equal(read(fds[1], bytes, sizeof(bytes)), 6);
        struct linger at_once = {.l_onoff = 1};
        assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
        close(fds[1]);
        side.stop = true;
        assert_int_equal(loop_run(bed.loop), FR_OK);
        assert_int_equal(side.status, -ECONNRESET);
        loop_close(&side.sock, NULL, NULL);
        bed_close(&bed);
    }
}

static void
test_a_reset_before_the_first_byte_is_told(void **state)
{
    struct linger at_once = {.l_onoff = 1};
    struct bed bed;
    struct side side;
    int fds[2];
    (void)state;
    for (int expecting = 0; expecting < 2; expecting++) {
        bed_open(&bed, NULL);
        make_tcp_pair(fds);
        assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
        close(fds[1]);
        side = (struct side){.bed = &bed, .stop = true};
        loop_sock_open(&side.sock, bed.loop, fds[0]);
        if (expecting)
            loop_sock_expect(&side.sock);
        loop_recv(&side.sock, on_recv, &side);
        assert_int_equal(loop_run(bed.loop), FR_OK);
        assert_int_equal(side.recvs, 1);
        assert_int_equal(side.status, -ECONNRESET);
        loop_close(&side.sock, NULL, NULL);
        bed_close(&bed);
    }
}

/* Every other one has sent something when it is opened, the rest do so later. */
static void
test_many_at_once(void **state)
{
    struct bed bed;
    struct side *sides = fr_xalloc(MANY * sizeof(*sides));
    int fds[MANY][2];
    (void)state;
    bed_open(&bed, NULL);
    struct loop_counters before = counters_of(&bed);
    for (int i = 0; i < MANY; i++) {
        make_pair(fds[i]);
        if (i % 2)
            assert_int_equal(write(fds[i][1], "early", 5), 5);
        open_expecting(&sides[i], &bed, fds[i][0]);
    }
    bed_settle(&bed, 20000);
    struct loop_counters after = counters_of(&bed);
    assert_int_equal(after.ctl_calls - before.ctl_calls, MANY / 2);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(sides[i].bytes, i % 2 ? 5 : 0);
        if (i % 2 == 0)
            assert_int_equal(write(fds[i][1], "late", 4), 4);
    }
    bed_settle(&bed, 20000);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(sides[i].bytes, i % 2 ? 5 : 4);
        loop_close(&sides[i].sock, NULL, NULL);
        close(fds[i][1]);
    }
    bed_close(&bed);
    fr_free(sides);
}

static void
test_what_cannot_be_waited_for_fails(void **state)
{
    struct bed bed;
    struct side side;
    int fds[2];
    (void)state;
    bed_open(&bed, NULL);
    make_pair(fds);
    side = (struct side){.bed = &bed, .stop = true};
    loop_sock_open(&side.sock, bed.loop, fds[0]);
    fr_mem_fail_after(1);
    loop_recv(&side.sock, on_recv, &side);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    fr_mem_fail_after(0);
    assert_int_equal(side.status, -ENOMEM);
    /* With memory it can. */
    loop_recv(&side.sock, on_recv, &side);
    assert_int_equal(write(fds[1], "abc", 3), 3);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(side.bytes, 3);
    loop_close(&side.sock, NULL, NULL);
    close(fds[1]);
    bed_close(&bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_never_waits_is_never_registered),
        cmocka_unit_test(test_what_was_expected_in_vain_is_waited_for),
        cmocka_unit_test(test_bytes_between_two_receives_are_not_lost),
        cmocka_unit_test(test_bytes_with_the_end_give_both),
        cmocka_unit_test(test_a_reset_before_the_first_byte_is_told),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_what_cannot_be_waited_for_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
