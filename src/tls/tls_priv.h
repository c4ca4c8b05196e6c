/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_priv.h - what the files of this room share.
 */
#ifndef TLS_PRIV_H
#define TLS_PRIV_H

#include "base/fr_buf.h"
#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "tls/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#define TLS_NAMES_MAX 1024        /* in one certificate; more are not answered for */
#define TLS_EARLY_BYTES_MAX 65536 /* received before TLS was put under a socket */
#define TLS_SESSION_MAGIC 0x746c7373u

/* One pair of files, read. */
struct tls__certificate {
    X509 *leaf;
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
    char **names; /* lower case; "*.example.com" as it stands */
    size_t name_count;
    char *path; /* what it is called by */
    int64_t ends_s;
    unsigned char *ocsp; /* NULL: none */
    size_t ocsp_bytes;
};

struct tls_server {
    uint32_t refs; /* atomic */
    SSL_CTX *ctx;
    struct tls__certificate *certificates;
    size_t certificate_count;
    char *crl; /* NULL: none */
    int64_t crl_ends_s;
    bool h2;
    struct tls_tickets *tickets;
    struct tls_challenges *challenges; /* NULL: none are answered */
};

struct tls_client {
    uint32_t refs; /* atomic */
    SSL_CTX *ctx;
    bool verify;
    char *name; /* NULL: the member's host */
};

struct tls_session {
    struct loop_filter filter;
    uint32_t magic;
    SSL *ssl;
    struct loop *loop;
    int fd;
    struct fr_buf early; /* read before anything from the kernel; then empty */
    size_t early_read;
    bool drained;   /* the kernel gave less than was asked for: no need to ask again this time */
    bool over;      /* the handshake, well or badly */
    bool failed;    /* a fatal error: nothing is sent any more, no alert either */
    int send_error; /* errno of a send, after which none is tried; what came can still be read */
    bool more;      /* the send under way is followed by another */
    tls_handshake_fn fn;
    void *ctx;
    struct tls_server *server; /* one reference, or NULL */
    struct tls_client *client; /* likewise */
    struct tls_resume *resume; /* a client's; NULL: none */
    char why[160];             /* the first failure in words */
    bool challenged;           /* the client is an authority that proves a name */
};

/* tls_error.c. The oldest error in OpenSSL's queue, which is emptied; valid until the next call on
 * this thread. */
const char *tls__why(void);
enum fr_err tls__bad(char **out_why, const char *what, const char *path);

/* tls_certificate.c */
enum fr_err tls__certificate_read(const struct tls_pair *pair, struct tls__certificate *out,
                                  char **out_why);
void tls__certificate_clear(struct tls__certificate *certificate);
/* Whether it may be shown to who asks for that name: exactly, or by its leftmost label. */
bool tls__certificate_names(const struct tls__certificate *certificate, struct fr_view name,
                            bool wildcard);

/* tls_revoked.c. *out_ends_s: when the first of the lists does. */
FR_MUST_USE enum fr_err tls__revocations_read(SSL_CTX *ctx, const char *path, int64_t *out_ends_s,
                                              char **out_why);

/* tls_tickets.c */
int tls__tickets_on_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                        EVP_MAC_CTX *mac, int sealing);

/* tls_server.c */
struct tls_tickets *tls__server_tickets(const SSL *ssl);

/* tls_challenges.c. True when it was shown. */
bool tls__challenges_show(struct tls_challenges *challenges, SSL *ssl, struct fr_view name);
/* Whether the ClientHello being read offers acme-tls/1, and there is any challenge at all. */
bool tls__challenges_offered(struct tls_challenges *challenges, SSL *ssl);

/* tls_context.c: what servers and clients have in common. */
SSL_CTX *tls__context_new(const SSL_METHOD *method, enum tls_version version_min);

/* tls_session.c. Not yet under the socket; NULL when memory is out. */
struct tls_session *tls__session_new(SSL_CTX *ctx, const struct loop_sock *sock,
                                     tls_handshake_fn fn, void *fn_ctx);

#endif
