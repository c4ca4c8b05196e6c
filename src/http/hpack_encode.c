/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hpack_encode.c - fields into blocks.
 *
 * May touch:  base.
 * Limits:     the table's size is the lesser of the peer's and ours; names above NAME_BYTES_MAX
 *             enter no table.
 * Cost:       an octet or two are written for a line that was found in the last head, and nothing
 *             of it is looked at; other fields are hashed and compared, eight octets a step.
 * Follows:    RFC 7541 sections 4.2, 5 and 6.
 *
 * What enters the table is told by its second time: a field whose hash was seen lately is likely to
 * come again, and what is new with each response, such as an id, never pushes out what is not.
 * Texts go as they are: Huffman's code would shorten by a fifth what is sent once.
 */
#include "http/hpack.h"

#include "base/fr_mem.h"
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
    fr_free(encoder->lines);
    encoder->lines = NULL;
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

/* What the cases of a letter differ in. Of the other octets of a token it tells only ^ and ~ apart,
 * so that names with one of these enter no table: tells_case. */
#define CASES 0x2020202020202020u

/* Of a text its length and both ends, which is where texts differ. */
static inline uint64_t
sample(struct fr_view text, uint64_t either)
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
    return ((front | either) * odd ^ ((back | either) + text.len)) * odd;
}

static uint32_t
hash_of(const struct hpack_field *field)
{
    uint64_t name = sample(field->name, CASES);
    uint64_t hash = name ^ (name >> 29) ^ sample(field->value, 0);
    return (uint32_t)(hash ^ hash >> 32);
}

static inline bool
some_same(const char *entry, const char *text, size_t bytes, uint64_t either)
{
    uint64_t x = 0, y = 0;
    memcpy(&x, entry, bytes);
    memcpy(&y, text, bytes);
    return ((x ^ y) & ~either) == 0;
}

/* Whether an entry's octets are the text's, but for the bits of `either`. */
static inline __attribute__((always_inline)) bool
is_same(const char *entry, struct fr_view text, uint64_t either)
{
    size_t i = 0;
    if (text.len >= 8) {
        for (; text.len - i > 8; i += 8)
            if (!some_same(entry + i, text.ptr + i, 8, either))
                return false;
        return some_same(entry + text.len - 8, text.ptr + text.len - 8, 8, either);
    }
    if (text.len >= 4)
        return some_same(entry, text.ptr, 4, either) &&
               some_same(entry + text.len - 4, text.ptr + text.len - 4, 4, either);
    for (; i < text.len; i++)
        if (!some_same(entry + i, text.ptr + i, 1, either))
            return false;
    return true;
}

/* NULL: it is there no more. */
static const struct hpack_place *
place_of(const struct hpack_encoder *encoder, uint32_t entry)
{
    const struct hpack_table *table = &encoder->table;
    bool there = entry != 0 && table->added - entry < table->count;
    return there ? &table->places[(entry - 1) % HPACK_ENTRIES_MAX] : NULL;
}

static bool
is_entry(const struct hpack_encoder *encoder, uint32_t entry, const struct hpack_field *field)
{
    const struct hpack_place *place = place_of(encoder, entry);
    if (!place || place->name_len != field->name.len || place->value_len != field->value.len)
        return false;
    const char *text = encoder->table.arena + place->at;
    return is_same(text, field->name, CASES) && is_same(text + place->name_len, field->value, 0);
}

static char *
put_entry(struct hpack_encoder *encoder, char *at, uint32_t entry)
{
    encoder->entry = entry;
    return put_number(at, INDEXED, 7, HPACK_STATIC_COUNT + 1 + encoder->table.added - entry);
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
put_literal(char *at, unsigned kind, unsigned bits, struct fr_view name, struct fr_view value)
{
    size_t index = hpack_static_name(name);
    at = put_number(at, kind, bits, index);
    if (index == 0)
        at = put_text(at, name);
    return put_text(at, value);
}

static bool
tells_case(struct fr_view name)
{
    return !memchr(name.ptr, '^', name.len) && !memchr(name.ptr, '~', name.len);
}

/* In full; where it was seen before, it enters the table. slot: NULL where it must not. */
static char *
put_whole(struct hpack_encoder *encoder, char *at, const struct hpack_field *field,
          struct hpack_slot *slot, uint32_t hash)
{
    char low[NAME_BYTES_MAX];
    struct fr_view name = fr_view_make(low, field->name.len), value = field->value;
    (void)fr_put_lower(low, field->name);
    if (!slot)
        return put_literal(at, NEVER_INDEXED, 4, name, value);
    if (slot->hash == hash && encoder->table.size_max >= HPACK_TABLE_BYTES / 8 &&
        value.len < HPACK_TABLE_BYTES / 4 && tells_case(name) &&
        hpack_table_add(&encoder->table, name, value)) {
        slot->entry = encoder->entry = encoder->table.added;
        return put_literal(at, ENTERS, 6, name, value);
    }
    *slot = (struct hpack_slot){.hash = hash};
    return put_literal(at, PLAIN, 4, name, value);
}

static char *
put_long(char *at, const struct hpack_field *field)
{
    at = put_number(at, field->never_indexed ? NEVER_INDEXED : PLAIN, 4, 0);
    at = put_number(at, 0, 7, field->name.len);
    at = fr_put_lower(at, field->name);
    return put_text(at, field->value);
}

char *
hpack_put_field(struct hpack_encoder *encoder, char *at, const struct hpack_field *field)
{
    size_t index;
    encoder->entry = 0;
    if (field->name.len > NAME_BYTES_MAX)
        return put_long(at, field);
    if (field->never_indexed)
        return put_whole(encoder, at, field, NULL, 0);
    if (field->name.len > 0 && field->name.ptr[0] == ':' && (index = static_status(field)))
        return put_number(at, INDEXED, 7, index);
    uint32_t hash = hash_of(field);
    struct hpack_slot *slot = slot_of(encoder, hash);
    if (slot->hash == hash && is_entry(encoder, slot->entry, field))
        return put_entry(encoder, at, slot->entry);
    return put_whole(encoder, at, field, slot, hash);
}

/* ---- heads ----------------------------------------------------------------------------------- */

/* Of its own block something may have pushed them out. */
static char *
put_lines(struct hpack_encoder *encoder, char *at, const struct hpack_field *found)
{
    const struct hpack_line *line = &encoder->lines->line[found->line];
    uint32_t newest = HPACK_STATIC_COUNT + 1 + encoder->table.added;
    if (!hpack__lines_there(encoder)) {
        for (size_t i = 0; i < found->lines; i++) {
            struct hpack_field field = hpack__line_field(encoder, found, i);
            at = hpack_put_field(encoder, at, &field);
        }
    } else if (newest - encoder->lines->oldest < 0x7f) { /* an octet each */
        for (size_t i = 0; i < found->lines; i++)
            *at++ = (char)(INDEXED | (newest - line[i].entry));
    } else {
        for (size_t i = 0; i < found->lines; i++)
            at = put_number(at, INDEXED, 7, newest - line[i].entry);
    }
    return at;
}

char *
hpack_put_head(struct hpack_encoder *encoder, char *at, struct hpack_field *fields, size_t count)
{
    bool learns = false;
    at = hpack_put_begin(encoder, at);
    for (size_t i = 0; i < count; i++) {
        if (fields[i].lines > 0) {
            at = put_lines(encoder, at, &fields[i]);
            continue;
        }
        at = hpack_put_field(encoder, at, &fields[i]);
        fields[i].entry = encoder->entry;
        learns |= fields[i].printed && encoder->entry != 0;
    }
    if (learns)
        hpack__lines_learn(encoder, fields, count);
    return at;
}
