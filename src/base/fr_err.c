/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_err.c - names, words and kinds of error codes, from err.def.
 */
#include "base/fr_err.h"

#include <errno.h>
#include <stddef.h>

static const struct err_row {
    const char *name;
    const char *words;
    enum fr_err_kind kind;
} err_rows[] = {
#define FR_ERR_ROW(name, kind, words) {#name, words, FR_KIND_##kind},
#include "base/err.def"
#undef FR_ERR_ROW
};

static const struct err_row *
err_row(enum fr_err err)
{
    int index = -1 - (int)err;
    return index >= 0 && index < FR_ERR_COUNT ? &err_rows[index] : NULL;
}

const char *
fr_err_name(enum fr_err err)
{
    const struct err_row *row = err_row(err);
    return row ? row->name : err == FR_OK ? "OK" : "UNKNOWN";
}

const char *
fr_err_words(enum fr_err err)
{
    const struct err_row *row = err_row(err);
    return row ? row->words : err == FR_OK ? "done" : "unknown error";
}

enum fr_err_kind
fr_err_kind(enum fr_err err)
{
    const struct err_row *row = err_row(err);
    return row ? row->kind : err == FR_OK ? FR_KIND_NONE : FR_KIND_BUG;
}

enum fr_err
fr_err_from_errno(int errno_value)
{
    switch (errno_value < 0 ? -errno_value : errno_value) {
    case 0:
        return FR_OK;
    case ENOMEM:
    case ENOBUFS:
        return FR_ERR_NOMEM;
    case EMFILE:
    case ENFILE:
        return FR_ERR_FULL;
    case EADDRINUSE:
        return FR_ERR_ADDRESS_IN_USE;
    case ECONNREFUSED:
        return FR_ERR_REFUSED;
    case ETIMEDOUT:
        return FR_ERR_TIMEOUT;
    case ECONNRESET:
    case EPIPE:
        return FR_ERR_CLOSED;
    case ECANCELED:
        return FR_ERR_CANCELLED;
    case ENOENT:
    case ESRCH:
        return FR_ERR_NOT_FOUND;
    case EEXIST:
        return FR_ERR_EXISTS;
    case EIO:
    case ENOSPC:
    case EROFS:
    case EACCES:
        return FR_ERR_IO;
    default:
        return FR_ERR_SYSTEM;
    }
}
