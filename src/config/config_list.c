/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_list.c - the types that are lists: commands, environments, listeners, members, and the
 * routes, clusters and pools of a file.
 *
 * May touch:  base.
 * When full:  an error with the bound in it; the list is cut there, so that checking goes on.
 */
#include "config/config_priv.h"

#include "base/fr_check.h"
#include "base/fr_list.h"
#include "base/fr_mem.h"

#include <assert.h>
#include <ctype.h>

/* The overlay of config__array and config__address on the structs. */
#define FOLLOWS(type, first, second)                                                               \
    static_assert(offsetof(type, second) == offsetof(type, first) + sizeof(void *),                \
                  #second " must follow " #first)
FOLLOWS(struct config, listen, listen_count);
FOLLOWS(struct config, trusted, trusted_count);
FOLLOWS(struct config_cache, purge_from, purge_from_count);
FOLLOWS(struct config, routes, route_count);
FOLLOWS(struct config, clusters, cluster_count);
FOLLOWS(struct config, pools, pool_count);
FOLLOWS(struct config_manager, listen, listen_count);
FOLLOWS(struct config_manager, peers, peer_count);
FOLLOWS(struct config_users, list, count);
FOLLOWS(struct config_cluster, members, member_count);
FOLLOWS(struct config_scale, windows, window_count);
FOLLOWS(struct config_pool, servers, server_count);
FOLLOWS(struct config_pool, command, command_count);
FOLLOWS(struct config_route, header_name, header_value);
static_assert(offsetof(struct config, admin_addr) - offsetof(struct config, admin) ==
                  offsetof(struct config__address, addr),
              "admin_addr must follow admin");
static_assert(offsetof(struct config_manager, connect_addr) -
                      offsetof(struct config_manager, connect) ==
                  offsetof(struct config__address, addr),
              "connect_addr must follow connect");
static_assert(offsetof(struct config_pool, port_last) ==
                  offsetof(struct config_pool, port_first) + sizeof(uint16_t),
              "port_last must follow port_first");
static_assert(offsetof(struct config_health, status_max) ==
                  offsetof(struct config_health, status_min) + sizeof(unsigned),
              "status_max must follow status_min");

void
config__words_free(char ***words)
{
    for (char **word = *words; word && *word; word++)
        fr_free(*word);
    fr_free(*words);
    *words = NULL;
}

bool
config__parse_command(struct config__reader *reader, const struct config__row *row,
                      const struct config_node *node, void *field)
{
    struct config__array *array = field;
    if (node->kind != CONFIG_SEQUENCE || node->child_count == 0)
        return config__bad_value(reader, row, node);
    if (node->child_count > CONFIG_COMMAND_MAX)
        return config__bad(reader, row, node, "has %zu words, expected at most %d",
                           node->child_count, CONFIG_COMMAND_MAX);
    for (const struct config_node *item = node->first_child; item; item = item->next)
        if (item->kind != CONFIG_SCALAR || item->value.len > CONFIG_TEXT_BYTES_MAX ||
            (item == node->first_child && item->value.len == 0))
            return config__bad_value(reader, row, item);
    char **words = fr_xalloc((node->child_count + 1) * sizeof(*words));
    size_t count = 0;
    for (const struct config_node *item = node->first_child; item; item = item->next)
        words[count++] = fr_xstrndup(item->value.ptr, item->value.len);
    config__words_free((char ***)&array->items);
    array->items = words;
    array->count = count;
    return true;
}

enum fr_err
config__print_command(const struct config__row *row, const void *field, struct fr_buf *out)
{
    (void)row;
    const struct config__array *array = field;
    char *const *words = array->items;
    if (!words)
        return FR_OK;
    enum fr_err err = fr_buf_append(out, "[", 1);
    for (size_t i = 0; i < array->count && !err; i++) {
        if (i)
            err = fr_buf_append(out, ", ", 2);
        if (!err)
            err = config_print_scalar(fr_view_of(words[i]), out);
    }
    return err ? err : fr_buf_append(out, "]", 1);
}

/* POSIX: names of variables are letters, digits and underscores. */
static bool
is_variable(struct fr_view name)
{
    if (name.len == 0 || name.len > 255 || isdigit((unsigned char)name.ptr[0]))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum((unsigned char)name.ptr[i]) && name.ptr[i] != '_')
            return false;
    return true;
}

bool
config__parse_environment(struct config__reader *reader, const struct config__row *row,
                          const struct config_node *node, void *field)
{
    char ***words = field;
    if (node->kind != CONFIG_MAPPING)
        return config__bad_value(reader, row, node);
    if (node->child_count > CONFIG_COMMAND_MAX)
        return config__bad(reader, row, node, "has %zu variables, expected at most %d",
                           node->child_count, CONFIG_COMMAND_MAX);
    for (const struct config_node *item = node->first_child; item; item = item->next) {
        if (item->kind != CONFIG_SCALAR || item->value.len > CONFIG_TEXT_BYTES_MAX)
            return config__bad_value(reader, row, item);
        if (!is_variable(item->key)) {
            struct fr_view key =
                fr_view_make(item->key.ptr, item->key.len < 100 ? item->key.len : 100);
            config_diag_add(reader->diag, item->key_line, item->key_column,
                            "%s.environment has \"%.*s\", expected names of letters, digits and "
                            "underscores",
                            reader->where, FR_VIEW_ARG(key));
            return false;
        }
    }
    config__words_free(words);
    size_t count = 0;
    *words = node->child_count ? fr_xalloc((node->child_count + 1) * sizeof(**words)) : NULL;
    for (const struct config_node *item = node->first_child; item; item = item->next)
        (*words)[count++] =
            fr_xprintf("%.*s=%.*s", FR_VIEW_ARG(item->key), FR_VIEW_ARG(item->value));
    return true;
}

enum fr_err
config__print_pairs(char *const *pairs, const char *separator, struct fr_buf *out)
{
    if (!pairs)
        return FR_OK;
    enum fr_err err = fr_buf_append(out, "{", 1);
    for (size_t i = 0; pairs[i] && !err; i++) {
        const char *end = strstr(pairs[i], separator); /* every one was made with it */
        if (i)
            err = fr_buf_append(out, ", ", 2);
        if (!err)
            err = config_print_scalar(fr_view_make(pairs[i], (size_t)(end - pairs[i])), out);
        if (!err)
            err = fr_buf_append(out, ": ", 2);
        if (!err)
            err = config_print_scalar(fr_view_of(end + strlen(separator)), out);
    }
    return err ? err : fr_buf_append(out, "}", 1);
}

enum fr_err
config__print_environment(const struct config__row *row, const void *field, struct fr_buf *out)
{
    (void)row;
    return config__print_pairs(*(char **const *)field, "=", out);
}

/* A scalar item is its address alone. */
static void
read_item(struct config__reader *reader, enum config__scope scope, const struct config_node *item,
          void *base)
{
    if (item->kind == CONFIG_SCALAR) {
        const struct config__row *row = config__row_find(scope, FR_VIEW("address"));
        (void)config__types[row->type].parse(reader, row, item, config__row_field(row, base));
        return;
    }
    config__read_scope(reader, scope, item, base);
    if (item->kind == CONFIG_MAPPING && !config_node_get(item, "address"))
        config_diag_add(reader->diag, item->line, item->column, "%s has no address, expected one",
                        reader->where);
}

/* How many items of a sequence are taken; past the bound is an error. */
static size_t
bounded_count(struct config__reader *reader, const struct config__row *row,
              const struct config_node *node, size_t max)
{
    if (node->child_count <= max)
        return node->child_count;
    (void)config__bad(reader, row, node, "has %zu entries, expected at most %zu", node->child_count,
                      max);
    return max;
}

bool
config__parse_listen(struct config__reader *reader, const struct config__row *row,
                     const struct config_node *node, void *field)
{
    struct config__array *array = field;
    bool single = node->kind != CONFIG_SEQUENCE;
    if (node->kind == CONFIG_MAPPING && node->child_count == 0)
        return config__bad_value(reader, row, node);
    size_t count = single ? 1 : bounded_count(reader, row, node, CONFIG_LISTEN_MAX);
    if (count == 0)
        return config__bad_value(reader, row, node);
    struct config_listen *list = fr_xalloc(count * sizeof(*list));
    const struct config_node *item = single ? node : node->first_child;
    for (size_t i = 0; i < count; i++, item = item->next) {
        size_t saved;
        if (single)
            config__where_into(reader, &saved, "%s", row->path);
        else
            config__where_into(reader, &saved, "%s[%zu]", row->path, i);
        config__defaults(CONFIG_SCOPE_LISTEN, &list[i]);
        list[i].line = item->line;
        read_item(reader, CONFIG_SCOPE_LISTEN, item, &list[i]);
        config__check_tls(reader, item, &list[i]);
        config__where_back(reader, saved);
    }
    fr_insist(array->items == NULL); /* config__read_scope takes a key once */
    array->items = list;
    array->count = count;
    return true;
}

bool
config__parse_certificates(struct config__reader *reader, const struct config__row *row,
                           const struct config_node *node, void *field)
{
    struct config__array *array = field;
    if (node->kind != CONFIG_SEQUENCE)
        return config__bad_value(reader, row, node);
    size_t count = bounded_count(reader, row, node, CONFIG_CERTIFICATES_MAX);
    struct config_certificate *list = count ? fr_xalloc(count * sizeof(*list)) : NULL;
    const struct config_node *item = node->first_child;
    for (size_t i = 0; i < count; i++, item = item->next) {
        size_t saved;
        config__where_into(reader, &saved, "%s[%zu]", row->path, i);
        config__defaults(CONFIG_SCOPE_CERTIFICATE, &list[i]);
        config__read_scope(reader, CONFIG_SCOPE_CERTIFICATE, item, &list[i]);
        config__check_certificate(reader, item, &list[i]);
        config__where_back(reader, saved);
    }
    fr_insist(array->items == NULL);
    array->items = list;
    array->count = count;
    return true;
}

bool
config__parse_members(struct config__reader *reader, const struct config__row *row,
                      const struct config_node *node, void *field)
{
    struct config__array *array = field;
    if (node->kind != CONFIG_SEQUENCE)
        return config__bad_value(reader, row, node);
    size_t count = bounded_count(reader, row, node, CONFIG_MEMBERS_MAX);
    struct config_member *list = count ? fr_xalloc(count * sizeof(*list)) : NULL;
    const struct config_node *item = node->first_child;
    for (size_t i = 0; i < count; i++, item = item->next) {
        size_t saved;
        config__where_into(reader, &saved, "%s[%zu]", row->path, i);
        config__defaults(CONFIG_SCOPE_MEMBER, &list[i]);
        read_item(reader, CONFIG_SCOPE_MEMBER, item, &list[i]);
        config__where_back(reader, saved);
    }
    fr_insist(array->items == NULL);
    array->items = list;
    array->count = count;
    return true;
}

enum fr_err
config__print_members(const struct config__row *row, const void *field, struct fr_buf *out)
{
    (void)row;
    const struct config__array *array = field;
    const struct config_member *list = array->items;
    struct config_member defaults = {0};
    if (array->count == 0)
        return FR_OK;
    config__defaults(CONFIG_SCOPE_MEMBER, &defaults);
    enum fr_err err = fr_buf_append(out, "[", 1);
    for (size_t i = 0; i < array->count && !err; i++) {
        if (i)
            err = fr_buf_append(out, ", ", 2);
        if (!err)
            err = config__print_scope(CONFIG_SCOPE_MEMBER, &list[i], &defaults, out);
    }
    return err ? err : fr_buf_append(out, "]", 1);
}

bool
config__parse_routes(struct config__reader *reader, const struct config__row *row,
                     const struct config_node *node, void *field)
{
    struct config__array *array = field;
    if (node->kind != CONFIG_SEQUENCE)
        return config__bad_value(reader, row, node);
    size_t count = bounded_count(reader, row, node, CONFIG_ROUTES_MAX);
    struct config_route **list = count ? fr_xalloc(count * sizeof(*list)) : NULL;
    const struct config_node *item = node->first_child;
    for (size_t i = 0; i < count; i++, item = item->next)
        list[i] = config__route_read(reader, item, i);
    fr_insist(array->items == NULL);
    array->items = list;
    array->count = count;
    return true;
}

bool
config__parse_clusters(struct config__reader *reader, const struct config__row *row,
                       const struct config_node *node, void *field)
{
    struct config__array *array = field;
    if (node->kind != CONFIG_MAPPING)
        return config__bad_value(reader, row, node);
    size_t count = bounded_count(reader, row, node, CONFIG_CLUSTERS_MAX);
    struct config_cluster **list = count ? fr_xalloc(count * sizeof(*list)) : NULL;
    const struct config_node *item = node->first_child;
    for (size_t i = 0; i < count; i++, item = item->next)
        list[i] = config__cluster_read(reader, item->key, item);
    fr_insist(array->items == NULL);
    array->items = list;
    array->count = count;
    return true;
}

bool
config__parse_pools(struct config__reader *reader, const struct config__row *row,
                    const struct config_node *node, void *field)
{
    struct config__array *array = field;
    if (node->kind != CONFIG_MAPPING)
        return config__bad_value(reader, row, node);
    size_t count = bounded_count(reader, row, node, CONFIG_POOLS_MAX);
    struct config_pool **list = count ? fr_xalloc(count * sizeof(*list)) : NULL;
    const struct config_node *item = node->first_child;
    for (size_t i = 0; i < count; i++, item = item->next)
        list[i] = config__pool_read(reader, item->key, item);
    fr_insist(array->items == NULL);
    array->items = list;
    array->count = count;
    return true;
}
