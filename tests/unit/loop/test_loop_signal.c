/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_loop_signal.c - signals as events.
 */
#include "loop_bed.h"

#include <signal.h>

struct signals {
    struct bed *bed;
    int usr1, usr2;
};

static void
on_signal(void *ctx, int number)
{
    struct signals *signals = ctx;
    signals->usr1 += number == SIGUSR1;
    signals->usr2 += number == SIGUSR2;
    if (signals->usr1 && signals->usr2)
        loop_stop(signals->bed->loop);
}

static void
test_signals(void **state)
{
    struct bed bed;
    sigset_t before;
    (void)state;
    assert_int_equal(sigprocmask(SIG_SETMASK, NULL, &before), 0);
    bed_open(&bed, NULL);
    struct signals signals = {.bed = &bed};
    assert_int_equal(loop_signal(bed.loop, SIGUSR1, on_signal, &signals), FR_OK);
    assert_int_equal(loop_signal(bed.loop, SIGUSR2, on_signal, &signals), FR_OK);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    assert_int_equal(kill(getpid(), SIGUSR2), 0);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(signals.usr1, 1);
    assert_int_equal(signals.usr2, 1);
    bed_close(&bed);
    assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
