/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_listen.c - the edge's listeners, as the file in force has them.
 *
 * Threads:  control loop. Binding is done here; accepting is the workers'.
 */
#include "edge/edge_priv.h"

#include <string.h>

/* SO_REUSEPORT would let us share a port with another edge of this user, each with half of the
 * connections. With ourselves it is meant: 127.0.0.1:80 beside 0.0.0.0:80, or in its place. */
static enum fr_err
port_is_free(const struct edge *edge, const struct loop_addr *wanted, int *out_errno)
{
    for (size_t i = 0; i < edge->listener_count; i++)
        if (loop_addr_port(&edge->listeners[i].bound) == loop_addr_port(wanted))
            return FR_OK;
    return loop_bind_probe(wanted, out_errno);
}

/* How a listener of the file is to begin its connections. */
struct plan {
    struct proxy_manner manner;
    bool absent; /* its certificate is not there yet: it stays closed, and is tried again */
};

/* Takes the references of `manner` on success. */
static enum fr_err
listen_on(struct edge *edge, const struct config_listen *wanted, const struct proxy_manner *manner,
          char **out_why)
{
    struct loop_addr bound;
    char text[LOOP_ADDR_TEXT_BYTES];
    int error = 0;
    enum fr_err err = port_is_free(edge, &wanted->addr, &error);
    if (err == FR_OK)
        err = proxy_listen(edge->proxy, &wanted->addr, manner, &bound, &error);
    if (err != FR_OK) {
        *out_why =
            fr_xprintf("listen %s: %s", wanted->text, error ? strerror(error) : fr_err_words(err));
        return err;
    }
    fr_xgrow((void **)&edge->listeners, &edge->listener_cap, edge->listener_count + 1,
             sizeof(*edge->listeners));
    edge->listeners[edge->listener_count++] = (struct edge_listener){
        .wanted = wanted->addr, .bound = bound, .kept = true, .manner = *manner};
    loop_addr_format(&bound, text);
    fr_log(FR_LOG_INFO, "edge", "listening", FR_S("address", text),
           FR_I("workers", edge->worker_count), FR_S("tls", manner->tls ? "yes" : "no"));
    return FR_OK;
}

static struct edge_listener *
find_listener(struct edge *edge, const struct loop_addr *wanted)
{
    for (size_t i = 0; i < edge->listener_count; i++)
        if (loop_addr_equal(&edge->listeners[i].wanted, wanted))
            return &edge->listeners[i];
    return NULL;
}

static void
close_unkept(struct edge *edge)
{
    size_t kept = 0;
    for (size_t i = 0; i < edge->listener_count; i++) {
        struct edge_listener *listener = &edge->listeners[i];
        if (listener->kept) {
            edge->listeners[kept++] = *listener;
            continue;
        }
        proxy_unlisten(edge->proxy, &listener->bound);
        tls_server_unref(&listener->manner.tls);
    }
    edge->listener_count = kept;
}

/* Opens what is not there yet; on failure everything is as before. A plan that was carried out
 * has no reference left. */
static enum fr_err
open_new(struct edge *edge, const struct config *config, struct plan *plans, char **out_why)
{
    size_t before = edge->listener_count;
    enum fr_err err = FR_OK;
    for (size_t i = 0; i < before; i++)
        edge->listeners[i].kept = false;
    for (size_t i = 0; i < config->listen_count && err == FR_OK; i++) {
        struct edge_listener *there = find_listener(edge, &config->listen[i].addr);
        if (there != NULL) {
            there->kept = true;
            continue;
        }
        if (plans[i].absent)
            continue;
        err = listen_on(edge, &config->listen[i], &plans[i].manner, out_why);
        if (err == FR_OK)
            plans[i].manner.tls = NULL;
    }
    if (err != FR_OK)
        for (size_t i = 0; i < edge->listener_count; i++)
            edge->listeners[i].kept = i < before;
    return err;
}

/* Those that stood before begin their connections as the file says now. */
static void
change_old(struct edge *edge, const struct config *config, struct plan *plans, size_t before)
{
    for (size_t i = 0; i < config->listen_count; i++) {
        struct edge_listener *there = find_listener(edge, &config->listen[i].addr);
        if (there == NULL || (size_t)(there - edge->listeners) >= before)
            continue;
        bool same = there->manner.preface == plans[i].manner.preface &&
                    there->manner.h2 == plans[i].manner.h2 &&
                    there->manner.defer_us == plans[i].manner.defer_us && !there->manner.tls &&
                    !plans[i].manner.tls;
        if (same)
            continue;
        proxy_listen_change(edge->proxy, &there->bound, &plans[i].manner);
        tls_server_unref(&there->manner.tls);
        there->manner = plans[i].manner;
        plans[i].manner.tls = NULL;
    }
}

static enum fr_err
make_plan(struct edge *edge, const struct config_listen *listen, struct plan *out, char **out_why)
{
    enum fr_err err = edge_tls_manner(edge, listen, &out->manner, out_why);
    if (err != FR_ERR_NOT_FOUND || find_listener(edge, &listen->addr))
        return err;
    fr_log(FR_LOG_WARN, "edge", "listener left closed until its certificate is there",
           FR_S("why", *out_why));
    fr_free(*out_why);
    *out_why = NULL;
    out->absent = true;
    return FR_OK;
}

enum fr_err
edge_listen_sync(struct edge *edge, const struct config *config, char **out_why)
{
    struct plan *plans = fr_xalloc((config->listen_count + 1) * sizeof(*plans));
    enum fr_err err = FR_OK;
    uint64_t files = edge->tls.files;
    bool replaces = edge_tls_look(edge, config);
    for (size_t i = 0; i < config->listen_count && err == FR_OK; i++)
        err = make_plan(edge, &config->listen[i], &plans[i], out_why);
    size_t before = edge->listener_count;
    if (err == FR_OK) {
        err = open_new(edge, config, plans, out_why);
        if (err == FR_OK)
            change_old(edge, config, plans, before);
        close_unkept(edge);
    }
    if (err == FR_OK)
        edge_tls_watch(edge);
    if (err == FR_OK && replaces)
        edge_tls_replaced(edge);
    if (err != FR_OK && config != edge->config)
        edge->tls.files = files; /* the file is refused: what it names is not looked at */
    for (size_t i = 0; i < config->listen_count; i++)
        tls_server_unref(&plans[i].manner.tls);
    fr_free(plans);
    return err;
}

void
edge_listen_end(struct edge *edge)
{
    for (size_t i = 0; i < edge->listener_count; i++)
        tls_server_unref(&edge->listeners[i].manner.tls);
    fr_free(edge->listeners);
    edge_tls_stop(edge);
    tls_tickets_free(&edge->tls.tickets);
    tls_challenges_free(&edge->tls.challenges);
    acme_answers_free(&edge->tls.answers);
}
