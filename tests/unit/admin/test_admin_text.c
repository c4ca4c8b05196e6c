/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_admin_text.c - queries and JSON strings.
 */
#include "admin/admin.h"
#include "base/fr_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static void
test_query(void **state)
{
    char out[8];
    (void)state;
    struct fr_view query = FR_VIEW("a=1&bc=%41+z&flag&a=2&long=12345678&bad=%4&e=&%64=enc&n=%00");
    assert_true(admin_query(query, "a", out, sizeof(out)));
    assert_string_equal(out, "1"); /* the first */
    assert_true(admin_query(query, "bc", out, sizeof(out)));
    assert_string_equal(out, "A z");
    assert_true(admin_query(query, "e", out, sizeof(out)));
    assert_string_equal(out, "");
    assert_true(admin_query(query, "d", out, sizeof(out)));
    assert_string_equal(out, "enc");
    assert_false(admin_query(query, "b", out, sizeof(out)));
    assert_true(admin_query(query, "flag", out, sizeof(out))); /* there, without a value */
    assert_string_equal(out, "");
    assert_false(admin_query(query, "bad", out, sizeof(out)));
    assert_false(admin_query(query, "n", out, sizeof(out)));
    assert_false(admin_query(query, "long", out, sizeof(out))); /* one too long */
    assert_true(admin_query(FR_VIEW("long=1234567"), "long", out, sizeof(out)));
    assert_false(admin_query(fr_view_make(NULL, 0), "a", out, sizeof(out)));
}

static void
check_json(struct fr_view text, const char *want)
{
    struct fr_buf out;
    fr_buf_init(&out, 1000);
    assert_int_equal(admin_json_string(&out, text), FR_OK);
    assert_string_equal(out.data, want);
    fr_buf_fini(&out);
}

static void
test_json_string(void **state)
{
    (void)state;
    check_json(FR_VIEW(""), "\"\"");
    check_json(FR_VIEW("plain </script>"), "\"plain </script>\"");
    check_json(FR_VIEW("\"\\\n\t\x1f\x7f\0"), "\"\\\"\\\\\\n\\u0009\\u001f\\u007f\\u0000\"");
    check_json(FR_VIEW("\xc3\xa9\xe2\x82\xac\xf0\x9f\x8c\x8a"),
               "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x8c\x8a\"");
    /* Cut short, overlong, a surrogate, too high, a stray tail. */
    check_json(FR_VIEW("\xc3"), "\"\\ufffd\"");
    check_json(FR_VIEW("\xe2\x82"), "\"\\ufffd\\ufffd\"");
    check_json(FR_VIEW("\xc0\xaf"), "\"\\ufffd\\ufffd\"");
    check_json(FR_VIEW("\xe0\x80\xaf"), "\"\\ufffd\\ufffd\\ufffd\"");
    check_json(FR_VIEW("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"");
    check_json(FR_VIEW("\xf4\x90\x80\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
    check_json(FR_VIEW("a\x80z"), "\"a\\ufffdz\"");
}

static void
test_json_string_is_all_or_nothing(void **state)
{
    struct fr_buf out;
    (void)state;
    fr_buf_init(&out, 8);
    assert_int_equal(fr_buf_append(&out, "[", 1), FR_OK);
    assert_int_equal(admin_json_string(&out, FR_VIEW("1234567")), FR_ERR_FULL);
    assert_string_equal(out.data, "[");
    assert_int_equal(out.len, 1);
    assert_int_equal(admin_json_string(&out, FR_VIEW("123")), FR_OK);
    assert_string_equal(out.data, "[\"123\"");
    fr_buf_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_json_string),
        cmocka_unit_test(test_json_string_is_all_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
