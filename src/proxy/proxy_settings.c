/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_settings.c - what a reload changes in the workers, handed to each as a message of its own.
 *
 * May touch:  base, loop, config.
 * Threads:    made on the control thread, owned by the worker from the message on.
 */
#include "proxy/proxy_priv.h"

struct settings_msg {
    struct loop_msg msg;
    struct proxy_worker *worker;
    struct proxy_settings settings; /* its networks are copies */
    struct proxy_ring *ring;        /* NULL: nothing is written down */
};

static void
on_settings_msg(void *ctx)
{
    struct settings_msg *message = ctx;
    struct proxy_worker *worker = message->worker;
    proxy_settings_forget(worker);
    worker->settings = message->settings;
    worker->settings_count++;
    worker->ring = message->ring;
    fr_free(message);
}

void
proxy_settings_forget(struct proxy_worker *worker)
{
    fr_free((void *)(uintptr_t)worker->settings.trusted); /* const for everybody else */
    worker->settings.trusted = NULL;
    worker->settings.trusted_count = 0;
    fr_free((void *)(uintptr_t)worker->settings.purge_from);
    worker->settings.purge_from = NULL;
    worker->settings.purge_from_count = 0;
}

static const struct loop_net *
nets_copy(const struct loop_net *nets, size_t count)
{
    if (count == 0)
        return NULL;
    struct loop_net *copy = fr_xalloc(count * sizeof(*copy));
    memcpy(copy, nets, count * sizeof(*copy));
    return copy;
}

void
proxy_configure(struct proxy *proxy, const struct proxy_settings *settings)
{
    for (uint32_t i = 0; i < proxy_worker_count(proxy); i++) {
        struct settings_msg *message = fr_xalloc(sizeof(*message));
        message->worker = proxy_worker_at(proxy, i);
        message->settings = *settings;
        message->settings.trusted = nets_copy(settings->trusted, settings->trusted_count);
        message->settings.purge_from = nets_copy(settings->purge_from, settings->purge_from_count);
        message->ring = settings->log_fn ? proxy_log_ring(proxy, i, settings) : NULL;
        loop_post(message->worker->loop, &message->msg, on_settings_msg, message);
    }
}
