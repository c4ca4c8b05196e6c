/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_err.h - error codes: FR_OK is 0, every failure is negative and a row of err.def.
 *
 * "Would block" and "need more bytes" are outcomes of their own enums, never errors.
 */
#ifndef FR_ERR_H
#define FR_ERR_H

#define FR_MUST_USE __attribute__((warn_unused_result))
/* Rarely called: made small, and put elsewhere, as is what leads to the call alone. */
#define FR_COLD __attribute__((cold))

enum fr_err_index {
#define FR_ERR_ROW(name, kind, words) FR_ERR_INDEX_##name,
#include "base/err.def"
#undef FR_ERR_ROW
    FR_ERR_COUNT
};

enum fr_err {
    FR_OK = 0,
#define FR_ERR_ROW(name, kind, words) FR_ERR_##name = -1 - (int)FR_ERR_INDEX_##name,
#include "base/err.def"
#undef FR_ERR_ROW
};

/* Whose doing it was. */
enum fr_err_kind {
    FR_KIND_NONE,
    FR_KIND_CLIENT,
    FR_KIND_MEMBER,
    FR_KIND_BUSY,
    FR_KIND_CONFIG,
    FR_KIND_SYSTEM,
    FR_KIND_BUG,
};

const char *fr_err_name(enum fr_err err);
const char *fr_err_words(enum fr_err err);
enum fr_err_kind fr_err_kind(enum fr_err err);

/* The error nearest to an errno value (positive or negative). */
enum fr_err fr_err_from_errno(int errno_value);

#endif
