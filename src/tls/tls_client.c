/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_client.c - what a cluster asks of its members, and sessions with them.
 *
 * Threads:    as in tls.h. The latest session of a member is kept by whoever connects to it.
 * Follows:    RFC 6125 section 6, RFC 8446 section 4.6.1 (a ticket is used once).
 */
#include "tls/tls_priv.h"

#include <openssl/x509v3.h>
#include <string.h>

static const unsigned char protocols[] = "\x02h2\x08http/1.1";

static struct tls_session *
session_of(const SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

/* 1: the reference is kept. */
static int
on_new_session(SSL *ssl, SSL_SESSION *fresh)
{
    struct tls_session *session = session_of(ssl);
    if (!session || !session->resume || !SSL_SESSION_is_resumable(fresh))
        return 0;
    tls_resume_clear(session->resume);
    session->resume->session = fresh;
    session->resume->client = tls_client_ref(session->client);
    return 1;
}

void
tls_resume_clear(struct tls_resume *resume)
{
    SSL_SESSION_free(resume->session);
    resume->session = NULL;
    tls_client_unref(&resume->client);
}

/* A session carries the verdict on the certificate that it began with: what another client found
 * good enough is not resumed. A ticket of TLS 1.3 is used once (RFC 8446 appendix C.4); a session
 * of 1.2 is good until the member no longer knows it. */
static void
take_session(struct tls_client *client, SSL *ssl, struct tls_resume *resume)
{
    if (!resume || !resume->session)
        return;
    bool ours = resume->client == client;
    if (ours)
        (void)SSL_set_session(ssl, resume->session); /* else a full handshake */
    if (!ours || SSL_SESSION_get_protocol_version(resume->session) >= TLS1_3_VERSION)
        tls_resume_clear(resume);
}

/* ---- making ------------------------------------------------------------------------------- */

static enum fr_err
take_authorities(SSL_CTX *ctx, const struct tls_client_options *options, char **out_why)
{
    if (!options->verify)
        return FR_OK;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    int ok = options->ca ? SSL_CTX_load_verify_file(ctx, options->ca)
                         : SSL_CTX_set_default_verify_paths(ctx);
    int64_t ends_s;
    if (ok != 1)
        return tls__bad(out_why, "authorities in", options->ca ? options->ca : "the system");
    return options->crl ? tls__revocations_read(ctx, options->crl, &ends_s, out_why) : FR_OK;
}

static enum fr_err
take_certificate(SSL_CTX *ctx, const struct tls_client_options *options, char **out_why)
{
    struct tls_pair pair = {.certificate = options->certificate, .key = options->key};
    struct tls__certificate ours = {0};
    if (!options->certificate)
        return FR_OK;
    enum fr_err err = tls__certificate_read(&pair, &ours, out_why);
    if (!err && SSL_CTX_use_cert_and_key(ctx, ours.leaf, ours.key, ours.chain, 1) != 1)
        err = tls__bad(out_why, "certificate", options->certificate);
    tls__certificate_clear(&ours);
    return err;
}

enum fr_err
tls_client_new(const struct tls_client_options *options, struct tls_client **out, char **out_why)
{
    struct tls_client *client = fr_xalloc(sizeof(*client));
    client->refs = 1;
    client->verify = options->verify;
    client->name = fr_xstrdup(options->name);
    client->ctx = tls__context_new(TLS_client_method(), TLS_VERSION_1_2);
    enum fr_err err = client->ctx ? FR_OK : tls__bad(out_why, "TLS", "context");
    if (!err)
        err = take_authorities(client->ctx, options, out_why);
    if (!err)
        err = take_certificate(client->ctx, options, out_why);
    if (!err) {
        size_t skip = options->h2 ? 0 : 3;
        (void)SSL_CTX_set_alpn_protos(client->ctx, protocols + skip,
                                      (unsigned int)(sizeof(protocols) - 1 - skip));
        (void)SSL_CTX_set_session_cache_mode(client->ctx,
                                             SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(client->ctx, on_new_session);
        *out = client;
    } else {
        tls_client_unref(&client);
    }
    return err;
}

struct tls_client *
tls_client_ref(struct tls_client *client)
{
    if (client)
        (void)__atomic_fetch_add(&client->refs, 1, __ATOMIC_RELAXED);
    return client;
}

void
tls_client_unref(struct tls_client **client)
{
    struct tls_client *c = *client;
    *client = NULL;
    if (!c || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    SSL_CTX_free(c->ctx);
    fr_free(c->name);
    fr_free(c);
}

/* ---- sessions ----------------------------------------------------------------------------- */

/* A name is asked for and verified; an address is verified only (RFC 6066 section 3). */
static bool
expect_name(const struct tls_client *client, SSL *ssl, const char *host)
{
    const char *name = client->name ? client->name : host;
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(name);
    ERR_clear_error();
    if (!address) {
        SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        return SSL_set_tlsext_host_name(ssl, name) == 1 &&
               (!client->verify || SSL_set1_host(ssl, name) == 1);
    }
    ASN1_OCTET_STRING_free(address);
    return !client->verify || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
}

void
tls_session_http1_only(struct tls_session *session)
{
    (void)SSL_set_alpn_protos(session->ssl, protocols + 3, (unsigned int)(sizeof(protocols) - 4));
}

enum fr_err
tls_connect(struct tls_client *client, struct loop_sock *sock, const char *host,
            struct tls_resume *resume, tls_handshake_fn fn, void *ctx, struct tls_session **out)
{
    struct tls_session *session = tls__session_new(client->ctx, sock, fn, ctx);
    if (!session)
        return FR_ERR_NOMEM;
    session->client = tls_client_ref(client);
    session->resume = resume;
    SSL_set_connect_state(session->ssl);
    if (!expect_name(client, session->ssl, host)) {
        session->filter.close(&session->filter, true);
        return FR_ERR_NOMEM;
    }
    take_session(client, session->ssl, resume);
    ERR_clear_error();
    loop_sock_filter(sock, &session->filter);
    *out = session;
    return FR_OK;
}
