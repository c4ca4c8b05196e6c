/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_cookie.c - walks the pairs of Cookie fields.
 *
 * May touch:  base.
 * Trusts:     nothing; what is no pair is passed over, as servers do.
 * Follows:    RFC 6265 sections 4.2 and 5.4.
 */
#include "http/http.h"

bool
http_cookie_next(struct fr_view *rest, struct http_cookie *out)
{
    struct fr_view pair, name;
    while (fr_view_split(rest, ';', &pair)) {
        pair = fr_view_trim(pair);
        struct fr_view value = pair;
        if (!fr_view_split(&value, '=', &name) || !value.ptr || name.len == 0)
            continue; /* no '=': nothing a server set */
        *out = (struct http_cookie){pair, fr_view_trim(name), fr_view_trim(value)};
        return true;
    }
    return false;
}

bool
http_cookie_find(const struct http_head *request, struct fr_view name, struct http_cookie *out)
{
    const struct http_field *field = http_head_find(request, HTTP_FIELD_COOKIE);
    for (; field; field = http_head_next(request, field)) {
        struct fr_view rest = field->value;
        while (http_cookie_next(&rest, out))
            if (fr_view_eq(out->name, name))
                return true;
    }
    return false;
}
