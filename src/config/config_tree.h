/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_tree.h - YAML (and what comes as XML) as a tree whose every node knows its place.
 *
 * Trusts:   nothing. Depth, node count and bytes are bounded; anchors, aliases, tags, several
 *           documents and repeated keys are errors with a place.
 * May touch: base.
 * Memory:   the tree's arena; nothing of the input is kept.
 */
#ifndef CONFIG_TREE_H
#define CONFIG_TREE_H

#include "base/fr_arena.h"
#include "base/fr_err.h"
#include "config/config_diag.h"

#define CONFIG_TREE_DEPTH_MAX 32
#define CONFIG_TREE_NODES_MAX 1000000
#define CONFIG_TREE_BYTES_MAX (32u << 20) /* of the text */

enum config_node_kind { CONFIG_SCALAR, CONFIG_MAPPING, CONFIG_SEQUENCE };

struct config_node {
    enum config_node_kind kind;
    unsigned line, column; /* from 1 */
    struct fr_view key;    /* in a mapping: its key */
    unsigned key_line, key_column;
    struct fr_view value; /* scalar: its text, unquoted */
    bool quoted;
    struct config_node *first_child, *last_child, *next; /* in order */
    size_t child_count;
    unsigned depth; /* the root's is 1 */
};

struct config_tree {
    struct fr_arena arena;
    struct config_node *root; /* NULL for an empty document */
    size_t node_count;
};

/* On failure the errors are in diag. When repeated keys are all that is wrong, FR_ERR_CONFIG comes
 * with the tree, so that one run can show what else is wrong; otherwise *out is empty.
 * Owns:  *out is the caller's to fini, whatever the result. */
FR_MUST_USE enum fr_err config_tree_parse(struct fr_view text, struct config_diag *diag,
                                          struct config_tree *out);
void config_tree_init(struct config_tree *tree); /* an empty one, to build with the calls below */
void config_tree_fini(struct config_tree *tree);
const struct config_node *config_node_get(const struct config_node *mapping, const char *key);
/* Building by hand (from a stanza). parent NULL makes the root. NULL when out of memory or past the
 * bounds. Bytes are copied. */
struct config_node *config_node_add(struct config_tree *tree, struct config_node *parent,
                                    enum config_node_kind kind, struct fr_view key,
                                    struct fr_view value);
/* Every key of the mapping must be one of "a, b, c"; those that are not are reported with the
 * nearest known one. `where` stands in messages. False: there was one. */
bool config_node_check_keys(const struct config_node *mapping, const char *where, const char *known,
                            struct config_diag *diag);
/* A YAML scalar, quoted where it must be. */
FR_MUST_USE enum fr_err config_print_scalar(struct fr_view value, struct fr_buf *out);

#endif
