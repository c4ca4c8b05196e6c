/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pki_sign.c - the one place where certificates are made.
 *
 * What stands in them is ours alone: of a request only the key is taken.
 *
 * Follows:    RFC 5280 section 4.1 (serial numbers of 128 random bits), 4.2.1 (extensions).
 */
#include "pki/pki_priv.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <string.h>

#define BACKDATED_S 300 /* the other machine's clock may be a little behind */

static bool
set_serial(X509 *certificate)
{
    unsigned char bytes[16];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return false;
    bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40); /* positive, and never short */
    BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return ok;
}

/* Behind the authority's own end a certificate would not be believed, whatever it says. */
static bool
set_times(X509 *certificate, const X509 *issuer, int64_t now_s, unsigned days)
{
    time_t begins = (time_t)(now_s - BACKDATED_S);
    time_t ends = (time_t)(now_s + (int64_t)days * 86400);
    const ASN1_TIME *last = issuer ? X509_get0_notAfter(issuer) : NULL;
    return ASN1_TIME_set(X509_getm_notBefore(certificate), begins) &&
           (last && ASN1_TIME_cmp_time_t(last, ends) < 0
                ? X509_set1_notAfter(certificate, last) == 1
                : ASN1_TIME_set(X509_getm_notAfter(certificate), ends) != NULL);
}

static bool
add(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer ? issuer : certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = extension && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static bool
is_address(const char *text)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

/* Names are checked before, so that none can say more than one value here. */
static char *
names_of(const struct pki_terms *terms)
{
    char *text = fr_xprintf("DNS:%s", terms->name);
    for (size_t i = 0; i < terms->also_count; i++) {
        char *longer =
            fr_xprintf("%s,%s:%s", text, is_address(terms->also[i]) ? "IP" : "DNS", terms->also[i]);
        fr_free(text);
        text = longer;
    }
    return text;
}

static bool
add_extensions(X509 *certificate, X509 *issuer, const struct pki_terms *terms)
{
    if (!issuer)
        return add(certificate, NULL, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
               add(certificate, NULL, NID_key_usage, "critical,keyCertSign,cRLSign") &&
               add(certificate, NULL, NID_subject_key_identifier, "hash");
    char *names = names_of(terms);
    bool ok = add(certificate, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
              add(certificate, issuer, NID_key_usage, "critical,digitalSignature") &&
              add(certificate, issuer, NID_ext_key_usage, "serverAuth,clientAuth") &&
              add(certificate, issuer, NID_subject_key_identifier, "hash") &&
              add(certificate, issuer, NID_authority_key_identifier, "keyid:always") &&
              add(certificate, issuer, NID_subject_alt_name, names);
    fr_free(names);
    return ok;
}

enum fr_err
pki__certificate_make(const struct pki__order *order, X509 **out, char **out_why)
{
    X509 *certificate = X509_new();
    X509_NAME *subject = certificate ? X509_get_subject_name(certificate) : NULL;
    bool ok =
        subject && X509_set_version(certificate, 2) == 1 && set_serial(certificate) &&
        set_times(certificate, order->issuer, order->now_s, order->terms->days) &&
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                   (const unsigned char *)order->terms->name, -1, -1, 0) == 1 &&
        X509_set_issuer_name(certificate,
                             order->issuer ? X509_get_subject_name(order->issuer) : subject) == 1 &&
        X509_set_pubkey(certificate, order->subject_key) == 1 &&
        add_extensions(certificate, order->issuer, order->terms) &&
        X509_sign(certificate, order->issuer_key, EVP_sha256()) > 0;
    if (!ok) {
        X509_free(certificate);
        return pki__bad(out_why, "certificate");
    }
    *out = certificate;
    return FR_OK;
}
