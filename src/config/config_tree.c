/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_tree.c - libyaml's events to a tree whose every node knows its line and column.
 *
 * May touch:  base, libyaml.
 * Memory:     one arena a tree, bounded by TREE_ARENA_BYTES_MAX.
 * When full:  an error with the place where the bound was reached; the tree is empty.
 * Trusts:     nothing. YAML's clever half (anchors, aliases, tags, several documents, repeated
 *             keys) is refused: it hides what a file says, and aliases multiply.
 */
#include "config/config_tree.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "base/fr_thread.h"

#include <stdlib.h>
#include <yaml.h>

/* The bytes of all scalars, and a node each. */
#define EVENTS_AT_ONCE 64 /* of the parser; then another thread gets its turn */
#define TREE_ARENA_BYTES_MAX                                                                       \
    (2 * (size_t)CONFIG_TREE_BYTES_MAX + CONFIG_TREE_NODES_MAX * (sizeof(struct config_node) + 64))
#define TREE_CHUNK_BYTES 16384

struct tree_parser {
    yaml_parser_t yaml;
    struct config_diag *diag;
    struct config_tree *tree;
    struct config_node *stack[CONFIG_TREE_DEPTH_MAX];
    size_t depth;
    bool has_key; /* inside a mapping: the next node is the value of `key` */
    struct fr_view key;
    unsigned key_line, key_column;
    unsigned documents;
};

void
config_tree_init(struct config_tree *tree)
{
    *tree = (struct config_tree){0};
    fr_arena_init(&tree->arena, TREE_CHUNK_BYTES, TREE_ARENA_BYTES_MAX);
}

void
config_tree_fini(struct config_tree *tree)
{
    fr_arena_fini(&tree->arena);
    tree->root = NULL;
    tree->node_count = 0;
}

const struct config_node *
config_node_get(const struct config_node *mapping, const char *key)
{
    if (!mapping || mapping->kind != CONFIG_MAPPING)
        return NULL;
    for (const struct config_node *node = mapping->first_child; node; node = node->next)
        if (fr_view_is(node->key, key))
            return node;
    return NULL;
}

struct config_node *
config_node_add(struct config_tree *tree, struct config_node *parent, enum config_node_kind kind,
                struct fr_view key, struct fr_view value)
{
    fr_require(parent ? parent->kind != CONFIG_SCALAR : tree->root == NULL);
    unsigned depth = parent ? parent->depth + 1 : 1;
    if (depth > CONFIG_TREE_DEPTH_MAX || tree->node_count >= CONFIG_TREE_NODES_MAX)
        return NULL;
    struct config_node *node = fr_arena_alloc(&tree->arena, sizeof(*node));
    char *key_copy = fr_arena_dup(&tree->arena, key);
    char *value_copy = fr_arena_dup(&tree->arena, value);
    if (!node || !key_copy || !value_copy)
        return NULL;
    *node = (struct config_node){.kind = kind,
                                 .line = 1,
                                 .column = 1,
                                 .key_line = 1,
                                 .key_column = 1,
                                 .key = fr_view_make(key_copy, key.len),
                                 .value = fr_view_make(value_copy, value.len),
                                 .depth = depth};
    tree->node_count++;
    if (!parent) {
        tree->root = node;
        return node;
    }
    if (parent->last_child)
        parent->last_child->next = node;
    else
        parent->first_child = node;
    parent->last_child = node;
    parent->child_count++;
    return node;
}

static unsigned
line_of(yaml_mark_t mark)
{
    return (unsigned)mark.line + 1;
}

static unsigned
column_of(yaml_mark_t mark)
{
    return (unsigned)mark.column + 1;
}

/* libyaml gives only the byte for what it refuses before it scans: broken UTF-8, control bytes. */
static void
place_of_offset(struct fr_view text, size_t offset, unsigned *out_line, unsigned *out_column)
{
    unsigned line = 1, column = 1;
    for (size_t i = 0; i < text.len && i < offset; i++) {
        if (text.ptr[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)text.ptr[i] & 0xc0) != 0x80) {
            column++;
        }
    }
    *out_line = line;
    *out_column = column;
}

static void
report_yaml(struct tree_parser *parser, struct fr_view text)
{
    yaml_parser_t *yaml = &parser->yaml;
    const char *problem = yaml->problem ? yaml->problem : "not YAML";
    if (yaml->error == YAML_READER_ERROR) {
        unsigned line, column;
        place_of_offset(text, yaml->problem_offset, &line, &column);
        config_diag_add(parser->diag, line, column, "%s, expected YAML in UTF-8", problem);
    } else {
        config_diag_add(parser->diag, line_of(yaml->problem_mark), column_of(yaml->problem_mark),
                        "%s%s%s, expected YAML", problem, yaml->context ? " " : "",
                        yaml->context ? yaml->context : "");
    }
}

static int
key_compare(const void *a, const void *b)
{
    const struct config_node *x = *(const struct config_node *const *)a;
    const struct config_node *y = *(const struct config_node *const *)b;
    size_t len = x->key.len < y->key.len ? x->key.len : y->key.len;
    int order = len ? memcmp(x->key.ptr, y->key.ptr, len) : 0;
    if (order)
        return order;
    if (x->key.len != y->key.len)
        return x->key.len < y->key.len ? -1 : 1;
    if (x->key_line != y->key_line)
        return x->key_line < y->key_line ? -1 : 1;
    return x->key_column < y->key_column ? -1 : x->key_column > y->key_column;
}

/* Sorted, because a hostile mapping may hold every node of the file. */
static bool
mapping_is_unique(struct tree_parser *parser, const struct config_node *mapping)
{
    bool unique = true;
    size_t count = 0;
    const struct config_node **list =
        mapping->child_count ? fr_xalloc(mapping->child_count * sizeof(*list)) : NULL;
    for (const struct config_node *node = mapping->first_child; node; node = node->next)
        list[count++] = node;
    if (count > 1)
        qsort(list, count, sizeof(*list), key_compare);
    for (size_t i = 1; i < count; i++) {
        if (!fr_view_eq(list[i - 1]->key, list[i]->key))
            continue;
        unique = false;
        config_diag_add(parser->diag, list[i]->key_line, list[i]->key_column,
                        "\"%.*s\" a second time in one mapping, expected every name once (the "
                        "first is on line %u)",
                        FR_VIEW_ARG(list[i]->key), list[i - 1]->key_line);
    }
    fr_free(list);
    return unique;
}

static bool
refuse(struct tree_parser *parser, const yaml_event_t *event, const char *text)
{
    config_diag_add(parser->diag, line_of(event->start_mark), column_of(event->start_mark), "%s",
                    text);
    return false;
}

/* Puts a node of this event into the tree where the stack says. NULL: refused. */
static struct config_node *
place_node(struct tree_parser *parser, const yaml_event_t *event, enum config_node_kind kind,
           struct fr_view value)
{
    struct config_node *parent = parser->depth ? parser->stack[parser->depth - 1] : NULL;
    if (kind != CONFIG_SCALAR && parser->depth >= CONFIG_TREE_DEPTH_MAX) {
        (void)refuse(parser, event, "nested too deeply, expected at most 32 levels");
        return NULL;
    }
    if (parent && parent->kind == CONFIG_MAPPING && !parser->has_key) {
        (void)refuse(parser, event, "a mapping or a list as a key, expected a name");
        return NULL;
    }
    struct fr_view key = parser->has_key ? parser->key : (struct fr_view){"", 0};
    struct config_node *node = config_node_add(parser->tree, parent, kind, key, value);
    if (!node) {
        (void)refuse(parser, event, "too much, expected at most 100000 values and 32 levels");
        return NULL;
    }
    node->line = line_of(event->start_mark);
    node->column = column_of(event->start_mark);
    node->key_line = parser->has_key ? parser->key_line : node->line;
    node->key_column = parser->has_key ? parser->key_column : node->column;
    parser->has_key = false;
    if (kind != CONFIG_SCALAR)
        parser->stack[parser->depth++] = node;
    return node;
}

static bool
take_scalar(struct tree_parser *parser, const yaml_event_t *event)
{
    if (event->data.scalar.anchor)
        return refuse(parser, event,
                      "an anchor, expected plain values (anchors are not supported)");
    if (event->data.scalar.tag)
        return refuse(parser, event, "a tag, expected plain values (tags are not supported)");
    struct fr_view text =
        fr_view_make((const char *)event->data.scalar.value, event->data.scalar.length);
    if (memchr(text.ptr, 0, text.len))
        return refuse(parser, event, "a NUL character, expected text without");
    struct config_node *parent = parser->depth ? parser->stack[parser->depth - 1] : NULL;
    if (parent && parent->kind == CONFIG_MAPPING && !parser->has_key) {
        char *copy = fr_arena_dup(&parser->tree->arena, text);
        if (!copy)
            return refuse(parser, event, "too much text, expected at most 4 MiB");
        parser->key = fr_view_make(copy, text.len);
        parser->key_line = line_of(event->start_mark);
        parser->key_column = column_of(event->start_mark);
        parser->has_key = true;
        return true;
    }
    struct config_node *node = place_node(parser, event, CONFIG_SCALAR, text);
    if (node)
        node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return node != NULL;
}

/* One event into the tree; false: refused, the place is in diag. */
static bool
take_event(struct tree_parser *parser, const yaml_event_t *event)
{
    const struct fr_view none = {"", 0};
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (parser->documents++ > 0)
            return refuse(parser, event, "a second document, expected one");
        return true;
    case YAML_ALIAS_EVENT:
        return refuse(parser, event, "an alias, expected plain values (aliases are not supported)");
    case YAML_SCALAR_EVENT:
        return take_scalar(parser, event);
    case YAML_SEQUENCE_START_EVENT:
        if (event->data.sequence_start.anchor || event->data.sequence_start.tag)
            return refuse(parser, event,
                          "an anchor or a tag, expected plain values (they are not supported)");
        return place_node(parser, event, CONFIG_SEQUENCE, none) != NULL;
    case YAML_MAPPING_START_EVENT:
        if (event->data.mapping_start.anchor || event->data.mapping_start.tag)
            return refuse(parser, event,
                          "an anchor or a tag, expected plain values (they are not supported)");
        return place_node(parser, event, CONFIG_MAPPING, none) != NULL;
    case YAML_MAPPING_END_EVENT:
        parser->depth--;
        return mapping_is_unique(parser, parser->stack[parser->depth]);
    case YAML_SEQUENCE_END_EVENT:
        parser->depth--;
        return true;
    default:
        return true;
    }
}

/* `---` with nothing behind it is an empty document, as an empty file is. */
static void
drop_empty_root(struct config_tree *tree)
{
    const struct config_node *root = tree->root;
    if (root && root->kind == CONFIG_SCALAR && root->value.len == 0 && !root->quoted)
        tree->root = NULL;
}

enum fr_err
config_tree_parse(struct fr_view text, struct config_diag *diag, struct config_tree *out)
{
    config_tree_init(out);
    if (text.len > CONFIG_TREE_BYTES_MAX) {
        config_diag_add(diag, 0, 0, "%zu bytes, expected at most 4 MiB", text.len);
        return FR_ERR_CONFIG;
    }
    struct tree_parser parser = {.diag = diag, .tree = out};
    if (!yaml_parser_initialize(&parser.yaml))
        return FR_ERR_NOMEM;
    yaml_parser_set_encoding(&parser.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser.yaml, (const unsigned char *)(text.ptr ? text.ptr : ""),
                                 text.len);
    bool good = true, unique = true, ended = false;
    size_t events = 0;
    while (good && !ended) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser.yaml, &event)) {
            report_yaml(&parser, text);
            good = false;
            break;
        }
        ended = event.type == YAML_STREAM_END_EVENT;
        bool taken = take_event(&parser, &event);
        /* A repeated key is no reason to stop: the rest is worth looking at in the same run. */
        if (!taken && event.type == YAML_MAPPING_END_EVENT)
            unique = false;
        else
            good = taken;
        yaml_event_delete(&event);
        if (++events % EVENTS_AT_ONCE == 0)
            fr_give_way();
    }
    yaml_parser_delete(&parser.yaml);
    if (!good) {
        config_tree_fini(out);
        config_tree_init(out);
        return FR_ERR_CONFIG;
    }
    drop_empty_root(out);
    return unique ? FR_OK : FR_ERR_CONFIG;
}
