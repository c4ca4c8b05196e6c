/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pki.h - a small certificate authority in a folder, for the control stream and who administers it.
 *
 *     FOLDER/ca.pem, ca.key       the authority (ECDSA P-256)
 *     FOLDER/NAME.pem, NAME.key   what `issue` made here: certificate with the authority's, and key
 *     FOLDER/issued/NAME.pem      a copy of the newest certificate of every name, joined ones too
 *     FOLDER/signed/NAME/N.pem    a copy of every certificate, by its serial number
 *     FOLDER/crl.pem              those that were revoked; it is the one record of them
 *     FOLDER/tokens/HASH          join tokens that were not used yet, by their hash
 *
 * May touch:  base, tls (files of keys), OpenSSL 3, files. Never sockets or clocks (the time is an
 *             argument).
 * Threads:    any, one a folder at a time; using up a token is atomic over processes.
 * Memory:     none that lasts.
 * Files:      mode 0600 (crl.pem: 0644, it is for everybody), folders 0700; each is replaced whole,
 *             a key with its certificate.
 * Trusts:     nothing of a request to be signed but its key, which must have signed it.
 * Follows:    RFC 5280; RFC 2986 (requests); names are DNS names in subjectAltName.
 */
#ifndef PKI_H
#define PKI_H

#include "base/fr_buf.h"
#include "base/fr_err.h"
#include "base/fr_view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PKI_NAME_BYTES 64 /* as CONFIG_NAME_BYTES: a certificate's name is an id */
#define PKI_ALSO_MAX 16   /* further names and addresses of one certificate */
/* All names of one certificate, spaces between: its own, and DNS names of at most 253. */
#define PKI_NAMES_BYTES (PKI_NAME_BYTES + PKI_ALSO_MAX * 254)
#define PKI_FINGERPRINT_BYTES 65 /* SHA-256, hexadecimal, and a NUL */
#define PKI_TOKEN_BYTES 200      /* the longest token, and a NUL */
#define PKI_PEM_BYTES_MAX 65536  /* of a request or a certificate with its chain */
#define PKI_TOKENS_MAX 4096      /* not used yet, in one folder */
#define PKI_SIGNED_MAX 1000      /* of one name, that have not ended; then no more are signed */
#define PKI_REVOKED_MAX 8192     /* that have not ended; a list stays below TLS_PEM_BYTES_MAX */
#define PKI_SERIAL_BYTES 41      /* 20 bytes (RFC 5280) in hexadecimal, and a NUL */
#define PKI_DAYS_DEFAULT 365
#define PKI_CA_DAYS_DEFAULT 3650
#define PKI_CRL_DAYS_DEFAULT 30

struct pki;

/* Makes the authority; FR_ERR_EXISTS when the folder has one. *out_why (fr_free) on failure. */
FR_MUST_USE enum fr_err pki_init(const char *folder, const char *name, int64_t now_s, unsigned days,
                                 char **out_why);
FR_MUST_USE enum fr_err pki_open(const char *folder, struct pki **out, char **out_why);
void pki_close(struct pki **pki);                   /* NULL inside is allowed */
const char *pki_fingerprint(const struct pki *pki); /* of the authority's certificate */
const char *pki_ca_pem(const struct pki *pki);
int64_t pki_ends_s(const struct pki *pki); /* nothing that it signs is good for longer */
/* FR_ERR_REFUSED, and *out_why: the authority has ended, and nothing that it signs would be
 * believed; so it signs nothing. */
FR_MUST_USE enum fr_err pki_check(const struct pki *pki, int64_t now_s, char **out_why);

struct pki_terms {
    const char *name;
    const char *const *also; /* DNS names and numeric addresses; NULL when also_count is 0 */
    size_t also_count;
    unsigned days;
};
/* A new key and a certificate for it, as NAME.key and NAME.pem of the folder. FR_ERR_REFUSED as of
 * pki_check, here and in pki_sign. */
FR_MUST_USE enum fr_err pki_issue(struct pki *pki, const struct pki_terms *terms, int64_t now_s,
                                  char **out_why);
/* A certificate for the key of a request (PEM), with the authority's behind it. FR_ERR_BAD_PEER: it
 * is no request, or not signed by its own key. */
FR_MUST_USE enum fr_err pki_sign(struct pki *pki, const struct pki_terms *terms,
                                 struct fr_view request, int64_t now_s, struct fr_buf *out_pem,
                                 char **out_why);

struct pki_issued {
    char name[PKI_NAME_BYTES];
    char names[PKI_NAMES_BYTES]; /* all of them, spaces between */
    char fingerprint[PKI_FINGERPRINT_BYTES];
    int64_t begins_s, ends_s;
    char serial[PKI_SERIAL_BYTES];
    int64_t revoked_s; /* 0: it was not */
    bool has_key;      /* its key is in this folder: `renew` can make it anew */
};
/* Visits the newest certificate of every name, in the order of the names; or every one of `name`
 * that is on record, by when it began. Copies that cannot be used do not end it for the rest:
 * *out_why names each; a crl.pem that is none does. */
FR_MUST_USE enum fr_err pki_list(struct pki *pki, const char *name,
                                 void (*visit)(void *ctx, const struct pki_issued *issued),
                                 void *ctx, char **out_why);
bool pki_name_valid(struct fr_view name);
/* As pki_sign looks at a request; without an authority. FR_ERR_BAD_PEER, and *out_why. */
FR_MUST_USE enum fr_err pki_request_check(struct fr_view request, char **out_why);

/* ---- revocation ----------------------------------------------------------------------------- */

struct pki_revocation {      /* one of: */
    const char *name;        /* all that were signed for it so far; or a serial number */
    const char *certificate; /* a file */
    const char *reason;      /* of pki_reasons; NULL: none is given */
};
struct pki_crl {
    uint64_t number;
    unsigned revoked, added; /* in the list; by this call */
    int64_t ends_s;
};
/* Writes crl.pem with these and all that were in it. FR_ERR_NOT_FOUND: there is no such;
 * FR_ERR_FULL at PKI_REVOKED_MAX; FR_ERR_REFUSED as of pki_check. */
FR_MUST_USE enum fr_err pki_revoke(struct pki *pki, const struct pki_revocation *which,
                                   int64_t now_s, unsigned days, struct pki_crl *out,
                                   char **out_why);
/* The same list with a new number and a new end. */
FR_MUST_USE enum fr_err pki_crl_renew(struct pki *pki, int64_t now_s, unsigned days,
                                      struct pki_crl *out, char **out_why);
/* Whether who shows the certificate with that number may have it renewed. FR_ERR_REFUSED: it was
 * revoked, or that is no such number. Any other error: whether it was cannot be told. */
FR_MUST_USE enum fr_err pki_renewable(struct pki *pki, const char *serial, char **out_why);
extern const char pki_reasons[]; /* all of them, in words */

/* ---- keys and requests, on the machine that joins ------------------------------------------ */

/* A new key into a file (mode 0600), and a request signed by it. */
FR_MUST_USE enum fr_err pki_request_make(const char *name, const char *key_path,
                                         struct fr_buf *out_pem, char **out_why);

/* ---- tokens ------------------------------------------------------------------------------- */

/* "fj1.SECRET.FINGERPRINT.NAME": the fingerprint pins the authority, so that whoever sits between
 * cannot pass for the manager, and learns nothing. */
struct pki_token {
    char secret[33];
    char fingerprint[PKI_FINGERPRINT_BYTES];
    char name[PKI_NAME_BYTES];
};
bool pki_token_parse(const char *text, struct pki_token *out);
/* Good once, until `ends_s`. Only its hash is kept. FR_ERR_FULL at PKI_TOKENS_MAX. */
FR_MUST_USE enum fr_err pki_token_make(struct pki *pki, const char *name, int64_t now_s,
                                       int64_t ends_s, char out[PKI_TOKEN_BYTES], char **out_why);
/* Uses a token up. FR_ERR_REFUSED: there is none with that secret, or no longer; *out_why says
 * which. Any other error: whether there is one cannot be told. */
FR_MUST_USE enum fr_err pki_token_use(struct pki *pki, struct fr_view secret, int64_t now_s,
                                      char out_name[PKI_NAME_BYTES], char **out_why);
/* A random text for people to carry, and its SHA-256. */
FR_MUST_USE enum fr_err pki_secret_make(char out_text[65], char out_hash[PKI_FINGERPRINT_BYTES]);

#endif
