/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_log.c - one line an event, whole and readable, whatever foreign text is in it.
 */
#include "base/fr_log.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char written[65536]; /* by the last call, NUL-terminated */
static size_t written_len;

static void
log_one(enum fr_log_shape shape, enum fr_log_level level, const char *event,
        const struct fr_log_field *fields, size_t count)
{
    char path[] = "/tmp/test-log-XXXXXX";
    int kept = dup(STDERR_FILENO), file = mkstemp(path);
    assert_true(kept >= 0 && file >= 0);
    assert_int_equal(unlink(path), 0);
    fr_log_setup(FR_LOG_INFO, shape);
    assert_true(dup2(file, STDERR_FILENO) >= 0);
    fr_log_write(level, "room", event, fields, count);
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    ssize_t len = pread(file, written, sizeof(written) - 1, 0);
    assert_true(len >= 0);
    written_len = (size_t)len;
    written[len] = '\0';
    close(kept);
    close(file);
}

/* One line and a proper end. */
static void
expect_one_line(void)
{
    assert_true(written_len > 0);
    assert_ptr_equal(memchr(written, '\n', written_len), written + written_len - 1);
}

static json_t *
json_of(const struct fr_log_field *fields, size_t count)
{
    json_error_t error;
    log_one(FR_LOG_SHAPE_JSON, FR_LOG_WARN, "something happened", fields, count);
    expect_one_line();
    json_t *root =
        json_loadb(written, written_len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (root == NULL)
        fail_msg("%s: %s", error.text, written);
    assert_string_equal(json_string_value(json_object_get(root, "level")), "warn");
    assert_string_equal(json_string_value(json_object_get(root, "room")), "room");
    assert_string_equal(json_string_value(json_object_get(root, "event")), "something happened");
    return root;
}

static void
every_type_of_value(void **state)
{
    const struct fr_log_field fields[] = {FR_S("text", "a b"), FR_I("least", INT64_MIN),
                                          FR_F("share", 0.25), FR_F("none", NAN),
                                          FR_F("endless", INFINITY), FR_S("empty", "")};
    (void)state;
    json_t *root = json_of(fields, 6);
    assert_string_equal(json_string_value(json_object_get(root, "text")), "a b");
    assert_true(json_integer_value(json_object_get(root, "least")) == INT64_MIN);
    assert_float_equal(json_real_value(json_object_get(root, "share")), 0.25, 1e-9);
    assert_true(json_is_null(json_object_get(root, "none")));
    assert_true(json_is_null(json_object_get(root, "endless")));
    assert_string_equal(json_string_value(json_object_get(root, "empty")), "");
    json_decref(root);
    log_one(FR_LOG_SHAPE_HUMAN, FR_LOG_ERROR, "something happened", fields, 6);
    expect_one_line();
    assert_non_null(strstr(written, "error room: something happened text=\"a b\" least=-9223372"
                                    "036854775808 share=0.250 none=null endless=null empty=\"\""));
}

static void
below_the_level_nothing(void **state)
{
    (void)state;
    log_one(FR_LOG_SHAPE_JSON, FR_LOG_DEBUG, "x", NULL, 0);
    assert_int_equal(written_len, 0);
    assert_false(fr_log_on(FR_LOG_DEBUG));
    log_one(FR_LOG_SHAPE_JSON, FR_LOG_INFO, "x", NULL, 0);
    expect_one_line();
}

/* Every byte there is, each by itself and between others: a line is JSON, and moves no cursor. */
static void
every_byte_of_foreign_text(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char text[] = {'a', (char)c, 'b'};
        struct fr_log_field field = FR_V("text", fr_view_make(text, sizeof(text)));
        json_decref(json_of(&field, 1));
        log_one(FR_LOG_SHAPE_HUMAN, FR_LOG_WARN, "x", &field, 1);
        expect_one_line();
        for (size_t i = 0; i + 1 < written_len; i++)
            assert_true((unsigned char)written[i] >= 0x20 && written[i] != 0x7f);
    }
}

static void
proper_utf8_stays(void **state)
{
    static const char *const texts[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x8c\x8a"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct fr_log_field field = FR_S("text", texts[i]);
        json_t *root = json_of(&field, 1);
        assert_string_equal(json_string_value(json_object_get(root, "text")), texts[i]);
        json_decref(root);
    }
}

static void
improper_utf8_is_escaped(void **state)
{
    static const char *const texts[] = {
        "\xc3",             /* cut */
        "\xe2\x82",         "\xf0\x9f\x8c",
        "\xa9",             /* goes on from nothing */
        "\xc0\x80",         /* longer than need be */
        "\xe0\x80\x80",     "\xf0\x80\x80\x80",
        "\xed\xa0\x80",     /* half of a pair */
        "\xf4\x90\x80\x80", /* past the last */
        "\xff",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct fr_log_field field = FR_S("text", texts[i]);
        json_decref(json_of(&field, 1));
    }
}

/* Cut wherever the room ends, it is still one line. */
static void
too_long_is_cut(void **state)
{
    static char text[20000];
    (void)state;
    for (size_t len = 3800; len < 4200; len++) {
        for (size_t i = 0; i < len; i++)
            text[i] = "\xe2\x82\xac"[i % 3];
        const struct fr_log_field fields[] = {FR_V("text", fr_view_make(text, len - len % 3)),
                                              FR_I("after", 1)};
        json_t *root = json_of(fields, 2);
        const char *said = json_string_value(json_object_get(root, "text"));
        size_t kept = strlen(said);
        if (kept < len - len % 3) /* and the cut is shown */
            assert_string_equal(said + kept - 3, "\xe2\x80\xa6");
        json_decref(root);
        log_one(FR_LOG_SHAPE_HUMAN, FR_LOG_WARN, "x", fields, 2);
        expect_one_line();
    }
    memset(text, '\n', sizeof(text));
    struct fr_log_field many[40];
    for (size_t i = 0; i < 40; i++)
        many[i] = FR_V("a-key-of-some-length", fr_view_make(text, 1 + i * 17));
    log_one(FR_LOG_SHAPE_HUMAN, FR_LOG_WARN, "x", many, 40);
    expect_one_line();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_of_value),        cmocka_unit_test(below_the_level_nothing),
        cmocka_unit_test(every_byte_of_foreign_text), cmocka_unit_test(proper_utf8_stays),
        cmocka_unit_test(improper_utf8_is_escaped),   cmocka_unit_test(too_long_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
