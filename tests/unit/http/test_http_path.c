/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http_path.c - paths as names of files: what is decoded, refused and hidden; prefixes; paths
 * and queries in a Location.
 */
#include "http/http_path.h"

#include "http_help.h"

#include <stdio.h>

static const struct {
    const char *path;
    bool hidden;
    enum http_path_result want;
    const char *name;
    bool folder;
} rows[] = {
    {"/", false, HTTP_PATH_OK, "", true},
    {"", false, HTTP_PATH_OK, "", true},
    {"/a", false, HTTP_PATH_OK, "a", false},
    {"a/b", false, HTTP_PATH_OK, "a/b", false},
    {"/a/", false, HTTP_PATH_OK, "a", true},
    {"//a///b//", false, HTTP_PATH_OK, "a/b", true},
    {"/a%20b", false, HTTP_PATH_OK, "a b", false},
    {"/%61%2e%54xt", false, HTTP_PATH_OK, "a.Txt", false},
    {"/%c3%a4", false, HTTP_PATH_OK, "\xc3\xa4", false},
    {"/%FF", false, HTTP_PATH_OK, "\xff", false},
    {"/a+b", false, HTTP_PATH_OK, "a+b", false},
    {"/a\\b", false, HTTP_PATH_OK, "a\\b", false},
    {"/%5c..%5cx", false, HTTP_PATH_OK, "\\..\\x", false}, /* one name, as Linux has it */
    {"/a%3fb", false, HTTP_PATH_OK, "a?b", false},
    {"/...", true, HTTP_PATH_OK, "...", false},
    {"/a..b/c..", false, HTTP_PATH_OK, "a..b/c..", false},
    {"/%252e%252e/x", false, HTTP_PATH_OK, "%2e%2e/x", false}, /* decoded once, not twice */
    /* dot segments, however they are spelt */
    {"/.", false, HTTP_PATH_BAD, NULL, false},
    {"/..", false, HTTP_PATH_BAD, NULL, false},
    {"/a/../b", false, HTTP_PATH_BAD, NULL, false},
    {"/a/./b", true, HTTP_PATH_BAD, NULL, false},
    {"/a/..", true, HTTP_PATH_BAD, NULL, false},
    {"/%2e%2e/etc/passwd", true, HTTP_PATH_BAD, NULL, false},
    {"/.%2E/etc/passwd", true, HTTP_PATH_BAD, NULL, false},
    {"/%2e./etc/passwd", true, HTTP_PATH_BAD, NULL, false},
    {"/a//..//b", true, HTTP_PATH_BAD, NULL, false},
    {"/.hidden/../b", false, HTTP_PATH_BAD, NULL, false}, /* worse than hidden */
    {"/a%2fb/../c", false, HTTP_PATH_BAD, NULL, false},
    {"../b", true, HTTP_PATH_BAD, NULL, false},
    /* triplets and what they must not hide */
    {"/%", false, HTTP_PATH_BAD, NULL, false},
    {"/%4", false, HTTP_PATH_BAD, NULL, false},
    {"/%4/", false, HTTP_PATH_BAD, NULL, false},
    {"/%zz", false, HTTP_PATH_BAD, NULL, false},
    {"/%0", false, HTTP_PATH_BAD, NULL, false},
    {"/a%00", false, HTTP_PATH_BAD, NULL, false},
    {"/%00", false, HTTP_PATH_BAD, NULL, false},
    {"/a%00.html", false, HTTP_PATH_BAD, NULL, false},
    {"/a%2fb", false, HTTP_PATH_NO_FILE, NULL, false},
    {"/..%2f..%2fetc%2fpasswd", false, HTTP_PATH_NO_FILE, NULL, false},
    {"/%2Fetc/passwd", false, HTTP_PATH_NO_FILE, NULL, false},
    {"/a%0d%0aX", false, HTTP_PATH_NO_FILE, NULL, false},
    {"/%7f", false, HTTP_PATH_NO_FILE, NULL, false},
    {"/%1f/%2e%2e", false, HTTP_PATH_BAD, NULL, false},
    /* what begins with a dot */
    {"/.git/config", false, HTTP_PATH_HIDDEN, NULL, false},
    {"/%2egit/config", false, HTTP_PATH_HIDDEN, NULL, false},
    {"/a/.env", false, HTTP_PATH_HIDDEN, NULL, false},
    {"/.git/config", true, HTTP_PATH_OK, ".git/config", false},
    {"/.well-known/x", false, HTTP_PATH_OK, ".well-known/x", false},
    {"/a/.well-known/x", false, HTTP_PATH_HIDDEN, NULL, false},
    {"/.well-knownx", false, HTTP_PATH_HIDDEN, NULL, false},
    {"/.well-known/.x", false, HTTP_PATH_HIDDEN, NULL, false},
    {"/.x/a%2fb", false, HTTP_PATH_NO_FILE, NULL, false},
};

static void
test_decode(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct http_path out;
        size_t len = strlen(rows[i].path);
        char *copy = test_malloc(len ? len : 1);
        memcpy(copy, rows[i].path, len);
        enum http_path_result got = http_path_decode(fr_view_make(copy, len), rows[i].hidden, &out);
        test_free(copy);
        if (got != rows[i].want)
            fail_msg("%s: %d, wanted %d", rows[i].path, (int)got, (int)rows[i].want);
        if (got != HTTP_PATH_OK)
            continue;
        assert_string_equal(out.name, rows[i].name);
        assert_int_equal(out.len, strlen(rows[i].name));
        assert_int_equal(out.folder, rows[i].folder);
    }
}

/* Segments of every length around the bound, and paths that would fill the name to its end. */
static void
test_lengths(void **state)
{
    static char text[3 * HTTP_PATH_BYTES_MAX];
    struct http_path out;
    (void)state;
    memset(text, 'a', sizeof(text));
    text[0] = '/';
    assert_int_equal(http_path_decode(fr_view_make(text, 1 + 255), false, &out), HTTP_PATH_OK);
    assert_int_equal(out.len, 255);
    assert_int_equal(http_path_decode(fr_view_make(text, 1 + 256), false, &out), HTTP_PATH_NO_FILE);
    for (size_t i = 0; i < sizeof(text); i += 100)
        text[i] = '/';
    for (size_t len = HTTP_PATH_BYTES_MAX - 300; len < HTTP_PATH_BYTES_MAX + 300; len++) {
        enum http_path_result got = http_path_decode(fr_view_make(text, len), false, &out);
        assert_int_equal(got == HTTP_PATH_OK, len - 1 <= HTTP_PATH_BYTES_MAX - 2);
        assert_true(strlen(out.name) == out.len && out.len < HTTP_PATH_BYTES_MAX);
    }
    /* No number of segments that are no names overruns anything. */
    for (size_t i = 0; i + 4 < sizeof(text); i += 5)
        memcpy(text + i, "/a%2f", 5);
    assert_int_equal(http_path_decode(fr_view_make(text, sizeof(text)), false, &out),
                     HTTP_PATH_NO_FILE);
    assert_int_equal(http_path_decode(fr_view_make(text, sizeof(text) - 4), false, &out),
                     HTTP_PATH_BAD); /* its last triplet is cut */
}

static void
test_strip(void **state)
{
    static const struct {
        const char *path, *prefix, *rest; /* NULL: no part of it */
    } strips[] = {
        {"/old/a", "/old", "/a"},   {"/old/a", "/old/", "/a"}, {"/old", "/old", ""},
        {"/old", "/old/", ""},      {"/old/", "/old", "/"},    {"/older", "/old", NULL},
        {"/ol", "/old", NULL},      {"/a", "/", "/a"},         {"/", "/", "/"},
        {"/old//a", "/old", "//a"}, {"/", "/old", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(strips) / sizeof(strips[0]); i++) {
        struct fr_view rest = {0};
        bool got = http_path_strip(fr_view_of(strips[i].path), fr_view_of(strips[i].prefix), &rest);
        assert_int_equal(got, strips[i].rest != NULL);
        if (got)
            assert_view(rest, strips[i].rest);
    }
}

static void
test_put(void **state)
{
    static const struct {
        const char *path, *want;
    } puts[] = {
        {"/a/b", "/a/b"},
        {"", "/"},
        {"a", "/a"},
        {"//evil.example/", "/evil.example/"}, /* two slashes would name a host */
        {"////x", "/x"},
        {"/\\evil.example", "/%5Cevil.example"}, /* browsers read \ as / */
        {"/a b", "/a%20b"},
        {"/%41%zz%4", "/%41%25zz%254"},
        {"/a\r\nSet-Cookie: x", "/a%0D%0ASet-Cookie:%20x"},
        {"/\"<>^`{|}[]", "/%22%3C%3E%5E%60%7B%7C%7D%5B%5D"},
        {"/a?b#c", "/a%3Fb%23c"},
        {"/\x80\xff", "/%80%FF"},
        {"/-._~!$&'()*+,;=:@", "/-._~!$&'()*+,;=:@"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(puts) / sizeof(puts[0]); i++) {
        struct fr_buf out;
        fr_buf_init(&out, 256);
        assert_int_equal(http_path_put(fr_view_of(puts[i].path), &out), FR_OK);
        assert_string_equal(out.data, puts[i].want);
        fr_buf_fini(&out);
    }
}

static void
test_put_query(void **state)
{
    struct fr_buf out;
    (void)state;
    fr_buf_init(&out, 64);
    assert_int_equal(http_query_put((struct fr_view){0}, false, &out), FR_OK);
    assert_int_equal(out.len, 0);
    assert_int_equal(http_query_put((struct fr_view){0}, true, &out), FR_OK);
    assert_string_equal(out.data, "?");
    fr_buf_clear(&out);
    assert_int_equal(http_query_put(fr_view_of("a=/b?c&d=%20\" #\n"), true, &out), FR_OK);
    assert_string_equal(out.data, "?a=/b?c&d=%20%22%20%23%0A");
    fr_buf_fini(&out);
    fr_buf_init(&out, 8);
    assert_int_equal(http_query_put(fr_view_of("\n\n\n\n\n"), true, &out), FR_ERR_FULL);
    fr_buf_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),    cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_strip),     cmocka_unit_test(test_put),
        cmocka_unit_test(test_put_query),
    };
    return cmocka_run_group_tests_name("http-path", tests, NULL, NULL);
}
