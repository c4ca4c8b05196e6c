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
    struct proxy_settings settings; /* `trusted` is a copy */
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
}

void
proxy_configure(struct proxy *proxy, const struct proxy_settings *settings)
{
    size_t bytes = settings->trusted_count * sizeof(*settings->trusted);
    for (uint32_t i = 0; i < proxy_worker_count(proxy); i++) {
        struct settings_msg *message = fr_xalloc(sizeof(*message));
        message->worker = proxy_worker_at(proxy, i);
        message->settings = *settings;
        message->settings.trusted = NULL;
        if (bytes > 0) {
            struct loop_net *copy = fr_xalloc(bytes);
            memcpy(copy, settings->trusted, bytes);
            message->settings.trusted = copy;
        }
        message->ring = settings->log_fn ? proxy_log_ring(proxy, i, settings) : NULL;
        loop_post(message->worker->loop, &message->msg, on_settings_msg, message);
    }
}
