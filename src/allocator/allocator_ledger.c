/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocator_ledger.c - a turn's transitions: one write of the ledger, then what they do to the
 * world.
 *
 * May touch:  base, loop, cluster, files of the state folder.  Never: processes, sockets.
 * Threads:    the control thread. Blocking: each write is an fsync of file and folder.
 * When full:  a ledger over ALLOCATOR_LEDGER_BYTES_MAX is a failed write.
 *
 *   event -> change queued -> end of turn: write --ok--> act, act, act
 *                                            `--failed--> refusable ones undone, their requests
 *                                                         answered FR_ERR_IO; the others wait and
 *                                                         are tried again each ALLOCATOR_RETRY_US
 *
 * One thing of the world comes before its write: the first member of a cluster joins at once
 * (join_early), because requests are parked for it and the ledger has it as starting already.
 *
 * A write costs two waits for the disk, whatever it holds. Under a stream of changes the turns of
 * ALLOCATOR_WRITE_US share one; a few changes after some rest are written without any delay.
 */
#include "allocator/allocator_priv.h"

#include "base/fr_check.h"
#include "base/fr_fault.h"
#include "base/fr_file.h"
#include "base/fr_mem.h"
#include "base/fr_thread.h"

#include <errno.h>
#include <stdio.h>

#ifdef FR_FAULT_POINTS
static const struct {
    const char *before_write, *before_act, *after_act;
} faults[ALLOCATOR_ACTIONS] = {
    [ALLOCATOR_START] = {"allocator-start-before-write", "allocator-start-before-act",
                         "allocator-start-after-act"},
    [ALLOCATOR_CHECK] = {"allocator-check-before-write", "allocator-check-before-act",
                         "allocator-check-after-act"},
    [ALLOCATOR_JOIN] = {"allocator-join-before-write", "allocator-join-before-act",
                        "allocator-join-after-act"},
    [ALLOCATOR_LEAVE] = {"allocator-leave-before-write", "allocator-leave-before-act",
                         "allocator-leave-after-act"},
    [ALLOCATOR_LEAVE_START] = {"allocator-restart-before-write", "allocator-restart-before-act",
                               "allocator-restart-after-act"},
    [ALLOCATOR_LEAVE_STOP] = {"allocator-replace-before-write", "allocator-replace-before-act",
                              "allocator-replace-after-act"},
    [ALLOCATOR_MOVE_JOIN] = {"allocator-move-before-write", "allocator-move-before-act",
                             "allocator-move-after-act"},
    [ALLOCATOR_STOP] = {"allocator-stop-before-write", "allocator-stop-before-act",
                        "allocator-stop-after-act"},
    [ALLOCATOR_FORGET] = {"allocator-forget-before-write", "allocator-forget-before-act",
                          "allocator-forget-after-act"},
};
#endif

static void on_flush(void *ctx);

static struct allocator__change *
change_of(struct fr_list *node)
{
    return FR_CONTAINER(node, struct allocator__change, link);
}

void
allocator__dirty(struct allocator *allocator)
{
    allocator->dirty = true;
    loop_defer(allocator->loop, &allocator->flush_task, on_flush, allocator);
}

void
allocator__change_queue(struct allocator__server *server, enum cluster_server_state from,
                        enum allocator_action action, bool refusable, bool needs_write)
{
    struct allocator *allocator = server->allocator;
    struct allocator__change *change = fr_xalloc(sizeof(*change));
    change->server = server;
    change->from = from;
    change->action = action;
    change->refusable = refusable;
    change->needs_write = needs_write;
    server->changes++;
    fr_list_push_back(&allocator->changes, &change->link);
    if (needs_write)
        allocator->dirty = true;
    loop_defer(allocator->loop, &allocator->flush_task, on_flush, allocator);
}

static void
change_free(struct allocator__change *change)
{
    change->server->changes--;
    fr_list_remove(&change->link);
    fr_free(change);
}

void
allocator__changes_drop(struct allocator *allocator)
{
    FR_LIST_EACH_SAFE(&allocator->changes, node)
        change_free(change_of(node));
}

/* ---- writing ----------------------------------------------------------------------------------
 */

void
allocator__servers_print(struct allocator *allocator, struct cluster_ledger *ledger)
{
    ledger->server_count = 0;
    FR_LIST_EACH(&allocator->servers, node) {
        struct allocator__server *server = FR_CONTAINER(node, struct allocator__server, link);
        if (server->state == CLUSTER_SERVER_AVAILABLE)
            continue;
        if (server->born == 0)
            server->born = ledger->generation;
        struct cluster_ledger_server *row = cluster_ledger_add(ledger, server->provided.id);
        memcpy(row->cluster, server->provided.cluster, sizeof(row->cluster));
        memcpy(row->pool, server->pool->name, sizeof(row->pool));
        memcpy(row->address, server->provided.address, sizeof(row->address));
        row->state = server->state;
        row->weight = server->weight;
        row->weight_normal = server->weight_normal;
        memcpy(row->request, server->asked, sizeof(row->request));
        row->pid = server->provided.pid;
        row->started = server->provided.started;
        row->edited = false;
    }
}

static const char *const *
shown_serves(void *ctx, const char *cluster)
{
    const struct allocator *allocator = ctx;
    return allocator->shown.serves ? allocator->shown.serves(allocator->shown.ctx, cluster) : NULL;
}

/* A server that this very write makes available is still listed until the write stands. */
static bool
taken_after_this_write(void *ctx, const char *address)
{
    const struct allocator__server *holder = allocator__address_holder(ctx, address);
    if (holder && holder->state == CLUSTER_SERVER_AVAILABLE)
        return false;
    return allocator__address_taken(ctx, address);
}

static const char *const *
shown_available(void *ctx, const char *name)
{
    struct allocator *allocator = ctx;
    struct allocator__pool *pool = allocator__pool_find(allocator, name);
    return pool ? pool->ops->list(pool->provider, taken_after_this_write, allocator) : NULL;
}

static void
shown_fill(struct allocator *allocator, struct cluster_ledger_shown *out)
{
    const struct allocator__settings *settings = &allocator->settings;
    fr_xgrow((void **)&allocator->shown_clusters, &allocator->shown_clusters_cap,
             settings->cluster_count + 1, sizeof(allocator->shown_clusters[0]));
    fr_xgrow((void **)&allocator->shown_pools, &allocator->shown_pools_cap,
             settings->pool_count + 1, sizeof(allocator->shown_pools[0]));
    for (size_t i = 0; i < settings->cluster_count; i++)
        allocator->shown_clusters[i] = settings->clusters[i]->name;
    allocator->shown_clusters[settings->cluster_count] = NULL;
    for (size_t i = 0; i < settings->pool_count; i++)
        allocator->shown_pools[i] = settings->pools[i]->name;
    allocator->shown_pools[settings->pool_count] = NULL;
    *out = (struct cluster_ledger_shown){.serves = shown_serves,
                                         .available = shown_available,
                                         .clusters = allocator->shown_clusters,
                                         .pools = allocator->shown_pools,
                                         .ctx = allocator};
}

static void
write_failure_note(struct allocator *allocator, enum fr_err err, int error)
{
    if (!allocator->write_failed)
        allocator__note(allocator, NULL, "the ledger can't be written: %s: %s; trying on",
                        allocator->ledger_path, error ? strerrordesc_np(error) : fr_err_words(err));
    allocator->write_failed = true;
}

enum fr_err
allocator__write(struct allocator *allocator, struct cluster_ledger *settings)
{
    struct cluster_ledger_shown shown;
    struct fr_buf text;
    int error = 0;
    fr_buf_init(&text, ALLOCATOR_LEDGER_BYTES_MAX);
    allocator__edit_keep_refused(allocator);
    fr_pace_take(&allocator->write_pace, loop_now_us(allocator->loop), ALLOCATOR_WRITE_US);
    settings->generation = allocator->ledger.generation + 1;
    allocator__servers_print(allocator, settings);
    shown_fill(allocator, &shown);
    fr_give_way();
    enum fr_err err = cluster_ledger_print(settings, &shown, &text);
    if (!err)
        err = fr_file_replace(allocator->ledger_path, fr_buf_view(&text), 0600, &error);
    if (err) {
        settings->generation--;
        write_failure_note(allocator, err, error);
        fr_buf_fini(&text);
        return FR_ERR_IO;
    }
    if (allocator->write_failed)
        allocator__note(allocator, NULL, "the ledger can be written again");
    allocator->write_failed = false;
    allocator->dirty = false;
    fr_buf_fini(&allocator->disk_text);
    allocator->disk_text = text; /* ours from here: told from an edit by its bytes */
    return FR_OK;
}

/* ---- the end of a turn --------------------------------------------------------------------------
 */

static void
on_retry(void *ctx)
{
    on_flush(ctx);
}

/* A server's changes are undone from the last one back, and only up to one that must stay. */
static bool
change_may_go(const struct allocator *allocator, const struct allocator__change *change)
{
    if (!change->refusable)
        return false;
    for (const struct fr_list *node = change->link.next; node != &allocator->changes;
         node = node->next)
        if (FR_CONTAINER(node, struct allocator__change, link)->server == change->server)
            return false;
    return true;
}

static void
changes_refuse(struct allocator *allocator)
{
    struct fr_list undone;
    fr_list_init(&undone);
    for (struct fr_list *node = allocator->changes.prev, *before; node != &allocator->changes;
         node = before) {
        before = node->prev;
        if (!change_may_go(allocator, change_of(node)))
            continue;
        fr_list_remove(node);
        fr_list_push_back(&undone, node);
    }
    /* All are told that they failed before the first answer goes out: nothing may be half-done, and
     * whoever hears an answer may ask again at once. */
    FR_LIST_EACH(&undone, node) {
        allocator__undo(change_of(node));
        allocator__request_mark(change_of(node)->server->request, FR_ERR_IO,
                                "the ledger can't be written");
    }
    while (!fr_list_empty(&undone)) {
        struct allocator__change *change = change_of(undone.next);
        struct allocator__server *server = change->server;
        change_free(change);
        if (server->changes)
            continue; /* an earlier change of it is undone too */
        allocator__request_gone(server);
        if (server->state == CLUSTER_SERVER_AVAILABLE)
            allocator__server_free(server);
    }
}

static void
changes_act(struct allocator *allocator, bool written)
{
    struct fr_list now, *node;
    fr_list_init(&now);
    for (node = allocator->changes.next; node != &allocator->changes;) {
        struct allocator__change *change = change_of(node);
        node = node->next;
        if (!written && change->needs_write)
            continue;
        fr_list_remove(&change->link);
        fr_list_push_back(&now, &change->link);
    }
    while (!fr_list_empty(&now)) {
        struct allocator__change *change = change_of(now.next);
        struct allocator__server *server = change->server;
        enum allocator_action action = change->action;
        change_free(change);
#ifdef FR_FAULT_POINTS
        FR_FAULT(faults[action].before_act);
#endif
        allocator__act(server, action);
        fr_give_way();
#ifdef FR_FAULT_POINTS
        FR_FAULT(faults[action].after_act);
#endif
    }
}

/* True when the turn's changes are to share a write with those of turns to come. */
static bool
write_waits(struct allocator *allocator)
{
    int64_t wait_us = fr_pace_wait_us(&allocator->write_pace, loop_now_us(allocator->loop),
                                      ALLOCATOR_WRITE_US, ALLOCATOR_WRITE_BURST);
    if (!allocator->dirty || wait_us == 0)
        return false;
    loop_timer_start(allocator->loop, &allocator->retry_timer, wait_us, on_retry, allocator);
    return true;
}

static void
on_flush(void *ctx)
{
    struct allocator *allocator = ctx;
    if (allocator->closing)
        return;
    bool written = true;
    loop_timer_stop(&allocator->retry_timer);
    if (allocator->write_yields) { /* behind the owner's own work of this turn */
        allocator->write_yields = false;
        loop_defer(allocator->loop, &allocator->flush_task, on_flush, allocator);
        return;
    }
    if (write_waits(allocator))
        return;
    if (allocator->dirty) {
        /* What people wrote meanwhile comes first: our write would cover it. */
        allocator__edit_check(allocator);
#ifdef FR_FAULT_POINTS
        FR_LIST_EACH(&allocator->changes, node)
            FR_FAULT(faults[change_of(node)->action].before_write);
#endif
        written = allocator__write(allocator, &allocator->ledger) == FR_OK;
    }
    if (!written) {
        changes_refuse(allocator);
        allocator__servers_print(allocator, &allocator->ledger);
    }
    changes_act(allocator, written);
    if (allocator->dirty && !written)
        loop_timer_start(allocator->loop, &allocator->retry_timer, ALLOCATOR_RETRY_US, on_retry,
                         allocator);
}

static void
on_notify(void *ctx)
{
    struct allocator *allocator = ctx;
    bool settings = allocator->settings_changed;
    allocator->settings_changed = false;
    if (settings && allocator->events.settings)
        allocator->events.settings(allocator->events.ctx);
    if (settings)
        allocator__dirty(allocator); /* what the ledger shows of routes and clusters is new */
    if (allocator->events.changed)
        allocator->events.changed(allocator->events.ctx);
}

void
allocator__notify(struct allocator *allocator, bool settings)
{
    allocator->settings_changed = allocator->settings_changed || settings;
    if (!allocator->closing)
        loop_defer(allocator->loop, &allocator->notify_task, on_notify, allocator);
}
