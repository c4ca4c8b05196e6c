/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_error.c - OpenSSL's errors in words.
 */
#include "tls/tls_priv.h"

const char *
tls__why(void)
{
    unsigned long first = ERR_get_error();
    const char *words = first ? ERR_reason_error_string(first) : NULL;
    if (first && !words && ERR_SYSTEM_ERROR(first))
        words = "system error";
    ERR_clear_error();
    return words ? words : "unknown error";
}

enum fr_err
tls__bad(char **out_why, const char *what, const char *path)
{
    *out_why = fr_xprintf("%s %s: %s", what, path, tls__why());
    return FR_ERR_CONFIG;
}
