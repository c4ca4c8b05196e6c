/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hpack.h - the compression of HTTP/2's heads: blocks into fields, fields into blocks.
 *
 * May touch:  base. Never: sockets, clocks, logs.
 * Memory:     a dynamic table is one block of at most HPACK_ARENA_BYTES, taken when something
 *             enters it; the decoder keeps room for the texts of one field.
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
    uint32_t index;     /* where it is in the table, decoded; 0: nowhere */
    uint32_t entry;     /* to encode: hpack_find_line's; 0: it is to be looked for */
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
    /* Entries in the order in which heads have them: what came first the last time, what came
     * behind each, and the last one of the block under way. */
    uint32_t first, last, next[HPACK_ENTRIES_MAX];
    uint32_t size_least, size_asked; /* what the peer allowed since the last block */
    bool resized;
};

void hpack_encoder_init(struct hpack_encoder *encoder);
void hpack_encoder_fini(struct hpack_encoder *encoder);
/* SETTINGS_HEADER_TABLE_SIZE of the peer, which the next block acknowledges (section 4.2). */
void hpack_encoder_resize(struct hpack_encoder *encoder, uint32_t bytes);

/* Room for what stands in front of a block's fields, and for one field. */
#define HPACK_BEGIN_BYTES_MAX 12
static inline size_t
hpack_field_bytes_max(size_t name_len, size_t value_len)
{
    return name_len + value_len + 16;
}

/* Both return where what they wrote ends. Letters of the name are written in lower case. No memory
 * means a longer block, never a wrong one. */
char *hpack_put_begin(struct hpack_encoder *encoder, char *at);
char *hpack_put_field(struct hpack_encoder *encoder, char *at, const struct hpack_field *field);
/* Whether the text begins with a field of the table as HTTP/1.1 prints it ("Name: value", CRLF),
 * looked for where it is likely: behind *after, which moves on; 0 is the front of a head. Returns
 * how long the line is, or 0. *out is good for the next block. */
size_t hpack_find_line(const struct hpack_encoder *encoder, struct fr_view text, uint32_t *after,
                       struct hpack_field *out);

#endif
