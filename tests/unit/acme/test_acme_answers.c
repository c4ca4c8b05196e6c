/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_acme_answers.c - tokens that are there, and paths that are none.
 */
#include "acme/acme_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void
test_find(void **state)
{
    struct acme_answers *answers = acme_answers_new();
    char out[ACME_ANSWER_BYTES];
    (void)state;
    assert_false(acme_answers_find(answers, FR_VIEW(ACME_PATH "a"), out));
    assert_true(acme__answers_put(answers, "a", "a.print"));
    assert_true(acme__answers_put(answers, "b", "b.print"));
    assert_true(acme_answers_find(answers, FR_VIEW(ACME_PATH "b"), out));
    assert_string_equal(out, "b.print");
    static const char *const none[] = {
        "/a", ACME_PATH, ACME_PATH "ab", ACME_PATH "a/", "/.well-known/acme-challenge", ""};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        assert_false(acme_answers_find(answers, fr_view_of(none[i]), out));
    acme__answers_remove(answers, "a");
    assert_false(acme_answers_find(answers, FR_VIEW(ACME_PATH "a"), out));
    assert_true(acme_answers_find(answers, FR_VIEW(ACME_PATH "b"), out));
    acme_answers_free(&answers); /* with one left */
}

static void
test_full(void **state)
{
    struct acme_answers *answers = acme_answers_new();
    (void)state;
    for (int i = 0; i < ACME_TOKENS_MAX; i++) {
        char token[16];
        (void)snprintf(token, sizeof(token), "t%d", i);
        assert_true(acme__answers_put(answers, token, "x"));
    }
    assert_false(acme__answers_put(answers, "one-more", "x"));
    acme__answers_remove(answers, "t7");
    assert_true(acme__answers_put(answers, "one-more", "x"));
    acme_answers_free(&answers);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
