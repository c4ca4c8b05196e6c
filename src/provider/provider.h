/* SPDX-License-Identifier: Apache-2.0 */
/*
 * provider.h - what a pool is made of: one operations struct, file and registry line a provider.
 *
 * Threads:  the control thread's loop. No call blocks; answers come by provider_events, never from
 *           inside the call.
 * Crash:    a provider can name what is running from an earlier life (find), so that the allocator
 *           reconciles it with the ledger.
 */
#ifndef PROVIDER_H
#define PROVIDER_H

#include "config/config.h"
#include "loop/loop.h"

#define PROVIDER_FINI_WAIT_MS 2000

/* A server as a provider knows it. The allocator owns the struct. */
struct provider_server {
    char id[CONFIG_NAME_BYTES];      /* chosen by the allocator, e.g. "local-3" */
    char cluster[CONFIG_NAME_BYTES];
    char address[LOOP_ADDR_TEXT_BYTES]; /* filled in by choose */
    struct loop_addr addr;
    int64_t pid;
    uint64_t started;
    void *handle; /* the provider's own, while started or adopted */
};

struct provider_events {
    /* start: the server is on its way (its process runs; pid is filled in), or failed. */
    void (*started)(void *ctx, struct provider_server *server, enum fr_err err, const char *why);
    /* stop: it is gone, whatever it took. After stop() nothing else is told of the server. */
    void (*stopped)(void *ctx, struct provider_server *server);
    /* it ended by itself after `started`: the provider forgot it. */
    void (*died)(void *ctx, struct provider_server *server, const char *why);
    void *ctx;
};

struct provider;
struct provider_ops {
    const char *name;
    enum fr_err (*init)(const struct config_pool *pool, struct loop *loop,
                        const struct provider_events *events, const char *state_folder,
                        struct provider **out);
    /* New settings for the pool; servers that run are left alone. */
    void (*configure)(struct provider *provider, const struct config_pool *pool);
    /* Names an address that no server holds (is_taken tells); FR_ERR_POOL_EMPTY when none is left.
     * For `wanted` non-empty: that one, or FR_ERR_NOT_FOUND. Touches nothing in the world. */
    enum fr_err (*choose)(struct provider *provider, struct fr_view wanted,
                          bool (*is_taken)(void *ctx, const char *address), void *ctx,
                          struct provider_server *server);
    void (*start)(struct provider *provider, struct provider_server *server);
    /* A server of the ledger, after a restart: take charge of it if it runs.
     * FR_ERR_NOT_FOUND: it does not run. pid and started are corrected. */
    enum fr_err (*adopt)(struct provider *provider, struct provider_server *server);
    void (*stop)(struct provider *provider, struct provider_server *server);
    /* Servers of this pool that run in the world (from an earlier life) but that `is_known` does
     * not know by id: stops them, returns how many. */
    size_t (*stop_orphans)(struct provider *provider, bool (*is_known)(void *ctx, const char *id),
                           void *ctx);
    uint64_t (*available)(const struct provider *provider,
                          bool (*is_taken)(void *ctx, const char *address), void *ctx);
    /* Addresses available, for the ledger; NULL-terminated, valid until the next call; NULL when
     * the pool is not a list. */
    const char *const *(*list)(struct provider *provider,
                               bool (*is_taken)(void *ctx, const char *address), void *ctx);
    /* What a started server said last (the last line of its log), for messages; "" when nothing.
     * Valid until the next call. */
    const char *(*last_words)(struct provider *provider, const struct provider_server *server);
    /* leave_running: servers go on by themselves (shutdown of the edge). Otherwise they are
     * stopped, and this one call waits for it, for PROVIDER_FINI_WAIT_MS at most before it kills.
     * No event follows. */
    void (*fini)(struct provider **provider, bool leave_running);
};

const struct provider_ops *provider_find(const char *name); /* NULL when unknown */
/* "static, process": for error messages. */
const char *provider_names(void);

#endif
