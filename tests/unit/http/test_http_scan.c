/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http_scan.c - the scan by steps finds what the scan octet by octet finds.
 */
#include "http/http_scan.h"

#include "http_help.h"

#define TEXT_BYTES 50

static const struct {
    enum http__class class;
    char of_it, rare; /* taken by steps, and by the table */
} classes[] = {
    {HTTP__TOKEN, 'x', '~'}, {HTTP__HOST, 'x', '~'}, {HTTP__TARGET, '/', '~'},
    {HTTP__TEXT, ' ', '\t'}, {HTTP__HEX, 'f', 'f'},  {HTTP__DIGIT, '7', '7'},
};

static const char *
run_of(const char *at, const char *end, enum http__class class)
{
    const char *found = http__run(at, end, class);
    assert_ptr_equal(found, http__run_plain(at, end, class));
    return found;
}

/* Every octet at every place of runs of every length, in memory that ends with them. */
static void
every_octet(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        for (size_t len = 1; len <= TEXT_BYTES; len++) {
            char *text = test_malloc(len);
            memset(text, classes[i].of_it, len);
            assert_ptr_equal(run_of(text, text + len, classes[i].class), text + len);
            for (size_t at = 0; at < len; at++) {
                for (int c = 0; c < 256; c++) {
                    text[at] = (char)c;
                    bool is = http__is((char)c, classes[i].class);
                    const char *end = run_of(text, text + len, classes[i].class);
                    assert_ptr_equal(end, is ? text + len : text + at);
                }
                text[at] = classes[i].of_it;
            }
            test_free(text);
        }
    }
}

/* What no step takes and the class has, once and many times. */
static void
rare_octets(void **state)
{
    (void)state;
    char text[TEXT_BYTES];
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        for (unsigned every = 1; every < TEXT_BYTES; every++) {
            for (unsigned at = 0; at < TEXT_BYTES; at++)
                text[at] = at % every == 0 ? classes[i].rare : classes[i].of_it;
            for (unsigned from = 0; from < TEXT_BYTES; from++)
                assert_ptr_equal(run_of(text + from, text + TEXT_BYTES, classes[i].class),
                                 text + TEXT_BYTES);
        }
    }
    assert_ptr_equal(run_of(text, text, HTTP__TEXT), text);
}

/* Two texts that differ at one place, and at one more behind it, in memory that ends with them. */
static void
what_is_the_same(void **state)
{
    (void)state;
    for (size_t len = 0; len <= TEXT_BYTES; len++) {
        char *a = test_malloc(len + 1), *b = test_malloc(len + 1);
        char *x = a + 1, *y = b + 1; /* not where words begin */
        memset(x, 'x', len);
        memset(y, 'x', len);
        assert_int_equal(http__same(x, y, len), len);
        assert_int_equal(http__same_plain(x, y, len), len);
        for (size_t at = 0; at < len; at++) {
            y[at] = 'y';
            y[len - 1] = 'y';
            assert_int_equal(http__same(x, y, len), at);
            assert_int_equal(http__same_plain(x, y, len), at);
            y[at] = y[len - 1] = 'x';
        }
        test_free(a);
        test_free(b);
    }
}

/* The mark at every place of texts of every length, in front of where the search begins too. */
static void
marks(void **state)
{
    (void)state;
    for (size_t len = 1; len <= TEXT_BYTES; len++) {
        char *text = test_malloc(len);
        memset(text, 'x', len);
        for (size_t mark = 0; mark <= len; mark++) {
            if (mark < len)
                text[mark] = ':';
            for (size_t from = 0; from <= len; from++) {
                const char *found = http__find(fr_view_make(text, len), text + from, ':');
                assert_ptr_equal(found, http__find_plain(text + from, text + len, ':'));
            }
            if (mark < len)
                text[mark] = 'x';
        }
        test_free(text);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_octet), cmocka_unit_test(rare_octets),
                                       cmocka_unit_test(what_is_the_same), cmocka_unit_test(marks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
