/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_feed.h - fields for a writer, as the tests spell them.
 */
#ifndef HTTP2_FEED_H
#define HTTP2_FEED_H

#include "http/http2_head.h"
#include "http_help.h"

/* Nothing is known of it. */
static inline enum http2_verdict
feed_one(struct http2_writer *writer, struct fr_view name, struct fr_view value, bool never_indexed)
{
    uint8_t found = 0;
    return http2_writer_field(writer, name, value, never_indexed, &found);
}

/* "name=value|name=value"; "^name=value": never to be indexed */
static inline enum http2_verdict
feed(struct http2_writer *writer, const char *fields)
{
    struct fr_view rest = fr_view_of(fields), item, name;
    enum http2_verdict verdict = HTTP2_FINE;
    while (verdict == HTTP2_FINE && fr_view_split(&rest, '|', &item)) {
        bool never_indexed = item.len > 0 && item.ptr[0] == '^';
        if (never_indexed)
            item = fr_view_make(item.ptr + 1, item.len - 1);
        size_t skip = item.len > 0 && item.ptr[0] == ':' ? 1 : 0;
        const char *equals = memchr(item.ptr + skip, '=', item.len - skip);
        assert_non_null(equals);
        name = fr_view_make(item.ptr, (size_t)(equals - item.ptr));
        struct fr_view value = fr_view_make(equals + 1, item.len - name.len - 1);
        verdict = feed_one(writer, name, value, never_indexed);
    }
    return verdict;
}

#endif
