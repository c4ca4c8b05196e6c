/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_list.c - comma-separated lists and the directives in them.
 *
 * May touch:  base.
 * Trusts:     nothing; for values whose misreading breaks no framing (see http_framing.c for
 *             those).
 * Follows:    RFC 9110 sections 5.6.1, 5.6.3 and 5.6.4.
 */
#include "http/http_priv.h"

/* Length of the quoted string at the start of text, which starts with a quote; an unclosed one runs
 * to the end. */
static size_t
quoted_bytes(struct fr_view text)
{
    for (size_t i = 1; i < text.len; i++) {
        if (text.ptr[i] == '"')
            return i + 1;
        if (text.ptr[i] == '\\')
            i++;
    }
    return text.len;
}

/* Length of the item at the start of text: up to a comma outside of quotes. */
static size_t
item_bytes(struct fr_view text)
{
    size_t i = 0;
    while (i < text.len && text.ptr[i] != ',')
        i += text.ptr[i] == '"' ? quoted_bytes(fr_view_make(text.ptr + i, text.len - i)) : 1;
    return i;
}

bool
http_list_next(struct fr_view *rest, struct fr_view *out_item)
{
    while (rest->len > 0) {
        size_t len = item_bytes(*rest);
        const char *start = rest->ptr;
        size_t used = len < rest->len ? len + 1 : len;
        rest->ptr += used;
        rest->len -= used;
        while (len > 0 && http__is_blank(*start)) {
            start++;
            len--;
        }
        while (len > 0 && http__is_blank(start[len - 1]))
            len--;
        /* Section 5.6.1.2: empty elements do not count. */
        if (len > 0) {
            *out_item = fr_view_make(start, len);
            return true;
        }
    }
    return false;
}

void
http_directive_split(struct fr_view item, struct fr_view *out_name, struct fr_view *out_value)
{
    const char *mark = item.len ? memchr(item.ptr, '=', item.len) : NULL;
    if (!mark) {
        *out_name = fr_view_trim(item);
        *out_value = fr_view_make(NULL, 0);
        return;
    }
    size_t name_len = (size_t)(mark - item.ptr);
    *out_name = fr_view_trim(fr_view_make(item.ptr, name_len));
    struct fr_view value = fr_view_trim(fr_view_make(mark + 1, item.len - name_len - 1));
    if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"' &&
        !memchr(value.ptr, '\\', value.len))
        value = fr_view_make(value.ptr + 1, value.len - 2);
    *out_value = value;
}
