/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tls_challenges.c - who is shown a challenge's certificate: a client that offers acme-tls/1
 * and nothing else, for a host that is being proved.
 */
#include "tls/tls_priv.h"

#include <openssl/bio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static X509 *
certificate_of(EVP_PKEY *key)
{
    X509 *made = X509_new();
    assert_int_equal(X509_set_version(made, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(made), 7), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(made), -60));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(made), 3600));
    assert_int_equal(X509_set_pubkey(made, key), 1);
    assert_true(X509_sign(made, key, EVP_sha256()) > 0);
    return made;
}

struct seen {
    struct tls_challenges *challenges;
    bool offered, shown;
};

static int
on_hello(SSL *ssl, int *alert, void *ctx)
{
    struct seen *seen = ctx;
    (void)alert;
    seen->offered = tls__challenges_offered(seen->challenges, ssl);
    return SSL_CLIENT_HELLO_SUCCESS;
}

static int
on_certificate(SSL *ssl, void *ctx)
{
    struct seen *seen = ctx;
    seen->shown =
        seen->offered &&
        tls__challenges_show(seen->challenges, ssl,
                             fr_view_of(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)));
    return 1;
}

/* One ClientHello, read by a server. */
static struct seen
hello(struct tls_challenges *challenges, const char *host, const unsigned char *protocols,
      unsigned bytes)
{
    struct seen seen = {.challenges = challenges};
    SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX *server_ctx = SSL_CTX_new(TLS_server_method());
    BIO *to_server = BIO_new(BIO_s_mem()), *to_client = BIO_new(BIO_s_mem());
    SSL_CTX_set_client_hello_cb(server_ctx, on_hello, &seen);
    SSL_CTX_set_cert_cb(server_ctx, on_certificate, &seen);
    SSL *client = SSL_new(client_ctx), *server = SSL_new(server_ctx);
    assert_int_equal(SSL_set_tlsext_host_name(client, host), 1);
    if (bytes > 0)
        assert_int_equal(SSL_set_alpn_protos(client, protocols, bytes), 0);
    assert_int_equal(BIO_up_ref(to_server), 1);
    assert_int_equal(BIO_up_ref(to_client), 1);
    SSL_set_bio(client, to_client, to_server);
    SSL_set_bio(server, to_server, to_client);
    (void)SSL_connect(client); /* as far as it goes without an answer */
    (void)SSL_accept(server);
    SSL_free(client);
    SSL_free(server);
    SSL_CTX_free(client_ctx);
    SSL_CTX_free(server_ctx);
    ERR_clear_error();
    return seen;
}

#define ACME                                                                                       \
    "\x0a"                                                                                         \
    "acme-tls/1"
#define HELLO(host, protocols)                                                                     \
    hello(challenges, host, (const unsigned char *)(protocols), sizeof(protocols) - 1)

static void
test_who_is_shown(void **state)
{
    struct tls_challenges *challenges = tls_challenges_new();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = certificate_of(key);
    (void)state;
    assert_false(HELLO("one.example", ACME).offered); /* nothing is being proved */
    assert_true(tls_challenges_put(challenges, "one.example", certificate, key));
    assert_true(HELLO("one.example", ACME).shown);
    assert_true(HELLO("ONE.example", ACME).shown);
    assert_true(HELLO("two.example", ACME).offered);
    assert_false(HELLO("two.example", ACME).shown);
    assert_false(HELLO("one.example", "").offered);
    assert_false(HELLO("one.example", "\x08http/1.1").offered);
    assert_false(HELLO("one.example", ACME "\x08http/1.1").offered); /* a client, no authority */
    tls_challenges_remove(challenges, "one.example");
    assert_false(HELLO("one.example", ACME).offered);
    tls_challenges_remove(challenges, "one.example"); /* twice is once */
    X509_free(certificate);
    EVP_PKEY_free(key);
    tls_challenges_free(&challenges);
}

static void
test_full(void **state)
{
    struct tls_challenges *challenges = tls_challenges_new();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = certificate_of(key);
    (void)state;
    for (int i = 0; i < TLS_CHALLENGES_MAX; i++) {
        char host[32];
        (void)snprintf(host, sizeof(host), "h%d.example", i);
        assert_true(tls_challenges_put(challenges, host, certificate, key));
    }
    assert_false(tls_challenges_put(challenges, "one.example", certificate, key));
    tls_challenges_remove(challenges, "h9.example");
    assert_true(tls_challenges_put(challenges, "one.example", certificate, key));
    assert_true(HELLO("one.example", ACME).shown);
    X509_free(certificate);
    EVP_PKEY_free(key);
    tls_challenges_free(&challenges); /* those that are left */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_shown),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
