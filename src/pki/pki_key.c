/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pki_key.c - keys, fingerprints and PEM files.
 *
 * Files:      0600; a key is never anywhere but in its file and, for a moment, in memory that is
 *             wiped.
 */
#include "pki/pki_priv.h"

#include "base/fr_file.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdio.h>
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

EVP_PKEY *
pki__key_new(void)
{
    return EVP_EC_gen("P-256");
}

enum fr_err
pki__write(const char *path, struct fr_view text, char **out_why)
{
    int error = 0;
    enum fr_err err = fr_file_replace(path, text, 0600, &error);
    if (err != FR_OK)
        *out_why = fr_xprintf("%s: %s", path, error ? strerror(error) : fr_err_words(err));
    return err;
}

enum fr_err
pki__key_write(EVP_PKEY *key, const char *path, char **out_why)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    char *data = NULL;
    enum fr_err err = FR_OK;
    if (!bio || PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
        err = pki__bad(out_why, "key");
    if (err == FR_OK) {
        long len = BIO_get_mem_data(bio, &data);
        err = pki__write(path, fr_view_make(data, (size_t)len), out_why);
        OPENSSL_cleanse(data, (size_t)len);
    }
    BIO_free(bio);
    return err;
}

enum fr_err
pki__pem_of(X509 *certificate, struct fr_buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL;
    enum fr_err err = FR_ERR_NOMEM;
    if (bio && PEM_write_bio_X509(bio, certificate) == 1) {
        long len = BIO_get_mem_data(bio, &data);
        err = fr_buf_append(out, data, (size_t)len);
    }
    BIO_free(bio);
    return err;
}

static BIO *
read_bio(const char *path, struct fr_buf *text, char **out_why)
{
    int error = 0;
    fr_buf_init(text, PKI_PEM_BYTES_MAX);
    enum fr_err err = fr_file_read(path, text, &error);
    if (err == FR_OK && text->len > 0)
        return BIO_new_mem_buf(text->data, (int)text->len);
    *out_why = fr_xprintf("%s: %s", path,
                          error          ? strerror(error)
                          : err == FR_OK ? "it is empty"
                                         : fr_err_words(err));
    fr_buf_fini(text);
    return NULL;
}

X509 *
pki__read_certificate(const char *path, char **out_why)
{
    struct fr_buf text;
    BIO *bio = read_bio(path, &text, out_why);
    if (!bio)
        return NULL;
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    if (!certificate)
        (void)pki__bad(out_why, path);
    BIO_free(bio);
    fr_buf_fini(&text);
    return certificate;
}

static int
no_pass_phrase(char *buf, int size, int writing, void *ctx)
{
    (void)buf, (void)size, (void)writing, (void)ctx;
    return -1;
}

EVP_PKEY *
pki__read_key(const char *path, char **out_why)
{
    struct fr_buf text;
    BIO *bio = read_bio(path, &text, out_why);
    if (!bio)
        return NULL;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL);
    if (!key)
        (void)pki__bad(out_why, path);
    BIO_free(bio);
    OPENSSL_cleanse(text.data, text.len);
    fr_buf_fini(&text);
    return key;
}

void
pki__hex(const unsigned char *bytes, size_t count, char *out)
{
    for (size_t i = 0; i < count; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

bool
pki__sha256(const void *bytes, size_t count, char out[PKI_FINGERPRINT_BYTES])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    if (EVP_Digest(bytes, count, digest, &len, EVP_sha256(), NULL) != 1 || len != 32)
        return false;
    pki__hex(digest, len, out);
    return true;
}

bool
pki__fingerprint(X509 *certificate, char out[PKI_FINGERPRINT_BYTES])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    if (X509_digest(certificate, EVP_sha256(), digest, &len) != 1 || len != 32)
        return false;
    pki__hex(digest, len, out);
    return true;
}

enum fr_err
pki_secret_make(char out_text[65], char out_hash[PKI_FINGERPRINT_BYTES])
{
    unsigned char bytes[32];
    if (RAND_priv_bytes(bytes, sizeof(bytes)) != 1)
        return FR_ERR_SYSTEM;
    pki__hex(bytes, sizeof(bytes), out_text);
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
    EVP_PKEY *key = pki__key_new();
    X509_REQ *request = key ? request_of(key, name) : NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL;
    enum fr_err err = FR_OK;
    if (!request || !bio || PEM_write_bio_X509_REQ(bio, request) != 1)
        err = pki__bad(out_why, "certificate request");
    if (err == FR_OK)
        err = pki__key_write(key, key_path, out_why);
    if (err == FR_OK) {
        long len = BIO_get_mem_data(bio, &data);
        err = fr_buf_append(out_pem, data, (size_t)len);
    }
    BIO_free(bio);
    X509_REQ_free(request);
    EVP_PKEY_free(key);
    return err;
}
