/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_trie.c - a radix tree with counted nodes.
 *
 *     (root) --- /a ----- pi/ = v1        keys: /api/, /api/v2, /att
 *                 \         `-- v2 = v2   A node's first byte stands with the node above, next to
 *                  `----- tt = v3         the others', so that one look at it finds the way.
 *
 * Invariant:  no node but the root has neither a value nor two nodes below.
 * Memory:     one allocation a node: its text, the first bytes of those below, then pointers to
 *             them, so that what a walk reads first is together.
 */
#include "base/fr_trie.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#include <stdatomic.h>
#include <string.h>

struct fr_trie_node {
    atomic_uint refs;
    uint16_t text_len; /* bytes behind its first one */
    uint16_t count;    /* nodes below */
    void *value;       /* NULL: none ends here */
    unsigned char bytes[];
};

/* ---- nodes --------------------------------------------------------------------------------- */

static size_t
below_offset(size_t text_len, size_t count)
{
    size_t bytes = text_len + count, align = sizeof(struct fr_trie_node *);
    return (bytes + align - 1) / align * align;
}

static const unsigned char *
firsts_of(const struct fr_trie_node *node)
{
    return node->bytes + node->text_len;
}

static struct fr_trie_node **
below_of(struct fr_trie_node *node)
{
    return (void *)(node->bytes + below_offset(node->text_len, node->count));
}

static const struct fr_trie_node *
below_at(const struct fr_trie_node *node, size_t i)
{
    const void *below = node->bytes + below_offset(node->text_len, node->count);
    return ((const struct fr_trie_node *const *)below)[i];
}

static struct fr_trie_node *
node_new(const void *text, size_t text_len, size_t count)
{
    fr_require(text_len <= FR_TRIE_KEY_BYTES_MAX);
    struct fr_trie_node *node = fr_xalloc(sizeof(*node) + below_offset(text_len, count) +
                                          count * sizeof(struct fr_trie_node *));
    atomic_init(&node->refs, 1);
    node->text_len = (uint16_t)text_len;
    node->count = (uint16_t)count;
    if (text_len > 0)
        memcpy(node->bytes, text, text_len);
    return node;
}

static void
node_unref(const struct fr_trie_ops *ops, struct fr_trie_node *node)
{
    if (!node || atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < node->count; i++)
        node_unref(ops, below_of(node)[i]);
    if (node->value && ops->drop)
        ops->drop(node->value);
    fr_free(node);
}

/* Makes the node the trie's alone, so that it may be changed. Those on the way to it are. */
static struct fr_trie_node *
node_own(const struct fr_trie_ops *ops, struct fr_trie_node **place)
{
    struct fr_trie_node *node = *place;
    if (atomic_load_explicit(&node->refs, memory_order_acquire) == 1)
        return node;
    struct fr_trie_node *own = node_new(node->bytes, node->text_len, node->count);
    memcpy(own->bytes, node->bytes, (size_t)node->text_len + node->count);
    for (size_t i = 0; i < node->count; i++) {
        below_of(own)[i] = below_of(node)[i];
        atomic_fetch_add_explicit(&below_of(own)[i]->refs, 1, memory_order_relaxed);
    }
    own->value = node->value;
    if (own->value && ops->hold)
        ops->hold(own->value);
    node_unref(ops, node);
    *place = own;
    return own;
}

/* SIZE_MAX: none below begins with it. */
static size_t
find_below(const struct fr_trie_node *node, unsigned char first)
{
    const unsigned char *firsts = firsts_of(node);
    if (node->count <= 1) /* of most nodes */
        return node->count && firsts[0] == first ? 0 : SIZE_MAX;
    const unsigned char *found = memchr(firsts, first, node->count);
    return found ? (size_t)(found - firsts) : SIZE_MAX;
}

/* In place of an own node comes one that has `below` as well, in the order of first bytes. */
static struct fr_trie_node **
add_below(struct fr_trie_node **place, unsigned char first, struct fr_trie_node *take_below)
{
    struct fr_trie_node *node = *place;
    struct fr_trie_node *more = node_new(node->bytes, node->text_len, node->count + (size_t)1);
    unsigned char *firsts = more->bytes + more->text_len;
    size_t at = 0;
    while (at < node->count && firsts_of(node)[at] < first)
        at++;
    memcpy(firsts, firsts_of(node), at);
    firsts[at] = first;
    memcpy(firsts + at + 1, firsts_of(node) + at, node->count - at);
    for (size_t i = 0; i < node->count; i++)
        below_of(more)[i + (i >= at)] = below_of(node)[i];
    below_of(more)[at] = take_below;
    more->value = node->value;
    fr_free(node);
    *place = more;
    return &below_of(more)[at];
}

static void
remove_below(struct fr_trie_node **place, size_t at)
{
    struct fr_trie_node *node = *place;
    struct fr_trie_node *less = node_new(node->bytes, node->text_len, node->count - (size_t)1);
    unsigned char *firsts = less->bytes + less->text_len;
    memcpy(firsts, firsts_of(node), at);
    memcpy(firsts + at, firsts_of(node) + at + 1, less->count - at);
    for (size_t i = 0; i < less->count; i++)
        below_of(less)[i] = below_of(node)[i + (i >= at)];
    less->value = node->value;
    fr_free(node);
    *place = less;
}

/* An own node without its text up to and with byte number `at`. */
static struct fr_trie_node *
cut_front(struct fr_trie_node *node, size_t at)
{
    size_t left = node->text_len - at - 1;
    struct fr_trie_node *rest = node_new(node->bytes + at + 1, left, node->count);
    memcpy(rest->bytes + left, firsts_of(node), node->count);
    memcpy(below_of(rest), below_of(node), node->count * sizeof(struct fr_trie_node *));
    rest->value = node->value;
    fr_free(node);
    return rest;
}

/* An own node that only leads to one other becomes one with it. */
static void
join_below(const struct fr_trie_ops *ops, struct fr_trie_node **place)
{
    struct fr_trie_node *node = *place;
    struct fr_trie_node *below = node_own(ops, &below_of(node)[0]);
    size_t len = (size_t)node->text_len + 1 + below->text_len;
    unsigned char *text = fr_xalloc(len);
    memcpy(text, node->bytes, (size_t)node->text_len + 1); /* its only first byte is behind it */
    memcpy(text + node->text_len + 1, below->bytes, below->text_len);
    struct fr_trie_node *joined = node_new(text, len, below->count);
    memcpy(joined->bytes + len, firsts_of(below), below->count);
    memcpy(below_of(joined), below_of(below), below->count * sizeof(struct fr_trie_node *));
    joined->value = below->value;
    fr_free(text);
    fr_free(below);
    fr_free(node);
    *place = joined;
}

/* ---- tries --------------------------------------------------------------------------------- */

void
fr_trie_init(struct fr_trie *trie, const struct fr_trie_ops *ops)
{
    *trie = (struct fr_trie){.ops = ops, .root = node_new(NULL, 0, 0)};
}

void
fr_trie_copy(const struct fr_trie *from, struct fr_trie *out)
{
    *out = *from;
    atomic_fetch_add_explicit(&out->root->refs, 1, memory_order_relaxed);
}

void
fr_trie_fini(struct fr_trie *trie)
{
    node_unref(trie->ops, trie->root);
    trie->root = NULL;
}

void *
fr_trie_get(const struct fr_trie *trie, struct fr_view key)
{
    struct fr_trie_place place = fr_trie_root(trie);
    void *value = NULL;
    while (fr_trie_next(&place, &key, &value))
        if (key.len == 0)
            return value;
    return NULL;
}

static size_t
common_len(const struct fr_trie_node *node, const unsigned char *text, size_t len)
{
    size_t most = node->text_len < len ? node->text_len : len, at = 0;
    while (at < most && node->bytes[at] == text[at])
        at++;
    return at;
}

void
fr_trie_take_put(struct fr_trie *trie, struct fr_view key, void *take_value)
{
    const unsigned char *text = (const unsigned char *)key.ptr;
    size_t len = key.len;
    struct fr_trie_node **place = &trie->root;
    fr_require(take_value != NULL);
    fr_require(len <= FR_TRIE_KEY_BYTES_MAX);
    while (len > 0) { /* the text of the node at `place` is behind us */
        struct fr_trie_node *node = node_own(trie->ops, place);
        unsigned char first = *text++;
        size_t at = find_below(node, first);
        len--;
        if (at == SIZE_MAX) {
            place = add_below(place, first, node_new(text, len, 0));
            break;
        }
        place = &below_of(node)[at];
        size_t same = common_len(*place, text, len);
        text += same;
        len -= same;
        if (same == (*place)->text_len)
            continue;
        struct fr_trie_node *below = node_own(trie->ops, place);
        unsigned char parts = below->bytes[same];
        *place = node_new(below->bytes, same, 0);
        (void)add_below(place, parts, cut_front(below, same)); /* there is no need of it here */
    }
    struct fr_trie_node *node = node_own(trie->ops, place);
    if (node->value && trie->ops->drop)
        trie->ops->drop(node->value);
    node->value = take_value;
}

bool
fr_trie_remove(struct fr_trie *trie, struct fr_view key)
{
    const unsigned char *text = (const unsigned char *)key.ptr;
    struct fr_trie_node **place = &trie->root, **above = NULL;
    size_t left = key.len, at = 0;
    if (!fr_trie_get(trie, key))
        return false;
    (void)node_own(trie->ops, place); /* *place is what counts */
    while (left > 0) {
        at = find_below(*place, *text);
        above = place;
        place = &below_of(*place)[at];
        (void)node_own(trie->ops, place);
        text += 1 + (*place)->text_len;
        left -= (size_t)1 + (*place)->text_len;
    }
    struct fr_trie_node *node = *place;
    if (trie->ops->drop)
        trie->ops->drop(node->value);
    node->value = NULL;
    if (above && node->count == 0) {
        fr_free(node);
        remove_below(above, at);
        place = above;
    }
    if (place != &trie->root && !(*place)->value && (*place)->count == 1)
        join_below(trie->ops, place);
    return true;
}

static bool
check_below(const struct fr_trie_node *node, bool is_root)
{
    if (!is_root && !node->value && node->count < 2)
        return false;
    for (size_t i = 0; i < node->count; i++)
        if ((i > 0 && firsts_of(node)[i - 1] >= firsts_of(node)[i]) ||
            !check_below(below_at(node, i), false))
            return false;
    return true;
}

bool
fr_trie_check(const struct fr_trie *trie)
{
    return check_below(trie->root, true);
}

static void
each_below(struct fr_trie_node *node, void (*fn)(void *ctx, void *value), void *ctx)
{
    if (node->value)
        fn(ctx, node->value);
    for (size_t i = 0; i < node->count; i++)
        each_below(below_of(node)[i], fn, ctx);
}

void
fr_trie_each(const struct fr_trie *trie, void (*fn)(void *ctx, void *value), void *ctx)
{
    each_below(trie->root, fn, ctx);
}

/* ---- walking ------------------------------------------------------------------------------- */

struct fr_trie_place
fr_trie_root(const struct fr_trie *trie)
{
    return (struct fr_trie_place){trie->root, 0};
}

struct fr_trie_place
fr_trie_step(struct fr_trie_place place, char byte)
{
    const struct fr_trie_node *node = place.node;
    unsigned char wanted = (unsigned char)byte;
    if (!node)
        return place;
    if (place.at < node->text_len) {
        place.at++;
        if (node->bytes[place.at - 1] != wanted)
            place.node = NULL;
        return place;
    }
    size_t at = find_below(node, wanted);
    return (struct fr_trie_place){at == SIZE_MAX ? NULL : below_at(node, at), 0};
}

struct fr_trie_place
fr_trie_back(struct fr_trie_place place, struct fr_view text)
{
    const struct fr_trie_node *node = place.node;
    const unsigned char *bytes = (const unsigned char *)text.ptr;
    size_t at = place.at, left = text.len;
    while (node && left > 0) {
        if (at < node->text_len) {
            if (node->bytes[at++] != bytes[--left])
                node = NULL;
            continue;
        }
        size_t below = find_below(node, bytes[--left]);
        node = below == SIZE_MAX ? NULL : below_at(node, below);
        at = 0;
    }
    return (struct fr_trie_place){node, (uint32_t)at};
}

bool
fr_trie_next(struct fr_trie_place *place, struct fr_view *text, void **out_value)
{
    const struct fr_trie_node *node = place->node;
    size_t behind = place->at;
    while (node) {
        /* UINT32_MAX: its value has been shown. */
        if (behind != UINT32_MAX) {
            size_t left = node->text_len - behind;
            if (left > text->len || (left && memcmp(node->bytes + behind, text->ptr, left) != 0))
                break;
            if (left) { /* a text of nothing may be NULL */
                text->ptr += left;
                text->len -= left;
            }
            if (node->value) {
                *place = (struct fr_trie_place){node, UINT32_MAX};
                *out_value = node->value;
                return true;
            }
        }
        size_t at = text->len ? find_below(node, (unsigned char)*text->ptr) : SIZE_MAX;
        if (at == SIZE_MAX)
            break;
        node = below_at(node, at);
        behind = 0;
        text->ptr++;
        text->len--;
    }
    place->node = NULL;
    return false;
}
