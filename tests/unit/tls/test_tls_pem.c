/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tls_pem.c - pairs of files, read and made whole; names of a certificate as text.
 */
#include "tls/tls_pem.h"

#include "base/fr_file.h"
#include "base/fr_mem.h"

#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct bed {
    char folder[32], certificate[64], key[64], waiting[64];
    struct tls_pem_pair paths;
};

static void
bed_open(struct bed *bed)
{
    (void)snprintf(bed->folder, sizeof(bed->folder), "/tmp/freshet-pem-XXXXXX");
    assert_non_null(mkdtemp(bed->folder));
    (void)snprintf(bed->certificate, sizeof(bed->certificate), "%s/a.pem", bed->folder);
    (void)snprintf(bed->key, sizeof(bed->key), "%s/a.key", bed->folder);
    (void)snprintf(bed->waiting, sizeof(bed->waiting), "%s/a.pem.pair", bed->folder);
    bed->paths = (struct tls_pem_pair){.certificate = bed->certificate, .key = bed->key};
}

static void
bed_close(struct bed *bed)
{
    (void)unlink(bed->certificate);
    (void)unlink(bed->key);
    (void)unlink(bed->waiting);
    assert_int_equal(rmdir(bed->folder), 0);
}

static X509 *
certificate_of(EVP_PKEY *key, GENERAL_NAMES *names)
{
    X509 *made = X509_new();
    assert_non_null(ASN1_TIME_set(X509_getm_notBefore(made), 1000000));
    assert_non_null(ASN1_TIME_set(X509_getm_notAfter(made), 2000000));
    assert_int_equal(X509_set_pubkey(made, key), 1);
    if (names)
        assert_int_equal(X509_add1_ext_i2d(made, NID_subject_alt_name, names, 0, 0), 1);
    assert_true(X509_sign(made, key, EVP_sha256()) > 0);
    return made;
}

static struct fr_buf
chain_of(EVP_PKEY *key)
{
    struct fr_buf text;
    X509 *made = certificate_of(key, NULL);
    fr_buf_init(&text, 100000);
    assert_int_equal(tls_pem_certificate_put(made, &text), FR_OK);
    X509_free(made);
    return text;
}

static void
write_new_pair(struct bed *bed)
{
    EVP_PKEY *key = tls_pem_key_new();
    struct fr_buf chain = chain_of(key);
    char *why = NULL;
    assert_int_equal(tls_pem_pair_write(&bed->paths, key, fr_buf_view(&chain), &why), FR_OK);
    fr_buf_fini(&chain);
    EVP_PKEY_free(key);
}

static void
assert_fails(struct bed *bed, enum fr_err err, const char *words)
{
    EVP_PKEY *key = NULL;
    struct fr_buf text;
    char *why = NULL;
    assert_int_equal(tls_pem_pair_read(&bed->paths, &key, &text, &why), err);
    assert_null(key);
    assert_non_null(strstr(why, words));
    fr_free(why);
}

static void
assert_good(struct bed *bed, EVP_PKEY *of)
{
    EVP_PKEY *key = NULL;
    struct fr_buf text;
    char *why = NULL;
    assert_int_equal(tls_pem_pair_read(&bed->paths, &key, &text, &why), FR_OK);
    assert_true(tls_pem_chain_fits(fr_buf_view(&text), key));
    if (of)
        assert_int_equal(EVP_PKEY_eq(key, of), 1);
    EVP_PKEY_free(key);
    tls_pem_wipe(&text);
    assert_null(text.data);
}

/* What is not there, what is no good, and what cannot be read: three things. */
static void
errors_say_what_is_known(void **state)
{
    struct bed bed;
    (void)state;
    bed_open(&bed);
    assert_fails(&bed, FR_ERR_NOT_FOUND, "a.pem: No such file");
    write_new_pair(&bed);
    assert_good(&bed, NULL);
    assert_int_equal(unlink(bed.key), 0);
    assert_fails(&bed, FR_ERR_NOT_FOUND, "a.key: No such file");
    assert_int_equal(symlink("a.key", bed.key), 0);
    assert_fails(&bed, FR_ERR_IO, "a.key: Too many levels");
    assert_int_equal(fr_file_replace(bed.key, FR_VIEW("nonsense"), 0600, NULL), FR_OK);
    assert_fails(&bed, FR_ERR_CONFIG, "no key without a pass phrase in");
    assert_int_equal(fr_file_replace(bed.certificate, FR_VIEW(""), 0600, NULL), FR_OK);
    assert_fails(&bed, FR_ERR_CONFIG, "no certificate in");
    bed_close(&bed);
}

/* Why, and not only that: the compiler chose whether `error` was read before it was set. */
static void
writing_says_why(void **state)
{
    struct bed bed;
    EVP_PKEY *key = tls_pem_key_new();
    char *why = NULL;
    (void)state;
    bed_open(&bed);
    char *path = fr_xprintf("%s/none/a.pem", bed.folder);
    const struct tls_pem_pair paths = {.certificate = path, .key = path};
    assert_int_equal(tls_pem_write(path, FR_VIEW("text"), 0600, &why), FR_ERR_IO);
    assert_non_null(strstr(why, "/none/a.pem: No such file"));
    fr_free(why);
    assert_int_equal(tls_pem_key_write(path, key, &why), FR_ERR_IO);
    assert_non_null(strstr(why, "/none/a.pem: No such file"));
    fr_free(why);
    assert_int_equal(tls_pem_pair_write(&paths, key, FR_VIEW("text"), &why), FR_ERR_IO);
    assert_non_null(strstr(why, "/none/a.pem: No such file"));
    fr_free(why);
    fr_free(path);
    EVP_PKEY_free(key);
    bed_close(&bed);
}

/* The key is new and its certificate waits: it is moved into its place. One that waits for another
 * key is of nobody, and stays where it is. */
static void
a_pair_is_made_whole(void **state)
{
    struct bed bed;
    EVP_PKEY *key = tls_pem_key_new(), *other = tls_pem_key_new();
    struct fr_buf chain = chain_of(key), stray = chain_of(other);
    char *why = NULL;
    (void)state;
    bed_open(&bed);
    write_new_pair(&bed);
    assert_int_equal(tls_pem_key_write(bed.key, key, &why), FR_OK);
    assert_fails(&bed, FR_ERR_CONFIG, "is not that of the certificate");
    assert_int_equal(tls_pem_write(bed.waiting, fr_buf_view(&stray), 0600, &why), FR_OK);
    assert_fails(&bed, FR_ERR_CONFIG, "is not that of the certificate");
    assert_int_equal(access(bed.waiting, F_OK), 0);
    assert_int_equal(tls_pem_write(bed.waiting, fr_buf_view(&chain), 0600, &why), FR_OK);
    assert_good(&bed, key);
    assert_int_equal(access(bed.waiting, F_OK), -1);
    assert_good(&bed, key);
    fr_buf_fini(&stray);
    fr_buf_fini(&chain);
    EVP_PKEY_free(other);
    EVP_PKEY_free(key);
    bed_close(&bed);
}

/* ---- names ---------------------------------------------------------------------------------- */

static void
push(GENERAL_NAMES *names, int type, const char *bytes, int len)
{
    GENERAL_NAME *one = GENERAL_NAME_new();
    ASN1_STRING *string = type == GEN_IPADD ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
    assert_int_equal(ASN1_STRING_set(string, bytes, len), 1);
    GENERAL_NAME_set0_value(one, type, string);
    assert_true(sk_GENERAL_NAME_push(names, one) > 0);
}

static void
names_are_text(void **state)
{
    static const struct {
        const char *bytes;
        int type, len;
        bool names, addresses, both;
        const char *added;
    } rows[] = {
        {"b.example", GEN_DNS, 9, true, true, true, " b.example"},
        {"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", GEN_IPADD, 16, true, true, true,
         " 2001:db8::1"},
        {"b\0.example", GEN_DNS, 10, false, true, false, ""},
        {"b manager", GEN_DNS, 9, false, true, false, ""},
        {"", GEN_DNS, 0, false, true, false, ""},
        {"\x01\x02\x03", GEN_IPADD, 3, true, false, false, ""},
        {"me@b.example", GEN_EMAIL, 12, true, true, false, ""},
    };
    EVP_PKEY *key = tls_pem_key_new();
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char out[100], expected[100];
        GENERAL_NAMES *names = GENERAL_NAMES_new();
        push(names, GEN_DNS, "a.example", 9);
        push(names, GEN_IPADD, "\xc0\x00\x02\x01", 4);
        push(names, rows[i].type, rows[i].bytes, rows[i].len);
        X509 *made = certificate_of(key, names);
        assert_int_equal(tls_pem_names(made, TLS_PEM_NAMES, out, sizeof(out)), rows[i].names);
        (void)snprintf(expected, sizeof(expected), "a.example%s",
                       rows[i].type == GEN_DNS ? rows[i].added : "");
        assert_string_equal(out, expected);
        assert_int_equal(tls_pem_names(made, TLS_PEM_ADDRESSES, out, sizeof(out)),
                         rows[i].addresses);
        (void)snprintf(expected, sizeof(expected), "192.0.2.1%s",
                       rows[i].type == GEN_IPADD ? rows[i].added : "");
        assert_string_equal(out, expected);
        assert_int_equal(tls_pem_names(made, TLS_PEM_NAMES | TLS_PEM_ADDRESSES, out, sizeof(out)),
                         rows[i].both);
        (void)snprintf(expected, sizeof(expected), "a.example 192.0.2.1%s", rows[i].added);
        assert_string_equal(out, expected);
        assert_false(tls_pem_names(made, TLS_PEM_NAMES | TLS_PEM_ADDRESSES, out, 12));
        assert_string_equal(out, "a.example"); /* as many as fit */
        X509_free(made);
        GENERAL_NAMES_free(names);
    }
    EVP_PKEY_free(key);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_say_what_is_known),
        cmocka_unit_test(writing_says_why),
        cmocka_unit_test(a_pair_is_made_whole),
        cmocka_unit_test(names_are_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
