/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_tickets.c - the keys that seal resumption tickets.
 *
 * A key seals until the next rotation and opens until the one after, so that a ticket is good for
 * at least one whole period and a key that leaks opens at most two. Keys live in memory only: a
 * restart forgets them, and clients shake hands in full again.
 *
 * Threads:    any; one lock, for the copy of a key.
 * Follows:    RFC 5077 section 5.5 (AES-256-CBC, HMAC-SHA-256).
 */
#include "tls/tls_priv.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>

#define NAME_BYTES 16
#define KEY_BYTES 32
#define IV_BYTES 16

struct ticket_key {
    bool good;
    unsigned char name[NAME_BYTES];
    unsigned char cipher[KEY_BYTES];
    unsigned char mac[KEY_BYTES];
};

struct tls_tickets {
    pthread_mutex_t lock;
    struct ticket_key now, before;
};

static void
make_key(struct ticket_key *key)
{
    key->good = RAND_bytes(key->name, NAME_BYTES) == 1 &&
                RAND_priv_bytes(key->cipher, KEY_BYTES) == 1 &&
                RAND_priv_bytes(key->mac, KEY_BYTES) == 1;
}

struct tls_tickets *
tls_tickets_new(void)
{
    struct tls_tickets *tickets = fr_xalloc(sizeof(*tickets));
    pthread_mutex_init(&tickets->lock, NULL);
    make_key(&tickets->now);
    return tickets;
}

void
tls_tickets_rotate(struct tls_tickets *tickets)
{
    struct ticket_key fresh;
    make_key(&fresh);
    pthread_mutex_lock(&tickets->lock);
    tickets->before = tickets->now;
    tickets->now = fresh;
    pthread_mutex_unlock(&tickets->lock);
    OPENSSL_cleanse(&fresh, sizeof(fresh));
}

void
tls_tickets_free(struct tls_tickets **tickets)
{
    struct tls_tickets *t = *tickets;
    *tickets = NULL;
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    OPENSSL_cleanse(t, sizeof(*t));
    fr_free(t);
}

/* The key of that name (NULL: the one that seals now); false: none. */
static bool
find_key(struct tls_tickets *tickets, const unsigned char *name, struct ticket_key *out,
         bool *out_old)
{
    bool found = false;
    pthread_mutex_lock(&tickets->lock);
    const struct ticket_key *keys[] = {&tickets->now, &tickets->before};
    for (int i = 0; i < 2 && !found; i++) {
        if (!keys[i]->good || (name && memcmp(keys[i]->name, name, NAME_BYTES) != 0))
            continue;
        *out = *keys[i];
        *out_old = i > 0;
        found = true;
    }
    pthread_mutex_unlock(&tickets->lock);
    return found;
}

static bool
set_mac(EVP_MAC_CTX *mac, struct ticket_key *key)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, KEY_BYTES),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* 1: go on; 2: go on and give the client a new ticket; 0: no ticket, a full handshake. */
int
tls__tickets_on_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                    EVP_MAC_CTX *mac, int sealing)
{
    struct tls_tickets *tickets = tls__server_tickets(ssl);
    struct ticket_key key;
    bool old = false;
    if (!tickets || !find_key(tickets, sealing ? NULL : name, &key, &old))
        return 0;
    bool ok;
    if (sealing) {
        memcpy(name, key.name, NAME_BYTES);
        ok = RAND_bytes(iv, IV_BYTES) == 1 &&
             EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv) == 1;
    } else {
        ok = EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv) == 1;
    }
    ok = ok && set_mac(mac, &key);
    OPENSSL_cleanse(&key, sizeof(key));
    if (!ok)
        return 0;
    /* A client of TLS 1.3 uses each ticket once (RFC 8446 appendix C.4), so it gets another. */
    return old || SSL_version(ssl) == TLS1_3_VERSION ? 2 : 1;
}
