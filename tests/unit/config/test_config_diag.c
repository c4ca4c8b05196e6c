/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_config_diag.c - the one printer: order, quoted lines, carets, bounds, and hostile text.
 */
#include "config/config_diag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void
check(struct config_diag *diag, const char *expected)
{
    struct fr_buf out;
    fr_buf_init(&out, 1 << 20);
    assert_int_equal(config_diag_print(diag, &out), FR_OK);
    assert_string_equal(out.data ? out.data : "", expected);
    fr_buf_fini(&out);
    config_diag_fini(diag);
}

static void
test_nothing(void **state)
{
    (void)state;
    struct config_diag diag;
    struct fr_buf out;
    fr_buf_init(&out, 100);
    config_diag_init(&diag);
    assert_int_equal(config_diag_print_first(&diag, &out), FR_OK);
    assert_int_equal(out.len, 0);
    check(&diag, "");
}

static void
test_order_and_carets(void **state)
{
    (void)state;
    struct config_diag diag;
    config_diag_init(&diag);
    config_diag_source(&diag, "f.yaml", FR_VIEW("one: 1\n\ttwo: 2\r\n\xc3\xa9\xc3\xa9: x"));
    config_diag_add(&diag, 3, 5, "third");
    config_diag_warn(&diag, 2, 2, "second %d", 2);
    config_diag_add(&diag, 2, 2, "second again");
    config_diag_add(&diag, 0, 0, "the whole");
    config_diag_add(&diag, 1, 1, "first");
    config_diag_add(&diag, 3, 99, "past the line");
    config_diag_add(&diag, 99, 1, "past the file");
    assert_int_equal(diag.error_count, 6);
    assert_int_equal(diag.entry_count, 7);
    check(&diag, "f.yaml: the whole\n"
                 "f.yaml:1:1: first\n    one: 1\n    ^\n"
                 "f.yaml:2:2: warning: second 2\n    \ttwo: 2\n    \t^\n"
                 "f.yaml:2:2: second again\n    \ttwo: 2\n    \t^\n"
                 "f.yaml:3:5: third\n    \xc3\xa9\xc3\xa9: x\n        ^\n"
                 "f.yaml:3:99: past the line\n    \xc3\xa9\xc3\xa9: x\n         ^\n"
                 "f.yaml:99:1: past the file\n");
}

static void
test_first(void **state)
{
    (void)state;
    struct config_diag diag;
    struct fr_buf out;
    fr_buf_init(&out, 1000);
    config_diag_init(&diag);
    config_diag_source(&diag, "f.yaml", FR_VIEW("a\nb\nc\n"));
    config_diag_warn(&diag, 1, 1, "only a warning");
    assert_int_equal(config_diag_print_first(&diag, &out), FR_OK);
    assert_string_equal(out.data, "f.yaml:1:1: warning: only a warning");
    fr_buf_clear(&out);
    config_diag_add(&diag, 3, 1, "later");
    config_diag_add(&diag, 2, 1, "earlier");
    assert_int_equal(config_diag_print_first(&diag, &out), FR_OK);
    assert_string_equal(out.data, "f.yaml:2:1: earlier");
    fr_buf_fini(&out);
    config_diag_fini(&diag);
}

/* What a file quotes must not move a terminal's cursor, nor fill its screen. */
static void
test_hostile_text(void **state)
{
    (void)state;
    struct config_diag diag;
    char line[4001], text[2001];
    config_diag_init(&diag);
    config_diag_source(&diag, "f.yaml", FR_VIEW("a\x1b[2J\x7f\n"));
    config_diag_add(&diag, 1, 2, "found \"%s\"", "\x1b[2J\n\x7f");
    check(&diag, "f.yaml:1:2: found \"?[2J??\"\n    a?[2J?\n     ^\n");

    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\0';
    line[3000] = '!';
    memset(text, 'y', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    config_diag_source(&diag, "f.yaml", fr_view_of(line));
    config_diag_add(&diag, 1, 3001, "%s", text);
    struct fr_buf out;
    fr_buf_init(&out, 1 << 20);
    assert_int_equal(config_diag_print(&diag, &out), FR_OK);
    assert_true(out.len < 1500);
    const char *quoted = strchr(out.data, '\n') + 1;
    const char *caret = strchr(quoted, '\n') + 1;
    assert_int_equal(strchr(quoted, '!') - quoted, strchr(caret, '^') - caret);
    fr_buf_fini(&out);
    config_diag_fini(&diag);
}

static void
test_bound(void **state)
{
    (void)state;
    struct config_diag diag;
    struct fr_buf out;
    fr_buf_init(&out, 1 << 20);
    config_diag_init(&diag);
    for (unsigned i = 0; i < CONFIG_DIAG_ENTRIES_MAX; i++)
        config_diag_add(&diag, 1, 1, "one");
    assert_int_equal(diag.dropped, 0);
    for (unsigned i = 0; i < 5; i++)
        config_diag_add(&diag, 1, 1, "more");
    assert_int_equal(diag.entry_count, CONFIG_DIAG_ENTRIES_MAX);
    assert_int_equal(diag.error_count, CONFIG_DIAG_ENTRIES_MAX + 5);
    assert_int_equal(config_diag_print(&diag, &out), FR_OK);
    assert_non_null(strstr(out.data, "configuration: and 5 more\n"));
    fr_buf_fini(&out);
    fr_buf_init(&out, 10);
    assert_int_equal(config_diag_print(&diag, &out), FR_ERR_FULL);
    fr_buf_fini(&out);
    config_diag_fini(&diag);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing), cmocka_unit_test(test_order_and_carets),
        cmocka_unit_test(test_first),   cmocka_unit_test(test_hostile_text),
        cmocka_unit_test(test_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
