/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_option.c - the rows of options.def as a table, and finding in it.
 *
 * May touch:  base.
 * Memory:     none of its own; the table is constant.
 */
#include "config/config_priv.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#include <stdlib.h>

#define NEAREST_BYTES_MAX 64 /* longer words are not compared */

#define CONFIG_OPTION(scope_, path_, type_, field_, unit_, min_, max_, default_, when_, words_)    \
    {.scope = CONFIG_SCOPE_##scope_,                                                               \
     .path = path_,                                                                                \
     .type = CONFIG_TYPE_##type_,                                                                  \
     .has_field = true,                                                                            \
     .offset = offsetof(CONFIG_STRUCT_##scope_, field_),                                           \
     .field_bytes = sizeof(((CONFIG_STRUCT_##scope_ *)0)->field_),                                 \
     .unit = unit_,                                                                                \
     .min = min_,                                                                                  \
     .max = max_,                                                                                  \
     .default_text = default_,                                                                     \
     .when = CONFIG_WHEN_##when_,                                                                  \
     .words = words_},
#define CONFIG_SECTION(scope_, path_, type_, unit_, when_, words_)                                 \
    {.scope = CONFIG_SCOPE_##scope_,                                                               \
     .path = path_,                                                                                \
     .type = CONFIG_TYPE_##type_,                                                                  \
     .unit = unit_,                                                                                \
     .min = "",                                                                                    \
     .max = "",                                                                                    \
     .default_text = "",                                                                           \
     .when = CONFIG_WHEN_##when_,                                                                  \
     .words = words_},

const struct config__row config__rows[] = {
#include "config/options.def"
};
#undef CONFIG_OPTION
#undef CONFIG_SECTION

const size_t config__row_count = sizeof(config__rows) / sizeof(config__rows[0]);

const char *
config__scope_name(enum config__scope scope)
{
    static const char *const names[CONFIG_SCOPE_COUNT] = {
        [CONFIG_SCOPE_FILE] = "file",
        [CONFIG_SCOPE_LISTEN] = "listener",
        [CONFIG_SCOPE_ROUTE] = "route",
        [CONFIG_SCOPE_MEMBER] = "member",
        [CONFIG_SCOPE_CLUSTER] = "cluster",
        [CONFIG_SCOPE_POOL] = "pool",
        [CONFIG_SCOPE_CERTIFICATE] = "certificate",
        [CONFIG_SCOPE_WINDOW] = "window",
        [CONFIG_SCOPE_PEER] = "peer",
        [CONFIG_SCOPE_USER] = "user",
    };
    return names[scope];
}

const struct config__row *
config__row_find(enum config__scope scope, struct fr_view path)
{
    for (size_t i = 0; i < config__row_count; i++)
        if (config__rows[i].scope == scope && fr_view_is(path, config__rows[i].path))
            return &config__rows[i];
    return NULL;
}

const struct config__row *
config__row_next(enum config__scope scope, struct fr_view prefix, const struct config__row *after)
{
    for (size_t i = after ? (size_t)(after - config__rows) + 1 : 0; i < config__row_count; i++) {
        const struct config__row *row = &config__rows[i];
        struct fr_view path = fr_view_of(row->path);
        if (row->scope != scope || !fr_view_starts(path, prefix))
            continue;
        size_t skip = prefix.len ? prefix.len + 1 : 0;
        if (path.len <= skip || (skip && path.ptr[prefix.len] != '.'))
            continue;
        if (!memchr(path.ptr + skip, '.', path.len - skip))
            return row;
    }
    return NULL;
}

struct fr_view
config__row_key(const struct config__row *row)
{
    const char *dot = strrchr(row->path, '.');
    return fr_view_of(dot ? dot + 1 : row->path);
}

bool
config__row_is_computed(const struct config__row *row)
{
    return row->default_text[0] == '(';
}

void
config__defaults(enum config__scope scope, void *base)
{
    struct config_diag diag;
    config_diag_init(&diag);
    struct config__reader reader = {.diag = &diag};
    for (size_t i = 0; i < config__row_count; i++) {
        const struct config__row *row = &config__rows[i];
        if (row->scope != scope || row->default_text[0] == '\0' || config__row_is_computed(row))
            continue;
        struct fr_view text = fr_view_of(row->default_text);
        struct config_tree tree;
        struct config_node *node = NULL;
        config_tree_init(&tree);
        if (text.ptr[0] == '[') { /* a list of words */
            node = config_node_add(&tree, NULL, CONFIG_SEQUENCE, (struct fr_view){"", 0},
                                   (struct fr_view){"", 0});
            struct fr_view rest = fr_view_make(text.ptr + 1, text.len - 2), word;
            while (node && config__word_next(&rest, &word))
                fr_insist(
                    config_node_add(&tree, node, CONFIG_SCALAR, (struct fr_view){"", 0}, word));
        } else {
            node = config_node_add(&tree, NULL, CONFIG_SCALAR, (struct fr_view){"", 0}, text);
        }
        fr_insist(node);
        fr_insist(config__types[row->type].parse(&reader, row, node, config__row_field(row, base)));
        config_tree_fini(&tree);
    }
    config_diag_fini(&diag);
}

bool
config__word_next(struct fr_view *rest, struct fr_view *out_word)
{
    struct fr_view head;
    if (!fr_view_split(rest, ',', &head))
        return false;
    *out_word = fr_view_trim(head);
    return true;
}

/* Insertions, deletions, changes of one byte and swaps of two neighbours that lead from a to b
 * (optimal string alignment). */
static size_t
edit_distance(struct fr_view a, struct fr_view b)
{
    size_t rows[3][NEAREST_BYTES_MAX + 1];
    for (size_t j = 0; j <= b.len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t *now = rows[i % 3];
        const size_t *before = rows[(i - 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t best = before[j - 1] + (a.ptr[i - 1] != b.ptr[j - 1]);
            if (before[j] + 1 < best)
                best = before[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            bool swapped =
                i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1];
            if (swapped && rows[(i - 2) % 3][j - 2] + 1 < best)
                best = rows[(i - 2) % 3][j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[a.len % 3][b.len];
}

static size_t
common_prefix(struct fr_view a, struct fr_view b)
{
    size_t i = 0;
    while (i < a.len && i < b.len && a.ptr[i] == b.ptr[i])
        i++;
    return i;
}

struct fr_view
config__nearest(struct fr_view written, struct fr_view words)
{
    struct fr_view best = {"", 0}, word;
    size_t best_distance = SIZE_MAX;
    if (written.len == 0 || written.len > NEAREST_BYTES_MAX)
        return best;
    while (config__word_next(&words, &word)) {
        if (word.len == 0 || word.len > NEAREST_BYTES_MAX)
            continue;
        size_t longer = word.len > written.len ? word.len : written.len;
        size_t near = longer < 6 ? 1 + (longer > 3) : longer / 3;
        size_t distance = edit_distance(written, word);
        bool nearer = distance < best_distance ||
                      (distance == best_distance && /* "server": "servers" rather than "serves" */
                       common_prefix(written, word) > common_prefix(written, best));
        if (distance > 0 && distance <= near && nearer && distance < longer) {
            best = word;
            best_distance = distance;
        }
    }
    return best;
}

bool
config_node_check_keys(const struct config_node *mapping, const char *where, const char *known,
                       struct config_diag *diag)
{
    bool good = true;
    for (const struct config_node *node = mapping->first_child; node; node = node->next) {
        struct fr_view rest = fr_view_of(known), word = {"", 0};
        bool found = false;
        while (!found && config__word_next(&rest, &word))
            found = fr_view_eq(word, node->key);
        if (found)
            continue;
        struct fr_view near = config__nearest(node->key, fr_view_of(known));
        struct fr_view key = fr_view_make(node->key.ptr, node->key.len < 100 ? node->key.len : 100);
        config_diag_add(diag, node->key_line, node->key_column,
                        "unknown key \"%.*s\" in %s, expected one of %s%s%.*s%s", FR_VIEW_ARG(key),
                        where, known, near.len ? " (did you mean \"" : "", FR_VIEW_ARG(near),
                        near.len ? "\"?)" : "");
        good = false;
    }
    return good;
}
