/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acme_priv.h - what the files of this room share.
 */
#ifndef ACME_PRIV_H
#define ACME_PRIV_H

#include "acme/acme.h"
#include "base/fr_buf.h"
#include "base/fr_mem.h"
#include "tls/tls_pem.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdatomic.h>

#define ACME_BODY_BYTES_MAX ((size_t)1 << 20)
#define ACME_WHY_BYTES 400

/* ---- acme_jws.c ----------------------------------------------------------------------------- */

char *acme__base64url(const void *bytes, size_t count); /* fr_free */
/* The public half of a P-256 key as a JWK, its members in the order of RFC 7638. NULL: out of
 * memory. */
char *acme__jwk(EVP_PKEY *key);
char *acme__thumbprint(EVP_PKEY *key);
/* A flattened JWS (RFC 7515 section 7.2.2): ES256 by key. kid NULL: with the key itself. */
char *acme__jws(EVP_PKEY *key, const char *kid, const char *nonce, const char *url,
                const char *payload);
/* The inner one of RFC 8555 section 7.3.4: HS256 by the other account's key. */
char *acme__jws_binding(EVP_PKEY *key, const char *key_id, const char *hmac_key, const char *url);

/* ---- acme_http.c ---------------------------------------------------------------------------- */

struct acme__reply {
    long status;
    struct fr_buf body;
    char *nonce, *location; /* NULL: not said */
    int64_t retry_after_s;  /* 0: not said, or not in seconds */
};
/* HEAD when body is NULL and head, GET when only body is NULL, else POST of a JWS. */
FR_MUST_USE enum fr_err acme__http(const char *url, const char *ca, const char *body, bool head,
                                   const atomic_bool *cancelled, struct acme__reply *out,
                                   char why[ACME_WHY_BYTES]);
void acme__reply_fini(struct acme__reply *reply);

/* ---- acme_certificate.c --------------------------------------------------------------------- */

/* digest (32 bytes): for tls-alpn-01 (RFC 8737 section 3); NULL: a placeholder. */
X509 *acme__self_signed(EVP_PKEY *key, const char *domain, const unsigned char *digest,
                        int64_t now_s, unsigned days);
/* A request for these names, DER in base64url. */
char *acme__request(EVP_PKEY *key, char *const *domains);
/* When the certificate of a pair begins and ends. False: none is there, it is a placeholder, it is
 * not for these names or not for its key. */
bool acme__lifetime(const struct tls_pem_pair *paths, char *const *domains, int64_t *out_begins_s,
                    int64_t *out_ends_s);

/* ---- acme_answers.c ------------------------------------------------------------------------- */

bool acme__answers_put(struct acme_answers *answers, const char *token, const char *text);
void acme__answers_remove(struct acme_answers *answers, const char *token);

/* ---- acme_flow.c ---------------------------------------------------------------------------- */

struct acme__job { /* one order: all that its thread needs */
    char *directory, *email, *ca, *key_id, *hmac_key;
    char **domains;
    enum acme_challenge challenge;
    char *certificate, *key;
    char *account_path;
    struct tls_challenges *challenges;
    struct acme_answers *answers;
    int64_t now_s;    /* when it began */
    int64_t begun_us; /* of loop_now_us */
    atomic_bool cancelled;
    atomic_bool late;   /* and that because its time is over */
    struct acme *owner; /* NULL: gone; read on the control loop only */
    struct loop_msg done;
    /* what came of it */
    enum fr_err err;
    char why[ACME_WHY_BYTES];
    int64_t retry_after_s;
};
void acme__flow(struct acme__job *job); /* blocks */

#endif
