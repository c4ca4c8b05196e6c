/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_mem.c - the memory that stored responses live in: one stretch of address space as large as
 * the budget, in pages, each page cut into slots of one size.
 *
 * May touch:  base.
 * Threads:    any; one lock, held for a few dozen instructions.
 * Memory:     the budget, never more, whatever the mix of sizes and however long it churns: a page
 *             is resident once it was used, and is used again. The tables are counted with it.
 * When full:  NULL. The store evicts, and asks cache__mem_poorest which entries to evict when those
 *             that it would choose lie scattered: those together with which a whole page is free.
 * Cost:       no system call; the first touch of a page faults it in, where the kernel has large
 *             ones 2 MiB at once: a look-up among many objects would miss the addresses as well.
 *
 *     page:   [slot|owner][slot|owner] ... [slot|owner]      all of one class
 *             [slot                                   ]      a class of its own: the whole page
 *
 * Classes lie 64 bytes apart where they are small and at most a sixteenth apart up to a sixteenth
 * of a page; above it a page holds 15, 14, ... 2 slots. So slack is some percent of small objects,
 * and large ones are parts of whole pages with a rest in slots.
 */
#include "cache/cache_priv.h"

#include "base/fr_check.h"
#include "base/fr_lock.h"
#include "base/fr_mem.h"

#include <stdlib.h>

#define PAGE_BYTES_MIN 4096
#define PAGE_BYTES_MAX 65536
#define PAGES_WANTED 64              /* pages are as large as leaves at least so many */
#define OWNER_BYTES sizeof(uint32_t) /* the last ones of a slot; 0: it is free */
#define STEP_BYTES 64
#define SLOTS_FEW 16
#define CLASSES_MAX 96
#define SAMPLES 48
#define NONE UINT32_MAX

struct page {
    uint32_t next, prev; /* of its class's pages with room, or of the free ones */
    uint16_t class;      /* CLASSES_MAX: free */
    uint16_t live, fresh;
    uint16_t free_first; /* 1 + index; 0 = none */
    uint32_t owner;      /* of the one slot that is the whole page */
};

struct cache__mem {
    /* set once */
    char *base;
    size_t page_bytes, page_count;
    size_t class_count; /* the last one is the whole page */
    uint32_t class_bytes[CLASSES_MAX];
    struct page *pages;
    /* under the lock */
    struct fr_lock lock;
    uint32_t with_room[CLASSES_MAX];
    uint32_t free_first;
    size_t fresh; /* pages from here on were never used */
    uint64_t random;
    /* written under the lock, read without: atomic */
    uint64_t pages_free;
    uint64_t live_bytes[CACHE__KINDS];
};

static void
add(uint64_t *counter, uint64_t bytes)
{
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + bytes, __ATOMIC_RELAXED);
}

static void
classes_make(struct cache__mem *mem)
{
    size_t bytes = STEP_BYTES;
    while (bytes <= mem->page_bytes / SLOTS_FEW) {
        mem->class_bytes[mem->class_count++] = (uint32_t)bytes;
        size_t step = bytes / SLOTS_FEW / STEP_BYTES * STEP_BYTES;
        bytes += step > STEP_BYTES ? step : STEP_BYTES;
    }
    for (size_t slots = SLOTS_FEW - 1; slots >= 1; slots--) {
        bytes = mem->page_bytes / slots / 16 * 16;
        if (mem->class_count == 0 || bytes > mem->class_bytes[mem->class_count - 1])
            mem->class_bytes[mem->class_count++] = (uint32_t)bytes;
    }
    fr_insist(mem->class_count < CLASSES_MAX);
    for (size_t i = 0; i < CLASSES_MAX; i++)
        mem->with_room[i] = NONE;
}

static size_t
page_bytes_for(uint64_t bytes)
{
    size_t page = PAGE_BYTES_MIN;
    while (page < PAGE_BYTES_MAX && page * 2 * PAGES_WANTED <= bytes)
        page *= 2;
    return page;
}

uint64_t
cache__mem_tables_bytes(uint64_t bytes)
{
    return sizeof(struct cache__mem) + bytes / page_bytes_for(bytes) * sizeof(struct page);
}

struct cache__mem *
cache__mem_new(uint64_t bytes)
{
    struct cache__mem *mem = fr_alloc(sizeof(*mem));
    if (!mem)
        return NULL;
    mem->page_bytes = page_bytes_for(bytes);
    mem->page_count = (size_t)(bytes / mem->page_bytes);
    mem->pages = fr_alloc(mem->page_count * sizeof(*mem->pages));
    mem->base = mem->pages ? fr_mem_map_large(mem->page_count * mem->page_bytes) : NULL;
    if (!mem->base) {
        fr_free(mem->pages);
        fr_free(mem);
        return NULL;
    }
    for (size_t i = 0; i < mem->page_count; i++)
        mem->pages[i].class = CLASSES_MAX;
    mem->free_first = NONE;
    mem->pages_free = mem->page_count;
    mem->random = 0x9e3779b97f4a7c15u;
    classes_make(mem);
    fr_lock_init(&mem->lock);
    return mem;
}

void
cache__mem_free(struct cache__mem **mem)
{
    struct cache__mem *old = *mem;
    *mem = NULL;
    if (!old)
        return;
    fr_lock_fini(&old->lock);
    fr_mem_unmap(old->base, old->page_count * old->page_bytes);
    fr_free(old->pages);
    fr_free(old);
}

/* ---- classes and slots ----------------------------------------------------------------------- */

static bool
is_whole(const struct cache__mem *mem, size_t class)
{
    return class == mem->class_count - 1;
}

static size_t
class_of(const struct cache__mem *mem, size_t bytes)
{
    size_t low = 0, high = mem->class_count - 1;
    if (bytes > mem->class_bytes[high - 1] - OWNER_BYTES)
        return high;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (mem->class_bytes[middle] - OWNER_BYTES < bytes)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static char *
slot_at(const struct cache__mem *mem, const struct page *page, size_t index)
{
    char *start = mem->base + (size_t)(page - mem->pages) * mem->page_bytes;
    return start + index * mem->class_bytes[page->class];
}

static uint32_t *
owner_at(const struct cache__mem *mem, const struct page *page, char *slot)
{
    return (uint32_t *)(void *)(slot + mem->class_bytes[page->class] - OWNER_BYTES);
}

/* Of a free slot: 1 + the index of the next free one; 0 = none. */
static uint16_t *
next_at(char *slot)
{
    return (uint16_t *)(void *)slot;
}

static size_t
slot_count(const struct cache__mem *mem, size_t class)
{
    return mem->page_bytes / mem->class_bytes[class];
}

static void
room_unlink(struct cache__mem *mem, struct page *page)
{
    if (page->prev != NONE)
        mem->pages[page->prev].next = page->next;
    else
        mem->with_room[page->class] = page->next;
    if (page->next != NONE)
        mem->pages[page->next].prev = page->prev;
}

static void
room_link(struct cache__mem *mem, struct page *page)
{
    uint32_t index = (uint32_t)(page - mem->pages);
    page->prev = NONE;
    page->next = mem->with_room[page->class];
    if (page->next != NONE)
        mem->pages[page->next].prev = index;
    mem->with_room[page->class] = index;
}

static struct page *
page_take(struct cache__mem *mem, size_t class)
{
    struct page *page;
    if (mem->free_first != NONE) { /* those that are resident already */
        page = &mem->pages[mem->free_first];
        mem->free_first = page->next;
    } else if (mem->fresh < mem->page_count) {
        page = &mem->pages[mem->fresh++];
    } else {
        return NULL;
    }
    add(&mem->pages_free, (uint64_t)-1);
    *page = (struct page){.next = NONE, .prev = NONE, .class = (uint16_t) class};
    return page;
}

static void
page_give(struct cache__mem *mem, struct page *page)
{
    page->class = CLASSES_MAX;
    page->next = mem->free_first;
    mem->free_first = (uint32_t)(page - mem->pages);
    add(&mem->pages_free, 1);
}

static void *
slot_take(struct cache__mem *mem, size_t class, uint32_t owner)
{
    uint32_t index = mem->with_room[class];
    struct page *page = index == NONE ? NULL : &mem->pages[index];
    char *slot;
    if (!page) {
        page = page_take(mem, class);
        if (!page)
            return NULL;
        room_link(mem, page);
    }
    if (page->free_first) {
        size_t at = page->free_first - 1u;
        slot = slot_at(mem, page, at);
        page->free_first = *next_at(slot);
    } else {
        slot = slot_at(mem, page, page->fresh++);
    }
    page->live++;
    if (!page->free_first && page->fresh == slot_count(mem, class))
        room_unlink(mem, page);
    *owner_at(mem, page, slot) = owner;
    return slot;
}

static void
slot_give(struct cache__mem *mem, struct page *page, char *slot)
{
    bool full = !page->free_first && page->fresh == slot_count(mem, page->class);
    size_t at = (size_t)(slot - slot_at(mem, page, 0)) / mem->class_bytes[page->class];
    fr_insist(*owner_at(mem, page, slot) != 0);
    *owner_at(mem, page, slot) = 0;
    *next_at(slot) = page->free_first;
    page->free_first = (uint16_t)(at + 1);
    if (full)
        room_link(mem, page);
    if (--page->live == 0) {
        room_unlink(mem, page);
        page_give(mem, page);
    }
}

size_t
cache__mem_page_bytes(const struct cache__mem *mem)
{
    return mem->page_bytes;
}

void *
cache__mem_take(struct cache__mem *mem, size_t bytes, uint32_t owner, enum cache__kind kind)
{
    fr_require(bytes <= mem->page_bytes);
    size_t class = class_of(mem, bytes);
    void *out = NULL;
    fr_lock_take(&mem->lock);
    if (is_whole(mem, class)) {
        struct page *page = page_take(mem, class);
        if (page) {
            page->owner = owner;
            page->live = 1;
            out = slot_at(mem, page, 0);
        }
    } else {
        out = slot_take(mem, class, owner);
    }
    if (out)
        add(&mem->live_bytes[kind], bytes);
    fr_lock_give(&mem->lock);
    return out;
}

void
cache__mem_give(struct cache__mem *mem, void *ptr, size_t bytes, enum cache__kind kind)
{
    if (!ptr)
        return;
    size_t offset = (size_t)((char *)ptr - mem->base);
    fr_require(offset < mem->page_count * mem->page_bytes);
    struct page *page = &mem->pages[offset / mem->page_bytes];
    fr_lock_take(&mem->lock);
    fr_insist(page->live > 0);
    if (is_whole(mem, page->class)) {
        page->live = 0;
        page_give(mem, page);
    } else {
        slot_give(mem, page, ptr);
    }
    add(&mem->live_bytes[kind], (uint64_t)0 - bytes);
    fr_lock_give(&mem->lock);
}

bool
cache__mem_fits_less(const struct cache__mem *mem, size_t bytes, size_t less)
{
    return class_of(mem, less) < class_of(mem, bytes);
}

/* ---- which page would be free ---------------------------------------------------------------- */

static uint64_t
next_random(struct cache__mem *mem)
{
    mem->random ^= mem->random << 13;
    mem->random ^= mem->random >> 7;
    mem->random ^= mem->random << 17;
    return mem->random;
}

size_t
cache__mem_poorest(struct cache__mem *mem, uint32_t *out_owners, size_t max)
{
    const struct page *best = NULL;
    uint64_t best_bytes = UINT64_MAX;
    size_t count = 0;
    fr_lock_take(&mem->lock);
    for (size_t i = 0; i < SAMPLES && mem->fresh > 0; i++) {
        const struct page *page = &mem->pages[next_random(mem) % mem->fresh];
        if (page->class == CLASSES_MAX || is_whole(mem, page->class))
            continue;
        uint64_t bytes = (uint64_t)page->live * mem->class_bytes[page->class];
        if (bytes < best_bytes) {
            best = page;
            best_bytes = bytes;
        }
    }
    for (size_t at = 0; best && at < best->fresh && count < max; at++) {
        uint32_t owner = *owner_at(mem, best, slot_at(mem, best, at));
        if (owner != 0)
            out_owners[count++] = owner;
    }
    fr_lock_give(&mem->lock);
    return count;
}

void
cache__mem_stat(const struct cache__mem *mem, struct cache__mem_stat *out)
{
    uint64_t live = 0;
    for (size_t i = 0; i < CACHE__KINDS; i++) {
        out->live_bytes[i] = __atomic_load_n(&mem->live_bytes[i], __ATOMIC_RELAXED);
        live += out->live_bytes[i];
    }
    out->free_bytes = __atomic_load_n(&mem->pages_free, __ATOMIC_RELAXED) * mem->page_bytes;
    out->used_bytes = mem->page_count * mem->page_bytes - out->free_bytes;
    out->slack_bytes = out->used_bytes > live ? out->used_bytes - live : 0;
}
