/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_config_load.c - files that must load, and what they load to.
 */
#include "config/config.h"
#include "config_sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct config *
load(const char *text, enum config_role role, struct config_diag *diag)
{
    struct config *config = NULL;
    config_diag_init(diag);
    enum fr_err err = config_parse(fr_view_of(text), "freshet.yaml", role, diag, &config);
    if (err) {
        struct fr_buf out;
        fr_buf_init(&out, 1 << 20);
        assert_int_equal(config_diag_print(diag, &out), FR_OK);
        fputs(out.data, stderr);
        fr_buf_fini(&out);
    }
    assert_int_equal(err, FR_OK);
    assert_non_null(config);
    return config;
}

static void
test_design_sample(void **state)
{
    (void)state;
    struct config_diag diag;
    struct config *config = load(config_sample, CONFIG_ROLE_RUN, &diag);
    assert_int_equal(config->workers, 2);
    assert_string_equal(config->state, "./state");
    assert_string_equal(config->admin, "unix:./state/admin.sock");
    assert_int_equal(config->manager.listen_count, 1);
    assert_string_equal(config->manager.connect, "unix:./state/manager.sock");
    assert_int_equal(config->listen_count, 2);
    assert_string_equal(config->listen[0].text, "127.0.0.1:8080");
    assert_false(config->listen[0].tls.enabled);
    assert_true(config->listen[1].tls.enabled);
    assert_string_equal(config->listen[1].tls.first.certificate, "cert.pem");
    assert_true(config->cache.enabled);
    assert_int_equal(config->cache.memory_bytes, 256 << 20);
    assert_int_equal(config->cache.object_bytes_max, 8 << 20);
    assert_int_equal(config->route_count, 2);
    assert_string_equal(config->routes[0]->name, "route-1");
    assert_string_equal(config->routes[0]->host, "example.com");
    assert_string_equal(config->routes[0]->path, "/api/");
    assert_string_equal(config->routes[0]->cluster, "api");
    assert_null(config->routes[1]->host);
    assert_int_equal(config->cluster_count, 2);
    const struct config_cluster *web = config_find_cluster(config, FR_VIEW("web"));
    assert_int_equal(web->member_count, 2);
    assert_string_equal(web->members[0].id, "web-127.0.0.1-9001");
    assert_int_equal(web->members[0].weight, 100);
    assert_int_equal(web->members[1].weight, 50);
    assert_false(web->scale.enabled);
    assert_int_equal(web->health.kind, CONFIG_HEALTH_NONE);
    const struct config_cluster *api = config_find_cluster(config, FR_VIEW("api"));
    assert_int_equal(api->health.kind, CONFIG_HEALTH_HTTP);
    assert_int_equal(api->health.interval_us, 2000000);
    assert_int_equal(api->utilization.limit, 64);
    assert_true(api->scale.enabled);
    assert_string_equal(api->scale.from[0], "local");
    assert_true(api->scale.upper.value == 0.8 && api->scale.lower.value == 0.3);
    assert_int_equal(api->scale.relief, CONFIG_RELIEF_WEIGHT | CONFIG_RELIEF_ALLOCATE);
    const struct config_pool *local = config_find_pool(config, FR_VIEW("local"));
    assert_int_equal(local->command_count, 3);
    assert_null(local->command[3]);
    assert_int_equal(local->port_first, 9101);
    assert_int_equal(local->port_last, 9120);
    const struct config_pool *rack = config_find_pool(config, FR_VIEW("rack"));
    assert_int_equal(rack->server_count, 2);
    assert_string_equal(rack->servers[1].id, "rack-10.0.0.6-8080");
    config_free(&config);
    assert_null(config);
    config_diag_fini(&diag);
}

static void
test_three_lines(void **state)
{
    (void)state;
    struct config_diag diag;
    struct config *config = load("listen: 127.0.0.1:8080\n"
                                 "routes: [{ cluster: web }]\n"
                                 "clusters: { web: { members: [\"127.0.0.1:9000\"] } }\n",
                                 CONFIG_ROLE_RUN, &diag);
    assert_int_equal(diag.entry_count, 0);
    assert_int_equal(config->listen_count, 1);
    assert_int_equal(config->clusters[0]->member_count, 1);
    assert_string_equal(config->admin, "unix:./state/admin.sock");
    assert_int_equal(config->manager.listen_count, 1);
    assert_string_equal(config->manager.connect, "unix:./state/manager.sock");
    assert_false(config->cache.enabled);
    config_free(&config);
    config_diag_fini(&diag);
}

static void
test_defaults(void **state)
{
    (void)state;
    struct config *config = config_new_default();
    assert_int_equal(config->limits.head_bytes, 32768);
    assert_int_equal(config->limits.connections, 16384);
    assert_int_equal(config->stream.report_interval_us, 1000000);
    assert_int_equal(config->relief.step_count, 3);
    assert_int_equal(config->relief.steps[2], CONFIG_STEP_SHED);
    assert_true(config_name_valid(fr_view_of(config->id)));
    config_free(&config);
    struct config_cluster *cluster = config_cluster_new(FR_VIEW("web"));
    assert_string_equal(cluster->name, "web");
    assert_int_equal(cluster->timeouts.connect_us, 2000000);
    assert_int_equal(cluster->health.status_min, 200);
    assert_int_equal(cluster->health.status_max, 399);
    assert_true(cluster->utilization.host_cpu);
    struct config_cluster *again = config_cluster_ref(cluster);
    config_cluster_unref(&cluster);
    assert_null(cluster);
    assert_string_equal(again->name, "web");
    config_cluster_unref(&again);
    config_cluster_unref(&again);
    struct config_route *route = config_route_new();
    assert_int_equal(route->stale_us, 60000000);
    assert_int_equal(route->priority, CONFIG_PRIORITY_NORMAL);
    assert_int_equal(route->caching.bypass_lengths, 1u << 22 | 1u << 13 | 1u << 17 | 1u << 14);
    config_route_unref(&route);
    struct config_pool *pool = config_pool_new(FR_VIEW("local"));
    assert_string_equal(pool->host, "127.0.0.1");
    assert_int_equal(pool->restart_max, 3);
    config_pool_unref(&pool);
}

/* What is looked at before the list: the lengths of its names, those from 63 on as one. */
static void
test_bypass_lengths(void **state)
{
    static const char text[] =
        "listen: \"127.0.0.1:8080\"\n"
        "cache: { memory: 1MiB }\n"
        "routes: [{ cluster: web, cache: { bypass-headers: \" abc ,x1234567890123456789012345678901"
        "23456789012345678901234567890123456789\" } }]\n"
        "clusters: { web: { members: [\"127.0.0.1:9000\"] } }\n";
    struct config_diag diag;
    struct config *config = NULL;
    (void)state;
    config_diag_init(&diag);
    assert_int_equal(config_parse(FR_VIEW(text), "f", CONFIG_ROLE_EDGE, &diag, &config), FR_OK);
    assert_true(config->routes[0]->caching.bypass_lengths == (1u << 3 | (uint64_t)1 << 63));
    config_free(&config);
    config_diag_fini(&diag);
}

/* Whom the edge believes, and what it writes down. */
static void
test_trust_and_log(void **state)
{
    static const char text[] =
        "listen: { address: \"127.0.0.1:8080\", proxy-protocol: on, defer-accept: 3s }\n"
        "trusted-proxies: [10.0.0.0/8, \"::1\", \"unix:\"]\n"
        "access-log: { to: a.log, format: json, buffer: 64KiB, facility: local0 }\n"
        "request-id: { make: off, respond: on }\n"
        "traceparent: pass\n"
        "forwarded: [x-forwarded, rfc7239]\n"
        "routes: [{ cluster: web }]\n"
        "clusters: { web: { members: [\"127.0.0.1:9000\"], send-proxy: v2 } }\n";
    struct config_diag diag;
    struct config *config = NULL;
    (void)state;
    config_diag_init(&diag);
    assert_int_equal(config_parse(FR_VIEW(text), "f", CONFIG_ROLE_EDGE, &diag, &config), FR_OK);
    assert_true(config->listen[0].proxy_protocol);
    assert_int_equal(config->listen[0].defer, CONFIG_DEFER_3S);
    assert_int_equal(config->trusted_count, 3);
    assert_int_equal(config->trusted[0].bits, 8);
    assert_int_equal(config->trusted[1].family, AF_INET6);
    assert_int_equal(config->trusted[2].family, AF_UNIX);
    assert_string_equal(config->access_log.to, "a.log");
    assert_int_equal(config->access_log.format, CONFIG_ACCESS_JSON);
    assert_int_equal(config->access_log.buffer_bytes, 65536);
    assert_int_equal(config->access_log.facility, 16);
    assert_string_equal(config->access_log.socket, "/dev/log");
    assert_false(config->request_id.make);
    assert_true(config->request_id.respond);
    assert_int_equal(config->traceparent, CONFIG_TRACE_PASS);
    assert_int_equal(config->forwarded, CONFIG_FORWARDED_X | CONFIG_FORWARDED_RFC7239);
    assert_int_equal(config->clusters[0]->send_proxy, CONFIG_SEND_PROXY_V2);
    config_free(&config);
    config_diag_fini(&diag);
}

static void
test_trust_and_log_by_default(void **state)
{
    static const struct {
        const char *text, *to;
    } rows[] = {{"", NULL},
                {"access-log: off\n", NULL},
                {"access-log: a.log\n", "a.log"},
                {"access-log: { to: off }\n", NULL},
                {"trusted-proxies: []\n", NULL}};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct config_diag diag;
        struct config *config = NULL;
        char text[256];
        (void)snprintf(text, sizeof(text),
                       "listen: \"127.0.0.1:8080\"\nroutes: [{ cluster: web }]\n"
                       "clusters: { web: { members: [\"127.0.0.1:9000\"] } }\n%s",
                       rows[i].text);
        config_diag_init(&diag);
        assert_int_equal(config_parse(fr_view_of(text), "f", CONFIG_ROLE_EDGE, &diag, &config),
                         FR_OK);
        if (rows[i].to)
            assert_string_equal(config->access_log.to, rows[i].to);
        else
            assert_null(config->access_log.to);
        assert_int_equal(config->access_log.format, CONFIG_ACCESS_COMBINED);
        assert_int_equal(config->access_log.buffer_bytes, 1 << 20);
        assert_int_equal(config->access_log.facility, 23);
        assert_int_equal(config->trusted_count, 0);
        assert_true(config->request_id.make);
        assert_false(config->request_id.respond);
        assert_int_equal(config->traceparent, CONFIG_TRACE_MAKE);
        assert_int_equal(config->forwarded, CONFIG_FORWARDED_X);
        assert_int_equal(config->clusters[0]->send_proxy, CONFIG_SEND_PROXY_OFF);
        assert_false(config->listen[0].proxy_protocol);
        assert_int_equal(config->listen[0].defer, CONFIG_DEFER_AUTO);
        config_free(&config);
        config_diag_fini(&diag);
    }
}

/* Who decides where nobody is named: what else is written says what was meant. */
static void
test_policy_that_was_meant(void **state)
{
    static const struct {
        const char *scale;
        enum config_scale_policy policy;
    } rows[] = {
        {"from: p", CONFIG_POLICY_FORECAST},
        {"from: p, min: 2, spare: 1", CONFIG_POLICY_FORECAST},
        {"from: p, upper: 0.9", CONFIG_POLICY_THRESHOLD},
        {"from: p, lower: { for: 1min }", CONFIG_POLICY_THRESHOLD},
        {"from: p, lower: 0.2, target: 0.6", CONFIG_POLICY_THRESHOLD},
        {"from: p, target: 0.6", CONFIG_POLICY_TARGET},
        {"from: p, upper: 0.9, policy: forecast", CONFIG_POLICY_FORECAST},
        {"from: p, target: 0.6, policy: threshold", CONFIG_POLICY_THRESHOLD},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[512];
        struct config_diag diag;
        (void)snprintf(text, sizeof(text),
                       "listen: 127.0.0.1:8080\nroutes: [{ cluster: web }]\n"
                       "clusters: { web: { scale: { %s } } }\n"
                       "pools: { p: { provider: static, servers: [ '127.0.0.1:9' ] } }\n",
                       rows[i].scale);
        struct config *config = load(text, CONFIG_ROLE_RUN, &diag);
        assert_int_equal(config->clusters[0]->scale.policy, rows[i].policy);
        config_free(&config);
        config_diag_fini(&diag);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_design_sample),
        cmocka_unit_test(test_policy_that_was_meant),
        cmocka_unit_test(test_three_lines),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_bypass_lengths),
        cmocka_unit_test(test_trust_and_log),
        cmocka_unit_test(test_trust_and_log_by_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
