/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_tls.c - TLS 1.3 for one request of a tool.
 *
 * Joining knows no authority yet, only its fingerprint: the authority's certificate comes with the
 * other's own, is believed when it has that fingerprint and nothing else, and everything is
 * verified from it as ever.
 *
 * Follows:    RFC 8446; RFC 6125 section 6.
 */
#include "cli/cli_tls.h"

#include "base/fr_mem.h"
#include "base/fr_put.h"
#include "base/fr_view.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cli_tls {
    SSL_CTX *ctx;
    SSL *ssl;
    const char *fingerprint;
    char why[200]; /* OpenSSL's words for what failed */
};

/* Empty is as unset. */
static const char *
variable(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

struct cli_access
cli_access_of_environment(void)
{
    return (struct cli_access){
        .ca = variable("FRESHET_CA"),
        .certificate = variable("FRESHET_CERT"),
        .key = variable("FRESHET_KEY"),
        .name = variable("FRESHET_NAME"),
        .token_file = variable("FRESHET_TOKEN_FILE"),
    };
}

static enum fr_err
bad(char *out_why, size_t why_bytes, const char *what)
{
    unsigned long error = ERR_get_error();
    const char *words = error ? ERR_reason_error_string(error) : NULL;
    if (!words && error && ERR_SYSTEM_ERROR(error))
        words = strerror(ERR_GET_REASON(error));
    ERR_clear_error();
    (void)snprintf(out_why, why_bytes, "%s: %s", what,
                   words ? words : "the connection ended in the middle of it");
    return FR_ERR_BAD_PEER;
}

/* ---- the pinned authority ---------------------------------------------------------------------
 */

static bool
is_pinned(X509 *certificate, const char *fingerprint)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    char text[2 * EVP_MAX_MD_SIZE + 1];
    if (X509_digest(certificate, EVP_sha256(), digest, &len) != 1)
        return false;
    *fr_put_hex(text, digest, len) = '\0';
    return strcmp(text, fingerprint) == 0;
}

static X509 *
find_pinned(const STACK_OF(X509) * chain, const char *fingerprint)
{
    for (int i = 0; i < sk_X509_num(chain); i++)
        if (is_pinned(sk_X509_value(chain, i), fingerprint))
            return sk_X509_value(chain, i);
    return NULL;
}

static int
on_verify(X509_STORE_CTX *store, void *ctx)
{
    struct cli_tls *tls = ctx;
    X509 *root = find_pinned(X509_STORE_CTX_get0_untrusted(store), tls->fingerprint);
    STACK_OF(X509) *trusted = root ? sk_X509_new_null() : NULL;
    if (!trusted || !sk_X509_push(trusted, root)) {
        sk_X509_free(trusted);
        X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED);
        return 0;
    }
    X509_STORE_CTX_set0_trusted_stack(store, trusted);
    int ok = X509_verify_cert(store);
    sk_X509_free(trusted);
    return ok;
}

/* ---- handshake --------------------------------------------------------------------------------
 */

static enum fr_err
configure(struct cli_tls *tls, const struct cli_access *access, char *out_why, size_t why_bytes)
{
    SSL_CTX *ctx = tls->ctx;
    (void)SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (access->fingerprint)
        SSL_CTX_set_cert_verify_callback(ctx, on_verify, tls);
    else if ((access->ca ? SSL_CTX_load_verify_file(ctx, access->ca)
                         : SSL_CTX_set_default_verify_paths(ctx)) != 1)
        return bad(out_why, why_bytes, access->ca ? access->ca : "the system's authorities");
    if (!access->certificate)
        return FR_OK;
    const char *key = access->key ? access->key : access->certificate;
    if (SSL_CTX_use_certificate_chain_file(ctx, access->certificate) != 1)
        return bad(out_why, why_bytes, access->certificate);
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        return bad(out_why, why_bytes, key);
    return FR_OK;
}

static bool
expect(SSL *ssl, const char *name)
{
    unsigned char bytes[16];
    if (inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    return SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, name) == 1;
}

enum fr_err
cli_tls_open(int fd, const struct cli_access *access, const char *host, struct cli_tls **out,
             char *out_why, size_t why_bytes)
{
    struct cli_tls *tls = fr_xalloc(sizeof(*tls));
    tls->fingerprint = access->fingerprint;
    (void)signal(SIGPIPE, SIG_IGN); /* OpenSSL's sends cannot ask for silence */
    tls->ctx = SSL_CTX_new(TLS_client_method());
    enum fr_err err =
        tls->ctx ? configure(tls, access, out_why, why_bytes) : bad(out_why, why_bytes, "TLS");
    if (err == FR_OK) {
        tls->ssl = SSL_new(tls->ctx);
        if (!tls->ssl || SSL_set_fd(tls->ssl, fd) != 1 ||
            !expect(tls->ssl, access->name ? access->name : host))
            err = bad(out_why, why_bytes, "TLS");
    }
    if (err == FR_OK && SSL_connect(tls->ssl) != 1) {
        long verdict = SSL_get_verify_result(tls->ssl);
        err = bad(out_why, why_bytes, "TLS");
        if (verdict != X509_V_OK)
            (void)snprintf(out_why, why_bytes, "TLS: %s", X509_verify_cert_error_string(verdict));
    }
    if (err == FR_OK)
        *out = tls;
    else
        cli_tls_close(&tls);
    return err;
}

static ssize_t
outcome(struct cli_tls *tls, int returned)
{
    int error = SSL_get_error(tls->ssl, returned);
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        errno = EAGAIN; /* the socket's time is over */
    else if (error == SSL_ERROR_SSL) {
        (void)bad(tls->why, sizeof(tls->why), "TLS");
        errno = EPROTO;
    } else if (error != SSL_ERROR_SYSCALL || errno == 0)
        errno = ECONNRESET;
    ERR_clear_error();
    return -1;
}

ssize_t
cli_tls_send(struct cli_tls *tls, const void *bytes, size_t count)
{
    size_t sent = 0;
    errno = 0;
    int returned = SSL_write_ex(tls->ssl, bytes, count, &sent);
    return returned == 1 ? (ssize_t)sent : outcome(tls, returned);
}

const char *
cli_tls_why(const struct cli_tls *tls)
{
    return tls->why;
}

ssize_t
cli_tls_recv(struct cli_tls *tls, void *bytes, size_t count)
{
    size_t got = 0;
    errno = 0;
    int returned = SSL_read_ex(tls->ssl, bytes, count, &got);
    return returned == 1 ? (ssize_t)got : outcome(tls, returned);
}

void
cli_tls_close(struct cli_tls **tls)
{
    struct cli_tls *t = *tls;
    *tls = NULL;
    if (!t)
        return;
    SSL_free(t->ssl);
    SSL_CTX_free(t->ctx);
    ERR_clear_error();
    fr_free(t);
}
