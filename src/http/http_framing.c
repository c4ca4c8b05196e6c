/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_framing.c - where a message ends: Content-Length against Transfer-Encoding.
 *
 * May touch:  base.
 * Trusts:     nothing. Two readers that frame a message differently are a hole (RFC 9112 section
 *             11.2), so that whatever could be read in two ways is refused, not repaired.
 * Follows:    RFC 9112 sections 6.1 to 6.3.
 */
#include "http/http_priv.h"

/* Longer lengths are refused, so that later sums of a length and a head cannot wrap. */
#define CONTENT_LENGTH_MAX ((uint64_t)INT64_MAX)

/* What all Transfer-Encoding fields together say. */
struct codings {
    size_t chunked_count;
    size_t other_count;
    bool chunked_last;
    bool broken; /* an empty element, or something that is no coding */
};

/* ";name=value" as often as it comes. A value in quotes is broken, though RFC 9112 section 7 has
 * them: a reader that knows quotes takes a comma in them for text, and one that does not for the
 * end of the coding, so that they disagree on whether chunked is the last. */
static bool
parameters_are_plain(struct fr_view rest)
{
    struct fr_view one, name;
    while (fr_view_split(&rest, ';', &one)) {
        struct fr_view value = fr_view_trim(one);
        if (!fr_view_split(&value, '=', &name) || !http_is_token(name) || !http_is_token(value))
            return false;
    }
    return true;
}

static void
coding_add(struct codings *codings, struct fr_view item)
{
    codings->chunked_last = false;
    if (fr_view_ieq(item, FR_VIEW("chunked"))) {
        codings->chunked_count++;
        codings->chunked_last = true;
        return;
    }
    /* A parameter may follow the name: "name;q=1". chunked has none (section 7.1). */
    struct fr_view rest = item;
    struct fr_view name;
    if (!fr_view_split(&rest, ';', &name) || !http_is_token(fr_view_trim(name)) ||
        fr_view_ieq(fr_view_trim(name), FR_VIEW("chunked")) || !parameters_are_plain(rest))
        codings->broken = true;
    codings->other_count++;
}

/* Splits at commas by hand: http_list_next forgives empty elements, and what a later reader makes
 * of ",chunked" is not known. */
static void
codings_read(const struct http_head *head, struct codings *codings)
{
    memset(codings, 0, sizeof(*codings));
    const struct http_field *field = http_head_find(head, HTTP_FIELD_TRANSFER_ENCODING);
    for (; field; field = http_head_next(head, field)) {
        const char *at = field->value.ptr;
        const char *end = at + field->value.len;
        for (;;) {
            const char *comma = at < end ? memchr(at, ',', (size_t)(end - at)) : NULL;
            const char *stop = comma ? comma : end;
            struct fr_view item = fr_view_trim(fr_view_make(at, (size_t)(stop - at)));
            if (item.len == 0)
                codings->broken = true;
            else
                coding_add(codings, item);
            if (!comma)
                break;
            at = comma + 1;
        }
    }
}

/* RFC 9110 section 8.6: 1*DIGIT. No sign, no list, no space. */
static bool
length_read(struct fr_view value, uint64_t *out)
{
    uint64_t n;
    if (!fr_view_u64(value, &n) || n > CONTENT_LENGTH_MAX)
        return false;
    *out = n;
    return true;
}

/* Reads Content-Length into head. `repeat` allows fields that repeat the first one exactly. */
static const char *
lengths_read(struct http_head *head, bool repeat, const char **out_at)
{
    size_t first = head->first_known[HTTP_FIELD_CONTENT_LENGTH]; /* there is one */
    uint64_t length = 0;
    for (size_t i = first; i < head->field_count; i++) {
        struct http_field *field = &head->fields[i];
        if (field->known != HTTP_FIELD_CONTENT_LENGTH)
            continue;
        *out_at = field->name.ptr;
        uint64_t n;
        if (!length_read(field->value, &n))
            return "Content-Length is not a number";
        if (i == first) {
            length = n;
            continue;
        }
        if (!repeat || n != length)
            return "more than one Content-Length";
        field->hop = true; /* one is enough for the next hop */
    }
    head->framing = HTTP_BODY_LENGTH;
    head->content_length = length;
    return NULL;
}

const char *
http__framing_of_request(struct http_head *head, int *out_status, const char **out_at)
{
    const struct http_field *coding = http_head_find(head, HTTP_FIELD_TRANSFER_ENCODING);
    bool has_length = http_head_has(head, HTTP_SET(CONTENT_LENGTH));
    head->framing = HTTP_BODY_NONE;
    head->content_length = 0;
    *out_status = 400;
    if (!coding)
        return has_length ? lengths_read(head, false, out_at) : NULL;

    *out_at = coding->name.ptr;
    if (has_length) /* section 6.1: it may be processed, but it "ought to be handled as an error" */
        return "Transfer-Encoding and Content-Length together";
    if (head->version_minor == 0) /* section 6.1: the framing is to be treated as faulty */
        return "Transfer-Encoding in HTTP/1.0";
    struct codings codings;
    codings_read(head, &codings);
    if (codings.broken)
        return "Transfer-Encoding is malformed";
    if (codings.chunked_count > 1)
        return "chunked more than once"; /* section 7.1 */
    if (codings.chunked_count == 1 && !codings.chunked_last)
        return "chunked is not the last transfer coding"; /* section 6.3 */
    if (codings.other_count > 0) {
        *out_status = 501; /* section 6.1 */
        return "an unknown transfer coding";
    }
    head->framing = HTTP_BODY_CHUNKED;
    return NULL;
}

const char *
http__framing_of_response(struct http_head *head, const char **out_at)
{
    const struct http_field *coding = http_head_find(head, HTTP_FIELD_TRANSFER_ENCODING);
    bool has_length = http_head_has(head, HTTP_SET(CONTENT_LENGTH));
    head->framing = HTTP_BODY_TO_CLOSE;
    head->content_length = 0;
    if (!coding)
        return has_length ? lengths_read(head, true, out_at) : NULL;

    *out_at = coding->name.ptr;
    if (has_length)
        return "Transfer-Encoding and Content-Length together";
    if (head->version_minor == 0)
        return "Transfer-Encoding in HTTP/1.0";
    struct codings codings;
    codings_read(head, &codings);
    if (codings.broken)
        return "Transfer-Encoding is malformed";
    if (codings.chunked_count > 1)
        return "chunked more than once";
    if (codings.chunked_count == 1 && !codings.chunked_last)
        return "chunked is not the last transfer coding";
    /* A coding we cannot take off is told to whom the body goes on. Chunks around it show where it
     * ends; without them the close does (section 6.3). */
    head->unknown_coding = codings.other_count > 0;
    if (codings.chunked_last)
        head->framing = HTTP_BODY_CHUNKED;
    return NULL;
}

enum http_framing
http_response_framing(const struct http_head *response, enum http_method request_method)
{
    if (request_method == HTTP_HEAD || response->status / 100 == 1 || response->status == 204 ||
        response->status == 304)
        return HTTP_BODY_NONE;
    /* A 2xx to CONNECT opens a tunnel: no body, whatever the fields say. */
    if (request_method == HTTP_CONNECT && response->status / 100 == 2)
        return HTTP_BODY_NONE;
    return response->framing;
}
