/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http_cookie.c - the pairs of a Cookie field, well-formed or not.
 */
#include "http/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* "[name|value|pair]..." of a field. */
static void
check(const char *field, const char *expected)
{
    char got[256] = "";
    size_t len = 0;
    struct fr_view rest = fr_view_of(field);
    struct http_cookie c;
    while (http_cookie_next(&rest, &c))
        len += (size_t)snprintf(got + len, sizeof(got) - len, "[%.*s|%.*s|%.*s]",
                                FR_VIEW_ARG(c.name), FR_VIEW_ARG(c.value), FR_VIEW_ARG(c.pair));
    assert_string_equal(got, expected);
}

static void
pairs(void **state)
{
    (void)state;
    check("a=1", "[a|1|a=1]");
    check("a=1; b=2", "[a|1|a=1][b|2|b=2]");
    check("a=1;b=2;", "[a|1|a=1][b|2|b=2]");
    check(" a = 1 ;\tb=2 ", "[a|1|a = 1][b|2|b=2]");
    check("a=", "[a||a=]");
    check("a=b=c==", "[a|b=c==|a=b=c==]");
    check("a=\"1 2\"", "[a|\"1 2\"|a=\"1 2\"]");
    check("a=1; a=2", "[a|1|a=1][a|2|a=2]");
    check("A=1", "[A|1|A=1]");
}

static void
junk_is_passed_over(void **state)
{
    (void)state;
    check("", "");
    check(";", "");
    check(" ; ;;", "");
    check("junk", "");
    check("=1", "");
    check("junk; a=1; =2; more", "[a|1|a=1]");
}

static void
found_by_name(void **state)
{
    (void)state;
    static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; b=2; a=3\r\n"
                                  "Accept: c=9\r\ncookie: c=4\r\n\r\n";
    struct http_head head;
    struct http_err err;
    size_t scanned = 0;
    assert_int_equal(
        http_request_parse(fr_view_of(request), &http_limits_default, &scanned, &head, &err),
        HTTP_DONE);
    static const struct {
        const char *name, *value;
    } rows[] = {{"a", "1"}, {"b", "2"}, {"c", "4"}, {"A", NULL}, {"", NULL}, {"1", NULL}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct http_cookie c;
        bool found = http_cookie_find(&head, fr_view_of(rows[i].name), &c);
        assert_int_equal(found, rows[i].value != NULL);
        if (found)
            assert_true(fr_view_eq(c.value, fr_view_of(rows[i].value)));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs),
        cmocka_unit_test(junk_is_passed_over),
        cmocka_unit_test(found_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
