/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pki_authority.c - the folder: made, opened, and what is issued from it.
 */
#include "pki/pki_priv.h"

#include "base/fr_time.h"
#include "tls/tls_pem.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>
#include <unistd.h>

bool
pki_name_valid(struct fr_view name)
{
    /* "ca" is the authority's own file. */
    return name.len < PKI_NAME_BYTES && fr_view_is_name(name) && !fr_view_is(name, "ca");
}

/* A DNS name or a numeric address, of characters that mean nothing to OpenSSL's notation. */
static bool
also_valid(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len <= 253 &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-_*") ==
               len;
}

static enum fr_err
check_terms(const struct pki_terms *terms, char **out_why)
{
    if (!pki_name_valid(fr_view_of(terms->name))) {
        *out_why = fr_xprintf("\"%.100s\" is not a name: letters, digits, '.', '_' and '-', at "
                              "most 63, and not \"ca\"",
                              terms->name);
        return FR_ERR_SYNTAX;
    }
    if (terms->also_count > PKI_ALSO_MAX) {
        *out_why =
            fr_xprintf("%s: at most %d further names and addresses", terms->name, PKI_ALSO_MAX);
        return FR_ERR_SYNTAX;
    }
    for (size_t i = 0; i < terms->also_count; i++)
        if (!also_valid(terms->also[i])) {
            *out_why =
                fr_xprintf("\"%.100s\" is neither a host name nor an address", terms->also[i]);
            return FR_ERR_SYNTAX;
        }
    return FR_OK;
}

/* The text of a certificate and what is behind it (may be NULL). */
static enum fr_err
chain_text(X509 *certificate, const char *behind, struct fr_buf *out, char **out_why)
{
    enum fr_err err = tls_pem_certificate_put(certificate, out);
    if (err == FR_OK && behind)
        err = fr_buf_append_view(out, fr_view_of(behind));
    if (err != FR_OK)
        *out_why = fr_xstrdup(fr_err_words(err));
    return err;
}

static enum fr_err
write_pair(const char *pem_path, const char *key_path, EVP_PKEY *key, X509 *certificate,
           const char *behind, char **out_why)
{
    const struct tls_pem_pair paths = {.certificate = pem_path, .key = key_path};
    struct fr_buf text;
    fr_buf_init(&text, PKI_PEM_BYTES_MAX);
    enum fr_err err = chain_text(certificate, behind, &text, out_why);
    if (err == FR_OK)
        err = tls_pem_pair_write(&paths, key, fr_buf_view(&text), out_why);
    fr_buf_fini(&text);
    return err;
}

/* ---- making and opening --------------------------------------------------------------------- */

enum fr_err
pki_init(const char *folder, const char *name, int64_t now_s, unsigned days, char **out_why)
{
    const struct pki_terms terms = {.name = name, .days = days};
    char *pem_path = pki__path(folder, "ca", ".pem");
    char *key_path = pki__path(folder, "ca", ".key");
    EVP_PKEY *key = NULL;
    X509 *certificate = NULL;
    enum fr_err err = FR_OK;
    if (access(key_path, F_OK) == 0 || access(pem_path, F_OK) == 0) {
        *out_why = fr_xprintf("%s has an authority already: it stays", folder);
        err = FR_ERR_EXISTS;
    } else {
        err = pki__folder_make(folder, out_why);
    }
    if (err == FR_OK && !(key = tls_pem_key_new()))
        err = pki__bad(out_why, "key");
    if (err == FR_OK) {
        const struct pki__order order = {
            .issuer_key = key, .subject_key = key, .terms = &terms, .now_s = now_s};
        err = pki__certificate_make(&order, &certificate, out_why);
    }
    if (err == FR_OK)
        err = write_pair(pem_path, key_path, key, certificate, NULL, out_why);
    X509_free(certificate);
    EVP_PKEY_free(key);
    fr_free(pem_path);
    fr_free(key_path);
    return err;
}

enum fr_err
pki_open(const char *folder, struct pki **out, char **out_why)
{
    struct pki *pki = fr_xalloc(sizeof(*pki));
    struct fr_buf text;
    char *pem_path = pki__path(folder, "ca", ".pem");
    char *key_path = pki__path(folder, "ca", ".key");
    const struct tls_pem_pair paths = {.certificate = pem_path, .key = key_path};
    pki->folder = fr_xstrdup(folder);
    enum fr_err err = tls_pem_pair_read(&paths, &pki->key, &text, out_why);
    if (err == FR_OK) {
        pki->certificate = tls_pem_leaf(fr_buf_view(&text));
        tls_pem_wipe(&text);
    }
    fr_buf_init(&text, PKI_PEM_BYTES_MAX);
    if (err == FR_OK && !(pki->certificate && pki__fingerprint(pki->certificate, pki->fingerprint)))
        err = FR_ERR_NOMEM;
    if (err == FR_OK)
        err = tls_pem_certificate_put(pki->certificate, &text);
    if (err == FR_OK) {
        pki->pem = fr_xstrndup(text.data, text.len);
        *out = pki;
    } else {
        if (!*out_why)
            *out_why = fr_xprintf("%s: %s", folder, fr_err_words(err));
        pki_close(&pki);
    }
    fr_buf_fini(&text);
    fr_free(pem_path);
    fr_free(key_path);
    return err;
}

void
pki_close(struct pki **pki)
{
    struct pki *p = *pki;
    *pki = NULL;
    if (!p)
        return;
    X509_free(p->certificate);
    EVP_PKEY_free(p->key);
    fr_free(p->pem);
    fr_free(p->folder);
    fr_free(p);
}

const char *
pki_fingerprint(const struct pki *pki)
{
    return pki->fingerprint;
}

const char *
pki_ca_pem(const struct pki *pki)
{
    return pki->pem;
}

int64_t
pki_ends_s(const struct pki *pki)
{
    return tls_pem_time_s(X509_get0_notAfter(pki->certificate));
}

enum fr_err
pki_check(const struct pki *pki, int64_t now_s, char **out_why)
{
    char day[FR_TIME_ISO_BYTES];
    int64_t ends_s = pki_ends_s(pki);
    if (now_s < ends_s)
        return FR_OK;
    fr_time_format_iso(ends_s * FR_US_PER_S, day);
    day[10] = '\0'; /* the day */
    *out_why = fr_xprintf("the authority ended on %s, and nothing that it signs is believed: make "
                          "another by `freshet pki init` in another folder",
                          day);
    return FR_ERR_REFUSED;
}

/* ---- issuing -------------------------------------------------------------------------------- */

enum fr_err
pki_issue(struct pki *pki, const struct pki_terms *terms, int64_t now_s, char **out_why)
{
    X509 *certificate = NULL;
    enum fr_err err = check_terms(terms, out_why);
    if (err == FR_OK)
        err = pki_check(pki, now_s, out_why);
    if (err != FR_OK)
        return err;
    EVP_PKEY *key = tls_pem_key_new();
    const struct pki__order order = {.issuer = pki->certificate,
                                     .issuer_key = pki->key,
                                     .subject_key = key,
                                     .terms = terms,
                                     .now_s = now_s};
    char *pem_path = pki__path(pki->folder, terms->name, ".pem");
    char *key_path = pki__path(pki->folder, terms->name, ".key");
    err = key ? pki__certificate_make(&order, &certificate, out_why) : pki__bad(out_why, "key");
    if (err == FR_OK)
        err = pki__record(pki, terms->name, certificate, now_s, out_why);
    if (err == FR_OK)
        err = write_pair(pem_path, key_path, key, certificate, pki->pem, out_why);
    if (err == FR_OK)
        err = pki__record_newest(pki, terms->name, certificate, out_why);
    X509_free(certificate);
    EVP_PKEY_free(key);
    fr_free(pem_path);
    fr_free(key_path);
    return err;
}

/* The key of a request, which its own signature shows to be its sender's. */
static EVP_PKEY *
key_of(struct fr_view request, char **out_why)
{
    if (request.len == 0 || request.len > PKI_PEM_BYTES_MAX) {
        *out_why = fr_xstrdup("no certificate request in PEM");
        return NULL;
    }
    BIO *bio = BIO_new_mem_buf(request.ptr, (int)request.len);
    X509_REQ *parsed = bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
    EVP_PKEY *key = parsed ? X509_REQ_get_pubkey(parsed) : NULL;
    const char *wrong = NULL;
    if (!key)
        wrong = "no certificate request in PEM";
    else if (X509_REQ_verify(parsed, key) != 1)
        wrong = "the certificate request is not signed by its own key";
    else if (EVP_PKEY_get_security_bits(key) < 112)
        wrong = "the key is too short";
    if (wrong) {
        *out_why = fr_xstrdup(wrong);
        EVP_PKEY_free(key);
        key = NULL;
    }
    ERR_clear_error();
    X509_REQ_free(parsed);
    BIO_free(bio);
    return key;
}

enum fr_err
pki_request_check(struct fr_view request, char **out_why)
{
    EVP_PKEY *key = key_of(request, out_why);
    EVP_PKEY_free(key);
    return key ? FR_OK : FR_ERR_BAD_PEER;
}

enum fr_err
pki_sign(struct pki *pki, const struct pki_terms *terms, struct fr_view request, int64_t now_s,
         struct fr_buf *out_pem, char **out_why)
{
    X509 *certificate = NULL;
    enum fr_err err = check_terms(terms, out_why);
    if (err == FR_OK)
        err = pki_check(pki, now_s, out_why);
    if (err != FR_OK)
        return err;
    EVP_PKEY *key = key_of(request, out_why);
    if (!key)
        return FR_ERR_BAD_PEER;
    const struct pki__order order = {.issuer = pki->certificate,
                                     .issuer_key = pki->key,
                                     .subject_key = key,
                                     .terms = terms,
                                     .now_s = now_s};
    err = pki__certificate_make(&order, &certificate, out_why);
    if (err == FR_OK)
        err = pki__record(pki, terms->name, certificate, now_s, out_why);
    if (err == FR_OK)
        err = pki__record_newest(pki, terms->name, certificate, out_why);
    if (err == FR_OK)
        err = tls_pem_certificate_put(certificate, out_pem);
    if (err == FR_OK)
        err = fr_buf_append_view(out_pem, fr_view_of(pki->pem));
    X509_free(certificate);
    EVP_PKEY_free(key);
    return err;
}
