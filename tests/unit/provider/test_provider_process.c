/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_provider_process.c - real processes: started, watched, adopted, stopped, and their orphans.
 */
#include "provider/provider_priv.h"
#include "provider/provider_proc.h"

#include "base/fr_file.h"
#include "base/fr_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const struct provider_ops *const ops = &provider_process_ops;

struct fixture {
    char folder[64];
    struct loop *loop;
    struct config_pool *pool;
    struct provider *provider;
    struct provider_server server;
    unsigned started, stopped, died;
    enum fr_err err;
    char why[1024];
    const char *taken; /* one address */
    const char *known; /* one id */
    struct loop_timer guard;
};

static void
on_started(void *ctx, struct provider_server *server, enum fr_err err, const char *why)
{
    struct fixture *fix = ctx;
    assert_ptr_equal(server, &fix->server);
    fix->started++;
    fix->err = err;
    (void)fr_view_copy(fr_view_of(why), fix->why, sizeof(fix->why));
    loop_stop(fix->loop);
}

static void
on_stopped(void *ctx, struct provider_server *server)
{
    struct fixture *fix = ctx;
    assert_null(server->handle);
    fix->stopped++;
    loop_stop(fix->loop);
}

static void
on_died(void *ctx, struct provider_server *server, const char *why)
{
    struct fixture *fix = ctx;
    assert_null(server->handle);
    fix->died++;
    (void)fr_view_copy(fr_view_of(why), fix->why, sizeof(fix->why));
    loop_stop(fix->loop);
}

static void
on_guard(void *ctx)
{
    (void)ctx;
    fail_msg("nothing happened for twenty seconds");
}

static bool
is_taken(void *ctx, const char *address)
{
    const struct fixture *fix = ctx;
    return fix->taken && strcmp(fix->taken, address) == 0;
}

static bool
is_known(void *ctx, const char *id)
{
    const struct fixture *fix = ctx;
    return fix->known && strcmp(fix->known, id) == 0;
}

static void
provider_start(struct fixture *fix)
{
    struct provider_events events = {on_started, on_stopped, on_died, fix};
    assert_int_equal(ops->init(fix->pool, fix->loop, &events, fix->folder, &fix->provider), FR_OK);
}

static void
command_set(struct fixture *fix, const char *script)
{
    const char *words[] = {"/bin/sh", "-c", script, "{id}", "{port}", "{cluster}", "{pool}{x}{"};
    size_t count = sizeof(words) / sizeof(words[0]);
    fix->pool->command = fr_xalloc((count + 1) * sizeof(char *));
    for (size_t i = 0; i < count; i++)
        fix->pool->command[i] = fr_xstrdup(words[i]);
    fix->pool->command_count = count;
}

static void
fixture_start(struct fixture *fix, const char *script)
{
    memset(fix, 0, sizeof(*fix));
    (void)snprintf(fix->folder, sizeof(fix->folder), "/tmp/freshet-test-XXXXXX");
    assert_non_null(mkdtemp(fix->folder));
    assert_int_equal(loop_new(NULL, &fix->loop), FR_OK);
    fix->pool = config_pool_new(FR_VIEW("local"));
    fix->pool->provider = fr_xstrdup("process");
    (void)snprintf(fix->pool->host, sizeof(fix->pool->host), "127.0.0.1");
    fix->pool->port_first = 20001;
    fix->pool->port_last = 20003;
    fix->pool->stop_timeout_us = 5000000;
    command_set(fix, script);
    provider_start(fix);
    (void)snprintf(fix->server.id, sizeof(fix->server.id), "local-1");
    (void)snprintf(fix->server.cluster, sizeof(fix->server.cluster), "api");
    loop_timer_start(fix->loop, &fix->guard, 20000000, on_guard, NULL);
}

static void
fixture_end(struct fixture *fix)
{
    char command[128];
    ops->fini(&fix->provider, false);
    assert_null(fix->provider);
    loop_timer_stop(&fix->guard);
    loop_free(&fix->loop);
    config_pool_unref(&fix->pool);
    (void)snprintf(command, sizeof(command), "rm -rf %s", fix->folder);
    assert_int_equal(system(command), 0);
}

static void
server_start(struct fixture *fix)
{
    assert_int_equal(ops->choose(fix->provider, FR_VIEW(""), is_taken, fix, &fix->server), FR_OK);
    ops->start(fix->provider, &fix->server);
    assert_int_equal(fix->started, 0); /* never from inside the call */
    assert_int_equal(loop_run(fix->loop), FR_OK);
    assert_int_equal(fix->started, 1);
}

static bool
runs(pid_t pid)
{
    struct provider_proc proc;
    return provider_proc_read(pid, &proc);
}

static void
log_read(struct fixture *fix, struct fr_buf *buf)
{
    char path[128];
    fr_buf_init(buf, 1 << 24);
    (void)snprintf(path, sizeof(path), "%s/log/local-1.log", fix->folder);
    assert_int_equal(fr_file_read(path, buf, NULL), FR_OK);
}

/* The process id that the server has written as its first line. */
static pid_t
child_read(struct fixture *fix)
{
    struct fr_buf log;
    while (ops->last_words(fix->provider, &fix->server)[0] == 0)
        (void)usleep(1000);
    log_read(fix, &log);
    pid_t child = (pid_t)strtol(log.data, NULL, 10);
    fr_buf_fini(&log);
    assert_true(runs(child));
    return child;
}

static void
assert_gone(pid_t pid)
{
    for (int i = 0; runs(pid) && i < 5000; i++)
        (void)usleep(1000); /* the kernel takes it down by itself */
    assert_false(runs(pid));
}

static void
starts_with_its_words_filled_in(void **state)
{
    (void)state;
    struct fixture fix;
    struct fr_buf log;
    fixture_start(&fix, "echo \"$0 $1 $2 $3 $FRESHET_SERVER\"; exit 7");
    server_start(&fix);
    if (!fix.died && !fix.err)
        assert_int_equal(loop_run(fix.loop), FR_OK);
    log_read(&fix, &log);
    struct fr_view line = fr_buf_view(&log);
    char expected[64];
    (void)snprintf(expected, sizeof(expected), "local-1 %d api local{x}{ ",
                   loop_addr_port(&fix.server.addr));
    assert_true(fr_view_starts(line, fr_view_of(expected)));
    assert_non_null(strstr(log.data, "/local/local-1\n"));
    /* However early it ended, the words say how, and what it said last. */
    char *words = strstr(fix.why, "exited with status 7; last log line: local-1 ");
    assert_ptr_equal(words, fix.why);
    fr_buf_fini(&log);
    fixture_end(&fix);
}

static void
failure_to_exec_is_told(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_start(&fix, "");
    fr_free(fix.pool->command[0]);
    fix.pool->command[0] = fr_xstrdup("/no/such/program");
    server_start(&fix);
    assert_int_equal(fix.err, FR_ERR_PROVIDER);
    assert_string_equal(fix.why, "/no/such/program: No such file or directory");
    assert_null(fix.server.handle);
    assert_int_equal(fix.server.pid, 0);
    fixture_end(&fix);
}

static void
stop_reaches_the_whole_session(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_start(&fix, "sleep 1000 & echo $!; wait");
    server_start(&fix);
    assert_int_equal(fix.err, FR_OK);
    pid_t pid = (pid_t)fix.server.pid;
    assert_true(runs(pid));
    assert_int_equal(getsid(pid), pid);
    pid_t child = child_read(&fix);
    ops->stop(fix.provider, &fix.server);
    assert_int_equal(fix.stopped, 0);
    assert_int_equal(loop_run(fix.loop), FR_OK);
    assert_int_equal(fix.stopped, 1);
    assert_int_equal(fix.died, 0);
    assert_false(runs(pid));
    assert_gone(child);
    fixture_end(&fix);
}

static void
stop_kills_what_does_not_listen(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_start(&fix, "trap '' TERM; echo ready; while :; do sleep 0.05; done");
    fix.pool->stop_timeout_us = 50000;
    server_start(&fix);
    pid_t pid = (pid_t)fix.server.pid;
    while (strcmp(ops->last_words(fix.provider, &fix.server), "ready") != 0)
        (void)usleep(1000); /* its trap is set from then on */
    ops->stop(fix.provider, &fix.server);
    assert_int_equal(loop_run(fix.loop), FR_OK);
    assert_int_equal(fix.stopped, 1);
    assert_false(runs(pid));
    fixture_end(&fix);
}

static void
death_is_told_and_leftovers_go(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_start(&fix, "sleep 1000 & echo $!; wait");
    server_start(&fix);
    pid_t child = child_read(&fix);
    assert_int_equal(kill((pid_t)fix.server.pid, SIGKILL), 0);
    assert_int_equal(loop_run(fix.loop), FR_OK);
    assert_int_equal(fix.died, 1);
    assert_ptr_equal(strstr(fix.why, "killed by signal 9 (Killed); last log line: "), fix.why);
    assert_gone(child);
    fixture_end(&fix);
}

static void
choose_skips_the_taken_and_the_strangers(void **state)
{
    (void)state;
    struct fixture fix;
    struct loop_addr addr;
    int fd = -1, first = 20001;
    fixture_start(&fix, "");
    /* A stranger on a port of the kernel's choice, and a range that begins there. */
    assert_int_equal(loop_addr_parse(FR_VIEW("127.0.0.1:0"), &addr), FR_OK);
    assert_int_equal(loop_bind(&addr, false, &fd, NULL), FR_OK);
    assert_int_equal(listen(fd, 1), 0);
    socklen_t len = sizeof(addr.sa);
    assert_int_equal(getsockname(fd, &addr.sa.any, &len), 0);
    addr.len = len;
    first = loop_addr_port(&addr);
    fix.pool->port_first = (uint16_t)first;
    fix.pool->port_last = (uint16_t)first;
    assert_int_equal(ops->choose(fix.provider, FR_VIEW(""), is_taken, &fix, &fix.server),
                     FR_ERR_POOL_EMPTY);
    close(fd);
    assert_int_equal(ops->choose(fix.provider, FR_VIEW(""), is_taken, &fix, &fix.server), FR_OK);
    assert_int_equal(loop_addr_port(&fix.server.addr), first);
    assert_int_equal(ops->available(fix.provider, is_taken, &fix), 1);
    fix.taken = fix.server.address;
    assert_int_equal(ops->choose(fix.provider, FR_VIEW(""), is_taken, &fix, &fix.server),
                     FR_ERR_POOL_EMPTY);
    assert_int_equal(ops->available(fix.provider, is_taken, &fix), 0);
    assert_int_equal(ops->choose(fix.provider, FR_VIEW("127.0.0.1:1"), is_taken, &fix, &fix.server),
                     FR_ERR_NOT_FOUND);
    assert_null(ops->list(fix.provider, is_taken, &fix));
    fixture_end(&fix);
}

/* Another life: the first provider forgets its servers, and a second one comes. */
static void
another_life(struct fixture *fix)
{
    ops->fini(&fix->provider, true);
    provider_start(fix);
}

static void
adopts_by_pid_and_by_marker(void **state)
{
    (void)state;
    for (int lost = 0; lost < 2; lost++) {
        struct fixture fix;
        fixture_start(&fix, "exec sleep 1000");
        server_start(&fix);
        int64_t pid = fix.server.pid;
        uint64_t started = fix.server.started;
        another_life(&fix);
        assert_true(runs((pid_t)pid));
        if (lost) /* the ledger did not know it yet */
            fix.server.pid = 0;
        assert_int_equal(ops->adopt(fix.provider, &fix.server), FR_OK);
        assert_int_equal(fix.server.pid, pid);
        assert_int_equal(fix.server.started, started);
        ops->stop(fix.provider, &fix.server);
        assert_int_equal(loop_run(fix.loop), FR_OK);
        assert_int_equal(fix.stopped, 1);
        assert_false(runs((pid_t)pid));
        fixture_end(&fix);
    }
}

static void
adopts_no_stranger(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_start(&fix, "");
    fix.server.pid = getpid(); /* a process id that was used again */
    assert_int_equal(ops->adopt(fix.provider, &fix.server), FR_ERR_NOT_FOUND);
    assert_null(fix.server.handle);
    ops->stop(fix.provider, &fix.server); /* of what does not run: told all the same */
    assert_int_equal(loop_run(fix.loop), FR_OK);
    assert_int_equal(fix.stopped, 1);
    fixture_end(&fix);
}

static void
orphans_are_stopped_and_others_left(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_start(&fix, "exec sleep 1000");
    server_start(&fix);
    pid_t pid = (pid_t)fix.server.pid;
    another_life(&fix);
    fix.known = "local-1";
    assert_int_equal(ops->stop_orphans(fix.provider, is_known, &fix), 0);
    assert_true(runs(pid));
    fix.known = "local-11";
    assert_int_equal(ops->stop_orphans(fix.provider, is_known, &fix), 1);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(ops->stop_orphans(fix.provider, is_known, &fix), 0);
    fixture_end(&fix);
}

static void
stop_before_started_is_told(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_start(&fix, "exec sleep 1000");
    assert_int_equal(ops->choose(fix.provider, FR_VIEW(""), is_taken, &fix, &fix.server), FR_OK);
    ops->start(fix.provider, &fix.server);
    ops->stop(fix.provider, &fix.server);
    assert_int_equal(loop_run(fix.loop), FR_OK);
    assert_int_equal(fix.stopped, 1);
    assert_int_equal(fix.started, 0);
    fixture_end(&fix);
}

static void
fini_stops_what_runs(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_start(&fix, "exec sleep 1000");
    server_start(&fix);
    pid_t pid = (pid_t)fix.server.pid;
    ops->fini(&fix.provider, false);
    assert_false(runs(pid));
    provider_start(&fix);
    fixture_end(&fix);
}

static void
log_is_emptied_when_large(void **state)
{
    (void)state;
    struct fixture fix;
    char path[128];
    fixture_start(&fix, "echo new; exec sleep 1000");
    (void)snprintf(path, sizeof(path), "%s/log/local-1.log", fix.folder);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(ftruncate(fd, (8 << 20) + 1), 0);
    close(fd);
    server_start(&fix);
    while (strcmp(ops->last_words(fix.provider, &fix.server), "new") != 0)
        (void)usleep(1000);
    struct fr_buf log;
    log_read(&fix, &log);
    assert_string_equal(log.data, "new\n");
    fr_buf_fini(&log);
    fixture_end(&fix);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_with_its_words_filled_in),
        cmocka_unit_test(failure_to_exec_is_told),
        cmocka_unit_test(stop_reaches_the_whole_session),
        cmocka_unit_test(stop_kills_what_does_not_listen),
        cmocka_unit_test(stop_before_started_is_told),
        cmocka_unit_test(death_is_told_and_leftovers_go),
        cmocka_unit_test(choose_skips_the_taken_and_the_strangers),
        cmocka_unit_test(adopts_by_pid_and_by_marker),
        cmocka_unit_test(adopts_no_stranger),
        cmocka_unit_test(orphans_are_stopped_and_others_left),
        cmocka_unit_test(fini_stops_what_runs),
        cmocka_unit_test(log_is_emptied_when_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
