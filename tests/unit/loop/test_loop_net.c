/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_loop_net.c - networks from text, and which addresses lie in them.
 */
#include "loop/loop_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void
test_good(void **state)
{
    static const char *const rows[][2] = {
        {"10.0.0.0/8", "10.0.0.0/8"},         {"192.0.2.1", "192.0.2.1/32"},
        {"0.0.0.0/0", "0.0.0.0/0"},           {"10.1.2.128/25", "10.1.2.128/25"},
        {"2001:DB8::/32", "2001:db8::/32"},   {"::1", "::1/128"},
        {"::/0", "::/0"},                     {"fe80::/10", "fe80::/10"},
        {"unix:", "unix:"},                   {"255.255.255.254/31", "255.255.255.254/31"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct loop_net net;
        char text[LOOP_NET_TEXT_BYTES];
        assert_int_equal(loop_net_parse(fr_view_of(rows[i][0]), &net), FR_OK);
        loop_net_format(&net, text);
        assert_string_equal(text, rows[i][1]);
    }
}

static void
test_bad(void **state)
{
    static const char *const rows[] = {
        "",           "/",         "10.0.0.0/",    "10.0.0.0/33",  "10.0.0.0/-1", "10.0.0.0/08",
        "10.0.0/8",   "10.0.0.0/8/8", "::/129",    "::1/ 8",       "example.com", "unix:/path",
        "10.0.0.0 /8", "[::1]",    "[::1]/128",    "127.0.0.1:80", "unix",        "/8",
    };
    struct loop_net net;
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (loop_net_parse(fr_view_of(rows[i]), &net) != FR_ERR_SYNTAX)
            fail_msg("taken: %s", rows[i]);
    assert_int_equal(loop_net_parse(FR_VIEW("10.0.0.0\0/8"), &net), FR_ERR_SYNTAX);
}

/* "10.0.0.1/8": that address, or that network? */
static void
test_bits_behind_the_prefix(void **state)
{
    struct loop_net net;
    char text[LOOP_NET_TEXT_BYTES];
    (void)state;
    assert_int_equal(loop_net_parse(FR_VIEW("10.0.0.1/8"), &net), FR_ERR_RANGE);
    loop_net_format(&net, text);
    assert_string_equal(text, "10.0.0.0/8");
    assert_int_equal(loop_net_parse(FR_VIEW("10.0.0.129/25"), &net), FR_ERR_RANGE);
    loop_net_format(&net, text);
    assert_string_equal(text, "10.0.0.128/25");
    assert_int_equal(loop_net_parse(FR_VIEW("2001:db8::1/127"), &net), FR_ERR_RANGE);
}

static void
test_have(void **state)
{
    static const struct {
        const char *net, *addr;
        bool in;
    } rows[] = {
        {"10.0.0.0/8", "10.255.255.255:1", true},
        {"10.0.0.0/8", "11.0.0.0:1", false},
        {"10.0.0.0/8", "9.255.255.255:1", false},
        {"10.0.0.0/8", "[::ffff:10.1.1.1]:1", true},
        {"10.0.0.0/8", "[a00::]:1", false},
        {"10.1.2.128/25", "10.1.2.127:1", false},
        {"10.1.2.128/25", "10.1.2.128:1", true},
        {"192.0.2.1", "192.0.2.1:80", true},
        {"192.0.2.1", "192.0.2.0:80", false},
        {"0.0.0.0/0", "8.8.8.8:1", true},
        {"0.0.0.0/0", "[::1]:1", false},
        {"::/0", "[::1]:1", true},
        {"::/0", "8.8.8.8:1", false},
        {"::/0", "[::ffff:8.8.8.8]:1", false},
        {"2001:db8::/33", "[2001:db8:7fff::]:1", true},
        {"2001:db8::/33", "[2001:db8:8000::]:1", false},
        {"unix:", "unix:/x", true},
        {"unix:", "127.0.0.1:1", false},
        {"127.0.0.0/8", "unix:/x", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct loop_net net;
        struct loop_addr addr, none = {0};
        assert_int_equal(loop_net_parse(fr_view_of(rows[i].net), &net), FR_OK);
        assert_int_equal(loop_addr_parse(fr_view_of(rows[i].addr), &addr), FR_OK);
        if (loop_nets_have(&net, 1, &addr) != rows[i].in)
            fail_msg("%s in %s", rows[i].addr, rows[i].net);
        assert_false(loop_nets_have(&net, 0, &addr));
        assert_false(loop_nets_have(&net, 1, &none));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_bits_behind_the_prefix),
        cmocka_unit_test(test_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
