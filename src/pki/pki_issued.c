/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pki_issued.c - the record of what was signed, and the list that it gives.
 *
 * A certificate that is not on record cannot be revoked by its name, so it is on record before it
 * is given away, and stays there when it is renewed: who has the old one may have it for long.
 *
 * When full:  PKI_SIGNED_MAX of one name: those that have ended are removed; where all are good
 *             that name gets no more, so that who renews without end shuts out nobody but itself.
 * Trusts:     names of files are names or hexadecimal digits before they are made paths.
 */
#include "pki/pki_priv.h"

#include "base/fr_file.h"
#include "tls/tls_pem.h"

#include <dirent.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ALL_KINDS (TLS_PEM_NAMES | TLS_PEM_ADDRESSES)

char *
pki__path(const char *folder, const char *name, const char *suffix)
{
    return fr_xprintf("%s/%s%s", folder, name, suffix);
}

bool
pki__is_hex(struct fr_view text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!((text.ptr[i] >= '0' && text.ptr[i] <= '9') ||
              (text.ptr[i] >= 'a' && text.ptr[i] <= 'f')))
            return false;
    return text.len > 0;
}

bool
pki__is_serial(struct fr_view text)
{
    return text.len < PKI_SERIAL_BYTES && pki__is_hex(text);
}

void
pki__serial(const ASN1_INTEGER *serial, char out[PKI_SERIAL_BYTES])
{
    tls_pem_serial(serial, out, PKI_SERIAL_BYTES);
}

static int
by_name(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

char **
pki__names_in(const char *folder, const char *suffix, bool (*fits)(struct fr_view name),
              size_t *out_count)
{
    char **names = NULL;
    size_t count = 0, capacity = 0, tail = strlen(suffix);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        size_t len = strlen(entry->d_name);
        if (len <= tail || strcmp(entry->d_name + len - tail, suffix) != 0 ||
            !fits(fr_view_make(entry->d_name, len - tail)))
            continue;
        fr_xgrow((void **)&names, &capacity, count + 1, sizeof(*names));
        names[count++] = fr_xstrndup(entry->d_name, len - tail);
    }
    if (dir)
        (void)closedir(dir);
    if (count > 0)
        qsort(names, count, sizeof(*names), by_name);
    *out_count = count;
    return names;
}

static X509 *
read_if_there(const char *folder, const char *name)
{
    char *path = pki__path(folder, name, ".pem"), *why = NULL;
    X509 *certificate = NULL;
    if (tls_pem_certificate_read(path, &certificate, &why) != FR_OK)
        fr_free(why);
    fr_free(path);
    return certificate;
}

/* ---- writing -------------------------------------------------------------------------------- */

enum fr_err
pki__folder_make(const char *folder, char **out_why)
{
    int error = 0;
    enum fr_err err = fr_file_make_folder(folder, &error);
    if (err != FR_OK)
        *out_why = fr_xprintf("%s: %s", folder, strerror(error));
    return err;
}

static enum fr_err
write_copy(const char *folder, const char *name, X509 *certificate, char **out_why)
{
    struct fr_buf text;
    char *path = pki__path(folder, name, ".pem");
    fr_buf_init(&text, PKI_PEM_BYTES_MAX);
    enum fr_err err = pki__folder_make(folder, out_why);
    if (err == FR_OK) {
        err = tls_pem_certificate_put(certificate, &text);
        if (err == FR_OK)
            err = tls_pem_write(path, fr_buf_view(&text), 0600, out_why);
        else
            *out_why = fr_xprintf("%s: %s", path, fr_err_words(err));
    }
    fr_buf_fini(&text);
    fr_free(path);
    return err;
}

/* What cannot be read has not. */
static bool
has_ended(const char *folder, const char *serial, int64_t now_s)
{
    X509 *certificate = read_if_there(folder, serial);
    bool ended = certificate && tls_pem_time_s(X509_get0_notAfter(certificate)) < now_s;
    X509_free(certificate);
    return ended;
}

/* How many there are, without those that have ended where that is as many as there may be. */
static size_t
sweep(const char *folder, int64_t now_s)
{
    size_t count = 0;
    char **serials = pki__names_in(folder, ".pem", pki__is_serial, &count);
    size_t left = count;
    for (size_t i = 0; i < count; i++) {
        if (count >= PKI_SIGNED_MAX && has_ended(folder, serials[i], now_s)) {
            char *path = pki__path(folder, serials[i], ".pem");
            left -= unlink(path) == 0;
            fr_free(path);
        }
        fr_free(serials[i]);
    }
    fr_free(serials);
    return left;
}

enum fr_err
pki__record(struct pki *pki, const char *name, X509 *certificate, int64_t now_s, char **out_why)
{
    char serial[PKI_SERIAL_BYTES];
    char *folder = fr_xprintf("%s/signed/%s", pki->folder, name);
    enum fr_err err = FR_OK;
    pki__serial(X509_get0_serialNumber(certificate), serial);
    if (sweep(folder, now_s) >= PKI_SIGNED_MAX) {
        *out_why = fr_xprintf("%s has as many certificates that have not ended as it may (%d)",
                              name, PKI_SIGNED_MAX);
        err = FR_ERR_FULL;
    }
    if (err == FR_OK)
        err = write_copy(folder, serial, certificate, out_why);
    fr_free(folder);
    return err;
}

enum fr_err
pki__record_newest(struct pki *pki, const char *name, X509 *certificate, char **out_why)
{
    char *folder = pki__path(pki->folder, "issued", "");
    enum fr_err err = write_copy(folder, name, certificate, out_why);
    fr_free(folder);
    return err;
}

/* ---- finding -------------------------------------------------------------------------------- */

X509 *
pki__newest(struct pki *pki, const char *name)
{
    char *folder = pki__path(pki->folder, "issued", "");
    X509 *certificate = read_if_there(folder, name);
    fr_free(folder);
    return certificate;
}

X509 *
pki__find(struct pki *pki, const char *serial)
{
    size_t count = 0;
    char *top = pki__path(pki->folder, "signed", "");
    char **names = pki__names_in(top, "", pki_name_valid, &count);
    X509 *found = NULL;
    for (size_t i = 0; i < count; i++) {
        char *folder = pki__path(top, names[i], "");
        if (!found)
            found = read_if_there(folder, serial);
        fr_free(folder);
        fr_free(names[i]);
    }
    fr_free(names);
    fr_free(top);
    return found;
}

/* ---- the list ------------------------------------------------------------------------------- */

struct listing {
    X509_CRL *crl; /* NULL: none was revoked */
    struct pki_issued *rows;
    size_t count, capacity;
    char *why; /* a line each */
    enum fr_err err;
};

static void
note(struct listing *listing, enum fr_err err, char *why)
{
    char *longer = listing->why ? fr_xprintf("%s\n%s", listing->why, why) : fr_xstrdup(why);
    fr_free(listing->why);
    fr_free(why);
    listing->why = longer;
    listing->err = err;
}

static int64_t
revoked_at(X509_CRL *crl, X509 *certificate)
{
    X509_REVOKED *entry = NULL;
    if (!crl || X509_CRL_get0_by_cert(crl, &entry, certificate) != 1)
        return 0;
    return tls_pem_time_s(X509_REVOKED_get0_revocationDate(entry));
}

static void
add_row(struct listing *listing, const char *folder, const char *file, const char *name,
        bool has_key)
{
    struct pki_issued row = {.has_key = has_key};
    char *path = pki__path(folder, file, ".pem"), *why = NULL;
    X509 *certificate = NULL;
    enum fr_err err = tls_pem_certificate_read(path, &certificate, &why);
    if (err == FR_OK && !tls_pem_names(certificate, ALL_KINDS, row.names, sizeof(row.names))) {
        why = fr_xprintf("%s: names that are not as `issue` makes them", path);
        err = FR_ERR_CONFIG;
    }
    if (err == FR_OK) {
        (void)fr_view_copy(fr_view_of(name), row.name, sizeof(row.name)); /* as large */
        (void)pki__fingerprint(certificate, row.fingerprint);             /* or "" */
        pki__serial(X509_get0_serialNumber(certificate), row.serial);
        row.begins_s = tls_pem_time_s(X509_get0_notBefore(certificate));
        row.ends_s = tls_pem_time_s(X509_get0_notAfter(certificate));
        row.revoked_s = revoked_at(listing->crl, certificate);
        fr_xgrow((void **)&listing->rows, &listing->capacity, listing->count + 1,
                 sizeof(*listing->rows));
        listing->rows[listing->count++] = row;
    } else {
        note(listing, FR_ERR_CONFIG, why);
    }
    X509_free(certificate);
    fr_free(path);
}

static void
add_newest(struct listing *listing, struct pki *pki)
{
    size_t count = 0;
    char *folder = pki__path(pki->folder, "issued", "");
    char **names = pki__names_in(folder, ".pem", pki_name_valid, &count);
    for (size_t i = 0; i < count; i++) {
        char *key = pki__path(pki->folder, names[i], ".key");
        add_row(listing, folder, names[i], names[i], access(key, F_OK) == 0);
        fr_free(key);
        fr_free(names[i]);
    }
    fr_free(names);
    fr_free(folder);
}

static int
by_begin(const void *left, const void *right)
{
    const struct pki_issued *a = left, *b = right;
    return a->begins_s != b->begins_s ? (a->begins_s > b->begins_s) - (a->begins_s < b->begins_s)
                                      : strcmp(a->serial, b->serial);
}

/* Of a name's certificates the newest is the one whose key may be here. */
static void
add_all_of(struct listing *listing, struct pki *pki, const char *name)
{
    char *issued = pki__path(pki->folder, "issued", "");
    char *key = pki__path(pki->folder, name, ".key");
    char *folder = fr_xprintf("%s/signed/%s", pki->folder, name);
    X509 *newest = pki__newest(pki, name);
    char serial[PKI_SERIAL_BYTES] = "";
    bool has_key = access(key, F_OK) == 0, recorded = false;
    size_t count = 0;
    char **serials = pki__names_in(folder, ".pem", pki__is_serial, &count);
    if (newest)
        pki__serial(X509_get0_serialNumber(newest), serial);
    for (size_t i = 0; i < count; i++) {
        bool is_newest = strcmp(serials[i], serial) == 0;
        add_row(listing, folder, serials[i], name, has_key && is_newest);
        recorded |= is_newest;
        fr_free(serials[i]);
    }
    if (newest && !recorded) /* of before there was a record */
        add_row(listing, issued, name, name, has_key);
    if (listing->count > 0)
        qsort(listing->rows, listing->count, sizeof(*listing->rows), by_begin);
    X509_free(newest);
    fr_free(serials);
    fr_free(folder);
    fr_free(key);
    fr_free(issued);
}

enum fr_err
pki_list(struct pki *pki, const char *name,
         void (*visit)(void *ctx, const struct pki_issued *issued), void *ctx, char **out_why)
{
    struct listing listing = {.err = FR_OK};
    enum fr_err err = pki__crl_read(pki, &listing.crl, out_why);
    if (err != FR_OK) /* who was revoked nobody knows, and is not to be renewed for that */
        return err;
    if (!name)
        add_newest(&listing, pki);
    else if (pki_name_valid(fr_view_of(name)))
        add_all_of(&listing, pki, name);
    for (size_t i = 0; i < listing.count; i++)
        visit(ctx, &listing.rows[i]);
    X509_CRL_free(listing.crl);
    fr_free(listing.rows);
    *out_why = listing.why;
    return listing.err;
}
