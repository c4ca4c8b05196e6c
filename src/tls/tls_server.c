/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_server.c - what a listener shows to its clients.
 *
 * One context; which certificates a connection may be shown is chosen by the name that the client
 * asked for: those that name it exactly, else those that do by a wildcard, else the first pair's.
 * Of several (RSA beside ECDSA) OpenSSL takes the one that the client can read.
 *
 * Threads:    made on the control thread; the callbacks run on workers and write nothing shared.
 */
#include "tls/tls_priv.h"

#include "base/fr_thread.h"

#include <string.h>

#define CIPHERS_DEFAULT                                                                            \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"     \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

/* Of TLS 1.3, in Mozilla's order. OpenSSL's own begins with AES-256, whose keys are derived by
 * SHA-384: processors have no instructions for that, as they have for SHA-256. */
#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

static struct tls_server *
server_of(const SSL *ssl)
{
    return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

struct tls_tickets *
tls__server_tickets(const SSL *ssl)
{
    return server_of(ssl)->tickets;
}

/* ---- choosing a certificate --------------------------------------------------------------- */

static bool
show(SSL *ssl, const struct tls__certificate *certificate)
{
    return SSL_use_cert_and_key(ssl, certificate->leaf, certificate->key, certificate->chain, 1) ==
           1;
}

static size_t
show_named(SSL *ssl, const struct tls_server *server, struct fr_view name, bool wildcard)
{
    size_t shown = 0;
    for (size_t i = 0; i < server->certificate_count; i++)
        if (tls__certificate_names(&server->certificates[i], name, wildcard))
            shown += show(ssl, &server->certificates[i]);
    return shown;
}

/* The first pair, and those behind it with the same names but another kind of key. */
static size_t
show_default(SSL *ssl, const struct tls_server *server)
{
    const struct tls__certificate *first = &server->certificates[0];
    size_t shown = show(ssl, first);
    for (size_t i = 1; i < server->certificate_count; i++) {
        const struct tls__certificate *one = &server->certificates[i];
        if (first->name_count > 0 && one->name_count > 0 &&
            strcmp(first->names[0], one->names[0]) == 0 &&
            EVP_PKEY_base_id(first->key) != EVP_PKEY_base_id(one->key))
            shown += show(ssl, one);
    }
    return shown;
}

static int
on_certificate(SSL *ssl, void *ctx)
{
    const struct tls_server *server = ctx;
    struct fr_view name = fr_view_of(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    if (name.len > 1 && name.ptr[name.len - 1] == '.')
        name.len--;
    SSL_certs_clear(ssl);
    const struct tls_session *session = SSL_get_app_data(ssl);
    if (session && session->challenged)
        return tls__challenges_show(server->challenges, ssl, name);
    size_t shown = name.len ? show_named(ssl, server, name, false) : 0;
    if (!shown && name.len)
        shown = show_named(ssl, server, name, true);
    if (!shown)
        shown = show_default(ssl, server);
    return shown > 0;
}

/* RFC 6066 section 8: the staple of the certificate that was chosen. */
static int
on_status(SSL *ssl, void *ctx)
{
    const struct tls_server *server = ctx;
    const X509 *chosen = SSL_get_certificate(ssl);
    for (size_t i = 0; i < server->certificate_count; i++) {
        const struct tls__certificate *one = &server->certificates[i];
        if (one->leaf != chosen || !one->ocsp)
            continue;
        unsigned char *copy = OPENSSL_memdup(one->ocsp, one->ocsp_bytes); /* OpenSSL frees it */
        if (!copy)
            break;
        SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)one->ocsp_bytes);
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

static int
on_hello(SSL *ssl, int *out_alert, void *ctx)
{
    const struct tls_server *server = ctx;
    struct tls_session *session = SSL_get_app_data(ssl);
    (void)out_alert; /* nothing is refused here */
    if (session)
        session->challenged = tls__challenges_offered(server->challenges, ssl);
    return SSL_CLIENT_HELLO_SUCCESS;
}

void
tls_server_challenge(struct tls_server *server, struct tls_challenges *challenges)
{
    server->challenges = challenges;
    SSL_CTX_set_client_hello_cb(server->ctx, on_hello, server);
    SSL_CTX_set_cert_cb(server->ctx, on_certificate, server);
}

/* RFC 7301 section 3.2. A client that offers nothing we speak is refused, not guessed at. */
static int
on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
        unsigned int in_len, void *ctx)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1\x08http/1.0";
    const struct tls_server *server = ctx;
    size_t skip = server->h2 ? 0 : 3;
    unsigned char *chosen = NULL;
    const struct tls_session *session = SSL_get_app_data(ssl);
    if (session && session->challenged) { /* the only one that it offers */
        *out = in + 1;
        *out_len = in[0];
        return SSL_TLSEXT_ERR_OK;
    }
    if (SSL_select_next_proto(&chosen, out_len, ours + skip,
                              (unsigned int)(sizeof(ours) - 1 - skip), in,
                              in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* ---- making ------------------------------------------------------------------------------- */

static enum fr_err
read_certificates(struct tls_server *server, const struct tls_server_options *options,
                  char **out_why)
{
    server->certificates = fr_xalloc(options->pair_count * sizeof(*server->certificates));
    for (size_t i = 0; i < options->pair_count; i++) {
        server->certificate_count++;
        enum fr_err err =
            tls__certificate_read(&options->pairs[i], &server->certificates[i], out_why);
        if (err)
            return err;
        /* Whatever OpenSSL would refuse in a handshake (a key too short, say) is said here. */
        const struct tls__certificate *one = &server->certificates[i];
        if (SSL_CTX_use_cert_and_key(server->ctx, one->leaf, one->key, one->chain, 1) != 1)
            return tls__bad(out_why, "certificate", options->pairs[i].certificate);
    }
    return FR_OK;
}

static enum fr_err
take_client_ca(struct tls_server *server, const struct tls_server_options *options, char **out_why)
{
    int mode = SSL_VERIFY_PEER;
    if (options->client_auth == TLS_CLIENT_AUTH_OFF)
        return FR_OK;
    if (options->client_auth == TLS_CLIENT_AUTH_REQUIRED)
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(options->client_ca);
    if (!names || SSL_CTX_load_verify_file(server->ctx, options->client_ca) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return tls__bad(out_why, "client authorities in", options->client_ca);
    }
    SSL_CTX_set_client_CA_list(server->ctx, names);
    SSL_CTX_set_verify(server->ctx, mode, NULL);
    if (!options->client_crl)
        return FR_OK;
    server->crl = fr_xstrdup(options->client_crl);
    return tls__revocations_read(server->ctx, server->crl, &server->crl_ends_s, out_why);
}

static enum fr_err
configure(struct tls_server *server, const struct tls_server_options *options, char **out_why)
{
    static const unsigned char context[] = "freshet";
    const char *ciphers = options->ciphers ? options->ciphers : CIPHERS_DEFAULT;
    if (SSL_CTX_set_cipher_list(server->ctx, ciphers) != 1)
        return tls__bad(out_why, "ciphers", ciphers);
    if (SSL_CTX_set_ciphersuites(server->ctx, SUITES) != 1)
        return tls__bad(out_why, "ciphers", SUITES);
    if (SSL_CTX_set1_groups_list(server->ctx, "X25519:P-256:P-384") != 1)
        return tls__bad(out_why, "groups", "X25519:P-256:P-384");
    /* Whoever resumes with us had shaken hands with us: with client certificates a ticket must not
     * be good at a listener that asks for other ones. */
    (void)SSL_CTX_set_session_id_context(server->ctx, context, sizeof(context) - 1);
    (void)SSL_CTX_set_session_cache_mode(server->ctx, SSL_SESS_CACHE_OFF); /* tickets do it */
    if (!options->tickets || options->client_auth != TLS_CLIENT_AUTH_OFF)
        (void)SSL_CTX_set_options(server->ctx, SSL_OP_NO_TICKET);
    else
        (void)SSL_CTX_set_tlsext_ticket_key_evp_cb(server->ctx, tls__tickets_on_key);
    (void)SSL_CTX_set_num_tickets(server->ctx, options->client_auth == TLS_CLIENT_AUTH_OFF ? 1 : 0);
    /* Our order, but for phones without AES in hardware, which put ChaCha20 first. */
    (void)SSL_CTX_set_options(server->ctx,
                              SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    (void)SSL_CTX_set_tlsext_status_cb(server->ctx, on_status);
    (void)SSL_CTX_set_tlsext_status_arg(server->ctx, server);
    SSL_CTX_set_alpn_select_cb(server->ctx, on_alpn, server);
    if (server->certificate_count > 1) /* else the context's own is the one */
        SSL_CTX_set_cert_cb(server->ctx, on_certificate, server);
    return take_client_ca(server, options, out_why);
}

enum fr_err
tls_server_new(const struct tls_server_options *options, struct tls_server **out, char **out_why)
{
    fr_require(options->pair_count > 0);
    struct tls_server *server = fr_xalloc(sizeof(*server));
    server->refs = 1;
    server->h2 = options->h2;
    server->tickets = options->tickets;
    server->ctx = tls__context_new(TLS_server_method(), options->version_min);
    enum fr_err err = server->ctx ? FR_OK : tls__bad(out_why, "TLS", "context");
    fr_give_way();
    if (!err) {
        (void)SSL_CTX_set_app_data(server->ctx, server);
        err = read_certificates(server, options, out_why);
    }
    fr_give_way();
    if (!err)
        err = configure(server, options, out_why);
    if (err)
        tls_server_unref(&server);
    else
        *out = server;
    return err;
}

/* ---- counting ----------------------------------------------------------------------------- */

struct tls_server *
tls_server_ref(struct tls_server *server)
{
    if (server)
        (void)__atomic_fetch_add(&server->refs, 1, __ATOMIC_RELAXED);
    return server;
}

void
tls_server_unref(struct tls_server **server)
{
    struct tls_server *s = *server;
    *server = NULL;
    if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < s->certificate_count; i++)
        tls__certificate_clear(&s->certificates[i]);
    fr_free(s->certificates);
    fr_free(s->crl);
    SSL_CTX_free(s->ctx);
    fr_free(s);
}

size_t
tls_server_certificate_count(const struct tls_server *server)
{
    return server->certificate_count;
}

int64_t
tls_server_certificate_ends_s(const struct tls_server *server, size_t index)
{
    fr_require(index < server->certificate_count);
    return server->certificates[index].ends_s;
}

const char *
tls_server_certificate_name(const struct tls_server *server, size_t index)
{
    fr_require(index < server->certificate_count);
    return server->certificates[index].path;
}

/* ---- sessions ----------------------------------------------------------------------------- */

enum fr_err
tls_accept(struct tls_server *server, struct loop_sock *sock, struct fr_view early,
           tls_handshake_fn fn, void *ctx, struct tls_session **out)
{
    struct tls_session *session = tls__session_new(server->ctx, sock, fn, ctx);
    if (!session)
        return FR_ERR_NOMEM;
    if (early.len > 0 && fr_buf_append_view(&session->early, early) != FR_OK) {
        session->filter.close(&session->filter, true);
        return FR_ERR_NOMEM;
    }
    session->server = tls_server_ref(server);
    SSL_set_accept_state(session->ssl);
    loop_sock_filter(sock, &session->filter);
    *out = session;
    return FR_OK;
}
