/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_config_print.c - what is printed reads to the same values: for texts that YAML makes hard,
 * and for random routes, clusters and pools with any subset of their keys.
 *
 * FRESHET_SEED in the environment repeats a run; the seed is printed.
 */
#include "config/config_priv.h"

#include "base/fr_hash.h"
#include "base/fr_mem.h"
#include "base/fr_unit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROUNDS 100
#define NO ((struct fr_view){"", 0})

static void
test_scalars(void **state)
{
    (void)state;
    static const struct {
        const char *value, *printed;
    } rows[] = {
        {"web", "web"},
        {"/api/", "/api/"},
        {"web-127.0.0.1-9001", "web-127.0.0.1-9001"},
        {"", "\"\""},
        {"-", "\"-\""},
        {"-a", "\"-a\""},
        {"127.0.0.1:80", "\"127.0.0.1:80\""},
        {"{port}", "\"{port}\""},
        {"a, b", "\"a, b\""},
        {" a ", "\" a \""},
        {"#", "\"#\""},
        {"~", "\"~\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"a\nb\tc\x7f", "\"a\\u000ab\\u0009c\\u007f\""},
        {"caf\xc3\xa9", "\"caf\xc3\xa9\""},
        {"\xc2\x80\xc2\x85", "\"\\u0080\\u0085\""},         /* C1 controls, NEL */
        {"\xe2\x80\xa8\xe2\x80\xa9", "\"\\u2028\\u2029\""}, /* line separators */
        {"\xef\xbb\xbf", "\"\\ufeff\""},                    /* byte order mark */
        {"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},       /* beyond 16 bits */
        {"\xf0\x9f\xbf\xbf", "\"\\U0001ffff\""},            /* not a character */
        {"\xef\xbf\xbd", "\"\xef\xbf\xbd\""},               /* U+FFFD itself */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fr_buf out;
        struct config_diag diag;
        struct config_tree tree;
        fr_buf_init(&out, 4096);
        config_diag_init(&diag);
        assert_int_equal(config_print_scalar(fr_view_of(rows[i].value), &out), FR_OK);
        assert_string_equal(out.data, rows[i].printed);
        assert_int_equal(fr_buf_printf(&out, "\n"), FR_OK);
        assert_int_equal(config_tree_parse(fr_buf_view(&out), &diag, &tree), FR_OK);
        assert_true(fr_view_is(tree.root->value, rows[i].value));
        config_tree_fini(&tree);
        config_diag_fini(&diag);
        fr_buf_fini(&out);
    }
}

/* What is no UTF-8 cannot be written as YAML; it must not make the file unreadable. */
static void
test_broken_utf8(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "\xff", "a\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe2\x28\xa1", "\x80"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fr_buf out;
        struct config_diag diag;
        struct config_tree tree;
        fr_buf_init(&out, 4096);
        config_diag_init(&diag);
        assert_int_equal(config_print_scalar(fr_view_of(rows[i]), &out), FR_OK);
        assert_int_equal(config_tree_parse(fr_buf_view(&out), &diag, &tree), FR_OK);
        config_tree_fini(&tree);
        config_diag_fini(&diag);
        fr_buf_fini(&out);
    }
}

/* ---- random values, by type --------------------------------------------------------------------
 */

static struct fr_rand dice;

static uint64_t
between(uint64_t min, uint64_t max)
{
    return min + fr_rand_next(&dice) % (max - min + 1);
}

static bool
coin(void)
{
    return fr_rand_below(&dice, 2) == 1;
}

static char *
random_name(void)
{
    static const char alphabet[] = "abcXYZ019._-";
    char text[CONFIG_NAME_BYTES] = "n";
    size_t len = (size_t)between(1, CONFIG_NAME_BYTES - 1);
    for (size_t i = 1; i < len; i++)
        text[i] = alphabet[fr_rand_below(&dice, sizeof(alphabet) - 1)];
    return fr_xstrdup(text);
}

static char *
random_text(bool controls)
{
    static const char *const pieces[] = {"a", " ",      "\"", "\\",       ":", ", ",          "#",
                                         "'", "{port}", "- ", "? ",       "&", "*",           "%",
                                         "@", "`",      "=",  "\xc3\xa9", "!", "|",           ">",
                                         "[", "]}",     "~",  "\xc2\x85", "0", "\xe2\x80\xa8"};
    static const char *const bad[] = {"\n", "\t", "\x01", "\r\n", "\x7f"};
    char text[128] = "x";
    for (uint64_t left = between(0, 12); left > 0; left--) {
        const char *piece = controls && fr_rand_below(&dice, 4) == 0
                                ? bad[fr_rand_below(&dice, 5)]
                                : pieces[fr_rand_below(&dice, sizeof(pieces) / sizeof(pieces[0]))];
        size_t len = strlen(text);
        (void)snprintf(text + len, sizeof(text) - len, "%s", piece);
    }
    return fr_xstrdup(text);
}

static char *
random_number(const struct config__row *row)
{
    uint64_t min = 0, max = 0;
    int64_t min_us = 0, max_us = 0;
    double low = 0, high = 0;
    switch (row->type) {
    case CONFIG_TYPE_COUNT:
        assert_true(fr_view_u64(fr_view_of(row->min), &min));
        assert_true(fr_view_u64(fr_view_of(row->max), &max));
        return fr_xprintf("%llu", (unsigned long long)between(min, max));
    case CONFIG_TYPE_BYTES:
        assert_true(fr_unit_parse_bytes(fr_view_of(row->min), &min));
        assert_true(fr_unit_parse_bytes(fr_view_of(row->max), &max));
        return fr_xprintf("%llu", (unsigned long long)between(min, max));
    case CONFIG_TYPE_DURATION:
        assert_true(fr_unit_parse_duration(fr_view_of(row->min), &min_us));
        assert_true(fr_unit_parse_duration(fr_view_of(row->max), &max_us));
        return fr_xprintf("%lluus",
                          (unsigned long long)between((uint64_t)min_us, (uint64_t)max_us));
    default:
        assert_true(fr_unit_parse_ratio(fr_view_of(row->min), &low));
        assert_true(fr_unit_parse_ratio(fr_view_of(row->max), &high));
        low += (high - low) * fr_rand_unit(&dice);
        return coin() ? fr_xprintf("%.9f", low) : fr_xprintf("%.5f%%", low * 100);
    }
}

static char *
random_word(const struct config__row *row)
{
    struct fr_view rest = fr_view_of(row->unit), word = {"", 0}, chosen = {"", 0};
    for (uint32_t n = 1; config__word_next(&rest, &word); n++)
        if (fr_rand_below(&dice, n) == 0)
            chosen = word;
    return fr_xstrndup(chosen.ptr, chosen.len);
}

static char *
random_scalar(const struct config__row *row)
{
    switch (row->type) {
    case CONFIG_TYPE_BOOL:
        return fr_xstrdup(coin() ? "true" : "off");
    case CONFIG_TYPE_CHOICE:
        return random_word(row);
    case CONFIG_TYPE_NAME:
        return random_name();
    case CONFIG_TYPE_TEXT:
        return random_text(false);
    case CONFIG_TYPE_HOST:
        return fr_xstrdup(coin() ? "*.Example.com" : "a-b.example");
    case CONFIG_TYPE_PATH:
        return fr_xprintf("/%llx", (unsigned long long)fr_rand_next(&dice));
    case CONFIG_TYPE_BODY:
        return fr_xstrdup(coin() ? "" : "a line\n\tand: {another}\r\n");
    case CONFIG_TYPE_FILE_NAME:
        return fr_xstrdup(coin() ? "/index.htm" : "a b/.c");
    case CONFIG_TYPE_TOKEN:
        return fr_xstrdup(coin() ? "GET" : "M-SEARCH*!~");
    case CONFIG_TYPE_STATUS:
        return fr_xprintf("%llu-%llu", (unsigned long long)between(100, 300),
                          (unsigned long long)between(300, 599));
    case CONFIG_TYPE_PORTS:
        return fr_xprintf("%llu-%llu", (unsigned long long)between(1, 300),
                          (unsigned long long)between(300, 65535));
    case CONFIG_TYPE_IP:
        return fr_xstrdup(coin() ? "::1" : "10.1.2.3");
    case CONFIG_TYPE_ADDRESS_TEXT:
        return fr_xstrdup(coin() ? ":99" : "10.1.2.3:4");
    case CONFIG_TYPE_MEMBER_ADDRESS:
        return fr_xprintf("10.%u.%u.%u:%u", fr_rand_below(&dice, 256), fr_rand_below(&dice, 256),
                          fr_rand_below(&dice, 256), 1 + fr_rand_below(&dice, 65535));
    default:
        return random_number(row);
    }
}

static struct config_node *
add(struct config_tree *tree, struct config_node *parent, enum config_node_kind kind,
    struct fr_view key, const char *value)
{
    struct config_node *node = config_node_add(tree, parent, kind, key, fr_view_of(value));
    assert_non_null(node);
    return node;
}

static void
add_scalar(struct config_tree *tree, struct config_node *parent, struct fr_view key, char *value)
{
    (void)add(tree, parent, CONFIG_SCALAR, key, value);
    fr_free(value);
}

static void
add_members(struct config_tree *tree, struct config_node *list)
{
    const struct config__row *address = config__row_find(CONFIG_SCOPE_MEMBER, FR_VIEW("address"));
    const struct config__row *weight = config__row_find(CONFIG_SCOPE_MEMBER, FR_VIEW("weight"));
    for (uint64_t left = between(1, 4); left > 0; left--) {
        if (coin()) {
            add_scalar(tree, list, NO, random_scalar(address));
            continue;
        }
        struct config_node *member = add(tree, list, CONFIG_MAPPING, NO, "");
        add_scalar(tree, member, FR_VIEW("address"), random_scalar(address));
        add_scalar(tree, member, FR_VIEW("weight"), random_scalar(weight));
        if (coin())
            add_scalar(tree, member, FR_VIEW("id"),
                       fr_xprintf("id-%llx", (unsigned long long)fr_rand_next(&dice)));
    }
}

/* A floor that no maximum is below. */
static void
add_window(struct config_tree *tree, struct config_node *window)
{
    add_scalar(tree, window, FR_VIEW("at"),
               fr_xstrdup(coin() ? "0 8 * * mon-fri" : "*/5 1,2 3 4 *"));
    add_scalar(tree, window, FR_VIEW("for"),
               fr_xprintf("%llus", (unsigned long long)between(60, 9999)));
    add_scalar(tree, window, FR_VIEW("min"), fr_xstrdup("1"));
    if (coin())
        add_scalar(tree, window, FR_VIEW("zone"), fr_xstrdup(coin() ? "Europe/Berlin" : "UTC"));
}

static void
add_value(struct config_tree *tree, struct config_node *parent, const struct config__row *row)
{
    struct fr_view key = config__row_key(row);
    struct config_node *node;
    switch (row->type) {
    case CONFIG_TYPE_MEMBERS:
        add_members(tree, add(tree, parent, CONFIG_SEQUENCE, key, ""));
        break;
    case CONFIG_TYPE_WINDOWS:
        node = add(tree, parent, CONFIG_SEQUENCE, key, "");
        for (uint64_t left = between(0, 3); left > 0; left--)
            add_window(tree, add(tree, node, CONFIG_MAPPING, NO, ""));
        break;
    case CONFIG_TYPE_FLAGS:
        node = add(tree, parent, CONFIG_SEQUENCE, key, "");
        for (uint64_t left = between(0, 3); left > 0; left--)
            add_scalar(tree, node, NO, random_word(row));
        break;
    case CONFIG_TYPE_COMMAND:
        node = add(tree, parent, CONFIG_SEQUENCE, key, "");
        for (uint64_t left = between(1, 5); left > 0; left--)
            add_scalar(tree, node, NO, random_text(true));
        break;
    case CONFIG_TYPE_ENVIRONMENT:
        node = add(tree, parent, CONFIG_MAPPING, key, "");
        add_scalar(tree, node, FR_VIEW("EMPTY"), fr_xstrdup(""));
        add_scalar(tree, node, FR_VIEW("_a1"), random_text(true));
        break;
    case CONFIG_TYPE_HEADERS:
        node = add(tree, parent, CONFIG_MAPPING, key, "");
        add_scalar(tree, node, FR_VIEW("X-Empty"), fr_xstrdup(""));
        add_scalar(tree, node, FR_VIEW("x!1"), fr_xstrdup(coin() ? "a: b, \"c\"" : "caf\xc3\xa9"));
        break;
    case CONFIG_TYPE_HEADER:
        if (coin()) {
            (void)add(tree, parent, CONFIG_SCALAR, key, "X-Any");
            break;
        }
        node = add(tree, parent, CONFIG_MAPPING, key, "");
        add_scalar(tree, node, FR_VIEW("X-Some"), random_text(false));
        break;
    default:
        add_scalar(tree, parent, key, random_scalar(row));
    }
}

/* Any subset of the keys below `prefix`; those that left_out() names are left to the caller. */
static void
add_mapping(struct config_tree *tree, struct config_node *node, enum config__scope scope,
            struct fr_view prefix, bool (*left_out)(const struct config__row *row))
{
    const struct config__row *row = NULL;
    while ((row = config__row_next(scope, prefix, row)) != NULL) {
        if (left_out(row) || fr_rand_below(&dice, 3) == 0)
            continue;
        if (row->type != CONFIG_TYPE_MAPPING)
            add_value(tree, node, row);
        else
            add_mapping(tree, add(tree, node, CONFIG_MAPPING, config__row_key(row), ""), scope,
                        fr_view_of(row->path), left_out);
    }
}

/* Every row's value of the two, printed by itself, is the same: nothing was lost on the way. */
static void
compare(enum config__scope scope, const void *one, const void *other)
{
    for (size_t i = 0; i < config__row_count; i++) {
        const struct config__row *row = &config__rows[i];
        const char *a = (const char *)one + row->offset, *b = (const char *)other + row->offset;
        if (row->scope != scope || !row->has_field)
            continue;
        if (row->type == CONFIG_TYPE_MAPPING) {
            assert_int_equal(*(const bool *)(const void *)a, *(const bool *)(const void *)b);
            continue;
        }
        struct fr_buf x, y;
        fr_buf_init(&x, 1 << 20);
        fr_buf_init(&y, 1 << 20);
        assert_int_equal(config__types[row->type].print(row, a, &x), FR_OK);
        assert_int_equal(config__types[row->type].print(row, b, &y), FR_OK);
        if (!fr_view_eq(fr_buf_view(&x), fr_buf_view(&y)))
            fail_msg("%s: %s became %s", row->path, x.data ? x.data : "", y.data ? y.data : "");
        fr_buf_fini(&x);
        fr_buf_fini(&y);
    }
}

static void
must(enum fr_err err, const struct config_diag *diag)
{
    struct fr_buf out;
    if (!err)
        return;
    fr_buf_init(&out, 1 << 20);
    assert_int_equal(config_diag_print(diag, &out), FR_OK);
    fail_msg("%s", out.data ? out.data : "no message");
}

static void
parse_printed(struct fr_buf *out, struct config_diag *diag, struct config_tree *tree)
{
    assert_null(memchr(out->data, '\n', out->len)); /* one line */
    config_diag_source(diag, "printed", fr_buf_view(out));
    must(config_tree_parse(fr_buf_view(out), diag, tree), diag);
}

static bool
is_one_of(const struct config__row *row, const char *paths)
{
    struct fr_view rest = fr_view_of(paths), path;
    while (config__word_next(&rest, &path))
        if (fr_view_is(path, row->path))
            return true;
    return false;
}

static bool
skip_route(const struct config__row *row)
{
    return is_one_of(row, "name, cluster, redirect, respond, files");
}

/* What only a cluster gives a meaning. */
static bool
skip_answer(const struct config__row *row)
{
    return skip_route(row) || is_one_of(row, "cache, handover, stale");
}

/* What its own action needs, or cannot have together. */
static bool
skip_needed(const struct config__row *row)
{
    return is_one_of(row, "redirect.to, redirect.status, respond.status, files.folder");
}

static void
add_answer(struct config_tree *tree, struct config_node *root, uint64_t action)
{
    static const char *const names[] = {"redirect", "respond", "files"};
    struct fr_view name = fr_view_of(names[action]);
    struct config_node *node = add(tree, root, CONFIG_MAPPING, name, "");
    if (action == 0) {
        (void)add(tree, node, CONFIG_SCALAR, FR_VIEW("to"), "https://{host}/x{path}{query}");
        (void)add(tree, node, CONFIG_SCALAR, FR_VIEW("status"), coin() ? "303" : "308");
    } else if (action == 1) {
        (void)add(tree, node, CONFIG_SCALAR, FR_VIEW("status"), coin() ? "200" : "599");
    } else {
        (void)add(tree, node, CONFIG_SCALAR, FR_VIEW("folder"), ".");
    }
    add_mapping(tree, node, CONFIG_SCOPE_ROUTE, name, skip_needed);
    add_mapping(tree, root, CONFIG_SCOPE_ROUTE, NO, skip_answer);
}

static void
test_random_routes(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct config_diag diag;
        struct config_tree tree, printed;
        struct config_route *route = NULL, *again = NULL;
        struct fr_buf out;
        fr_buf_init(&out, 1 << 20);
        config_diag_init(&diag);
        config_tree_init(&tree);
        struct config_node *root = add(&tree, NULL, CONFIG_MAPPING, NO, "");
        add_scalar(&tree, root, FR_VIEW("name"), random_name());
        uint64_t action = between(0, 3);
        if (action < 3) {
            add_answer(&tree, root, action);
        } else {
            add_scalar(&tree, root, FR_VIEW("cluster"), random_name());
            add_mapping(&tree, root, CONFIG_SCOPE_ROUTE, NO, skip_route);
        }
        must(config_route_from_tree(root, &diag, &route), &diag);
        assert_true(route->runtime);
        assert_int_equal(config_route_print(route, &out), FR_OK);
        parse_printed(&out, &diag, &printed);
        must(config_route_from_tree(printed.root, &diag, &again), &diag);
        compare(CONFIG_SCOPE_ROUTE, route, again);
        config_route_unref(&route);
        config_route_unref(&again);
        config_tree_fini(&tree);
        config_tree_fini(&printed);
        config_diag_fini(&diag);
        fr_buf_fini(&out);
    }
}

/* These depend on one another; the test writes them itself. */
static bool
skip_cluster(const struct config__row *row)
{
    static const char *const paths[] = {
        "members",     "park.page",   "balance",     "hash",           "sticky",
        "tls",         "protocol",    "health.type", "scale.min",      "scale.max",
        "scale.upper", "scale.lower", "scale.from",  "health.service", NULL};
    for (size_t i = 0; paths[i]; i++)
        if (strcmp(row->path, paths[i]) == 0)
            return true;
    return false;
}

static void
add_level(struct config_tree *tree, struct config_node *scale, struct fr_view key, double low)
{
    char *level = fr_xprintf("%.6f", low + 0.4 * fr_rand_unit(&dice));
    if (coin()) {
        add_scalar(tree, scale, key, level);
        return;
    }
    struct config_node *node = add(tree, scale, CONFIG_MAPPING, key, "");
    add_scalar(tree, node, FR_VIEW("level"), level);
    add_scalar(tree, node, FR_VIEW("for"), fr_xprintf("%ums", fr_rand_below(&dice, 100000)));
}

static void
add_hash(struct config_tree *tree, struct config_node *root)
{
    static const char *const ways[] = {"url", "path", "address", "header", "cookie"};
    uint32_t way = fr_rand_below(&dice, 5);
    (void)add(tree, root, CONFIG_SCALAR, FR_VIEW("balance"), "hash");
    struct config_node *hash = add(tree, root, CONFIG_MAPPING, FR_VIEW("hash"), "");
    (void)add(tree, hash, CONFIG_SCALAR, FR_VIEW("by"), ways[way]);
    if (way >= 3)
        (void)add(tree, hash, CONFIG_SCALAR, FR_VIEW("name"), coin() ? "Session_id" : "X-*!~");
    if (coin())
        add_scalar(tree, hash, FR_VIEW("bound"),
                   coin() ? fr_xstrdup("0") : fr_xprintf("%.6f", 1 + fr_rand_unit(&dice)));
}

static void
add_sticky(struct config_tree *tree, struct config_node *root)
{
    static const char *const same_sites[] = {"off", "lax", "strict"};
    struct config_node *sticky = add(tree, root, CONFIG_MAPPING, FR_VIEW("sticky"), "");
    (void)add(tree, sticky, CONFIG_SCALAR, FR_VIEW("cookie"), coin() ? "SRV" : "__Host-a!");
    if (coin())
        add_scalar(tree, sticky, FR_VIEW("for"), fr_xprintf("%us", fr_rand_below(&dice, 100000)));
    if (coin())
        (void)add(tree, sticky, CONFIG_SCALAR, FR_VIEW("path"), "/shop/");
    if (coin())
        (void)add(tree, sticky, CONFIG_SCALAR, FR_VIEW("secure"), "true");
    if (coin())
        (void)add(tree, sticky, CONFIG_SCALAR, FR_VIEW("same-site"),
                  same_sites[fr_rand_below(&dice, 3)]);
    if (coin())
        (void)add(tree, sticky, CONFIG_SCALAR, FR_VIEW("draining"), "move");
    if (coin())
        (void)add(tree, sticky, CONFIG_SCALAR, FR_VIEW("forward"), "on");
}

/* Without files, which would have to be there. */
static void
add_tls(struct config_tree *tree, struct config_node *root)
{
    struct config_node *tls = add(tree, root, CONFIG_MAPPING, FR_VIEW("tls"), "");
    if (coin())
        (void)add(tree, tls, CONFIG_SCALAR, FR_VIEW("verify"), "false");
    if (coin())
        add_scalar(tree, tls, FR_VIEW("name"), random_text(false));
}

static void
add_cluster(struct config_tree *tree, struct config_node *root)
{
    add_mapping(tree, root, CONFIG_SCOPE_CLUSTER, NO, skip_cluster);
    if (coin())
        add_hash(tree, root);
    if (coin())
        add_sticky(tree, root);
    bool secured = coin(), http1 = coin();
    if (secured)
        add_tls(tree, root);
    if (http1 || coin())
        (void)add(tree, root, CONFIG_SCALAR, FR_VIEW("protocol"),
                  http1     ? "http1"
                  : secured ? "h2"
                            : "h2c");
    add_members(tree, add(tree, root, CONFIG_SEQUENCE, FR_VIEW("members"), ""));
    struct config_node *node = root->first_child;
    for (; node; node = node->next) {
        if (fr_view_is(node->key, "scale")) {
            add_scalar(tree, node, FR_VIEW("from"), random_name());
            add_scalar(tree, node, FR_VIEW("min"), fr_xprintf("%u", fr_rand_below(&dice, 10)));
            add_scalar(tree, node, FR_VIEW("max"), fr_xprintf("%u", 10 + fr_rand_below(&dice, 9)));
            add_level(tree, node, FR_VIEW("upper"), 0.6);
            add_level(tree, node, FR_VIEW("lower"), 0.1);
        }
        if (!fr_view_is(node->key, "health"))
            continue;
        if (!http1 && coin())
            add_scalar(tree, node, FR_VIEW("service"), random_text(false));
        else if (coin())
            add_scalar(tree, node, FR_VIEW("type"),
                       fr_xstrdup(!http1 && coin() ? "grpc"
                                  : coin()         ? "tcp"
                                                   : "none"));
    }
}

static void
test_random_clusters(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct config_diag diag;
        struct config_tree tree, printed;
        struct config_cluster *cluster = NULL, *again = NULL;
        struct fr_buf out;
        fr_buf_init(&out, 1 << 20);
        config_diag_init(&diag);
        config_tree_init(&tree);
        struct config_node *root = add(&tree, NULL, CONFIG_MAPPING, NO, "");
        add_cluster(&tree, root);
        must(config_cluster_from_tree(FR_VIEW("web"), root, &diag, &cluster), &diag);
        assert_true(cluster->runtime);
        assert_int_equal(config_cluster_print(cluster, &out), FR_OK);
        parse_printed(&out, &diag, &printed);
        must(config_cluster_restore(FR_VIEW("web"), printed.root, &diag, &again), &diag);
        compare(CONFIG_SCOPE_CLUSTER, cluster, again);
        config_cluster_unref(&cluster);
        config_cluster_unref(&again);
        config_tree_fini(&tree);
        config_tree_fini(&printed);
        config_diag_fini(&diag);
        fr_buf_fini(&out);
    }
}

static bool
skip_static(const struct config__row *row)
{
    return strcmp(row->path, "start-timeout") != 0;
}

static bool
skip_process(const struct config__row *row)
{
    return strcmp(row->path, "provider") == 0 || strcmp(row->path, "servers") == 0 ||
           strcmp(row->path, "command") == 0 || strcmp(row->path, "ports") == 0;
}

static void
test_random_pools(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct config_diag diag;
        struct config_tree tree, printed;
        struct config_pool *pool = NULL, *again = NULL;
        struct fr_buf out;
        fr_buf_init(&out, 1 << 20);
        config_diag_init(&diag);
        config_tree_init(&tree);
        struct config_node *root = add(&tree, NULL, CONFIG_MAPPING, NO, "");
        bool process = coin();
        add_scalar(&tree, root, FR_VIEW("provider"), fr_xstrdup(process ? "process" : "static"));
        add_mapping(&tree, root, CONFIG_SCOPE_POOL, NO, process ? skip_process : skip_static);
        if (process) {
            add_value(&tree, root, config__row_find(CONFIG_SCOPE_POOL, FR_VIEW("command")));
            add_value(&tree, root, config__row_find(CONFIG_SCOPE_POOL, FR_VIEW("ports")));
        } else {
            add_value(&tree, root, config__row_find(CONFIG_SCOPE_POOL, FR_VIEW("servers")));
        }
        must(config_pool_restore(FR_VIEW("p"), root, &diag, &pool), &diag);
        assert_true(pool->runtime);
        assert_int_equal(config_pool_print(pool, &out), FR_OK);
        parse_printed(&out, &diag, &printed);
        must(config_pool_restore(FR_VIEW("p"), printed.root, &diag, &again), &diag);
        compare(CONFIG_SCOPE_POOL, pool, again);
        assert_int_equal(pool->server_count, again->server_count);
        assert_int_equal(pool->command_count, again->command_count);
        for (size_t k = 0; k < pool->command_count; k++)
            assert_string_equal(pool->command[k], again->command[k]);
        config_pool_unref(&pool);
        config_pool_unref(&again);
        config_tree_fini(&tree);
        config_tree_fini(&printed);
        config_diag_fini(&diag);
        fr_buf_fini(&out);
    }
}

int
main(void)
{
    const char *given = getenv("FRESHET_SEED");
    uint64_t seed = 0;
    fr_rand_init_random(&dice);
    if (!given || !fr_view_u64(fr_view_of(given), &seed))
        seed = fr_rand_next(&dice);
    fr_rand_init(&dice, seed);
    printf("FRESHET_SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars),       cmocka_unit_test(test_broken_utf8),
        cmocka_unit_test(test_random_routes), cmocka_unit_test(test_random_clusters),
        cmocka_unit_test(test_random_pools),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
