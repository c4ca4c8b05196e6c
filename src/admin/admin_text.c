/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin_text.c - routes, queries and JSON strings: bytes in, bytes out.
 *
 * May touch:  base. Never: sockets.
 * Trusts:     nothing about paths, queries and the text of strings.
 * Follows:    RFC 3986 section 2.1 (percent-encoding), RFC 8259 section 7 (strings), RFC 3629
 *             section 4 (which bytes are UTF-8).
 */
#include "admin/admin_priv.h"

#define KEY_BYTES_MAX 128

bool
admin__decode(struct fr_view text, bool plus_is_space, char *out, size_t out_bytes)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            int high = i + 2 < text.len ? fr_view_hex_digit(text.ptr[i + 1]) : -1;
            int low = i + 2 < text.len ? fr_view_hex_digit(text.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c == '\0' || len + 1 >= out_bytes)
            return false;
        out[len++] = c;
    }
    if (len >= out_bytes)
        return false;
    out[len] = '\0';
    return true;
}

bool
admin_query(struct fr_view query, const char *key, char *out, size_t out_bytes)
{
    struct fr_view pair;
    char name[KEY_BYTES_MAX];
    while (fr_view_split(&query, '&', &pair)) {
        struct fr_view value = pair, name_view;
        if (!fr_view_split(&value, '=', &name_view))
            continue;
        if (admin__decode(name_view, true, name, sizeof(name)) && strcmp(name, key) == 0)
            return admin__decode(value, true, out, out_bytes);
    }
    return false;
}

/* ---- routes ------------------------------------------------------------------------------- */

/* How well a row's path fits: 0 not at all, more is better. */
static size_t
path_fit(const char *row_path, struct fr_view path)
{
    struct fr_view row = fr_view_of(row_path);
    if (fr_view_eq(row, path))
        return SIZE_MAX;
    if (row.len > 0 && row.ptr[row.len - 1] == '/' && fr_view_starts(path, row))
        return row.len;
    return 0;
}

const struct admin_route *
admin__route(const struct admin_route *routes, struct fr_view method, struct fr_view path,
             int *out_status, struct fr_buf *out_allow)
{
    size_t best = 0;
    bool is_head = fr_view_is(method, "HEAD");
    for (const struct admin_route *row = routes; row->method; row++) {
        size_t fit = path_fit(row->path, path);
        best = fit > best ? fit : best;
    }
    if (best == 0) {
        *out_status = 404;
        return NULL;
    }
    for (const struct admin_route *row = routes; row->method; row++)
        if (path_fit(row->path, path) == best &&
            (fr_view_is(method, row->method) || (is_head && strcmp(row->method, "GET") == 0)))
            return row;
    *out_status = 405;
    for (const struct admin_route *row = routes; row->method; row++) {
        if (path_fit(row->path, path) != best)
            continue;
        /* A list cut short by memory is still an answer. */
        (void)!fr_buf_printf(out_allow, "%s%s%s", out_allow->len ? ", " : "", row->method,
                             strcmp(row->method, "GET") == 0 ? ", HEAD" : "");
    }
    return NULL;
}

/* ---- JSON --------------------------------------------------------------------------------- */

/* Bytes of the UTF-8 character at the start of text, 0 when it is none: overlong forms, surrogates
 * and what lies past U+10FFFF are none. */
static size_t
utf8_char_bytes(struct fr_view text)
{
    const unsigned char *p = (const unsigned char *)text.ptr;
    unsigned char low = 0x80, high = 0xbf; /* of the second byte */
    size_t bytes;
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        bytes = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        bytes = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        bytes = 4;
    else
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (text.len < bytes || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < bytes; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return bytes;
}

static enum fr_err
append_json_char(struct fr_buf *out, struct fr_view rest, size_t *out_used)
{
    size_t bytes = utf8_char_bytes(rest);
    unsigned char c = (unsigned char)rest.ptr[0];
    *out_used = bytes ? bytes : 1;
    if (bytes == 0)
        return fr_buf_append(out, "\\ufffd", 6);
    if (c == '"' || c == '\\') {
        char escaped[2] = {'\\', (char)c};
        return fr_buf_append(out, escaped, sizeof(escaped));
    }
    if (c == '\n')
        return fr_buf_append(out, "\\n", 2);
    if (c < 0x20 || c == 0x7f)
        return fr_buf_printf(out, "\\u%04x", c);
    return fr_buf_append(out, rest.ptr, bytes);
}

enum fr_err
admin_json_string(struct fr_buf *out, struct fr_view text)
{
    size_t len_before = out->len;
    enum fr_err err = fr_buf_append(out, "\"", 1);
    while (!err && text.len > 0) {
        size_t used;
        err = append_json_char(out, text, &used);
        text.ptr += used;
        text.len -= used;
    }
    if (!err)
        err = fr_buf_append(out, "\"", 1);
    if (err && out->data) { /* all or nothing */
        out->len = len_before;
        out->data[len_before] = '\0';
    }
    return err;
}
