/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_config_check.c - every mistake is told with its place, what was found and what was expected.
 *
 * The texts of config_error_rows.def are exact: line and column included.
 */
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* A file without a mistake; most rows add one. */
#define LISTEN "listen: 127.0.0.1:8080\n"
#define ROUTES "routes: [{ cluster: web }]\n"
#define BASE LISTEN ROUTES "clusters: { web: { members: [\"127.0.0.1:9000\"] } }\n"

struct row {
    enum config_role role;
    const char *text;
    const char *error; /* behind "freshet.yaml:" */
};

static const struct row rows[] = {
#include "config_error_rows.def"
};

static void
print(const struct config_diag *diag, struct fr_buf *out)
{
    fr_buf_init(out, 1 << 20);
    assert_int_equal(config_diag_print(diag, out), FR_OK);
}

/* One mistake gives one message, and no configuration. */
static void
test_each(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct config_diag diag;
        struct config *config = NULL;
        struct fr_buf out;
        char expected[1024];
        config_diag_init(&diag);
        fr_buf_init(&out, 1 << 16);
        assert_int_equal(
            config_parse(fr_view_of(rows[i].text), "freshet.yaml", rows[i].role, &diag, &config),
            FR_ERR_CONFIG);
        assert_null(config);
        assert_int_equal(config_diag_print_first(&diag, &out), FR_OK);
        (void)snprintf(expected, sizeof(expected), "freshet.yaml:%s", rows[i].error);
        assert_string_equal(out.data, expected);
        assert_int_equal(diag.error_count, 1);
        fr_buf_fini(&out);
        config_diag_fini(&diag);
    }
}

/* Several mistakes of several kinds are shown by one run, in order, each with its line. */
static void
test_all_in_one_run(void **state)
{
    (void)state;
    struct config_diag diag;
    struct config *config = NULL;
    struct fr_buf out;
    config_diag_init(&diag);
    assert_int_equal(config_parse(FR_VIEW("listen: 127.0.0.1:8080\n"
                                          "routes:\n"
                                          "  - cluster: wbe\n"
                                          "clusters:\n"
                                          "  web:\n"
                                          "    members: [\"127.0.0.1:9001\"]\n"
                                          "    scale:\n"
                                          "      uper: 0.8\n"
                                          "      from: rack\n"
                                          "  web:\n"
                                          "    members: [\"127.0.0.1:9002\"]\n"
                                          "    timeouts: { idle: 500 }\n"),
                                  "freshet.yaml", CONFIG_ROLE_RUN, &diag, &config),
                     FR_ERR_CONFIG);
    print(&diag, &out);
    assert_string_equal(
        out.data,
        "freshet.yaml:3:14: routes[0].cluster is \"wbe\", which is not a cluster, expected one of "
        "web, web (did you mean \"web\"?)\n"
        "      - cluster: wbe\n"
        "                 ^\n"
        "freshet.yaml:8:7: unknown key \"uper\" in clusters.web.scale, expected one of from, "
        "priority, policy, mode, approval, target, slo, spare, releases, changes, min, max, "
        "schedule, idle, "
        "upper, lower, cooldown, step, relief (did you mean \"upper\"?)\n"
        "          uper: 0.8\n"
        "          ^\n"
        "freshet.yaml:9:13: clusters.web.scale.from is \"rack\", which is not a pool, expected one "
        "in the file\n"
        "          from: rack\n"
        "                ^\n"
        "freshet.yaml:10:3: \"web\" a second time in one mapping, expected every name once (the "
        "first is on line 5)\n"
        "      web:\n"
        "      ^\n"
        "freshet.yaml:12:23: clusters.web.timeouts.idle is \"500\", expected a duration from 1ms "
        "to "
        "1d with its unit (us, ms, s, min, h, d)\n"
        "        timeouts: { idle: 500 }\n"
        "                          ^\n");
    fr_buf_fini(&out);
    config_diag_fini(&diag);
}

static void
test_empty_file_says_what_is_needed(void **state)
{
    (void)state;
    struct config_diag diag;
    struct config *config = NULL;
    struct fr_buf out;
    config_diag_init(&diag);
    assert_int_equal(
        config_parse(FR_VIEW("# nothing\n"), "freshet.yaml", CONFIG_ROLE_EDGE, &diag, &config),
        FR_ERR_CONFIG);
    print(&diag, &out);
    assert_string_equal(
        out.data,
        "freshet.yaml: no listen, expected an address or a list of them: freshet edge needs it\n"
        "freshet.yaml: no routes, expected a list of routes: freshet edge needs it\n"
        "freshet.yaml: no clusters, expected clusters by name: freshet edge needs it\n");
    fr_buf_fini(&out);
    config_diag_fini(&diag);
}

/* Nobody but a manager could fill it: config_error_rows.def has the refusal without one. */
static void
test_manager_fills_an_empty_cluster(void **state)
{
    (void)state;
    struct config_diag diag;
    struct config *config = NULL;
    config_diag_init(&diag);
    assert_int_equal(config_parse(FR_VIEW("manager: { connect: 127.0.0.1:7400 }\n" LISTEN ROUTES
                                          "clusters: { web: { members: [] } }\n"),
                                  "freshet.yaml", CONFIG_ROLE_EDGE, &diag, &config),
                     FR_OK);
    assert_int_equal(config->clusters[0]->member_count, 0);
    config_free(&config);
    config_diag_fini(&diag);
}

/* Warnings are shown, and the file loads. */
static void
test_warnings(void **state)
{
    (void)state;
    struct config_diag diag;
    struct config *config = NULL;
    struct fr_buf out;
    config_diag_init(&diag);
    assert_int_equal(
        config_parse(
            FR_VIEW("listen: { address: \"127.0.0.1:1\", tls: { certificate: ./a, key: ./b } }\n"
                    "routes: [{ cluster: web }]\n"
                    "clusters: { web: { scale: { from: p } } }\n"
                    "pools: { p: { provider: process, command: [./no/such], ports: 1-7 } }\n"),
            "freshet.yaml", CONFIG_ROLE_EDGE, &diag, &config),
        FR_OK);
    assert_true(config->listen[0].tls.enabled);
    assert_int_equal(diag.error_count, 0);
    print(&diag, &out);
    assert_string_equal(
        out.data,
        "freshet.yaml:1:40: warning: listen.tls: ./a: No such file or directory: the listener "
        "stays closed until it is there\n"
        "    listen: { address: \"127.0.0.1:1\", tls: { certificate: ./a, key: ./b } }\n"
        "                                           ^\n"
        "freshet.yaml:3:35: warning: clusters.web.scale.max is 8, but pool p and its own members "
        "make 7, expected a pool that can fill it\n"
        "    clusters: { web: { scale: { from: p } } }\n"
        "                                      ^\n"
        "freshet.yaml:4:44: warning: pools.p.command runs \"./no/such\", which is not there, "
        "expected a program when a server is allocated\n"
        "    pools: { p: { provider: process, command: [./no/such], ports: 1-7 } }\n"
        "                                               ^\n");
    fr_buf_fini(&out);
    config_free(&config);
    config_diag_fini(&diag);
}

static void
test_unreadable_file(void **state)
{
    (void)state;
    struct config_diag diag;
    struct config *config = NULL;
    struct fr_buf out;
    config_diag_init(&diag);
    assert_int_equal(config_load("/nowhere/freshet.yaml", CONFIG_ROLE_RUN, &diag, &config),
                     FR_ERR_CONFIG);
    print(&diag, &out);
    assert_string_equal(out.data,
                        "/nowhere/freshet.yaml: cannot be read: No such file or directory\n");
    fr_buf_fini(&out);
    config_diag_fini(&diag);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_all_in_one_run),
        cmocka_unit_test(test_empty_file_says_what_is_needed),
        cmocka_unit_test(test_manager_fills_an_empty_cluster),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_unreadable_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
