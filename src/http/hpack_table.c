/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hpack_table.c - the static table of HPACK, and the dynamic one behind it.
 *
 * May touch:  base.
 * Memory:     an arena that is written round and round. An entry lies in one piece: where it does
 *             not fit in front of the arena's end it begins anew at its start.
 * Limits:     HPACK_TABLE_BYTES.
 * Follows:    RFC 7541 sections 2.3, 4 and appendix A.
 *
 *     arena:   | newest ... end |  free  | oldest ......... | too short |
 *
 * The texts in it and the one that comes are HPACK_TABLE_BYTES - 32 together at most, and what is
 * too short at the arena's end is shorter than the one that comes: of twice as much there is always
 * a free piece, and while it is smaller it may grow.
 */
#include "http/hpack.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#define ARENA_BYTES_FIRST 1024

/* By the numbers of the appendix. */
#define ROW(n, name, value) [n - 1] = {{name, sizeof(name) - 1}, {value, sizeof(value) - 1}}
static const struct {
    struct fr_view name, value;
} statics[HPACK_STATIC_COUNT] = {
    ROW(1, ":authority", ""),
    ROW(2, ":method", "GET"),
    ROW(3, ":method", "POST"),
    ROW(4, ":path", "/"),
    ROW(5, ":path", "/index.html"),
    ROW(6, ":scheme", "http"),
    ROW(7, ":scheme", "https"),
    ROW(8, ":status", "200"),
    ROW(9, ":status", "204"),
    ROW(10, ":status", "206"),
    ROW(11, ":status", "304"),
    ROW(12, ":status", "400"),
    ROW(13, ":status", "404"),
    ROW(14, ":status", "500"),
    ROW(15, "accept-charset", ""),
    ROW(16, "accept-encoding", "gzip, deflate"),
    ROW(17, "accept-language", ""),
    ROW(18, "accept-ranges", ""),
    ROW(19, "accept", ""),
    ROW(20, "access-control-allow-origin", ""),
    ROW(21, "age", ""),
    ROW(22, "allow", ""),
    ROW(23, "authorization", ""),
    ROW(24, "cache-control", ""),
    ROW(25, "content-disposition", ""),
    ROW(26, "content-encoding", ""),
    ROW(27, "content-language", ""),
    ROW(28, "content-length", ""),
    ROW(29, "content-location", ""),
    ROW(30, "content-range", ""),
    ROW(31, "content-type", ""),
    ROW(32, "cookie", ""),
    ROW(33, "date", ""),
    ROW(34, "etag", ""),
    ROW(35, "expect", ""),
    ROW(36, "expires", ""),
    ROW(37, "from", ""),
    ROW(38, "host", ""),
    ROW(39, "if-match", ""),
    ROW(40, "if-modified-since", ""),
    ROW(41, "if-none-match", ""),
    ROW(42, "if-range", ""),
    ROW(43, "if-unmodified-since", ""),
    ROW(44, "last-modified", ""),
    ROW(45, "link", ""),
    ROW(46, "location", ""),
    ROW(47, "max-forwards", ""),
    ROW(48, "proxy-authenticate", ""),
    ROW(49, "proxy-authorization", ""),
    ROW(50, "range", ""),
    ROW(51, "referer", ""),
    ROW(52, "refresh", ""),
    ROW(53, "retry-after", ""),
    ROW(54, "server", ""),
    ROW(55, "set-cookie", ""),
    ROW(56, "strict-transport-security", ""),
    ROW(57, "transfer-encoding", ""),
    ROW(58, "user-agent", ""),
    ROW(59, "vary", ""),
    ROW(60, "via", ""),
    ROW(61, "www-authenticate", ""),
};

/* The first index of each name, by the name's length; a row ends with 0. */
#define NAME_LEN_MAX 27
#define SAME_LEN_MAX 8
static const uint8_t by_length[NAME_LEN_MAX + 1][SAME_LEN_MAX] = {
    [3] = {21, 60},
    [4] = {33, 34, 37, 38, 45, 59},
    [5] = {4, 22, 50},
    [6] = {19, 32, 35, 54},
    [7] = {2, 6, 8, 36, 51, 52},
    [8] = {39, 42, 46},
    [10] = {1, 55, 58},
    [11] = {53},
    [12] = {31, 47},
    [13] = {18, 23, 24, 30, 41, 44},
    [14] = {15, 28},
    [15] = {16, 17},
    [16] = {26, 27, 29, 61},
    [17] = {40, 57},
    [18] = {48},
    [19] = {25, 43, 49},
    [25] = {56},
    [27] = {20},
};

size_t
hpack_static_name(struct fr_view name)
{
    if (name.len > NAME_LEN_MAX)
        return 0;
    for (const uint8_t *index = by_length[name.len]; *index; index++)
        if (memcmp(statics[*index - 1].name.ptr, name.ptr, name.len) == 0)
            return *index;
    return 0;
}

/* ---- what is in it --------------------------------------------------------------------------- */

void
hpack_table_init(struct hpack_table *table)
{
    *table = (struct hpack_table){.size_max = HPACK_TABLE_BYTES};
}

void
hpack_table_fini(struct hpack_table *table)
{
    fr_free(table->arena);
    hpack_table_init(table);
}

/* nth: 0 is the newest. */
static const struct hpack_place *
place_of(const struct hpack_table *table, size_t nth)
{
    return &table->places[(table->added - 1 - nth) % HPACK_ENTRIES_MAX];
}

static size_t
text_bytes(const struct hpack_place *place)
{
    return (size_t)place->name_len + place->value_len;
}

bool
hpack_table_get(const struct hpack_table *table, size_t index, struct hpack_field *out)
{
    out->never_indexed = false;
    out->index = (uint32_t)index;
    out->entry = 0;
    if (index - 1 < HPACK_STATIC_COUNT) { /* 0 is none: it wraps */
        out->name = statics[index - 1].name;
        out->value = statics[index - 1].value;
        return true;
    }
    if (index - 1 - HPACK_STATIC_COUNT >= table->count)
        return false;
    const struct hpack_place *place = place_of(table, index - 1 - HPACK_STATIC_COUNT);
    const char *text = table->arena + place->at;
    out->name = fr_view_make(text, place->name_len);
    out->value = fr_view_make(text + place->name_len, place->value_len);
    return true;
}

uint8_t
hpack_table_mark(const struct hpack_table *table, uint32_t index)
{
    if (index <= HPACK_STATIC_COUNT)
        return table->static_marks[index];
    return place_of(table, index - 1 - HPACK_STATIC_COUNT)->mark;
}

void
hpack_table_set_mark(struct hpack_table *table, uint32_t index, uint8_t mark)
{
    if (index > HPACK_STATIC_COUNT)
        table->places[(table->added - (index - HPACK_STATIC_COUNT)) % HPACK_ENTRIES_MAX].mark =
            mark;
    else if (index > 0)
        table->static_marks[index] = mark;
}

/* ---- what comes and goes --------------------------------------------------------------------- */

static void
evict(struct hpack_table *table, uint32_t size_max)
{
    while (table->size > size_max) {
        const struct hpack_place *oldest = place_of(table, table->count - 1);
        table->size -= (uint32_t)text_bytes(oldest) + HPACK_ENTRY_BYTES;
        table->count--;
    }
    if (table->count == 0)
        table->end = 0;
}

void
hpack_table_resize(struct hpack_table *table, uint32_t size_max)
{
    fr_require(size_max <= HPACK_TABLE_BYTES);
    table->size_max = size_max;
    evict(table, size_max);
}

/* Where `bytes` fit; false: nowhere. */
static bool
find_room(const struct hpack_table *table, size_t bytes, uint32_t *out)
{
    uint32_t oldest = table->count ? place_of(table, table->count - 1)->at : table->arena_bytes;
    bool wrapped = table->count && oldest >= table->end;
    *out = table->end;
    if (wrapped || table->count == 0)
        return bytes <= oldest - table->end;
    if (bytes <= table->arena_bytes - table->end)
        return true;
    *out = 0;
    return bytes <= oldest;
}

/* A larger arena with all there is in it, oldest first; the old one is the caller's. */
static bool
grow(struct hpack_table *table, size_t bytes, char **out_old)
{
    size_t used = 0, want = table->arena_bytes ? 2 * (size_t)table->arena_bytes : ARENA_BYTES_FIRST;
    while (want < table->size + bytes)
        want *= 2;
    if (want > HPACK_ARENA_BYTES)
        want = HPACK_ARENA_BYTES;
    char *arena = fr_realloc(NULL, want);
    if (!arena)
        return false;
    for (size_t nth = table->count; nth-- > 0;) {
        struct hpack_place *place = &table->places[(table->added - 1 - nth) % HPACK_ENTRIES_MAX];
        memcpy(arena + used, table->arena + place->at, text_bytes(place));
        place->at = (uint16_t)used;
        used += text_bytes(place);
    }
    *out_old = table->arena;
    table->arena = arena;
    table->arena_bytes = (uint32_t)want;
    table->end = (uint32_t)used;
    return true;
}

bool
hpack_table_add(struct hpack_table *table, struct fr_view name, struct fr_view value)
{
    size_t bytes = name.len + value.len;
    if (name.len > table->size_max || value.len > table->size_max ||
        bytes + HPACK_ENTRY_BYTES > table->size_max) {
        evict(table, 0);
        return true;
    }
    char *old = NULL;
    uint32_t at;
    uint32_t rest = table->size_max - HPACK_ENTRY_BYTES - (uint32_t)bytes;
    uint32_t size = table->size, count = table->count, end = table->end;
    evict(table, rest);
    if (!table->arena || !find_room(table, bytes, &at)) {
        if (!grow(table, bytes, &old)) {
            table->size = size;
            table->count = count;
            table->end = end;
            return false;
        }
        at = table->end;
    }
    /* The name may be where an entry was that has just gone, so it is moved, and first. */
    if (name.len)
        memmove(table->arena + at, name.ptr, name.len);
    if (value.len)
        memcpy(table->arena + at + name.len, value.ptr, value.len);
    fr_free(old);
    table->places[table->added % HPACK_ENTRIES_MAX] =
        (struct hpack_place){(uint16_t)at, (uint16_t)name.len, (uint16_t)value.len, 0};
    table->added++;
    table->count++;
    table->size += (uint32_t)bytes + HPACK_ENTRY_BYTES;
    table->end = at + (uint32_t)bytes;
    return true;
}
