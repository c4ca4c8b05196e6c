/* SPDX-License-Identifier: Apache-2.0 */
/*
 * head_same.h - two heads of a request, parsed in two ways, compared in all that they say.
 */
#ifndef HEAD_SAME_H
#define HEAD_SAME_H

#include "http/http.h"

#define HEAD_SAME(member)                                                                          \
    if (a->member != b->member)                                                                    \
        return #member;
#define HEAD_SAME_VIEW(member)                                                                     \
    if (a->member.len != b->member.len || (a->member.len && a->member.ptr != b->member.ptr))       \
        return #member;

static inline const char *
head_fields_differ(const struct http_head *a, const struct http_head *b)
{
    HEAD_SAME(field_count)
    HEAD_SAME(known_set)
    for (size_t known = 0; known < HTTP_KNOWN_COUNT; known++) {
        if (a->known_set >> known & 1)
            HEAD_SAME(first_known[known])
    }
    for (size_t i = 0; i < a->field_count; i++) {
        HEAD_SAME_VIEW(fields[i].name)
        HEAD_SAME_VIEW(fields[i].value)
        HEAD_SAME(fields[i].known)
        HEAD_SAME(fields[i].hop)
        if (http_field_is_never_indexed(&a->fields[i]) !=
            http_field_is_never_indexed(&b->fields[i]))
            return "never_indexed";
    }
    return NULL;
}

/* NULL, or what differs; of one text. */
static inline const char *
heads_differ(const struct http_head *a, const struct http_head *b)
{
    HEAD_SAME(method)
    HEAD_SAME_VIEW(method_text)
    HEAD_SAME_VIEW(target)
    HEAD_SAME_VIEW(host)
    HEAD_SAME_VIEW(path)
    HEAD_SAME_VIEW(query)
    HEAD_SAME(has_query)
    HEAD_SAME(https)
    HEAD_SAME(version_minor)
    HEAD_SAME(keep_alive)
    HEAD_SAME(expect_continue)
    HEAD_SAME(expect_other)
    HEAD_SAME(te_trailers)
    HEAD_SAME(upgrade)
    HEAD_SAME(framing)
    HEAD_SAME(content_length)
    HEAD_SAME(head_bytes)
    return head_fields_differ(a, b);
}

#endif
