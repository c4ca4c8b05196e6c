/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hpack_decode.c - blocks into fields.
 *
 * May touch:  base.
 * Memory:     a text that was coded is written into the decoder's buffer; others are views of the
 *             block or of the table. The buffer is let go when it has become large.
 * Limits:     a text is no longer than its block allows.
 * Trusts:     nothing.
 * Follows:    RFC 7541 sections 3.2, 4.2, 5 and 6.
 */
#include "http/hpack.h"

#define TEXTS_KEPT_BYTES 1024
#define TEXTS_BYTES_MAX (16 * 1048576) /* above any block that a head's limits let through */
#define NUMBER_MAX (1u << 28)          /* no length and no index is near it */

void
hpack_decoder_init(struct hpack_decoder *decoder)
{
    hpack_table_init(&decoder->table);
    fr_buf_init(&decoder->texts, TEXTS_BYTES_MAX);
}

void
hpack_decoder_fini(struct hpack_decoder *decoder)
{
    hpack_table_fini(&decoder->table);
    fr_buf_fini(&decoder->texts);
}

void
hpack_decoder_rest(struct hpack_decoder *decoder)
{
    if (decoder->texts.cap > TEXTS_KEPT_BYTES)
        fr_buf_fini(&decoder->texts);
}

struct hpack_block
hpack_block_begin(struct fr_view bytes)
{
    const uint8_t *at = (const uint8_t *)bytes.ptr;
    return (struct hpack_block){.at = at, .end = at + bytes.len};
}

/* Section 5.1: the lower `bits` of the first octet, and more octets if they are all ones. */
static bool
number_read(struct hpack_block *block, unsigned bits, size_t *out)
{
    uint32_t most = (1u << bits) - 1, number = *block->at++ & most;
    if (number < most) {
        *out = number;
        return true;
    }
    for (unsigned shift = 0; block->at < block->end && shift <= 21; shift += 7) {
        uint8_t octet = *block->at++;
        number += (uint32_t)(octet & 0x7f) << shift;
        if (octet < 0x80) {
            *out = number;
            return number < NUMBER_MAX;
        }
    }
    return false;
}

/* Section 5.2. */
struct text {
    struct fr_view coded; /* as it stands */
    bool huffman;
};

static bool
text_read(struct hpack_block *block, struct text *out)
{
    size_t len;
    if (block->at == block->end)
        return false;
    out->huffman = *block->at & 0x80;
    if (!number_read(block, 7, &len) || len > (size_t)(block->end - block->at))
        return false;
    out->coded = fr_view_make((const char *)block->at, len);
    block->at += len;
    return true;
}

/* Into the buffer, which has room for it. */
static bool
decode_text(struct hpack_decoder *decoder, const struct text *text, struct fr_view *out)
{
    struct fr_buf *texts = &decoder->texts;
    size_t len;
    *out = text->coded;
    if (!text->huffman || text->coded.len == 0)
        return true;
    if (!hpack_huffman_decode(text->coded, texts->data + texts->len, &len))
        return false;
    *out = fr_view_make(texts->data + texts->len, len);
    texts->len += len;
    return true;
}

static enum hpack_step
literal_read(struct hpack_decoder *decoder, struct hpack_block *block, size_t name_index,
             struct hpack_field *out)
{
    struct text name = {0}, value = {0};
    size_t room = 0;
    if (name_index == 0 && !text_read(block, &name))
        return HPACK_BAD;
    if (!text_read(block, &value))
        return HPACK_BAD;
    if (name.huffman)
        room += hpack_huffman_max(name.coded.len);
    if (value.huffman)
        room += hpack_huffman_max(value.coded.len);
    fr_buf_clear(&decoder->texts);
    if (room > 0 && fr_buf_reserve(&decoder->texts, room) != FR_OK)
        return HPACK_NO_MEMORY;
    if (name_index > 0 && !hpack_table_get(&decoder->table, name_index, out))
        return HPACK_BAD;
    if (name_index == 0 && !decode_text(decoder, &name, &out->name))
        return HPACK_BAD;
    return decode_text(decoder, &value, &out->value) ? HPACK_FIELD : HPACK_BAD;
}

/* Section 6.2.1: it enters the table, and is told from there, where its name may have come from. */
static enum hpack_step
enter(struct hpack_decoder *decoder, struct hpack_field *field)
{
    uint32_t added = decoder->table.added;
    if (!hpack_table_add(&decoder->table, field->name, field->value))
        return HPACK_NO_MEMORY;
    if (decoder->table.added != added)
        (void)hpack_table_get(&decoder->table, HPACK_STATIC_COUNT + 1, field);
    return HPACK_FIELD;
}

enum hpack_step
hpack_decode(struct hpack_decoder *decoder, struct hpack_block *block, struct hpack_field *out)
{
    size_t number;
    enum hpack_step step;
    while (block->at < block->end) {
        uint8_t kind = *block->at;
        if (kind & 0x80) { /* section 6.1 */
            block->begun = true;
            if (!number_read(block, 7, &number) || !hpack_table_get(&decoder->table, number, out))
                return HPACK_BAD;
            return HPACK_FIELD;
        }
        if ((kind & 0xe0) == 0x20) { /* section 6.3 */
            if (block->begun || !number_read(block, 5, &number) || number > HPACK_TABLE_BYTES)
                return HPACK_BAD;
            hpack_table_resize(&decoder->table, (uint32_t)number);
            continue;
        }
        bool enters = kind & 0x40;
        block->begun = true;
        if (!number_read(block, enters ? 6 : 4, &number))
            return HPACK_BAD;
        step = literal_read(decoder, block, number, out);
        out->never_indexed = (kind & 0xf0) == 0x10;
        out->index = out->entry = 0;
        return step == HPACK_FIELD && enters ? enter(decoder, out) : step;
    }
    return HPACK_END;
}
