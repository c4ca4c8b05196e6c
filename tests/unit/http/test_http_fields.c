/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http_fields.c - known names, finding fields, lists, directives, hosts, words.
 *
 * Follows:    RFC 9110 sections 5.6, 7.2, 9.2 and 15.
 */
#include "http_help.h"

static struct http_head head;

static void
known_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum http_known known;
    } rows[] = {
#define HTTP_KNOWN_ROW(symbol, text) {text, HTTP_FIELD_##symbol},
#include "http/http_known.def"
#undef HTTP_KNOWN_ROW
    };
    assert_int_equal(sizeof(rows) / sizeof(rows[0]), HTTP_KNOWN_COUNT - 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char name[64];
        size_t len = strlen(rows[i].name);
        assert_int_equal(http_known_of(fr_view_of(rows[i].name)), rows[i].known);
        for (size_t at = 0; at < len; at++)
            name[at] = rows[i].name[at] >= 'a' ? (char)(rows[i].name[at] - 32) : rows[i].name[at];
        assert_int_equal(http_known_of(fr_view_make(name, len)), rows[i].known);
        /* One octet other, one less, one more: nothing is known by a near miss. */
        for (size_t at = 0; at < len; at++) {
            for (int c = 0; c < 256; c++) {
                memcpy(name, rows[i].name, len);
                name[at] = (char)c;
                bool same = (c | 0x20) == rows[i].name[at] && c != '\r';
                enum http_known known = http_known_of(fr_view_make(name, len));
                assert_int_equal(known == rows[i].known, same);
            }
        }
        assert_int_not_equal(http_known_of(fr_view_make(rows[i].name, len - 1)), rows[i].known);
        memcpy(name, rows[i].name, len);
        name[len] = 'x';
        assert_int_not_equal(http_known_of(fr_view_make(name, len + 1)), rows[i].known);
    }
    assert_int_equal(http_known_of(FR_VIEW("")), HTTP_UNKNOWN);
    assert_int_equal(http_known_of(FR_VIEW("x")), HTTP_UNKNOWN);
}

static void
finding(void **state)
{
    (void)state;
    struct http_err err;
    size_t scanned = 0;
    static const char text[] =
        "GET / HTTP/1.1\r\nHost: a\r\nVia: 1\r\nX-A: 2\r\nvia: 3\r\nx-a: 4\r\n\r\n";
    assert_int_equal(
        http_request_parse(fr_view_of(text), &http_limits_default, &scanned, &head, &err),
        HTTP_DONE);
    const struct http_field *field = http_head_find(&head, HTTP_FIELD_VIA);
    assert_view(field->value, "1");
    field = http_head_next(&head, field);
    assert_view(field->value, "3");
    assert_null(http_head_next(&head, field));
    field = http_head_find_name(&head, FR_VIEW("x-A"));
    assert_view(field->value, "2");
    field = http_head_next(&head, field);
    assert_view(field->value, "4");
    assert_null(http_head_next(&head, field));
    assert_view(http_head_find_name(&head, FR_VIEW("VIA"))->value, "1");
    assert_null(http_head_find_name(&head, FR_VIEW("x-b")));
    assert_null(http_head_find(&head, HTTP_FIELD_TE));
    assert_null(http_head_find(&head, HTTP_UNKNOWN));
}

static void
list_is(const char *text, const char *want)
{
    struct fr_view rest = fr_view_of(text);
    struct fr_view item;
    char got[256] = "";
    while (http_list_next(&rest, &item)) {
        assert_true(item.len > 0);
        strncat(got, item.ptr, item.len);
        strcat(got, "|");
    }
    assert_string_equal(got, want);
}

static void
lists(void **state)
{
    (void)state;
    list_is("", "");
    list_is(" , ,\t,", "");
    list_is("a", "a|");
    list_is(" a b ,\tc\t,,d", "a b|c|d|");
    list_is("a=\"x,y\",b", "a=\"x,y\"|b|");
    list_is("\"x\\\",y\",b", "\"x\\\",y\"|b|");
    list_is("a=\"x,y", "a=\"x,y|");
    list_is("a=\"x\\", "a=\"x\\|");
}

static void
directive_is(const char *text, const char *name, const char *value)
{
    struct fr_view got_name;
    struct fr_view got_value;
    http_directive_split(fr_view_of(text), &got_name, &got_value);
    assert_view(got_name, name);
    assert_view(got_value, value);
}

static void
directives(void **state)
{
    (void)state;
    directive_is("no-store", "no-store", "");
    directive_is("max-age=5", "max-age", "5");
    directive_is("max-age = 5", "max-age", "5");
    directive_is("max-age=\"5\"", "max-age", "5");
    directive_is("a=\"b\\\"c\"", "a", "\"b\\\"c\"");
    directive_is("a=\"", "a", "\"");
    directive_is("a=", "a", "");
    directive_is("=b", "", "b");
    assert_true(http_is_token(FR_VIEW("a!#$%&'*+-.^_`|~Z9")));
    assert_false(http_is_token(FR_VIEW("")));
    assert_false(http_is_token(FR_VIEW("a b")));
    assert_false(http_is_token(FR_VIEW("a\x80")));
}

static void
host_is(const char *authority, const char *want)
{
    char out[64];
    size_t len = 0;
    bool ok = http_host_normalise(fr_view_of(authority), out, sizeof(out), &len);
    assert_int_equal(ok, want != NULL);
    assert_int_equal(http_is_authority(fr_view_of(authority)), want != NULL);
    if (ok)
        assert_view(fr_view_make(out, len), want);
    struct http_head parsed = {.host = fr_view_of(authority)};
    if (want) { /* what a head holds is one, or nothing */
        assert_true(http_head_host(&parsed, out, sizeof(out), &len));
        assert_view(fr_view_make(out, len), want);
    }
}

static void
hosts(void **state)
{
    (void)state;
    host_is("Example.COM", "example.com");
    host_is("Example.COM:8080", "example.com");
    host_is("example.com.", "example.com");
    host_is("example.com.:80", "example.com");
    host_is("a:", "a");
    host_is("a:0", "a");
    host_is("a:65535", "a");
    host_is("10.0.0.1:80", "10.0.0.1");
    host_is("[2001:DB8::1]", "[2001:db8::1]");
    host_is("[::ffff:1.2.3.4]:80", "[::ffff:1.2.3.4]");
    host_is("a_b-c~d", "a_b-c~d");
    host_is("a%2Fb", "a%2fb");
    host_is(".", ".");
    host_is("", NULL);
    host_is(":80", NULL);
    host_is("a:65536", NULL);
    host_is("a:000080", NULL);
    host_is("a:8a", NULL);
    host_is("a:80:80", NULL);
    host_is("a:-1", NULL);
    host_is("u@a", NULL);
    host_is("a/b", NULL);
    host_is("a?b", NULL);
    host_is("a b", NULL);
    host_is("a%2", NULL);
    host_is("a%", NULL);
    host_is("a%zz", NULL);
    host_is("[::1", NULL);
    host_is("[]", NULL);
    host_is("[1]", NULL);
    host_is("[::1]x", NULL);
    host_is("[v1.a:b]", NULL);
    host_is("::1", NULL);
    host_is("a\x80", NULL);
    host_is("a<b", NULL);
    char out[4];
    size_t len;
    assert_true(http_host_normalise(FR_VIEW("ABCD:1"), out, sizeof(out), &len));
    assert_int_equal(len, 4);
    assert_false(http_host_normalise(FR_VIEW("ABCDE"), out, sizeof(out), &len));
    assert_false(http_head_host(&(struct http_head){.host = FR_VIEW("ABCDE")}, out, 4, &len));
    assert_false(http_head_host(&(struct http_head){.host = FR_VIEW("")}, out, 4, &len));
}

static void
words(void **state)
{
    (void)state;
    assert_string_equal(http_reason(404), "Not Found");
    assert_string_equal(http_reason(299), "");
    assert_string_equal(http_reason(-1), "");
    assert_true(http_method_safe(HTTP_GET));
    assert_true(http_method_safe(HTTP_TRACE));
    assert_false(http_method_safe(HTTP_PUT));
    assert_false(http_method_safe(HTTP_METHOD_OTHER));
    assert_true(http_method_idempotent(HTTP_HEAD));
    assert_true(http_method_idempotent(HTTP_DELETE));
    assert_false(http_method_idempotent(HTTP_POST));
    assert_false(http_method_idempotent(HTTP_PATCH));
    assert_false(http_method_idempotent(HTTP_CONNECT));
    assert_false(http_method_idempotent(HTTP_METHOD_OTHER));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_names), cmocka_unit_test(finding), cmocka_unit_test(lists),
        cmocka_unit_test(directives),  cmocka_unit_test(hosts),   cmocka_unit_test(words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
