/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_certificate.c - a pair of files: certificate with its chain, and key.
 *
 * Trusts:     nothing of the files: they are bounded, must parse whole and belong together.
 * Follows:    RFC 6125 section 6.4: names by subjectAltName; the common name only where there is
 *             none.
 */
#include "tls/tls_pem.h"
#include "tls/tls_priv.h"

#include "base/fr_thread.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

/* ---- reading ------------------------------------------------------------------------------ */

static enum fr_err
take_chain(struct tls__certificate *out, struct fr_view text, const char *path, char **out_why)
{
    enum fr_err err = FR_OK;
    ERR_clear_error();
    BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
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
    struct fr_buf text;
    char *why = NULL;
    bool ok = tls_pem_read(path, &text, &why) == FR_OK;
    if (ok) {
        ok = take_chain(&certificate, fr_buf_view(&text), path, &why) == FR_OK;
        tls_pem_wipe(&text);
    }
    if (ok)
        read_names(&certificate);
    ok = ok && certificate.name_count > 0 &&
         fr_view_copy(fr_view_of(certificate.names[0]), out, out_bytes);
    tls__certificate_clear(&certificate);
    fr_free(why);
    return ok;
}

enum fr_err
tls__certificate_read(const struct tls_pair *pair, struct tls__certificate *out, char **out_why)
{
    const struct tls_pem_pair paths = {.certificate = pair->certificate, .key = pair->key};
    struct fr_buf text;
    out->path = fr_xstrdup(pair->certificate);
    enum fr_err err = tls_pem_pair_read(&paths, &out->key, &text, out_why);
    if (err)
        return err;
    fr_give_way();
    err = take_chain(out, fr_buf_view(&text), pair->certificate, out_why);
    tls_pem_wipe(&text);
    if (!err && pair->ocsp)
        err = read_ocsp(out, pair->ocsp, out_why);
    if (err)
        return err;
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
