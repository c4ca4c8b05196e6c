/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_provider_static.c - a list of addresses: chosen in order, answered in a later moment.
 */
#include "provider/provider_priv.h"

#include "base/fr_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct provider_ops *const ops = &provider_static_ops;

struct fixture {
    struct loop *loop;
    struct config_pool *pool;
    struct provider *provider;
    struct provider_server server;
    unsigned started, stopped;
    const char *taken[2];
};

static void
on_started(void *ctx, struct provider_server *server, enum fr_err err, const char *why)
{
    struct fixture *fix = ctx;
    assert_ptr_equal(server, &fix->server);
    assert_int_equal(err, FR_OK);
    assert_string_equal(why, "");
    fix->started++;
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
    (void)ctx;
    (void)server;
    fail_msg("died: %s", why);
}

static bool
is_taken(void *ctx, const char *address)
{
    const struct fixture *fix = ctx;
    for (size_t i = 0; i < 2; i++)
        if (fix->taken[i] && strcmp(fix->taken[i], address) == 0)
            return true;
    return false;
}

static void
fixture_start(struct fixture *fix)
{
    struct provider_events events = {on_started, on_stopped, on_died, fix};
    static const char *const addresses[] = {"10.0.0.5:8080", "10.0.0.6:8080"};
    memset(fix, 0, sizeof(*fix));
    assert_int_equal(loop_new(NULL, &fix->loop), FR_OK);
    fix->pool = config_pool_new(FR_VIEW("rack"));
    fix->pool->servers = fr_xalloc(2 * sizeof(struct config_member));
    fix->pool->server_count = 2;
    for (size_t i = 0; i < 2; i++) {
        fix->pool->servers[i].address = fr_xstrdup(addresses[i]);
        assert_int_equal(loop_addr_parse(fr_view_of(addresses[i]), &fix->pool->servers[i].addr),
                         FR_OK);
    }
    assert_int_equal(ops->init(fix->pool, fix->loop, &events, "", &fix->provider), FR_OK);
}

static void
fixture_end(struct fixture *fix)
{
    ops->fini(&fix->provider, false);
    assert_null(fix->provider);
    loop_free(&fix->loop);
    config_pool_unref(&fix->pool);
}

static void
chooses_in_order(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_start(&fix);
    struct provider_server *server = &fix.server;
    assert_int_equal(ops->choose(fix.provider, FR_VIEW(""), is_taken, &fix, server), FR_OK);
    assert_string_equal(server->address, "10.0.0.5:8080");
    assert_int_equal(loop_addr_port(&server->addr), 8080);
    fix.taken[0] = "10.0.0.5:8080";
    assert_int_equal(ops->choose(fix.provider, FR_VIEW(""), is_taken, &fix, server), FR_OK);
    assert_string_equal(server->address, "10.0.0.6:8080");
    assert_int_equal(ops->available(fix.provider, is_taken, &fix), 1);
    const char *const *list = ops->list(fix.provider, is_taken, &fix);
    assert_string_equal(list[0], "10.0.0.6:8080");
    assert_null(list[1]);
    fix.taken[1] = "10.0.0.6:8080";
    assert_int_equal(ops->choose(fix.provider, FR_VIEW(""), is_taken, &fix, server),
                     FR_ERR_POOL_EMPTY);
    assert_null(ops->list(fix.provider, is_taken, &fix)[0]);
    fix.taken[1] = NULL;
    assert_int_equal(ops->choose(fix.provider, FR_VIEW("10.0.0.5:8080"), is_taken, &fix, server),
                     FR_ERR_NOT_FOUND);
    assert_int_equal(ops->choose(fix.provider, FR_VIEW("10.0.0.6:8080"), is_taken, &fix, server),
                     FR_OK);
    assert_int_equal(ops->choose(fix.provider, FR_VIEW("10.0.0.6:808"), is_taken, &fix, server),
                     FR_ERR_NOT_FOUND);
    fixture_end(&fix);
}

static void
answers_come_later_and_once(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_start(&fix);
    ops->start(fix.provider, &fix.server);
    assert_int_equal(fix.started, 0);
    assert_int_equal(loop_run(fix.loop), FR_OK);
    assert_int_equal(fix.started, 1);
    ops->stop(fix.provider, &fix.server);
    assert_int_equal(fix.stopped, 0);
    assert_int_equal(loop_run(fix.loop), FR_OK);
    assert_int_equal(fix.stopped, 1);
    /* Stopped before it was told to have started: only the stop is told. */
    ops->start(fix.provider, &fix.server);
    ops->stop(fix.provider, &fix.server);
    assert_int_equal(loop_run(fix.loop), FR_OK);
    assert_int_equal(fix.started, 1);
    assert_int_equal(fix.stopped, 2);
    /* What an earlier life had, and what nobody had. */
    assert_int_equal(ops->adopt(fix.provider, &fix.server), FR_OK);
    ops->stop(fix.provider, &fix.server);
    assert_int_equal(loop_run(fix.loop), FR_OK);
    ops->stop(fix.provider, &fix.server);
    assert_int_equal(loop_run(fix.loop), FR_OK);
    assert_int_equal(fix.stopped, 4);
    fixture_end(&fix);
}

static void
registry_knows_the_names(void **state)
{
    (void)state;
    assert_ptr_equal(provider_find("static"), &provider_static_ops);
    assert_ptr_equal(provider_find("process"), &provider_process_ops);
    assert_null(provider_find("stat"));
    assert_null(provider_find(""));
    assert_string_equal(provider_names(), "static, process");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registry_knows_the_names),
        cmocka_unit_test(chooses_in_order),
        cmocka_unit_test(answers_come_later_and_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
