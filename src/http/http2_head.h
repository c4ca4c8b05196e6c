/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_head.h - fields of HTTP/2 as the text of an HTTP/1.1 head, and the other way round.
 *
 * May touch:  base. Never: sockets, clocks, logs.
 * Trusts:     the writer trusts nothing: what RFC 9113 section 8 calls malformed is refused, and
 *             what it writes means the same to every reader of HTTP/1.1. The splitter takes heads
 *             that were printed here.
 * Memory:     the writer's text is in a buffer of its owner's, whose ceiling is the limit.
 * Follows:    RFC 9113 section 8, RFC 8441.
 */
#ifndef HTTP2_HEAD_H
#define HTTP2_HEAD_H

#include "http/hpack.h"
#include "http/http.h"

enum http2_kind { HTTP2_REQUEST, HTTP2_RESPONSE, HTTP2_TRAILERS };

/* ---- fields to text ------------------------------------------------------------------------ */

enum http2_verdict {
    HTTP2_FINE,
    HTTP2_MALFORMED, /* a stream error of type PROTOCOL_ERROR (RFC 9113 section 8.1.1) */
    HTTP2_TOO_LARGE, /* of bytes or of fields */
    HTTP2_NO_MEMORY,
};

struct http2_part { /* of the buffer */
    size_t at, len;
};

/* Where a line of a request's head is, so that nobody looks for it again. Of the first line the
 * name is the method, and the value the target. */
#define HTTP2_LINES_MAX (HTTP_FIELDS_MAX + 8) /* with the first, and those that are ours */
struct http2_line {
    uint32_t at; /* of the buffer: the name, which its colon follows, and a blank or none */
    uint32_t name_len, value_len;
    uint8_t known, colon_len;
};

struct http2_writer {
    /* its owner's, after _begin */
    bool answers_head; /* a response to HEAD: nothing is said of a body's length */
    /* results */
    const char *words; /* which rule is broken, static */
    bool https;        /* :scheme */
    bool tunnel;       /* extended CONNECT: the text asks for an Upgrade to `protocol` */
    bool has_length;
    uint64_t length;
    bool announces; /* trailers, by `trailer` */
    int status;     /* of a response */
    /* own */
    enum http2_kind kind;
    bool never_indexed; /* the field under way */
    bool authority_never_indexed, cookie_never_indexed;
    struct fr_buf *out, *lines;
    size_t field_count, field_count_max, start;
    unsigned seen; /* pseudo-fields, by bit */
    bool regular;  /* the pseudo-fields are over */
    bool has_host, has_te;
    struct http2_part method, scheme, authority, path, protocol, cookie;
    size_t cookie_line; /* among the lines */
};

/* `out` is emptied; its ceiling bounds the text. lines: of a request, takes where they are, as
 * http2_line; NULL: nobody asks. */
void http2_writer_begin(struct http2_writer *writer, enum http2_kind kind, struct fr_buf *out,
                        struct fr_buf *lines, size_t field_count_max);
/* never_indexed: it came so; the text keeps it: http_field_is_never_indexed. *found: what it was
 * found to be, which saves looking when the same name and value come again, of any head for which
 * they were HTTP2_FINE; 0: it is to be looked for. Once not HTTP2_FINE, nothing more may be given
 * to it. */
FR_MUST_USE enum http2_verdict http2_writer_field(struct http2_writer *writer, struct fr_view name,
                                                  struct fr_view value, bool never_indexed,
                                                  uint8_t *found);
struct fr_view http2_writer_protocol(const struct http2_writer *writer); /* of a tunnel */
/* end_stream: no body follows. A body whose length the fields do not tell is announced as chunked:
 * its owner puts it in chunks. *out_text: the whole head, or of trailers the section with its empty
 * line; in the buffer. A request is still to be read by http2_lines_head, which knows the rest of
 * what a request can be refused for. */
FR_MUST_USE enum http2_verdict http2_writer_end(struct http2_writer *writer, bool end_stream,
                                                struct fr_view *out_text);
/* One line more of a head that has ended, its empty line moved behind it. */
FR_MUST_USE enum http2_verdict http2_writer_add(struct http2_writer *writer, struct fr_view name,
                                                struct fr_view value, struct fr_view *out_text);
/* What http_request_parse makes of a request's text, and refuses it for, out of its lines: without
 * reading it again. Where more than one limit is broken it may name another. */
FR_MUST_USE enum http_step http2_lines_head(struct fr_view text, const struct fr_buf *lines,
                                            const struct http_limits *limits, struct http_head *out,
                                            struct http_err *out_err);

/* ---- text to fields ------------------------------------------------------------------------ */

#define HTTP2_SPLIT_MAX (HTTP_FIELDS_MAX + 16)

struct http2_split {
    /* its owner's, after _begin */
    struct fr_view scheme;               /* for requests */
    const struct hpack_encoder *encoder; /* that takes the fields; NULL: not known yet */
    /* results */
    int status; /* of a response */
    size_t count;
    bool has_length; /* content-length */
    uint64_t length;
    struct hpack_field fields[HTTP2_SPLIT_MAX];
    /* own */
    enum http2_kind kind;
    bool started;  /* behind the first line */
    uint32_t line; /* of the encoder's known ones, where the next are expected */
    struct fr_view upgrade;
};

/* HTTP2_TRAILERS: a section without a first line, empty line included. */
void http2_split_begin(struct http2_split *split, enum http2_kind kind);
/* Reads whole lines; the text may come in parts that end with a line. Names are as printed: who
 * takes the fields lower-cases them, as it copies them. What belongs to one connection is left out.
 * The views point into the parts and the literals here. Lines that the encoder knows are one field,
 * of a response that is no 101. Never to be indexed are fields that came
 * so, and those that are secret whoever sends them.
 * DONE: behind the empty line, *out_used tells where.  MORE: the part was read to its end.  BAD: no
 * head of ours. */
FR_MUST_USE enum http_step http2_split_read(struct http2_split *split, struct fr_view part,
                                            size_t *out_used);

#endif
