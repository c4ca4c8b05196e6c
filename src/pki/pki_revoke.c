/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pki_revoke.c - the authority's list of certificates that are good no more.
 *
 * The list is its own record: a new one has what the one before had. One whose signature is not the
 * authority's is no list, and is not replaced: it may be all that tells who is shut out.
 *
 * Threads:    any; of two at one moment one waits for the other (the folder `signed` is locked).
 * Limits:     PKI_REVOKED_MAX. A certificate that had ended before the last list was made leaves
 *             it, where the record tells its end.
 * Follows:    RFC 5280 section 5: version 2, with number and the authority's key identifier, and
 *             5.3.1: no reason rather than "unspecified".
 */
#include "pki/pki_priv.h"

#include "base/fr_file.h"
#include "tls/tls_pem.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <unistd.h>

#define BACKDATED_S 300 /* the other machine's clock may be a little behind */
#define NO_REASON (-1)

const char pki_reasons[] = "key-compromise, affiliation-changed, superseded, "
                           "cessation-of-operation, privilege-withdrawn";

static bool
reason_of(const char *word, int *out)
{
    static const struct {
        const char *word;
        int code;
    } reasons[] = {
        {"key-compromise", CRL_REASON_KEY_COMPROMISE},
        {"affiliation-changed", CRL_REASON_AFFILIATION_CHANGED},
        {"superseded", CRL_REASON_SUPERSEDED},
        {"cessation-of-operation", CRL_REASON_CESSATION_OF_OPERATION},
        {"privilege-withdrawn", CRL_REASON_PRIVILEGE_WITHDRAWN},
    };
    *out = NO_REASON;
    for (size_t i = 0; word && i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (strcmp(word, reasons[i].word) == 0)
            *out = reasons[i].code;
    return !word || *out != NO_REASON;
}

/* ---- which ---------------------------------------------------------------------------------- */

struct serials {
    char (*all)[PKI_SERIAL_BYTES];
    size_t count, capacity;
};

static void
add_serial(struct serials *serials, const char *serial)
{
    fr_xgrow((void **)&serials->all, &serials->capacity, serials->count + 1, sizeof(*serials->all));
    (void)fr_view_copy(fr_view_of(serial), serials->all[serials->count++], PKI_SERIAL_BYTES);
}

static void
add_certificate(struct serials *serials, const X509 *certificate)
{
    char serial[PKI_SERIAL_BYTES];
    pki__serial(X509_get0_serialNumber(certificate), serial);
    for (size_t i = 0; i < serials->count; i++)
        if (strcmp(serials->all[i], serial) == 0)
            return;
    if (serial[0])
        add_serial(serials, serial);
}

/* The files' names are the numbers: one that cannot be read any more is revoked all the same. */
static void
of_name(struct pki *pki, const char *name, struct serials *out)
{
    size_t count = 0;
    char *folder = fr_xprintf("%s/signed/%s", pki->folder, name);
    char **serials = pki__names_in(folder, ".pem", pki__is_serial, &count);
    X509 *newest = pki__newest(pki, name);
    for (size_t i = 0; i < count; i++) {
        add_serial(out, serials[i]);
        fr_free(serials[i]);
    }
    if (newest)
        add_certificate(out, newest); /* of before there was a record */
    X509_free(newest);
    fr_free(serials);
    fr_free(folder);
}

static void
of_number(struct pki *pki, const char *text, struct serials *out)
{
    char serial[PKI_SERIAL_BYTES] = "";
    size_t len = strlen(text);
    if (len >= PKI_SERIAL_BYTES)
        return;
    for (size_t i = 0; i <= len; i++) /* as openssl prints it, too */
        serial[i] = (char)(text[i] >= 'A' && text[i] <= 'F' ? text[i] + ('a' - 'A') : text[i]);
    X509 *found = pki__is_serial(fr_view_of(serial)) ? pki__find(pki, serial) : NULL;
    if (found)
        add_serial(out, serial);
    X509_free(found);
}

static enum fr_err
of_file(struct pki *pki, const char *path, struct serials *out, char **out_why)
{
    X509 *certificate = NULL;
    enum fr_err err = tls_pem_certificate_read(path, &certificate, out_why);
    if (err != FR_OK)
        return err;
    if (X509_verify(certificate, pki->key) != 1 || X509_cmp(certificate, pki->certificate) == 0) {
        *out_why = fr_xprintf("%s: not a certificate that this authority signed", path);
        err = FR_ERR_NOT_FOUND;
    } else {
        add_certificate(out, certificate);
    }
    ERR_clear_error();
    X509_free(certificate);
    return err;
}

static enum fr_err
find(struct pki *pki, const struct pki_revocation *which, struct serials *out, char **out_why)
{
    if (which->certificate)
        return of_file(pki, which->certificate, out, out_why);
    if (pki_name_valid(fr_view_of(which->name)))
        of_name(pki, which->name, out);
    if (out->count == 0)
        of_number(pki, which->name, out);
    if (out->count > 0)
        return FR_OK;
    *out_why = fr_xprintf("\"%.100s\" is neither a name that a certificate was signed for here, "
                          "nor the serial number of one",
                          which->name);
    return FR_ERR_NOT_FOUND;
}

/* ---- the list that is ----------------------------------------------------------------------- */

enum fr_err
pki__crl_read(struct pki *pki, X509_CRL **out, char **out_why)
{
    struct fr_buf text;
    char *path = pki__path(pki->folder, "crl", ".pem");
    *out = NULL;
    enum fr_err err = tls_pem_read(path, &text, out_why);
    if (err == FR_ERR_NOT_FOUND) {
        fr_free(*out_why);
        *out_why = NULL;
        err = FR_OK;
    } else if (err == FR_OK) {
        BIO *bio = BIO_new_mem_buf(text.data, (int)text.len);
        X509_CRL *crl = bio ? PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL) : NULL;
        if (crl && X509_CRL_verify(crl, pki->key) == 1) {
            *out = crl;
        } else {
            X509_CRL_free(crl);
            *out_why = fr_xprintf("%s: not a list of this authority; it is left as it is", path);
            err = FR_ERR_CONFIG;
        }
        ERR_clear_error();
        BIO_free(bio);
        fr_buf_fini(&text);
    }
    fr_free(path);
    return err;
}

/* NULL: it is no serial number. */
static ASN1_INTEGER *
integer_of(const char *serial)
{
    BIGNUM *number = NULL;
    bool good = pki__is_serial(fr_view_of(serial)) && BN_hex2bn(&number, serial) > 0;
    ASN1_INTEGER *integer = good ? BN_to_ASN1_INTEGER(number, NULL) : NULL;
    BN_free(number);
    return integer;
}

static uint64_t
number_of(const X509_CRL *crl)
{
    uint64_t number = 0;
    ASN1_INTEGER *value = crl ? X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL) : NULL;
    if (!value || ASN1_INTEGER_get_uint64(&number, value) != 1)
        number = 0;
    ASN1_INTEGER_free(value);
    return number;
}

/* Whether a certificate had ended before this list was made, and so stood in one behind its end. */
static bool
is_over(struct pki *pki, const X509_CRL *crl, const char *serial)
{
    X509 *certificate = pki__find(pki, serial);
    bool over = certificate && tls_pem_time_s(X509_get0_notAfter(certificate)) <
                                   tls_pem_time_s(X509_CRL_get0_lastUpdate(crl));
    X509_free(certificate);
    return over;
}

/* ---- the list that becomes ------------------------------------------------------------------ */

static bool
add_entry(X509_CRL *crl, const char *serial, int64_t now_s, int reason)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_TIME *when = ASN1_TIME_set(NULL, (time_t)now_s);
    ASN1_ENUMERATED *code = ASN1_ENUMERATED_new();
    ASN1_INTEGER *integer = integer_of(serial);
    bool ok = entry && when && integer && code &&
              X509_REVOKED_set_serialNumber(entry, integer) == 1 &&
              X509_REVOKED_set_revocationDate(entry, when) == 1;
    if (ok && reason != NO_REASON)
        ok = ASN1_ENUMERATED_set(code, reason) == 1 &&
             X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, code, 0, 0) == 1;
    ok = ok && X509_CRL_add0_revoked(crl, entry) == 1;
    if (!ok)
        X509_REVOKED_free(entry);
    ASN1_INTEGER_free(integer);
    ASN1_ENUMERATED_free(code);
    ASN1_TIME_free(when);
    return ok;
}

/* What the old list has goes into the new one, and out of `serials`. */
static bool
keep_entries(struct pki *pki, X509_CRL *old, X509_CRL *crl, struct serials *serials,
             unsigned *out_count)
{
    STACK_OF(X509_REVOKED) *entries = old ? X509_CRL_get_REVOKED(old) : NULL;
    bool ok = true;
    for (int i = 0; ok && i < sk_X509_REVOKED_num(entries); i++) {
        const X509_REVOKED *entry = sk_X509_REVOKED_value(entries, i);
        char serial[PKI_SERIAL_BYTES];
        pki__serial(X509_REVOKED_get0_serialNumber(entry), serial);
        for (size_t k = 0; k < serials->count; k++)
            if (strcmp(serials->all[k], serial) == 0)
                memmove(serials->all[k], serials->all[--serials->count], PKI_SERIAL_BYTES);
        if (is_over(pki, old, serial))
            continue;
        X509_REVOKED *copy = X509_REVOKED_dup(entry);
        ok = copy && X509_CRL_add0_revoked(crl, copy) == 1;
        *out_count += ok;
    }
    return ok;
}

static bool
finish(struct pki *pki, X509_CRL *crl, int64_t now_s, const struct pki_crl *terms)
{
    ASN1_TIME *begins = ASN1_TIME_set(NULL, (time_t)(now_s - BACKDATED_S));
    ASN1_TIME *ends = ASN1_TIME_set(NULL, (time_t)terms->ends_s);
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, pki->certificate, NULL, NULL, crl, 0);
    X509_EXTENSION *id =
        X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always");
    bool ok = begins && ends && number && id && X509_CRL_set_version(crl, 1) == 1 &&
              X509_CRL_set_issuer_name(crl, X509_get_subject_name(pki->certificate)) == 1 &&
              X509_CRL_set1_lastUpdate(crl, begins) == 1 &&
              X509_CRL_set1_nextUpdate(crl, ends) == 1 && X509_CRL_add_ext(crl, id, -1) == 1 &&
              ASN1_INTEGER_set_uint64(number, terms->number) == 1 &&
              X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, 0) == 1 &&
              X509_CRL_sort(crl) == 1 && X509_CRL_sign(crl, pki->key, EVP_sha256()) > 0;
    X509_EXTENSION_free(id);
    ASN1_INTEGER_free(number);
    ASN1_TIME_free(ends);
    ASN1_TIME_free(begins);
    return ok;
}

static enum fr_err
write_crl(struct pki *pki, X509_CRL *crl, char **out_why)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *path = pki__path(pki->folder, "crl", ".pem"), *data = NULL;
    enum fr_err err;
    if (bio && PEM_write_bio_X509_CRL(bio, crl) == 1) {
        long len = BIO_get_mem_data(bio, &data);
        err = tls_pem_write(path, fr_view_make(data, (size_t)len), 0644, out_why);
    } else {
        err = pki__bad(out_why, path);
    }
    fr_free(path);
    BIO_free(bio);
    return err;
}

static enum fr_err
make_list(struct pki *pki, struct serials *serials, int reason, int64_t now_s, unsigned days,
          struct pki_crl *out, char **out_why)
{
    X509_CRL *old = NULL, *crl = X509_CRL_new();
    int64_t ends_s = now_s + (int64_t)days * 86400, last_s = pki_ends_s(pki);
    *out = (struct pki_crl){.ends_s = ends_s < last_s ? ends_s : last_s};
    enum fr_err err = pki__crl_read(pki, &old, out_why);
    if (err == FR_OK) {
        out->number = number_of(old) + 1;
        bool ok = crl && keep_entries(pki, old, crl, serials, &out->revoked);
        if (ok && out->revoked + serials->count > PKI_REVOKED_MAX) {
            *out_why =
                fr_xprintf("the list has as many certificates as it may (%d)", PKI_REVOKED_MAX);
            err = FR_ERR_FULL;
        }
        for (size_t i = 0; ok && i < serials->count; i++)
            ok = add_entry(crl, serials->all[i], now_s, reason);
        if (err == FR_OK && !(ok && finish(pki, crl, now_s, out)))
            err = pki__bad(out_why, "revocation list");
    }
    out->added = (unsigned)serials->count;
    out->revoked += out->added;
    if (err == FR_OK)
        err = write_crl(pki, crl, out_why);
    X509_CRL_free(old);
    X509_CRL_free(crl);
    return err;
}

/* Only one at a time may read the list and write what it makes of it. */
static enum fr_err
make_list_alone(struct pki *pki, struct serials *serials, int reason, int64_t now_s, unsigned days,
                struct pki_crl *out, char **out_why)
{
    char *folder = pki__path(pki->folder, "signed", "");
    int lock = -1, error = 0;
    enum fr_err err = pki__folder_make(folder, out_why);
    if (err == FR_OK && fr_file_lock_folder(folder, &lock, &error) != FR_OK) {
        *out_why = fr_xprintf("%s: %s", folder, strerror(error));
        err = FR_ERR_IO;
    }
    if (err == FR_OK) {
        err = make_list(pki, serials, reason, now_s, days, out, out_why);
        (void)close(lock); /* read-only */
    }
    fr_free(folder);
    return err;
}

enum fr_err
pki_revoke(struct pki *pki, const struct pki_revocation *which, int64_t now_s, unsigned days,
           struct pki_crl *out, char **out_why)
{
    struct serials serials = {.count = 0};
    int reason;
    enum fr_err err = pki_check(pki, now_s, out_why);
    if (err != FR_OK)
        return err;
    if (!reason_of(which->reason, &reason)) {
        *out_why =
            fr_xprintf("\"%.100s\" is no reason, expected one of %s", which->reason, pki_reasons);
        return FR_ERR_SYNTAX;
    }
    err = find(pki, which, &serials, out_why);
    if (err == FR_OK)
        err = make_list_alone(pki, &serials, reason, now_s, days, out, out_why);
    fr_free(serials.all);
    return err;
}

enum fr_err
pki_crl_renew(struct pki *pki, int64_t now_s, unsigned days, struct pki_crl *out, char **out_why)
{
    struct serials none = {.count = 0};
    enum fr_err err = pki_check(pki, now_s, out_why);
    return err == FR_OK ? make_list_alone(pki, &none, NO_REASON, now_s, days, out, out_why) : err;
}

enum fr_err
pki_renewable(struct pki *pki, const char *serial, char **out_why)
{
    X509_CRL *crl = NULL;
    X509_REVOKED *entry = NULL;
    ASN1_INTEGER *integer = integer_of(serial);
    const char *wrong = NULL;
    enum fr_err err = pki__crl_read(pki, &crl, out_why);
    if (!integer)
        wrong = "the certificate has no serial number of at most 20 bytes, and is not renewed";
    else if (crl && X509_CRL_get0_by_serial(crl, &entry, integer) != 0)
        wrong = "the certificate was revoked, and is not renewed";
    if (err == FR_OK && wrong) {
        *out_why = fr_xstrdup(wrong);
        err = FR_ERR_REFUSED;
    }
    ASN1_INTEGER_free(integer);
    X509_CRL_free(crl);
    return err;
}
