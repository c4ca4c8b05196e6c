/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hpack_encode.c - fields into blocks.
 *
 * May touch:  base.
 * Limits:     the table's size is the lesser of the peer's and ours; names above NAME_BYTES_MAX
 *             enter no table.
 * Cost:       a hash and a comparison for a field that is in the table.
 * Follows:    RFC 7541 sections 4.2, 5 and 6.
 *
 * What enters the table is told by its second time: a field whose hash was seen lately is likely to
 * come again, and what is new with each response, such as an id, never pushes out what is not.
 * Texts go as they are: Huffman's code would shorten by a fifth what is sent once.
 */
#include "http/hpack.h"

#include "base/fr_put.h"

#define NAME_BYTES_MAX 64
#define INDEXED 0x80
#define ENTERS 0x40
#define RESIZES 0x20
#define NEVER_INDEXED 0x10
#define PLAIN 0

void
hpack_encoder_init(struct hpack_encoder *encoder)
{
    *encoder = (struct hpack_encoder){0};
    hpack_table_init(&encoder->table);
}

void
hpack_encoder_fini(struct hpack_encoder *encoder)
{
    hpack_table_fini(&encoder->table);
}

void
hpack_encoder_resize(struct hpack_encoder *encoder, uint32_t bytes)
{
    if (bytes > HPACK_TABLE_BYTES)
        bytes = HPACK_TABLE_BYTES;
    if (!encoder->resized || bytes < encoder->size_least)
        encoder->size_least = bytes;
    encoder->size_asked = bytes;
    encoder->resized = true;
}

/* ---- numbers and texts ----------------------------------------------------------------------- */

static char *
put_number(char *at, unsigned kind, unsigned bits, size_t number)
{
    size_t most = ((size_t)1 << bits) - 1;
    if (number < most) {
        *at++ = (char)(kind | number);
        return at;
    }
    *at++ = (char)(kind | most);
    for (number -= most; number >= 0x80; number >>= 7)
        *at++ = (char)(0x80 | (number & 0x7f));
    *at++ = (char)number;
    return at;
}

static char *
put_text(char *at, struct fr_view text)
{
    at = put_number(at, 0, 7, text.len);
    return fr_put(at, text);
}

char *
hpack_put_begin(struct hpack_encoder *encoder, char *at)
{
    if (!encoder->resized)
        return at;
    encoder->resized = false;
    if (encoder->size_least < encoder->size_asked) { /* both: it has to be seen how low it went */
        hpack_table_resize(&encoder->table, encoder->size_least);
        at = put_number(at, RESIZES, 5, encoder->size_least);
    }
    hpack_table_resize(&encoder->table, encoder->size_asked);
    return put_number(at, RESIZES, 5, encoder->size_asked);
}

/* ---- what was sent before -------------------------------------------------------------------- */

/* Of a text its length and both ends, which is where texts differ. */
static inline uint64_t
sample(struct fr_view text)
{
    const uint64_t odd = 0x9e3779b97f4a7c15u; /* 2^64 divided by the golden ratio */
    uint64_t front = 0, back = 0;
    if (text.len >= 8) {
        memcpy(&front, text.ptr, 8);
        memcpy(&back, text.ptr + text.len - 8, 8);
    } else if (text.len >= 4) {
        memcpy(&front, text.ptr, 4);
        memcpy(&back, text.ptr + text.len - 4, 4);
    } else if (text.len > 0) {
        front = (uint8_t)text.ptr[0];
        back = (uint64_t)(uint8_t)text.ptr[text.len / 2] << 8 | (uint8_t)text.ptr[text.len - 1];
    }
    return (front * odd ^ (back + text.len)) * odd;
}

static uint32_t
hash_of(const struct hpack_field *field)
{
    uint64_t name = sample(field->name), hash = name ^ (name >> 29) ^ sample(field->value);
    return (uint32_t)(hash ^ hash >> 32);
}

/* Its index in the whole table; 0: it is there no more. */
static size_t
index_of(const struct hpack_encoder *encoder, uint32_t entry, const struct hpack_field *field)
{
    const struct hpack_table *table = &encoder->table;
    uint32_t age = table->added - entry;
    if (entry == 0 || age >= table->count)
        return 0;
    const struct hpack_place *place = &table->places[(entry - 1) % HPACK_ENTRIES_MAX];
    const char *text = table->arena + place->at;
    bool same = place->name_len == field->name.len && place->value_len == field->value.len &&
                memcmp(text, field->name.ptr, field->name.len) == 0 &&
                memcmp(text + place->name_len, field->value.ptr, field->value.len) == 0;
    return same ? HPACK_STATIC_COUNT + 1 + (size_t)age : 0;
}

/* The static table has whole fields only of some statuses, so far as responses go. */
static size_t
static_status(const struct hpack_field *field)
{
    static const char codes[] = "200204206304400404500"; /* from index 8 on */
    if (field->value.len != 3 || !fr_view_eq(field->name, FR_VIEW(":status")))
        return 0;
    for (size_t i = 0; i < sizeof(codes) / 3; i++)
        if (memcmp(codes + 3 * i, field->value.ptr, 3) == 0)
            return 8 + i;
    return 0;
}

static char *
put_literal(char *at, unsigned kind, unsigned bits, const struct hpack_field *field)
{
    size_t index = hpack_static_name(field->name);
    at = put_number(at, kind, bits, index);
    if (index == 0)
        at = put_text(at, field->name);
    return put_text(at, field->value);
}

/* Where a field of this hash was noted, or else will be: in the place of the older one of two. */
static struct hpack_slot *
slot_of(struct hpack_encoder *encoder, uint32_t hash)
{
    struct hpack_slot *slots = &encoder->slots[hash % HPACK_SLOTS & ~1u];
    if (slots[0].hash == hash)
        return &slots[0];
    if (slots[1].hash != hash)
        slots[1] = slots[0], slots[0] = (struct hpack_slot){0};
    return slots[1].hash == hash ? &slots[1] : &slots[0];
}

static char *
put_lowered(struct hpack_encoder *encoder, char *at, const struct hpack_field *field)
{
    size_t index = 0;
    if (field->never_indexed)
        return put_literal(at, NEVER_INDEXED, 4, field);
    if (field->name.len > 0 && field->name.ptr[0] == ':' && (index = static_status(field)))
        return put_number(at, INDEXED, 7, index);
    uint32_t hash = hash_of(field);
    struct hpack_slot *slot = slot_of(encoder, hash);
    if (slot->hash == hash && (index = index_of(encoder, slot->entry, field)))
        return put_number(at, INDEXED, 7, index);
    if (slot->hash == hash && encoder->table.size_max >= HPACK_TABLE_BYTES / 8 &&
        field->value.len < HPACK_TABLE_BYTES / 4 &&
        hpack_table_add(&encoder->table, field->name, field->value)) {
        slot->entry = encoder->table.added;
        return put_literal(at, ENTERS, 6, field);
    }
    *slot = (struct hpack_slot){.hash = hash};
    return put_literal(at, PLAIN, 4, field);
}

char *
hpack_put_field(struct hpack_encoder *encoder, char *at, const struct hpack_field *field)
{
    char low[NAME_BYTES_MAX];
    if (field->name.len <= sizeof(low)) {
        (void)fr_put_lower(low, field->name);
        return put_lowered(encoder, at,
                           &(struct hpack_field){.name = fr_view_make(low, field->name.len),
                                                 .value = field->value,
                                                 .never_indexed = field->never_indexed});
    }
    at = put_number(at, field->never_indexed ? NEVER_INDEXED : PLAIN, 4, 0);
    at = put_number(at, 0, 7, field->name.len);
    at = fr_put_lower(at, field->name);
    return put_text(at, field->value);
}
