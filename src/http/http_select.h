/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_select.h - what of a stored representation a request is answered with: whether at all
 * (conditions), which bytes (ranges), in which coding, and under which media type.
 *
 * May touch:  base, http. Never: files, clocks.
 * Trusts:     nothing; what is malformed is ignored or fails, as RFC 9110 has it for each field.
 * Follows:    RFC 9110 sections 8.8, 12.5.3, 13 and 14.
 */
#ifndef HTTP_SELECT_H
#define HTTP_SELECT_H

#include "http/http.h"

#define HTTP_RANGES_MAX 64 /* the most a limit may allow */

/* ---- conditions ----------------------------------------------------------------------------- */

struct http_validators {
    struct fr_view etag; /* with its quotes; strong, or it begins with W/ */
    int64_t modified_s;  /* Last-Modified, seconds since 1970 */
};

enum http_condition { HTTP_CONDITION_GO_ON, HTTP_CONDITION_NOT_MODIFIED, HTTP_CONDITION_FAILED };

/* Judges a request for something that is there, in the order of RFC 9110 section 13.2.2: 304 is
 * given to GET and HEAD, all others fail. If-Range is not looked at here. */
enum http_condition http_condition_judge(const struct http_head *request,
                                         const struct http_validators *is, int64_t now_s);
/* Steps 5: whether Range counts. True without If-Range; with one, when it is this very
 * representation by a strong comparison (section 13.1.5). */
bool http_condition_if_range(const struct http_head *request, const struct http_validators *is,
                             int64_t now_s);

/* ---- ranges --------------------------------------------------------------------------------- */

struct http_range {
    uint64_t first, bytes;
};

enum http_range_result {
    HTTP_RANGE_WHOLE,  /* no range, not bytes, malformed, or asking for too much: all of it */
    HTTP_RANGE_PARTS,  /* 206 */
    HTTP_RANGE_REFUSED /* 416: no range of it lies in the representation */
};

/* Of a Range field's value and a representation of `size` bytes. More than ranges_max ranges, or
 * ranges that together ask for more than there is, are the whole (section 14.2: a server may ignore
 * them; section 17.15 says why it should). */
enum http_range_result http_range_parse(struct fr_view value, uint64_t size, size_t ranges_max,
                                        struct http_range out[HTTP_RANGES_MAX], size_t *out_count);

/* ---- codings and media types ---------------------------------------------------------------- */

/* What Accept-Encoding gives to a coding, in thousandths; 0: not acceptable. Without the field
 * (NULL) nothing but identity is taken, which every client knows. */
unsigned http_coding_quality(const struct http_field *accept, const struct http_head *request,
                             struct fr_view coding);

/* By the ending of a file's name, any case; application/octet-stream when it is unknown. */
struct fr_view http_media_type(struct fr_view name);
/* The table, for the test that keeps it sorted. */
struct http_media_row {
    const char *ending;
    const char *type;
};
extern const struct http_media_row http_media_rows[];
extern const size_t http_media_row_count;

#endif
