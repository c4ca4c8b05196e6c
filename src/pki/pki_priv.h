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
bool pki__sha256(const void *bytes, size_t count, char out[PKI_FINGERPRINT_BYTES]);
bool pki__fingerprint(X509 *certificate, char out[PKI_FINGERPRINT_BYTES]);

/* pki_issued.c: what was signed. Of a record before what it is of is given away. */
char *pki__path(const char *folder, const char *name, const char *suffix);
FR_MUST_USE enum fr_err pki__folder_make(const char *folder, char **out_why);
FR_MUST_USE enum fr_err pki__record(struct pki *pki, const char *name, X509 *certificate,
                                    int64_t now_s, char **out_why);
FR_MUST_USE enum fr_err pki__record_newest(struct pki *pki, const char *name, X509 *certificate,
                                           char **out_why);
void pki__serial(const ASN1_INTEGER *serial, char out[PKI_SERIAL_BYTES]); /* "": it is none */
bool pki__is_hex(struct fr_view text);
/* Names of a folder that end in `suffix`, without it, sorted; each and the array: fr_free. */
char **pki__names_in(const char *folder, const char *suffix, bool (*fits)(struct fr_view name),
                     size_t *out_count);
bool pki__is_serial(struct fr_view text);
/* NULL: no certificate with that number is on record; none was signed for that name. */
X509 *pki__find(struct pki *pki, const char *serial);
X509 *pki__newest(struct pki *pki, const char *name);

/* pki_revoke.c. *out NULL: there is no list yet. */
FR_MUST_USE enum fr_err pki__crl_read(struct pki *pki, X509_CRL **out, char **out_why);

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
