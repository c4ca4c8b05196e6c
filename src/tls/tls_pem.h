/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_pem.h - keys and certificates as files, for whoever makes some: listeners' (acme), the
 * control stream's (pki), and those that are only read (tls).
 *
 * May touch:  base, OpenSSL 3, files. Blocks: boot, control and threads that may.
 * Files:      each replaced whole, a key (0600) and its certificate as a pair (fr_file.h). A key is
 *             nowhere but in its file and, for a moment, in memory that is wiped.
 * Limits:     TLS_PEM_BYTES_MAX a file.
 * Trusts:     nothing that it reads.
 */
#ifndef TLS_PEM_H
#define TLS_PEM_H

#include "base/fr_buf.h"
#include "base/fr_err.h"

#include <openssl/bio.h>
#include <openssl/x509.h>

#define TLS_PEM_BYTES_MAX 1048576

EVP_PKEY *tls_pem_key_new(void); /* ECDSA P-256; NULL: out of memory */

/* ---- files; *out_why (fr_free) names the file and what is wrong ------------------------------ */

/* The whole file. FR_ERR_NOT_FOUND: it is not there; FR_ERR_CONFIG: it is too large, or (below) is
 * none; any other: it cannot be read, and what is in it nobody knows. */
FR_MUST_USE enum fr_err tls_pem_read(const char *path, struct fr_buf *out, char **out_why);
void tls_pem_wipe(struct fr_buf *text); /* and fr_buf_fini: there may be a key in it */
FR_MUST_USE enum fr_err tls_pem_key_read(const char *path, EVP_PKEY **out, char **out_why);
/* The first certificate of a file. */
FR_MUST_USE enum fr_err tls_pem_certificate_read(const char *path, X509 **out, char **out_why);
FR_MUST_USE enum fr_err tls_pem_write(const char *path, struct fr_view text, unsigned mode,
                                      char **out_why);
FR_MUST_USE enum fr_err tls_pem_key_write(const char *path, EVP_PKEY *key, char **out_why);
/* A key, and its certificate with what is to stand behind it: both, or neither. */
struct tls_pem_pair {
    const char *certificate, *key; /* paths */
};
/* *out_chain is the certificate's file, to be given back by tls_pem_wipe. Where whoever wrote the
 * pair was killed between the two, what is left to be done is done. FR_ERR_CONFIG also when the two
 * do not belong together. */
FR_MUST_USE enum fr_err tls_pem_pair_read(const struct tls_pem_pair *paths, EVP_PKEY **out_key,
                                          struct fr_buf *out_chain, char **out_why);
FR_MUST_USE enum fr_err tls_pem_pair_write(const struct tls_pem_pair *paths, EVP_PKEY *key,
                                           struct fr_view chain, char **out_why);

/* ---- texts ---------------------------------------------------------------------------------- */

/* Appends. FR_ERR_NOMEM, FR_ERR_FULL. */
FR_MUST_USE enum fr_err tls_pem_certificate_put(X509 *certificate, struct fr_buf *out);
/* The names and addresses (subjectAltName) of a certificate, one space between two, as many as fit.
 * False: some did not fit, or one is none (a NUL in a name is an attack); with both kinds asked
 * for, also when there is a third. */
enum tls_pem_kinds { TLS_PEM_NAMES = 1, TLS_PEM_ADDRESSES = 2 };
bool tls_pem_names(const X509 *certificate, unsigned kinds, char *out, size_t out_bytes);
X509 *tls_pem_leaf(struct fr_view text); /* the first certificate; NULL: it has none */
/* Whether the first certificate of a text is for this key. */
bool tls_pem_chain_fits(struct fr_view text, EVP_PKEY *key);

/* In hexadecimal; "": it is none, or does not fit. */
void tls_pem_serial(const ASN1_INTEGER *serial, char *out, size_t out_bytes);
int64_t tls_pem_time_s(const ASN1_TIME *time); /* since 1970; 0: it is no time */

#endif
