/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_pvec.c - a tree of counted nodes, each of which has FR_PVEC_BLOCK places, but for the block of
 *             an array that has no other: that one has as many as a power of two.
 */
#include "base/fr_pvec.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#include <string.h>

static struct fr_pvec_node *
node_at(const struct fr_pvec_node *node, uint32_t place)
{
    return (struct fr_pvec_node *)(uintptr_t)node->data[place];
}

static size_t
place_bytes(const struct fr_pvec_ops *ops, uint32_t shift)
{
    return shift ? sizeof(uint64_t) : ops->item_bytes;
}

static struct fr_pvec_node *
node_new(const struct fr_pvec_ops *ops, uint32_t shift, uint32_t places)
{
    struct fr_pvec_node *node = fr_xalloc(sizeof(*node) + places * place_bytes(ops, shift));
    atomic_init(&node->refs, 1);
    node->places = places;
    return node;
}

static void
node_unref(const struct fr_pvec_ops *ops, struct fr_pvec_node *node, uint32_t shift)
{
    if (!node || atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (uint32_t i = 0; i < node->places; i++) {
        if (shift > 0)
            node_unref(ops, node_at(node, i), shift - FR_PVEC_BITS);
        else if (ops->drop)
            ops->drop((char *)node->data + i * ops->item_bytes);
    }
    fr_free(node);
}

/* Makes the node the array's alone, with so many places; those on the way to it are. */
static struct fr_pvec_node *
node_own(const struct fr_pvec_ops *ops, struct fr_pvec_node *node, uint32_t shift, uint32_t places)
{
    if (!node)
        return node_new(ops, shift, places);
    if (node->places == places && atomic_load_explicit(&node->refs, memory_order_acquire) == 1)
        return node;
    struct fr_pvec_node *own = node_new(ops, shift, places);
    memcpy(own->data, node->data, node->places * place_bytes(ops, shift));
    for (uint32_t i = 0; i < node->places; i++) {
        if (shift > 0 && node_at(own, i))
            atomic_fetch_add_explicit(&node_at(own, i)->refs, 1, memory_order_relaxed);
        else if (shift == 0 && ops->hold)
            ops->hold((char *)own->data + i * ops->item_bytes);
    }
    node_unref(ops, node, shift);
    return own;
}

void
fr_pvec_init(struct fr_pvec *vec, const struct fr_pvec_ops *ops)
{
    fr_require(ops->item_bytes % sizeof(uint64_t) == 0);
    *vec = (struct fr_pvec){.ops = ops};
}

void
fr_pvec_copy(const struct fr_pvec *from, struct fr_pvec *out)
{
    *out = *from;
    if (out->root)
        atomic_fetch_add_explicit(&out->root->refs, 1, memory_order_relaxed);
}

void
fr_pvec_fini(struct fr_pvec *vec)
{
    node_unref(vec->ops, vec->root, vec->shift);
    fr_pvec_init(vec, vec->ops);
}

static uint32_t
root_places(const struct fr_pvec *vec)
{
    return vec->size < FR_PVEC_BLOCK ? vec->size : FR_PVEC_BLOCK;
}

/* One more level: what there is becomes its first part. */
static void
raise_root(struct fr_pvec *vec)
{
    struct fr_pvec_node *root = node_new(vec->ops, vec->shift + FR_PVEC_BITS, FR_PVEC_BLOCK);
    root->data[0] = (uintptr_t)vec->root;
    vec->root = root;
    vec->shift += FR_PVEC_BITS;
    vec->size <<= FR_PVEC_BITS;
}

void *
fr_pvec_own(struct fr_pvec *vec, uint32_t index)
{
    fr_require(index < FR_PVEC_INDEX_MAX);
    if (vec->size == 0)
        vec->size = 1;
    while (index >= vec->size && vec->size < FR_PVEC_BLOCK)
        vec->size *= 2;
    if (index >= vec->size && vec->shift == 0 && vec->root)
        vec->root = node_own(vec->ops, vec->root, 0, FR_PVEC_BLOCK);
    while (index >= vec->size)
        raise_root(vec);
    struct fr_pvec_node *node = vec->root =
        node_own(vec->ops, vec->root, vec->shift, root_places(vec));
    for (uint32_t shift = vec->shift; shift > 0; shift -= FR_PVEC_BITS) {
        uint64_t *place = &node->data[index >> shift & (FR_PVEC_BLOCK - 1)];
        node = node_own(vec->ops, (struct fr_pvec_node *)(uintptr_t)*place, shift - FR_PVEC_BITS,
                        FR_PVEC_BLOCK);
        *place = (uintptr_t)node;
    }
    return (char *)node->data + (index & (FR_PVEC_BLOCK - 1)) * vec->ops->item_bytes;
}

/* ---- comparing ----------------------------------------------------------------------------- */

struct compared {
    const struct fr_pvec_ops *ops;
    void (*fn)(void *ctx, uint32_t index, const void *before, const void *after);
    void *ctx;
};

static const void *
item_at(const struct compared *compared, const struct fr_pvec_node *node, uint32_t i)
{
    bool there = node && i < node->places;
    return there ? (const char *)node->data + i * compared->ops->item_bytes : NULL;
}

static void
compare_nodes(const struct compared *compared, const struct fr_pvec_node *before,
              const struct fr_pvec_node *after, uint32_t shift, uint32_t from)
{
    uint32_t of_before = before ? before->places : 0, of_after = after ? after->places : 0;
    if (before == after)
        return;
    for (uint32_t i = 0; i < of_before || i < of_after; i++) {
        if (shift > 0)
            compare_nodes(compared, before ? node_at(before, i) : NULL,
                          after ? node_at(after, i) : NULL, shift - FR_PVEC_BITS,
                          from + (i << shift));
        else
            compared->fn(compared->ctx, from + i, item_at(compared, before, i),
                         item_at(compared, after, i));
    }
}

/* The node of that height that begins at an index. */
static const struct fr_pvec_node *
part_of(const struct fr_pvec *vec, uint32_t from, uint32_t shift)
{
    const struct fr_pvec_node *node = vec->root;
    for (uint32_t at = vec->shift; at > shift && node; at -= FR_PVEC_BITS)
        node = node_at(node, from >> at & (FR_PVEC_BLOCK - 1));
    return node;
}

void
fr_pvec_compare(const struct fr_pvec *before, const struct fr_pvec *after,
                void (*fn)(void *ctx, uint32_t index, const void *before, const void *after),
                void *ctx)
{
    struct compared compared = {after->ops, fn, ctx};
    const struct fr_pvec *low = before->size < after->size ? before : after;
    const struct fr_pvec *high = before->size < after->size ? after : before;
    if (low->size == 0 || low->shift == high->shift) {
        compare_nodes(&compared, before->root, after->root, high->shift, 0);
        return;
    }
    /* Level by level down the first parts of the higher one, which the lower one stands for. */
    for (uint32_t shift = high->shift; shift > low->shift; shift -= FR_PVEC_BITS)
        for (uint32_t i = 1; i < FR_PVEC_BLOCK; i++) {
            const struct fr_pvec_node *part = part_of(high, i << shift, shift - FR_PVEC_BITS);
            compare_nodes(&compared, high == before ? part : NULL, high == after ? part : NULL,
                          shift - FR_PVEC_BITS, i << shift);
        }
    const struct fr_pvec_node *first = part_of(high, 0, low->shift);
    compare_nodes(&compared, high == before ? first : low->root, high == after ? first : low->root,
                  low->shift, 0);
}
