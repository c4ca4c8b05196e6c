/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_acme_flow.c - what came of an order whose time was over while it went on: with an authority
 * of the test's own in the place of the calls.
 */
#include "acme/acme_priv.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct {
    const char *ending, *body;
} answers[] = {
    {"/dir", "{\"newNonce\":\"https://a/nonce\",\"newAccount\":\"https://a/account\","
             "\"newOrder\":\"https://a/new\"}"},
    {"/nonce", ""},
    {"/account", "{}"},
    {"/new", "{\"authorizations\":[\"https://a/authz\"],\"finalize\":\"https://a/csr\"}"},
    {"/authz",
     "{\"status\":\"valid\",\"identifier\":{\"type\":\"dns\",\"value\":\"one.example\"}}"},
    {"/csr", "{}"},
    {"/order", "{\"status\":\"valid\",\"certificate\":\"https://a/certificate\"}"},
    {"/certificate", ""},
};

struct bed {
    char folder[32], certificate[64], key[64], account[64];
    struct acme__job job;
    const char *over_at; /* the order's time is over while this is called */
    EVP_PKEY *asked_for; /* of the request */
};

static struct bed *bed_of_call; /* the calls have no place for one */

/* "payload":"BASE64URL" of a JWS, as bytes. */
static size_t
payload_of(const char *jws, unsigned char *out, size_t out_bytes)
{
    json_t *root = json_loads(jws, 0, NULL);
    const char *text = json_string_value(json_object_get(root, "payload"));
    char *padded = fr_xalloc(strlen(text) + 4);
    size_t len = strlen(text);
    assert_true(len + 4 < out_bytes);
    for (size_t i = 0; i < len; i++)
        padded[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
    size_t whole = (len + 3) / 4 * 4;
    memset(padded + len, '=', whole - len);
    assert_true(EVP_DecodeBlock(out, (unsigned char *)padded, (int)whole) >= 0);
    fr_free(padded);
    json_decref(root);
    return whole / 4 * 3 - (whole - len);
}

static EVP_PKEY *
key_of_request(const char *jws)
{
    unsigned char text[4096], der[4096];
    size_t len = payload_of(jws, text, sizeof(text));
    json_t *root = json_loadb((char *)text, len, 0, NULL);
    char *again =
        fr_xprintf("{\"payload\":\"%s\"}", json_string_value(json_object_get(root, "csr")));
    const unsigned char *at = der;
    len = payload_of(again, der, sizeof(der));
    X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)len);
    EVP_PKEY *key = X509_REQ_get_pubkey(request);
    X509_REQ_free(request);
    fr_free(again);
    json_decref(root);
    return key;
}

static void
put_certificate(struct fr_buf *out, EVP_PKEY *for_key)
{
    EVP_PKEY *signer = tls_pem_key_new();
    X509 *made = acme__self_signed(signer, "one.example", NULL, 1000000, 90);
    assert_int_equal(X509_set_pubkey(made, for_key), 1);
    assert_int_equal(tls_pem_certificate_put(made, out), FR_OK);
    X509_free(made);
    EVP_PKEY_free(signer);
}

enum fr_err
acme__http(const char *url, const char *ca, const char *body, bool head,
           const atomic_bool *cancelled, struct acme__reply *out, char why[ACME_WHY_BYTES])
{
    struct bed *bed = bed_of_call;
    const char *ending = strrchr(url, '/');
    (void)ca, (void)head, (void)cancelled, (void)why;
    *out = (struct acme__reply){.status = 200, .nonce = fr_xstrdup("once")};
    fr_buf_init(&out->body, ACME_BODY_BYTES_MAX);
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        if (strcmp(answers[i].ending, ending) == 0)
            assert_int_equal(fr_buf_append_view(&out->body, fr_view_of(answers[i].body)), FR_OK);
    if (strcmp(ending, "/account") == 0)
        out->location = fr_xstrdup("https://a/account/1");
    if (strcmp(ending, "/new") == 0)
        out->location = fr_xstrdup("https://a/order");
    if (strcmp(ending, "/csr") == 0)
        bed->asked_for = key_of_request(body);
    if (strcmp(ending, "/certificate") == 0)
        put_certificate(&out->body, bed->asked_for);
    if (bed->over_at && strcmp(ending, bed->over_at) == 0) {
        atomic_store(&bed->job.late, true);
        atomic_store(&bed->job.cancelled, true);
        if (strcmp(ending, "/certificate") != 0)
            out->status = 500; /* as a call that is cut: of no use */
    }
    return FR_OK;
}

void
acme__reply_fini(struct acme__reply *reply)
{
    fr_buf_fini(&reply->body);
    fr_free(reply->nonce);
    fr_free(reply->location);
}

static void
order(struct bed *bed, const char *over_at)
{
    static char one[] = "one.example", directory[] = "https://a/dir";
    static char *names[] = {one, NULL};
    *bed = (struct bed){.folder = "/tmp/freshet-flow-XXXXXX", .over_at = over_at};
    assert_non_null(mkdtemp(bed->folder));
    (void)snprintf(bed->certificate, sizeof(bed->certificate), "%s/one.pem", bed->folder);
    (void)snprintf(bed->key, sizeof(bed->key), "%s/one.key", bed->folder);
    (void)snprintf(bed->account, sizeof(bed->account), "%s/account.key", bed->folder);
    bed->job.directory = directory;
    bed->job.domains = names;
    bed->job.certificate = bed->certificate;
    bed->job.key = bed->key;
    bed->job.account_path = bed->account;
    bed_of_call = bed;
    acme__flow(&bed->job);
}

static void
bed_close(struct bed *bed, bool fetched)
{
    EVP_PKEY_free(bed->asked_for);
    assert_int_equal(unlink(bed->account), 0);
    assert_int_equal(unlink(bed->key) == 0, fetched);
    assert_int_equal(unlink(bed->certificate) == 0, fetched);
    assert_int_equal(rmdir(bed->folder), 0);
}

static void
test_an_order(void **state)
{
    struct bed bed;
    (void)state;
    order(&bed, NULL);
    assert_int_equal(bed.job.err, FR_OK);
    bed_close(&bed, true);
}

/* The files are there, and good for ninety days: not to be fetched again in a minute. */
static void
test_done_as_its_time_was_over(void **state)
{
    struct bed bed;
    (void)state;
    order(&bed, "/certificate");
    assert_int_equal(bed.job.err, FR_OK);
    bed_close(&bed, true);
}

static void
test_not_done_when_its_time_was_over(void **state)
{
    struct bed bed;
    (void)state;
    order(&bed, "/csr");
    assert_int_equal(bed.job.err, FR_ERR_TIMEOUT);
    assert_non_null(strstr(bed.job.why, "not done with it within 180 s"));
    bed_close(&bed, false);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_order),
        cmocka_unit_test(test_done_as_its_time_was_over),
        cmocka_unit_test(test_not_done_when_its_time_was_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
