/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pki_key.c - fingerprints, secrets, and requests to be certified. Files are tls_pem's.
 */
#include "pki/pki_priv.h"

#include "base/fr_put.h"
#include "tls/tls_pem.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <string.h>

enum fr_err
pki__bad(char **out_why, const char *what)
{
    unsigned long error = ERR_get_error();
    const char *words = error ? ERR_reason_error_string(error) : NULL;
    ERR_clear_error();
    *out_why = fr_xprintf("%s: %s", what, words ? words : "unknown error");
    return FR_ERR_CONFIG;
}

bool
pki__sha256(const void *bytes, size_t count, char out[PKI_FINGERPRINT_BYTES])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    if (EVP_Digest(bytes, count, digest, &len, EVP_sha256(), NULL) != 1 || len != 32)
        return false;
    *fr_put_hex(out, digest, len) = '\0';
    return true;
}

bool
pki__fingerprint(X509 *certificate, char out[PKI_FINGERPRINT_BYTES])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    if (X509_digest(certificate, EVP_sha256(), digest, &len) != 1 || len != 32)
        return false;
    *fr_put_hex(out, digest, len) = '\0';
    return true;
}

enum fr_err
pki_secret_make(char out_text[65], char out_hash[PKI_FINGERPRINT_BYTES])
{
    unsigned char bytes[32];
    if (RAND_priv_bytes(bytes, sizeof(bytes)) != 1)
        return FR_ERR_SYSTEM;
    *fr_put_hex(out_text, bytes, sizeof(bytes)) = '\0';
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return pki__sha256(out_text, 64, out_hash) ? FR_OK : FR_ERR_NOMEM;
}

/* ---- requests ------------------------------------------------------------------------------- */

static X509_REQ *
request_of(EVP_PKEY *key, const char *name)
{
    X509_REQ *request = X509_REQ_new();
    X509_NAME *subject = request ? X509_REQ_get_subject_name(request) : NULL;
    bool ok = subject && X509_REQ_set_version(request, 0) == 1 &&
              X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name,
                                         -1, -1, 0) == 1 &&
              X509_REQ_set_pubkey(request, key) == 1 &&
              X509_REQ_sign(request, key, EVP_sha256()) > 0;
    if (ok)
        return request;
    X509_REQ_free(request);
    return NULL;
}

enum fr_err
pki_request_make(const char *name, const char *key_path, struct fr_buf *out_pem, char **out_why)
{
    EVP_PKEY *key = tls_pem_key_new();
    X509_REQ *request = key ? request_of(key, name) : NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL;
    enum fr_err err = FR_OK;
    if (!request || !bio || PEM_write_bio_X509_REQ(bio, request) != 1)
        err = pki__bad(out_why, "certificate request");
    if (err == FR_OK)
        err = tls_pem_key_write(key_path, key, out_why);
    if (err == FR_OK) {
        long len = BIO_get_mem_data(bio, &data);
        err = fr_buf_append(out_pem, data, (size_t)len);
    }
    BIO_free(bio);
    X509_REQ_free(request);
    EVP_PKEY_free(key);
    return err;
}
