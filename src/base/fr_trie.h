/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_trie.h - a map from byte strings to values that shares with its copies what is the same, and
 * finds all keys that a text begins with in one walk.
 *
 * Life:     a copy costs one count. A change copies the nodes on the way to its key, as far as
 *           others share them, and nothing else; so a reader of a copy never sees it.
 * Threads:  a trie belongs to one thread; nodes are counted atomically, so that copies may be read
 *           and dropped by others.
 * Memory:   process lifetime; fr_xalloc. A node for each key, and one for each place where keys
 *           part: 16 bytes, the bytes it stands for, 9 for each node below.
 * Cost:     finding: a step for each place where keys part, whatever their number.
 * Limits:   keys of FR_TRIE_KEY_BYTES_MAX.
 */
#ifndef FR_TRIE_H
#define FR_TRIE_H

#include "base/fr_view.h"

#define FR_TRIE_KEY_BYTES_MAX 65535

struct fr_trie_node;

struct fr_trie_ops { /* of values, which nodes hold; either may be NULL */
    void (*hold)(void *value);
    void (*drop)(void *value);
};

struct fr_trie {
    const struct fr_trie_ops *ops;
    struct fr_trie_node *root;
};

void fr_trie_init(struct fr_trie *trie, const struct fr_trie_ops *ops);
void fr_trie_copy(const struct fr_trie *from, struct fr_trie *out);
void fr_trie_fini(struct fr_trie *trie);

/* NULL: no such key. */
void *fr_trie_get(const struct fr_trie *trie, struct fr_view key);
/* The value, not NULL, is the trie's from now on; the one before is dropped. */
void fr_trie_take_put(struct fr_trie *trie, struct fr_view key, void *take_value);
/* False: no such key. */
bool fr_trie_remove(struct fr_trie *trie, struct fr_view key);
/* Whether it is what its file says it always is; for tests. */
bool fr_trie_check(const struct fr_trie *trie);
/* Each value, in the order of keys. */
void fr_trie_each(const struct fr_trie *trie, void (*fn)(void *ctx, void *value), void *ctx);

/* A place in a trie: some bytes behind its root. Good as long as the trie is unchanged. */
struct fr_trie_place {
    const struct fr_trie_node *node; /* NULL: no key begins like that */
    uint32_t at;                     /* bytes of the node's text that are behind it */
};

struct fr_trie_place fr_trie_root(const struct fr_trie *trie);
/* One byte on. */
struct fr_trie_place fr_trie_step(struct fr_trie_place place, char byte);
/* Along a text from its last byte to its first. */
struct fr_trie_place fr_trie_back(struct fr_trie_place place, struct fr_view text);
/* Goes on along the text, up to the next place that has a value; true: *out_value is of the key
 * that ends there, and *text what is left. The value of the place it begins at comes first. */
bool fr_trie_next(struct fr_trie_place *place, struct fr_view *text, void **out_value);

#endif
