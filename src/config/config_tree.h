/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_tree.h - YAML (and what comes as XML) as a tree whose every node knows its place.
 *
 * Trusts:   nothing. Depth, node count and bytes are bounded; anchors, aliases, tags, several
 *           documents and repeated keys are errors with a place.
 */
#ifndef CONFIG_TREE_H
#define CONFIG_TREE_H

#include "base/fr_arena.h"
#include "base/fr_err.h"
#include "config/config_diag.h"

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
};

struct config_tree {
    struct fr_arena arena;
    struct config_node *root; /* NULL for an empty document */
};

/* On failure the errors are in diag and *out is empty. */
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
/* A YAML scalar, quoted where it must be. */
FR_MUST_USE enum fr_err config_print_scalar(struct fr_view value, struct fr_buf *out);

#endif
