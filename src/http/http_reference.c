/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_reference.c - resolves URI references within one origin.
 *
 * May touch:  base.
 * Memory:     the path is put together in the caller's room.
 * Follows:    RFC 3986 sections 5.2.2 to 5.2.4.
 */
#include "http/http_reference.h"

#include "http/http_priv.h"

/* Splits off what follows the first `mark`; false: there is none. */
static bool
cut_at(struct fr_view *text, char mark, struct fr_view *out_behind)
{
    const char *at = text->len ? memchr(text->ptr, mark, text->len) : NULL;
    if (!at)
        return false;
    size_t before = (size_t)(at - text->ptr);
    *out_behind = fr_view_make(at + 1, text->len - before - 1);
    text->len = before;
    return true;
}

/* "scheme:", taken off; false: it has none (a colon behind a '/' is no scheme's). */
static bool
take_scheme(struct fr_view *text, struct fr_view *out)
{
    size_t i = 0;
    while (i < text->len && text->ptr[i] != ':' && text->ptr[i] != '/')
        i++;
    if (i == 0 || i == text->len || text->ptr[i] != ':')
        return false;
    *out = fr_view_make(text->ptr, i);
    *text = fr_view_make(text->ptr + i + 1, text->len - i - 1);
    return true;
}

/* "//authority", taken off. */
static bool
take_authority(struct fr_view *text, struct fr_view *out)
{
    if (!fr_view_starts(*text, FR_VIEW("//")))
        return false;
    size_t i = 2;
    while (i < text->len && text->ptr[i] != '/')
        i++;
    *out = fr_view_make(text->ptr + 2, i - 2);
    *text = fr_view_make(text->ptr + i, text->len - i);
    return true;
}

/* Section 5.2.4, in place: `path` begins with '/'. Returns its new length. */
static size_t
remove_dots(char *path, size_t len)
{
    size_t out = 0;
    for (size_t at = 0; at < len;) {
        size_t end = at + 1;
        while (end < len && path[end] != '/')
            end++;
        struct fr_view segment = fr_view_make(path + at + 1, end - at - 1);
        bool last = end == len;
        if (fr_view_is(segment, ".") || fr_view_is(segment, "..")) {
            if (segment.len == 2)
                while (out > 0 && path[--out] != '/')
                    ;
            if (last)
                path[out++] = '/';
        } else {
            memmove(path + out, path + at, end - at);
            out += end - at;
        }
        at = end;
    }
    return out;
}

/* Section 5.2.3: the base's path up to its last '/', then the reference's. */
static size_t
merge(struct fr_view base, struct fr_view path, char *room, size_t room_bytes)
{
    size_t keep = 0;
    if (path.ptr[0] != '/')
        for (size_t i = 0; i < base.len; i++)
            if (base.ptr[i] == '/')
                keep = i + 1;
    bool slash = keep == 0 && path.ptr[0] != '/';
    if (keep + slash + path.len > room_bytes)
        return 0;
    if (keep)
        memcpy(room, base.ptr, keep);
    if (slash)
        room[0] = '/';
    memcpy(room + keep + slash, path.ptr, path.len);
    return keep + slash + path.len;
}

bool
http_reference_resolve(const struct http_base *base, struct fr_view reference, char *room,
                       size_t room_bytes, struct fr_view *out_path, struct fr_view *out_query,
                       bool *out_has_query)
{
    struct fr_view rest = reference, scheme, authority, fragment;
    for (size_t i = 0; i < rest.len; i++)
        if (!http__is(rest.ptr[i], HTTP__TARGET) && rest.ptr[i] != '#')
            return false;
    (void)cut_at(&rest, '#', &fragment); /* not sent, so not part of any key */
    *out_has_query = cut_at(&rest, '?', out_query);
    bool elsewhere = false;
    if (take_scheme(&rest, &scheme))
        elsewhere = !fr_view_ieq(scheme, base->scheme) || !fr_view_starts(rest, FR_VIEW("//"));
    bool absolute = take_authority(&rest, &authority);
    if (elsewhere || (absolute && !fr_view_ieq(authority, base->authority)))
        return false;
    if (rest.len == 0) {
        *out_path = absolute ? FR_VIEW("/") : base->path;
        return absolute || *out_has_query || reference.len == 0 || reference.ptr[0] == '#';
    }
    size_t len = merge(base->path, rest, room, room_bytes);
    if (len == 0)
        return false;
    *out_path = fr_view_make(room, remove_dots(room, len));
    return true;
}
