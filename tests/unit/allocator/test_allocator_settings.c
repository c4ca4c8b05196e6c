/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_allocator_settings.c - routes, clusters and pools at run time, reloads, and weights.
 */
#include "allocator_fixture.h"

static struct config_pool *
spare_make(const char *name)
{
    struct config_pool *pool = config_pool_new(fr_view_of(name));
    fr_free(pool->provider);
    pool->provider = fr_xstrdup("static");
    pool->servers = fr_xalloc(sizeof(struct config_member));
    pool->server_count = 1;
    (void)snprintf(pool->servers[0].id, CONFIG_NAME_BYTES, "spare-at");
    pool->servers[0].address = fr_xstrdup("127.0.0.1:77");
    pool->servers[0].weight = 100;
    assert_int_equal(loop_addr_parse(FR_VIEW("127.0.0.1:77"), &pool->servers[0].addr), FR_OK);
    return pool;
}

static bool
until_settings(struct fixture *fix)
{
    return fix->settings >= fix->wanted;
}

static void
settings_told(struct fixture *fix)
{
    fix->wanted = fix->settings + 1;
    fixture_run(fix, until_settings);
}

static void
introduced_used_and_removed(void **state)
{
    (void)state;
    struct fixture fix;
    struct cluster_ledger ledger;
    fixture_make(&fix);
    fixture_open(&fix);
    struct config_pool *spare = spare_make("spare");
    struct config_cluster *extra = config_cluster_new(FR_VIEW("extra"));
    struct config_route *route = config_route_new();
    extra->health.kind = CONFIG_HEALTH_NONE;
    extra->scale.enabled = true;
    extra->scale.min = 0;
    (void)snprintf(extra->scale.from[0], CONFIG_NAME_BYTES, "spare");
    (void)snprintf(route->name, CONFIG_NAME_BYTES, "to-extra");
    (void)snprintf(route->cluster, CONFIG_NAME_BYTES, "extra");
    assert_int_equal(allocator_put_cluster(fix.allocator, extra), FR_ERR_NOT_FOUND); /* its pool */
    assert_int_equal(allocator_put_pool(fix.allocator, spare), FR_OK);
    settings_told(&fix);
    assert_int_equal(allocator_put_route(fix.allocator, route), FR_ERR_NOT_FOUND);
    assert_int_equal(allocator_put_cluster(fix.allocator, extra), FR_OK);
    assert_int_equal(allocator_put_route(fix.allocator, route), FR_OK);
    settings_told(&fix);
    fixture_ledger(&fix, &ledger);
    assert_int_equal(ledger.cluster_count, 1);
    assert_int_equal(ledger.pool_count, 1);
    assert_int_equal(ledger.route_count, 1);
    cluster_ledger_fini(&ledger);
    fixture_allocate(&fix, "extra", 1);
    assert_int_equal(fix.err, FR_OK);
    assert_int_equal(allocator_remove_cluster(fix.allocator, FR_VIEW("extra")), FR_ERR_STATE);
    assert_int_equal(allocator_remove_pool(fix.allocator, FR_VIEW("spare")), FR_ERR_STATE);
    fixture_deallocate(&fix, "spare-1");
    assert_int_equal(fix.err, FR_OK);
    assert_int_equal(allocator_remove_pool(fix.allocator, FR_VIEW("spare")), FR_ERR_STATE);
    assert_int_equal(allocator_remove_route(fix.allocator, FR_VIEW("to-extra"), false), FR_OK);
    assert_int_equal(allocator_remove_route(fix.allocator, FR_VIEW("to-extra"), false),
                     FR_ERR_NOT_FOUND);
    assert_int_equal(allocator_remove_cluster(fix.allocator, FR_VIEW("extra")), FR_OK);
    assert_int_equal(allocator_remove_cluster(fix.allocator, FR_VIEW("extra")), FR_ERR_NOT_FOUND);
    assert_int_equal(allocator_remove_pool(fix.allocator, FR_VIEW("spare")), FR_OK);
    assert_int_equal(allocator_remove_cluster(fix.allocator, FR_VIEW("web")),
                     FR_OK); /* the file's */
    fixture_ledger(&fix, &ledger);
    assert_int_equal(ledger.cluster_count + ledger.pool_count + ledger.route_count, 0);
    assert_int_equal(ledger.removed_route_count, 0); /* the file had none of that name */
    assert_int_equal(ledger.removed_cluster_count, 1);
    assert_string_equal(ledger.removed_clusters[0], "web");
    cluster_ledger_fini(&ledger);
    fixture_allocate(&fix, "web", 1);
    assert_int_equal(fix.err, FR_ERR_NOT_FOUND);
    config_route_unref(&route);
    config_cluster_unref(&extra);
    config_pool_unref(&spare);
    fixture_close(&fix);
}

/* One more could be written, but not read again by the next life. */
static void
pools_beyond_what_a_ledger_holds_are_refused(void **state)
{
    (void)state;
    struct fixture fix;
    struct fr_buf text;
    fixture_make(&fix);
    fr_buf_init(&text, 1 << 20);
    assert_int_equal(fr_buf_printf(&text, "generation: 1\nnew-pools:\n"), FR_OK);
    for (int i = 0; i < CONFIG_POOLS_MAX; i++)
        assert_int_equal(fr_buf_printf(&text,
                                       "  p%d: { provider: static, "
                                       "servers: [\"127.0.0.1:%d\"] }\n",
                                       i, i + 1),
                         FR_OK);
    fixture_file_write(&fix, "ledger.yaml", text.data);
    fixture_open(&fix);
    struct config_pool *more = spare_make("more"), *same = spare_make("p7");
    assert_int_equal(allocator_put_pool(fix.allocator, more), FR_ERR_FULL);
    assert_int_equal(allocator_put_pool(fix.allocator, same), FR_OK); /* replaces */
    assert_int_equal(allocator_remove_pool(fix.allocator, FR_VIEW("p7")), FR_OK);
    assert_int_equal(allocator_put_pool(fix.allocator, more), FR_OK);
    config_pool_unref(&more);
    config_pool_unref(&same);
    fr_buf_fini(&text);
    fixture_close(&fix);
}

static void
unknown_provider_is_refused(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_make(&fix);
    fixture_open(&fix);
    struct config_pool *pool = spare_make("cloud");
    fr_free(pool->provider);
    pool->provider = fr_xstrdup("clouds");
    assert_int_equal(allocator_put_pool(fix.allocator, pool), FR_ERR_CONFIG);
    assert_string_equal(fix.note, "-: pool cloud: provider is \"clouds\", expected one of static, "
                                  "process");
    assert_int_equal(allocator_pool_count(fix.allocator), 2);
    config_pool_unref(&pool);
    /* The kind of a pool can't change under its servers. */
    fixture_allocate(&fix, "api", 1);
    pool = spare_make("local");
    assert_int_equal(allocator_put_pool(fix.allocator, pool), FR_ERR_STATE);
    config_pool_unref(&pool);
    fixture_close(&fix);
}

static bool
until_none(struct fixture *fix)
{
    return fix->allocator->server_count == 0;
}

static void
reload_without_a_pool_keeps_its_servers_till_they_go(void **state)
{
    (void)state;
    struct fixture fix;
    struct allocator_pool pool;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    assert_int_equal(allocator_reload(fix.allocator, &fix.api, 1, &fix.rack, 1), FR_OK);
    assert_int_equal(allocator_pool_count(fix.allocator), 2);
    const void *at = NULL;
    assert_true(allocator_pool_next(fix.allocator, &at, &pool));
    assert_string_equal(pool.name, "local");
    assert_int_equal(pool.available, 0);
    assert_int_equal(pool.allocated, 1);
    fixture_allocate(&fix, "api", 1);
    assert_int_equal(fix.err, FR_ERR_STATE);
    fixture_deallocate(&fix, "local-1");
    assert_int_equal(fix.err, FR_OK);
    assert_int_equal(allocator_pool_count(fix.allocator), 1);
    fixture_close(&fix);
}

static void
reload_without_a_cluster_gives_its_servers_back(void **state)
{
    (void)state;
    struct fixture fix;
    struct config_pool *pools[2];
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    pools[0] = fix.local;
    pools[1] = fix.rack;
    assert_int_equal(allocator_reload(fix.allocator, &fix.web, 1, pools, 2), FR_OK);
    fixture_run(&fix, until_none);
    assert_true(fixture_has_seen(&fix, "leave local-1"));
    fixture_close(&fix);
}

/* What a person says is normal from then on, also after a restart; what the manager says is not. */
static void
a_weight_by_hand_is_the_normal_one(void **state)
{
    (void)state;
    struct fixture fix;
    struct cluster_ledger ledger;
    struct allocator_server server;
    fixture_make(&fix);
    fix.api->members = fr_xalloc(sizeof(struct config_member));
    fix.api->member_count = 1;
    (void)snprintf(fix.api->members[0].id, CONFIG_NAME_BYTES, "api-file");
    fix.api->members[0].address = fr_xstrdup("127.0.0.1:7");
    fix.api->members[0].weight = 100;
    assert_int_equal(loop_addr_parse(FR_VIEW("127.0.0.1:7"), &fix.api->members[0].addr), FR_OK);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    assert_int_equal(allocator_weight_normal(fix.allocator, FR_VIEW("local-1"), 50), FR_OK);
    assert_int_equal(allocator_weight_normal(fix.allocator, FR_VIEW("api-file"), 60), FR_OK);
    assert_int_equal(allocator_weight(fix.allocator, FR_VIEW("local-1"), 30), FR_OK);
    assert_int_equal(allocator_weight(fix.allocator, FR_VIEW("api-file"), 100), FR_OK);
    assert_true(fixture_server(&fix, "local-1", &server));
    assert_int_equal(server.weight, 30);
    assert_int_equal(server.weight_normal, 50);
    allocator_free(&fix.allocator, true);
    fixture_ledger(&fix, &ledger);
    assert_int_equal(ledger.servers[0].weight, 30);
    assert_int_equal(ledger.servers[0].weight_normal, 50);
    assert_int_equal(ledger.weight_count, 1); /* the file's weight, and yet not its normal one */
    assert_int_equal(ledger.weights[0].weight, 100);
    assert_int_equal(ledger.weights[0].weight_normal, 60);
    cluster_ledger_fini(&ledger);
    fixture_open(&fix);
    assert_true(fixture_server(&fix, "local-1", &server));
    assert_int_equal(server.weight_normal, 50);
    assert_int_equal(allocator_weight_normal(fix.allocator, FR_VIEW("api-file"), 100), FR_OK);
    assert_int_equal(allocator_ledger(fix.allocator)->weight_count, 0); /* as the file has it */
    fixture_close(&fix);
}

static void
weights_are_kept_and_told(void **state)
{
    (void)state;
    struct fixture fix;
    struct cluster_ledger ledger;
    fixture_make(&fix);
    fix.api->members = fr_xalloc(sizeof(struct config_member));
    fix.api->member_count = 1;
    (void)snprintf(fix.api->members[0].id, CONFIG_NAME_BYTES, "api-file");
    fix.api->members[0].address = fr_xstrdup("127.0.0.1:7");
    fix.api->members[0].weight = 100;
    assert_int_equal(loop_addr_parse(FR_VIEW("127.0.0.1:7"), &fix.api->members[0].addr), FR_OK);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    assert_int_equal(allocator_weight(fix.allocator, FR_VIEW("local-1"), 30), FR_OK);
    assert_int_equal(allocator_weight(fix.allocator, FR_VIEW("api-file"), 40), FR_OK);
    assert_int_equal(allocator_weight(fix.allocator, FR_VIEW("nobody"), 40), FR_ERR_NOT_FOUND);
    assert_int_equal(allocator_weight(fix.allocator, FR_VIEW("local-1"), 65536), FR_ERR_RANGE);
    assert_true(fixture_has_seen(&fix, "weight local-1 30"));
    assert_true(fixture_has_seen(&fix, "weight api-file 40"));
    fixture_ledger(&fix, &ledger);
    assert_int_equal(ledger.servers[0].weight, 30);
    assert_int_equal(ledger.weight_count, 1);
    assert_int_equal(ledger.weights[0].weight, 40);
    assert_int_equal(ledger.weights[0].weight_normal, CLUSTER_WEIGHT_OF_FILE);
    assert_int_equal(ledger.servers[0].weight_normal, 100);
    cluster_ledger_fini(&ledger);
    assert_int_equal(allocator_weight(fix.allocator, FR_VIEW("api-file"), 100), FR_OK);
    fixture_ledger(&fix, &ledger);
    assert_int_equal(ledger.weight_count, 0); /* as the file has it */
    cluster_ledger_fini(&ledger);
    fixture_close(&fix);
}

/* Asked for again, by a manager that did not hear the answer say: no write to the disk. */
static void
a_weight_that_is_in_force_writes_nothing(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_make(&fix);
    fix.api->members = fr_xalloc(sizeof(struct config_member));
    fix.api->member_count = 1;
    (void)snprintf(fix.api->members[0].id, CONFIG_NAME_BYTES, "api-file");
    fix.api->members[0].address = fr_xstrdup("127.0.0.1:78");
    fix.api->members[0].weight = 100;
    assert_int_equal(loop_addr_parse(FR_VIEW("127.0.0.1:78"), &fix.api->members[0].addr), FR_OK);
    fixture_open(&fix);
    uint64_t before = allocator_ledger(fix.allocator)->generation;
    assert_int_equal(allocator_weight(fix.allocator, FR_VIEW("api-file"), 100), FR_OK);
    assert_int_equal(allocator_ledger(fix.allocator)->generation, before);
    assert_int_equal(fix.seen_count, 0);
    assert_int_equal(allocator_weight(fix.allocator, FR_VIEW("api-file"), 40), FR_OK);
    assert_true(allocator_ledger(fix.allocator)->generation > before);
    assert_true(fixture_has_seen(&fix, "weight api-file 40"));
    before = allocator_ledger(fix.allocator)->generation;
    unsigned seen = fix.seen_count;
    assert_int_equal(allocator_weight(fix.allocator, FR_VIEW("api-file"), 40), FR_OK);
    assert_int_equal(allocator_ledger(fix.allocator)->generation, before);
    assert_int_equal(fix.seen_count, seen);
    /* In force, but not yet what is normal: that is news. */
    assert_int_equal(allocator_weight_normal(fix.allocator, FR_VIEW("api-file"), 40), FR_OK);
    assert_true(allocator_ledger(fix.allocator)->generation > before);
    fixture_close(&fix);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(introduced_used_and_removed),
        cmocka_unit_test(pools_beyond_what_a_ledger_holds_are_refused),
        cmocka_unit_test(unknown_provider_is_refused),
        cmocka_unit_test(reload_without_a_pool_keeps_its_servers_till_they_go),
        cmocka_unit_test(reload_without_a_cluster_gives_its_servers_back),
        cmocka_unit_test(weights_are_kept_and_told),
        cmocka_unit_test(a_weight_by_hand_is_the_normal_one),
        cmocka_unit_test(a_weight_that_is_in_force_writes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
