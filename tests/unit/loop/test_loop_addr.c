/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_loop_addr.c - addresses from text and back.
 */
#include "loop/loop_addr.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void
test_good(void **state)
{
    static const struct {
        const char *text, *canonical, *host;
        int port;
        bool local;
    } rows[] = {
        {"127.0.0.1:80", "127.0.0.1:80", "127.0.0.1", 80, true},
        {"10.0.0.7:65535", "10.0.0.7:65535", "10.0.0.7", 65535, false},
        {"0.0.0.0:0", "0.0.0.0:0", "0.0.0.0", 0, false},
        {"[::1]:8080", "[::1]:8080", "::1", 8080, true},
        {"[2001:DB8:0:0::5]:1", "[2001:db8::5]:1", "2001:db8::5", 1, false},
        {"[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:1", "::ffff:127.0.0.1", 1, true},
        {":8080", ":8080", "::", 8080, false},
        {"[::]:8080", ":8080", "::", 8080, false},
        {"unix:./state/admin.sock", "unix:./state/admin.sock", "unix:", 0, true},
        {"unix:/a:80", "unix:/a:80", "unix:", 0, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct loop_addr addr, again;
        char text[LOOP_ADDR_TEXT_BYTES];
        assert_int_equal(loop_addr_parse(fr_view_of(rows[i].text), &addr), FR_OK);
        loop_addr_format(&addr, text);
        assert_string_equal(text, rows[i].canonical);
        assert_int_equal(loop_addr_parse(fr_view_of(text), &again), FR_OK);
        assert_true(loop_addr_equal(&addr, &again));
        loop_addr_format_host(&addr, text);
        assert_string_equal(text, rows[i].host);
        assert_int_equal(loop_addr_port(&addr), rows[i].port);
        assert_int_equal(loop_addr_is_local(&addr), rows[i].local);
    }
}

static void
test_bad(void **state)
{
    static const char *const rows[] = {
        "", ":", "80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:123456",
        "127.0.0.1:-1", "127.0.0.1:+1", "127.0.0.1: 80", "127.0.0.1:8x", "256.0.0.1:80",
        "1.2.3:80", "1.2.3.4.5:80", "::1:80", "[::1]", "[::1:80", "::1]:80", "[]:80", "[:::1]:80",
        "[127.0.0.1]:80", "[fe80::1%lo]:80", "-a:80", "a..b:80", ".a:80", "a b:80", "a/b:80",
        "http://a:80", "a.1:80", "unix:", " :80", "ex\xc3\xa4mple:80",
    };
    char long_path[140] = "unix:";
    struct loop_addr addr;
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (loop_addr_parse(fr_view_of(rows[i]), &addr) != FR_ERR_SYNTAX)
            fail_msg("accepted: \"%s\"", rows[i]);
    assert_int_equal(loop_addr_parse(FR_VIEW("127.0.0.1\0:80"), &addr), FR_ERR_SYNTAX);
    assert_int_equal(loop_addr_parse(FR_VIEW("unix:/a\0b"), &addr), FR_ERR_SYNTAX);
    memset(long_path + 5, 'p', 107);
    assert_int_equal(loop_addr_parse(fr_view_of(long_path), &addr), FR_OK);
    memset(long_path + 5, 'p', 108);
    assert_int_equal(loop_addr_parse(fr_view_of(long_path), &addr), FR_ERR_SYNTAX);
}

static void
test_names(void **state)
{
    static const char *const rows[] = {"localhost:80", "a-b.example.com:1", "x_y:1", "1a:80",
                                       "example.com.:80"};
    struct loop_addr addr;
    char text[LOOP_ADDR_TEXT_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(loop_addr_parse(fr_view_of(rows[i]), &addr), FR_ERR_RESOLVE);
    assert_int_equal(loop_addr_resolve(FR_VIEW("localhost:80"), &addr), FR_OK);
    assert_true(loop_addr_is_local(&addr));
    assert_int_equal(loop_addr_port(&addr), 80);
    assert_int_equal(loop_addr_resolve(FR_VIEW("127.0.0.2:81"), &addr), FR_OK);
    loop_addr_format(&addr, text);
    assert_string_equal(text, "127.0.0.2:81");
    assert_int_equal(loop_addr_resolve(FR_VIEW("a..b:81"), &addr), FR_ERR_SYNTAX);
}

static void
test_equal(void **state)
{
    static const char *const rows[] = {"127.0.0.1:80", "127.0.0.1:81", "127.0.0.2:80", "[::1]:80",
                                       "[::2]:80",     "[::1]:81",     "unix:/a",      "unix:/ab"};
    enum { COUNT = 8 };
    struct loop_addr addrs[COUNT], none = {0};
    char text[LOOP_ADDR_TEXT_BYTES];
    (void)state;
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(loop_addr_parse(fr_view_of(rows[i]), &addrs[i]), FR_OK);
    for (int i = 0; i < COUNT; i++) {
        for (int j = 0; j < COUNT; j++)
            assert_int_equal(loop_addr_equal(&addrs[i], &addrs[j]), i == j);
        assert_false(loop_addr_equal(&addrs[i], &none));
    }
    loop_addr_format(&none, text);
    assert_string_equal(text, "-");
    loop_addr_format_host(&none, text);
    assert_string_equal(text, "-");
    assert_false(loop_addr_is_local(&none));
    /* A peer without a name, as accept gives it. */
    struct loop_addr unnamed = {.len = sizeof(sa_family_t)};
    unnamed.sa.any.sa_family = AF_UNIX;
    loop_addr_format(&unnamed, text);
    assert_string_equal(text, "unix:");
}

static void
test_hosts(void **state)
{
    static const char *const rows[][2] = {
        {"192.0.2.1", "192.0.2.1:0"},        {"192.0.2.1:80", "192.0.2.1:80"},
        {"2001:db8::1", "[2001:db8::1]:0"},  {"[2001:db8::1]", "[2001:db8::1]:0"},
        {"[::1]:65535", "[::1]:65535"},
    };
    static const char *const bad[] = {
        "",      "unknown",  "_hidden", ":80",       "unix:/x", "[192.0.2.1]", "192.0.2.1:",
        "[::1]:", "192.0.2", "::1]",    "localhost", " ::1",    "192.0.2.1:x", "[]",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct loop_addr addr, again;
        char text[LOOP_ADDR_TEXT_BYTES];
        uint8_t bytes[16];
        assert_int_equal(loop_addr_parse_host(fr_view_of(rows[i][0]), &addr), FR_OK);
        loop_addr_format(&addr, text);
        assert_string_equal(text, rows[i][1]);
        int family = loop_addr_bytes(&addr, bytes);
        loop_addr_make(bytes, family == AF_INET ? 4 : 16, (uint16_t)loop_addr_port(&addr), &again);
        assert_true(loop_addr_equal(&addr, &again));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct loop_addr addr;
        if (loop_addr_parse_host(fr_view_of(bad[i]), &addr) != FR_ERR_SYNTAX)
            fail_msg("taken: %s", bad[i]);
    }
}

static void
test_unmap(void **state)
{
    static const char *const rows[][2] = {
        {"[::ffff:127.0.0.1]:1", "127.0.0.1:1"},
        {"[::1]:1", "[::1]:1"},
        {"127.0.0.1:1", "127.0.0.1:1"},
        {"unix:/x", "unix:/x"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct loop_addr addr;
        char text[LOOP_ADDR_TEXT_BYTES];
        assert_int_equal(loop_addr_parse(fr_view_of(rows[i][0]), &addr), FR_OK);
        loop_addr_unmap(&addr);
        loop_addr_format(&addr, text);
        assert_string_equal(text, rows[i][1]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_unmap),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
