/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pki_priv.h - what the files of this room share.
 */
#ifndef PKI_PRIV_H
#define PKI_PRIV_H

#include "base/fr_mem.h"
#include "pki/pki.h"

#include <openssl/x509.h>

struct pki {
    char *folder;
    X509 *certificate;
    EVP_PKEY *key;
    char *pem;
    char fingerprint[PKI_FINGERPRINT_BYTES];
};

/* pki_key.c. *out_why says what OpenSSL minds. */
enum fr_err pki__bad(char **out_why, const char *what);
void pki__hex(const unsigned char *bytes, size_t count, char *out); /* 2 * count and a NUL */
bool pki__sha256(const void *bytes, size_t count, char out[PKI_FINGERPRINT_BYTES]);
bool pki__fingerprint(X509 *certificate, char out[PKI_FINGERPRINT_BYTES]);

/* pki_sign.c. issuer NULL: an authority, signed by itself. */
struct pki__order {
    X509 *issuer;
    EVP_PKEY *issuer_key;
    EVP_PKEY *subject_key;
    const struct pki_terms *terms;
    int64_t now_s;
};
FR_MUST_USE enum fr_err pki__certificate_make(const struct pki__order *order, X509 **out,
                                              char **out_why);

#endif
