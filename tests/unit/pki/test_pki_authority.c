/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_pki_authority.c - what is signed, what is not, and what the list says.
 */
#include "pki_bed.h"

#include "base/fr_file.h"

static struct fr_buf
request_of(const struct bed *bed, const char *name)
{
    struct fr_buf pem;
    char path[128];
    char *why = NULL;
    (void)snprintf(path, sizeof(path), "%s/%s.joined", bed->folder, name);
    fr_buf_init(&pem, PKI_PEM_BYTES_MAX);
    assert_int_equal(pki_request_make("whatever-it-asks-for", path, &pem, &why), FR_OK);
    return pem;
}

struct seen {
    unsigned count;
    struct pki_issued last;
};

static void
see(void *ctx, const struct pki_issued *issued)
{
    struct seen *seen = ctx;
    seen->count++;
    seen->last = *issued;
}

static void
test_names_are_the_authoritys(void **state)
{
    struct bed *bed = *state;
    struct fr_buf request = request_of(bed, "edge"), pem;
    const struct pki_terms terms = {.name = "edge", .days = 7};
    struct seen seen = {0};
    char *why = NULL;
    fr_buf_init(&pem, 4 * (size_t)PKI_PEM_BYTES_MAX);
    assert_int_equal(pki_sign(bed->pki, &terms, fr_buf_view(&request), NOW_S, &pem, &why), FR_OK);
    assert_non_null(strstr(pem.data, pki_ca_pem(bed->pki))); /* the authority's stands behind */
    assert_int_equal(pki_list(bed->pki, NULL, see, &seen, &why), FR_OK);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.last.name, "edge");
    assert_string_equal(seen.last.names, "edge"); /* not what the request asked for */
    assert_false(seen.last.has_key);
    assert_int_equal(seen.last.ends_s, NOW_S + 7 * 86400);
    assert_true(seen.last.begins_s < NOW_S);
    fr_buf_fini(&pem);
    fr_buf_fini(&request);
}

static void
test_requests_that_are_none(void **state)
{
    struct bed *bed = *state;
    struct fr_buf request = request_of(bed, "edge"), pem;
    const struct pki_terms terms = {.name = "edge", .days = 7};
    char *why = NULL;
    fr_buf_init(&pem, 4 * (size_t)PKI_PEM_BYTES_MAX);
    /* Every third byte changed in turn: the text, the key, or the signature is not good. */
    for (size_t i = 0; i + 2 < request.len; i += 3) {
        char kept = request.data[i];
        if (kept == '\n' || kept == '=' || request.data[i + 1] == '=')
            continue; /* of the last digit some bits are nothing: RFC 4648 section 3.5 */
        request.data[i] = kept == 'A' ? 'B' : 'A';
        enum fr_err err = pki_sign(bed->pki, &terms, fr_buf_view(&request), NOW_S, &pem, &why);
        assert_int_equal(err, FR_ERR_BAD_PEER);
        fr_free(why);
        why = NULL;
        request.data[i] = kept;
    }
    assert_int_equal(pki_sign(bed->pki, &terms, FR_VIEW(""), NOW_S, &pem, &why), FR_ERR_BAD_PEER);
    fr_free(why);
    assert_int_equal(pem.len, 0);
    fr_buf_fini(&pem);
    fr_buf_fini(&request);
}

static void
test_issue(void **state)
{
    struct bed *bed = *state;
    const char *also[] = {"host.example", "192.0.2.1"};
    const struct pki_terms terms = {.name = "manager", .also = also, .also_count = 2, .days = 1};
    const struct pki_terms bad = {.name = "ca", .days = 1};
    struct seen seen = {0};
    char *why = NULL;
    assert_int_equal(pki_issue(bed->pki, &terms, NOW_S, &why), FR_OK);
    assert_int_equal(pki_list(bed->pki, NULL, see, &seen, &why), FR_OK);
    assert_string_equal(seen.last.names, "manager host.example 192.0.2.1");
    assert_true(seen.last.has_key);
    assert_int_equal(pki_issue(bed->pki, &bad, NOW_S, &why), FR_ERR_SYNTAX);
    fr_free(why);
}

/* What `renew` makes again is what the list says: every address as it was asked for. */
static void
test_names_of_the_list_make_the_same_again(void **state)
{
    struct bed *bed = *state;
    const char *also[] = {"192.0.2.1", "2001:db8::1", "::1"};
    const struct pki_terms terms = {.name = "six", .also = also, .also_count = 3, .days = 1};
    struct seen seen = {0};
    char *why = NULL;
    assert_int_equal(pki_issue(bed->pki, &terms, NOW_S, &why), FR_OK);
    assert_int_equal(pki_list(bed->pki, NULL, see, &seen, &why), FR_OK);
    assert_string_equal(seen.last.names, "six 192.0.2.1 2001:db8::1 ::1");
}

/* As many as there may be, each as long as it may be, are all there; one more is refused. */
static void
test_no_name_is_lost(void **state)
{
    struct bed *bed = *state;
    static char text[PKI_ALSO_MAX + 1][254];
    const char *also[PKI_ALSO_MAX + 1];
    struct seen seen = {0};
    char *why = NULL;
    for (size_t i = 0; i <= PKI_ALSO_MAX; i++) {
        memset(text[i], 'a' + (int)i, 253);
        for (size_t dot = 60; dot < 253; dot += 60)
            text[i][dot] = '.';
        also[i] = text[i];
    }
    struct pki_terms terms = {.name = "n", .also = also, .also_count = PKI_ALSO_MAX, .days = 1};
    assert_int_equal(pki_issue(bed->pki, &terms, NOW_S, &why), FR_OK);
    assert_int_equal(pki_list(bed->pki, NULL, see, &seen, &why), FR_OK);
    assert_int_equal(strlen(seen.last.names), 1 + PKI_ALSO_MAX * 254);
    for (size_t i = 0; i < PKI_ALSO_MAX; i++)
        assert_non_null(strstr(seen.last.names, also[i]));
    terms.also_count++;
    assert_int_equal(pki_issue(bed->pki, &terms, NOW_S, &why), FR_ERR_SYNTAX);
    assert_non_null(strstr(why, "at most 16"));
    fr_free(why);
}

static void
test_a_file_that_is_none_hides_no_other(void **state)
{
    struct bed *bed = *state;
    static const char *const names[] = {"a", "b", "c", "d"};
    struct seen seen = {0};
    char *why = NULL;
    for (size_t i = 0; i < 4; i++) {
        const struct pki_terms terms = {.name = names[i], .days = 1};
        assert_int_equal(pki_issue(bed->pki, &terms, NOW_S, &why), FR_OK);
        if (i % 2)
            continue;
        char path[128];
        (void)snprintf(path, sizeof(path), "%s/issued/%s.pem", bed->folder, names[i]);
        assert_int_equal(fr_file_replace(path, FR_VIEW("nonsense"), 0600, NULL), FR_OK);
    }
    assert_int_equal(pki_list(bed->pki, NULL, see, &seen, &why), FR_ERR_CONFIG);
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.last.name, "d");
    assert_non_null(strstr(why, "issued/a.pem: "));
    assert_non_null(strstr(why, "issued/c.pem: "));
    assert_null(strstr(why, "issued/b.pem: "));
    fr_free(why);
}

static void
test_none_outlives_its_authority(void **state)
{
    struct bed *bed = *state;
    const struct pki_terms terms = {.name = "long", .days = 36500};
    struct seen seen = {0};
    char *why = NULL;
    assert_int_equal(pki_issue(bed->pki, &terms, NOW_S, &why), FR_OK);
    assert_int_equal(pki_list(bed->pki, NULL, see, &seen, &why), FR_OK);
    assert_true(pki_ends_s(bed->pki) > NOW_S);
    assert_int_equal(seen.last.ends_s, pki_ends_s(bed->pki));
}

/* Ten days, as the bed makes it. */
static void
test_one_that_has_ended_signs_nothing(void **state)
{
    struct bed *bed = *state;
    const int64_t ends_s = NOW_S + 10 * 86400;
    const struct pki_terms terms = {.name = "late", .days = 1};
    struct fr_buf request = request_of(bed, "late"), pem;
    struct seen seen = {0};
    char *why = NULL, path[128];
    fr_buf_init(&pem, 4 * (size_t)PKI_PEM_BYTES_MAX);
    assert_int_equal(pki_ends_s(bed->pki), ends_s);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(i ? pki_issue(bed->pki, &terms, ends_s, &why)
                           : pki_sign(bed->pki, &terms, fr_buf_view(&request), ends_s, &pem, &why),
                         FR_ERR_REFUSED);
        assert_non_null(strstr(why, "the authority ended on 2027-01-25"));
        fr_free(why);
        why = NULL;
    }
    (void)snprintf(path, sizeof(path), "%s/late.key", bed->folder);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(pki_list(bed->pki, NULL, see, &seen, &why), FR_OK);
    assert_int_equal(seen.count, 0);
    assert_int_equal(pem.len, 0);
    assert_int_equal(pki_issue(bed->pki, &terms, ends_s - 1, &why), FR_OK);
    fr_buf_fini(&pem);
    fr_buf_fini(&request);
}

static void
test_one_authority_a_folder(void **state)
{
    struct bed *bed = *state;
    struct pki *again = NULL;
    char path[128];
    char *why = NULL;
    assert_int_equal(pki_init(bed->folder, "test", NOW_S, 10, &why), FR_ERR_EXISTS);
    fr_free(why);
    why = NULL;
    /* A key that is not the certificate's. */
    (void)snprintf(path, sizeof(path), "%s/ca.key", bed->folder);
    struct fr_buf ignored;
    fr_buf_init(&ignored, PKI_PEM_BYTES_MAX);
    assert_int_equal(pki_request_make("x", path, &ignored, &why), FR_OK);
    fr_buf_fini(&ignored);
    assert_int_equal(pki_open(bed->folder, &again, &why), FR_ERR_CONFIG);
    assert_null(again);
    fr_free(why);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_names_are_the_authoritys, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_requests_that_are_none, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_issue, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_none_outlives_its_authority, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_one_that_has_ended_signs_nothing, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_names_of_the_list_make_the_same_again, bed_open,
                                        bed_close),
        cmocka_unit_test_setup_teardown(test_no_name_is_lost, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_a_file_that_is_none_hides_no_other, bed_open,
                                        bed_close),
        cmocka_unit_test_setup_teardown(test_one_authority_a_folder, bed_open, bed_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
