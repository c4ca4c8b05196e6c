/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_loop_sock.c - sockets over socketpair and TCP: echo, partial sends, ends, cancel, close,
 * buffer limit, stale hint, and what a kept connection costs in system calls.
 */
#include "loop_bed.h"

#include "base/fr_mem.h"

#include <errno.h>
#include <netinet/tcp.h>

/* One side of a conversation. */
struct side {
    struct bed *bed;
    struct loop_sock sock;
    struct loop_buf *buf; /* being sent back */
    int recvs, sends, closes;
    int recv_status, send_status;
    size_t bytes;
    size_t bytes_wanted; /* stop the loop then */
    bool again;
    bool keep; /* the buffer */
    char last[64];
};

static void
on_closed(void *ctx)
{
    struct side *side = ctx;
    side->closes++;
}

static void
on_recv(void *ctx, struct loop_buf *buf, int status)
{
    struct side *side = ctx;
    side->recvs++;
    side->recv_status = status;
    if (status <= 0) {
        assert_null(buf);
        loop_stop(side->bed->loop);
        return;
    }
    assert_int_equal(buf->len, status);
    side->bytes += buf->len;
    memcpy(side->last, buf->data, buf->len < sizeof(side->last) ? buf->len : sizeof(side->last));
    if (side->keep)
        side->buf = buf;
    else
        loop_buf_give_back(buf);
    if (side->again)
        loop_recv(&side->sock, on_recv, side);
    if (side->bytes >= side->bytes_wanted)
        loop_stop(side->bed->loop);
}

static void
on_sent(void *ctx, int status)
{
    struct side *side = ctx;
    side->sends++;
    side->send_status = status;
}

static void echo_recv(void *ctx, struct loop_buf *buf, int status);

static void
echo_sent(void *ctx, int status)
{
    struct side *side = ctx;
    assert_int_equal(status, 0);
    side->sends++;
    loop_buf_give_back(side->buf);
    side->buf = NULL;
    loop_recv(&side->sock, echo_recv, side);
}

static void
echo_recv(void *ctx, struct loop_buf *buf, int status)
{
    struct side *side = ctx;
    side->recvs++;
    if (status <= 0) {
        loop_close(&side->sock, on_closed, side);
        loop_stop(side->bed->loop);
        return;
    }
    side->buf = buf;
    struct iovec part = {buf->data, buf->len};
    loop_send(&side->sock, &part, 1, echo_sent, side);
}

static void
send_text(struct side *side, const char *text)
{
    struct iovec part = {(void *)(uintptr_t)text, strlen(text)};
    loop_send(&side->sock, &part, 1, on_sent, side);
}

static void
side_open(struct side *side, struct bed *bed, int fd)
{
    memset(side, 0, sizeof(*side));
    side->bed = bed;
    side->bytes_wanted = 1;
    loop_sock_open(&side->sock, bed->loop, fd);
}

static void
side_close(struct side *side)
{
    loop_close(&side->sock, on_closed, side);
}

static void
echo_over(int fds[2])
{
    struct bed bed;
    struct side client, server;
    struct loop_counters before, after;
    bed_open(&bed, NULL);
    side_open(&client, &bed, fds[0]);
    side_open(&server, &bed, fds[1]);
    loop_recv(&server.sock, echo_recv, &server);
    bed_settle(&bed, 5000);
    loop_read_counters(bed.loop, &before);
    assert_int_equal(before.buf_in_use, 0); /* waiting costs no buffer */
    for (int i = 1; i <= 100; i++) {
        client.bytes = 0;
        client.bytes_wanted = 4;
        loop_recv(&client.sock, on_recv, &client);
        send_text(&client, "ping");
        assert_int_equal(client.sends, i - 1); /* never inside the call */
        assert_int_equal(loop_run(bed.loop), FR_OK);
        assert_int_equal(client.recvs, i);
        assert_int_equal(client.sends, i);
        assert_memory_equal(client.last, "ping", 4);
    }
    loop_read_counters(bed.loop, &after);
    /* Both ends: one receive and one send for each of the 100, and the client, which had not waited
     * before, was registered. */
    assert_int_equal(after.recv_calls - before.recv_calls, 200);
    assert_int_equal(after.send_calls - before.send_calls, 200);
    assert_int_equal(after.ctl_calls - before.ctl_calls, 1);
    side_close(&client);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(client.closes, 1);
    assert_int_equal(server.closes, 1);
    bed_close(&bed);
}

static void
test_echo_pair(void **state)
{
    int fds[2];
    (void)state;
    make_pair(fds);
    echo_over(fds);
}

static void
test_echo_tcp(void **state)
{
    int fds[2];
    (void)state;
    make_tcp_pair(fds);
    echo_over(fds);
}

/* Many parts, more bytes than the kernel takes, a reader with tiny buffers. */
static void
big_send_over(int fds[2])
{
    struct loop_limits limits = {.buf_bytes = 4096};
    struct bed bed;
    struct side client, server;
    struct iovec parts[LOOP_IOV_MAX];
    size_t part_bytes = 512 * 1024 + 7, total = 0;
    char *bytes = fr_xalloc(part_bytes);
    bed_open(&bed, &limits);
    side_open(&client, &bed, fds[0]);
    side_open(&server, &bed, fds[1]);
    memset(bytes, 'x', part_bytes);
    for (int i = 0; i < LOOP_IOV_MAX; i++) {
        parts[i] = (struct iovec){bytes, i % 5 == 3 ? 0 : part_bytes - (size_t)i};
        total += parts[i].iov_len;
    }
    loop_send(&client.sock, parts, LOOP_IOV_MAX, on_sent, &client);
    assert_true(loop_send_pending(&client.sock));
    bed_settle(&bed, 5000);
    assert_int_equal(client.sends, 0); /* nobody reads yet */
    assert_true(loop_sock_sent(&client.sock) < total);
    assert_true(loop_sock_unread(&client.sock) > 0);
    server.bytes_wanted = total;
    server.again = true;
    loop_recv(&server.sock, on_recv, &server);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    bed_settle(&bed, 5000);
    assert_int_equal(server.bytes, total);
    assert_int_equal(client.sends, 1);
    assert_int_equal(client.send_status, 0);
    assert_false(loop_send_pending(&client.sock));
    assert_int_equal(loop_sock_sent(&client.sock), total);
    assert_int_equal(loop_sock_unread(&client.sock), 0);
    side_close(&client);
    side_close(&server);
    bed_close(&bed);
    assert_int_equal(server.closes, 1);
    fr_free(bytes);
}

static void
test_big_send_pair(void **state)
{
    int fds[2];
    (void)state;
    make_pair(fds);
    big_send_over(fds);
}

static void
test_big_send_tcp(void **state)
{
    int fds[2];
    (void)state;
    make_tcp_pair(fds);
    big_send_over(fds);
}

static void
test_send_of_nothing_completes(void **state)
{
    int fds[2];
    struct bed bed;
    struct side client;
    (void)state;
    make_pair(fds);
    bed_open(&bed, NULL);
    side_open(&client, &bed, fds[0]);
    send_text(&client, "");
    assert_int_equal(client.sends, 0);
    bed_settle(&bed, 5000);
    assert_int_equal(client.sends, 1);
    assert_int_equal(client.send_status, 0);
    side_close(&client);
    bed_close(&bed);
    close(fds[1]);
}

static void
test_half_close(void **state)
{
    int fds[2];
    struct bed bed;
    struct side client, server;
    (void)state;
    make_tcp_pair(fds);
    bed_open(&bed, NULL);
    side_open(&client, &bed, fds[0]);
    side_open(&server, &bed, fds[1]);
    send_text(&client, "last words");
    loop_shutdown_send(&client.sock);
    bed_settle(&bed, 5000); /* bytes and end arrive as one event */
    assert_true(loop_sock_waiting(&server.sock) == LOOP_WAITING_BYTES);
    server.again = true;
    server.bytes_wanted = SIZE_MAX;
    loop_recv(&server.sock, on_recv, &server);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(server.bytes, 10);
    assert_int_equal(server.recv_status, 0);
    /* Nothing comes behind the end, ... */
    loop_recv(&server.sock, on_recv, &server);
    bed_settle(&bed, 5000);
    assert_int_equal(server.recvs, 2);
    /* The other direction still works. */
    loop_recv(&client.sock, on_recv, &client);
    send_text(&server, "goodbye");
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_memory_equal(client.last, "goodbye", 7);
    /* ... but that there is nobody any more. */
    loop_abort(&client.sock, on_closed, &client);
    bed_settle(&bed, 5000);
    assert_int_equal(server.recvs, 3);
    assert_int_equal(server.recv_status, -ECONNRESET);
    side_close(&server);
    bed_close(&bed);
}

static void
test_recv_cancel_loses_nothing(void **state)
{
    int fds[2];
    struct bed bed;
    struct side side;
    (void)state;
    make_pair(fds);
    bed_open(&bed, NULL);
    side_open(&side, &bed, fds[0]);
    loop_recv(&side.sock, on_recv, &side);
    loop_recv_cancel(&side.sock);
    assert_false(loop_recv_pending(&side.sock));
    assert_int_equal(write(fds[1], "abc", 3), 3);
    bed_settle(&bed, 5000);
    assert_int_equal(side.recvs, 0);
    /* Readable now: the receive is queued at once, and can be withdrawn still. */
    loop_recv(&side.sock, on_recv, &side);
    loop_recv_cancel(&side.sock);
    bed_settle(&bed, 5000);
    assert_int_equal(side.recvs, 0);
    loop_recv(&side.sock, on_recv, &side);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_memory_equal(side.last, "abc", 3);
    side_close(&side);
    bed_close(&bed);
    close(fds[1]);
}

static void
test_close_silences_what_is_queued(void **state)
{
    int fds[2];
    struct bed bed;
    struct side side;
    (void)state;
    make_pair(fds);
    bed_open(&bed, NULL);
    side_open(&side, &bed, fds[0]);
    assert_int_equal(write(fds[1], "abc", 3), 3);
    bed_settle(&bed, 5000);
    loop_recv(&side.sock, on_recv, &side); /* ready at once */
    send_text(&side, "done at once");
    side_close(&side);
    assert_int_equal(side.closes, 0);
    bed_settle(&bed, 5000);
    assert_int_equal(side.recvs, 0);
    assert_int_equal(side.sends, 0);
    assert_int_equal(side.closes, 1);
    bed_close(&bed);
    close(fds[1]);
}

/* Two sockets become readable in one batch; the callback of the first closes the second, whose
 * storage is used for a new socket as soon as its close callback says so. */
struct trap {
    struct bed *bed;
    struct side *victim;
    int fd_new;
    int fired;
};

static void
trap_closed(void *ctx)
{
    struct trap *trap = ctx;
    side_open(trap->victim, trap->bed, trap->fd_new);
    loop_recv(&trap->victim->sock, on_recv, trap->victim);
    trap->fired++;
}

static void
trap_recv(void *ctx, struct loop_buf *buf, int status)
{
    struct trap *trap = ctx;
    assert_true(status > 0);
    loop_buf_give_back(buf);
    loop_close(&trap->victim->sock, trap_closed, trap);
}

static void
test_close_of_another_in_the_same_batch(void **state)
{
    int one[2], two[2], three[2];
    struct bed bed;
    struct side first, victim;
    (void)state;
    for (int turn = 0; turn < 2; turn++) {
        make_pair(one);
        make_pair(two);
        make_pair(three);
        bed_open(&bed, NULL);
        side_open(&first, &bed, one[0]);
        side_open(&victim, &bed, two[0]);
        struct trap trap = {&bed, &victim, three[0], 0};
        loop_recv(&first.sock, trap_recv, &trap);
        loop_recv(&victim.sock, on_recv, &victim);
        bed_settle(&bed, 5000);
        /* In both orders: the later write is the later event. */
        assert_int_equal(write(turn ? two[1] : one[1], "x", 1), 1);
        assert_int_equal(write(turn ? one[1] : two[1], "x", 1), 1);
        victim.again = true;
        victim.bytes_wanted = SIZE_MAX;
        bed_settle(&bed, 5000);
        assert_int_equal(trap.fired, 1);
        assert_int_equal(victim.recvs, 0); /* of the new one: nothing came */
        side_close(&first);
        side_close(&victim);
        bed_close(&bed);
        close(one[1]);
        close(two[1]);
        close(three[1]);
    }
}

static void
close_in_send(void *ctx, int status)
{
    struct side *side = ctx;
    assert_int_equal(status, 0);
    side->sends++;
    side_close(side);
}

static void
test_close_in_one_callback_spares_the_other(void **state)
{
    int fds[2];
    struct bed bed;
    struct side side;
    (void)state;
    make_pair(fds);
    bed_open(&bed, NULL);
    side_open(&side, &bed, fds[0]);
    assert_int_equal(write(fds[1], "abc", 3), 3);
    bed_settle(&bed, 5000);
    struct iovec part = {"x", 1};
    loop_recv(&side.sock, on_recv, &side);
    loop_send(&side.sock, &part, 1, close_in_send, &side);
    bed_settle(&bed, 5000);
    assert_int_equal(side.sends, 1);
    assert_int_equal(side.recvs, 0);
    assert_int_equal(side.closes, 1);
    bed_close(&bed);
    close(fds[1]);
}

static void
test_abort_resets(void **state)
{
    int fds[2];
    struct bed bed;
    struct side client, server;
    (void)state;
    make_tcp_pair(fds);
    bed_open(&bed, NULL);
    side_open(&client, &bed, fds[0]);
    side_open(&server, &bed, fds[1]);
    loop_recv(&server.sock, on_recv, &server);
    loop_abort(&client.sock, on_closed, &client);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(server.recv_status, -ECONNRESET);
    send_text(&server, "into the void");
    bed_settle(&bed, 5000);
    assert_int_equal(server.send_status, -EPIPE);
    side_close(&server);
    bed_close(&bed);
}

static void
test_detach_gives_back_a_working_descriptor(void **state)
{
    int fds[2];
    char bytes[8];
    struct bed bed;
    struct side side;
    (void)state;
    make_pair(fds);
    bed_open(&bed, NULL);
    side_open(&side, &bed, fds[0]);
    assert_int_equal(write(fds[1], "ab", 2), 2);
    loop_recv(&side.sock, on_recv, &side);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    int fd = loop_detach(&side.sock);
    assert_int_equal(fd, fds[0]);
    memset(&side, 0xff, sizeof(side)); /* nobody may touch it any more */
    assert_int_equal(write(fds[1], "cde", 3), 3);
    bed_settle(&bed, 5000);
    assert_int_equal(read(fd, bytes, sizeof(bytes)), 3);
    bed_close(&bed);
    close(fd);
    close(fds[1]);
}

static void
test_buffer_limit_makes_wait_in_line(void **state)
{
    enum { SIDES = 4 };
    struct loop_limits limits = {.buf_bytes = 64, .buf_count_max = 1};
    struct loop_counters counters;
    struct bed bed;
    struct side sides[SIDES];
    int fds[SIDES][2];
    (void)state;
    bed_open(&bed, &limits);
    for (int i = 0; i < SIDES; i++) {
        make_pair(fds[i]);
        side_open(&sides[i], &bed, fds[i][0]);
        sides[i].keep = true;
        sides[i].bytes_wanted = SIZE_MAX;
        loop_recv(&sides[i].sock, on_recv, &sides[i]);
        assert_int_equal(write(fds[i][1], "x", 1), 1);
        bed_settle(&bed, 5000);
    }
    assert_non_null(sides[0].buf);
    assert_null(loop_buf_take(bed.loop));
    loop_read_counters(bed.loop, &counters);
    assert_int_equal(counters.buf_waits, SIDES - 1);
    assert_int_equal(counters.buf_in_use, 1);
    /* The second is woken, and closed before it is its turn: the buffer goes on to the third. */
    loop_buf_give_back(sides[0].buf);
    side_close(&sides[1]);
    bed_settle(&bed, 5000);
    assert_int_equal(sides[1].recvs, 0);
    assert_int_equal(sides[2].recvs, 1);
    assert_int_equal(sides[3].recvs, 0);
    /* The fourth withdraws, and asks again: it gets its byte. */
    loop_recv_cancel(&sides[3].sock);
    loop_buf_give_back(sides[2].buf);
    bed_settle(&bed, 5000);
    assert_int_equal(sides[3].recvs, 0);
    loop_recv(&sides[3].sock, on_recv, &sides[3]);
    bed_settle(&bed, 5000);
    assert_int_equal(sides[3].recvs, 1);
    loop_buf_give_back(sides[3].buf);
    for (int i = 0; i < SIDES; i++) {
        if (i != 1)
            side_close(&sides[i]);
        close(fds[i][1]);
    }
    bed_close(&bed);
}

/* Whoever holds as much as it may is lent small buffers, which is for the moment of receiving to
 * say; what it gives back counts no more. */
static void
test_small_buffers_when_the_account_is_full(void **state)
{
    struct loop_account account = {.bytes_max = 16384};
    struct bed bed;
    struct side side;
    static char text[20000];
    int fds[2];
    (void)state;
    bed_open(&bed, NULL);
    make_pair(fds);
    side_open(&side, &bed, fds[0]);
    side.keep = true;
    side.bytes_wanted = SIZE_MAX;
    side.sock.account = &account;
    assert_false(loop_account_full(NULL));
    struct loop_buf *large = loop_buf_take(bed.loop);
    assert_int_equal(large->cap, 16384);
    loop_recv(&side.sock, on_recv, &side); /* before it is full */
    loop_buf_charge(large, &account);
    loop_buf_charge(large, &account); /* once */
    assert_int_equal(account.bytes, 16384);
    assert_true(loop_account_full(&account));
    assert_int_equal(write(fds[1], text, sizeof(text)), sizeof(text));
    bed_settle(&bed, 5000);
    struct loop_buf *first = side.buf;
    assert_non_null(first);
    assert_int_equal(first->len, LOOP_BUF_SMALL_BYTES);
    assert_int_equal(account.bytes, 16384 + LOOP_BUF_SMALL_BYTES);
    loop_buf_give_back(large);
    assert_int_equal(account.bytes, LOOP_BUF_SMALL_BYTES);
    side.buf = NULL;
    loop_recv(&side.sock, on_recv, &side); /* what is left is told of without a new event */
    bed_settle(&bed, 5000);
    assert_int_equal(side.buf->len, 16384);
    loop_buf_charge(first, NULL);
    assert_int_equal(account.bytes, 16384);
    loop_buf_give_back(first);
    loop_buf_give_back(side.buf);
    assert_int_equal(account.bytes, 0);
    struct loop_buf *small = loop_buf_take_small(bed.loop);
    assert_ptr_equal(small, first); /* the spare ones of either size are kept apart */
    assert_int_equal(small->cap, LOOP_BUF_SMALL_BYTES);
    loop_buf_give_back(small);
    side_close(&side);
    close(fds[1]);
    bed_close(&bed);
}

static void
test_recv_without_memory_fails(void **state)
{
    int fds[2];
    struct bed bed;
    struct side side;
    (void)state;
    make_pair(fds);
    bed_open(&bed, NULL);
    side_open(&side, &bed, fds[0]);
    loop_recv(&side.sock, on_recv, &side);
    assert_int_equal(write(fds[1], "abc", 3), 3);
    fr_mem_fail_after(1);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    fr_mem_fail_after(0);
    assert_int_equal(side.recv_status, -ENOMEM);
    loop_recv(&side.sock, on_recv, &side);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(side.bytes, 3);
    side_close(&side);
    bed_close(&bed);
    close(fds[1]);
}

static void
test_stale_hint(void **state)
{
    int fds[2];
    struct bed bed;
    struct side side;
    (void)state;
    make_tcp_pair(fds);
    bed_open(&bed, NULL);
    side_open(&side, &bed, fds[0]);
    loop_recv(&side.sock, on_recv, &side);
    assert_int_equal(write(fds[1], "abc", 3), 3);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    bed_settle(&bed, 5000);
    assert_true(loop_sock_waiting(&side.sock) == LOOP_WAITING_NOTHING); /* answered and idle */
    assert_int_equal(write(fds[1], "junk", 4), 4);
    /* The loop has not been told yet. */
    assert_true(loop_sock_waiting(&side.sock) == LOOP_WAITING_BYTES);
    loop_recv(&side.sock, on_recv, &side);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_true(loop_sock_waiting(&side.sock) == LOOP_WAITING_NOTHING);
    close(fds[1]);
    assert_true(loop_sock_waiting(&side.sock) == LOOP_WAITING_END);
    side_close(&side);
    bed_close(&bed);
}

/* A reader that is always ready must not keep a timer from firing. */
static void
test_busy_socket_leaves_timers_their_turn(void **state)
{
    int fds[2];
    struct loop_limits limits = {.buf_bytes = 16};
    struct bed bed;
    struct side client, server;
    (void)state;
    make_pair(fds);
    bed_open(&bed, &limits);
    side_open(&client, &bed, fds[0]);
    side_open(&server, &bed, fds[1]);
    server.again = client.again = true;
    server.bytes_wanted = client.bytes_wanted = SIZE_MAX;
    loop_recv(&server.sock, echo_recv, &server);
    loop_recv(&client.sock, echo_recv, &client);
    send_text(&client, "round and round");
    for (int i = 0; i < 3; i++)
        bed_settle(&bed, 5000);
    assert_true(server.recvs > 10);
    if (client.buf)
        loop_buf_give_back(client.buf);
    if (server.buf)
        loop_buf_give_back(server.buf);
    side_close(&client);
    side_close(&server);
    bed_close(&bed);
}

/* ---- connecting ---------------------------------------------------------------------------- */

struct caller {
    struct bed *bed;
    struct loop_sock sock;
    int status;
    int calls;
};

static void
on_connected(void *ctx, int status)
{
    struct caller *caller = ctx;
    caller->status = status;
    caller->calls++;
    loop_stop(caller->bed->loop);
}

static void
test_connect(void **state)
{
    struct bed bed;
    struct loop_addr addr;
    struct sockaddr_in in;
    int fd, error, on = 0;
    socklen_t len = sizeof(in), on_len = sizeof(on);
    char text[64];
    (void)state;
    bed_open(&bed, NULL);
    struct caller caller = {.bed = &bed, .status = 1};
    assert_int_equal(loop_addr_parse(FR_VIEW("127.0.0.1:0"), &addr), FR_OK);
    assert_int_equal(loop_bind(&addr, false, &fd, &error), FR_OK);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    (void)snprintf(text, sizeof(text), "127.0.0.1:%d", ntohs(in.sin_port));
    assert_int_equal(loop_addr_parse(fr_view_of(text), &addr), FR_OK);
    assert_int_equal(loop_connect(&caller.sock, bed.loop, &addr, on_connected, &caller), FR_OK);
    assert_int_equal(caller.calls, 0);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(caller.status, 0);
    assert_int_equal(getsockopt(caller.sock.fd, IPPROTO_TCP, TCP_NODELAY, &on, &on_len), 0);
    assert_true(on);
    loop_close(&caller.sock, NULL, NULL);
    close(fd);
    bed_settle(&bed, 5000);
    /* Nobody listens there now. */
    assert_int_equal(loop_connect(&caller.sock, bed.loop, &addr, on_connected, &caller), FR_OK);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(caller.status, -ECONNREFUSED);
    assert_int_equal(caller.calls, 2);
    loop_close(&caller.sock, NULL, NULL);
    /* A Unix socket refuses at once; the callback still comes from the loop. */
    assert_int_equal(loop_addr_parse(FR_VIEW("unix:/nonexistent/sock"), &addr), FR_OK);
    bed_settle(&bed, 5000);
    assert_int_equal(loop_connect(&caller.sock, bed.loop, &addr, on_connected, &caller), FR_OK);
    assert_int_equal(caller.calls, 2);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(caller.status, -ENOENT);
    loop_close(&caller.sock, NULL, NULL);
    bed_close(&bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo_pair),
        cmocka_unit_test(test_echo_tcp),
        cmocka_unit_test(test_big_send_pair),
        cmocka_unit_test(test_big_send_tcp),
        cmocka_unit_test(test_send_of_nothing_completes),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_recv_cancel_loses_nothing),
        cmocka_unit_test(test_close_silences_what_is_queued),
        cmocka_unit_test(test_close_of_another_in_the_same_batch),
        cmocka_unit_test(test_close_in_one_callback_spares_the_other),
        cmocka_unit_test(test_abort_resets),
        cmocka_unit_test(test_detach_gives_back_a_working_descriptor),
        cmocka_unit_test(test_buffer_limit_makes_wait_in_line),
        cmocka_unit_test(test_small_buffers_when_the_account_is_full),
        cmocka_unit_test(test_recv_without_memory_fails),
        cmocka_unit_test(test_stale_hint),
        cmocka_unit_test(test_busy_socket_leaves_timers_their_turn),
        cmocka_unit_test(test_connect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
