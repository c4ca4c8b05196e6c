/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_revoked.c - lists of revoked certificates.
 *
 * Every certificate of a chain is looked up in the list of the authority that signed it. Where
 * there is none, or one that has ended, nobody can tell, and the certificate is refused.
 *
 * Trusts:     nothing of the file: it is bounded and must parse whole. That a list is its
 *             authority's is verified by OpenSSL, with each chain.
 * Follows:    RFC 5280 sections 5 and 6.3.
 */
#include "base/fr_log.h"
#include "tls/tls_pem.h"
#include "tls/tls_priv.h"

#include <openssl/pem.h>

#define WARN_BEFORE_S (3 * 86400) /* over a weekend */

static enum fr_err
add_lists(X509_STORE *store, BIO *bio, const char *path, int64_t *out_ends_s, char **out_why)
{
    unsigned count = 0;
    for (X509_CRL *list; (list = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)); count++) {
        const ASN1_TIME *end = X509_CRL_get0_nextUpdate(list);
        int64_t ends_s = end ? tls_pem_time_s(end) : INT64_MAX;
        if (ends_s < *out_ends_s)
            *out_ends_s = ends_s;
        bool added = X509_STORE_add_crl(store, list) == 1;
        X509_CRL_free(list);
        if (!added)
            return tls__bad(out_why, "revocation lists in", path);
    }
    /* The end of the file is the one error that is none, behind at least one list. */
    unsigned long last = ERR_peek_last_error();
    if (count == 0 || (last && ERR_GET_REASON(last) != PEM_R_NO_START_LINE))
        return tls__bad(out_why, "revocation lists in", path);
    ERR_clear_error();
    return FR_OK;
}

enum fr_err
tls__revocations_read(SSL_CTX *ctx, const char *path, int64_t *out_ends_s, char **out_why)
{
    struct fr_buf text;
    enum fr_err err = tls_pem_read(path, &text, out_why);
    if (err != FR_OK)
        return err;
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    BIO *bio = BIO_new_mem_buf(text.data, (int)text.len);
    *out_ends_s = INT64_MAX;
    ERR_clear_error();
    err = bio ? add_lists(store, bio, path, out_ends_s, out_why)
              : tls__bad(out_why, "revocation lists in", path);
    (void)X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    BIO_free(bio);
    fr_buf_fini(&text);
    return err;
}

bool
tls_session_revoked(const struct tls_session *session)
{
    switch (SSL_get_verify_result(session->ssl)) {
    case X509_V_ERR_CERT_REVOKED:
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_CRL_NOT_YET_VALID:
    case X509_V_ERR_CRL_SIGNATURE_FAILURE:
        return true;
    default:
        return false;
    }
}

struct tls_revocations
tls_server_revocations(const struct tls_server *server)
{
    return (struct tls_revocations){.path = server->crl, .ends_s = server->crl_ends_s};
}

void
tls_revocations_warn(const char *room, struct tls_revocations lists, int64_t now_s)
{
    if (!lists.path || lists.ends_s - now_s >= WARN_BEFORE_S)
        return;
    fr_log(FR_LOG_WARN, room,
           lists.ends_s < now_s ? "a revocation list has ended, its certificates are refused"
                                : "a revocation list ends soon",
           FR_S("file", lists.path), FR_I("seconds-left", lists.ends_s - now_s));
}
