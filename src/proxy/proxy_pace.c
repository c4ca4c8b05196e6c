/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_pace.c - the least rates of a client: with a body that it sends, with answers it reads.
 *
 * May touch:  base, loop.
 * Limits:     limits.body_rate and limits.read_rate, bytes a second over body_timeout_us. Where
 *             they are 0 one byte in all that time is enough.
 * When full:  a slow body is answered 408 if nothing was answered yet; a slow reader is reset, so
 *             that what the kernel holds for it is free at once.
 * Cost:       nothing while the kernel takes and has all; else a timer, and for a reader one system
 *             call each half of the window.
 *
 * Only the time counts in which it is the client that is waited for: not the member's silence, not
 * ours, and no time in which a body pauses because the member takes nothing. Of readers it counts
 * what they acknowledged, not what the kernel took: it takes megabytes for a client that reads
 * nothing. For the same reason a reader is watched on behind the end of an answer.
 *
 *     waited for:  |- 1/16 -|---- 1/2 ----|---- 1/2 ----|---- 1/2 ----|
 *                           mark          mark          judged        judged
 *                           '----- the least rate ------'
 *                                         '----- the least rate ------'
 *
 * So one that is slow from the beginning is known after a window, one that becomes slow after one
 * and a half, at most.
 */
#include "proxy/proxy_h2.h"

#define FIRST_PARTS 8 /* of the half window: what is faster than this is never marked */

static uint64_t
least_bytes(const struct proxy_worker *worker, uint64_t rate)
{
    uint64_t window_ms = (uint64_t)(worker->limits.body_timeout_us / FR_US_PER_MS);
    uint64_t bytes = rate * window_ms / 1000;
    return bytes > 0 ? bytes : 1;
}

/* How long the client must still be waited for before it is looked at. */
static int64_t
due_us(const struct proxy_worker *worker, const struct proxy_pace *pace)
{
    int64_t part_us = worker->limits.body_timeout_us / 2;
    if (pace->halves == 0)
        part_us /= FIRST_PARTS;
    return part_us - pace->waited_us - (loop_now_us(worker->loop) - pace->from_us);
}

/* At the end of a half window; `bytes` have moved until now. */
static bool
is_slow(struct proxy_worker *worker, struct proxy_pace *pace, uint64_t bytes, uint64_t rate)
{
    bool slow = pace->halves >= 2 && bytes - pace->marks[0] < least_bytes(worker, rate);
    pace->marks[0] = pace->marks[1];
    pace->marks[1] = bytes;
    if (pace->halves < 2)
        pace->halves++;
    pace->waited_us = 0;
    pace->from_us = loop_now_us(worker->loop);
    return slow;
}

static bool
is_due(const struct proxy_worker *worker, const struct proxy_pace *pace)
{
    return pace->from_us != 0 && due_us(worker, pace) <= 0;
}

/* A stream waits for its turn, too; the client's doing is only what its window keeps back. */
static bool
stream_reads_slowly(struct proxy_client *client)
{
    struct proxy_stream *stream = proxy_stream_of(client);
    if (http2_stream_window(&stream->http2) == 0)
        return is_slow(client->worker, &client->reading, stream->http2.taken_bytes,
                       client->worker->limits.read_rate);
    client->reading = (struct proxy_pace){.from_us = loop_now_us(client->worker->loop)};
    return false;
}

static bool
reads_slowly(struct proxy_client *client)
{
    struct proxy_worker *worker = client->worker;
    if (!is_due(worker, &client->reading))
        return false;
    if (client->stream)
        return stream_reads_slowly(client);
    uint64_t unread = loop_sock_unread(&client->sock);
    if (unread > PROXY_UNREAD_BYTES_MAX || loop_send_pending(&client->sock))
        return is_slow(worker, &client->reading, loop_sock_sent(&client->sock) - unread,
                       worker->limits.read_rate);
    client->reading = (struct proxy_pace){0}; /* what is left is no burden */
    return false;
}

/* A reset, because a proper close would leave the kernel with all that was never read. */
static void
count_slow_reader(struct proxy_worker *worker)
{
    PROXY_COUNT(worker, read_timeouts);
    PROXY_COUNT(worker, client_aborts);
}

static int64_t
next_us(const struct proxy_client *client)
{
    const struct proxy_exchange *x = client->exchange;
    int64_t delay_us = INT64_MAX, due;
    if (client->reading.from_us != 0)
        delay_us = due_us(client->worker, &client->reading);
    if (x && x->sending.from_us != 0 && (due = due_us(client->worker, &x->sending)) < delay_us)
        delay_us = due;
    return delay_us;
}

void
proxy_pace_arm(struct proxy_client *client)
{
    int64_t delay_us = next_us(client);
    if (delay_us != INT64_MAX)
        proxy_client_timer(client, delay_us);
}

void
proxy_pace_wait(struct proxy_client *client, struct proxy_pace *pace)
{
    if (pace->from_us != 0)
        return;
    pace->from_us = loop_now_us(client->worker->loop);
    /* A timer of an earlier wait is left running: it costs less than stopping one each time. */
    if (!loop_timer_running(&client->timer) ||
        client->timer.due_us - pace->from_us > due_us(client->worker, pace))
        proxy_pace_arm(client);
}

void
proxy_pace_moved(const struct proxy_client *client, struct proxy_pace *pace)
{
    if (pace->from_us == 0)
        return;
    pace->waited_us += loop_now_us(client->worker->loop) - pace->from_us;
    pace->from_us = 0;
}

void
proxy_pace_judge(struct proxy_exchange *x)
{
    struct proxy_client *client = x->client;
    struct proxy_worker *worker = x->worker;
    bool member_waits =
        x->up && x->up->state == PROXY_UPSTREAM_BUSY && !x->expecting && !x->up->send_failed;
    if (reads_slowly(client)) {
        count_slow_reader(worker);
        x->client_framing = HTTP_BODY_TO_CLOSE; /* dropped by a reset */
        x->begun = true;
        proxy_exchange_drop(x);
        return;
    }
    if (x->request_done || !member_waits)
        proxy_pace_moved(client, &x->sending);
    if (is_due(worker, &x->sending) &&
        is_slow(worker, &x->sending, x->body_bytes, worker->limits.body_rate)) {
        PROXY_COUNT(worker, body_timeouts);
        x->keep_alive = false;
        x->client_closes = false; /* it may still be sending: linger */
        proxy_exchange_fail(x, 408, "the request's body comes too slowly");
        return;
    }
    proxy_pace_arm(client);
}

bool
proxy_pace_stalled(struct proxy_client *client)
{
    bool slow = reads_slowly(client);
    if (slow)
        count_slow_reader(client->worker);
    return slow;
}

/* ---- behind an answer ----------------------------------------------------------------------- */

/* Whether so much was sent since it was idle last that the kernel is worth asking. */
static bool
is_suspect(const struct proxy_client *client)
{
    return loop_sock_sent(&client->sock) - client->idle_sent_bytes > PROXY_UNREAD_BYTES_MAX;
}

bool
proxy_pace_unread(const struct proxy_client *client)
{
    return is_suspect(client) && loop_sock_unread(&client->sock) > PROXY_UNREAD_BYTES_MAX;
}

void
proxy_pace_idle(struct proxy_client *client)
{
    bool suspect = is_suspect(client);
    int64_t idle_us = client->worker->limits.client_idle_us;
    client->idle_sent_bytes = loop_sock_sent(&client->sock);
    client->idle_until_us = loop_now_us(client->worker->loop) + idle_us;
    if (suspect || client->reading.halves > 0)
        proxy_pace_wait(client, &client->reading);
    int64_t due = next_us(client), delay_us = due < idle_us ? due : idle_us;
    /* A timer that runs out earlier finds that nothing is due and is started for the rest: once in
     * client_idle_us, instead of with every request. */
    if (!loop_timer_running(&client->timer) ||
        client->timer.due_us > loop_now_us(client->worker->loop) + delay_us)
        proxy_client_timer(client, delay_us);
}

void
proxy_pace_idle_judge(struct proxy_client *client)
{
    int64_t left_us = client->idle_until_us - loop_now_us(client->worker->loop);
    if (reads_slowly(client)) {
        count_slow_reader(client->worker);
        proxy_client_abort(client);
        return;
    }
    int64_t due = next_us(client);
    if (left_us <= 0) {
        PROXY_COUNT(client->worker, idle_timeouts);
        if (client->tls && !tls_session_ready(client->tls))
            PROXY_COUNT(client->worker, tls_handshakes_failed);
        proxy_client_close(client);
    } else {
        proxy_client_timer(client, due < left_us ? due : left_us);
    }
}

void
proxy_pace_linger_judge(struct proxy_client *client)
{
    if (!proxy_pace_unread(client)) {
        proxy_client_close(client);
    } else if (reads_slowly(client)) {
        count_slow_reader(client->worker);
        proxy_client_abort(client);
    } else {
        proxy_pace_wait(client, &client->reading);
        proxy_pace_arm(client);
    }
}
