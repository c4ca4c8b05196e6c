/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acme_certificate.c - requests, and certificates that nobody signed.
 *
 * Follows:    RFC 8737 section 3 (acmeIdentifier), RFC 2986.
 */
#include "acme/acme_priv.h"

#include "base/fr_file.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <string.h>

#define PLACEHOLDER_DAYS 30

/* ---- requests ------------------------------------------------------------------------------- */

static char *
names_of(char *const *domains)
{
    char *text = NULL;
    for (; *domains; domains++) {
        char *longer = fr_xprintf("%s%sDNS:%s", text ? text : "", text ? "," : "", *domains);
        fr_free(text);
        text = longer;
    }
    return text;
}

static bool
add_names(X509_REQ *request, char *const *domains)
{
    char *names = names_of(domains);
    STACK_OF(X509_EXTENSION) *all = sk_X509_EXTENSION_new_null();
    X509_EXTENSION *one = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
    bool ok = all && one && sk_X509_EXTENSION_push(all, one) > 0 &&
              X509_REQ_add_extensions(request, all) == 1;
    sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
    fr_free(names);
    return ok;
}

char *
acme__request(EVP_PKEY *key, char *const *domains)
{
    X509_REQ *request = X509_REQ_new();
    unsigned char *der = NULL;
    char *text = NULL;
    if (request && X509_REQ_set_version(request, 0) == 1 &&
        X509_REQ_set_pubkey(request, key) == 1 && add_names(request, domains) &&
        X509_REQ_sign(request, key, EVP_sha256()) > 0) {
        int len = i2d_X509_REQ(request, &der);
        if (len > 0)
            text = acme__base64url(der, (size_t)len);
    }
    OPENSSL_free(der);
    X509_REQ_free(request);
    return text;
}

/* ---- signed by nobody ----------------------------------------------------------------------- */

static bool
add(X509 *certificate, int nid, const char *value)
{
    X509_EXTENSION *one = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    bool ok = one && X509_add_ext(certificate, one, -1) == 1;
    X509_EXTENSION_free(one);
    return ok;
}

/* id-pe-acmeIdentifier, critical: an OCTET STRING within the extension's own. */
static bool
add_digest(X509 *certificate, const unsigned char *digest)
{
    unsigned char der[34] = {0x04, 32};
    memcpy(der + 2, digest, 32);
    ASN1_OBJECT *object = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *one = NULL;
    if (object && value && ASN1_OCTET_STRING_set(value, der, sizeof(der)) == 1)
        one = X509_EXTENSION_create_by_OBJ(NULL, object, 1, value);
    bool ok = one && X509_add_ext(certificate, one, -1) == 1;
    X509_EXTENSION_free(one);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(object);
    return ok;
}

X509 *
acme__self_signed(EVP_PKEY *key, const char *domain, const unsigned char *digest, int64_t now_s,
                  unsigned days)
{
    X509 *certificate = X509_new();
    unsigned char serial[8];
    uint64_t number = 0;
    char *names = fr_xprintf("DNS:%s", domain);
    if (RAND_bytes(serial, sizeof(serial)) == 1)
        memcpy(&number, serial, sizeof(number));
    X509_NAME *subject = certificate ? X509_get_subject_name(certificate) : NULL;
    bool ok =
        subject && X509_set_version(certificate, 2) == 1 &&
        ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), number >> 1 | 1) == 1 &&
        ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)(now_s - 3600)) != NULL &&
        ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)(now_s + (int64_t)days * 86400)) !=
            NULL &&
        X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8,
                                   (const unsigned char *)"no certificate yet", -1, -1, 0) == 1 &&
        X509_set_issuer_name(certificate, subject) == 1 && X509_set_pubkey(certificate, key) == 1 &&
        add(certificate, NID_subject_alt_name, names) &&
        (!digest || add_digest(certificate, digest)) &&
        X509_sign(certificate, key, EVP_sha256()) > 0;
    fr_free(names);
    if (ok)
        return certificate;
    X509_free(certificate);
    ERR_clear_error();
    return NULL;
}

enum fr_err
acme_placeholder(const char *certificate, const char *key, const char *domain, int64_t now_s,
                 char **out_why)
{
    int error = 0;
    const char *slash = strrchr(certificate, '/');
    char *folder =
        slash ? fr_xstrndup(certificate, (size_t)(slash - certificate)) : fr_xstrdup(".");
    const struct tls_pem_pair paths = {.certificate = certificate, .key = key};
    struct fr_buf text;
    fr_buf_init(&text, TLS_PEM_BYTES_MAX);
    EVP_PKEY *fresh = tls_pem_key_new();
    X509 *made = fresh ? acme__self_signed(fresh, domain, NULL, now_s, PLACEHOLDER_DAYS) : NULL;
    enum fr_err err = made ? tls_pem_certificate_put(made, &text) : FR_ERR_NOMEM;
    if (err == FR_OK)
        err = fr_file_make_folder(folder, &error);
    if (err != FR_OK)
        *out_why = fr_xprintf("%s: %s", folder, error ? strerror(error) : fr_err_words(err));
    else
        err = tls_pem_pair_write(&paths, fresh, fr_buf_view(&text), out_why);
    fr_buf_fini(&text);
    X509_free(made);
    EVP_PKEY_free(fresh);
    fr_free(folder);
    return err;
}

/* ---- what is there -------------------------------------------------------------------------- */

bool
acme__lifetime(const struct tls_pem_pair *paths, char *const *domains, int64_t *out_begins_s,
               int64_t *out_ends_s)
{
    X509 *leaf = NULL;
    EVP_PKEY *key = NULL;
    char *why = NULL;
    struct fr_buf text;
    bool good = tls_pem_pair_read(paths, &key, &text, &why) == FR_OK;
    if (good) {
        leaf = tls_pem_leaf(fr_buf_view(&text));
        tls_pem_wipe(&text);
        good = leaf && X509_NAME_cmp(X509_get_subject_name(leaf), X509_get_issuer_name(leaf)) != 0;
    }
    for (; good && *domains; domains++)
        good = X509_check_host(leaf, *domains, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1;
    if (good) {
        *out_begins_s = tls_pem_time_s(X509_get0_notBefore(leaf));
        *out_ends_s = tls_pem_time_s(X509_get0_notAfter(leaf));
    }
    X509_free(leaf);
    EVP_PKEY_free(key);
    ERR_clear_error();
    fr_free(why);
    return good;
}
