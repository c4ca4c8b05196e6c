/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_loop_process.c - ends of children and of others.
 */
#include "loop_bed.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

struct ending {
    struct bed *bed;
    struct loop_process process;
    int calls, exit_code, exit_signal;
    pid_t pid;
};

static void
on_exit_of(void *ctx, pid_t pid, int exit_code, int exit_signal)
{
    struct ending *ending = ctx;
    ending->calls++;
    ending->pid = pid;
    ending->exit_code = exit_code;
    ending->exit_signal = exit_signal;
    memset(&ending->process, 0xff, sizeof(ending->process)); /* ours again */
    loop_stop(ending->bed->loop);
}

static pid_t
child_waiting(int *out_pipe)
{
    int fds[2];
    char byte;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fds[1]);
        (void)!read(fds[0], &byte, 1); /* until the test lets go */
        _exit(7);
    }
    close(fds[0]);
    *out_pipe = fds[1];
    return pid;
}

static void
test_child_exits(void **state)
{
    struct bed bed;
    int go;
    (void)state;
    bed_open(&bed, NULL);
    struct ending ending = {.bed = &bed};
    pid_t pid = child_waiting(&go);
    assert_int_equal(loop_process_watch(bed.loop, &ending.process, pid, on_exit_of, &ending),
                     FR_OK);
    bed_settle(&bed, 3000);
    assert_int_equal(ending.calls, 0);
    close(go);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(ending.calls, 1);
    assert_int_equal(ending.pid, pid);
    assert_int_equal(ending.exit_code, 7);
    assert_int_equal(ending.exit_signal, 0);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), -1); /* reaped */
    assert_int_equal(loop_process_watch(bed.loop, &ending.process, pid, on_exit_of, &ending),
                     FR_ERR_NOT_FOUND);
    assert_int_equal(loop_process_watch(bed.loop, &ending.process, -1, on_exit_of, &ending),
                     FR_ERR_NOT_FOUND);
    bed_close(&bed);
}

static void
test_child_killed(void **state)
{
    struct bed bed;
    int go;
    (void)state;
    bed_open(&bed, NULL);
    struct ending ending = {.bed = &bed};
    pid_t pid = child_waiting(&go);
    assert_int_equal(loop_process_watch(bed.loop, &ending.process, pid, on_exit_of, &ending),
                     FR_OK);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(ending.exit_code, -1);
    assert_int_equal(ending.exit_signal, SIGKILL);
    close(go);
    bed_close(&bed);
}

static void
test_unwatched_child_is_left_alone(void **state)
{
    struct bed bed;
    int go, status = 0;
    (void)state;
    bed_open(&bed, NULL);
    struct ending ending = {.bed = &bed};
    pid_t pid = child_waiting(&go);
    assert_int_equal(loop_process_watch(bed.loop, &ending.process, pid, on_exit_of, &ending),
                     FR_OK);
    loop_process_unwatch(&ending.process);
    loop_process_unwatch(&ending.process); /* twice is once */
    close(go);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    bed_settle(&bed, 3000);
    assert_int_equal(ending.calls, 0);
    assert_int_equal(WEXITSTATUS(status), 7);
    bed_close(&bed);
}

/* A grandchild: its end is seen, what it was is its parent's to know. */
static void
test_non_child_exits(void **state)
{
    struct bed bed;
    int report[2], hold[2];
    pid_t grandchild = 0;
    (void)state;
    bed_open(&bed, NULL);
    struct ending ending = {.bed = &bed};
    assert_int_equal(pipe2(report, O_CLOEXEC), 0);
    assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char byte;
        int ignored;
        close(hold[1]);
        pid_t pid = fork();
        if (pid == 0) {
            (void)!read(hold[0], &byte, 1);
            _exit(3);
        }
        (void)!write(report[1], &pid, sizeof(pid));
        (void)waitpid(pid, &ignored, 0);
        _exit(0);
    }
    close(hold[0]);
    assert_int_equal(read(report[0], &grandchild, sizeof(grandchild)), sizeof(grandchild));
    assert_int_equal(
        loop_process_watch(bed.loop, &ending.process, grandchild, on_exit_of, &ending), FR_OK);
    close(hold[1]);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(ending.pid, grandchild);
    assert_int_equal(ending.exit_code, -1);
    assert_int_equal(ending.exit_signal, -1);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(report[0]);
    close(report[1]);
    bed_close(&bed);
}

/* Two ends in one batch: the first callback unwatches the other and takes its storage away. */
struct twin {
    struct ending ending;
    struct twin *other;
};

static void
on_twin(void *ctx, pid_t pid, int exit_code, int exit_signal)
{
    struct twin *twin = ctx;
    on_exit_of(&twin->ending, pid, exit_code, exit_signal);
    loop_process_unwatch(&twin->other->ending.process);
    memset(&twin->other->ending.process, 0xff, sizeof(twin->other->ending.process));
}

static void
test_unwatch_of_another_in_the_same_batch(void **state)
{
    struct bed bed;
    struct twin twins[2];
    pid_t pids[2];
    int go[2];
    (void)state;
    bed_open(&bed, NULL);
    memset(twins, 0, sizeof(twins));
    for (int i = 0; i < 2; i++) {
        siginfo_t info;
        twins[i].ending.bed = &bed;
        twins[i].other = &twins[1 - i];
        pids[i] = child_waiting(&go[i]);
        assert_int_equal(loop_process_watch(bed.loop, &twins[i].ending.process, pids[i], on_twin,
                                            &twins[i]),
                         FR_OK);
        assert_int_equal(kill(pids[i], SIGKILL), 0);
        assert_int_equal(waitid(P_PID, (id_t)pids[i], &info, WEXITED | WNOWAIT), 0);
        close(go[i]);
    }
    assert_int_equal(loop_run(bed.loop), FR_OK);
    bed_settle(&bed, 3000);
    assert_int_equal(twins[0].ending.calls + twins[1].ending.calls, 1);
    assert_int_equal(waitpid(twins[0].ending.calls ? pids[1] : pids[0], NULL, 0),
                     twins[0].ending.calls ? pids[1] : pids[0]);
    bed_close(&bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_child_exits),
        cmocka_unit_test(test_child_killed),
        cmocka_unit_test(test_unwatched_child_is_left_alone),
        cmocka_unit_test(test_non_child_exits),
        cmocka_unit_test(test_unwatch_of_another_in_the_same_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
