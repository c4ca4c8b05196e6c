/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_pki_token.c - tokens: their text, one use, their end.
 */
#include "pki_bed.h"

static void
test_text(void **state)
{
    struct bed *bed = *state;
    struct pki_token parsed;
    char token[PKI_TOKEN_BYTES];
    char *why = NULL;
    assert_int_equal(pki_token_make(bed->pki, "edge-1.a", NOW_S, NOW_S + 60, token, &why), FR_OK);
    assert_true(pki_token_parse(token, &parsed));
    assert_string_equal(parsed.name, "edge-1.a"); /* dots belong to names */
    assert_string_equal(parsed.fingerprint, pki_fingerprint(bed->pki));
    assert_non_null(strstr(token, parsed.secret));
    for (size_t len = 0; len < strlen(token) - strlen("dge-1.a"); len++) {
        char part[PKI_TOKEN_BYTES];
        (void)snprintf(part, sizeof(part), "%.*s", (int)len, token);
        assert_false(pki_token_parse(part, &parsed));
    }
    token[5] = 'X';
    assert_false(pki_token_parse(token, &parsed));
    assert_int_equal(pki_token_make(bed->pki, "a/b", NOW_S, NOW_S + 60, token, &why),
                     FR_ERR_SYNTAX);
    fr_free(why);
}

static struct pki_token
token_for_a_minute(struct bed *bed)
{
    struct pki_token parsed;
    char token[PKI_TOKEN_BYTES];
    char *why = NULL;
    assert_int_equal(pki_token_make(bed->pki, "edge", NOW_S, NOW_S + 60, token, &why), FR_OK);
    assert_true(pki_token_parse(token, &parsed));
    return parsed;
}

static void
test_one_use(void **state)
{
    struct bed *bed = *state;
    struct pki_token parsed = token_for_a_minute(bed);
    char name[PKI_NAME_BYTES];
    char *why = NULL;
    assert_int_equal(pki_token_use(bed->pki, fr_view_of(parsed.secret), NOW_S + 59, name, &why),
                     FR_OK);
    assert_string_equal(name, "edge");
    assert_int_equal(pki_token_use(bed->pki, fr_view_of(parsed.secret), NOW_S + 59, name, &why),
                     FR_ERR_REFUSED);
    fr_free(why);
}

static void
test_end(void **state)
{
    struct bed *bed = *state;
    struct pki_token parsed = token_for_a_minute(bed);
    char name[PKI_NAME_BYTES];
    char *why = NULL;
    assert_int_equal(pki_token_use(bed->pki, fr_view_of(parsed.secret), NOW_S + 60, name, &why),
                     FR_ERR_REFUSED);
    assert_string_equal(why, "the token has ended");
    fr_free(why);
}

static void
test_strange_secrets(void **state)
{
    static const char *const strange[] = {"",
                                          "x",
                                          "../../ca.key",
                                          "0123",
                                          "0123456789ABCDEF0123456789ABCDEF",
                                          "00000000000000000000000000000000"};
    struct bed *bed = *state;
    for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
        char name[PKI_NAME_BYTES];
        char *why = NULL;
        assert_int_equal(pki_token_use(bed->pki, fr_view_of(strange[i]), NOW_S, name, &why),
                         FR_ERR_REFUSED);
        assert_non_null(why);
        fr_free(why);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_text, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_one_use, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_end, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_strange_secrets, bed_open, bed_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
