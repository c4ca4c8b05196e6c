/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_disk_record.c - a response as bytes on disk, and back.
 *
 * May touch:  base, http.
 * Memory:     a unit (a record's head, or a piece of its body) at a time, in the caller's room.
 * Limits:     CACHE_DISK_UNIT_BYTES_MAX a head; what has a larger one is not written.
 * Trusts:     nothing read. Every front, head and piece ends in a keyed hash (SipHash-1-3, 64 bits)
 *             over its bytes, its record's birth and its number; the key is the file's own, random,
 *             so that no member can make bytes that look like a record, and what stood in the same
 *             place before never passes for what should.
 *
 *     [struct front, with its check]               where the record ends, and whose it is
 *     [struct fixed | tags key vary range head 0.. | check]
 *     [64 KiB of the body | check] ... [the rest of it, 0.. | check]
 *
 * A record is named by its birth: the stamp that it was written with. A body in memory knows the
 * birth of the record that has its bytes, so that no head comes to stand before another body. A
 * head may be written anew in its place, with a newer stamp and some slack to grow into. Where that
 * is cut off half way, the record is gone, and so is what it replaced; those behind it are not. The
 * front is not touched, which says where it ends and of which key it was.
 */
#include "cache/cache_disk_priv.h"

#include "base/fr_check.h"

#define RECORD_MAGIC 0x44435246u
#define SEGMENT_MAGIC 0x44435347u
#define ALIGN 8
#define TEXT_BYTES_MAX (CACHE_DISK_UNIT_BYTES_MAX - 2048)
#define IS_PART 1u
#define STALE_FORBIDDEN 2u
#define ALWAYS_VALIDATE 4u
#define AUTHORIZATION_GOOD 8u
#define SURROGATE 16u

#define HEAD_NUMBER 0 /* pieces count from 1 */
#define FRONT_NUMBER (UINT64_C(1) << 62)
#define SLACK_BYTES 64
#define SLACK_BYTES_FAR 256 /* what cannot be written anew from memory */

/* Fixed sizes, no holes. */
struct front {
    uint32_t magic, head_bytes; /* of the head with its check */
    uint64_t record_bytes;      /* of all */
    uint64_t sequence, birth;
    struct fr_hash128 hash; /* of the key */
    uint64_t check;
};
_Static_assert(sizeof(struct front) == CACHE_DISK_FIRST_BYTES, "as it is on disk");

struct fixed {
    uint64_t stamp, serial;
    struct fr_hash128 select;
    uint64_t body_bytes;
    int64_t lifetime_us, initial_age_us, response_us, while_revalidate_s, if_error_s;
    uint64_t stale;
    struct cache_piece piece;
    uint32_t flags, tag_count, key_len, vary_len, range_len, head_len;
};
_Static_assert(sizeof(struct fixed) == 136, "as it is on disk");
_Static_assert(sizeof(struct fixed) % ALIGN == 0, "");

struct segment_fixed {
    uint32_t magic, segment;
    uint64_t sequence;
    char none[CACHE_DISK_SEGMENT_HEAD_BYTES - 24];
    uint64_t check;
};
_Static_assert(sizeof(struct segment_fixed) == CACHE_DISK_SEGMENT_HEAD_BYTES, "as it is on disk");

static size_t
aligned(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static uint64_t
check_of(const struct fr_hash_key *hash_key, uint64_t birth, uint64_t number, struct fr_view bytes)
{
    struct fr_hash_key key = {hash_key->k0 ^ birth, hash_key->k1 + (number << 1 | 1)};
    return fr_hash64(&key, bytes.ptr, bytes.len);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

size_t
cache_disk_piece_bytes(uint64_t left)
{
    size_t bytes = left < CACHE_DISK_PIECE_BYTES ? (size_t)left : CACHE_DISK_PIECE_BYTES;
    return aligned(bytes) + sizeof(uint64_t);
}

static uint64_t
body_on_disk(uint64_t bytes)
{
    uint64_t whole = bytes / CACHE_DISK_PIECE_BYTES, rest = bytes % CACHE_DISK_PIECE_BYTES;
    return whole * cache_disk_piece_bytes(CACHE_DISK_PIECE_BYTES) +
           (rest > 0 ? cache_disk_piece_bytes(rest) : 0);
}

static size_t
text_bytes(const struct cache_entry *entry)
{
    const struct cache__part_of *part_of = cache__entry_part_of(entry);
    return entry->tag_count * sizeof(uint32_t) + entry->key_len + entry->vary_len +
           (part_of ? part_of->range.len : 0) + entry->head_len;
}

static size_t
head_least(size_t text)
{
    return sizeof(struct fixed) + aligned(text) + sizeof(uint64_t);
}

/* Of a new record. */
static size_t
head_on_disk(const struct cache_entry *entry)
{
    bool far = entry->body->bytes > CACHE_DISK_WHOLE_BYTES_MAX;
    return head_least(text_bytes(entry) + (far ? SLACK_BYTES_FAR : SLACK_BYTES));
}

uint64_t
cache_disk_record_bytes(const struct cache_entry *entry)
{
    if (text_bytes(entry) > TEXT_BYTES_MAX)
        return UINT64_MAX;
    return sizeof(struct front) + head_on_disk(entry) + body_on_disk(entry->body->bytes);
}

/* ---- encoding -------------------------------------------------------------------------------- */

void
cache_disk_encode_begin(struct cache_disk_encoder *encoder, const struct cache_disk *disk,
                        const struct cache_disk_job *job, uint64_t sequence)
{
    *encoder = (struct cache_disk_encoder){
        .disk = disk,
        .entry = job->entry,
        .stamp = job->stamp,
        .sequence = sequence,
        .left = cache_entry_body_bytes(job->entry),
    };
}

static char *
put(char *at, const void *data, size_t bytes)
{
    if (bytes)
        memcpy(at, data, bytes);
    return at + bytes;
}

static struct fixed
fixed_of(const struct cache_entry *entry, uint64_t stamp)
{
    const struct cache__freshness freshness = cache__entry_freshness(entry);
    const struct cache__part_of *part_of = cache__entry_part_of(entry);
    struct fixed fixed = {
        .stamp = stamp,
        .serial = __atomic_load_n(&entry->serial, __ATOMIC_RELAXED),
        .select = cache__entry_select(entry),
        .body_bytes = cache_entry_body_bytes(entry),
        .lifetime_us = freshness.lifetime_us,
        .initial_age_us = freshness.initial_age_us,
        .response_us = freshness.response_us,
        .while_revalidate_s = freshness.while_revalidate_s,
        .if_error_s = freshness.if_error_s,
        .stale = __atomic_load_n(&entry->stale, __ATOMIC_RELAXED),
        .flags = (freshness.stale_forbidden ? STALE_FORBIDDEN : 0) |
                 (freshness.always_validate ? ALWAYS_VALIDATE : 0) |
                 (freshness.authorization_good ? AUTHORIZATION_GOOD : 0) |
                 (freshness.surrogate ? SURROGATE : 0) | (part_of ? IS_PART : 0),
        .tag_count = entry->tag_count,
        .key_len = entry->key_len,
        .vary_len = entry->vary_len,
        .head_len = entry->head_len,
    };
    if (part_of) {
        fixed.piece = part_of->piece;
        fixed.range_len = (uint32_t)part_of->range.len;
    }
    return fixed;
}

/* Zeroes up to `whole`, then the check. Returns the unit's bytes. */
static size_t
seal(const struct fr_hash_key *hash_key, uint64_t birth, uint64_t number, char *unit, size_t bytes,
     size_t whole)
{
    memset(unit + bytes, 0, whole - bytes);
    uint64_t check = check_of(hash_key, birth, number, fr_view_make(unit, whole));
    memcpy(unit + whole, &check, sizeof(check));
    return whole + sizeof(check);
}

static void
front_seal(const struct fr_hash_key *hash_key, struct front *front)
{
    front->check = check_of(hash_key, front->birth, FRONT_NUMBER,
                            fr_view_make((const char *)front, offsetof(struct front, check)));
}

bool
cache_disk_encode_head(const struct cache_disk *disk, const struct cache_entry *entry,
                       uint64_t stamp, uint64_t birth, size_t bytes, char *out)
{
    const struct cache__part_of *part_of = cache__entry_part_of(entry);
    struct fixed fixed = fixed_of(entry, stamp);
    if (head_least(text_bytes(entry)) > bytes)
        return false;
    char *at = put(out, &fixed, sizeof(fixed));
    at = put(at, cache__entry_tags(entry), entry->tag_count * sizeof(uint32_t));
    at = put(at, cache__entry_key(entry).ptr, entry->key_len);
    at = put(at, cache__entry_vary(entry).ptr, entry->vary_len);
    if (part_of)
        at = put(at, part_of->range.ptr, part_of->range.len);
    at = put(at, cache_entry_head(entry).ptr, entry->head_len);
    (void)seal(cache__disk_map_of(disk)->hash_key, birth, HEAD_NUMBER, out, (size_t)(at - out),
               bytes - sizeof(uint64_t));
    return true;
}

/* Front and head. */
static size_t
encode_begin(const struct cache_disk_encoder *encoder, char *out)
{
    const struct cache_entry *entry = encoder->entry;
    size_t head = head_on_disk(entry);
    struct front front = {
        .magic = RECORD_MAGIC,
        .head_bytes = (uint32_t)head,
        .record_bytes = cache_disk_record_bytes(entry),
        .sequence = encoder->sequence,
        .birth = encoder->stamp,
        .hash = cache__entry_hash(entry),
    };
    front_seal(cache__disk_map_of(encoder->disk)->hash_key, &front);
    memcpy(out, &front, sizeof(front));
    fr_insist(cache_disk_encode_head(encoder->disk, entry, encoder->stamp, encoder->stamp, head,
                                     out + sizeof(front)));
    return sizeof(front) + head;
}

size_t
cache_disk_encode(struct cache_disk_encoder *encoder, char *out)
{
    const struct fr_hash_key *hash_key = cache__disk_map_of(encoder->disk)->hash_key;
    size_t done = 0;
    struct fr_view part;
    if (!encoder->head_done) {
        encoder->head_done = true;
        return encode_begin(encoder, out);
    }
    if (encoder->left == 0)
        return 0;
    size_t want =
        encoder->left < CACHE_DISK_PIECE_BYTES ? (size_t)encoder->left : CACHE_DISK_PIECE_BYTES;
    while (done < want && cache_entry_body(encoder->entry, encoder->part, &part)) {
        size_t bytes = part.len - encoder->part_offset;
        if (bytes > want - done)
            bytes = want - done;
        (void)put(out + done, part.ptr + encoder->part_offset, bytes);
        done += bytes;
        encoder->part_offset += bytes;
        if (encoder->part_offset == part.len) {
            encoder->part++;
            encoder->part_offset = 0;
        }
    }
    fr_insist(done == want);
    encoder->left -= done;
    return seal(hash_key, encoder->stamp, ++encoder->piece, out, done, aligned(done));
}

/* ---- reading --------------------------------------------------------------------------------- */

static struct front
front_of(struct fr_view bytes)
{
    struct front front;
    memcpy(&front, bytes.ptr, sizeof(front));
    return front;
}

size_t
cache_disk_head_bytes(struct fr_view bytes)
{
    if (bytes.len < sizeof(struct front))
        return 0;
    struct front front = front_of(bytes);
    bool good = front.magic == RECORD_MAGIC && front.head_bytes >= head_least(0) &&
                front.head_bytes <= CACHE_DISK_UNIT_BYTES_MAX - sizeof(front) &&
                front.head_bytes % ALIGN == 0;
    return good ? sizeof(front) + front.head_bytes : 0;
}

static bool
unit_good(const struct fr_hash_key *hash_key, uint64_t birth, uint64_t number, struct fr_view unit)
{
    uint64_t check;
    if (unit.len < sizeof(check))
        return false;
    struct fr_view bytes = fr_view_make(unit.ptr, unit.len - sizeof(check));
    memcpy(&check, unit.ptr + bytes.len, sizeof(check));
    return check == check_of(hash_key, birth, number, bytes);
}

bool
cache__record_front(const struct fr_hash_key *hash_key, struct fr_view bytes,
                    struct cache__record *out)
{
    size_t head_bytes = cache_disk_head_bytes(bytes);
    if (head_bytes == 0)
        return false;
    struct front front = front_of(bytes);
    if (!unit_good(hash_key, front.birth, FRONT_NUMBER, fr_view_make(bytes.ptr, sizeof(front))) ||
        front.birth == 0 || front.record_bytes > UINT32_MAX || front.record_bytes < head_bytes ||
        front.record_bytes % ALIGN != 0)
        return false;
    *out = (struct cache__record){
        .hash = front.hash,
        .birth = front.birth,
        .sequence = front.sequence,
        .record_bytes = front.record_bytes,
        .head_bytes = head_bytes,
    };
    return true;
}

static struct fr_view
take(const char **at, size_t bytes)
{
    struct fr_view out = fr_view_make(*at, bytes);
    *at += bytes;
    return out;
}

/* Every length within bounds, and their sum what it should be: the file's key is secret, and still
 * no index is built on trust. */
static bool
lengths_fit(const struct cache__record *record, const struct fixed *fixed)
{
    uint64_t text = (uint64_t)fixed->tag_count * sizeof(uint32_t) + fixed->key_len +
                    fixed->vary_len + fixed->range_len + fixed->head_len;
    if (fixed->tag_count > CACHE__TAGS_MAX || fixed->key_len > CACHE__KEY_BYTES_MAX ||
        fixed->vary_len > CACHE__VARY_BYTES_MAX || text > TEXT_BYTES_MAX ||
        record->head_bytes - sizeof(struct front) < head_least((size_t)text))
        return false;
    if (fixed->body_bytes > UINT32_MAX || fixed->stale > UINT32_MAX ||
        fixed->stamp < record->birth ||
        record->record_bytes != record->head_bytes + body_on_disk(fixed->body_bytes))
        return false;
    if (!(fixed->flags & IS_PART))
        return fixed->range_len == 0;
    return fixed->piece.first <= fixed->piece.last && fixed->piece.last < fixed->piece.total;
}

static void
record_fill(struct cache__record *out, const struct fixed *fixed, const char *at)
{
    out->select = fixed->select;
    out->freshness = (struct cache__freshness){
        .lifetime_us = fixed->lifetime_us,
        .initial_age_us = fixed->initial_age_us,
        .response_us = fixed->response_us,
        .while_revalidate_s = fixed->while_revalidate_s,
        .if_error_s = fixed->if_error_s,
        .stale_forbidden = fixed->flags & STALE_FORBIDDEN,
        .always_validate = fixed->flags & ALWAYS_VALIDATE,
        .authorization_good = fixed->flags & AUTHORIZATION_GOOD,
        .surrogate = fixed->flags & SURROGATE,
    };
    out->is_part = fixed->flags & IS_PART;
    out->stale = (uint32_t)fixed->stale;
    out->stamp = fixed->stamp;
    out->serial = fixed->serial;
    out->body_bytes = fixed->body_bytes;
    out->tag_count = fixed->tag_count;
    out->tags = take(&at, fixed->tag_count * sizeof(uint32_t)).ptr;
    out->key = take(&at, fixed->key_len);
    out->vary = take(&at, fixed->vary_len);
    out->part_of = (struct cache__part_of){fixed->piece, take(&at, fixed->range_len)};
    out->head = take(&at, fixed->head_len);
}

bool
cache__record_read(const struct fr_hash_key *hash_key, struct fr_view bytes,
                   struct cache__record *out)
{
    struct cache__record record;
    struct fixed fixed;
    if (!cache__record_front(hash_key, bytes, &record) || bytes.len < record.head_bytes)
        return false;
    struct fr_view head =
        fr_view_make(bytes.ptr + sizeof(struct front), record.head_bytes - sizeof(struct front));
    memcpy(&fixed, head.ptr, sizeof(fixed));
    if (!unit_good(hash_key, record.birth, HEAD_NUMBER, head) || !lengths_fit(&record, &fixed))
        return false;
    record_fill(&record, &fixed, head.ptr + sizeof(fixed));
    *out = record;
    return true;
}

bool
cache_disk_piece_good(const struct cache_disk *disk, uint64_t birth, uint64_t piece,
                      struct fr_view unit)
{
    return unit_good(cache__disk_map_of(disk)->hash_key, birth, piece, unit);
}

bool
cache_disk_piece_right(const struct cache_disk *disk, const struct cache_disk_place *place,
                       uint64_t number, struct fr_view padded, uint64_t check)
{
    return check == check_of(cache__disk_map_of(disk)->hash_key, place->birth, number + 1, padded);
}

uint64_t
cache_disk_piece_at(const struct cache_disk *disk, const struct cache_entry *entry,
                    const struct cache_disk_place *place, uint64_t number, size_t *out_bytes)
{
    uint64_t body = cache_entry_body_bytes(entry), first = number * CACHE_DISK_PIECE_BYTES;
    uint64_t record =
        cache_disk_segment_at(cache_disk_layout_of(disk), place->segment) + place->offset;
    fr_require(first < body);
    *out_bytes = cache_disk_piece_bytes(body - first) - sizeof(uint64_t);
    return record + place->bytes - body_on_disk(body) + body_on_disk(first);
}

uint64_t
cache_disk_head_at(const struct cache_disk *disk, const struct cache_entry *entry,
                   const struct cache_disk_place *place, size_t *out_bytes)
{
    uint64_t record =
        cache_disk_segment_at(cache_disk_layout_of(disk), place->segment) + place->offset;
    uint64_t rest = sizeof(struct front) + body_on_disk(cache_entry_body_bytes(entry));
    uint64_t room = place->bytes > rest ? place->bytes - rest : 0;
    bool fits = room >= head_least(text_bytes(entry)) &&
                room <= CACHE_DISK_UNIT_BYTES_MAX - sizeof(struct front);
    *out_bytes = fits ? (size_t)room : 0;
    return record + sizeof(struct front);
}

bool
cache_disk_reseat(const struct cache_disk *disk, const struct cache_disk_place *place, char *head,
                  size_t bytes, uint64_t sequence)
{
    const struct fr_hash_key *hash_key = cache__disk_map_of(disk)->hash_key;
    struct cache__record record;
    if (!cache__record_read(hash_key, fr_view_make(head, bytes), &record) ||
        record.head_bytes != bytes || record.birth != place->birth ||
        record.record_bytes != place->bytes)
        return false;
    struct front front = front_of(fr_view_make(head, bytes));
    front.sequence = sequence;
    front_seal(hash_key, &front);
    memcpy(head, &front, sizeof(front));
    return true;
}

/* ---- segments -------------------------------------------------------------------------------- */

void
cache_disk_segment_head(const struct cache_disk *disk, uint32_t segment, uint64_t sequence,
                        char out[CACHE_DISK_SEGMENT_HEAD_BYTES])
{
    struct segment_fixed fixed;
    memset(&fixed, 0, sizeof(fixed));
    fixed.magic = SEGMENT_MAGIC;
    fixed.segment = segment;
    fixed.sequence = sequence;
    fixed.check =
        check_of(cache__disk_map_of(disk)->hash_key, sequence, segment,
                 fr_view_make((const char *)&fixed, offsetof(struct segment_fixed, check)));
    memcpy(out, &fixed, sizeof(fixed));
}

uint64_t
cache_disk_segment_sequence(const struct cache_disk *disk, uint32_t segment, struct fr_view head)
{
    struct segment_fixed fixed;
    char should[CACHE_DISK_SEGMENT_HEAD_BYTES];
    if (head.len < sizeof(fixed))
        return 0;
    memcpy(&fixed, head.ptr, sizeof(fixed));
    cache_disk_segment_head(disk, segment, fixed.sequence, should);
    bool good = memcmp(head.ptr, should, sizeof(should)) == 0;
    return good && fixed.sequence > cache_disk_left(disk) ? fixed.sequence : 0;
}
