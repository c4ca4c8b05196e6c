/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_config_access.c - patterns of names, and lists of clusters.
 */
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void
test_patterns(void **state)
{
    static const struct {
        const char *pattern, *names;
        bool matches;
    } rows[] = {
        {"edge-1", "edge-1", true},      {"edge-1", "edge-10", false},
        {"edge-1", "host edge-1", true}, {"edge-*", "edge-", true},
        {"edge-*", "edge", false},       {"edge-*", "an-edge-1", false},
        {"*", "anything", true},         {"*", "", false},
        {"edge-1", "", false},           {"edge-1", "edge", false},
        {"edge-1 x", "edge-1 x", false}, /* no name has a space */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(config_name_matches(rows[i].pattern, fr_view_of(rows[i].names)),
                         rows[i].matches);
}

static void
test_clusters(void **state)
{
    char web[] = "web", star[] = "*";
    char *one[] = {web, NULL}, *every[] = {star, NULL}, *none[] = {NULL};
    (void)state;
    assert_true(config_names_have(one, FR_VIEW("web"), false));
    assert_false(config_names_have(one, FR_VIEW("web2"), true));
    assert_true(config_names_have(every, FR_VIEW("web2"), false));
    assert_false(config_names_have(none, FR_VIEW("web"), true));
    assert_true(config_names_have(NULL, FR_VIEW("web"), true));
    assert_false(config_names_have(NULL, FR_VIEW("web"), false));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_clusters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
