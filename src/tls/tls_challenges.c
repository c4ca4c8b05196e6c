/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_challenges.c - certificates that prove a name to an authority (tls-alpn-01).
 *
 * Threads:    any; a lock of its own, taken only for a client that offers acme-tls/1 while there is
 *             a challenge, which is nearly never.
 * When full:  TLS_CHALLENGES_MAX; the challenge fails, and is tried again later.
 * Follows:    RFC 8737 section 3.
 */
#include "base/fr_lock.h"
#include "tls/tls_priv.h"

#include <stdatomic.h>
#include <string.h>

struct challenge {
    char *domain;
    X509 *certificate;
    EVP_PKEY *key;
};

struct tls_challenges {
    struct fr_lock lock;
    atomic_uint count;
    struct challenge list[TLS_CHALLENGES_MAX];
};

struct tls_challenges *
tls_challenges_new(void)
{
    struct tls_challenges *challenges = fr_xalloc(sizeof(*challenges));
    fr_lock_init(&challenges->lock);
    return challenges;
}

static void
clear(struct challenge *challenge)
{
    fr_free(challenge->domain);
    X509_free(challenge->certificate);
    EVP_PKEY_free(challenge->key);
}

void
tls_challenges_free(struct tls_challenges **challenges)
{
    struct tls_challenges *c = *challenges;
    *challenges = NULL;
    if (!c)
        return;
    for (unsigned i = 0; i < atomic_load(&c->count); i++)
        clear(&c->list[i]);
    fr_lock_fini(&c->lock);
    fr_free(c);
}

bool
tls_challenges_put(struct tls_challenges *challenges, const char *domain,
                   struct x509_st *certificate, struct evp_pkey_st *key)
{
    fr_lock_take(&challenges->lock);
    unsigned count = atomic_load(&challenges->count);
    bool room =
        count < TLS_CHALLENGES_MAX && X509_up_ref(certificate) == 1 && EVP_PKEY_up_ref(key) == 1;
    if (room) {
        challenges->list[count] = (struct challenge){fr_xstrdup(domain), certificate, key};
        atomic_store(&challenges->count, count + 1);
    }
    fr_lock_give(&challenges->lock);
    return room;
}

void
tls_challenges_remove(struct tls_challenges *challenges, const char *domain)
{
    fr_lock_take(&challenges->lock);
    unsigned count = atomic_load(&challenges->count);
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(challenges->list[i].domain, domain) != 0)
            continue;
        clear(&challenges->list[i]);
        challenges->list[i] = challenges->list[count - 1];
        atomic_store(&challenges->count, count - 1);
        break;
    }
    fr_lock_give(&challenges->lock);
}

bool
tls__challenges_offered(struct tls_challenges *challenges, SSL *ssl)
{
    static const char protocol[] = "\x0a"
                                   "acme-tls/1";
    const unsigned char *data = NULL;
    size_t bytes = 0;
    if (!challenges || atomic_load_explicit(&challenges->count, memory_order_relaxed) == 0 ||
        SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &data,
                                  &bytes) != 1)
        return false;
    /* A list of two bytes' length; the authority offers this one alone. */
    return bytes == 2 + sizeof(protocol) - 1 &&
           memcmp(data + 2, protocol, sizeof(protocol) - 1) == 0;
}

bool
tls__challenges_show(struct tls_challenges *challenges, SSL *ssl, struct fr_view name)
{
    bool shown = false;
    fr_lock_take(&challenges->lock);
    for (unsigned i = 0; i < atomic_load(&challenges->count) && !shown; i++) {
        const struct challenge *one = &challenges->list[i];
        shown = fr_view_ieq(name, fr_view_of(one->domain)) &&
                SSL_use_certificate(ssl, one->certificate) == 1 &&
                SSL_use_PrivateKey(ssl, one->key) == 1;
    }
    fr_lock_give(&challenges->lock);
    return shown;
}
