/* SPDX-License-Identifier: Apache-2.0 */
/*
 * near_loop_sock.c - a send that the kernel took at once completes next, while what it is about is
 * near; but whoever sends on and on leaves the others their turns.
 */
#include "loop_bed.h"

#define ENDS 3
#define SENDS 1000

struct end {
    struct room *room;
    struct loop_sock sock;
    int peer;
    int sends; /* still to be made, one behind the other */
    char name;
};

struct room {
    struct bed bed;
    struct end ends[ENDS];
    char order[2 * ENDS + 1];
    size_t calls;
    int sent_before_last; /* completions of the first, when the last was served */
    int sent, closed;
};

static void
note(struct room *room, char what)
{
    if (room->calls < sizeof(room->order) - 1)
        room->order[room->calls++] = what;
}

static void
on_sent(void *ctx, int status)
{
    struct end *end = ctx;
    struct room *room = end->room;
    assert_int_equal(status, 0);
    note(room, (char)(end->name - 'a' + 'A'));
    room->sent++;
    if (--end->sends > 0)
        loop_send(&end->sock, NULL, 0, on_sent, end);
    else if (end->name == 'a' + ENDS - 1)
        loop_stop(room->bed.loop);
}

static void
on_recv(void *ctx, struct loop_buf *buf, int status)
{
    struct end *end = ctx;
    struct room *room = end->room;
    assert_int_equal(status, 1);
    loop_buf_give_back(buf);
    note(room, end->name);
    if (end->name == 'a' + ENDS - 1)
        room->sent_before_last = room->sent;
    loop_send(&end->sock, NULL, 0, on_sent, end);
}

static void
on_closed(void *ctx)
{
    struct room *room = ctx;
    if (++room->closed == ENDS)
        loop_stop(room->bed.loop);
}

/* All have something to receive in one turn, in order; each then sends. */
static void
run(struct room *room, int sends_of_first)
{
    bed_open(&room->bed, NULL);
    for (int i = 0; i < ENDS; i++) {
        struct end *end = &room->ends[i];
        int fds[2];
        make_pair(fds);
        *end = (struct end){.room = room, .peer = fds[1], .name = (char)('a' + i)};
        end->sends = i == 0 ? sends_of_first : 1;
        assert_int_equal(write(end->peer, "x", 1), 1);
        loop_sock_open(&end->sock, room->bed.loop, fds[0]);
        loop_recv(&end->sock, on_recv, end);
    }
    assert_int_equal(loop_run(room->bed.loop), FR_OK);
    for (int i = 0; i < ENDS; i++) {
        loop_close(&room->ends[i].sock, on_closed, room);
        close(room->ends[i].peer);
    }
    assert_int_equal(loop_run(room->bed.loop), FR_OK);
    bed_close(&room->bed);
}

static void
test_what_was_taken_completes_next(void **state)
{
    struct room room = {.calls = 0};
    (void)state;
    run(&room, 1);
    assert_string_equal(room.order, "aAbBcC");
}

static void
test_sends_without_end_leave_others_their_turn(void **state)
{
    struct room room = {.calls = 0};
    (void)state;
    run(&room, SENDS);
    assert_in_range(room.sent_before_last, 2, 4); /* one of each, and few more of the first */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_taken_completes_next),
        cmocka_unit_test(test_sends_without_end_leave_others_their_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
