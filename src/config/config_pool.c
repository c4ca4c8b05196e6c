/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_pool.c - pools: made, read, counted.
 *
 * May touch:  base, the file system (is there such a program?).
 * Threads:    counting is atomic; the rest belongs to the control thread.
 */
#include "config/config_priv.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct config_pool *
config_pool_new(struct fr_view name)
{
    struct config_pool *pool = fr_xalloc(sizeof(*pool));
    config__defaults(CONFIG_SCOPE_POOL, pool);
    (void)fr_view_copy(name, pool->name, sizeof(pool->name)); /* checked by the reader */
    atomic_init(&pool->refs, 1);
    return pool;
}

struct config_pool *
config_pool_ref(struct config_pool *pool)
{
    unsigned before = atomic_fetch_add_explicit(&pool->refs, 1, memory_order_relaxed);
    fr_require(before > 0);
    return pool;
}

void
config_pool_unref(struct config_pool **pool_ptr)
{
    struct config_pool *pool = *pool_ptr;
    *pool_ptr = NULL;
    if (!pool || atomic_fetch_sub_explicit(&pool->refs, 1, memory_order_acq_rel) != 1)
        return;
    config__members_free(&pool->servers, &pool->server_count);
    config__words_free(&pool->command);
    config__words_free(&pool->environment);
    fr_free(pool->folder);
    fr_free(pool->provider);
    fr_free(pool);
}

enum program { PROGRAM_FOUND, PROGRAM_MISSING, PROGRAM_NOT_EXECUTABLE };

static enum program
program_at(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return PROGRAM_MISSING;
    return S_ISREG(status.st_mode) && access(path, X_OK) == 0 ? PROGRAM_FOUND
                                                              : PROGRAM_NOT_EXECUTABLE;
}

/* As execvp(3) will look for it, from the folder where the process will stand. */
static enum program
program_find(const char *word, const char *folder)
{
    if (word[0] == '/')
        return program_at(word);
    if (strchr(word, '/')) {
        char *path = fr_xprintf("%s/%s", folder ? folder : ".", word);
        enum program found = program_at(path);
        fr_free(path);
        return found;
    }
    const char *env = getenv("PATH");
    struct fr_view rest = fr_view_of(env ? env : "/bin:/usr/bin"), place;
    enum program found = PROGRAM_MISSING;
    while (found != PROGRAM_FOUND && fr_view_split(&rest, ':', &place)) {
        char *path = fr_xprintf("%.*s/%s", FR_VIEW_ARG(place.len ? place : FR_VIEW(".")), word);
        enum program here = program_at(path);
        if (here != PROGRAM_MISSING)
            found = here;
        fr_free(path);
    }
    return found;
}

/* An absolute path or a name in PATH is a fact about this machine: not there is an error. What a
 * relative path names depends on the folder the program runs in, and a file is often checked in
 * another one: not there is a warning. Words with placeholders are known only later. */
static void
check_program(struct config__reader *reader, const struct config_node *node,
              const struct config_pool *pool)
{
    const struct config_node *list = config__given(node, "command");
    const struct config_node *place = list ? list->first_child : NULL;
    const char *word = pool->command[0];
    if (!place || !reader->world || strchr(word, '{'))
        return;
    enum program found = program_find(word, pool->folder);
    if (found == PROGRAM_NOT_EXECUTABLE)
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.command runs \"%s\", which is not an executable file, expected one",
                        reader->where, word);
    else if (found == PROGRAM_MISSING && word[0] != '/' && strchr(word, '/'))
        config_diag_warn(reader->diag, place->line, place->column,
                         "%s.command runs \"%s\", which is not there, expected a program when a "
                         "server is allocated",
                         reader->where, word);
    else if (found == PROGRAM_MISSING)
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.command runs \"%s\", which is not there, expected a program%s",
                        reader->where, word, word[0] == '/' ? "" : " in PATH or a path");
}

/* A key that only the other provider has is an error, so that nobody waits for what it says. */
static void
refuse_keys(struct config__reader *reader, const struct config_node *node, const char *provider,
            const char *const *keys)
{
    for (; *keys; keys++) {
        const struct config_node *child = config_node_get(node, *keys);
        if (child)
            config_diag_add(reader->diag, child->key_line, child->key_column,
                            "%s.%s in a pool of provider %s, which has no such key, expected it in "
                            "provider %s only",
                            reader->where, *keys, provider,
                            strcmp(provider, "static") == 0 ? "process" : "static");
    }
}

static void
require_key(struct config__reader *reader, const struct config_node *node, const char *provider,
            const char *key, const char *what)
{
    if (!config_node_get(node, key))
        config_diag_add(reader->diag, node->key_line, node->key_column,
                        "%s has no %s, expected %s: provider %s needs it", reader->where, key, what,
                        provider);
}

static void
finish_pool(struct config__reader *reader, const struct config_node *node, struct config_pool *pool)
{
    static const char *const of_process[] = {"command", "environment",  "folder",   "host",
                                             "ports",   "stop-timeout", "restarts", NULL};
    static const char *const of_static[] = {"servers", NULL};
    if (!config_node_get(node, "provider")) {
        config_diag_add(reader->diag, node->key_line, node->key_column,
                        "%s has no provider, expected one of static, process", reader->where);
        return;
    }
    if (!pool->provider)
        return; /* unknown, said so already */
    if (strcmp(pool->provider, "static") == 0) {
        require_key(reader, node, "static", "servers", "a list of addresses");
        refuse_keys(reader, node, "static", of_process);
    } else {
        require_key(reader, node, "process", "command", "a list of words");
        require_key(reader, node, "process", "ports", "first-last");
        refuse_keys(reader, node, "process", of_static);
        if (pool->command)
            check_program(reader, node, pool);
    }
    config__members_finish(reader, pool->name, false, config_node_get(node, "servers"),
                           pool->servers, pool->server_count);
}

struct config_pool *
config__pool_read(struct config__reader *reader, struct fr_view name,
                  const struct config_node *node)
{
    size_t saved;
    struct config_pool *pool = config_pool_new(name);
    pool->runtime = reader->runtime;
    (void)config__name_check(reader, name, node, "pool");
    config__where_into(reader, &saved, "pools.%.*s", (int)(name.len < 64 ? name.len : 64),
                       name.len ? name.ptr : "");
    config__read_scope(reader, CONFIG_SCOPE_POOL, node, pool);
    if (node->kind == CONFIG_MAPPING)
        finish_pool(reader, node, pool);
    config__where_back(reader, saved);
    return pool;
}

static enum fr_err
pool_read(struct fr_view name, const struct config_node *node, bool world, struct config_diag *diag,
          struct config_pool **out)
{
    struct config__reader reader = {.diag = diag, .world = world, .runtime = true};
    size_t errors = diag->error_count;
    struct config_pool *pool = config__pool_read(&reader, name, node);
    if (diag->error_count > errors) {
        config_pool_unref(&pool);
        return FR_ERR_CONFIG;
    }
    *out = pool;
    return FR_OK;
}

enum fr_err
config_pool_from_tree(struct fr_view name, const struct config_node *node, struct config_diag *diag,
                      struct config_pool **out)
{
    return pool_read(name, node, true, diag, out);
}

enum fr_err
config_pool_restore(struct fr_view name, const struct config_node *node, struct config_diag *diag,
                    struct config_pool **out)
{
    return pool_read(name, node, false, diag, out);
}

enum fr_err
config_pool_print(const struct config_pool *pool, struct fr_buf *out)
{
    struct config_pool *defaults = config_pool_new(fr_view_of(pool->name));
    enum fr_err err = config__print_scope(CONFIG_SCOPE_POOL, pool, defaults, out);
    config_pool_unref(&defaults);
    return err;
}

struct config_pool *
config_find_pool(const struct config *config, struct fr_view name)
{
    for (size_t i = 0; i < config->pool_count; i++)
        if (fr_view_is(name, config->pools[i]->name))
            return config->pools[i];
    return NULL;
}
