/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acme_jws.c - signed requests: base64url, JWK, JWS.
 *
 * Follows:    RFC 4648 section 5, RFC 7515, RFC 7517, RFC 7518 section 3.4 (a signature is the two
 *             numbers side by side, not DER), RFC 7638, RFC 8555 section 6.2 and 7.3.4.
 */
#include "acme/acme_priv.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#define COORDINATE_BYTES 32 /* of P-256 */

char *
acme__base64url(const void *bytes, size_t count)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *from = bytes;
    char *text = fr_xalloc((count + 2) / 3 * 4 + 1);
    size_t used = 0;
    for (size_t i = 0; i < count; i += 3) {
        size_t left = count - i;
        uint32_t three = (uint32_t)from[i] << 16;
        three |= left > 1 ? (uint32_t)from[i + 1] << 8 : 0;
        three |= left > 2 ? from[i + 2] : 0;
        text[used++] = digits[three >> 18];
        text[used++] = digits[three >> 12 & 63];
        if (left > 1)
            text[used++] = digits[three >> 6 & 63];
        if (left > 2)
            text[used++] = digits[three & 63];
    }
    text[used] = '\0';
    return text;
}

static int
digit_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '-' || c == '+')
        return 62;
    return c == '_' || c == '/' ? 63 : -1;
}

/* fr_free; NULL: not base64url. */
static unsigned char *
decode(const char *text, size_t *out_count)
{
    size_t len = strcspn(text, "="), used = 0;
    unsigned char *bytes = fr_xalloc(len + 1);
    uint32_t bits = 0;
    int held = 0;
    for (size_t i = 0; i < len; i++) {
        int digit = digit_of(text[i]);
        if (digit < 0) {
            fr_free(bytes);
            return NULL;
        }
        bits = bits << 6 | (uint32_t)digit;
        held += 6;
        if (held >= 8) {
            held -= 8;
            bytes[used++] = (unsigned char)(bits >> held);
        }
    }
    *out_count = used;
    return bytes;
}

static char *
coordinate(EVP_PKEY *key, const char *name)
{
    BIGNUM *number = NULL;
    unsigned char bytes[COORDINATE_BYTES];
    char *text = NULL;
    if (EVP_PKEY_get_bn_param(key, name, &number) == 1 &&
        BN_bn2binpad(number, bytes, sizeof(bytes)) == (int)sizeof(bytes))
        text = acme__base64url(bytes, sizeof(bytes));
    BN_free(number);
    return text;
}

char *
acme__jwk(EVP_PKEY *key)
{
    char *x = coordinate(key, OSSL_PKEY_PARAM_EC_PUB_X);
    char *y = coordinate(key, OSSL_PKEY_PARAM_EC_PUB_Y);
    char *text = NULL;
    if (x && y)
        text = fr_xprintf("{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}", x, y);
    fr_free(x);
    fr_free(y);
    return text;
}

char *
acme__thumbprint(EVP_PKEY *key)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    char *jwk = acme__jwk(key), *text = NULL;
    if (jwk && EVP_Digest(jwk, strlen(jwk), digest, &len, EVP_sha256(), NULL) == 1)
        text = acme__base64url(digest, len);
    fr_free(jwk);
    return text;
}

/* The two numbers of an ECDSA signature, side by side. */
static bool
sign(EVP_PKEY *key, const char *text, unsigned char out[2 * COORDINATE_BYTES])
{
    unsigned char der[128];
    size_t der_bytes = sizeof(der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const unsigned char *at = der;
    ECDSA_SIG *pair = NULL;
    if (ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestSign(ctx, der, &der_bytes, (const unsigned char *)text, strlen(text)) == 1)
        pair = d2i_ECDSA_SIG(NULL, &at, (long)der_bytes);
    bool ok = pair &&
              BN_bn2binpad(ECDSA_SIG_get0_r(pair), out, COORDINATE_BYTES) == COORDINATE_BYTES &&
              BN_bn2binpad(ECDSA_SIG_get0_s(pair), out + COORDINATE_BYTES, COORDINATE_BYTES) ==
                  COORDINATE_BYTES;
    ECDSA_SIG_free(pair);
    EVP_MD_CTX_free(ctx);
    return ok;
}

static char *
flatten(char *protected64, char *payload64, const unsigned char *signature, size_t bytes)
{
    char *signature64 = acme__base64url(signature, bytes);
    char *text = fr_xprintf("{\"protected\":\"%s\",\"payload\":\"%s\",\"signature\":\"%s\"}",
                            protected64, payload64, signature64);
    fr_free(signature64);
    return text;
}

char *
acme__jws(EVP_PKEY *key, const char *kid, const char *nonce, const char *url, const char *payload)
{
    unsigned char signature[2 * COORDINATE_BYTES];
    char *jwk = acme__jwk(key), *result = NULL;
    json_t *head = json_pack("{s:s, s:s, s:s}", "alg", "ES256", "nonce", nonce, "url", url);
    if (kid)
        (void)json_object_set_new(head, "kid", json_string(kid));
    else if (jwk)
        (void)json_object_set_new(head, "jwk", json_loads(jwk, 0, NULL));
    char *head_text = json_dumps(head, JSON_COMPACT);
    if (jwk && head_text) {
        char *protected64 = acme__base64url(head_text, strlen(head_text));
        char *payload64 = acme__base64url(payload, strlen(payload));
        char *input = fr_xprintf("%s.%s", protected64, payload64);
        if (sign(key, input, signature))
            result = flatten(protected64, payload64, signature, sizeof(signature));
        fr_free(input);
        fr_free(payload64);
        fr_free(protected64);
    }
    free(head_text); /* tidy: allow call: Jansson's allocation, not ours */
    json_decref(head);
    fr_free(jwk);
    return result;
}

char *
acme__jws_binding(EVP_PKEY *key, const char *key_id, const char *hmac_key, const char *url)
{
    unsigned char signature[EVP_MAX_MD_SIZE];
    unsigned int bytes = 0;
    size_t secret_bytes = 0;
    unsigned char *secret = decode(hmac_key, &secret_bytes);
    char *jwk = acme__jwk(key), *result = NULL;
    json_t *head = json_pack("{s:s, s:s, s:s}", "alg", "HS256", "kid", key_id, "url", url);
    char *head_text = json_dumps(head, JSON_COMPACT);
    if (secret && jwk && head_text) {
        char *protected64 = acme__base64url(head_text, strlen(head_text));
        char *payload64 = acme__base64url(jwk, strlen(jwk));
        char *input = fr_xprintf("%s.%s", protected64, payload64);
        if (HMAC(EVP_sha256(), secret, (int)secret_bytes, (const unsigned char *)input,
                 strlen(input), signature, &bytes))
            result = flatten(protected64, payload64, signature, bytes);
        fr_free(input);
        fr_free(payload64);
        fr_free(protected64);
    }
    free(head_text); /* tidy: allow call: Jansson's allocation, not ours */
    json_decref(head);
    fr_free(jwk);
    if (secret)
        OPENSSL_cleanse(secret, secret_bytes);
    fr_free(secret);
    return result;
}
