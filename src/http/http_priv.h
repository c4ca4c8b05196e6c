/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_priv.h - what the parsers of this room share: character classes and the head's two halves.
 *
 * May touch:  base. Included by src/http only.
 */
#ifndef HTTP_PRIV_H
#define HTTP_PRIV_H

#include "http/http.h"

/* Classes of octets, one bit each. */
enum http__class {
    HTTP__TOKEN = 1,  /* tchar, RFC 9110 section 5.6.2 */
    HTTP__TEXT = 2,   /* field content: HTAB, SP, VCHAR, obs-text; RFC 9110 section 5.5 */
    HTTP__TARGET = 4, /* VCHAR without '#': a request target, RFC 9112 section 3.2 */
    HTTP__HOST = 8,   /* unreserved and sub-delims, RFC 3986 section 3.2.2 */
    HTTP__HEX = 16,
    HTTP__DIGIT = 32,
};
extern const uint8_t http__class_of[256];

static inline bool
http__is(char c, enum http__class class)
{
    return (http__class_of[(uint8_t)c] & class) != 0;
}

static inline bool
http__is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* One pass over a head. `end` is where the bytes end or, when `limited`, where the limit cuts. */
struct http__reader {
    const char *start; /* of the input */
    const char *at;
    const char *end;
    bool limited;
    int limit_status; /* the status when the limit is hit */
    const char *limit_words;
    enum http_limit limit;
};

FR_COLD enum http_step http__bad(const char *start, const char *at, int status, const char *words,
                                 struct http_err *out_err);
/* The reader ran out of bytes: MORE, or BAD where the limit cut them. */
FR_COLD enum http_step http__ran_out(const struct http__reader *reader, struct http_err *out_err);

/* A reader of the head at the start of `in`; a head over its limit is answered `limit_status`. */
struct http__reader http__reader_of(struct fr_view in, const struct http_limits *limits,
                                    int limit_status);

/* The number of a name that is a token: http_known_of, which makes sure of that first. */
enum http_known http__known_of_token(struct fr_view name);

/* Resets what a parse must not inherit from the one before; the fields stay as they are. */
void http__head_reset(struct http_head *head);

/* The next field of a head, numbered. Its place in the array has name and value. */
static inline void
http__field_note(struct http_head *head, enum http_known known)
{
    struct http_field *field = &head->fields[head->field_count++];
    field->known = known;
    field->hop = false;
    if (known == HTTP_UNKNOWN || http_head_has(head, (uint64_t)1 << known))
        return;
    head->known_set |= (uint64_t)1 << known;
    head->first_known[known] = (uint16_t)(head->field_count - 1);
}

/* Reads field lines up to and with the empty line. Sets fields, field_count, first_known. */
enum http_step http__fields_read(struct http__reader *reader, size_t field_count_max,
                                 struct http_head *head, struct http_err *out_err);
/* Reads Connection: keep_alive, upgrade, and which fields are hop-by-hop. False: too many options.
 */
bool http__connection_apply(struct http_head *head);

/* Reads TE: te_trailers. */
void http__te_read(struct http_head *head);

/* Content-Length and Transfer-Encoding (RFC 9112 section 6): sets framing, content_length,
 * unknown_coding. NULL, or the words of the rule that is broken; *out_status is then set, and
 * *out_at points at the field. */
const char *http__framing_of_request(struct http_head *head, int *out_status, const char **out_at);
const char *http__framing_of_response(struct http_head *head, const char **out_at);

/* What of a request can only be judged with the whole head at hand: fills in what the method, the
 * target and the fields say. host_is_good: there is one Host, which is an authority. */
enum http_step http__request_check(const char *start, struct http_head *head, bool host_is_good,
                                   struct http_err *out_err);

/* False while nothing since *scanned can have ended the head or broken a limit: the parse can wait.
 * Moves *scanned to the end of `in`. */
bool http__worth_parsing(struct fr_view in, const struct http_limits *limits, size_t *scanned);

#endif
