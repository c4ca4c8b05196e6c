/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_http.c - the HTTP/1 codec: whatever comes, and however it is cut, the verdict is the same.
 *
 * Shape:      octet 0 chooses what is parsed (0: request, 1: response, 2: chunked body, 3: a
 * request and the body behind it; 4: lists, dates, hosts; 5: trailers); octet 1 seeds the
 *             cuts; the rest is input.
 */
#include "base/fr_check.h"
#include "base/fr_hash.h"
#include "base/fr_mem.h"
#include "http/http.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Small limits, so that small inputs reach them. */
static const struct http_limits limits = {
    .head_bytes_max = 2048,
    .request_line_bytes_max = 512,
    .field_count_max = 16,
};

typedef enum http_step (*parse_fn)(struct fr_view in, const struct http_limits *limits,
                                   size_t *scanned, struct http_head *out,
                                   struct http_err *out_err);

/* An exact copy, so that ASan sees a read behind what has "arrived". */
static enum http_step
parse_exact(parse_fn parse, struct fr_view in, size_t *scanned, struct http_head *head,
            struct http_err *err)
{
    char *copy = fr_xalloc(in.len ? in.len : 1);
    if (in.len)
        memcpy(copy, in.ptr, in.len);
    enum http_step step = parse(fr_view_make(copy, in.len), &limits, scanned, head, err);
    /* Freed before anybody looks at the views: only numbers may be read from this head. */
    fr_free(copy);
    return step;
}

static bool
inside(struct fr_view view, struct fr_view in)
{
    return view.len == 0 || (view.ptr >= in.ptr && view.ptr + view.len <= in.ptr + in.len);
}

/* What must hold of every head that was let through. */
static void
head_check(const struct http_head *head, struct fr_view in)
{
    fr_insist(head->head_bytes <= in.len);
    fr_insist(head->head_bytes <= limits.head_bytes_max);
    fr_insist(head->field_count <= limits.field_count_max);
    fr_insist(memcmp(in.ptr + head->head_bytes - 4, "\r\n\r\n", 4) == 0);
    for (size_t i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        fr_insist(inside(field->name, in));
        fr_insist(inside(field->value, in));
        fr_insist(http_is_token(field->name));
        fr_insist(http_known_of(field->name) == field->known);
        for (size_t at = 0; at < field->value.len; at++) {
            uint8_t c = (uint8_t)field->value.ptr[at];
            fr_insist((c >= 0x20 && c != 0x7f) || c == '\t');
        }
    }
    bool coded = http_head_find(head, HTTP_FIELD_TRANSFER_ENCODING) != NULL;
    bool sized = http_head_find(head, HTTP_FIELD_CONTENT_LENGTH) != NULL;
    fr_insist(!coded || !sized);
    fr_insist(head->framing != HTTP_BODY_CHUNKED || coded);
    fr_insist(!coded || head->framing == HTTP_BODY_CHUNKED || head->unknown_coding);
    fr_insist(!head->unknown_coding || coded);
    fr_insist((head->framing == HTTP_BODY_LENGTH) == sized);
}

static void
request_check(const struct http_head *head, struct fr_view in)
{
    head_check(head, in);
    fr_insist(inside(head->target, in));
    fr_insist(head->version_minor == 0 || head->host.len > 0);
    fr_insist(head->host.len == 0 || http_is_authority(head->host));
    fr_insist(head->method == HTTP_CONNECT || head->path.len > 0);
    fr_insist(!head->unknown_coding);
    fr_insist(head->framing != HTTP_BODY_TO_CLOSE);
}

/* Parses `in` as it grows in random pieces. */
static enum http_step
parse_pieces(parse_fn parse, struct fr_view in, uint64_t seed, struct http_head *head,
             struct http_err *err)
{
    struct fr_rand rand;
    size_t scanned = 0;
    size_t len = 0;
    enum http_step step = HTTP_MORE;
    fr_rand_init(&rand, seed);
    uint32_t piece_max = 1 + fr_rand_below(&rand, 64);
    while (step == HTTP_MORE && len < in.len) {
        len += 1 + fr_rand_below(&rand, piece_max);
        if (len > in.len)
            len = in.len;
        step = parse_exact(parse, fr_view_make(in.ptr, len), &scanned, head, err);
    }
    return step;
}

static void
head_run(parse_fn parse, bool request, struct fr_view input, uint64_t seed)
{
    /* Behind these no head is left open, so that "later" cannot hide a difference. */
    static const char ends[] = "\r\n\r\n\r\n\r\n\r\n\r\n";
    struct http_head *whole = fr_xalloc(sizeof(*whole));
    struct http_head *pieces = fr_xalloc(sizeof(*pieces));
    struct http_err whole_err = {0};
    struct http_err pieces_err = {0};
    size_t len = input.len + sizeof(ends) - 1;
    char *text = fr_xalloc(len);
    if (input.len)
        memcpy(text, input.ptr, input.len);
    memcpy(text + input.len, ends, sizeof(ends) - 1);
    struct fr_view in = fr_view_make(text, len);

    size_t scanned = 0;
    enum http_step want = parse(in, &limits, &scanned, whole, &whole_err);
    fr_insist(want != HTTP_MORE);
    fr_insist(parse_pieces(parse, in, seed, pieces, &pieces_err) == want);
    if (want == HTTP_BAD) {
        fr_insist(whole_err.status == pieces_err.status);
        fr_insist(whole_err.offset == pieces_err.offset);
        fr_insist(strcmp(whole_err.words, pieces_err.words) == 0);
        fr_insist(whole_err.offset <= len);
    } else {
        if (request)
            request_check(whole, in);
        else
            head_check(whole, in);
        fr_insist(whole->head_bytes == pieces->head_bytes);
        fr_insist(whole->field_count == pieces->field_count);
        fr_insist(whole->framing == pieces->framing);
        fr_insist(whole->content_length == pieces->content_length);
        fr_insist(whole->keep_alive == pieces->keep_alive);
        fr_insist(whole->status == pieces->status);
        fr_insist(whole->method == pieces->method);
        for (size_t i = 0; i < whole->field_count; i++)
            fr_insist(whole->fields[i].hop == pieces->fields[i].hop);
    }
    fr_free(text);
    fr_free(whole);
    fr_free(pieces);
}

struct outcome {
    enum http_step step;
    size_t used;
    size_t data_len;
    struct fr_hash128 data; /* of all payload */
    const char *words;
};

static void
body_feed(enum http_framing framing, uint64_t length, struct fr_view in, uint64_t seed,
          struct outcome *out)
{
    static const struct fr_hash_key key = {1, 2};
    struct http_body body;
    struct http_err err = {0};
    struct fr_rand rand;
    char *payload = fr_xalloc(in.len + 1);
    size_t end = 0;
    *out = (struct outcome){.step = HTTP_MORE};
    fr_rand_init(&rand, seed);
    http_body_init(&body, framing, length);
    while (out->step == HTTP_MORE && out->used < in.len) {
        /* seed 0: all at once */
        if (end == out->used)
            end += seed ? 1 + fr_rand_below(&rand, 32) : in.len;
        if (end > in.len)
            end = in.len;
        size_t have = end - out->used;
        char *exact = fr_xalloc(have);
        memcpy(exact, in.ptr + out->used, have);
        size_t used = 0;
        struct fr_view run;
        out->step = http_body_decode(&body, fr_view_make(exact, have), &used, &run, &err);
        fr_insist(used <= have);
        fr_insist(used > 0 || out->step != HTTP_MORE);
        fr_insist(inside(run, fr_view_make(exact, used)));
        if (run.len)
            memcpy(payload + out->data_len, run.ptr, run.len);
        out->data_len += run.len;
        out->used += used;
        fr_free(exact);
    }
    fr_insist(body.received == out->data_len);
    if (framing == HTTP_BODY_CHUNKED)
        fr_insist(http_body_closed(&body) == (out->step == HTTP_DONE));
    out->words = err.words ? err.words : "";
    out->data = fr_hash128(&key, payload, out->data_len);
    fr_free(payload);
}

static void
body_run(enum http_framing framing, uint64_t length, struct fr_view in, uint64_t seed)
{
    struct outcome whole;
    struct outcome pieces;
    body_feed(framing, length, in, 0, &whole);
    body_feed(framing, length, in, seed + 1, &pieces);
    fr_insist(whole.step == pieces.step);
    fr_insist(whole.used == pieces.used);
    fr_insist(whole.data_len == pieces.data_len);
    fr_insist(whole.data.lo == pieces.data.lo);
    fr_insist(strcmp(whole.words, pieces.words) == 0);
}

static void
message_run(struct fr_view in, uint64_t seed)
{
    struct http_head *head = fr_xalloc(sizeof(*head));
    struct http_err err;
    size_t scanned = 0;
    head_run(http_request_parse, true, in, seed);
    char host[64], other[64];
    size_t len, other_len;
    if (http_request_parse(in, &limits, &scanned, head, &err) == HTTP_DONE &&
        http_head_host(head, host, sizeof(host), &len)) {
        fr_insist(http_host_normalise(head->host, other, sizeof(other), &other_len));
        fr_insist(other_len == len && memcmp(host, other, len) == 0);
    }
    scanned = 0;
    if (http_request_parse(in, &limits, &scanned, head, &err) == HTTP_DONE)
        body_run(head->framing, head->content_length,
                 fr_view_make(in.ptr + head->head_bytes, in.len - head->head_bytes), seed);
    fr_free(head);
}

static void
text_run(struct fr_view in)
{
    struct fr_view rest = in;
    struct fr_view item;
    while (http_list_next(&rest, &item)) {
        struct fr_view name;
        struct fr_view value;
        fr_insist(item.len > 0);
        fr_insist(inside(item, in));
        http_directive_split(item, &name, &value);
        fr_insist(inside(name, item));
        fr_insist(inside(value, item));
    }
    int64_t s;
    if (http_date_parse(in, 1767225600, &s)) {
        char text[HTTP_DATE_BYTES];
        int64_t back;
        http_date_format(s, text);
        fr_insist(s < 0 || s > 253402300799 ||
                  (http_date_parse(fr_view_of(text), 0, &back) && back == s));
    }
    char host[64];
    size_t len;
    if (http_host_normalise(in, host, sizeof(host), &len)) {
        fr_insist(len > 0);
        fr_insist(http_is_authority(fr_view_make(host, len)));
    }
}

/* What the decoder lets through behind a body can be read, and what may go on frames nothing. */
static void
trailers_run(struct fr_view in)
{
    static const enum http_known never[] = {
        HTTP_FIELD_CONTENT_LENGTH,
        HTTP_FIELD_TRANSFER_ENCODING,
        HTTP_FIELD_HOST,
        HTTP_FIELD_CONNECTION,
        HTTP_FIELD_TE,
        HTTP_FIELD_UPGRADE,
    };
    struct http_body body;
    struct http_err err;
    struct fr_view run;
    size_t used = 0, len = in.len + 3;
    char *text = fr_xalloc(len);
    memcpy(text, "0\r\n", 3);
    if (in.len)
        memcpy(text + 3, in.ptr, in.len);
    http_body_init(&body, HTTP_BODY_CHUNKED, 0);
    if (http_body_decode(&body, fr_view_make(text, len), &used, &run, &err) == HTTP_DONE) {
        struct http_head *head = fr_xalloc(sizeof(*head));
        struct fr_view section = body.trailer;
        enum http_step step = http_trailers_read(section, &limits, head, &err);
        fr_insist(step != HTTP_MORE);
        fr_insist(run.len == 0 && inside(section, fr_view_make(text, used)));
        for (size_t i = 0; step == HTTP_DONE && i < head->field_count; i++) {
            const struct http_field *field = &head->fields[i];
            fr_insist(inside(field->name, section) && inside(field->value, section));
            fr_insist(http_is_token(field->name));
            for (size_t k = 0; k < sizeof(never) / sizeof(never[0]); k++)
                fr_insist(field->hop || field->known != never[k]);
        }
        fr_free(head);
    }
    fr_free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct fr_view in = fr_view_make((const char *)data + 2, size - 2);
    switch (data[0] % 6) {
    case 0:
        head_run(http_request_parse, true, in, data[1]);
        break;
    case 1:
        head_run(http_response_parse, false, in, data[1]);
        break;
    case 2:
        body_run(HTTP_BODY_CHUNKED, 0, in, data[1]);
        break;
    case 3:
        message_run(in, data[1]);
        break;
    case 5:
        trailers_run(in);
        break;
    default:
        text_run(in);
        break;
    }
    return 0;
}
