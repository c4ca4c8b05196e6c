/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_config_tree.c - places of keys and values, the bounds at their edges, and building by hand.
 */
#include "config/config_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static enum fr_err
parse(struct fr_view text, struct config_diag *diag, struct config_tree *tree)
{
    config_diag_init(diag);
    config_diag_source(diag, "t.yaml", text);
    return config_tree_parse(text, diag, tree);
}

static void
fini(struct config_diag *diag, struct config_tree *tree)
{
    config_tree_fini(tree);
    config_diag_fini(diag);
}

static void
test_places(void **state)
{
    (void)state;
    struct config_diag diag;
    struct config_tree tree;
    assert_int_equal(parse(FR_VIEW("a: 1\n"
                                   "\xc3\xa9\xc3\xa9: { b: [x, 'y z'], c: }\n"
                                   "d:\n"
                                   "  - e: \"\\u00e9\"\n"),
                           &diag, &tree),
                     FR_OK);
    const struct config_node *root = tree.root;
    assert_int_equal(root->kind, CONFIG_MAPPING);
    assert_int_equal(root->child_count, 3);
    const struct config_node *a = config_node_get(root, "a");
    assert_int_equal(a->key_line, 1);
    assert_int_equal(a->key_column, 1);
    assert_int_equal(a->column, 4);
    assert_true(fr_view_is(a->value, "1"));
    assert_false(a->quoted);
    const struct config_node *wide = config_node_get(root, "\xc3\xa9\xc3\xa9");
    const struct config_node *b = config_node_get(wide, "b");
    assert_int_equal(b->key_line, 2);
    assert_int_equal(b->key_column, 7); /* characters, not bytes */
    assert_int_equal(b->kind, CONFIG_SEQUENCE);
    assert_int_equal(b->child_count, 2);
    assert_true(fr_view_is(b->last_child->value, "y z"));
    assert_true(b->last_child->quoted);
    assert_int_equal(b->last_child->column, 14);
    const struct config_node *c = config_node_get(wide, "c");
    assert_int_equal(c->kind, CONFIG_SCALAR);
    assert_int_equal(c->value.len, 0);
    const struct config_node *e = config_node_get(config_node_get(root, "d")->first_child, "e");
    assert_int_equal(e->line, 4);
    assert_int_equal(e->key_column, 5);
    assert_true(fr_view_is(e->value, "\xc3\xa9"));
    assert_null(config_node_get(root, "b"));
    assert_null(config_node_get(a, "a"));
    assert_null(config_node_get(NULL, "a"));
    fini(&diag, &tree);
}

static void
test_empty(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\n\n", "# only words\n", "---\n", "--- # x\n...\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct config_diag diag;
        struct config_tree tree;
        assert_int_equal(parse(fr_view_of(texts[i]), &diag, &tree), FR_OK);
        assert_null(tree.root);
        fini(&diag, &tree);
    }
}

/* [[[…]]] of so many levels. */
static enum fr_err
parse_depth(size_t depth, struct config_diag *diag, struct config_tree *tree)
{
    char text[256];
    assert_true(2 * depth < sizeof(text));
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    return parse(fr_view_make(text, 2 * depth), diag, tree);
}

static void
test_depth(void **state)
{
    (void)state;
    struct config_diag diag;
    struct config_tree tree;
    assert_int_equal(parse_depth(CONFIG_TREE_DEPTH_MAX, &diag, &tree), FR_OK);
    fini(&diag, &tree);
    assert_int_equal(parse_depth(CONFIG_TREE_DEPTH_MAX + 1, &diag, &tree), FR_ERR_CONFIG);
    assert_null(tree.root);
    assert_int_equal(diag.entry_count, 1);
    assert_int_equal(diag.entries[0].column, CONFIG_TREE_DEPTH_MAX + 1);
    fini(&diag, &tree);
    assert_int_equal(parse_depth(120, &diag, &tree), FR_ERR_CONFIG);
    fini(&diag, &tree);
}

/* A list of so many values, its own node not counted. */
static enum fr_err
parse_count(size_t count, struct config_diag *diag, struct config_tree *tree)
{
    struct fr_buf text;
    fr_buf_init(&text, CONFIG_TREE_BYTES_MAX);
    assert_int_equal(fr_buf_append(&text, "[", 1), FR_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(fr_buf_append(&text, "a, ", 3), FR_OK);
    assert_int_equal(fr_buf_append(&text, "]", 1), FR_OK);
    enum fr_err err = parse(fr_buf_view(&text), diag, tree);
    fr_buf_fini(&text);
    return err;
}

static void
test_count(void **state)
{
    (void)state;
    struct config_diag diag;
    struct config_tree tree;
    assert_int_equal(parse_count(CONFIG_TREE_NODES_MAX - 1, &diag, &tree), FR_OK);
    assert_int_equal(tree.node_count, CONFIG_TREE_NODES_MAX);
    fini(&diag, &tree);
    assert_int_equal(parse_count(CONFIG_TREE_NODES_MAX, &diag, &tree), FR_ERR_CONFIG);
    assert_int_equal(diag.entry_count, 1);
    fini(&diag, &tree);
}

static void
test_bytes(void **state)
{
    (void)state;
    struct config_diag diag;
    struct config_tree tree;
    struct fr_buf text;
    fr_buf_init(&text, CONFIG_TREE_BYTES_MAX + 1);
    assert_int_equal(fr_buf_reserve(&text, CONFIG_TREE_BYTES_MAX + 1), FR_OK);
    memset(text.data, 'a', CONFIG_TREE_BYTES_MAX + 1);
    text.len = CONFIG_TREE_BYTES_MAX;
    assert_int_equal(parse(fr_buf_view(&text), &diag, &tree), FR_OK);
    assert_int_equal(tree.root->value.len, CONFIG_TREE_BYTES_MAX);
    fini(&diag, &tree);
    text.len++;
    assert_int_equal(parse(fr_buf_view(&text), &diag, &tree), FR_ERR_CONFIG);
    assert_int_equal(diag.entries[0].line, 0);
    fini(&diag, &tree);
    fr_buf_fini(&text);
}

/* Every repeated key is told, and the rest of the tree is there to be looked at. */
static void
test_repeated_keys(void **state)
{
    (void)state;
    struct config_diag diag;
    struct config_tree tree;
    assert_int_equal(parse(FR_VIEW("b: 1\na: { x: 1, y: 2, x: 3 }\nb: 2\nb: 3\n"), &diag, &tree),
                     FR_ERR_CONFIG);
    assert_non_null(tree.root);
    assert_int_equal(tree.root->child_count, 4);
    assert_int_equal(diag.error_count, 3);
    assert_int_equal(diag.entries[0].line, 2);
    assert_int_equal(diag.entries[0].column, 18);
    assert_int_equal(diag.entries[1].line, 3);
    assert_int_equal(diag.entries[2].line, 4);
    fini(&diag, &tree);
}

/* Whatever is cut off a file: an error or a tree, never anything else. */
static void
test_every_cut(void **state)
{
    (void)state;
    static const char text[] =
        "a: [1, {b: \"c\\n\", 'd': e}]\nf:\n  - g\n  - >\n    h\n# i\nj: \xc3\xa9\n";
    for (size_t len = 0; len < sizeof(text); len++) {
        struct config_diag diag;
        struct config_tree tree;
        enum fr_err err = parse(fr_view_make(text, len), &diag, &tree);
        assert_true((err == FR_OK) == (diag.error_count == 0));
        fini(&diag, &tree);
    }
}

static void
test_broken_utf8_has_a_place(void **state)
{
    (void)state;
    struct config_diag diag;
    struct config_tree tree;
    assert_int_equal(parse(FR_VIEW("a: 1\nbc: \xff\n"), &diag, &tree), FR_ERR_CONFIG);
    assert_int_equal(diag.entries[0].line, 2);
    assert_int_equal(diag.entries[0].column, 5);
    fini(&diag, &tree);
}

static void
test_by_hand(void **state)
{
    (void)state;
    const struct fr_view none = {"", 0};
    struct config_tree tree;
    config_tree_init(&tree);
    struct config_node *node = config_node_add(&tree, NULL, CONFIG_MAPPING, none, none);
    struct config_node *child =
        config_node_add(&tree, node, CONFIG_SCALAR, FR_VIEW("limit"), FR_VIEW("64"));
    assert_ptr_equal(config_node_get(tree.root, "limit"), child);
    assert_true(fr_view_is(child->value, "64"));
    for (unsigned depth = 2; depth <= CONFIG_TREE_DEPTH_MAX; depth++) {
        node = config_node_add(&tree, node, CONFIG_SEQUENCE, none, none);
        assert_non_null(node);
    }
    assert_null(config_node_add(&tree, node, CONFIG_SCALAR, none, none));
    while (tree.node_count < CONFIG_TREE_NODES_MAX)
        assert_non_null(config_node_add(&tree, tree.root, CONFIG_SCALAR, none, none));
    assert_null(config_node_add(&tree, tree.root, CONFIG_SCALAR, none, none));
    config_tree_fini(&tree);
}

static void
test_check_keys(void **state)
{
    (void)state;
    struct config_diag diag;
    struct config_tree tree;
    assert_int_equal(parse(FR_VIEW("{ one: 1, to: 2, three: 3, zebra: 4 }"), &diag, &tree), FR_OK);
    assert_true(config_node_check_keys(tree.root, "it", "zebra, one, to, three", &diag));
    assert_false(config_node_check_keys(tree.root, "it", "one, two, three", &diag));
    assert_int_equal(diag.error_count, 2);
    assert_string_equal(diag.entries[0].text, "unknown key \"to\" in it, expected one of one, two, "
                                              "three (did you mean \"two\"?)");
    assert_string_equal(diag.entries[1].text,
                        "unknown key \"zebra\" in it, expected one of one, two, three");
    fini(&diag, &tree);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),    cmocka_unit_test(test_empty),
        cmocka_unit_test(test_depth),     cmocka_unit_test(test_count),
        cmocka_unit_test(test_bytes),     cmocka_unit_test(test_repeated_keys),
        cmocka_unit_test(test_every_cut), cmocka_unit_test(test_broken_utf8_has_a_place),
        cmocka_unit_test(test_by_hand),   cmocka_unit_test(test_check_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
