/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pki_token.c - join tokens: made, kept as a hash, used up once.
 *
 * A token is a file named by the SHA-256 of its secret, with the name and the end in it. Whoever
 * unlinks the file has used the token: of two at one moment the kernel lets one.
 *
 * When full:  PKI_TOKENS_MAX files; those that have ended are removed when a new one is made.
 * Trusts:     no secret until its file is there; the file's name is all hexadecimal digits.
 */
#include "pki/pki_priv.h"

#include "base/fr_file.h"
#include "base/fr_put.h"
#include "tls/tls_pem.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SECRET_BYTES 16
#define FILE_BYTES_MAX 256

bool
pki_token_parse(const char *text, struct pki_token *out)
{
    struct fr_view rest = fr_view_of(text), version, secret, fingerprint;
    return fr_view_split(&rest, '.', &version) && fr_view_is(version, "fj1") &&
           fr_view_split(&rest, '.', &secret) && secret.len == 2 * (size_t)SECRET_BYTES &&
           pki__is_hex(secret) && fr_view_split(&rest, '.', &fingerprint) &&
           fingerprint.len == PKI_FINGERPRINT_BYTES - 1 && pki__is_hex(fingerprint) &&
           pki_name_valid(rest) && fr_view_copy(secret, out->secret, sizeof(out->secret)) &&
           fr_view_copy(fingerprint, out->fingerprint, sizeof(out->fingerprint)) &&
           fr_view_copy(rest, out->name, sizeof(out->name));
}

/* "NAME\nENDS\n" of a token's file. FR_ERR_REFUSED: there is none, or it says something else;
 * FR_ERR_IO with *out_errno: it cannot be read. */
static enum fr_err
read_token(const char *path, char out_name[PKI_NAME_BYTES], int64_t *out_ends_s, int *out_errno)
{
    struct fr_buf text;
    struct fr_view rest, name, ends;
    uint64_t number = 0;
    *out_errno = 0;
    fr_buf_init(&text, FILE_BYTES_MAX);
    enum fr_err err = fr_file_read(path, &text, out_errno);
    if (err != FR_OK) {
        fr_buf_fini(&text);
        return *out_errno != 0 && *out_errno != ENOENT ? FR_ERR_IO : FR_ERR_REFUSED;
    }
    rest = fr_buf_view(&text);
    bool ok = fr_view_split(&rest, '\n', &name) && pki_name_valid(name) &&
              fr_view_split(&rest, '\n', &ends) && fr_view_u64(ends, &number) &&
              number < INT64_MAX && fr_view_copy(name, out_name, PKI_NAME_BYTES);
    *out_ends_s = (int64_t)number;
    fr_buf_fini(&text);
    return ok ? FR_OK : FR_ERR_REFUSED;
}

/* Removes those that have ended; returns how many are left. */
static size_t
sweep(const char *folder, int64_t now_s)
{
    size_t left = 0, count = 0;
    char **hashes = pki__names_in(folder, "", pki__is_hex, &count);
    for (size_t i = 0; i < count; i++) {
        char name[PKI_NAME_BYTES];
        int64_t ends_s = 0;
        int error = 0;
        char *path = pki__path(folder, hashes[i], "");
        enum fr_err err = read_token(path, name, &ends_s, &error);
        if (err == FR_ERR_REFUSED || (err == FR_OK && ends_s <= now_s))
            (void)unlink(path); /* next time, if not now */
        else
            left++;
        fr_free(path);
        fr_free(hashes[i]);
    }
    fr_free(hashes);
    return left;
}

enum fr_err
pki_token_make(struct pki *pki, const char *name, int64_t now_s, int64_t ends_s,
               char out[PKI_TOKEN_BYTES], char **out_why)
{
    unsigned char bytes[SECRET_BYTES];
    char secret[2 * SECRET_BYTES + 1], hash[PKI_FINGERPRINT_BYTES], text[FILE_BYTES_MAX];
    if (!pki_name_valid(fr_view_of(name))) {
        *out_why = fr_xprintf("\"%.100s\" is not a name: letters, digits, '.', '_' and '-'", name);
        return FR_ERR_SYNTAX;
    }
    if (RAND_priv_bytes(bytes, sizeof(bytes)) != 1)
        return pki__bad(out_why, "random numbers");
    *fr_put_hex(secret, bytes, sizeof(bytes)) = '\0';
    OPENSSL_cleanse(bytes, sizeof(bytes));
    if (!pki__sha256(secret, strlen(secret), hash))
        return pki__bad(out_why, "hash");
    char *folder = fr_xprintf("%s/tokens", pki->folder);
    char *path = fr_xprintf("%s/%s", folder, hash);
    int len = snprintf(text, sizeof(text), "%s\n%" PRId64 "\n", name, ends_s);
    enum fr_err err = pki__folder_make(folder, out_why);
    if (err == FR_OK && sweep(folder, now_s) >= PKI_TOKENS_MAX) {
        *out_why =
            fr_xprintf("%s holds as many unused tokens as it may (%d)", folder, PKI_TOKENS_MAX);
        err = FR_ERR_FULL;
    }
    if (err == FR_OK)
        err = tls_pem_write(path, fr_view_make(text, (size_t)len), 0600, out_why);
    if (err == FR_OK)
        (void)snprintf(out, PKI_TOKEN_BYTES, "fj1.%s.%s.%s", secret, pki->fingerprint, name);
    OPENSSL_cleanse(secret, sizeof(secret));
    fr_free(path);
    fr_free(folder);
    return err;
}

enum fr_err
pki_token_use(struct pki *pki, struct fr_view secret, int64_t now_s, char out_name[PKI_NAME_BYTES],
              char **out_why)
{
    static const char no_such[] = "no such token: it was used, has ended, or never was";
    char hash[PKI_FINGERPRINT_BYTES];
    int64_t ends_s = 0;
    int error = 0;
    if (secret.len != 2 * (size_t)SECRET_BYTES || !pki__is_hex(secret) ||
        !pki__sha256(secret.ptr, secret.len, hash)) {
        *out_why = fr_xstrdup("no token: expected what `freshet pki token` printed");
        return FR_ERR_REFUSED;
    }
    char *path = fr_xprintf("%s/tokens/%s", pki->folder, hash);
    enum fr_err err = read_token(path, out_name, &ends_s, &error);
    if (err != FR_OK) {
        *out_why =
            err == FR_ERR_REFUSED ? fr_xstrdup(no_such) : fr_xprintf("token: %s", strerror(error));
    } else if (unlink(path) != 0) {
        *out_why = errno == ENOENT ? fr_xstrdup(no_such) : fr_xprintf("token: %s", strerror(errno));
        err = errno == ENOENT ? FR_ERR_REFUSED : FR_ERR_IO;
    } else if (ends_s <= now_s) {
        *out_why = fr_xstrdup("the token has ended");
        err = FR_ERR_REFUSED;
    }
    fr_free(path);
    return err;
}
