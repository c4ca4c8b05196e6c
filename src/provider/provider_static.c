/* SPDX-License-Identifier: Apache-2.0 */
/*
 * provider_static.c - servers standing by: addresses that somebody else keeps running.
 *
 * May touch:  base, loop, config.  Never: sockets, processes, files.
 * Threads:    the control thread's loop.
 * Memory:     one small handle a server that is started or adopted, and the list of addresses.
 * When full:  FR_ERR_POOL_EMPTY.
 *
 * There is nothing to start and nothing to stop: both are answered in the same turn, deferred, so
 * that no caller hears an answer from inside its own call.
 */
#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "provider/provider_priv.h"

struct provider {
    struct config_pool *pool;
    struct loop *loop;
    struct provider_events events;
    struct fr_list handles;
    const char **list; /* of the last list call; points into pool */
    size_t list_cap;
};

struct static_handle {
    struct fr_list link;
    struct provider *provider;
    struct provider_server *server;
    struct loop_task task;
    bool stopping;
};

static void
handle_free(struct static_handle *handle)
{
    loop_defer_cancel(&handle->task);
    fr_list_remove(&handle->link);
    handle->server->handle = NULL;
    fr_free(handle);
}

static struct static_handle *
handle_new(struct provider *provider, struct provider_server *server)
{
    struct static_handle *handle = fr_xalloc(sizeof(*handle));
    handle->provider = provider;
    handle->server = server;
    fr_list_push_back(&provider->handles, &handle->link);
    server->handle = handle;
    return handle;
}

static enum fr_err
static_init(const struct config_pool *pool, struct loop *loop, const struct provider_events *events,
            const char *state_folder, struct provider **out)
{
    (void)state_folder; /* nothing to remember */
    struct provider *provider = fr_xalloc(sizeof(*provider));
    provider->pool = config_pool_ref((struct config_pool *)(uintptr_t)pool);
    provider->loop = loop;
    provider->events = *events;
    fr_list_init(&provider->handles);
    *out = provider;
    return FR_OK;
}

static void
static_configure(struct provider *provider, const struct config_pool *pool)
{
    struct config_pool *old = provider->pool;
    provider->pool = config_pool_ref((struct config_pool *)(uintptr_t)pool);
    config_pool_unref(&old);
}

static bool
server_fill(struct provider_server *server, const struct config_member *member)
{
    server->addr = member->addr;
    return fr_view_copy(fr_view_of(member->address), server->address, sizeof(server->address));
}

static enum fr_err
static_choose(struct provider *provider, struct fr_view wanted,
              bool (*is_taken)(void *ctx, const char *address), void *ctx,
              struct provider_server *server)
{
    for (size_t i = 0; i < provider->pool->server_count; i++) {
        const struct config_member *member = &provider->pool->servers[i];
        if (wanted.len && !fr_view_is(wanted, member->address))
            continue;
        if (!is_taken(ctx, member->address) && server_fill(server, member))
            return FR_OK;
    }
    return wanted.len ? FR_ERR_NOT_FOUND : FR_ERR_POOL_EMPTY;
}

static void
on_task(void *ctx)
{
    struct static_handle *handle = ctx;
    struct provider *provider = handle->provider;
    struct provider_server *server = handle->server;
    if (handle->stopping) {
        handle_free(handle);
        provider->events.stopped(provider->events.ctx, server);
    } else {
        provider->events.started(provider->events.ctx, server, FR_OK, "");
    }
}

static void
static_start(struct provider *provider, struct provider_server *server)
{
    fr_require(!server->handle);
    struct static_handle *handle = handle_new(provider, server);
    loop_defer(provider->loop, &handle->task, on_task, handle);
}

static enum fr_err
static_adopt(struct provider *provider, struct provider_server *server)
{
    fr_require(!server->handle);
    (void)handle_new(provider, server);
    server->pid = 0;
    server->started = 0;
    return FR_OK;
}

static void
static_stop(struct provider *provider, struct provider_server *server)
{
    struct static_handle *handle = server->handle;
    if (!handle)
        handle = handle_new(provider, server);
    loop_defer_cancel(&handle->task);
    handle->stopping = true;
    loop_defer(provider->loop, &handle->task, on_task, handle);
}

static size_t
static_stop_orphans(struct provider *provider, bool (*is_known)(void *ctx, const char *id),
                    void *ctx)
{
    /* Nothing of ours runs that the ledger could have missed. */
    (void)provider;
    (void)is_known;
    (void)ctx;
    return 0;
}

static uint64_t
static_available(const struct provider *provider, bool (*is_taken)(void *ctx, const char *address),
                 void *ctx)
{
    uint64_t count = 0;
    for (size_t i = 0; i < provider->pool->server_count; i++)
        count += !is_taken(ctx, provider->pool->servers[i].address);
    return count;
}

static const char *const *
static_list(struct provider *provider, bool (*is_taken)(void *ctx, const char *address), void *ctx)
{
    size_t count = 0;
    fr_xgrow((void **)&provider->list, &provider->list_cap, provider->pool->server_count + 1,
             sizeof(provider->list[0]));
    for (size_t i = 0; i < provider->pool->server_count; i++)
        if (!is_taken(ctx, provider->pool->servers[i].address))
            provider->list[count++] = provider->pool->servers[i].address;
    provider->list[count] = NULL;
    return provider->list;
}

static const char *
static_last_words(struct provider *provider, const struct provider_server *server)
{
    (void)provider;
    (void)server;
    return "";
}

static void
static_fini(struct provider **provider_ref, bool leave_running)
{
    struct provider *provider = *provider_ref;
    *provider_ref = NULL;
    (void)leave_running; /* they run anyway */
    if (!provider)
        return;
    FR_LIST_EACH_SAFE(&provider->handles, node)
        handle_free(FR_CONTAINER(node, struct static_handle, link));
    config_pool_unref(&provider->pool);
    fr_free(provider->list);
    fr_free(provider);
}

const struct provider_ops provider_static_ops = {
    .name = "static",
    .init = static_init,
    .configure = static_configure,
    .choose = static_choose,
    .start = static_start,
    .adopt = static_adopt,
    .stop = static_stop,
    .stop_orphans = static_stop_orphans,
    .available = static_available,
    .list = static_list,
    .last_words = static_last_words,
    .fini = static_fini,
};
