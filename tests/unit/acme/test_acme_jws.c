/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_acme_jws.c - base64url, the key of RFC 7515 appendix A.3, and a signature that holds.
 */
#include "acme/acme_priv.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/param_build.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void
test_base64url(void **state)
{
    static const struct {
        const char *bytes, *text;
    } rows[] = {{"", ""},        {"f", "Zg"},        {"fo", "Zm8"},
                {"foo", "Zm9v"}, {"foob", "Zm9vYg"}, {"\xff\xff\xfe", "___-"},
                {"\xfb", "-w"}}; /* RFC 4648 section 10 and its last two */
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *text = acme__base64url(rows[i].bytes, strlen(rows[i].bytes));
        assert_string_equal(text, rows[i].text);
        fr_free(text);
    }
}

/* RFC 7515 appendix A.3: its two coordinates. */
static EVP_PKEY *
key_of_the_rfc(void)
{
    static const unsigned char point[65] = {
        4,   127, 205, 206, 39,  112, 246, 196, 93,  65,  131, 203, 238, 111, 219, 75,  123,
        88,  7,   51,  53,  123, 233, 239, 19,  186, 207, 110, 60,  123, 209, 84,  69,  199,
        241, 68,  205, 27,  189, 155, 126, 135, 44,  223, 237, 185, 238, 185, 244, 179, 105,
        93,  110, 169, 11,  36,  173, 138, 70,  35,  40,  133, 136, 229, 173};
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    assert_int_equal(OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0),
                     1);
    assert_int_equal(
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)), 1);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params), 1);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static void
test_thumbprint(void **state)
{
    EVP_PKEY *key = key_of_the_rfc();
    char *jwk = acme__jwk(key);
    char *thumbprint = acme__thumbprint(key);
    (void)state;
    assert_string_equal(jwk, "{\"crv\":\"P-256\",\"kty\":\"EC\","
                             "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                             "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}");
    /* SHA-256 of that text, by another program. */
    assert_string_equal(thumbprint, "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
    fr_free(thumbprint);
    fr_free(jwk);
    EVP_PKEY_free(key);
}

static size_t
decode(const char *text, unsigned char *out)
{
    char padded[1024];
    int len = (int)strlen(text), more = (4 - len % 4) % 4;
    (void)snprintf(padded, sizeof(padded), "%s%.*s", text, more, "===");
    for (char *c = padded; *c; c++)
        *c = (char)(*c == '-' ? '+' : *c == '_' ? '/' : *c);
    int got = EVP_DecodeBlock(out, (const unsigned char *)padded, (int)strlen(padded));
    assert_true(got >= more);
    return (size_t)(got - more);
}

static void
test_signature(void **state)
{
    EVP_PKEY *key = tls_pem_key_new();
    (void)state;
    for (int i = 0; i < 20; i++) { /* numbers with a leading zero are as long as others */
        unsigned char raw[128], head[1024];
        char *text = acme__jws(key, i % 2 ? "kid" : NULL, "a-nonce", "https://a/b", "{}");
        json_t *root = json_loads(text, 0, NULL);
        const char *protected64 = json_string_value(json_object_get(root, "protected"));
        const char *payload64 = json_string_value(json_object_get(root, "payload"));
        assert_int_equal(decode(json_string_value(json_object_get(root, "signature")), raw), 64);
        head[decode(protected64, head)] = '\0';
        assert_non_null(strstr((char *)head, "\"nonce\":\"a-nonce\""));
        assert_non_null(strstr((char *)head, i % 2 ? "\"kid\":\"kid\"" : "\"jwk\":{\"crv\""));
        char *input = fr_xprintf("%s.%s", protected64, payload64);
        ECDSA_SIG *pair = ECDSA_SIG_new();
        assert_int_equal(
            ECDSA_SIG_set0(pair, BN_bin2bn(raw, 32, NULL), BN_bin2bn(raw + 32, 32, NULL)), 1);
        unsigned char *der = NULL;
        int der_bytes = i2d_ECDSA_SIG(pair, &der);
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
        assert_int_equal(EVP_DigestVerify(ctx, der, (size_t)der_bytes, (const unsigned char *)input,
                                          strlen(input)),
                         1);
        EVP_MD_CTX_free(ctx);
        OPENSSL_free(der);
        ECDSA_SIG_free(pair);
        fr_free(input);
        json_decref(root);
        fr_free(text);
    }
    EVP_PKEY_free(key);
}

static void
test_binding(void **state)
{
    EVP_PKEY *key = tls_pem_key_new();
    (void)state;
    char *text = acme__jws_binding(key, "kid-1", "Zm9v", "https://a/b");
    assert_non_null(text);
    fr_free(text);
    assert_null(acme__jws_binding(key, "kid-1", "no base64url!", "https://a/b"));
    EVP_PKEY_free(key);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64url),
        cmocka_unit_test(test_thumbprint),
        cmocka_unit_test(test_signature),
        cmocka_unit_test(test_binding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
