/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocator.c - made from the file's settings and the ledger; ended; and what others may look at.
 *
 * May touch:  base, loop, config, cluster, provider, files of the state folder.  Never: logs.
 * Threads:    the control thread's loop.
 * Memory:     one allocator a process; see allocator_priv.h for what hangs from it.
 */
#include "allocator/allocator.h"
#include "allocator/allocator_priv.h"

#include "base/fr_check.h"
#include "base/fr_file.h"
#include "base/fr_mem.h"

#include <errno.h>
#include <stdio.h>

static void
on_ledger_changed(void *ctx)
{
    allocator__edit_check(ctx);
}

/* The ledger as it stands, and its bytes, by which a later edit is told. */
static enum fr_err
ledger_load(struct allocator *allocator, struct config_diag *diag)
{
    int error = 0;
    fr_buf_init(&allocator->disk_text, ALLOCATOR_LEDGER_BYTES_MAX + 1);
    enum fr_err err = fr_file_read(allocator->ledger_path, &allocator->disk_text, &error);
    if (err == FR_ERR_IO && error == ENOENT)
        return FR_OK; /* the first start */
    if (err) {
        config_diag_add(diag, 0, 0, "%s can't be read: %s", allocator->ledger_path,
                        error ? strerrordesc_np(error) : fr_err_words(err));
        return FR_ERR_CONFIG;
    }
    struct fr_view text =
        allocator->disk_text.data ? fr_buf_view(&allocator->disk_text) : FR_VIEW("");
    return cluster_ledger_parse(text, allocator->ledger_path, diag, &allocator->ledger);
}

static enum fr_err
settings_start(struct allocator *allocator, struct config_diag *diag)
{
    struct allocator__settings settings;
    const char *name = NULL;
    char why[ALLOCATOR_WHY_BYTES] = "", *conflict = NULL;
    if (allocator->events.conflict)
        conflict = allocator->events.conflict(allocator->events.ctx, &allocator->ledger, &name);
    if (conflict) {
        config_diag_add(diag, 0, 0, "%s", conflict);
        fr_free(conflict);
        return FR_ERR_CONFIG;
    }
    allocator__settings_make(&allocator->file, &allocator->ledger, &settings);
    enum fr_err err = allocator__settings_apply(allocator, &settings, why, sizeof(why));
    if (err)
        config_diag_add(diag, 0, 0, "%s", why);
    allocator__settings_fini(&settings);
    return err;
}

static struct allocator *
allocator_make(struct loop *loop, const struct allocator_options *options,
               const struct allocator_events *events)
{
    struct allocator *allocator = fr_xalloc(sizeof(*allocator));
    allocator->loop = loop;
    allocator->events = *events;
    allocator->shown = options->shown;
    allocator->needs_release = options->needs_release;
    allocator->state_folder = fr_xstrdup(options->state_folder);
    allocator->ledger_path = fr_xprintf("%s/ledger.yaml", options->state_folder);
    allocator->refused_path = fr_xprintf("%s/ledger.yaml.refused", options->state_folder);
    allocator->fill_retry_us = ALLOCATOR_FILL_RETRY_US;
    cluster_ledger_init(&allocator->ledger);
    fr_list_init(&allocator->pools);
    fr_list_init(&allocator->servers);
    fr_list_init(&allocator->requests);
    fr_list_init(&allocator->changes);
    allocator__addresses_init(allocator);
    return allocator;
}

enum fr_err
allocator_new(struct loop *loop, const struct allocator_options *options,
              struct config_cluster *const *clusters, size_t cluster_count,
              struct config_pool *const *pools, size_t pool_count,
              const struct allocator_events *events, struct config_diag *diag,
              struct allocator **out)
{
    struct allocator *allocator = allocator_make(loop, options, events);
    allocator__settings_copy(clusters, cluster_count, pools, pool_count, &allocator->file);
    enum fr_err err = fr_file_make_folder(options->state_folder, NULL);
    if (err)
        config_diag_add(diag, 0, 0, "the state folder %s can't be made", options->state_folder);
    if (!err)
        err = ledger_load(allocator, diag);
    if (!err)
        err = settings_start(allocator, diag);
    if (!err)
        err = allocator__reconcile(allocator, diag);
    if (err) {
        allocator_free(&allocator, true);
        return err;
    }
    if (loop_file_watch(loop, &allocator->watch, allocator->ledger_path, on_ledger_changed,
                        allocator))
        allocator__note(allocator, NULL,
                        "edits of the ledger are seen with our next write only: "
                        "the file can't be watched");
    else
        allocator->watching = true;
    allocator__dirty(allocator); /* it shows pools and clusters from the start */
    *out = allocator;
    return FR_OK;
}

static void
loop_parts_stop(struct allocator *allocator)
{
    if (allocator->watching)
        loop_file_unwatch(&allocator->watch);
    loop_timer_stop(&allocator->fill_timer);
    loop_timer_stop(&allocator->rescan_timer);
    loop_timer_stop(&allocator->retry_timer);
    loop_defer_cancel(&allocator->flush_task);
    loop_defer_cancel(&allocator->notify_task);
}

static void
servers_free(struct allocator *allocator)
{
    while (!fr_list_empty(&allocator->servers))
        allocator__server_free(
            FR_CONTAINER(allocator->servers.next, struct allocator__server, link));
}

void
allocator_free(struct allocator **allocator_ref, bool leave_running)
{
    struct allocator *allocator = *allocator_ref;
    if (!allocator)
        return;
    allocator->closing = true;
    allocator__requests_cancel(allocator); /* who is answered may still look at the ledger */
    *allocator_ref = NULL;
    loop_parts_stop(allocator);
    allocator__changes_drop(allocator);
    allocator__pools_free(allocator, leave_running);
    servers_free(allocator);
    allocator__addresses_fini(allocator);
    /* The ledger is left as it is: the next life takes up the same membership, whether its servers
     * still run or have to be started again. */
    allocator__settings_fini(&allocator->settings);
    allocator__settings_fini(&allocator->file);
    cluster_ledger_fini(&allocator->ledger);
    fr_buf_fini(&allocator->disk_text);
    fr_buf_fini(&allocator->refused_text);
    fr_free(allocator->shown_clusters);
    fr_free(allocator->shown_pools);
    fr_free(allocator->state_folder);
    fr_free(allocator->ledger_path);
    fr_free(allocator->refused_path);
    fr_free(allocator);
}

/* ---- looking
 * ------------------------------------------------------------------------------------- */

const struct cluster_ledger *
allocator_ledger(const struct allocator *allocator)
{
    return &allocator->ledger;
}

/* The place behind *at in the list, or NULL at its end. */
static const struct fr_list *
walk(const struct fr_list *list, const void **at)
{
    const struct fr_list *node = *at ? *at : list;
    *at = node->next;
    return node->next == list ? NULL : node->next;
}

bool
allocator_server_next(const struct allocator *allocator, const void **at,
                      struct allocator_server *out)
{
    const struct fr_list *node = walk(&allocator->servers, at);
    if (node)
        allocator__server_show(FR_CONTAINER(node, struct allocator__server, link), out);
    return node != NULL;
}

size_t
allocator_pool_count(const struct allocator *allocator)
{
    size_t count = 0;
    FR_LIST_EACH(&allocator->pools, node)
        count++;
    return count;
}

bool
allocator_pool_next(const struct allocator *allocator, const void **at, struct allocator_pool *out)
{
    const struct fr_list *node = walk(&allocator->pools, at);
    if (!node)
        return false;
    const struct allocator__pool *pool = FR_CONTAINER(node, struct allocator__pool, link);
    /* is_taken only reads: the cast takes nothing from the promise. */
    void *ctx = (void *)(uintptr_t)allocator;
    *out = (struct allocator_pool){
        .name = pool->name,
        .available =
            pool->retired ? 0 : pool->ops->available(pool->provider, allocator__address_taken, ctx),
        .allocated = allocator__pool_servers(pool),
        .cost = pool->config->cost,
    };
    return true;
}

uint32_t
allocator_pool_cost(const struct allocator *allocator, const char *name)
{
    FR_LIST_EACH(&allocator->pools, node) {
        const struct allocator__pool *pool = FR_CONTAINER(node, struct allocator__pool, link);
        if (strcmp(pool->name, name) == 0)
            return pool->config->cost;
    }
    return 0;
}
