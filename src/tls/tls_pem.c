/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_pem.c - keys and certificates as files: the one place that writes a key.
 */
#include "tls/tls_pem.h"

#include "base/fr_file.h"
#include "base/fr_put.h"
#include "base/fr_thread.h"
#include "tls/tls_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

EVP_PKEY *
tls_pem_key_new(void)
{
    return EVP_EC_gen("P-256");
}

/* Nobody is there to type a pass phrase. */
static int
no_pass_phrase(char *buf, int size, int writing, void *ctx)
{
    (void)buf, (void)size, (void)writing, (void)ctx;
    return -1;
}

int64_t
tls_pem_time_s(const ASN1_TIME *time)
{
    struct tm tm;
    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static enum fr_err
say(enum fr_err err, int error, const char *path, char **out_why)
{
    if (err != FR_OK)
        *out_why = fr_xprintf("%s: %s", path, error ? strerror(error) : fr_err_words(err));
    return err;
}

/* ---- reading -------------------------------------------------------------------------------- */

void
tls_pem_wipe(struct fr_buf *text)
{
    if (text->data)
        OPENSSL_cleanse(text->data, text->len);
    fr_buf_fini(text);
}

enum fr_err
tls_pem_read(const char *path, struct fr_buf *out, char **out_why)
{
    int error = 0;
    fr_buf_init(out, TLS_PEM_BYTES_MAX);
    enum fr_err err = fr_file_read(path, out, &error);
    if (say(err, error, path, out_why) == FR_OK)
        return FR_OK;
    tls_pem_wipe(out);
    if (error == ENOENT)
        return FR_ERR_NOT_FOUND;
    return err == FR_ERR_FULL ? FR_ERR_CONFIG : err; /* it was read, and is none of ours */
}

/* The first one of a file; NULL: there is none, or it could not be read. */
static void *
read_first(const char *path, void *(*parse)(BIO *bio), const char *missing, enum fr_err *err,
           char **out_why)
{
    struct fr_buf text;
    *err = tls_pem_read(path, &text, out_why);
    if (*err != FR_OK)
        return NULL;
    ERR_clear_error();
    BIO *bio = BIO_new_mem_buf(text.data, (int)text.len);
    void *first = bio ? parse(bio) : NULL;
    BIO_free(bio);
    tls_pem_wipe(&text);
    if (!first)
        *err = tls__bad(out_why, missing, path);
    return first;
}

static void *
parse_key(BIO *bio)
{
    return PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL);
}

static void *
parse_certificate(BIO *bio)
{
    return PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL); /* a "TRUSTED CERTIFICATE" is one, too */
}

enum fr_err
tls_pem_key_read(const char *path, EVP_PKEY **out, char **out_why)
{
    enum fr_err err;
    EVP_PKEY *key = read_first(path, parse_key, "no key without a pass phrase in", &err, out_why);
    if (key)
        *out = key;
    return err;
}

enum fr_err
tls_pem_certificate_read(const char *path, X509 **out, char **out_why)
{
    enum fr_err err;
    X509 *certificate = read_first(path, parse_certificate, "no certificate in", &err, out_why);
    if (certificate)
        *out = certificate;
    return err;
}

X509 *
tls_pem_leaf(struct fr_view text)
{
    ERR_clear_error();
    BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
    X509 *leaf = bio ? parse_certificate(bio) : NULL;
    BIO_free(bio);
    return leaf;
}

bool
tls_pem_chain_fits(struct fr_view text, EVP_PKEY *key)
{
    X509 *leaf = tls_pem_leaf(text);
    bool fits = leaf && X509_check_private_key(leaf, key) == 1;
    X509_free(leaf);
    ERR_clear_error();
    return fits;
}

/* ---- pairs ---------------------------------------------------------------------------------- */

static enum fr_err
read_pair(const struct tls_pem_pair *paths, EVP_PKEY **out_key, struct fr_buf *out_chain,
          char **out_why)
{
    EVP_PKEY *key = NULL;
    enum fr_err err = tls_pem_read(paths->certificate, out_chain, out_why);
    if (err != FR_OK)
        return err;
    X509 *leaf = tls_pem_leaf(fr_buf_view(out_chain));
    fr_give_way(); /* each of these takes some 100 us */
    err = leaf ? tls_pem_key_read(paths->key, &key, out_why)
               : tls__bad(out_why, "no certificate in", paths->certificate);
    fr_give_way();
    if (err == FR_OK && X509_check_private_key(leaf, key) != 1) {
        *out_why = fr_xprintf("the key in %s is not that of the certificate in %s", paths->key,
                              paths->certificate);
        err = FR_ERR_CONFIG;
    }
    ERR_clear_error();
    X509_free(leaf);
    if (err == FR_OK) {
        *out_key = key;
    } else {
        EVP_PKEY_free(key);
        tls_pem_wipe(out_chain);
    }
    return err;
}

/* Whoever wrote this pair was killed between its two files: what is left to be done is done. */
static bool
finish_pair(const struct tls_pem_pair *paths)
{
    const struct fr_file_pair files = {.first = paths->key, .second = paths->certificate};
    char *why = NULL, *waiting = fr_file_pair_waiting(&files);
    EVP_PKEY *key = NULL;
    struct fr_buf text;
    bool done = false;
    if (waiting && tls_pem_key_read(paths->key, &key, &why) == FR_OK &&
        tls_pem_read(waiting, &text, &why) == FR_OK) {
        done = tls_pem_chain_fits(fr_buf_view(&text), key) &&
               fr_file_pair_finish(&files, NULL) == FR_OK;
        tls_pem_wipe(&text);
    }
    EVP_PKEY_free(key);
    fr_free(why);
    fr_free(waiting);
    return done;
}

enum fr_err
tls_pem_pair_read(const struct tls_pem_pair *paths, EVP_PKEY **out_key, struct fr_buf *out_chain,
                  char **out_why)
{
    char *why = NULL;
    enum fr_err err = read_pair(paths, out_key, out_chain, &why);
    if (err != FR_OK && finish_pair(paths)) {
        fr_free(why);
        why = NULL;
        err = read_pair(paths, out_key, out_chain, &why);
    }
    if (err != FR_OK)
        *out_why = why;
    return err;
}

/* ---- names ---------------------------------------------------------------------------------- */

/* A name or an address as text, "" when it is none; `address` is room for it. */
static struct fr_view
text_of(const GENERAL_NAME *one, char address[INET6_ADDRSTRLEN])
{
    const ASN1_STRING *string = one->type == GEN_DNS ? one->d.dNSName : one->d.iPAddress;
    struct fr_view text = fr_view_make((const char *)ASN1_STRING_get0_data(string),
                                       (size_t)ASN1_STRING_length(string));
    if (one->type == GEN_DNS) /* a NUL in a name is an attack */
        return memchr(text.ptr, 0, text.len) || memchr(text.ptr, ' ', text.len) ? fr_view_of("")
                                                                                : text;
    if ((text.len != 4 && text.len != 16) ||
        !inet_ntop(text.len == 4 ? AF_INET : AF_INET6, text.ptr, address, INET6_ADDRSTRLEN))
        address[0] = '\0';
    return fr_view_of(address);
}

bool
tls_pem_names(const X509 *certificate, unsigned kinds, char *out, size_t out_bytes)
{
    size_t used = 0;
    bool whole = true;
    GENERAL_NAMES *all = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    out[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *one = sk_GENERAL_NAME_value(all, i);
        char address[INET6_ADDRSTRLEN];
        if (one->type != GEN_DNS && one->type != GEN_IPADD) {
            whole &= kinds != (TLS_PEM_NAMES | TLS_PEM_ADDRESSES);
            continue;
        }
        if (!(kinds & (one->type == GEN_DNS ? TLS_PEM_NAMES : TLS_PEM_ADDRESSES)))
            continue;
        struct fr_view text = text_of(one, address);
        if (text.len == 0 || used + text.len + 2 > out_bytes)
            whole = false;
        else
            used += (size_t)snprintf(out + used, out_bytes - used, "%s%.*s", used ? " " : "",
                                     FR_VIEW_ARG(text));
    }
    GENERAL_NAMES_free(all);
    return whole;
}

void
tls_pem_serial(const ASN1_INTEGER *serial, char *out, size_t out_bytes)
{
    size_t count = (size_t)ASN1_STRING_length(serial);
    bool fits = 2 * count < out_bytes;
    *fr_put_hex(out, ASN1_STRING_get0_data(serial), fits ? count : 0) = '\0';
}

/* ---- writing -------------------------------------------------------------------------------- */

enum fr_err
tls_pem_write(const char *path, struct fr_view text, unsigned mode, char **out_why)
{
    int error = 0;
    enum fr_err err = fr_file_replace(path, text, mode, &error);
    return say(err, error, path, out_why); /* by then it is known */
}

/* The text of a key, in memory that OpenSSL wipes when the BIO is freed. NULL: out of memory. */
static BIO *
key_text(EVP_PKEY *key, struct fr_view *out)
{
    char *data = NULL;
    BIO *bio = BIO_new(BIO_s_secmem());
    if (bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1) {
        long len = BIO_get_mem_data(bio, &data);
        *out = fr_view_make(data, (size_t)len);
        return bio;
    }
    ERR_clear_error();
    BIO_free(bio);
    return NULL;
}

enum fr_err
tls_pem_key_write(const char *path, EVP_PKEY *key, char **out_why)
{
    struct fr_view text;
    BIO *bio = key_text(key, &text);
    if (!bio)
        return say(FR_ERR_NOMEM, 0, path, out_why);
    enum fr_err err = tls_pem_write(path, text, 0600, out_why);
    BIO_free(bio);
    return err;
}

enum fr_err
tls_pem_pair_write(const struct tls_pem_pair *paths, EVP_PKEY *key, struct fr_view chain,
                   char **out_why)
{
    const struct fr_file_pair files = {.first = paths->key, .second = paths->certificate};
    struct fr_view text;
    int error = 0;
    BIO *bio = key_text(key, &text);
    if (!bio)
        return say(FR_ERR_NOMEM, 0, paths->key, out_why);
    enum fr_err err = fr_file_replace_pair(&files, text, chain, 0600, &error);
    BIO_free(bio);
    return say(err, error, paths->certificate, out_why);
}

enum fr_err
tls_pem_certificate_put(X509 *certificate, struct fr_buf *out)
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
