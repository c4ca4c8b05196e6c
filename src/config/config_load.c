/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_load.c - from a file or its bytes to a configuration, by walking the rows.
 *
 * May touch:  base, loop (addresses), files, the host's name.
 * Memory:     the tree and the diag while reading; the configuration is the caller's.
 * Trusts:     nothing. Checking goes on after an error, so that one run shows all of them.
 */
#include "config/config_priv.h"

#include "base/fr_check.h"
#include "base/fr_file.h"
#include "base/fr_mem.h"
#include "base/fr_thread.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES_MAX 128 /* of a dotted path; the longest row is far shorter (unit test) */
#define KNOWN_BYTES_MAX 2048

void
config__where_into(struct config__reader *reader, size_t *out_saved, const char *format, ...)
{
    size_t at = strlen(reader->where);
    *out_saved = at;
    if (at && at + 1 < sizeof(reader->where))
        reader->where[at++] = '.';
    va_list args;
    va_start(args, format);
    (void)vsnprintf(reader->where + at, sizeof(reader->where) - at, format, args);
    va_end(args);
}

void
config__where_back(struct config__reader *reader, size_t saved)
{
    reader->where[saved] = '\0';
}

/* The full name of a row's key. */
static void
key_name(const struct config__reader *reader, const struct config__row *row, char out[256])
{
    (void)snprintf(out, 256, "%s%s%s", reader->where, reader->where[0] ? "." : "", row->path);
}

bool
config__bad(struct config__reader *reader, const struct config__row *row,
            const struct config_node *node, const char *format, ...)
{
    char name[256], text[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    key_name(reader, row, name);
    config_diag_add(reader->diag, node->line, node->column, "%s %s", name, text);
    return false;
}

/* What stands there, in words. */
static void
describe(const struct config_node *node, char *out, size_t out_bytes)
{
    if (node->kind == CONFIG_MAPPING)
        (void)snprintf(out, out_bytes, "a mapping");
    else if (node->kind == CONFIG_SEQUENCE)
        (void)snprintf(out, out_bytes, node->child_count ? "a list" : "an empty list");
    else if (node->value.len == 0)
        (void)snprintf(out, out_bytes, "empty");
    else
        (void)snprintf(out, out_bytes, "\"%.*s\"",
                       (int)(node->value.len < 200 ? node->value.len : 200), node->value.ptr);
}

bool
config__bad_value(struct config__reader *reader, const struct config__row *row,
                  const struct config_node *node)
{
    char found[256];
    struct fr_buf expected;
    fr_buf_init(&expected, KNOWN_BYTES_MAX);
    describe(node, found, sizeof(found));
    struct fr_view near = {"", 0};
    bool words = row->type == CONFIG_TYPE_CHOICE || row->type == CONFIG_TYPE_FLAGS ||
                 row->type == CONFIG_TYPE_STEPS || row->type == CONFIG_TYPE_PROVIDER;
    if (node->kind == CONFIG_SCALAR && words)
        near = config__nearest(node->value, fr_view_of(row->unit));
    if (config__row_expected(row, &expected))
        fr_buf_clear(&expected);
    (void)config__bad(reader, row, node, "is %s, expected %.*s%s%.*s%s", found,
                      FR_VIEW_ARG(fr_buf_view(&expected)), near.len ? " (did you mean \"" : "",
                      FR_VIEW_ARG(near), near.len ? "\"?)" : "");
    fr_buf_fini(&expected);
    return false;
}

/* The keys below a prefix as "a, b, c". */
static void
known_keys(enum config__scope scope, struct fr_view prefix, struct fr_buf *out)
{
    const struct config__row *row = NULL;
    while ((row = config__row_next(scope, prefix, row)) != NULL) {
        struct fr_view key = config__row_key(row);
        if (fr_buf_printf(out, "%s%.*s", out->len ? ", " : "", FR_VIEW_ARG(key)))
            return; /* past its ceiling: the message names those that fit */
    }
}

static void
where_in(const struct config__reader *reader, struct fr_view prefix, char *out, size_t out_bytes)
{
    if (!reader->where[0] && !prefix.len)
        (void)snprintf(out, out_bytes, "the file");
    else
        (void)snprintf(out, out_bytes, "%s%s%.*s", reader->where,
                       reader->where[0] && prefix.len ? "." : "", FR_VIEW_ARG(prefix));
}

static void
report_unknown(struct config__reader *reader, enum config__scope scope, struct fr_view prefix,
               const struct config_node *node)
{
    struct fr_buf known;
    char where[256];
    fr_buf_init(&known, KNOWN_BYTES_MAX);
    known_keys(scope, prefix, &known);
    where_in(reader, prefix, where, sizeof(where));
    struct fr_view near = config__nearest(node->key, fr_buf_view(&known));
    int len = (int)(node->key.len < 100 ? node->key.len : 100);
    config_diag_add(reader->diag, node->key_line, node->key_column,
                    "unknown key \"%.*s\" in %s, expected one of %.*s%s%.*s%s", len, node->key.ptr,
                    where, FR_VIEW_ARG(fr_buf_view(&known)), near.len ? " (did you mean \"" : "",
                    FR_VIEW_ARG(near), near.len ? "\"?)" : "");
    fr_buf_fini(&known);
}

static void read_mapping(struct config__reader *reader, enum config__scope scope,
                         struct fr_view prefix, const struct config_node *node, void *base);

/* A section of the rows: a mapping, or the scalar that its `unit` stands for. */
static void
read_section(struct config__reader *reader, const struct config__row *row,
             const struct config_node *node, void *base)
{
    struct fr_view path = fr_view_of(row->path);
    if (node->kind == CONFIG_MAPPING) {
        if (row->has_field)
            *(bool *)config__row_field(row, base) = true;
        read_mapping(reader, row->scope, path, node, base);
        return;
    }
    bool every = strcmp(row->unit, "*") == 0;
    if (node->kind == CONFIG_SCALAR && node->value.len > 0 && row->unit[0]) {
        const struct config__row *child = NULL;
        if (row->has_field)
            *(bool *)config__row_field(row, base) = true;
        while ((child = config__row_next(row->scope, path, child)) != NULL)
            if (every || fr_view_is(config__row_key(child), row->unit))
                if (!config__types[child->type].parse(reader, child, node,
                                                      config__row_field(child, base)))
                    return;
        return;
    }
    (void)config__bad_value(reader, row, node);
}

static void
read_mapping(struct config__reader *reader, enum config__scope scope, struct fr_view prefix,
             const struct config_node *node, void *base)
{
    uint64_t seen[8] = {0}; /* a bit a row: trees built by hand may repeat a key */
    fr_insist(config__row_count <= 512);
    for (const struct config_node *child = node->first_child; child; child = child->next) {
        char path[PATH_BYTES_MAX];
        const struct config__row *row = NULL;
        if (child->key.len && child->key.len < PATH_BYTES_MAX / 2 &&
            !memchr(child->key.ptr, '.', child->key.len)) {
            (void)snprintf(path, sizeof(path), "%.*s%s%.*s", FR_VIEW_ARG(prefix),
                           prefix.len ? "." : "", FR_VIEW_ARG(child->key));
            row = config__row_find(scope, fr_view_of(path));
        }
        if (!row) {
            report_unknown(reader, scope, prefix, child);
            continue;
        }
        size_t index = (size_t)(row - config__rows);
        if (seen[index / 64] & (1ull << index % 64))
            continue; /* the tree has said so */
        seen[index / 64] |= 1ull << index % 64;
        if (row->type == CONFIG_TYPE_MAPPING)
            read_section(reader, row, child, base);
        else
            (void)config__types[row->type].parse(reader, row, child, config__row_field(row, base));
    }
}

void
config__read_scope(struct config__reader *reader, enum config__scope scope,
                   const struct config_node *node, void *base)
{
    fr_give_way(); /* there may be thousands of them */
    if (node->kind == CONFIG_MAPPING) {
        read_mapping(reader, scope, (struct fr_view){"", 0}, node, base);
        return;
    }
    char found[256], where[256];
    struct fr_buf known;
    fr_buf_init(&known, KNOWN_BYTES_MAX);
    known_keys(scope, (struct fr_view){"", 0}, &known);
    describe(node, found, sizeof(found));
    where_in(reader, (struct fr_view){"", 0}, where, sizeof(where));
    config_diag_add(reader->diag, node->line, node->column,
                    "%s is %s, expected a mapping with some of %.*s", where, found,
                    FR_VIEW_ARG(fr_buf_view(&known)));
    fr_buf_fini(&known);
}

const struct config_node *
config__place(const struct config_node *node, const char *path)
{
    struct fr_view rest = fr_view_of(path), word;
    char key[64];
    while (node && fr_view_split(&rest, '.', &word)) {
        const struct config_node *child =
            fr_view_copy(word, key, sizeof(key)) ? config_node_get(node, key) : NULL;
        if (!child)
            break;
        node = child;
    }
    return node;
}

const struct config_node *
config__given(const struct config_node *node, const char *path)
{
    struct fr_view rest = fr_view_of(path), word;
    char key[64];
    while (node && fr_view_split(&rest, '.', &word))
        node = fr_view_copy(word, key, sizeof(key)) ? config_node_get(node, key) : NULL;
    return node;
}

/* "run-myhost": a host's name may hold anything, so it is made name-safe. */
static void
default_id(enum config_role role, char out[CONFIG_NAME_BYTES])
{
    static const char *const roles[] = {"run", "edge", "manager", "agent", "allocator"};
    char host[CONFIG_NAME_BYTES] = "";
    if (gethostname(host, sizeof(host) - 1) != 0 || !host[0])
        (void)snprintf(host, sizeof(host), "local");
    for (char *c = host; *c; c++)
        if (!config_name_valid(fr_view_make(c, 1)) && *c != '.' && *c != '_')
            *c = '-';
    (void)snprintf(out, CONFIG_NAME_BYTES, "%s-%.50s", roles[role], host);
}

/* A socket in the state folder. False: its path is longer than a Unix socket's may be. */
static bool
state_socket(const struct config *config, const char *name, char **out_text, struct loop_addr *out)
{
    char *text = fr_xprintf("unix:%s/%s", config->state ? config->state : ".", name);
    bool good = loop_addr_parse(fr_view_of(text), out) == FR_OK;
    if (good)
        *out_text = text;
    else
        fr_free(text);
    return good;
}

static void
report_state(struct config__reader *reader, const struct config_node *root, const char *key)
{
    const struct config_node *place = config__given(root, "state");
    config_diag_add(reader->diag, place ? place->line : 0, place ? place->column : 0,
                    "state is too long a path for a socket in it, expected a shorter one, or %s",
                    key);
}

/* What is on disk takes memory, too: an index of it. */
static void
finish_disk(struct config__reader *reader, const struct config_cache *cache,
            const struct config_node *root)
{
    uint64_t least = cache->disk_bytes / CONFIG_DISK_MEMORY_SHARE;
    const struct config_node *disk = root ? config__given(root, "cache.disk") : NULL;
    if (least < CONFIG_DISK_MEMORY_BYTES_MIN)
        least = CONFIG_DISK_MEMORY_BYTES_MIN;
    if (!disk)
        return;
    if (!cache->disk_path)
        config_diag_add(reader->diag, disk->line, disk->column,
                        "cache.disk has no path, expected the name of a file");
    else if (cache->memory_bytes < least)
        config_diag_add(reader->diag, disk->line, disk->column,
                        "cache.memory is %" PRIu64 "MiB, expected at least %" PRIu64
                        "MiB for a cache.disk of this size",
                        cache->memory_bytes >> 20, (least + (1 << 20) - 1) >> 20);
}

/* Edge and manager of `freshet run` are on one machine and of one file, so with one certificate:
 * where TCP has TLS they meet on a Unix socket, which is added if the file has none. */
static void
meet_manager(struct config *config)
{
    struct config_manager *manager = &config->manager;
    size_t at = 0;
    if (manager->tls.enabled) {
        while (at < manager->listen_count && manager->listen[at].addr.sa.any.sa_family != AF_UNIX)
            at++;
        if (at == manager->listen_count) {
            struct config_listen added = {.line = 0};
            if (!state_socket(config, "manager.sock", &added.text, &added.addr))
                return; /* then it has no manager, and says so */
            manager->listen = fr_xrealloc(manager->listen, (at + 1) * sizeof(*manager->listen));
            manager->listen[manager->listen_count++] = added;
        }
    }
    if (!manager->listen[at].text)
        return;
    manager->connect = fr_xstrdup(manager->listen[at].text);
    manager->connect_addr = manager->listen[at].addr;
}

/* The defaults that depend on other values. root NULL: there is no file. */
static void
finish_file(struct config__reader *reader, struct config *config, enum config_role role,
            const struct config_node *root)
{
    struct config_manager *manager = &config->manager;
    if (!config->id[0] && reader->world && manager->tls.enabled && manager->tls.certificate &&
        role != CONFIG_ROLE_RUN)
        (void)tls_certificate_first_name(manager->tls.certificate, config->id, sizeof(config->id));
    if (!config_name_valid(fr_view_of(config->id)))
        default_id(role, config->id);
    bool off = root && config__given(root, "admin") && !config->admin &&
               (config__given(root, "admin")->kind == CONFIG_SCALAR ||
                config__given(root, "admin.listen") != NULL);
    if (!config->admin && !off &&
        !state_socket(config, "admin.sock", &config->admin, &config->admin_addr))
        report_state(reader, root, "admin");
    if (root && role == CONFIG_ROLE_RUN && !config__given(root, "manager.listen")) {
        manager->listen = fr_xalloc(sizeof(*manager->listen));
        manager->listen_count = 1;
        if (!state_socket(config, "manager.sock", &manager->listen[0].text,
                          &manager->listen[0].addr))
            report_state(reader, root, "manager.listen");
    }
    if (!manager->connect && role == CONFIG_ROLE_RUN && manager->listen_count > 0)
        meet_manager(config);
    config__acme_finish(config);
    if (config->access_log.to && strcmp(config->access_log.to, "off") == 0) {
        fr_free(config->access_log.to);
        config->access_log.to = NULL;
    }
    finish_disk(reader, &config->cache, root);
    if (config->cache.object_bytes_max > config->cache.memory_bytes / 4)
        config->cache.object_bytes_max = config->cache.memory_bytes / 4;
}

struct config *
config_new_default(void)
{
    struct config *config = fr_xalloc(sizeof(*config));
    struct config_diag diag;
    config_diag_init(&diag);
    struct config__reader reader = {.diag = &diag};
    config__defaults(CONFIG_SCOPE_FILE, config);
    finish_file(&reader, config, CONFIG_ROLE_RUN, NULL);
    fr_insist(diag.error_count == 0);
    config_diag_fini(&diag);
    return config;
}

static void
listen_free(struct config_listen *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fr_free(list[i].text);
        config__tls_free(&list[i].tls);
    }
    fr_free(list);
}

void
config_free(struct config **config_ptr)
{
    struct config *config = *config_ptr;
    *config_ptr = NULL;
    if (!config)
        return;
    for (size_t i = 0; i < config->route_count; i++) {
        config_route_unref(&config->routes[i]);
        fr_give_way();
    }
    for (size_t i = 0; i < config->cluster_count; i++) {
        config_cluster_unref(&config->clusters[i]);
        fr_give_way();
    }
    for (size_t i = 0; i < config->pool_count; i++)
        config_pool_unref(&config->pools[i]);
    fr_free(config->routes);
    fr_free(config->clusters);
    fr_free(config->pools);
    listen_free(config->listen, config->listen_count);
    listen_free(config->manager.listen, config->manager.listen_count);
    fr_free(config->manager.connect);
    fr_free(config->access_log.to);
    fr_free(config->access_log.socket);
    fr_free(config->trusted);
    fr_free(config->cache.purge_from);
    fr_free(config->cache.disk_path);
    fr_free(config->sticky_keys.key);
    fr_free(config->sticky_keys.previous_key);
    fr_free(config->agent.server);
    fr_free(config->agent.address);
    fr_free(config->resolver.server);
    config__access_free(config);
    fr_free(config->admin);
    fr_free(config->state);
    fr_free(config->folder);
    fr_free(config->path);
    fr_free(config);
}

enum fr_err
config__parse(struct fr_view text, const char *name, enum config_role role, bool world,
              struct config_diag *diag, struct config **out)
{
    struct config_tree tree;
    struct config *config = NULL;
    config_diag_source(diag, name, text);
    enum fr_err err = config_tree_parse(text, diag, &tree);
    if (err && !tree.root)
        goto out;
    config = fr_xalloc(sizeof(*config));
    config__defaults(CONFIG_SCOPE_FILE, config);
    const char *slash = strrchr(name, '/');
    config->path = fr_xstrdup(name);
    config->folder =
        slash ? fr_xstrndup(name, slash > name ? (size_t)(slash - name) : 1) : fr_xstrdup(".");
    struct config__reader reader = {
        .diag = diag,
        .world = world,
        .managed = config__given(tree.root, "manager.connect") != NULL,
        /* Whoever serves no files may read the file on a machine that has none of them. */
        .restoring = role != CONFIG_ROLE_RUN && role != CONFIG_ROLE_EDGE,
    };
    if (tree.root)
        config__read_scope(&reader, CONFIG_SCOPE_FILE, tree.root, config);
    finish_file(&reader, config, role, tree.root);
    config__check_file(&reader, tree.root, role, config);
    err = diag->error_count ? FR_ERR_CONFIG : FR_OK;
    if (!err) {
        *out = config;
        config = NULL;
    }
out:
    config_free(&config);
    config_tree_fini(&tree);
    return err;
}

enum fr_err
config_parse(struct fr_view text, const char *name, enum config_role role, struct config_diag *diag,
             struct config **out)
{
    return config__parse(text, name, role, true, diag, out);
}

enum fr_err
config_load(const char *path, enum config_role role, struct config_diag *diag, struct config **out)
{
    struct fr_buf text;
    int why = 0;
    fr_buf_init(&text, CONFIG_TREE_BYTES_MAX + 1); /* one more shows that there is too much */
    enum fr_err err = fr_file_read(path, &text, &why);
    if (err) {
        config_diag_source(diag, path, (struct fr_view){0});
        config_diag_add(diag, 0, 0, "cannot be read: %s",
                        err == FR_ERR_FULL ? "more than 4 MiB" : strerror(why));
        err = FR_ERR_CONFIG;
    } else {
        err = config_parse(fr_buf_view(&text), path, role, diag, out);
    }
    fr_buf_fini(&text);
    return err;
}
