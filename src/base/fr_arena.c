/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_arena.c - chunks in a chain; the newest is filled first.
 */
#include "base/fr_arena.h"

#include "base/fr_mem.h"

#include <stdalign.h>

struct fr_arena_chunk {
    struct fr_arena_chunk *next;
    size_t used, cap;
    alignas(max_align_t) char data[];
};

#define ARENA_ALIGN alignof(max_align_t)

void
fr_arena_init(struct fr_arena *arena, size_t chunk_bytes, size_t max_bytes)
{
    *arena = (struct fr_arena){.chunk_bytes = chunk_bytes, .max_bytes = max_bytes};
}

static void
free_chain(struct fr_arena_chunk *chunk)
{
    while (chunk != NULL) {
        struct fr_arena_chunk *next = chunk->next;
        fr_free(chunk);
        chunk = next;
    }
}

void
fr_arena_fini(struct fr_arena *arena)
{
    free_chain(arena->chunk);
    arena->chunk = NULL;
    arena->used_bytes = 0;
}

void
fr_arena_reset(struct fr_arena *arena)
{
    struct fr_arena_chunk *kept = arena->chunk;
    if (kept == NULL)
        return;
    free_chain(kept->next);
    kept->next = NULL;
    if (kept->cap > arena->chunk_bytes) { /* an outsized one would stay for good */
        fr_arena_fini(arena);
        return;
    }
    kept->used = 0;
    arena->used_bytes = kept->cap;
}

void *
fr_arena_alloc(struct fr_arena *arena, size_t bytes)
{
    if (bytes > arena->max_bytes)
        return NULL;
    size_t rounded = (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    struct fr_arena_chunk *chunk = arena->chunk;
    if (chunk == NULL || chunk->cap - chunk->used < rounded) {
        size_t cap = rounded > arena->chunk_bytes ? rounded : arena->chunk_bytes;
        if (cap > arena->max_bytes - arena->used_bytes)
            cap = rounded; /* near the ceiling: only what is needed */
        if (cap > arena->max_bytes - arena->used_bytes)
            return NULL;
        chunk = fr_alloc(sizeof(*chunk) + cap);
        if (chunk == NULL)
            return NULL;
        chunk->cap = cap;
        chunk->next = arena->chunk;
        arena->chunk = chunk;
        arena->used_bytes += cap;
    }
    void *ptr = chunk->data + chunk->used;
    chunk->used += rounded;
    memset(ptr, 0, rounded);
    return ptr;
}

char *
fr_arena_dup(struct fr_arena *arena, struct fr_view view)
{
    if (view.len >= arena->max_bytes)
        return NULL;
    char *copy = fr_arena_alloc(arena, view.len + 1);
    if (copy != NULL && view.len)
        memcpy(copy, view.ptr, view.len);
    return copy;
}
