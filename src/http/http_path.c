/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_path.c - decodes paths into names of files, and writes paths and queries into a Location.
 *
 * May touch:  base.
 * Memory:     the caller's.
 * Follows:    RFC 3986 sections 2.1, 3.3, 3.4 and 4.2; RFC 8615.
 */
#include "http/http_path.h"

#include "http/http_priv.h"

/* Value of the triplet at `at`; -1 when it is none. */
static int
triplet(struct fr_view text, size_t at)
{
    if (text.len - at < 3)
        return -1;
    int high = fr_view_hex_digit(text.ptr[at + 1]), low = fr_view_hex_digit(text.ptr[at + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* One segment as sent, decoded behind what `out` has. Every segment is decoded before it is judged,
 * so that there is one spelling to judge. */
static enum http_path_result
decode_segment(struct fr_view segment, struct http_path *out, size_t *out_bytes)
{
    size_t from = out->len;
    bool no_file = false;
    for (size_t i = 0; i < segment.len; i++) {
        int c = (unsigned char)segment.ptr[i];
        if (c == '%') {
            c = triplet(segment, i);
            if (c <= 0) /* none, or a NUL, at which the kernel would end the name */
                return HTTP_PATH_BAD;
            i += 2;
        }
        no_file |= c == '/' || c < 0x20 || c == 0x7f;
        if (out->len + 2 >= sizeof(out->name)) /* room for a '/' and the NUL */
            return HTTP_PATH_NO_FILE;
        out->name[out->len++] = (char)c;
    }
    *out_bytes = out->len - from;
    return no_file || *out_bytes > HTTP_PATH_SEGMENT_BYTES ? HTTP_PATH_NO_FILE : HTTP_PATH_OK;
}

static enum http_path_result
judge_segment(struct fr_view name, bool first, bool hidden)
{
    if (fr_view_is(name, ".") || fr_view_is(name, ".."))
        return HTTP_PATH_BAD;
    if (name.ptr[0] != '.' || hidden || (first && fr_view_is(name, ".well-known")))
        return HTTP_PATH_OK;
    return HTTP_PATH_HIDDEN;
}

enum http_path_result
http_path_decode(struct fr_view path, bool hidden, struct http_path *out)
{
    struct fr_view rest = path, segment;
    enum http_path_result worst = HTTP_PATH_OK;
    out->len = 0;
    out->folder = path.len == 0 || path.ptr[path.len - 1] == '/';
    while (fr_view_split(&rest, '/', &segment)) {
        size_t bytes = 0;
        if (segment.len == 0)
            continue;
        bool first = out->len == 0;
        size_t before = out->len;
        if (!first)
            out->name[out->len++] = '/';
        size_t from = out->len;
        enum http_path_result result = decode_segment(segment, out, &bytes);
        if (result == HTTP_PATH_OK)
            result = judge_segment(fr_view_make(out->name + from, bytes), first, hidden);
        /* A later segment may be worse than hidden; the worst is what is said. */
        if (result == HTTP_PATH_BAD)
            return result;
        if (result != HTTP_PATH_OK && worst != HTTP_PATH_NO_FILE)
            worst = result;
        if (result == HTTP_PATH_NO_FILE)
            out->len = before; /* what follows is still looked at for what is bad */
    }
    out->name[out->len] = '\0';
    return worst;
}

bool
http_path_strip(struct fr_view path, struct fr_view prefix, struct fr_view *out_rest)
{
    if (prefix.len > 0 && prefix.ptr[prefix.len - 1] == '/')
        prefix.len--;
    if (!fr_view_starts(path, prefix))
        return false;
    struct fr_view rest = fr_view_make(path.ptr + prefix.len, path.len - prefix.len);
    if (rest.len > 0 && rest.ptr[0] != '/')
        return false; /* "/old" is no part of "/older" */
    *out_rest = rest;
    return true;
}

/* ---- into a Location -------------------------------------------------------------------- */

/* pchar and '/' (RFC 3986 section 3.3), '?' besides in a query (section 3.4). */
static bool
may_stand(char c, bool query)
{
    return http__is(c, HTTP__HOST) || c == ':' || c == '@' || c == '/' || (query && c == '?');
}

static enum fr_err
put_text(struct fr_view text, bool query, struct fr_buf *out)
{
    enum fr_err err = FR_OK;
    size_t from = 0;
    for (size_t i = 0; i < text.len && !err; i++) {
        char c = text.ptr[i];
        if (may_stand(c, query) || (c == '%' && triplet(text, i) >= 0))
            continue;
        err = fr_buf_append(out, text.ptr + from, i - from);
        if (!err)
            err = fr_buf_printf(out, "%%%02X", (unsigned)(unsigned char)c);
        from = i + 1;
    }
    return err ? err : fr_buf_append(out, text.ptr + from, text.len - from);
}

enum fr_err
http_path_put(struct fr_view path, struct fr_buf *out)
{
    while (path.len > 0 && path.ptr[0] == '/') {
        path.ptr++;
        path.len--;
    }
    enum fr_err err = fr_buf_append(out, "/", 1);
    return err || path.len == 0 ? err : put_text(path, false, out);
}

enum fr_err
http_query_put(struct fr_view query, bool has_query, struct fr_buf *out)
{
    if (!has_query)
        return FR_OK;
    enum fr_err err = fr_buf_append(out, "?", 1);
    return err || query.len == 0 ? err : put_text(query, true, out);
}
