/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_connection.c - whole connections: clients' bytes x members' bytes x how they are cut and in
 * which order they come, through a worker as it is, on sockets.
 *
 * Shape:      octets 0 to 2 are settings. Then steps, each FF and a letter (on_step lists them);
 *             what stands between two steps is said by whoever the first one names. FF FF is an
 *             octet FF.
 * Threads:    none: the worker's loop runs one turn at a time on this thread.
 * Time:       this file's own. It stands still but for a step that lets it pass, and at the end,
 *             where it jumps from timer to timer until Freshet has let go of everything: whatever
 *             clients and members do, no connection stays for good.
 * Judges:     connection_judge.c, what went over each connection; here, that every socket, receive
 *             buffer, descriptor and count of requests is back.
 */
#include "connection_judge.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "loop/loop_priv.h"
#include "proxy/proxy_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define STEPS_MAX 400
#define TURNS_MAX 1000
#define JUMP_MS_MIN 25 /* a queue looks at its clock more often than is of use here */
#define END_US_MAX (10 * 3600 * FR_US_PER_S) /* every request of an input may wait for a minute */
#define ADDRESSES 3                          /* of members: two that listen, one that does not */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the clock, and what the linker puts between the rooms and it --------------------------- */

static int64_t now_us;

int64_t __wrap_fr_clock_mono_us(void);
int64_t __wrap_fr_clock_wall_us(void);
void __real_loop_abort(struct loop_sock *sock, loop_close_fn fn, void *ctx);
void __wrap_loop_abort(struct loop_sock *sock, loop_close_fn fn, void *ctx);

int64_t
__wrap_fr_clock_mono_us(void)
{
    return now_us;
}

int64_t
__wrap_fr_clock_wall_us(void)
{
    return 1767225600 * FR_US_PER_S + now_us;
}

/* ---- a run ---------------------------------------------------------------------------------- */

struct box {
    struct judge_run run;
    struct proxy *proxy;
    struct proxy_worker *worker;
    struct proxy_listener listener; /* as if clients came from it */
    struct cluster_slots *slots;
    struct cache_store *cache;
    struct cluster_member *members[ADDRESSES]; /* NULL: has not been shown yet */
    uint64_t generation;
    uint64_t connects_seen;
    int client_ends[JUDGE_CLIENTS_MAX]; /* the worker's */
    struct judge_side *client, *member; /* who speaks next of each kind; NULL: nobody yet */
    struct judge_side *speaker;
    size_t piece; /* bytes written before a turn; 0: all */
    int turns;    /* run behind each piece */
    int turn_count;
    uint64_t fail_after; /* allocations in the next turn */
};

static struct box *the_box; /* for __wrap_loop_abort */

/* Made once: they keep nothing of a run. */
static struct {
    int listeners[ADDRESSES - 1];
    struct loop *control;
    struct config *config;
    struct config_cluster *cluster;
    struct config_route *route;
} all;

void
__wrap_loop_abort(struct loop_sock *sock, loop_close_fn fn, void *ctx)
{
    for (size_t i = 0; i < the_box->run.client_count; i++)
        if (the_box->client_ends[i] == sock->fd)
            the_box->run.clients[i].aborted = true;
    __real_loop_abort(sock, fn, ctx);
}

static void
address(int index, struct loop_addr *out)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int len = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "freshet-fuzz-%d-%d",
                       (int)getpid(), index); /* abstract: no file is left behind */
    *out = (struct loop_addr){0};
    memcpy(&out->sa, &name, sizeof(name));
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
}

static void
make_once(void)
{
    if (all.control)
        return;
    fr_require(loop_new(NULL, &all.control) == FR_OK);
    for (int i = 0; i < ADDRESSES - 1; i++) {
        struct loop_addr addr;
        address(i, &addr);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        fr_require(fd >= 0);
        fr_require(bind(fd, &addr.sa.any, addr.len) == 0);
        fr_require(listen(fd, JUDGE_MEMBERS_MAX) == 0);
        all.listeners[i] = fd;
    }
    all.config = config_new_default();
    all.cluster = config_cluster_new(FR_VIEW("web"));
    all.route = config_route_new();
    fr_require(fr_view_copy(FR_VIEW("all"), all.route->name, sizeof(all.route->name)));
    fr_require(fr_view_copy(FR_VIEW("web"), all.route->cluster, sizeof(all.route->cluster)));
}

/* ---- sides ---------------------------------------------------------------------------------- */

static void
side_init(struct judge_side *side, int fd)
{
    *side = (struct judge_side){.fd = fd};
    fr_buf_init(&side->out, JUDGE_STREAM_BYTES);
    fr_buf_init(&side->in, JUDGE_STREAM_BYTES);
}

static void
side_drain(struct box *box, struct judge_side *side)
{
    char block[16384];
    while (side->fd >= 0 && !side->deaf && !side->ended) {
        ssize_t got = recv(side->fd, block, sizeof(block), MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            side->ended = true;
            side->aborted |= got < 0;
            return;
        }
        if (side->mark_count < JUDGE_MARKS_MAX) {
            side->marks[side->mark_count].in_at = side->in.len;
            side->marks[side->mark_count++].out_len = side->out.len;
        }
        if (fr_buf_append(&side->in, block, (size_t)got) != FR_OK)
            box->run.overflowed = true;
    }
}

/* What one who reads no more has not read: it was said to him, and the judge must know it. It is
 * looked at and left where it is, as closing over it is what makes a reset. */
static void
side_peek(struct box *box, struct judge_side *side)
{
    static char block[1u << 20]; /* more than a socket holds */
    ssize_t got = recv(side->fd, block, sizeof(block), MSG_PEEK | MSG_DONTWAIT);
    if (got > 0 && fr_buf_append(&side->in, block, (size_t)got) != FR_OK)
        box->run.overflowed = true;
}

/* A proper end, unless something that Freshet sent was never read: that makes it a reset. */
static void
side_close(struct box *box, struct judge_side *side)
{
    if (side->fd < 0)
        return;
    if (side->deaf)
        side_peek(box, side);
    side->said_all = true;
    (void)close(side->fd);
    side->fd = -1;
}

static void
client_new(struct box *box)
{
    struct loop_addr peer = {.len = sizeof(sa_family_t)};
    int ends[2], small = 1;
    if (box->run.client_count == JUDGE_CLIENTS_MAX)
        return;
    peer.sa.any.sa_family = AF_UNIX;
    fr_require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    /* The kernel takes little at a time, so that a client that does not read is soon felt. */
    (void)setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    size_t index = box->run.client_count++;
    box->client = &box->run.clients[index];
    box->client_ends[index] = ends[1];
    side_init(box->client, ends[0]);
    proxy_client_accept(&box->listener, ends[1], &peer);
}

static void
members_accept(struct box *box)
{
    uint64_t connects = box->worker->counters.member_connects;
    if (connects == box->connects_seen)
        return;
    box->connects_seen = connects;
    for (int i = 0; i < ADDRESSES - 1; i++) {
        int fd;
        while ((fd = accept4(all.listeners[i], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
            if (box->run.member_count == JUDGE_MEMBERS_MAX) {
                box->run.overflowed = true;
                (void)close(fd);
                continue;
            }
            box->member = &box->run.members[box->run.member_count++];
            side_init(box->member, fd);
        }
    }
}

static void
drain_all(struct box *box)
{
    for (size_t i = 0; i < box->run.client_count; i++)
        side_drain(box, &box->run.clients[i]);
    for (size_t i = 0; i < box->run.member_count; i++)
        side_drain(box, &box->run.members[i]);
}

/* When all is over: also what lies unread with those who read no more. */
static void
hear_all(struct box *box)
{
    for (size_t i = 0; i < box->run.client_count; i++)
        box->run.clients[i].deaf = false;
    for (size_t i = 0; i < box->run.member_count; i++)
        box->run.members[i].deaf = false;
    drain_all(box);
}

static void
turn(struct box *box)
{
    fr_mem_fail_after(box->fail_after);
    loop_stop(box->worker->loop); /* this turn is the last, so that nothing waits */
    fr_require(loop_run(box->worker->loop) == FR_OK);
    fr_mem_fail_after(0);
    box->fail_after = 0;
    box->turn_count++;
    members_accept(box);
    drain_all(box);
}

static void
turns(struct box *box, int count)
{
    for (int i = 0; i < count && box->turn_count < TURNS_MAX; i++)
        turn(box);
}

static void
say(struct box *box, const uint8_t *bytes, size_t len)
{
    struct judge_side *side = box->speaker;
    while (side && side->fd >= 0 && !side->said_all && len > 0) {
        size_t piece = box->piece > 0 && box->piece < len ? box->piece : len;
        if (box->turn_count >= TURNS_MAX)
            piece = len;
        ssize_t sent = send(side->fd, bytes, piece, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent <= 0)
            return; /* Freshet has ended it, or takes no more: the rest is never said */
        if (fr_buf_append(&side->out, bytes, (size_t)sent) != FR_OK)
            box->run.overflowed = true;
        bytes += sent;
        len -= (size_t)sent;
        turns(box, box->turns);
    }
}

static void
say_much(struct box *box, size_t len)
{
    uint8_t block[512];
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (uint8_t)('A' + i % 57);
    for (; len > 0; len -= len < sizeof(block) ? len : sizeof(block))
        say(box, block, len < sizeof(block) ? len : sizeof(block));
}

/* ---- the proxy ------------------------------------------------------------------------------ */

static struct cluster_member *
member_of(struct box *box, int index)
{
    static const char *const ids[ADDRESSES] = {"web-0", "web-1", "web-2"};
    struct loop_addr addr;
    address(index, &addr);
    if (!box->members[index])
        box->members[index] =
            cluster_member_new(box->slots, fr_view_of(ids[index]), FR_VIEW(""), &addr, 1);
    return box->members[index];
}

/* Which of the members are shown: bit n is number n. */
static void
publish(struct box *box, unsigned shown)
{
    struct cluster_endpoint endpoints[ADDRESSES];
    struct cluster_snapshot *snapshot = NULL;
    const struct config_route *bad = NULL;
    uint32_t count = 0;
    for (int i = 0; i < ADDRESSES; i++)
        if (shown & (1u << i))
            endpoints[count++] = (struct cluster_endpoint){member_of(box, i), 100, true, 0};
    struct cluster_view *view = cluster_view_new(0, all.cluster, endpoints, count);
    fr_require(cluster_snapshot_new(++box->generation, &view, 1, &all.route, 1, 0, &snapshot,
                                    &bad) == FR_OK);
    proxy_publish(box->proxy, snapshot);
    cluster_snapshot_unref(&snapshot);
    cluster_view_unref(&view);
}

static void
on_log(void *ctx, bool now)
{
    struct box *box = ctx;
    const struct proxy_log_record *record;
    (void)now;
    if (!box->proxy)
        return;
    proxy_log_came(box->proxy);
    while ((record = proxy_log_peek(box->proxy, 0)))
        proxy_log_take(box->proxy, 0, record);
}

/* Small limits, so that short inputs reach them. */
static void
configure(struct box *box, const uint8_t settings[3])
{
    static const size_t body_bytes_max[] = {0, 5, 300, 4000};
    struct config_limits *limits = &all.config->limits;
    struct config_cluster *cluster = all.cluster;
    limits->head_bytes = 2048;
    limits->request_line_bytes = 512;
    limits->field_count = 16;
    limits->requests_per_connection = settings[0] & 0x40 ? 2 : 1000;
    limits->buffers = settings[0] & 0x80 ? 3 : 512;
    cluster->slow_start_us = 0;
    cluster->balance = CONFIG_BALANCE_ROUND_ROBIN;
    cluster->max_in_flight = settings[1] & 1 ? 1 : 0;
    cluster->queue.length = settings[1] & 2 ? 1 : 100;
    cluster->retry_budget = settings[1] & 4 ? 0 : 0.2;
    cluster->keepalive_max = settings[1] & 8 ? 0 : 64;
    all.route->body_bytes_max = body_bytes_max[settings[1] >> 4 & 3];
    all.route->cache = settings[1] & 0x40 ? CONFIG_CACHE_ON : CONFIG_CACHE_OFF;
    box->run.cache = settings[1] & 0x40;
    box->run.limits = (struct http_limits){2048, 512, 16};
}

static void
box_new(struct box *box, const uint8_t settings[3])
{
    static const size_t buf_bytes[] = {16384, 512, 96, 33};
    struct proxy_settings more = {.forwarded = CONFIG_FORWARDED_X,
                                  .id_make = true,
                                  .id_respond = true,
                                  .trace_make = settings[2] & 8,
                                  .log_fn = settings[2] & 16 ? on_log : NULL,
                                  .log_ctx = box,
                                  .log_bytes = 4096};
    configure(box, settings);
    struct cache_options room = {.memory_bytes = CACHE_MEMORY_BYTES_MIN,
                                 .object_bytes_max = 64 * 1024};
    if (box->run.cache)
        fr_require(cache_store_new(&room, &box->cache) == FR_OK);
    box->slots = cluster_slots_new();
    struct proxy_options options = {.worker_count = 1,
                                    .limits = &all.config->limits,
                                    .cache = box->cache,
                                    .control = all.control};
    fr_require(proxy_new(&options, &box->proxy) == FR_OK);
    box->worker = proxy_worker_at(box->proxy, 0);
    struct loop_limits limits = {.buf_bytes = buf_bytes[settings[0] & 3],
                                 .buf_count_max = all.config->limits.buffers};
    loop_free(&box->worker->loop); /* nothing is on it yet */
    fr_require(loop_new(&limits, &box->worker->loop) == FR_OK);
    fr_rand_init(&box->worker->rand, 1);
    box->listener.worker = box->worker;
    box->piece = 0;
    box->turns = 1 + (settings[0] >> 2 & 3);
    proxy_configure(box->proxy, &more);
    publish(box, settings[2] & 7 ? settings[2] & 7u : 1u);
    turn(box);
}

static void
box_free(struct box *box)
{
    proxy_free(&box->proxy);
    for (int i = 0; i < ADDRESSES; i++) {
        struct cluster_member_stats sum;
        if (!box->members[i])
            continue;
        cluster_member_sum(box->members[i], 0, &sum);
        fr_insist(sum.in_flight == 0);
        fr_insist(sum.connections == 0);
        fr_insist(sum.idle_connections == 0);
        cluster_member_unref(&box->members[i]);
    }
    cache_store_free(&box->cache);
    cluster_slots_free(&box->slots);
    for (size_t i = 0; i < box->run.client_count; i++) {
        side_close(box, &box->run.clients[i]);
        fr_buf_fini(&box->run.clients[i].in);
        fr_buf_fini(&box->run.clients[i].out);
    }
    for (size_t i = 0; i < box->run.member_count; i++) {
        side_close(box, &box->run.members[i]);
        fr_buf_fini(&box->run.members[i].in);
        fr_buf_fini(&box->run.members[i].out);
    }
}

/* ---- steps ---------------------------------------------------------------------------------- */

static void
half_close(struct judge_side *side)
{
    if (!side || side->fd < 0 || side->said_all)
        return;
    side->said_all = true;
    (void)shutdown(side->fd, SHUT_WR);
}

/* Steps about the one who speaks. */
static void
on_speaker_step(struct box *box, uint8_t step, uint8_t number)
{
    struct judge_side *side = box->speaker;
    switch (step) {
    case 'f': /* says much that stands nowhere in the input */
        say_much(box, 256u * number);
        break;
    case 'h':
        half_close(side);
        break;
    case 'x':
        if (side)
            side_close(box, side);
        break;
    case 'd': /* reads no more */
        if (side)
            side->deaf = side->late = true;
        break;
    case 'u': /* reads again */
        if (side)
            side->deaf = false;
        break;
    default:
        break;
    }
}

/* Returns how many octets behind the letter belong to it. */
static size_t
on_step(struct box *box, uint8_t step, uint8_t number)
{
    switch (step) {
    case 'n': /* a new client speaks */
        client_new(box);
        box->speaker = box->client;
        return 0;
    case 'c': /* the client speaks */
        if (!box->client)
            client_new(box);
        box->speaker = box->client;
        return 0;
    case 'm': /* the member speaks: the last connection that was taken */
        box->speaker = box->member;
        return 0;
    case 'C':
        if (number < box->run.client_count)
            box->speaker = box->client = &box->run.clients[number];
        return 1;
    case 'M':
        if (number < box->run.member_count)
            box->speaker = box->member = &box->run.members[number];
        return 1;
    case 'z': /* in pieces of so many bytes */
        box->piece = number;
        return 1;
    case 'w': /* time passes */
        now_us += (int64_t)number * number * 2 * FR_US_PER_MS;
        turns(box, 2);
        return 1;
    case 'p': /* other members are shown */
        publish(box, number & 7u);
        turn(box);
        return 1;
    case 'a': /* memory is out, once */
        box->fail_after = number;
        return 1;
    case 'k': /* connections to a member are cut, as by a drain deadline */
        proxy_cut(box->proxy, member_of(box, number % ADDRESSES));
        turn(box);
        return 1;
    case 't':
        turns(box, 1 + number % 8);
        return 1;
    case 'f':
        on_speaker_step(box, step, number);
        return 1;
    default:
        on_speaker_step(box, step, number);
        turns(box, box->turns);
        return 0;
    }
}

static void
play(struct box *box, const uint8_t *data, size_t size)
{
    size_t from = 0, at = 0;
    for (int steps = 0; at < size && steps < STEPS_MAX;) {
        if (data[at] != 0xff || at + 1 == size) {
            at++;
            continue;
        }
        say(box, data + from, at - from);
        if (data[at + 1] == 0xff) { /* the octet itself */
            from = at + 1;
            at += 2;
            continue;
        }
        uint8_t number = at + 2 < size ? data[at + 2] : 0;
        at += 2 + on_step(box, data[at + 1], number);
        from = at < size ? at : size;
        steps++;
    }
    say(box, data + from, (at < size ? at : size) - from);
}

/* Nobody says anything any more. */
static void
wait_for_the_end(struct box *box)
{
    struct proxy_worker *worker = box->worker;
    box->turn_count = 0;
    turns(box, 8);
    for (int64_t end_us = now_us + END_US_MAX; worker->socket_count > 0;) {
        int wait_ms = loop__timer_wait_ms(worker->loop, now_us);
        fr_insist(wait_ms >= 0); /* sockets that no timer watches would stay for ever */
        fr_insist(now_us < end_us);
        now_us += (wait_ms > JUMP_MS_MIN ? wait_ms : JUMP_MS_MIN) * FR_US_PER_MS;
        turn(box);
    }
    struct proxy_counters counters;
    struct loop_counters loop_counters;
    proxy_read_counters(box->proxy, 0, &counters);
    proxy_read_loop_counters(box->proxy, 0, &loop_counters);
    fr_insist(counters.requests_active == 0);
    fr_insist(counters.connections_open == 0);
    fr_insist(counters.queue_waiting == 0);
    fr_insist(loop_counters.buf_in_use == 0);
}

/* Or Freshet is stopped in the middle of it. */
static void
stop(struct box *box)
{
    proxy_worker_stop(box->worker);
    for (int i = 0; box->worker->socket_count > 0; i++) {
        fr_insist(i < 4);
        turn(box);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    make_once();
    int lowest = fcntl(0, F_DUPFD_CLOEXEC, 0);
    (void)close(lowest);
    struct box *box = fr_xalloc(sizeof(*box));
    the_box = box;
    now_us = 1000 * FR_US_PER_S;
    box_new(box, data);
    play(box, data + 3, size - 3);
    if (data[0] & 0x10)
        stop(box);
    else
        wait_for_the_end(box);
    hear_all(box);
    judge(&box->run);
    box_free(box);
    fr_free(box);
    /* Every descriptor is back. */
    int again = fcntl(0, F_DUPFD_CLOEXEC, 0);
    fr_insist(again == lowest);
    (void)close(again);
    return 0;
}
