/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_body.c - the bytes of a stored response, in parts.
 *
 * May touch:  base.
 * Threads:    one fills it; once its entry is stored it is constant, but for the counted reference.
 * Memory:     the store's, in pieces of at most a page. The first part stands behind the struct, in
 *             the same piece: what is small is one piece. Further parts are noted in tables.
 *
 *     [body | first part ....]  -> [table: part part part ...] -> [table: ...]
 *     [body | whose key]           a far one: it has a length, and no bytes here
 *
 * Which record on disk has the same bytes is noted where it costs nothing: in the first table, or,
 * where there is none, in its place, as an odd number.
 */
#include "cache/cache_priv.h"

#include "base/fr_check.h"

#define FIRST_BYTES 2048 /* of a body whose length nobody knows */
#define TABLE_PARTS_MIN 8
#define TABLE_PARTS_MAX 1024

struct table {
    struct table *next;
    uint64_t counted_bytes; /* the first one's: of all tables and the parts in them */
    uint64_t birth;         /* the first one's; atomic */
    uint32_t count, cap;
    struct cache__part parts[];
};

static size_t
table_bytes(size_t parts)
{
    return sizeof(struct table) + parts * sizeof(struct cache__part);
}

static char *
first_data(const struct cache__body *body)
{
    return (char *)(uintptr_t)(body + 1);
}

/* The first one; or NULL. */
static struct table *
table_of(const struct cache__body *body)
{
    uint64_t more = __atomic_load_n(&body->more, __ATOMIC_RELAXED);
    return more & 1 ? NULL : (struct table *)(uintptr_t)more;
}

uint64_t
cache__body_birth(const struct cache__body *body)
{
    uint64_t more = __atomic_load_n(&body->more, __ATOMIC_RELAXED);
    if (more & 1)
        return more >> 1;
    const struct table *table = (const struct table *)(uintptr_t)more;
    return table ? __atomic_load_n(&table->birth, __ATOMIC_RELAXED) : 0;
}

void
cache__body_set_birth(struct cache__body *body, uint64_t birth)
{
    struct table *table = table_of(body);
    if (table)
        __atomic_store_n(&table->birth, birth, __ATOMIC_RELAXED);
    else
        __atomic_store_n(&body->more, birth << 1 | 1, __ATOMIC_RELAXED);
}

static size_t
first_cap(const struct cache__body *body)
{
    return body->far ? 0 : body->piece_bytes - sizeof(*body);
}

/* It is filled before all others. */
static size_t
first_len(const struct cache__body *body)
{
    size_t cap = first_cap(body);
    return body->bytes < cap ? (size_t)body->bytes : cap;
}

struct cache__body *
cache__body_new(struct cache_store *store, uint32_t owner, uint64_t bytes)
{
    size_t max = cache__store_piece_max(store);
    size_t first = bytes > 0 ? sizeof(struct cache__body) + (bytes < max ? (size_t)bytes : max)
                             : sizeof(struct cache__body);
    if (first > max)
        first = max;
    struct cache__body *body = cache__store_alloc(store, first, owner, CACHE__KIND_BODY);
    if (body)
        *body = (struct cache__body){.refs = 1, .piece_bytes = first & INT32_MAX};
    return body;
}

struct cache__body *
cache__body_new_far(struct cache_store *store, uint32_t owner, uint64_t bytes,
                    const struct cache__far *far, uint64_t birth)
{
    size_t piece = sizeof(struct cache__body) + sizeof(*far);
    struct cache__body *body = cache__store_alloc(store, piece, owner, CACHE__KIND_BODY);
    if (!body)
        return NULL;
    *body =
        (struct cache__body){.refs = 1, .piece_bytes = piece & INT32_MAX, .far = 1, .bytes = bytes};
    memcpy(body + 1, far, sizeof(*far));
    cache__body_set_birth(body, birth);
    return body;
}

void
cache__filling_init(struct cache__filling *filling, const struct cache__body *body)
{
    *filling = (struct cache__filling){.room = first_cap(body)};
}

uint64_t
cache__body_counted(const struct cache__body *body)
{
    const struct table *table = table_of(body);
    return body->piece_bytes + (table ? table->counted_bytes : 0);
}

struct cache__body *
cache__body_ref(struct cache__body *body)
{
    __atomic_fetch_add(&body->refs, 1, __ATOMIC_RELAXED);
    return body;
}

void
cache__body_unref(struct cache_store *store, struct cache__body *body)
{
    if (!body || __atomic_fetch_sub(&body->refs, 1, __ATOMIC_ACQ_REL) > 1)
        return;
    struct table *table = table_of(body);
    while (table) {
        struct table *next = table->next;
        for (uint32_t i = 0; i < table->count; i++)
            cache__store_give(store, table->parts[i].data, table->parts[i].cap, CACHE__KIND_BODY);
        cache__store_give(store, table, table_bytes(table->cap), CACHE__KIND_BODY);
        table = next;
    }
    cache__store_give(store, body, body->piece_bytes, CACHE__KIND_BODY);
}

static struct table *
table_last(const struct cache__body *body)
{
    struct table *table = table_of(body);
    while (table && table->next)
        table = table->next;
    return table;
}

static void
count(struct cache__body *body, uint64_t bytes)
{
    table_of(body)->counted_bytes += bytes;
}

/* A place for one more part; NULL when there is no room. */
static struct cache__part *
part_place(struct cache_store *store, uint32_t owner, struct cache__body *body,
           struct cache__filling *filling)
{
    struct table *last = filling->last;
    if (last && last->count < last->cap)
        return &last->parts[last->count];
    size_t fits = (cache__store_piece_max(store) - sizeof(struct table)) / sizeof(last->parts[0]);
    size_t cap = last ? 4 * (size_t)last->cap : TABLE_PARTS_MIN;
    if (cap > TABLE_PARTS_MAX)
        cap = TABLE_PARTS_MAX;
    if (cap > fits)
        cap = fits;
    struct table *table = cache__store_alloc(store, table_bytes(cap), owner, CACHE__KIND_BODY);
    if (!table)
        return NULL;
    *table = (struct table){.cap = (uint32_t)cap};
    if (last)
        last->next = table;
    else
        __atomic_store_n(&body->more, (uint64_t)(uintptr_t)table, __ATOMIC_RELAXED);
    filling->last = table;
    count(body, table_bytes(cap));
    return &table->parts[0];
}

static bool
part_add(struct cache_store *store, uint32_t owner, struct cache__body *body,
         struct cache__filling *filling, size_t bytes)
{
    struct cache__part *part = part_place(store, owner, body, filling);
    if (!part)
        return false;
    char *data = cache__store_alloc(store, bytes, owner, CACHE__KIND_BODY);
    if (!data)
        return false;
    *part = (struct cache__part){.data = data, .len = 0, .cap = (uint32_t)bytes};
    ((struct table *)filling->last)->count++;
    count(body, bytes);
    filling->room += bytes;
    return true;
}

bool
cache__body_reserve(struct cache_store *store, uint32_t owner, struct cache__body *body,
                    struct cache__filling *filling, uint64_t bytes)
{
    size_t max = cache__store_piece_max(store);
    while (filling->room < bytes) {
        uint64_t need = bytes - filling->room;
        /* A rest that would waste much of a page is two pieces. */
        size_t piece = need >= max ? max : (size_t)need;
        if (piece < max && piece > max / 2 + max / 4)
            piece = max;
        else if (piece < max && piece > max / 2)
            piece = max / 2 - sizeof(uint64_t);
        if (!part_add(store, owner, body, filling, piece))
            return false;
    }
    return true;
}

bool
cache__body_grow(struct cache_store *store, uint32_t owner, struct cache__body *body,
                 struct cache__filling *filling)
{
    size_t max = cache__store_piece_max(store);
    uint64_t bytes = body->bytes < FIRST_BYTES ? FIRST_BYTES : body->bytes;
    return part_add(store, owner, body, filling, bytes < max ? (size_t)bytes : max);
}

/* Of those behind the first. */
static struct cache__part *
part_at(const struct cache__body *body, size_t index)
{
    struct table *table = table_of(body);
    index--;
    while (table && index >= table->count) {
        index -= table->count;
        table = table->next;
    }
    return table ? &table->parts[index] : NULL;
}

/* Any. */
static bool
part_get(const struct cache__body *body, size_t index, struct cache__part *out)
{
    if (index == 0) {
        *out = (struct cache__part){first_data(body), (uint32_t)first_len(body),
                                    (uint32_t)first_cap(body)};
        return true;
    }
    const struct cache__part *part = part_at(body, index);
    if (part)
        *out = *part;
    return part != NULL;
}

/* Fills up the part that is being filled, or goes on to the next one. Returns how much it took. */
static size_t
append_some(struct cache__body *body, struct cache__filling *filling, struct fr_view data)
{
    struct cache__part *part = filling->part;
    char *to = part ? part->data : first_data(body);
    size_t len = part ? part->len : first_len(body);
    size_t bytes = (part ? part->cap : first_cap(body)) - len;
    if (bytes == 0) {
        filling->part = part_at(body, ++filling->index);
        return 0;
    }
    if (bytes > data.len)
        bytes = data.len;
    memcpy(to + len, data.ptr, bytes);
    if (part)
        part->len += (uint32_t)bytes;
    body->bytes += bytes;
    filling->room -= bytes;
    return bytes;
}

size_t
cache__body_append(struct cache__body *body, struct cache__filling *filling, struct fr_view data)
{
    size_t done = 0;
    while (done < data.len && filling->room > 0)
        done += append_some(body, filling, fr_view_make(data.ptr + done, data.len - done));
    return done;
}

void
cache__body_write(struct cache__body *body, uint64_t at, struct fr_view data)
{
    struct cache__part part;
    size_t done = 0;
    for (size_t i = 0; done < data.len && part_get(body, i, &part); i++) {
        if (at >= part.cap) {
            at -= part.cap;
            continue;
        }
        size_t bytes = part.cap - (size_t)at;
        if (bytes > data.len - done)
            bytes = data.len - done;
        memcpy(part.data + at, data.ptr + done, bytes);
        done += bytes;
        at = 0;
    }
    fr_require(done == data.len);
}

void
cache__body_set_whole(struct cache__body *body, uint64_t bytes)
{
    struct cache__part *part;
    body->bytes = bytes;
    bytes -= first_len(body);
    for (size_t i = 1; (part = part_at(body, i)); i++) {
        part->len = bytes < part->cap ? (uint32_t)bytes : part->cap;
        bytes -= part->len;
    }
}

void
cache__body_trim(struct cache_store *store, uint32_t owner, struct cache__body *body)
{
    struct table *table = table_last(body);
    if (!table || table->count == 0)
        return;
    struct cache__part *part = &table->parts[table->count - 1];
    if (part->len == part->cap || part->len == 0 ||
        !cache__store_fits_less(store, part->cap, part->len))
        return;
    char *data = cache__store_alloc(store, part->len, owner, CACHE__KIND_BODY);
    if (!data)
        return; /* it stays as it is, and stays counted */
    memcpy(data, part->data, part->len);
    cache__store_give(store, part->data, part->cap, CACHE__KIND_BODY);
    count(body, part->len - (uint64_t)part->cap);
    part->data = data;
    part->cap = part->len;
}

bool
cache__body_part(const struct cache__body *body, size_t index, struct fr_view *out)
{
    struct cache__part part;
    if (body->far || !part_get(body, index, &part))
        return false;
    *out = fr_view_make(part.data, part.len);
    return true;
}
