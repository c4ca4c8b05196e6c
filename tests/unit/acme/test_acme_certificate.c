/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_acme_certificate.c - placeholders and challenges: what is in them, and that none passes for
 * a certificate that was fetched.
 */
#include "acme/acme_priv.h"

#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW_S 1800000000

static void
test_challenge(void **state)
{
    unsigned char digest[32], der[34] = {4, 32};
    EVP_PKEY *key = tls_pem_key_new();
    (void)state;
    for (unsigned i = 0; i < 32; i++)
        der[2 + i] = digest[i] = (unsigned char)i;
    X509 *made = acme__self_signed(key, "one.example", digest, NOW_S, 2);
    assert_non_null(made);
    ASN1_OBJECT *object = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1);
    int at = X509_get_ext_by_OBJ(made, object, -1);
    assert_true(at >= 0);
    X509_EXTENSION *one = X509_get_ext(made, at);
    assert_int_equal(X509_EXTENSION_get_critical(one), 1); /* RFC 8737 section 3 */
    const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(one);
    assert_int_equal(ASN1_STRING_length(value), sizeof(der));
    assert_memory_equal(ASN1_STRING_get0_data(value), der, sizeof(der));
    assert_int_equal(X509_verify(made, key), 1);
    ASN1_OBJECT_free(object);
    X509_free(made);
    EVP_PKEY_free(key);
}

static void
test_placeholder(void **state)
{
    char folder[] = "/tmp/freshet-acme-XXXXXX", command[64], pem[64], key_path[64];
    char one[] = "one.example", *names[] = {one, NULL}, *why = NULL;
    const struct tls_pem_pair paths = {.certificate = pem, .key = key_path};
    const struct tls_pair pair = {.certificate = pem, .key = key_path};
    int64_t begins_s = 0, ends_s = 0;
    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(pem, sizeof(pem), "%s/a/one.pem", folder);
    (void)snprintf(key_path, sizeof(key_path), "%s/a/one.key", folder);
    assert_false(acme__lifetime(&paths, names, &begins_s, &ends_s)); /* not there */
    assert_int_equal(acme_placeholder(pem, key_path, one, NOW_S, &why), FR_OK);
    assert_int_equal(tls_pair_check(&pair, &why), FR_OK);
    assert_false(acme__lifetime(&paths, names, &begins_s, &ends_s)); /* signed by nobody */
    (void)snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_challenge),
        cmocka_unit_test(test_placeholder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
