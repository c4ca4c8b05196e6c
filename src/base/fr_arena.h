/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_arena.h - memory that is dropped whole: an exchange's, a parse's.
 */
#ifndef FR_ARENA_H
#define FR_ARENA_H

#include "base/fr_view.h"

struct fr_arena_chunk;
struct fr_arena {
    struct fr_arena_chunk *chunk;
    size_t chunk_bytes; /* size of an ordinary chunk */
    size_t used_bytes;  /* sum over all chunks, slack included */
    size_t max_bytes;
};

void fr_arena_init(struct fr_arena *arena, size_t chunk_bytes, size_t max_bytes);
void fr_arena_fini(struct fr_arena *arena);
void fr_arena_reset(struct fr_arena *arena); /* keeps one chunk */

/* Zeroed, aligned for any type; NULL past the ceiling or when memory is out. */
void *fr_arena_alloc(struct fr_arena *arena, size_t bytes);
/* A NUL-terminated copy; NULL as above. */
char *fr_arena_dup(struct fr_arena *arena, struct fr_view view);

#endif
