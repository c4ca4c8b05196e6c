/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http_media.c - media types by ending, and the weights of codings.
 */
#include "http/http_select.h"

#include "http_help.h"

#include <stdio.h>

static void
test_table_is_sorted(void **state)
{
    (void)state;
    for (size_t i = 1; i < http_media_row_count; i++)
        if (strcmp(http_media_rows[i - 1].ending, http_media_rows[i].ending) >= 0)
            fail_msg("%s stands before %s", http_media_rows[i - 1].ending,
                     http_media_rows[i].ending);
    for (size_t i = 0; i < http_media_row_count; i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "a/b.c.%s", http_media_rows[i].ending);
        assert_view(http_media_type(fr_view_of(name)), http_media_rows[i].type);
    }
}

static void
test_types(void **state)
{
    static const char other[] = "application/octet-stream";
    static const struct {
        const char *name, *type;
    } names[] = {
        {"index.html", "text/html; charset=utf-8"},
        {"A/B.HTML", "text/html; charset=utf-8"},
        {"x.tar.gz", "application/gzip"},
        {".html", "text/html; charset=utf-8"},
        {"html", other},
        {"a.", other},
        {"", other},
        {"a.html/b", other},
        {"a.b/html", other},
        {"a.unknown", other},
        {"a.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", other},
        {"a.htm\xc3\xa4", other},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_view(http_media_type(fr_view_of(names[i].name)), names[i].type);
}

static void
test_codings(void **state)
{
    static const struct {
        const char *fields;
        unsigned gzip, br;
    } rows[] = {
        {"", 0, 0},
        {"Accept-Encoding:\r\n", 0, 0},
        {"Accept-Encoding: gzip\r\n", 1000, 0},
        {"Accept-Encoding: GZip, BR\r\n", 1000, 1000},
        {"Accept-Encoding: gzip;q=0.5, br;q=1.0\r\n", 500, 1000},
        {"Accept-Encoding: gzip; q=0.123 , br ;Q=1\r\n", 123, 1000},
        {"Accept-Encoding: gzip;q=0\r\n", 0, 0},
        {"Accept-Encoding: *\r\n", 1000, 1000},
        {"Accept-Encoding: *;q=0.2, gzip;q=0\r\n", 0, 200},
        {"Accept-Encoding: gzip;q=0, *\r\n", 0, 1000},
        {"Accept-Encoding: identity\r\n", 0, 0},
        {"Accept-Encoding: br\r\nAccept-Encoding: gzip;q=0.1\r\n", 100, 1000},
        {"Accept-Encoding: gzip;q=2\r\n", 0, 0},
        {"Accept-Encoding: gzip;q=1.5\r\n", 0, 0},
        {"Accept-Encoding: gzip;q=0.1234\r\n", 0, 0},
        {"Accept-Encoding: gzip;q=x\r\n", 0, 0},
        {"Accept-Encoding: gzip;q=\r\n", 0, 0},
        {"Accept-Encoding: xgzip, brx\r\n", 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        static struct http_head head;
        struct http_err err;
        size_t scanned = 0;
        char text[512];
        (void)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", rows[i].fields);
        assert_int_equal(
            http_request_parse(fr_view_of(text), &http_limits_default, &scanned, &head, &err),
            HTTP_DONE);
        const struct http_field *accept = http_head_find_name(&head, FR_VIEW("accept-encoding"));
        unsigned gzip = http_coding_quality(accept, &head, FR_VIEW("gzip"));
        unsigned br = http_coding_quality(accept, &head, FR_VIEW("br"));
        if (gzip != rows[i].gzip || br != rows[i].br)
            fail_msg("%s: gzip %u, br %u", rows[i].fields, gzip, br);
    }
}

static void
grpc_is_known_by_its_type(void **state)
{
    (void)state;
    assert_true(http_is_grpc(FR_VIEW("application/grpc")));
    assert_true(http_is_grpc(FR_VIEW("Application/gRPC+proto")));
    assert_true(http_is_grpc(FR_VIEW("application/grpc; x=y")));
    assert_false(http_is_grpc(FR_VIEW("application/grpc-web")));
    assert_false(http_is_grpc(FR_VIEW("application/grp")));
    assert_false(http_is_grpc(FR_VIEW("")));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_sorted),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_codings),
        cmocka_unit_test(grpc_is_known_by_its_type),
    };
    return cmocka_run_group_tests_name("http-media", tests, NULL, NULL);
}
