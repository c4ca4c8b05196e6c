/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_memory.c - the heap of nghttp2, through fr_mem, every block known to its session.
 *
 * May touch:  base.
 * Memory:     32 bytes beside each block, which is rounded up to 64. What is freed is kept for all
 *             sessions of a worker, SPARE_BYTES_MAX at most: a stream and its answer take seven
 *             blocks, of more streams at once than the heap keeps at hand. Past that blocks go back
 *             to the heap, and are counted.
 * When full:  nghttp2 is told, and what it is left with cannot be trusted: where a queue could not
 *             grow it frees what a stream still points to (1.52, priorities of RFC 9218). So a
 *             session that ran out of memory is used no more, and its blocks are freed one by one
 *             instead of by nghttp2_session_del.
 */
#include "http/http2_priv.h"

#include "base/fr_mem.h"
#include "base/fr_poison.h"

#include <assert.h> /* static_assert */

#define STEP_BYTES 64
#define SIZES 16 /* in such steps: what is larger is nobody's spare */
#define SPARE_BYTES_MAX 1048576

/* In front of each block; fr_mem's blocks are aligned to 16 bytes, and this keeps that. */
struct block {
    struct fr_list link; /* of its session's, or of the spare ones of its size */
    size_t bytes;        /* this struct included */
    size_t unused;
};
static_assert(sizeof(struct block) == 32, "a block behind it must stay aligned");

struct http2_spare {
    struct fr_list blocks[SIZES];
    size_t bytes;
    uint64_t over_count;
};

/* ---- blocks of sessions that have no use for them -------------------------------------------- */

struct http2_spare *
http2_spare_new(void)
{
    struct http2_spare *spare = fr_xalloc(sizeof(*spare));
    for (size_t i = 0; i < SIZES; i++)
        fr_list_init(&spare->blocks[i]);
    return spare;
}

void
http2_spare_free(struct http2_spare **spare)
{
    for (size_t i = 0; *spare && i < SIZES; i++) {
        struct fr_list *link;
        while ((link = fr_list_pop_front(&(*spare)->blocks[i])))
            fr_free(FR_CONTAINER(link, struct block, link));
    }
    fr_free(*spare);
    *spare = NULL;
}

uint64_t
http2_spare_over(const struct http2_spare *spare)
{
    return spare->over_count;
}

static struct block *
spare_take(struct http2_spare *spare, size_t bytes)
{
    struct fr_list *link = fr_list_pop_front(&spare->blocks[bytes / STEP_BYTES - 1]);
    if (!link)
        return NULL;
    struct block *block = FR_CONTAINER(link, struct block, link);
    spare->bytes -= bytes;
    FR_UNPOISON(block + 1, bytes - sizeof(*block));
    return block;
}

static void
spare_give(struct http2_spare *spare, struct block *block)
{
    if (!spare || block->bytes > SIZES * STEP_BYTES) {
        fr_free(block);
        return;
    }
    if (spare->bytes + block->bytes > SPARE_BYTES_MAX) {
        spare->over_count++;
        fr_free(block);
        return;
    }
    FR_POISON(block + 1, block->bytes - sizeof(*block));
    fr_list_push_front(&spare->blocks[block->bytes / STEP_BYTES - 1], &block->link);
    spare->bytes += block->bytes;
}

/* ---- what nghttp2 calls ---------------------------------------------------------------------- */

static void *
mem_alloc(size_t bytes, void *ctx)
{
    struct http2_session *session = ctx;
    struct block *block = NULL;
    size_t all;
    if (__builtin_add_overflow(bytes, sizeof(*block) + STEP_BYTES - 1, &all))
        return NULL;
    all -= all % STEP_BYTES;
    if (session->limits.spare && all <= SIZES * STEP_BYTES)
        block = spare_take(session->limits.spare, all);
    if (!block) /* not zeroed: nghttp2 asks where it wants that */
        block = fr_realloc(NULL, all);
    if (!block)
        return NULL;
    block->bytes = all;
    fr_list_push_back(&session->blocks, &block->link);
    return block + 1;
}

static void *
mem_calloc(size_t count, size_t bytes, void *ctx)
{
    size_t all;
    if (__builtin_mul_overflow(count, bytes, &all))
        return NULL;
    void *ptr = mem_alloc(all, ctx);
    return ptr ? memset(ptr, 0, all) : NULL;
}

static void
mem_free(void *ptr, void *ctx)
{
    struct http2_session *session = ctx;
    if (!ptr)
        return;
    struct block *block = (struct block *)ptr - 1;
    fr_list_remove(&block->link);
    spare_give(session->limits.spare, block);
}

static void *
mem_realloc(void *ptr, size_t bytes, void *ctx)
{
    struct block *block = ptr ? (struct block *)ptr - 1 : NULL;
    if (block && bytes <= block->bytes - sizeof(*block))
        return ptr;
    void *moved = mem_alloc(bytes, ctx);
    if (block && moved) { /* the old one stays where it cannot grow */
        memcpy(moved, ptr, block->bytes - sizeof(*block));
        mem_free(ptr, ctx);
    }
    return moved;
}

nghttp2_mem
http2__mem(struct http2_session *session)
{
    fr_list_init(&session->blocks);
    return (nghttp2_mem){session, mem_alloc, mem_free, mem_calloc, mem_realloc};
}

void
http2__mem_free_all(struct http2_session *session)
{
    struct fr_list *link;
    while ((link = fr_list_pop_front(&session->blocks)))
        fr_free(FR_CONTAINER(link, struct block, link));
}

bool
http2__mem_ran_out(struct http2_session *session, ssize_t result)
{
    if (result == NGHTTP2_ERR_NOMEM)
        session->over = session->mute = true;
    return result == NGHTTP2_ERR_NOMEM;
}
