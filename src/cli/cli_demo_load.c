/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_demo_load.c - the demo's clients: each keeps a connection, asks, checks every byte of the
 * answer, asks again. Anything but the whole right answer is a failed request.
 *
 * Threads:  one, with a loop; counts are relaxed atomics behind a lock only for the words.
 */
#include "cli/cli_demo.h"

#include "base/fr_buf.h"
#include "base/fr_check.h"
#include "base/fr_hash.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "http/http.h"
#include "loop/loop.h"

#include <pthread.h>
#include <stdio.h>

#define ANSWER_BYTES_MAX 8192
#define REQUEST_TIMEOUT_US (20 * FR_US_PER_S)
#define STATIC_OBJECTS 40 /* a fifth of the requests go to these and can come from the cache */
#define IDLE_LOOK_US (20 * FR_US_PER_MS)

struct client {
    struct cli_load *load;
    uint32_t index;
    bool open, busy;
    struct loop_sock sock;
    struct loop_timer timer;
    char path[64];
    char request[256];
    struct fr_buf answer;
    int64_t began_us;
};

struct cli_load {
    struct loop *loop;
    struct loop_addr target;
    struct client *clients;
    uint32_t client_count;
    struct fr_rand rand;
    uint64_t serial;
    atomic_uint wanted;
    atomic_bool ending;
    atomic_ullong requests, failed;
    struct fr_hist latency;
    pthread_mutex_t words_lock;
    char first_failure[160];
    pthread_t thread;
    bool ended; /* joined */
    struct http_head head;
};

size_t
cli_demo_body(struct fr_view path, uint64_t result, char out[CLI_DEMO_BODY_BYTES])
{
    static const struct fr_hash_key key = {1, 2};
    int len = snprintf(out, CLI_DEMO_BODY_BYTES - 64, "path=%.*s\nwork=%016llx\npad=",
                       (int)(path.len < 512 ? path.len : 512), path.ptr,
                       (unsigned long long)result);
    size_t at = (size_t)len;
    for (; at < CLI_DEMO_BODY_BYTES - 64; at++)
        out[at] = (char)('a' + at % 26);
    uint64_t check = fr_hash64(&key, out, at);
    at += (size_t)snprintf(out + at, 32, "\n%016llx\n", (unsigned long long)check);
    return at;
}

static bool
body_valid(struct fr_view path, struct fr_view body)
{
    static const struct fr_hash_key key = {1, 2};
    char want[32];
    if (body.len != CLI_DEMO_BODY_BYTES - 64 + 18 || path.len > 512)
        return false;
    uint64_t check = fr_hash64(&key, body.ptr, CLI_DEMO_BODY_BYTES - 64);
    (void)snprintf(want, sizeof(want), "\n%016llx\n", (unsigned long long)check);
    return memcmp(body.ptr + CLI_DEMO_BODY_BYTES - 64, want, 18) == 0 &&
           memcmp(body.ptr, "path=", 5) == 0 && memcmp(body.ptr + 5, path.ptr, path.len) == 0 &&
           body.ptr[5 + path.len] == '\n';
}

static void client_next(struct client *client);

static void
on_look(void *ctx)
{
    client_next(ctx);
}

static void
client_close(struct client *client)
{
    if (client->open)
        loop_close(&client->sock, NULL, NULL);
    client->open = false;
    client->busy = false;
    fr_buf_clear(&client->answer);
    /* The socket's storage is free again only after this turn. */
    loop_timer_start(client->load->loop, &client->timer, IDLE_LOOK_US, on_look, client);
}

static void
client_failed(struct client *client, const char *words, int number)
{
    struct cli_load *load = client->load;
    atomic_fetch_add(&load->failed, 1);
    pthread_mutex_lock(&load->words_lock);
    if (load->first_failure[0] == '\0')
        (void)snprintf(load->first_failure, sizeof(load->first_failure), "%s: %s (%d)",
                       client->path, words, number);
    pthread_mutex_unlock(&load->words_lock);
    client_close(client);
}

static void
on_timeout(void *ctx)
{
    client_failed(ctx, "no answer in time", 0);
}

/* True when the answer is whole; a wrong one was counted as failed. */
static bool
check_answer(struct client *client)
{
    struct cli_load *load = client->load;
    struct http_err err;
    size_t scanned = 0;
    struct fr_view in = fr_buf_view(&client->answer);
    enum http_step step =
        http_response_parse(in, &http_limits_default, &scanned, &load->head, &err);
    if (step == HTTP_MORE)
        return false;
    if (step == HTTP_BAD || load->head.framing != HTTP_BODY_LENGTH || load->head.status != 200) {
        client_failed(client, step == HTTP_BAD ? err.words : "status", load->head.status);
        return false;
    }
    size_t whole = load->head.head_bytes + (size_t)load->head.content_length;
    if (in.len < whole)
        return false;
    struct fr_view body = fr_view_make(in.ptr + load->head.head_bytes,
                                       in.len - load->head.head_bytes);
    if (in.len > whole || !body_valid(fr_view_of(client->path), body)) {
        client_failed(client, "wrong body", (int)body.len);
        return false;
    }
    return true;
}

static void
on_answer(void *ctx, struct loop_buf *buf, int status)
{
    struct client *client = ctx;
    struct cli_load *load = client->load;
    if (status <= 0) {
        if (client->busy)
            client_failed(client, "connection ended in an answer", status);
        else
            client_close(client); /* an idle connection may be closed by the server */
        return;
    }
    enum fr_err err = fr_buf_append(&client->answer, buf->data, buf->len);
    loop_buf_give_back(buf);
    if (err != FR_OK) {
        client_failed(client, "answer too long", (int)client->answer.len);
        return;
    }
    if (!check_answer(client)) {
        if (client->open)
            loop_recv(&client->sock, on_answer, client);
        return;
    }
    fr_hist_record(&load->latency, (uint64_t)(loop_now_us(load->loop) - client->began_us));
    atomic_fetch_add(&load->requests, 1);
    client->busy = false;
    fr_buf_clear(&client->answer);
    client_next(client);
}

static void
on_sent(void *ctx, int status)
{
    if (status < 0)
        client_failed(ctx, "request not sent", status);
}

static void
client_ask(struct client *client)
{
    struct cli_load *load = client->load;
    bool cached = fr_rand_below(&load->rand, 5) == 0;
    (void)snprintf(client->path, sizeof(client->path), cached ? "/static/%llu" : "/compute/%llu",
                   (unsigned long long)(cached ? fr_rand_below(&load->rand, STATIC_OBJECTS)
                                               : ++load->serial));
    int len = snprintf(client->request, sizeof(client->request),
                       "GET %s HTTP/1.1\r\nHost: demo.example\r\n\r\n", client->path);
    const struct iovec part = {client->request, (size_t)len};
    client->busy = true;
    client->began_us = loop_now_us(load->loop);
    loop_timer_start(load->loop, &client->timer, REQUEST_TIMEOUT_US, on_timeout, client);
    loop_send(&client->sock, &part, 1, on_sent, client);
    if (!loop_recv_pending(&client->sock))
        loop_recv(&client->sock, on_answer, client);
}

static void
on_connected(void *ctx, int status)
{
    struct client *client = ctx;
    if (status < 0)
        client_failed(client, "not connected", status);
    else
        client_ask(client);
}

/* Ask again, or wait until clients are wanted. */
static void
client_next(struct client *client)
{
    struct cli_load *load = client->load;
    if (client->index >= atomic_load(&load->wanted)) {
        loop_timer_start(load->loop, &client->timer, IDLE_LOOK_US, on_look, client);
        return;
    }
    if (client->open) {
        client_ask(client);
        return;
    }
    (void)snprintf(client->path, sizeof(client->path), "(connecting)");
    if (loop_connect(&client->sock, load->loop, &load->target, on_connected, client) != FR_OK) {
        client_failed(client, "no socket", 0);
        return;
    }
    client->open = true;
    loop_timer_start(load->loop, &client->timer, REQUEST_TIMEOUT_US, on_timeout, client);
}

static bool
any_busy(const struct cli_load *load)
{
    for (uint32_t i = 0; i < load->client_count; i++)
        if (load->clients[i].busy)
            return true;
    return false;
}

static void
on_supervise(void *ctx)
{
    struct loop_timer *timer = ctx;
    struct cli_load *load = FR_CONTAINER(timer, struct client, timer)->load;
    if (atomic_load(&load->ending) && !any_busy(load)) {
        loop_stop(load->loop);
        return;
    }
    loop_timer_start(load->loop, timer, IDLE_LOOK_US, on_supervise, timer);
}

static void
on_stop(void *ctx)
{
    loop_stop(ctx);
}

static void *
load_main(void *arg)
{
    struct cli_load *load = arg;
    struct client supervisor = {.load = load};
    struct loop_timer last = {0};
    for (uint32_t i = 0; i < load->client_count; i++)
        client_next(&load->clients[i]);
    on_supervise(&supervisor.timer);
    if (loop_run(load->loop) != FR_OK)
        atomic_fetch_add(&load->failed, 1);
    for (uint32_t i = 0; i < load->client_count; i++) {
        client_close(&load->clients[i]);
        loop_timer_stop(&load->clients[i].timer);
        fr_buf_fini(&load->clients[i].answer);
    }
    loop_timer_start(load->loop, &last, FR_US_PER_MS, on_stop, load->loop);
    if (loop_run(load->loop) != FR_OK) /* what was closed is finished by one more turn */
        atomic_fetch_add(&load->failed, 1);
    return NULL;
}

struct cli_load *
cli_load_new(const struct loop_addr *target, uint32_t clients_max)
{
    struct cli_load *load = fr_xalloc(sizeof(*load));
    load->target = *target;
    load->client_count = clients_max;
    load->clients = fr_xalloc(clients_max * sizeof(*load->clients));
    for (uint32_t i = 0; i < clients_max; i++) {
        load->clients[i].load = load;
        load->clients[i].index = i;
        fr_buf_init(&load->clients[i].answer, ANSWER_BYTES_MAX);
    }
    fr_rand_init(&load->rand, 7);
    pthread_mutex_init(&load->words_lock, NULL);
    if (loop_new(NULL, &load->loop) == FR_OK &&
        pthread_create(&load->thread, NULL, load_main, load) == 0)
        return load;
    loop_free(&load->loop);
    fr_free(load->clients);
    fr_free(load);
    return NULL;
}

void
cli_load_clients(struct cli_load *load, uint32_t count)
{
    fr_require(count <= load->client_count);
    atomic_store(&load->wanted, count);
}

void
cli_load_read(struct cli_load *load, struct cli_load_counts *out)
{
    out->requests = atomic_load(&load->requests);
    out->failed = atomic_load(&load->failed);
    fr_hist_read(&load->latency, &out->latency);
    pthread_mutex_lock(&load->words_lock);
    memcpy(out->first_failure, load->first_failure, sizeof(out->first_failure));
    pthread_mutex_unlock(&load->words_lock);
}

void
cli_load_end(struct cli_load *load)
{
    if (load->ended)
        return;
    load->ended = true;
    atomic_store(&load->wanted, 0);
    atomic_store(&load->ending, true);
    pthread_join(load->thread, NULL);
}

void
cli_load_free(struct cli_load **out)
{
    struct cli_load *load = *out;
    if (load == NULL)
        return;
    cli_load_end(load);
    loop_free(&load->loop);
    pthread_mutex_destroy(&load->words_lock);
    fr_free(load->clients);
    fr_free(load);
    *out = NULL;
}
