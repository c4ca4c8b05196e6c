/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_run.c - `freshet run`: a parent that keeps an edge and a manager running.
 *
 * Why two processes: either may die, or be killed, without the other noticing more than a closed
 * stream; and neither shares the other's memory.
 *
 * Life of a child:  started -> ready (it says so through a pipe) -> ended. One that ends before it
 * was ever ready ends everything with its exit code; later it is started again, after a pause that
 * doubles from RESTART_MIN_US to RESTART_MAX_US and starts over once it stood for that long.
 */
#include "cli/cli.h"

#include "base/fr_log.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESTART_MIN_US (100 * FR_US_PER_MS)
#define RESTART_MAX_US (5 * FR_US_PER_S)

struct run;

struct child {
    struct run *run;
    const char *role;
    pid_t pid; /* 0: not running */
    struct loop_process process;
    struct loop_sock ready;
    bool ready_open;
    bool was_ready;
    int64_t started_us;
    int64_t pause_us;
    struct loop_timer restart;
};

struct run {
    struct loop *loop;
    const char *file, *log_format, *log_level;
    struct child manager, edge;
    int lock_fd, children_lock_fd; /* cli_run_lock.c */
    bool stopping;
    int status;
};

static void start_child(struct child *child);

static void
signal_child(const struct child *child, int signal_number)
{
    if (child->pid > 0)
        (void)kill(child->pid, signal_number); /* it may have ended just now */
}

static void
stop_if_done(struct run *run)
{
    if (run->stopping && run->manager.pid == 0 && run->edge.pid == 0)
        loop_stop(run->loop);
}

/* The edge goes first: while it drains it may still report. */
static void
stop_all(struct run *run, int status)
{
    if (!run->stopping)
        run->status = status;
    run->stopping = true;
    loop_timer_stop(&run->edge.restart);
    loop_timer_stop(&run->manager.restart);
    if (run->edge.pid > 0)
        signal_child(&run->edge, SIGTERM);
    else
        signal_child(&run->manager, SIGTERM);
    stop_if_done(run);
}

static void
on_restart(void *ctx)
{
    start_child(ctx);
}

static void
close_ready(struct child *child)
{
    if (child->ready_open)
        loop_close(&child->ready, NULL, NULL);
    child->ready_open = false;
}

static void
on_exit_of_child(void *ctx, pid_t pid, int exit_code, int exit_signal)
{
    struct child *child = ctx;
    struct run *run = child->run;
    (void)pid; /* the child's */
    child->pid = 0;
    close_ready(child);
    if (run->stopping) {
        signal_child(&run->manager, SIGTERM);
        stop_if_done(run);
        return;
    }
    if (!child->was_ready) {
        stop_all(run, exit_code > 0 ? exit_code : CLI_FAILED);
        return;
    }
    int64_t stood_us = loop_now_us(run->loop) - child->started_us;
    if (stood_us > RESTART_MAX_US || child->pause_us == 0)
        child->pause_us = RESTART_MIN_US;
    else if (child->pause_us < RESTART_MAX_US)
        child->pause_us *= 2;
    fr_log(FR_LOG_ERROR, "run", "child ended, starting it again", FR_S("role", child->role),
           FR_I("exit_code", exit_code), FR_I("signal", exit_signal),
           FR_F("after_s", (double)child->pause_us / 1e6));
    loop_timer_start(run->loop, &child->restart, child->pause_us, on_restart, child);
}

static void
on_ready(void *ctx, struct loop_buf *buf, int status)
{
    struct child *child = ctx;
    loop_buf_give_back(buf);
    close_ready(child);
    if (status <= 0)
        return; /* it ended: on_exit_of_child tells */
    bool first = !child->was_ready;
    child->was_ready = true;
    fr_log(FR_LOG_INFO, "run", "child ready", FR_S("role", child->role),
           FR_I("pid", child->pid));
    if (first && child == &child->run->manager && child->run->edge.pid == 0 &&
        !child->run->stopping)
        start_child(&child->run->edge);
}

/* In the child: signals as they were before the loop took them, dead with its parent. */
__attribute__((noreturn)) static void
become(const struct child *child, int ready_fd, pid_t parent)
{
    const struct run *run = child->run;
    char fd_text[16];
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail with these arguments */
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(CLI_FAILED); /* the parent died before prctl */
    (void)snprintf(fd_text, sizeof(fd_text), "%d", ready_fd);
    (void)fcntl(ready_fd, F_SETFD, 0);
    (void)fcntl(run->children_lock_fd, F_SETFD, 0); /* held until the child ends, however it does */
    execl("/proc/self/exe", "freshet", child->role, "--under-run", "-c", run->file, "--ready-fd",
          fd_text, "--log-format", run->log_format, "--log-level", run->log_level, (char *)NULL);
    _exit(CLI_FAILED);
}

static void
start_child(struct child *child)
{
    struct run *run = child->run;
    int pair[2];
    pid_t parent = getpid();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        fr_log(FR_LOG_ERROR, "run", "no socket pair", FR_S("why", strerror(errno)));
        stop_all(run, CLI_FAILED);
        return;
    }
    pid_t pid = fork();
    if (pid == 0)
        become(child, pair[1], parent);
    (void)close(pair[1]); /* the child's end */
    if (pid < 0 || fcntl(pair[0], F_SETFL, O_NONBLOCK) != 0) {
        fr_log(FR_LOG_ERROR, "run", "no process", FR_S("why", strerror(errno)));
        (void)close(pair[0]);
        stop_all(run, CLI_FAILED);
        return;
    }
    child->pid = pid;
    child->started_us = loop_now_us(run->loop);
    if (loop_process_watch(run->loop, &child->process, pid, on_exit_of_child, child) != FR_OK)
        stop_all(run, CLI_FAILED);
    loop_sock_open(&child->ready, run->loop, pair[0]);
    child->ready_open = true;
    loop_recv(&child->ready, on_ready, child);
}

static void
on_signal(void *ctx, int signal_number)
{
    struct run *run = ctx;
    if (signal_number == SIGHUP) {
        signal_child(&run->edge, SIGHUP);
        signal_child(&run->manager, SIGHUP);
        return;
    }
    if (signal_number == SIGUSR1) {
        signal_child(&run->edge, SIGUSR1); /* the manager has no log of requests */
        return;
    }
    if (run->stopping) {
        signal_child(&run->edge, SIGTERM); /* their second one: they stop now */
        signal_child(&run->manager, SIGTERM);
        return;
    }
    stop_all(run, CLI_DONE);
}

static enum fr_err
run_children(struct run *run)
{
    enum fr_err err = loop_new(NULL, &run->loop);
    if (err == FR_OK)
        err = loop_signal(run->loop, SIGTERM, on_signal, run);
    if (err == FR_OK)
        err = loop_signal(run->loop, SIGINT, on_signal, run);
    if (err == FR_OK)
        err = loop_signal(run->loop, SIGHUP, on_signal, run);
    if (err == FR_OK)
        err = loop_signal(run->loop, SIGUSR1, on_signal, run);
    if (err != FR_OK)
        return err;
    run->manager = (struct child){.run = run, .role = "manager"};
    run->edge = (struct child){.run = run, .role = "edge"};
    start_child(&run->manager);
    err = loop_run(run->loop);
    loop_free(&run->loop);
    return err;
}

int
cli_run(int argc, char **argv)
{
    struct run run = {.file = CLI_FILE_DEFAULT, .log_format = "auto", .log_level = "info"};
    bool test = false;
    int operands = 0;
    const struct cli_option options[] = {
        {"--config", "-c", .text = &run.file, .words = "the configuration file (freshet.yaml)"},
        {"--test", "-t", .flag = &test, .words = "only check the file"},
        {"--log-format", NULL, .text = &run.log_format, .words = "human, json or auto"},
        {"--log-level", NULL, .text = &run.log_level, .words = "debug, info, warn or error"},
        {.name = NULL},
    };
    int status = cli_options(argc, argv, options, &operands);
    if (status != CLI_DONE)
        return status;
    if (operands > 0)
        return cli_usage("run", "unexpected: %s", argv[1]);
    if (!cli_log_options("run", run.log_format, run.log_level))
        return CLI_USAGE;
    struct config *config = cli_load(run.file, CONFIG_ROLE_RUN, &status);
    if (config == NULL)
        return status;
    if (test)
        printf("%s: fine\n", run.file);
    bool locked = !test && cli_run_lock(config->state, &run.lock_fd, &run.children_lock_fd);
    config_free(&config);
    if (!locked)
        return test ? CLI_DONE : CLI_FAILED;
    enum fr_err err = run_children(&run);
    (void)close(run.children_lock_fd);
    (void)close(run.lock_fd);
    if (err != FR_OK)
        fr_log(FR_LOG_ERROR, "run", "not started", FR_S("why", fr_err_words(err)));
    return err != FR_OK ? CLI_FAILED : run.status;
}
