/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_memory.c - the heap of nghttp2, through fr_mem, every block known to its session.
 *
 * May touch:  base.
 * Memory:     16 bytes beside each block.
 * When full:  nghttp2 is told, and what it is left with cannot be trusted: where a queue could not
 *             grow it frees what a stream still points to (1.52, priorities of RFC 9218). So a
 *             session that ran out of memory is used no more, and its blocks are freed one by one
 *             instead of by nghttp2_session_del.
 */
#include "http/http2_priv.h"

#include "base/fr_mem.h"

#include <assert.h> /* static_assert */

/* In front of each block; fr_mem's blocks are aligned to 16 bytes, and this keeps that. */
struct block {
    struct fr_list link;
};
static_assert(sizeof(struct block) == 16, "a block behind it must stay aligned");

static void *
known(struct http2_session *session, struct block *block)
{
    if (!block)
        return NULL;
    fr_list_push_back(&session->blocks, &block->link);
    return block + 1;
}

static void *
mem_alloc(size_t bytes, void *ctx)
{
    /* Not zeroed: nghttp2 asks where it wants that. */
    return known(ctx, fr_realloc(NULL, sizeof(struct block) + bytes));
}

static void *
mem_calloc(size_t count, size_t bytes, void *ctx)
{
    size_t all;
    if (__builtin_mul_overflow(count, bytes, &all) ||
        __builtin_add_overflow(all, sizeof(struct block), &all))
        return NULL;
    return known(ctx, fr_alloc(all));
}

static void
mem_free(void *ptr, void *ctx)
{
    (void)ctx;
    if (!ptr)
        return;
    struct block *block = (struct block *)ptr - 1;
    fr_list_remove(&block->link);
    fr_free(block);
}

static void *
mem_realloc(void *ptr, size_t bytes, void *ctx)
{
    struct http2_session *session = ctx;
    if (!ptr)
        return mem_alloc(bytes, ctx);
    struct block *block = (struct block *)ptr - 1;
    fr_list_remove(&block->link);
    struct block *moved = fr_realloc(block, sizeof(struct block) + bytes);
    (void)known(session, moved ? moved : block); /* the old one stays where it cannot grow */
    return moved ? moved + 1 : NULL;
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
