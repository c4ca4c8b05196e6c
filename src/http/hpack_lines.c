/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hpack_lines.c - the lines of the head that was sent last: those of the next one are mostly the
 * same, and need neither be taken apart nor looked for in the table.
 *
 * May touch:  base.
 * Memory:     HPACK_LINES_MAX lines of HPACK_LINES_BYTES in all, from the first head on of which
 *             something entered the table. No memory: nothing is learnt.
 * Limits:     lines beyond these are looked for each time, as are lines that come behind more than
 *             LINES_PASSED that are missing.
 * Trusts:     that heads were printed here.
 * Cost:       a comparison with all that is known, sixteen octets a step, as far as it goes.
 * Follows:    RFC 7541 section 2.3.
 *
 *     known:    Server: a | ETag: "x" | Via: 1.1 f | Age: 17 |
 *     a head:   Server: a | ETag: "y" | Via: 1.1 f | Age: 17 |
 *               one field | a field   | one field            |
 *
 * The texts are those of lines as they were printed, so that a line is either the same in all its
 * octets or is looked at anew.
 */
#include "http/hpack.h"
#include "http/http_scan.h"

#include "base/fr_mem.h"

#define LINES_PASSED 3 /* in the last head, and not in this one */
#define LENGTH_NAME "Content-Length: "

bool
hpack__lines_there(const struct hpack_encoder *encoder)
{
    const struct hpack_lines *known = encoder->lines;
    return known && known->count > 0 && encoder->table.added - known->oldest < encoder->table.count;
}

static uint32_t
start_of(const struct hpack_lines *known, uint32_t line)
{
    return line == 0 ? 0 : known->line[line - 1].end;
}

size_t
hpack_find_lines(const struct hpack_encoder *encoder, struct fr_view text, uint32_t *at,
                 struct hpack_field *out)
{
    const struct hpack_lines *known = encoder->lines;
    if (!hpack__lines_there(encoder))
        return 0;
    uint32_t all = known->line[known->count - 1].end;
    for (uint32_t first = *at; first < known->count && first <= *at + LINES_PASSED; first++) {
        uint32_t from = start_of(known, first), past = first;
        size_t most = text.len < all - from ? text.len : all - from;
        size_t same = http__same(text.ptr, known->text + from, most);
        if (same == all - from)
            past = known->count;
        while (past < known->count && known->line[past].end - from <= same)
            past++;
        if (past == first)
            continue;
        size_t bytes = known->line[past - 1].end - from;
        *out = (struct hpack_field){.value = fr_view_make(text.ptr, bytes),
                                    .line = (uint16_t)first,
                                    .lines = (uint16_t)(past - first)};
        *at = past;
        return bytes;
    }
    return 0;
}

bool
hpack_lines_length(const struct hpack_encoder *encoder, const struct hpack_field *found,
                   uint64_t *out)
{
    const struct hpack_lines *known = encoder->lines;
    if (known->length_line - found->line >= found->lines)
        return false;
    *out = known->length;
    return true;
}

static struct fr_view
line_text(const struct hpack_lines *known, const struct hpack_field *found, size_t nth)
{
    uint32_t line = found->line + (uint32_t)nth, start = start_of(known, line);
    const char *text = found->value.ptr + (start - start_of(known, found->line));
    return fr_view_make(text, known->line[line].end - start);
}

struct hpack_field
hpack__line_field(const struct hpack_encoder *encoder, const struct hpack_field *found, size_t nth)
{
    struct fr_view text = line_text(encoder->lines, found, nth), name;
    text.len -= 2; /* its CRLF */
    (void)fr_view_split(&text, ':', &name);
    return (struct hpack_field){.name = name, .value = fr_view_make(text.ptr + 1, text.len - 1)};
}

/* ---- learning -------------------------------------------------------------------------------- */

static void
add(const struct hpack_table *table, struct hpack_lines *known, struct fr_view text, uint32_t entry)
{
    uint32_t start = start_of(known, known->count), age = table->added - entry;
    if (entry == 0 || age >= table->count)
        return;
    if (known->count == HPACK_LINES_MAX || text.len > HPACK_LINES_BYTES - start) {
        known->full = true;
        return;
    }
    memcpy(known->text + start, text.ptr, text.len);
    if (known->count == 0 || age > table->added - known->oldest)
        known->oldest = entry;
    known->line[known->count++] = (struct hpack_line){start + (uint32_t)text.len, entry};
}

static void
add_field(const struct hpack_table *table, struct hpack_lines *known,
          const struct hpack_field *field)
{
    uint32_t line = known->count;
    const char *end = field->value.ptr + field->value.len + 2;
    struct fr_view text = fr_view_make(field->name.ptr, (size_t)(end - field->name.ptr));
    if (!field->printed)
        return;
    bool is_length = fr_view_istarts(text, FR_VIEW(LENGTH_NAME));
    if (is_length && known->length_line < HPACK_LINES_MAX)
        return; /* one is enough */
    add(table, known, text, field->entry);
    if (is_length && known->count > line && fr_view_u64(field->value, &known->length))
        known->length_line = line;
}

static void
add_found(const struct hpack_table *table, struct hpack_lines *known, const struct hpack_lines *old,
          const struct hpack_field *found)
{
    for (size_t i = 0; i < found->lines; i++) {
        uint32_t line = found->line + (uint32_t)i, count = known->count;
        add(table, known, line_text(old, found, i), old->line[line].entry);
        if (line == old->length_line && known->count > count) {
            known->length_line = count;
            known->length = old->length;
        }
    }
}

static bool
has_found(const struct hpack_field *fields, size_t count)
{
    bool found = false;
    for (size_t i = 0; i < count; i++)
        found |= fields[i].lines > 0;
    return found;
}

void
hpack__lines_learn(struct hpack_encoder *encoder, const struct hpack_field *fields, size_t count)
{
    struct hpack_lines old, *known = encoder->lines;
    if (known && known->full && has_found(fields, count))
        return; /* what is left out would be learnt again and again */
    if (!known)
        known = encoder->lines = fr_alloc(sizeof(*known));
    if (!known)
        return;
    memcpy(&old, known, offsetof(struct hpack_lines, text));
    known->count = 0;
    known->full = false;
    known->length_line = HPACK_LINES_MAX;
    for (size_t i = 0; i < count; i++) {
        if (fields[i].lines > 0)
            add_found(&encoder->table, known, &old, &fields[i]);
        else
            add_field(&encoder->table, known, &fields[i]);
    }
}
