/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acme.h - certificates that come by themselves, and renew themselves.
 *
 * May touch:  base, loop, tls, libcurl, Jansson, OpenSSL; files below its folder.
 * Threads:    the control loop decides when; one thread of its own talks to the authority, and may
 *             block. Challenges are put where workers read them (acme_answers, tls_challenges),
 *             each under a lock of its own that nobody takes while there is no challenge.
 * Memory:     a few documents of an authority at a time.
 * Limits:     one order at a time; 30 s a call, 1 MiB an answer, ACME_ORDER_US an order; after a
 *             failure at least ACME_RETRY_MIN_US, doubled with each in a row up to
 *             ACME_RETRY_MAX_US, or as long as the authority says.
 * Trusts:     the authority's HTTPS by `ca`, and nothing that it sends: a certificate must be for
 *             the key that was made for it.
 * Follows:    RFC 8555, RFC 8737 (tls-alpn-01), RFC 7515 and 7638 (signatures, thumbprints).
 */
#ifndef ACME_H
#define ACME_H

#include "base/fr_err.h"
#include "base/fr_view.h"
#include "loop/loop.h"
#include "tls/tls.h"

#define ACME_RETRY_MIN_US 60000000LL    /* after a failure; doubles … */
#define ACME_RETRY_MAX_US 21600000000LL /* … up to this */
#define ACME_ORDER_US 180000000LL       /* for one order, from its first call to its files */
#define ACME_DOMAINS_MAX 100            /* of one certificate */
#define ACME_TOKENS_MAX 256             /* challenges under way */

/* ---- http-01: what is answered below /.well-known/acme-challenge/ --------------------------- */

#define ACME_ANSWER_BYTES 512
#define ACME_PATH "/.well-known/acme-challenge/"

struct acme_answers;
struct acme_answers *acme_answers_new(void);
void acme_answers_free(struct acme_answers **answers); /* after every worker */
/* Any thread. False: no such token; then the path is a path like any other. */
bool acme_answers_find(struct acme_answers *answers, struct fr_view path,
                       char out[ACME_ANSWER_BYTES]);

/* ---- orders --------------------------------------------------------------------------------- */

enum acme_challenge { ACME_TLS_ALPN, ACME_HTTP };

struct acme_order {                                         /* texts are copied */
    const char *directory, *email, *ca, *key_id, *hmac_key; /* NULL but directory: none */
    char *const *domains;                                   /* up to a NULL */
    enum acme_challenge challenge;
    const char *certificate, *key; /* the files that it keeps */
};

enum acme_news { ACME_CERTIFIED, ACME_FAILED };
/* On the control loop. words: the domain, and why. next_us: until the next try. */
typedef void (*acme_fn)(void *ctx, enum acme_news news, const char *domain, const char *words,
                        int64_t next_us);

struct acme;
struct acme_options {
    struct loop *loop;
    const char *folder;                /* for account keys */
    struct tls_challenges *challenges; /* borrowed, as is the next */
    struct acme_answers *answers;
    acme_fn fn;
    void *ctx;
    int64_t order_us; /* 0: ACME_ORDER_US */
};
struct acme *acme_new(const struct acme_options *options);
/* What is wanted from now on; those that were wanted before go on as they stood. */
void acme_set(struct acme *acme, const struct acme_order *orders, size_t count);
/* Ends what is under way; joins its thread. */
void acme_free(struct acme **acme);

struct acme_counters {
    uint64_t certified, failed;
};
void acme_read_counters(const struct acme *acme, struct acme_counters *out);

/* A pair of files for a domain that has none yet, signed by nobody. */
FR_MUST_USE enum fr_err acme_placeholder(const char *certificate, const char *key,
                                         const char *domain, int64_t now_s, char **out_why);

#endif
