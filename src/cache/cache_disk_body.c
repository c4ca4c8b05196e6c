/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_disk_body.c - bodies that stay on disk: what is in memory of such a response is its head,
 * and the name of the record that holds the rest.
 *
 * May touch:  base, http.
 * Threads:    any.
 * Memory:     CACHE_DISK_WINDOW_PIECES pieces for each that is being sent, of the store's; for all
 *             of them together a CACHE_DISK_WINDOWS_SHARE'th of it.
 * When full:  as if it was not on disk, and counted (no_room).
 * Trusts:     nothing read: a piece is checked by itself before any of it is sent.
 *
 * A record is named by its birth, not by its place, because it moves. Who is being sent one goes on
 * reading where it began, also after the record was replaced or purged: as with a body in memory,
 * the answer that has begun is brought to its end. What was written over it since fails its check.
 */
#include "cache/cache_disk_priv.h"

#include "base/fr_check.h"

static bool
locate(struct cache_disk *disk, const struct cache_entry *entry, struct cache_disk_place *out)
{
    const struct cache__far *far = cache__body_far(entry->body);
    fr_require(far);
    return cache__spots_locate(cache__disk_spots(disk), far->hash, cache__body_birth(entry->body),
                               out);
}

bool
cache__disk_body_there(struct cache_disk *disk, const struct cache_entry *entry)
{
    struct cache_disk_place place;
    return locate(disk, entry, &place);
}

bool
cache_disk_body_open(struct cache_disk *disk, const struct cache_entry *entry,
                     struct cache_disk_place *out)
{
    if (!locate(disk, entry, out))
        return false;
    if (cache__disk_window_take(disk))
        return true;
    cache_disk_count_no_room(disk);
    return false;
}

void
cache_disk_body_close(struct cache_disk *disk)
{
    cache__disk_window_give(disk);
}

char *
cache_disk_room_take(const struct cache_entry *entry)
{
    uint32_t owner = cache__owner_of(cache__entry_hash(entry));
    fr_require(cache__store_piece_max(entry->store) >= CACHE_DISK_PIECE_BYTES);
    return cache__store_alloc(entry->store, CACHE_DISK_PIECE_BYTES, owner, CACHE__KIND_BODY);
}

void
cache_disk_room_give(const struct cache_entry *entry, char *room)
{
    cache__store_give(entry->store, room, CACHE_DISK_PIECE_BYTES, CACHE__KIND_BODY);
}

bool
cache_disk_body_again(struct cache_disk *disk, const struct cache_entry *entry,
                      struct cache_disk_place *place)
{
    struct cache_disk_place now;
    if (!locate(disk, entry, &now) ||
        (now.segment == place->segment && now.offset == place->offset))
        return false;
    *place = now;
    return true;
}

static bool
has_body(void *ctx, struct cache_entry *entry)
{
    return entry->body == ctx;
}

void
cache_disk_body_lost(struct cache_disk *disk, struct cache_entry *entry,
                     const struct cache_disk_place *place, bool bad)
{
    if (bad)
        cache_disk_found_bad(disk, place);
    else
        cache_disk_drop(disk, place);
    cache__store_walk_key(entry->store, cache__entry_key(entry), has_body, entry->body);
}
