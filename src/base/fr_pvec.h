/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_pvec.h - an array that shares with its copies what is the same.
 *
 * Life:     a copy costs one count. A change copies the block its item is in and the nodes on the
 *           way, as far as others share them; so a reader of a copy never sees it.
 * Threads:  an array belongs to one thread; nodes are counted atomically, so that copies may be
 *           read and dropped by others.
 * Memory:   process lifetime; fr_xalloc. Blocks of FR_PVEC_BLOCK items; where none was ever written
 *           there is no block, and the first one grows with its items (1, 2, 4, ...).
 * Cost:     reading: one hop up to 32 items, two to 1,024, three to 32,768.
 */
#ifndef FR_PVEC_H
#define FR_PVEC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FR_PVEC_BITS 5
#define FR_PVEC_BLOCK (1u << FR_PVEC_BITS)
#define FR_PVEC_INDEX_MAX (1u << 25)

struct fr_pvec_ops { /* of items, which blocks hold; both must bear one of zeros; may be NULL */
    size_t item_bytes;
    void (*hold)(void *item);
    void (*drop)(void *item);
};

struct fr_pvec_node { /* here only so that reading is inline */
    atomic_uint refs;
    uint32_t places; /* FR_PVEC_BLOCK; fewer in a block that is the only one */
    uint64_t data[]; /* items, or pointers to nodes */
};

struct fr_pvec {
    const struct fr_pvec_ops *ops;
    struct fr_pvec_node *root; /* NULL: empty */
    uint32_t shift;            /* bits of an index that the nodes below the root take */
    uint32_t size;             /* indexes below it may be read */
};

void fr_pvec_init(struct fr_pvec *vec, const struct fr_pvec_ops *ops);
void fr_pvec_copy(const struct fr_pvec *from, struct fr_pvec *out);
void fr_pvec_fini(struct fr_pvec *vec);

/* The block that an item is in, good as long as the array is unchanged; its place there is the
 * index modulo FR_PVEC_BLOCK. NULL: nothing was written near there. */
static inline const void *
fr_pvec_block(const struct fr_pvec *vec, uint32_t index)
{
    const struct fr_pvec_node *node = vec->root;
    if (index >= vec->size)
        return NULL;
    for (uint32_t shift = vec->shift; shift > 0 && node; shift -= FR_PVEC_BITS)
        node = (const struct fr_pvec_node *)(uintptr_t)
                   node->data[index >> shift & (FR_PVEC_BLOCK - 1)];
    return node ? node->data : NULL;
}

/* The item. */
static inline const void *
fr_pvec_at(const struct fr_pvec *vec, uint32_t index)
{
    const char *block = fr_pvec_block(vec, index);
    return block ? block + (index & (FR_PVEC_BLOCK - 1)) * vec->ops->item_bytes : NULL;
}

/* The item, to be changed, of zeros if it was never written. What is put there the array holds from
 * now on; what was there, the caller drops. */
void *fr_pvec_own(struct fr_pvec *vec, uint32_t index);

/* Shows where two arrays of the same ops may differ: items in blocks that they do not share, with
 * NULL for what one of them does not have. */
void fr_pvec_compare(const struct fr_pvec *before, const struct fr_pvec *after,
                     void (*fn)(void *ctx, uint32_t index, const void *before, const void *after),
                     void *ctx);

#endif
