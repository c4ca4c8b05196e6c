/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_request.c - request heads.
 *
 * May touch:  base.
 * Trusts:     nothing. Everything is read left to right in one pass, so that the first broken rule
 *             is the same one however the bytes arrive.
 * Memory:     none; views into the input.
 * Follows:    RFC 9112 sections 2.2, 3 and 6, RFC 9110 section 7.2.
 */
#include "http/http_scan.h"

/* The three spaces-separated parts of a request line. */
struct request_line {
    struct fr_view method;
    struct fr_view target;
    const char *version; /* eight octets */
};

static enum http_method
method_of(struct fr_view text)
{
    static const struct {
        struct fr_view name;
        enum http_method method;
    } methods[] = {
        {{"HEAD", 4}, HTTP_HEAD},       {{"POST", 4}, HTTP_POST},
        {{"PUT", 3}, HTTP_PUT},         {{"DELETE", 6}, HTTP_DELETE},
        {{"CONNECT", 7}, HTTP_CONNECT}, {{"OPTIONS", 7}, HTTP_OPTIONS},
        {{"TRACE", 5}, HTTP_TRACE},     {{"PATCH", 5}, HTTP_PATCH},
    };
    /* Case counts: "get" is another method (RFC 9110 section 9.1). */
    if (fr_view_eq(text, FR_VIEW("GET"))) /* nearly always; compared without a call */
        return HTTP_GET;
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (fr_view_eq(text, methods[i].name))
            return methods[i].method;
    return HTTP_METHOD_OTHER;
}

static enum http_step
empty_lines_skip(struct http__reader *reader, struct http_err *out_err)
{
    for (size_t count = 0; reader->at < reader->end && *reader->at == '\r'; count++) {
        if (count == HTTP_EMPTY_LINES_MAX)
            return http__bad(reader->start, reader->at, 400, "too many empty lines", out_err);
        if (reader->at + 1 == reader->end)
            return http__ran_out(reader, out_err);
        if (reader->at[1] != '\n')
            return http__bad(reader->start, reader->at, 400, "a bare CR", out_err);
        reader->at += 2;
    }
    return reader->at < reader->end ? HTTP_DONE : http__ran_out(reader, out_err);
}

/* A run of one class that one space ends. */
static inline enum http_step
part_read(struct http__reader *reader, enum http__class class, const char *words,
          struct fr_view *out, struct http_err *out_err)
{
    const char *at = http__run(reader->at, reader->end, class);
    if (at == reader->end)
        return http__ran_out(reader, out_err);
    if (*at != ' ' || at == reader->at)
        return http__bad(reader->start, at, 400, words, out_err);
    *out = fr_view_make(reader->at, (size_t)(at - reader->at));
    reader->at = at + 1;
    return HTTP_DONE;
}

/* "HTTP/1.d", then CRLF. Another major version of the same shape is 505; a later minor one is read
 * as the last that is known (RFC 9110 section 2.5). */
static enum http_step
version_read(struct http__reader *reader, int *out_minor, struct http_err *out_err)
{
    static const char shape[] = "HTTP/d.d\r\n", usual[] = "HTTP/1.1\r\n";
    const char *at = reader->at;
    if ((size_t)(reader->end - at) >= sizeof(usual) - 1 &&
        memcmp(at, usual, sizeof(usual) - 1) == 0) { /* two comparisons */
        *out_minor = 1;
        reader->at = at + sizeof(usual) - 1;
        return HTTP_DONE;
    }
    for (size_t i = 0; i < sizeof(shape) - 1; i++) {
        if (at + i == reader->end)
            return http__ran_out(reader, out_err);
        bool fits = shape[i] == 'd' ? http__is(at[i], HTTP__DIGIT) : at[i] == shape[i];
        if (!fits)
            return http__bad(reader->start, at + i, 400, "the request line does not end properly",
                             out_err);
    }
    if (at[5] != '1')
        return http__bad(reader->start, at, 505, "the version is not HTTP/1", out_err);
    *out_minor = at[7] == '0' ? 0 : 1;
    reader->at = at + sizeof(shape) - 1;
    return HTTP_DONE;
}

static enum http_step
request_line_read(struct http__reader *whole, const struct http_limits *limits,
                  struct http_head *head, struct http_err *out_err)
{
    /* The line has a limit of its own inside the head's. */
    struct http__reader reader = *whole;
    if ((size_t)(reader.end - reader.at) > limits->request_line_bytes_max) {
        reader.end = reader.at + limits->request_line_bytes_max;
        reader.limited = true;
    }
    reader.limit_status = 414;
    reader.limit = HTTP_LIMIT_LINE;
    reader.limit_words = "the request line is too long";
    enum http_step step =
        part_read(&reader, HTTP__TOKEN, "the method is not a token", &head->method_text, out_err);
    if (step == HTTP_DONE)
        step = part_read(&reader, HTTP__TARGET, "an invalid octet in the request target",
                         &head->target, out_err);
    if (step == HTTP_DONE)
        step = version_read(&reader, &head->version_minor, out_err);
    whole->at = reader.at;
    return step;
}

/* ---- the target (RFC 9112 section 3.2) ------------------------------------------------------- */

/* Octets that no URI holds and that browsers never send bare. A backslash in the path is a slash to
 * some servers and a letter to others (RFC 3986 section 3.3). */
static const char *
octets_check(struct fr_view target)
{
    /* Once over them all without a branch: nearly every target has none. */
    bool seen = false;
    for (size_t i = 0; i < target.len; i++) {
        char c = target.ptr[i];
        seen |= (c == '"') | (c == '<') | (c == '>') | (c == '\\');
    }
    if (!seen)
        return NULL;
    bool path = true;
    for (size_t i = 0; i < target.len; i++) {
        char c = target.ptr[i];
        path = path && c != '?';
        if (c == '"' || c == '<' || c == '>' || (c == '\\' && path))
            return "an octet in the request target that no URI holds";
    }
    return NULL;
}

static void
path_split(struct http_head *head, struct fr_view text)
{
    const char *mark = text.len ? memchr(text.ptr, '?', text.len) : NULL;
    size_t path_len = mark ? (size_t)(mark - text.ptr) : text.len;
    head->path = path_len ? fr_view_make(text.ptr, path_len) : FR_VIEW("/");
    head->has_query = mark != NULL;
    if (mark)
        head->query = fr_view_make(mark + 1, text.len - path_len - 1);
}

/* "http://authority/path": scheme and authority are checked, authority goes to *out_authority. */
static const char *
absolute_split(struct http_head *head, struct fr_view *out_authority)
{
    struct fr_view text = head->target;
    size_t scheme = fr_view_istarts(text, FR_VIEW("http://"))    ? 7
                    : fr_view_istarts(text, FR_VIEW("https://")) ? 8
                                                                 : 0;
    if (scheme == 0)
        return "the request target has no known form";
    head->https = scheme == 8;
    text = fr_view_make(text.ptr + scheme, text.len - scheme);
    size_t len = 0;
    while (len < text.len && text.ptr[len] != '/' && text.ptr[len] != '?')
        len++;
    *out_authority = fr_view_make(text.ptr, len);
    if (!http_is_authority(*out_authority))
        return "the request target has an invalid authority";
    text = fr_view_make(text.ptr + len, text.len - len);
    path_split(head, text);
    if (text.len == 0 && head->method == HTTP_OPTIONS) /* section 3.2.4 */
        head->path = FR_VIEW("*");
    return NULL;
}

/* The four forms. *out_authority stays empty where the target has none. */
static const char *
target_split(struct http_head *head, struct fr_view *out_authority)
{
    if (head->method == HTTP_CONNECT) {
        struct fr_view target = head->target;
        /* authority-form: host and port, both */
        if (!http_is_authority(target) || !http__is(target.ptr[target.len - 1], HTTP__DIGIT) ||
            !memrchr(target.ptr, ':', target.len))
            return "CONNECT wants host and port";
        *out_authority = target;
        return NULL;
    }
    if (head->target.ptr[0] == '/') {
        path_split(head, head->target);
        return NULL;
    }
    if (fr_view_is(head->target, "*")) {
        head->path = head->target;
        return head->method == HTTP_OPTIONS ? NULL : "the target * is for OPTIONS only";
    }
    return absolute_split(head, out_authority);
}

/* RFC 9112 section 3.2: exactly one valid Host in HTTP/1.1, at most one in HTTP/1.0. */
static const char *
host_read(struct http_head *head, struct fr_view authority, bool is_good, const char **out_at)
{
    const struct http_field *host = http_head_find(head, HTTP_FIELD_HOST);
    if (host) {
        *out_at = host->name.ptr;
        if (!is_good && http_head_next(head, host))
            return "more than one Host";
        if (!is_good && !http_is_authority(host->value))
            return "an invalid Host";
        head->host = host->value;
    } else if (head->version_minor >= 1) {
        return "no Host";
    }
    if (authority.len) /* section 3.2.2: absolute-form wins */
        head->host = authority;
    return NULL;
}

/* RFC 9110 section 10.1.1: ignored in HTTP/1.0. */
static void
expect_read(struct http_head *head)
{
    const struct http_field *field = http_head_find(head, HTTP_FIELD_EXPECT);
    if (head->version_minor == 0)
        return;
    for (; field; field = http_head_next(head, field)) {
        struct fr_view rest = field->value, item;
        while (http_list_next(&rest, &item)) {
            if (fr_view_ieq(item, FR_VIEW("100-continue")))
                head->expect_continue = true;
            else
                head->expect_other = true;
        }
    }
}

enum http_step
http__request_check(const char *start, struct http_head *head, bool host_is_good,
                    struct http_err *out_err)
{
    struct fr_view authority = {NULL, 0};
    const char *at = head->target.ptr;
    int status = 400;
    head->method = method_of(head->method_text);
    const char *words = octets_check(head->target);
    if (!words)
        words = target_split(head, &authority);
    if (!words)
        words = host_read(head, authority, host_is_good, &at);
    if (!words && !http__connection_apply(head))
        words = "too many connection options";
    if (!words)
        words = http__framing_of_request(head, &status, &at);
    if (words)
        return http__bad(start, at, status, words, out_err);
    expect_read(head);
    http__te_read(head);
    return HTTP_DONE;
}

enum http_step
http_request_parse(struct fr_view in, const struct http_limits *limits, size_t *scanned,
                   struct http_head *out, struct http_err *out_err)
{
    if (!http__worth_parsing(in, limits, scanned))
        return HTTP_MORE;
    struct http__reader reader = http__reader_of(in, limits, 431);
    http__head_reset(out);
    enum http_step step = empty_lines_skip(&reader, out_err);
    if (step == HTTP_DONE)
        step = request_line_read(&reader, limits, out, out_err);
    if (step == HTTP_DONE)
        step = http__fields_read(&reader, limits->field_count_max, out, out_err);
    if (step != HTTP_DONE)
        return step;
    out->head_bytes = (size_t)(reader.at - in.ptr);
    return http__request_check(in.ptr, out, false, out_err);
}
