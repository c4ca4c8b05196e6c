/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_help.h - what the http tests share: views compared, heads cut at every offset.
 */
#ifndef HTTP_HELP_H
#define HTTP_HELP_H

#include "http/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>

static inline void
assert_view(struct fr_view got, const char *want)
{
    if (!fr_view_is(got, want))
        fail_msg("got \"%.*s\", wanted \"%s\"", FR_VIEW_ARG(got), want);
}

static inline enum http_step
help_parse(bool request, struct fr_view in, const struct http_limits *limits, size_t *scanned,
           struct http_head *head, struct http_err *err)
{
    /* An exact copy on the heap, so that one byte read too many is seen. */
    char *copy = test_malloc(in.len ? in.len : 1);
    if (in.len)
        memcpy(copy, in.ptr, in.len);
    struct fr_view view = fr_view_make(copy, in.len);
    enum http_step step = request ? http_request_parse(view, limits, scanned, head, err)
                                  : http_response_parse(view, limits, scanned, head, err);
    test_free(copy);
    return step;
}

/* The verdict on the whole must be the verdict on it in two pieces, cut anywhere, and byte by byte.
 */
static inline void
help_cut_everywhere(struct fr_view in, bool request, const struct http_limits *limits)
{
    static struct http_head whole;
    static struct http_head head;
    struct http_err whole_err = {0};
    size_t scanned = 0;
    enum http_step want = help_parse(request, in, limits, &scanned, &whole, &whole_err);
    size_t bytewise = 0;
    enum http_step slow = HTTP_MORE;
    struct http_err slow_err = {0};
    for (size_t cut = 0; cut <= in.len; cut++) {
        struct http_err err = {0};
        scanned = 0;
        struct fr_view first = fr_view_make(in.ptr, cut);
        enum http_step step = help_parse(request, first, limits, &scanned, &head, &err);
        if (step == HTTP_MORE)
            step = help_parse(request, in, limits, &scanned, &head, &err);
        if (slow == HTTP_MORE)
            slow = help_parse(request, first, limits, &bytewise, &head, &slow_err);
        /* A broken rule may wait for the end of the head, which these bytes may not hold. */
        if (step == HTTP_MORE && want == HTTP_BAD)
            continue;
        assert_int_equal(step, want);
        if (want == HTTP_BAD) {
            assert_int_equal(err.status, whole_err.status);
            assert_int_equal(err.offset, whole_err.offset);
            assert_string_equal(err.words, whole_err.words);
        }
    }
    if (slow == HTTP_MORE && want == HTTP_BAD)
        return;
    assert_int_equal(slow, want);
    if (want == HTTP_BAD)
        assert_string_equal(slow_err.words, whole_err.words);
    if (want == HTTP_DONE)
        assert_int_equal(head.head_bytes, whole.head_bytes);
}

#endif
