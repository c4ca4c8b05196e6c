/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cluster_utilization.c - windows, the highest source, freshness, ORCA's texts.
 */
#include "cluster/cluster_utilization.h"

#include "base/fr_mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void
in_flight_is_averaged_over_a_window(void **state)
{
    (void)state;
    struct config_utilization settings = {.limit = 10, .window_us = 100000};
    struct cluster_utilization u = {0};
    assert_true(isnan(cluster_utilization_value(&u, &settings, 0)));
    cluster_utilization_sample(&u, &settings, 5000, 1000);
    assert_true(isnan(cluster_utilization_value(&u, &settings, 1000)));
    cluster_utilization_sample(&u, &settings, 900000, 100999); /* one microsecond short */
    assert_true(isnan(cluster_utilization_value(&u, &settings, 100999)));
    cluster_utilization_sample(&u, &settings, 405000, 101000); /* 4 in flight on average */
    assert_float_equal(cluster_utilization_value(&u, &settings, 101000), 0.4, 1e-9);
    cluster_utilization_sample(&u, &settings, 405000 + 3000000, 301000); /* 15: over 1 is told */
    assert_float_equal(cluster_utilization_value(&u, &settings, 301000), 1.5, 1e-9);
    cluster_utilization_sample(&u, &settings, 1000, 501000); /* never below nothing */
    assert_float_equal(cluster_utilization_value(&u, &settings, 501000), 0, 1e-9);
    settings.limit = 0;
    assert_true(isnan(cluster_utilization_value(&u, &settings, 501000)));
}

static void
the_highest_fresh_source_counts(void **state)
{
    (void)state;
    char check[] = ":9000";
    struct config_utilization settings = {
        .limit = 10, .window_us = 1000, .host_cpu = true, .agent_check = check, .orca = true};
    struct cluster_utilization u = {0};
    int64_t now = 10000000;
    u.host_cpu = 0.5;
    u.host_cpu_at_us = now;
    assert_float_equal(cluster_utilization_value(&u, &settings, now), 0.5, 1e-9);
    u.agent_check = 0.7;
    u.agent_check_at_us = now - 1000000;
    assert_float_equal(cluster_utilization_value(&u, &settings, now), 0.7, 1e-9);
    u.orca = 0.9;
    u.orca_at_us = now;
    assert_float_equal(cluster_utilization_value(&u, &settings, now), 0.9, 1e-9);
    settings.orca = false;
    assert_float_equal(cluster_utilization_value(&u, &settings, now), 0.7, 1e-9);
    int64_t last_fresh = u.agent_check_at_us + CLUSTER_UTILIZATION_FRESH_US;
    assert_float_equal(cluster_utilization_value(&u, &settings, last_fresh), 0.7, 1e-9);
    assert_float_equal(cluster_utilization_value(&u, &settings, last_fresh + 1), 0.5, 1e-9);
    settings.host_cpu = false;
    assert_true(isnan(cluster_utilization_value(&u, &settings, last_fresh + 1)));
    settings.host_cpu = true;
    u.host_cpu = -3;
    assert_float_equal(cluster_utilization_value(&u, &settings, last_fresh + 1), 0, 1e-9);
}

static void
orca_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value; /* < 0: refused */
    } rows[] = {
        {"cpu_utilization=0.3, application_utilization=0.5", 0.5},
        {"TEXT cpu_utilization=0.3,mem_utilization=0.8,rps_fractional=10.0", 0.3},
        {"text application_utilization=0, cpu_utilization=0.25", 0.25},
        {"application_utilization=0", 0},
        {"cpu_utilization:0.4", 0.4},
        {"cpu_utilization=3e-05", 3e-05},
        {"JSON {\"cpu_utilization\": 0.3, \"named_metrics\": {\"application_utilization\": 0.9}}",
         0.3},
        {"{\"cpuUtilization\":0.3,\"applicationUtilization\":1.25}", 1.25},
        {"{\"a\\\"cpu_utilization\":0.7,\"cpu_utilization\":0.1}", 0.1},
        {"{\"cpu_utilization\":0.6", 0.6},
        {"", -1},
        {"TEXT ", -1},
        {"JSON ", -1},
        {"{", -1},
        {"{\"", -1},
        {"{\"cpu_utilization\"", -1},
        {"{\"cpu_utilization\":", -1},
        {"{\"cpu_utilization\":\"0.5\"}", -1},
        {"{\"x\\", -1},
        {"BIN CgQIABAA", -1},
        {"cpu_utilization", -1},
        {"cpu_utilization=", -1},
        {"=0.3", -1},
        {"cpu_utilization=nan", -1},
        {"cpu_utilization=inf", -1},
        {"cpu_utilization=0x1p3", -1},
        {"cpu_utilization=-0.1", -1},
        {"cpu_utilization=1001", -1},
        {"cpu_utilization=1e999", -1},
        {"cpu_utilization=0.3.4", -1},
        {"cpu_utilization=0000000000000000000000000000000000000000000.5", -1},
        {"mem_utilization=0.5", -1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        double value = -7;
        bool ok = cluster_utilization_parse_orca(fr_view_of(rows[i].text), &value);
        if (ok != (rows[i].value >= 0) || (ok && fabs(value - rows[i].value) > 1e-12))
            fail_msg("\"%s\" gave %d, %g", rows[i].text, ok, value);
    }
}

/* Cut at every byte: never past the end (the sanitizer watches), whatever it says. */
static void
orca_cut_anywhere(void **state)
{
    (void)state;
    const char text[] = "JSON {\"cpu_utilization\": 0.3, \"named\": {\"a\\\"\": [1, 2]}, "
                        "\"application_utilization\": 0.5}";
    for (size_t n = 0; n < sizeof(text); n++) {
        char *copy = fr_alloc(n + 1);
        memcpy(copy, text, n);
        double value = -1;
        if (cluster_utilization_parse_orca(fr_view_make(copy, n), &value))
            assert_true(value >= 0 && value <= 1);
        fr_free(copy);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_flight_is_averaged_over_a_window),
        cmocka_unit_test(the_highest_fresh_source_counts),
        cmocka_unit_test(orca_texts),
        cmocka_unit_test(orca_cut_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
