/* SPDX-License-Identifier: Apache-2.0 */
/* test_wire_names.c - the words of the stream, and request ids. */
#include "wire/wire_priv.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

static void
test_roles(void **state)
{
    enum wire_role role;
    (void)state;
    for (int i = WIRE_ROLE_EDGE; i <= WIRE_ROLE_ALLOCATOR; i++) {
        assert_true(wire_role_parse(fr_view_of(wire_role_name((enum wire_role)i)), &role));
        assert_int_equal(role, i);
    }
    assert_false(wire_role_parse(FR_VIEW("Edge"), &role));
    assert_false(wire_role_parse(FR_VIEW(""), &role));
    assert_null(wire_role_name((enum wire_role)77));
}

static void
test_request_ids(void **state)
{
    struct wire_request_id id = {9, 9};
    char text[WIRE_REQUEST_ID_BYTES];
    (void)state;
    assert_true(wire_request_id_parse(FR_VIEW("3:81"), &id));
    assert_int_equal(id.epoch, 3);
    assert_int_equal(id.sequence, 81);
    wire_request_id_format(id, text);
    assert_string_equal(text, "3:81");
    wire_request_id_format((struct wire_request_id){UINT64_MAX, UINT64_MAX}, text);
    assert_string_equal(text, "18446744073709551615:18446744073709551615");
    assert_true(wire_request_id_parse(fr_view_of(text), &id));
    assert_true(id.epoch == UINT64_MAX);
    id.epoch = 5;
    static const char *const bad[] = {
        "", ":", "3", "3:", ":81", "3:81:1", "-3:81", "3:8 1", "3:18446744073709551616", "a:b"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(wire_request_id_parse(fr_view_of(bad[i]), &id));
    assert_int_equal(id.epoch, 5);
}

static void
test_operations_and_errors_have_names(void **state)
{
    (void)state;
    for (int i = 0; i < WIRE_OPERATION_COUNT; i++) {
        assert_non_null(wire_operation_name((enum wire_operation)i));
        for (int j = 0; j < i; j++)
            assert_string_not_equal(wire_operation_name((enum wire_operation)i),
                                    wire_operation_name((enum wire_operation)j));
    }
    assert_string_equal(wire_operation_name(WIRE_PUT_ROUTE), "route");
    assert_string_equal(wire_operation_name(WIRE_OPERATION_COUNT), "unknown");
    for (int i = 0; i <= WIRE_NO_MEMORY; i++)
        assert_non_null(wire_error_code((enum wire_error)i));
    assert_string_equal(wire_error_code(WIRE_TOO_DEEP), "too-deep");
}

static void
test_setting_names(void **state)
{
    (void)state;
    assert_true(wire__setting_name_good(FR_VIEW("slow-start")));
    assert_true(wire__setting_name_good(FR_VIEW("_x.1")));
    static const char *const bad[] = {"",   "1a",    "-a",  "a b",     "a:b",
                                      "a<", "xmlns", "XML", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(wire__setting_name_good(fr_view_of(bad[i])));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_request_ids),
        cmocka_unit_test(test_operations_and_errors_have_names),
        cmocka_unit_test(test_setting_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
