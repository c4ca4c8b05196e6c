/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_certificate.c - a pair of files: certificate with its chain, and key.
 *
 * Trusts:     nothing of the files: they are bounded, must parse whole and belong together. Of a
 *             pair that was half replaced the rest is moved into its place.
 * Follows:    RFC 6125 section 6.4: names by subjectAltName; the common name only where there is
 *             none.
 */
#include "base/fr_file.h"
#include "tls/tls_pem.h"
#include "tls/tls_priv.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

/* ---- reading ------------------------------------------------------------------------------ */

static enum fr_err
read_chain(struct tls__certificate *out, const char *path, char **out_why)
{
    struct fr_buf text;
    enum fr_err err = tls_pem_read(path, &text, out_why);
    if (err)
        return err;
    BIO *bio = BIO_new_mem_buf(text.data, (int)text.len);
    out->leaf = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
    out->chain = sk_X509_new_null();
    if (!out->leaf)
        err = tls__bad(out_why, "no certificate in", path);
    for (X509 *next; !err && (next = PEM_read_bio_X509(bio, NULL, NULL, NULL));)
        if (!sk_X509_push(out->chain, next))
            err = tls__bad(out_why, "certificates of", path);
    /* The end of the file is the one error that is none. */
    unsigned long last = ERR_peek_last_error();
    if (!err && last && ERR_GET_REASON(last) != PEM_R_NO_START_LINE)
        err = tls__bad(out_why, "bad certificate in", path);
    ERR_clear_error();
    BIO_free(bio);
    fr_buf_fini(&text);
    return err;
}

static enum fr_err
read_ocsp(struct tls__certificate *out, const char *path, char **out_why)
{
    struct fr_buf bytes;
    enum fr_err err = tls_pem_read(path, &bytes, out_why);
    if (err)
        return err;
    out->ocsp = fr_xalloc(bytes.len + 1);
    memcpy(out->ocsp, bytes.data, bytes.len);
    out->ocsp_bytes = bytes.len;
    fr_buf_fini(&bytes);
    return FR_OK;
}

/* ---- names -------------------------------------------------------------------------------- */

static void
add_name(struct tls__certificate *out, const ASN1_STRING *text)
{
    const char *data = (const char *)ASN1_STRING_get0_data(text);
    size_t len = (size_t)ASN1_STRING_length(text);
    if (len == 0 || len > 253 || memchr(data, 0, len)) /* a NUL in a name is an attack */
        return;
    char *name = fr_xstrndup(data, len);
    for (char *c = name; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + ('a' - 'A'));
    out->names[out->name_count++] = name;
}

static void
read_names(struct tls__certificate *out)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(out->leaf, NID_subject_alt_name, NULL, NULL);
    out->names = fr_xalloc(TLS_NAMES_MAX * sizeof(*out->names));
    for (int i = 0; i < sk_GENERAL_NAME_num(all) && out->name_count < TLS_NAMES_MAX; i++) {
        const GENERAL_NAME *one = sk_GENERAL_NAME_value(all, i);
        if (one->type == GEN_DNS)
            add_name(out, one->d.dNSName);
    }
    if (!all) {
        const X509_NAME *subject = X509_get_subject_name(out->leaf);
        int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
        if (at >= 0)
            add_name(out, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    }
    GENERAL_NAMES_free(all);
    out->names = fr_xrealloc(out->names, (out->name_count + 1) * sizeof(*out->names));
}

bool
tls__certificate_names(const struct tls__certificate *certificate, struct fr_view name,
                       bool wildcard)
{
    const char *dot = memchr(name.ptr, '.', name.len);
    struct fr_view parent =
        dot ? fr_view_make(dot, (size_t)(name.ptr + name.len - dot)) : fr_view_of("");
    for (size_t i = 0; i < certificate->name_count; i++) {
        struct fr_view one = fr_view_of(certificate->names[i]);
        if (!wildcard && fr_view_ieq(one, name))
            return true;
        if (wildcard && parent.len > 1 && one.len > 1 && one.ptr[0] == '*' &&
            fr_view_ieq(fr_view_make(one.ptr + 1, one.len - 1), parent))
            return true;
    }
    return false;
}

/* ---- the whole ---------------------------------------------------------------------------- */

bool
tls_certificate_first_name(const char *path, char *out, size_t out_bytes)
{
    struct tls__certificate certificate = {0};
    char *why = NULL;
    bool ok = read_chain(&certificate, path, &why) == FR_OK;
    if (ok)
        read_names(&certificate);
    ok = ok && certificate.name_count > 0 &&
         fr_view_copy(fr_view_of(certificate.names[0]), out, out_bytes);
    tls__certificate_clear(&certificate);
    fr_free(why);
    return ok;
}

static enum fr_err
read_pair(const struct tls_pair *pair, struct tls__certificate *out, char **out_why)
{
    ERR_clear_error();
    out->path = fr_xstrdup(pair->certificate);
    enum fr_err err = read_chain(out, pair->certificate, out_why);
    if (!err)
        err = tls_pem_key_read(pair->key, &out->key, out_why);
    if (err)
        return err;
    if (X509_check_private_key(out->leaf, out->key) == 1)
        return FR_OK;
    ERR_clear_error();
    *out_why = fr_xprintf("the key in %s is not that of the certificate in %s", pair->key,
                          pair->certificate);
    return FR_ERR_CONFIG;
}

/* Whoever wrote this pair was killed between its two files: what is left to be done is done. */
static bool
finish_pair(const struct tls_pair *pair)
{
    const struct fr_file_pair files = {.first = pair->key, .second = pair->certificate};
    char *why = NULL, *waiting = fr_file_pair_waiting(&files);
    EVP_PKEY *key = NULL;
    struct fr_buf text;
    bool done = false;
    if (waiting && tls_pem_key_read(pair->key, &key, &why) == FR_OK &&
        tls_pem_read(waiting, &text, &why) == FR_OK) {
        done = tls_pem_chain_fits(fr_buf_view(&text), key) &&
               fr_file_pair_finish(&files, NULL) == FR_OK;
        fr_buf_fini(&text);
    }
    EVP_PKEY_free(key);
    fr_free(why);
    fr_free(waiting);
    return done;
}

enum fr_err
tls__certificate_read(const struct tls_pair *pair, struct tls__certificate *out, char **out_why)
{
    char *why = NULL;
    enum fr_err err = read_pair(pair, out, &why);
    if (err && finish_pair(pair)) {
        tls__certificate_clear(out);
        fr_free(why);
        err = read_pair(pair, out, &why);
    }
    if (!err && pair->ocsp)
        err = read_ocsp(out, pair->ocsp, &why);
    if (err) {
        *out_why = why;
        return err;
    }
    read_names(out);
    out->ends_s = tls_pem_time_s(X509_get0_notAfter(out->leaf));
    return FR_OK;
}

enum fr_err
tls_pair_check(const struct tls_pair *pair, char **out_why)
{
    struct tls__certificate certificate = {0};
    enum fr_err err = tls__certificate_read(pair, &certificate, out_why);
    tls__certificate_clear(&certificate);
    return err;
}

void
tls__certificate_clear(struct tls__certificate *certificate)
{
    for (size_t i = 0; i < certificate->name_count; i++)
        fr_free(certificate->names[i]);
    fr_free(certificate->names);
    fr_free(certificate->path);
    fr_free(certificate->ocsp);
    X509_free(certificate->leaf);
    sk_X509_pop_free(certificate->chain, X509_free);
    EVP_PKEY_free(certificate->key);
    *certificate = (struct tls__certificate){0};
}
