/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names_loop_sock.c - a socket that is closed has no name left, whoever holds it open elsewhere.
 */
#include "loop_bed.h"

struct side {
    struct bed *bed;
    struct loop_sock sock;
    int recvs;
    char last[4];
};

static void
on_recv(void *ctx, struct loop_buf *buf, int status)
{
    struct side *side = ctx;
    side->recvs++;
    assert_int_equal(status, 3);
    memcpy(side->last, buf->data, 3);
    loop_buf_give_back(buf);
    loop_stop(side->bed->loop);
}

/* As between fork and exec of a child: somebody else holds what is closed here. */
static void
test_what_others_hold_open_names_nobody(void **state)
{
    struct bed bed;
    struct side old = {.bed = &bed}, new = {.bed = &bed};
    struct loop_counters before, after;
    int first[2], second[2];
    (void)state;
    bed_open(&bed, NULL);
    make_pair(first);
    loop_sock_open(&old.sock, bed.loop, first[0]);
    loop_recv(&old.sock, on_recv, &old);
    bed_settle(&bed, 5000); /* it waits, so the kernel knows it */
    int held = dup(first[0]);
    assert_true(held >= 0);
    loop_read_counters(bed.loop, &before);
    loop_close(&old.sock, NULL, NULL);
    loop_read_counters(bed.loop, &after);
    assert_int_equal(after.ctl_calls - before.ctl_calls, 0);
    bed_settle(&bed, 5000);
    /* The same descriptor, and an event for the one before it. */
    make_pair(second);
    assert_int_equal(second[0], first[0]);
    loop_sock_open(&new.sock, bed.loop, second[0]);
    assert_int_equal(write(first[1], "old", 3), 3);
    loop_read_counters(bed.loop, &before);
    loop_recv(&new.sock, on_recv, &new);
    bed_settle(&bed, 5000);
    loop_read_counters(bed.loop, &after);
    assert_int_equal(after.recv_calls - before.recv_calls, 0); /* it was not taken for its own */
    assert_int_equal(new.recvs + old.recvs, 0);
    assert_int_equal(write(second[1], "new", 3), 3);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(new.recvs, 1);
    assert_memory_equal(new.last, "new", 3);
    loop_close(&new.sock, NULL, NULL);
    bed_settle(&bed, 5000);
    close(held);
    close(first[1]);
    close(second[1]);
    bed_close(&bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_others_hold_open_names_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
