/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hpack.h - the compression of HTTP/2's heads: blocks into fields, fields into blocks.
 *
 * May touch:  base. Never: sockets, clocks, logs.
 * Memory:     a dynamic table is one block of at most HPACK_ARENA_BYTES, taken when something
 *             enters it; the decoder keeps room for the texts of one field, the encoder for the
 *             lines of one head, from the second one on.
 * Limits:     HPACK_TABLE_BYTES for either table, whatever the peer would allow. How long a field
 *             or a head may be is judged by who is told of the fields.
 * Trusts:     the decoder trusts nothing; the encoder takes fields that were checked.
 * Follows:    RFC 7541.
 */
#ifndef HPACK_H
#define HPACK_H

#include "base/fr_buf.h"

#define HPACK_TABLE_BYTES 4096 /* RFC 9113 section 6.5.2: what both sides begin with */
#define HPACK_ENTRY_BYTES 32   /* section 4.1: what an entry counts beside its text */
#define HPACK_ENTRIES_MAX (HPACK_TABLE_BYTES / HPACK_ENTRY_BYTES)
#define HPACK_STATIC_COUNT 61
#define HPACK_ARENA_BYTES 8192 /* of so much there is always room behind what is still in it */

struct hpack_field {
    struct fr_view name, value;
    bool never_indexed; /* section 6.2.3: nobody on its way may put it into a table */
    bool printed;       /* to encode: name and value stand in one line, as HTTP/1.1 prints it */
    uint16_t lines; /* to encode: the value is so many lines, hpack_find_lines's; 0: it is one */
    uint16_t line;  /* ... and the first of them, among those that are known */
    uint32_t index; /* where it is in the table, decoded; 0: nowhere */
    uint32_t entry; /* encoded: what of the table it is; 0: nothing */
};

/* ---- tables ---------------------------------------------------------------------------------- */

/* The first in, first out part of a table; an entry's text is in one piece of the arena. */
struct hpack_table {
    char *arena;
    uint32_t arena_bytes, end; /* end: where the newest text ends */
    uint32_t size, size_max;   /* as section 4.1 counts */
    uint32_t count;
    uint32_t added; /* ever; the newest is at (added - 1) % HPACK_ENTRIES_MAX */
    uint8_t static_marks[HPACK_STATIC_COUNT + 1];
    struct hpack_place {
        uint16_t at, name_len, value_len;
        uint8_t mark;
    } places[HPACK_ENTRIES_MAX];
};

void hpack_table_init(struct hpack_table *table);
void hpack_table_fini(struct hpack_table *table);
/* The field at an index of the whole table, 1 to HPACK_STATIC_COUNT + count. False: there is none.
 * The views are valid until the next _add. */
bool hpack_table_get(const struct hpack_table *table, size_t index, struct hpack_field *out);
/* What is oldest makes room; what is larger than the table empties it (section 4.4). The name may
 * be a view that _get gave. False: no memory, and nothing has changed. */
FR_MUST_USE bool hpack_table_add(struct hpack_table *table, struct fr_view name,
                                 struct fr_view value);
/* What whoever takes the fields has found this one to be, while it stays, which is for them
 * to say; 0: nothing yet, or there is none. */
uint8_t hpack_table_mark(const struct hpack_table *table, uint32_t index);
void hpack_table_set_mark(struct hpack_table *table, uint32_t index, uint8_t mark);
void hpack_table_resize(struct hpack_table *table, uint32_t size_max);
/* The static index of a name in lower case; 0: none. */
size_t hpack_static_name(struct fr_view name);

/* ---- Huffman's code -------------------------------------------------------------------------- */

/* The most octets that a text of so many coded ones can have: the shortest code has five bits. */
static inline size_t
hpack_huffman_max(size_t coded_bytes)
{
    return coded_bytes * 8 / 5;
}

/* Writes at most hpack_huffman_max octets. False: it is no text, its end included (section 5.2). */
FR_MUST_USE bool hpack_huffman_decode(struct fr_view coded, char *out, size_t *out_len);

/* ---- blocks into fields ---------------------------------------------------------------------- */

struct hpack_decoder {
    struct hpack_table table;
    struct fr_buf texts; /* of the field that was told last, where they were coded */
};

/* One block, whole. */
struct hpack_block {
    const uint8_t *at, *end;
    bool begun; /* a field has been read: the table's size stays */
};

enum hpack_step {
    HPACK_FIELD, /* *out is one, valid until the next call */
    HPACK_END,   /* of the block */
    HPACK_BAD,   /* a connection error of type COMPRESSION_ERROR */
    HPACK_NO_MEMORY,
};

void hpack_decoder_init(struct hpack_decoder *decoder);
void hpack_decoder_fini(struct hpack_decoder *decoder);
struct hpack_block hpack_block_begin(struct fr_view bytes);
FR_MUST_USE enum hpack_step hpack_decode(struct hpack_decoder *decoder, struct hpack_block *block,
                                         struct hpack_field *out);
/* Behind a block: large texts are let go. */
void hpack_decoder_rest(struct hpack_decoder *decoder);

/* ---- fields into blocks ---------------------------------------------------------------------- */

#define HPACK_SLOTS 128

struct hpack_encoder {
    struct hpack_table table;
    struct hpack_slot { /* of a field that was sent lately, by its hash */
        uint32_t hash;
        uint32_t entry; /* one more than what `added` was as it entered; 0: it did not */
    } slots[HPACK_SLOTS];
    struct hpack_lines *lines;       /* of the last head; NULL: none was learnt yet */
    uint32_t entry;                  /* what the last field is in the table; 0: it is not there */
    uint32_t size_least, size_asked; /* what the peer allowed since the last block */
    bool resized;
};

void hpack_encoder_init(struct hpack_encoder *encoder);
void hpack_encoder_fini(struct hpack_encoder *encoder);
/* SETTINGS_HEADER_TABLE_SIZE of the peer, which the next block acknowledges (section 4.2). */
void hpack_encoder_resize(struct hpack_encoder *encoder, uint32_t bytes);

/* Room for what stands in front of a block's fields, and for one field, or for lines. */
#define HPACK_BEGIN_BYTES_MAX 12
static inline size_t
hpack_field_bytes_max(size_t name_len, size_t value_len)
{
    return name_len + value_len + 16;
}

static inline size_t
hpack_bytes_max(const struct hpack_field *field)
{
    return hpack_field_bytes_max(field->name.len, field->value.len) + 16 * (size_t)field->lines;
}

/* All return where what they wrote ends. Letters of the name are written in lower case. No memory
 * means a longer block, never a wrong one. */
char *hpack_put_begin(struct hpack_encoder *encoder, char *at);
char *hpack_put_field(struct hpack_encoder *encoder, char *at, const struct hpack_field *field);
/* A block in one go, whose lines the next one is likely to have too. */
char *hpack_put_head(struct hpack_encoder *encoder, char *at, struct hpack_field *fields,
                     size_t count);

/* ---- lines that were sent before: hpack_lines.c ---------------------------------------------- */

#define HPACK_LINES_MAX 32
#define HPACK_LINES_BYTES 1024

/* The last head as HTTP/1.1 prints it ("Name: value", CRLF), as far as it is in the table. */
struct hpack_lines {
    uint32_t count;
    bool full;            /* one was left out */
    uint32_t oldest;      /* of their entries: while it is in the table, all are */
    uint32_t length_line; /* which of them is Content-Length; count: none */
    uint64_t length;
    struct hpack_line {
        uint32_t end; /* in the text */
        uint32_t entry;
    } line[HPACK_LINES_MAX];
    char text[HPACK_LINES_BYTES];
};

/* How many octets in front of the text are lines that stand in the last head next to one another,
 * at line *at or a little behind it; *at moves behind them. *out is all of them, for the next
 * block. */
size_t hpack_find_lines(const struct hpack_encoder *encoder, struct fr_view text, uint32_t *at,
                        struct hpack_field *out);
/* Whether Content-Length is among the lines that were found, and what it says. */
bool hpack_lines_length(const struct hpack_encoder *encoder, const struct hpack_field *found,
                        uint64_t *out);
/* Whether all of the lines are still in the table. */
bool hpack__lines_there(const struct hpack_encoder *encoder);
/* One of the lines that were found, as a field. */
struct hpack_field hpack__line_field(const struct hpack_encoder *encoder,
                                     const struct hpack_field *found, size_t nth);
/* These were put, and next time they are likely to come again. */
void hpack__lines_learn(struct hpack_encoder *encoder, const struct hpack_field *fields,
                        size_t count);

#endif
