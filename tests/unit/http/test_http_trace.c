/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http_trace.c - ids, traceparent and Forwarded, good and broken.
 */
#include "http/http_trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

static void
test_request_ids(void **state)
{
    char id[HTTP_REQUEST_ID_BYTES_MAX + 1];
    (void)state;
    memset(id, 'a', sizeof(id));
    assert_true(http_request_id_valid(fr_view_make(id, HTTP_REQUEST_ID_BYTES_MAX)));
    assert_false(http_request_id_valid(fr_view_make(id, sizeof(id))));
    assert_false(http_request_id_valid(FR_VIEW("")));
    assert_true(http_request_id_valid(FR_VIEW("Root=1-67891233-abcdef012345678912345678")));
    assert_true(http_request_id_valid(FR_VIEW("7b44f5a1-0d9d-4a0d-8a55-9e2a3a1b2c3d")));
    for (int c = 0; c < 256; c++) {
        bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    (c && strchr("-_.:=+/@~", c));
        id[3] = (char)c;
        assert_int_equal(http_request_id_valid(fr_view_make(id, 8)), good);
    }
}

static void
test_traceparent(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {"00-" TRACE "-" PARENT "-01", true},
        {"00-" TRACE "-" PARENT "-00", true},
        {"cc-" TRACE "-" PARENT "-01", true},
        {"cc-" TRACE "-" PARENT "-01-what-will-be", true},
        {"cc-" TRACE "-" PARENT "-01.what", false},
        {"00-" TRACE "-" PARENT "-01-more", false},
        {"ff-" TRACE "-" PARENT "-01", false},
        {"00-00000000000000000000000000000000-" PARENT "-01", false},
        {"00-" TRACE "-0000000000000000-01", false},
        {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01", false},
        {"00-" TRACE "-" PARENT "-0", false},
        {"00-" TRACE "-" PARENT "-0g", false},
        {"0-" TRACE "-" PARENT "-010", false},
        {"00_" TRACE "-" PARENT "-01", false},
        {"00-" TRACE "_" PARENT "-01", false},
        {"00-" TRACE "-" PARENT "_01", false},
        {"", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fr_view id = {0};
        if (http_traceparent_valid(fr_view_of(rows[i].text), &id) != rows[i].good)
            fail_msg("%s", rows[i].text);
        if (rows[i].good)
            assert_true(fr_view_is(id, TRACE));
    }
    static const uint64_t dice[][3] = {{0, 0, 0}, {~0ull, ~0ull, ~0ull}, {1, 2, 3}};
    for (size_t i = 0; i < 3; i++) {
        char text[HTTP_TRACEPARENT_BYTES + 1];
        struct fr_view id;
        http_traceparent_make(dice[i], text);
        assert_int_equal(strlen(text), HTTP_TRACEPARENT_BYTES);
        assert_true(http_traceparent_valid(fr_view_of(text), &id));
        assert_string_equal(text + 52, "-00"); /* nobody decided to record it */
    }
}

static void
test_forwarded(void **state)
{
    static const struct {
        const char *text, *node, *proto, *host;
    } good[] = {
        {"for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60", "http", ""},
        {"For=\"[2001:db8:cafe::17]:4711\"", "[2001:db8:cafe::17]:4711", "", ""},
        {"host=\"a.example:81\";for=_hidden;PROTO=https", "_hidden", "https", "a.example:81"},
        {"for=unknown;", "unknown", "", ""},
        {"proto=https", "", "https", ""},
        {";;for=1.2.3.4", "1.2.3.4", "", ""},
        {"secret=\"a;b=c\";for=1.2.3.4", "1.2.3.4", "", ""},
    };
    static const char *const bad[] = {
        "for", "for=", "=1.2.3.4", "for=1.2.3.4;for=5.6.7.8", "for=\"1.2.3.4", "for=1.2.3.4\"",
        "for = 1.2.3.4", "for=[::1]", "for=\"1.2\\.3.4\"", "host=a:80", "for=1.2.3.4;proto",
        "for=1.2.3.4; proto=http", "for=\"a\"b\"", "for=\"a\";host=\"",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct http_forwarded out;
        if (!http_forwarded_read(fr_view_of(good[i].text), &out))
            fail_msg("refused: %s", good[i].text);
        assert_true(fr_view_is(out.node, good[i].node));
        assert_true(fr_view_is(out.proto, good[i].proto));
        assert_true(fr_view_is(out.host, good[i].host));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct http_forwarded out;
        if (http_forwarded_read(fr_view_of(bad[i]), &out))
            fail_msg("taken: %s", bad[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_ids),
        cmocka_unit_test(test_traceparent),
        cmocka_unit_test(test_forwarded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
