/* SPDX-License-Identifier: Apache-2.0 */
/*
 * defer_loop_listen.c - listeners whose connections are told of when they have spoken, and that
 * many of them at once leave others their turn.
 */
#include "loop_bed.h"

#include <netinet/tcp.h>

#define FLOOD 200
#define ACCEPTS_A_TURN 64 /* LOOP_ACCEPTS_MAX */

struct door {
    struct bed *bed;
    struct loop_listener listener;
    int accepted, fds[FLOOD];
    bool go_on;
};

static void
on_accept(void *ctx, int fd, const struct loop_addr *peer)
{
    struct door *door = ctx;
    (void)peer;
    door->fds[door->accepted++] = fd;
    if (!door->go_on)
        loop_stop(door->bed->loop);
}

static void
door_open(struct door *door, struct bed *bed, const char *text)
{
    memset(door, 0, sizeof(*door));
    door->bed = bed;
    bed_listen(bed, &door->listener, text, on_accept, door);
}

static void
door_close(struct door *door)
{
    for (int i = 0; i < door->accepted; i++)
        close(door->fds[i]);
    loop_listener_close(&door->listener);
}

static void
test_who_speaks_is_taken_at_once(void **state)
{
    struct bed bed;
    struct door door;
    char byte;
    (void)state;
    bed_open(&bed, NULL);
    door_open(&door, &bed, "127.0.0.1:0");
    loop_listener_defer(&door.listener, 7000000);
    int silent = knock(&door.listener.addr), speaker = knock(&door.listener.addr),
        ended = knock(&door.listener.addr);
    bed_settle(&bed, 20000);
    assert_int_equal(door.accepted, 0);
    assert_int_equal(write(speaker, "x", 1), 1);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(door.accepted, 1);
    assert_int_equal(recv(door.fds[0], &byte, 1, 0), 1); /* it has come with it */
    /* An end is a word too: who only looks whether somebody is there is not left hanging. */
    assert_int_equal(shutdown(ended, SHUT_WR), 0);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(door.accepted, 2);
    bed_settle(&bed, 20000);
    assert_int_equal(door.accepted, 2);
    close(silent);
    close(speaker);
    close(ended);
    door_close(&door);
    bed_close(&bed);
}

static void
test_who_is_silent_is_taken_in_the_end(void **state)
{
    struct bed bed;
    struct door door;
    (void)state;
    bed_open(&bed, NULL);
    door_open(&door, &bed, "127.0.0.1:0");
    loop_listener_defer(&door.listener, 1000000);
    int fd = knock(&door.listener.addr);
    int64_t before_us = loop_clock_us(bed.loop);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(door.accepted, 1);
    assert_true(loop_clock_us(bed.loop) - before_us >= 500000);
    close(fd);
    /* What was kept before it was switched off comes as well. */
    fd = knock(&door.listener.addr);
    bed_settle(&bed, 20000);
    assert_int_equal(door.accepted, 1);
    loop_listener_defer(&door.listener, 0);
    assert_int_equal(door.listener.defer_us, 0);
    int other = knock(&door.listener.addr);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(door.accepted, 3);
    close(fd);
    close(other);
    door_close(&door);
    bed_close(&bed);
}

static void
test_times_that_the_kernel_knows(void **state)
{
    static const struct {
        int64_t asked_us, is_us;
        int seconds;
    } rows[] = {{1, 1000000, 1},          {1000000, 1000000, 1},
                {1000001, 3000000, 3},    {3000000, 3000000, 3},
                {5000000, 7000000, 7},    {15000000, 15000000, 15},
                {99000000, 15000000, 15}, {0, 0, 0}};
    struct bed bed;
    struct door door;
    (void)state;
    bed_open(&bed, NULL);
    door_open(&door, &bed, "127.0.0.1:0");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int seconds = -1;
        socklen_t len = sizeof(seconds);
        loop_listener_defer(&door.listener, rows[i].asked_us);
        assert_int_equal(door.listener.defer_us, rows[i].is_us);
        assert_int_equal(
            getsockopt(door.listener.fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, &len), 0);
        assert_int_equal(seconds, rows[i].seconds);
    }
    door_close(&door);
    char text[128];
    (void)snprintf(text, sizeof(text), "unix:%s/door", bed.folder);
    door_open(&door, &bed, text);
    loop_listener_defer(&door.listener, 1000000);
    assert_int_equal(door.listener.defer_us, 0);
    door_close(&door);
    bed_close(&bed);
}

/* Until the listener defers: fewer in a second than make it busy are no failure of its own. */
static void
crowd(struct bed *bed, struct door *door)
{
    int callers[FLOOD];
    while (door->listener.defer_us == 0) {
        for (int i = 0; i < FLOOD; i++)
            callers[i] = knock(&door->listener.addr);
        while (door->accepted < FLOOD)
            bed_settle(bed, 1000);
        for (int i = 0; i < FLOOD; i++)
            close(callers[i]);
        while (door->accepted > 0)
            close(door->fds[--door->accepted]);
    }
}

static void
door_open_busy(struct door *door, struct bed *bed)
{
    bed_open(bed, NULL);
    door_open(door, bed, "127.0.0.1:0");
    door->go_on = true;
    loop_listener_defer(&door->listener, LOOP_DEFER_WHEN_BUSY);
    assert_int_equal(door->listener.defer_us, 0);
    assert_int_equal(loop_listener_kept_us(&door->listener), 0);
    crowd(bed, door);
}

static void
test_who_is_busy_defers(void **state)
{
    struct bed bed;
    struct door door;
    (void)state;
    door_open_busy(&door, &bed);
    assert_int_equal(door.listener.defer_us, 1000000);
    assert_int_equal(loop_listener_kept_us(&door.listener), 1000000);
    int silent = knock(&door.listener.addr);
    bed_settle(&bed, 20000);
    assert_int_equal(door.accepted, 0);
    /* Two seconds with nobody are calm; there may be silent ones for one more. */
    while (door.listener.defer_us > 0)
        bed_settle(&bed, 10000);
    assert_in_range(loop_listener_kept_us(&door.listener), 900000, 1000000);
    int other = knock(&door.listener.addr);
    while (door.accepted < 2)
        bed_settle(&bed, 10000);
    close(silent);
    close(other);
    door_close(&door);
    bed_close(&bed);
}

static void
test_busy_is_the_listener_that_was_told(void **state)
{
    struct bed bed;
    struct door door;
    (void)state;
    door_open_busy(&door, &bed);
    /* Told otherwise it is so at once, and stays so however few come. */
    loop_listener_defer(&door.listener, 3000000);
    bed_settle(&bed, 2200000);
    assert_int_equal(door.listener.defer_us, 3000000);
    loop_listener_defer(&door.listener, 0);
    assert_in_range(loop_listener_kept_us(&door.listener), 2900000, 3000000);
    door_close(&door);
    bed_close(&bed);
}

/* ---- turns ---------------------------------------------------------------------------------- */

struct neighbour {
    struct loop_sock sock;
    const struct door *door;
    int accepted_before; /* -1: not received yet */
};

static void
on_recv(void *ctx, struct loop_buf *buf, int status)
{
    struct neighbour *neighbour = ctx;
    assert_int_equal(status, 1);
    neighbour->accepted_before = neighbour->door->accepted;
    loop_buf_give_back(buf);
}

static void
test_a_flood_leaves_others_their_turn(void **state)
{
    struct bed bed;
    struct door door;
    int callers[FLOOD], fds[2];
    (void)state;
    bed_open(&bed, NULL);
    door_open(&door, &bed, "127.0.0.1:0");
    loop_listener_defer(&door.listener, 7000000);
    door.go_on = true;
    make_pair(fds);
    struct neighbour neighbour = {.door = &door, .accepted_before = -1};
    loop_sock_open(&neighbour.sock, bed.loop, fds[0]);
    loop_recv(&neighbour.sock, on_recv, &neighbour);
    bed_settle(&bed, 5000);
    /* All of it has come when the loop looks again. */
    for (int i = 0; i < FLOOD; i++) {
        callers[i] = knock(&door.listener.addr);
        assert_int_equal(write(callers[i], "x", 1), 1);
    }
    assert_int_equal(write(fds[1], "x", 1), 1);
    while (door.accepted < FLOOD)
        bed_settle(&bed, 1000);
    assert_in_range(neighbour.accepted_before, 0, ACCEPTS_A_TURN);
    for (int i = 0; i < FLOOD; i++)
        close(callers[i]);
    loop_close(&neighbour.sock, NULL, NULL);
    close(fds[1]);
    door_close(&door);
    bed_close(&bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_speaks_is_taken_at_once),
        cmocka_unit_test(test_who_is_silent_is_taken_in_the_end),
        cmocka_unit_test(test_times_that_the_kernel_knows),
        cmocka_unit_test(test_who_is_busy_defers),
        cmocka_unit_test(test_busy_is_the_listener_that_was_told),
        cmocka_unit_test(test_a_flood_leaves_others_their_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
