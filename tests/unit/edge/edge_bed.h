/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_bed.h - what the tests of this room stand on: a whole edge (or allocator) on a real loop and
 * a folder of its own, with real workers; the test plays the manager, by hand, on a Unix socket.
 *
 * Threads:  the control loop runs on the test's thread, a turn at a time; workers are the proxy's.
 * Time:     waits end when what they wait for is there, or fail after BED_WAIT_MS.
 */
#ifndef EDGE_BED_H
#define EDGE_BED_H

#include "edge/edge_priv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define BED_WAIT_MS 20000
#define BED_RESULTS_MAX 16384
#define BED_REPORTS_MAX 4096
#define BED_CLUSTERS_MAX 8
#define BED_SERVERS_MAX 16

struct said_result {
    struct wire_request_id id;
    enum wire_status status;
    char code[32], reason[512];
    uint64_t generation;
    char servers[8][CONFIG_NAME_BYTES];
    size_t server_count;
};

struct said_server {
    char id[CONFIG_NAME_BYTES], address[64], role[16], state[16], pool[CONFIG_NAME_BYTES];
    uint64_t weight, weight_normal, requests, memory_bytes, relief;
    double utilization;
};

struct said_cluster {
    char name[CONFIG_NAME_BYTES];
    bool responsible;
    uint64_t requests, generation;
    struct said_server servers[BED_SERVERS_MAX];
    size_t server_count;
};

struct said_report { /* the last one, whole */
    uint64_t seq;
    bool crossing, full;
    int64_t wall_us;
    struct said_server self;
    size_t worker_count;
    struct said_cluster clusters[BED_CLUSTERS_MAX];
    size_t cluster_count;
    struct {
        char name[CONFIG_NAME_BYTES];
        uint64_t available, allocated;
    } pools[4];
    size_t pool_count;
};

struct bed {
    char folder[64];
    struct loop *loop;
    struct loop_timer pause;
    struct edge *edge;
    struct config_diag diag;
    char *why;
    bool stopped;
    /* the manager's end */
    int listen_fd, fd;
    struct wire_decoder *decoder;
    bool opened, ended;
    char role[16], id[CONFIG_NAME_BYTES], error_code[32];
    uint64_t obeyed;   /* the epoch in the edge's <stream> */
    uint64_t epoch;    /* ours */
    uint64_t sequence; /* of our last request */
    struct said_result results[BED_RESULTS_MAX];
    size_t result_count;
    struct said_report report;
    bool crossings[BED_REPORTS_MAX];
    int64_t report_at_us[BED_REPORTS_MAX];
    size_t report_count, crossing_count;
};

/* ---- what the edge says --------------------------------------------------------------------- */

static inline void
bed_copy(struct fr_view text, char *out, size_t out_bytes)
{
    assert_true(fr_view_copy(text, out, out_bytes));
}

static inline void
bed_take_server(const struct wire_server *from, struct said_server *out)
{
    *out = (struct said_server){
        .weight = from->weight,
        .weight_normal = from->weight_normal,
        .requests = from->requests,
        .memory_bytes = from->memory_bytes,
        .relief = from->relief,
        .utilization = from->utilization,
    };
    bed_copy(from->id, out->id, sizeof(out->id));
    bed_copy(from->address, out->address, sizeof(out->address));
    bed_copy(from->role, out->role, sizeof(out->role));
    bed_copy(from->state, out->state, sizeof(out->state));
    bed_copy(from->pool, out->pool, sizeof(out->pool));
}

static inline void
bed_take_report(struct bed *bed, const struct wire_report *from)
{
    struct said_report *out = &bed->report;
    memset(out, 0, sizeof(*out));
    out->seq = from->seq;
    out->crossing = from->crossing;
    out->full = from->full;
    out->wall_us = from->at_us;
    assert_true(from->has_self);
    bed_take_server(&from->self, &out->self);
    out->worker_count = from->worker_count;
    assert_true(from->cluster_count <= BED_CLUSTERS_MAX && from->pool_count <= 4);
    for (size_t i = 0; i < from->cluster_count; i++) {
        const struct wire_cluster *cluster = &from->clusters[i];
        struct said_cluster *to = &out->clusters[out->cluster_count++];
        bed_copy(cluster->name, to->name, sizeof(to->name));
        to->responsible = cluster->responsible;
        to->requests = cluster->requests;
        to->generation = cluster->generation;
        assert_true(cluster->server_count <= BED_SERVERS_MAX);
        for (size_t server = 0; server < cluster->server_count; server++)
            bed_take_server(&cluster->servers[server], &to->servers[to->server_count++]);
    }
    for (size_t i = 0; i < from->pool_count; i++) {
        bed_copy(from->pools[i].name, out->pools[i].name, CONFIG_NAME_BYTES);
        out->pools[i].available = from->pools[i].available;
        out->pools[i].allocated = from->pools[i].allocated;
        out->pool_count++;
    }
    assert_true(bed->report_count < BED_REPORTS_MAX);
    bed->report_at_us[bed->report_count] = loop_now_us(bed->loop);
    bed->crossings[bed->report_count++] = from->crossing;
    bed->crossing_count += from->crossing;
}

static inline void
bed_take_result(struct bed *bed, const struct wire_result *from)
{
    assert_true(bed->result_count < BED_RESULTS_MAX);
    struct said_result *out = &bed->results[bed->result_count++];
    memset(out, 0, sizeof(*out));
    out->id = from->id;
    out->status = from->status;
    out->generation = from->generation;
    bed_copy(from->code, out->code, sizeof(out->code));
    bed_copy(from->reason, out->reason, sizeof(out->reason));
    assert_true(from->server_count <= 8);
    for (size_t i = 0; i < from->server_count; i++)
        bed_copy(from->servers[i].id, out->servers[out->server_count++], CONFIG_NAME_BYTES);
}

static inline bool
bed_on_event(void *ctx, const struct wire_event *event)
{
    struct bed *bed = ctx;
    if (event->kind == WIRE_EVENT_OPEN) {
        bed->opened = true;
        bed->obeyed = event->as.open->epoch;
        bed_copy(fr_view_of(wire_role_name(event->as.open->role)), bed->role, sizeof(bed->role));
        bed_copy(event->as.open->id, bed->id, sizeof(bed->id));
    } else if (event->kind == WIRE_EVENT_REPORT) {
        bed_take_report(bed, event->as.report);
    } else if (event->kind == WIRE_EVENT_RESULT) {
        bed_take_result(bed, event->as.result);
    } else if (event->kind == WIRE_EVENT_ERROR) {
        bed_copy(event->as.error.code, bed->error_code, sizeof(bed->error_code));
    } else if (event->kind == WIRE_EVENT_CLOSE) {
        bed->ended = true;
    }
    return true;
}

static inline void
bed_listen_poll(struct bed *bed)
{
    char bytes[65536];
    for (;;) {
        ssize_t got = bed->fd < 0 || bed->ended
                          ? -1
                          : recv(bed->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (got < 0)
            return; /* nothing yet */
        if (got == 0) {
            bed->ended = true;
            return;
        }
        if (wire_decoder_feed(bed->decoder, fr_view_make(bytes, (size_t)got)) != WIRE_OK)
            fail_msg("what the edge says is no stream: %s", wire_decoder_words(bed->decoder));
    }
}

/* ---- turns ---------------------------------------------------------------------------------- */

static inline void
bed_on_pause(void *ctx)
{
    loop_stop(ctx);
}

static inline void
bed_turn(struct bed *bed)
{
    loop_timer_start(bed->loop, &bed->pause, 1000, bed_on_pause, bed->loop);
    assert_int_equal(loop_run(bed->loop), FR_OK);
    bed_listen_poll(bed);
}

#define bed_until(bed, condition)                                                                  \
    do {                                                                                           \
        int64_t bed_from_us_ = fr_clock_mono_us();                                                 \
        bed_listen_poll(bed);                                                                      \
        while (!(condition)) {                                                                     \
            if (fr_clock_mono_us() - bed_from_us_ > BED_WAIT_MS * FR_US_PER_MS)                    \
                fail_msg("never came true: %s", #condition);                                       \
            bed_turn(bed);                                                                         \
        }                                                                                          \
    } while (0)

/* ---- what the manager says ------------------------------------------------------------------ */

static inline void
bed_send(struct bed *bed, const char *bytes, size_t len)
{
    size_t sent = 0;
    while (sent < len) {
        ssize_t put = send(bed->fd, bytes + sent, len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put < 0 && errno == EAGAIN) {
            bed_turn(bed); /* the edge reads on our own thread */
            continue;
        }
        assert_true(put > 0);
        sent += (size_t)put;
    }
}

__attribute__((format(printf, 2, 3))) static inline void
bed_say(struct bed *bed, const char *format, ...)
{
    va_list args;
    struct fr_buf text;
    fr_buf_init(&text, (size_t)8 << 20);
    va_start(args, format);
    assert_int_equal(fr_buf_vprintf(&text, format, args), FR_OK);
    va_end(args);
    bed_send(bed, text.data, text.len);
    fr_buf_fini(&text);
}

static inline size_t
bed_results_of(const struct bed *bed, uint64_t epoch, uint64_t sequence)
{
    size_t count = 0;
    for (size_t i = 0; i < bed->result_count; i++)
        count += bed->results[i].id.epoch == epoch && bed->results[i].id.sequence == sequence;
    return count;
}

/* The last result under an id; NULL before there is one. */
static inline const struct said_result *
bed_result(const struct bed *bed, uint64_t sequence)
{
    for (size_t i = bed->result_count; i-- > 0;)
        if (bed->results[i].id.epoch == bed->epoch && bed->results[i].id.sequence == sequence)
            return &bed->results[i];
    return NULL;
}

/* Sends a request under the next id and does not wait; cluster NULL: none. */
static inline uint64_t
bed_request(struct bed *bed, const char *cluster, const char *operation)
{
    bed->sequence++;
    bed_say(bed, "<reconfigure id='%llu:%llu'%s%s%s>%s</reconfigure>",
            (unsigned long long)bed->epoch, (unsigned long long)bed->sequence,
            cluster ? " cluster='" : "", cluster ? cluster : "", cluster ? "'" : "", operation);
    return bed->sequence;
}

/* The same, and waits for the answer. */
static inline const struct said_result *
bed_ask(struct bed *bed, const char *cluster, const char *operation)
{
    uint64_t sequence = bed_request(bed, cluster, operation);
    bed_until(bed, bed_result(bed, sequence) != NULL);
    return bed_result(bed, sequence);
}

static inline void
bed_done(struct bed *bed, const char *cluster, const char *operation)
{
    const struct said_result *result = bed_ask(bed, cluster, operation);
    if (result->status != WIRE_DONE)
        fail_msg("%s: refused: %s: %s", operation, result->code, result->reason);
}

/* Refused with that code, and words that say `words` somewhere. */
static inline void
bed_refused(struct bed *bed, const char *cluster, const char *operation, const char *code,
            const char *words)
{
    const struct said_result *result = bed_ask(bed, cluster, operation);
    if (result->status != WIRE_REFUSED || strcmp(result->code, code) != 0 ||
        strstr(result->reason, words) == NULL)
        fail_msg("%s: expected %s with \"%s\", got %s %s \"%s\"", operation, code, words,
                 result->status == WIRE_DONE ? "done" : "refused", result->code, result->reason);
}

static inline void
bed_hang_up(struct bed *bed)
{
    if (bed->fd >= 0)
        close(bed->fd);
    bed->fd = -1;
    wire_decoder_free(&bed->decoder);
}

/* Takes the edge's next connection and opens the stream as a manager of that epoch, or as somebody
 * of another role. Returns once the edge has opened its end. */
static inline void
bed_meet_as(struct bed *bed, const char *role, uint64_t epoch)
{
    bed_hang_up(bed);
    bed->opened = bed->ended = false;
    bed->error_code[0] = '\0';
    bed->epoch = epoch;
    bed_until(bed, (bed->fd = accept4(bed->listen_fd, NULL, NULL,
                                      SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
    assert_int_equal(
        wire_decoder_new(WIRE_STREAM, &wire_limits_default, bed_on_event, bed, &bed->decoder),
        FR_OK);
    bed_say(bed, "<stream xmlns='" WIRE_NAMESPACE "' version='1' role='%s' id='boss' epoch='%llu'>",
            role, (unsigned long long)epoch);
    bed_until(bed, bed->opened);
}

static inline void
bed_meet(struct bed *bed, uint64_t epoch)
{
    size_t before = bed->report_count;
    bed_meet_as(bed, "manager", epoch);
    bed_until(bed, bed->report_count > before); /* the first comes at once */
}

/* ---- the edge ------------------------------------------------------------------------------- */

static inline void
bed_manager_up(struct bed *bed)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    bed->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(bed->listen_fd >= 0);
    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/m.sock", bed->folder);
    assert_int_equal(bind(bed->listen_fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(bed->listen_fd, 16), 0);
}

/* The configuration of a test: `tail` (clusters, routes, pools) below what all have. */
static inline struct config *
bed_config(struct bed *bed, enum config_role role, bool manager, const char *tail)
{
    struct config *config = NULL;
    char *connect = manager ? fr_xprintf("manager: { connect: \"unix:%s/m.sock\" }\n", bed->folder)
                            : fr_xstrdup("");
    char *yaml = fr_xprintf("id: edge-1\nworkers: 1\nstate: %s/state\n"
                            "admin: \"unix:%s/admin.sock\"\n%s%s%s",
                            bed->folder, bed->folder, connect,
                            role == CONFIG_ROLE_EDGE ? "listen: \"127.0.0.1:0\"\n" : "", tail);
    config_diag_fini(&bed->diag);
    config_diag_init(&bed->diag);
    if (config_parse(fr_view_of(yaml), "test.yaml", role, &bed->diag, &config) != FR_OK)
        fail_msg("%s in:\n%s", bed->diag.entry_count ? bed->diag.entries[0].text : "?", yaml);
    fr_free(yaml);
    fr_free(connect);
    return config;
}

static inline struct bed *
bed_new(void)
{
    struct bed *bed = fr_xalloc(sizeof(*bed));
    bed->fd = bed->listen_fd = -1;
    (void)snprintf(bed->folder, sizeof(bed->folder), "/tmp/test-edge-XXXXXX");
    assert_non_null(mkdtemp(bed->folder));
    assert_int_equal(loop_new(NULL, &bed->loop), FR_OK);
    config_diag_init(&bed->diag);
    return bed;
}

static inline void
bed_start(struct bed *bed, struct config *config, enum wire_role role)
{
    bed_turn(bed); /* reads the clock */
    if (edge_new(bed->loop, config, role, &bed->diag, &bed->edge, &bed->why) != FR_OK)
        fail_msg("no edge: %s", bed->why ? bed->why : "?");
    if (edge_start(bed->edge, &bed->why) != FR_OK)
        fail_msg("edge not started: %s", bed->why ? bed->why : "?");
}

/* An edge with a manager, met under epoch 3. */
static inline struct bed *
bed_open(const char *tail)
{
    struct bed *bed = bed_new();
    bed_manager_up(bed);
    bed_start(bed, bed_config(bed, CONFIG_ROLE_EDGE, true, tail), WIRE_ROLE_EDGE);
    bed_meet(bed, 3);
    return bed;
}

/* An edge on its own. */
static inline struct bed *
bed_open_alone(const char *tail)
{
    struct bed *bed = bed_new();
    bed_start(bed, bed_config(bed, CONFIG_ROLE_EDGE, false, tail), WIRE_ROLE_EDGE);
    return bed;
}

static inline void
bed_close(struct bed *bed)
{
    char command[96];
    edge_free(&bed->edge);
    bed_turn(bed); /* sockets that were closed are let go of, … */
    bed_turn(bed); /* … and those of the test that were at their other ends */
    bed_hang_up(bed);
    if (bed->listen_fd >= 0)
        close(bed->listen_fd);
    loop_free(&bed->loop);
    config_diag_fini(&bed->diag);
    fr_free(bed->why);
    (void)snprintf(command, sizeof(command), "rm -rf -- %s", bed->folder);
    assert_int_equal(system(command), 0);
    fr_free(bed);
}

/* ---- settings, servers and clients ----------------------------------------------------------- */

/* web: two servers of the file. api: scales from four addresses of a pool. far: one server
 * that takes nothing, others join it. Nothing is checked, nobody listens there. */
#define BED_SETTINGS                                                                               \
    "routes:\n"                                                                                    \
    "  - { name: all, cluster: web }\n"                                                            \
    "  - { name: api, match: { path: /api/ }, cluster: api }\n"                                    \
    "  - { name: far, match: { path: /far/ }, cluster: far }\n"                                    \
    "clusters:\n"                                                                                  \
    "  web: { members: [{ id: web-1, address: \"127.0.0.1:9\" },\n"                                \
    "                   { id: web-2, address: \"127.0.0.1:10\", weight: 50 }] }\n"                 \
    "  api: { health: { type: none }, scale: { from: rack, min: 0, max: 3 } }\n"                   \
    "  far: { members: [{ id: far-0, address: \"127.0.0.1:9\", weight: 0 }] }\n"                   \
    "pools:\n"                                                                                     \
    "  rack: { provider: static, servers: [\"127.0.0.1:11\", \"127.0.0.1:12\",\n"                  \
    "                                      \"127.0.0.1:13\", \"127.0.0.1:14\"] }\n"

/* A listening socket that takes connections and says nothing. */
static inline int
bed_silent_server(char *out_address, size_t out_bytes)
{
    struct loop_addr addr;
    int fd = -1;
    assert_int_equal(loop_addr_parse(FR_VIEW("127.0.0.1:0"), &addr), FR_OK);
    assert_int_equal(loop_bind(&addr, false, &fd, NULL), FR_OK);
    addr.len = sizeof(addr.sa);
    assert_int_equal(getsockname(fd, &addr.sa.any, &addr.len), 0);
    assert_int_equal(listen(fd, 64), 0);
    (void)snprintf(out_address, out_bytes, "127.0.0.1:%u", loop_addr_port(&addr));
    return fd;
}

/* A client's connection with a request on its way; the answer is read with recv. */
static inline int
bed_client(struct bed *bed, const char *request)
{
    const struct loop_addr *addr = &bed->edge->listeners[0].bound;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &addr->sa.any, addr->len), 0);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    return fd;
}

/* Takes the next connection of a silent server and reads the request's head. */
static inline int
bed_server_take(struct bed *bed, int listen_fd)
{
    char head[4096];
    size_t len = 0;
    int fd = -1;
    bed_until(bed, (fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0);
    head[0] = '\0';
    while (strstr(head, "\r\n\r\n") == NULL) {
        ssize_t got = recv(fd, head + len, sizeof(head) - 1 - len, 0);
        if (got < 0) {
            bed_turn(bed);
            continue;
        }
        assert_true(got > 0);
        len += (size_t)got;
        head[len] = '\0';
    }
    return fd;
}

static inline uint64_t
bed_in_flight(const struct edge_member *member)
{
    struct cluster_member_stats sum;
    cluster_member_sum(member->shared, loop_now_us(member->edge->loop), &sum);
    return sum.in_flight;
}

/* ---- looking -------------------------------------------------------------------------------- */

static inline const struct said_cluster *
bed_said_cluster(const struct bed *bed, const char *name)
{
    for (size_t i = 0; i < bed->report.cluster_count; i++)
        if (strcmp(bed->report.clusters[i].name, name) == 0)
            return &bed->report.clusters[i];
    return NULL;
}

/* A server as the last report showed it; NULL when it did not. */
static inline const struct said_server *
bed_said_server(const struct bed *bed, const char *cluster_name, const char *id)
{
    const struct said_cluster *cluster = bed_said_cluster(bed, cluster_name);
    for (size_t i = 0; cluster != NULL && i < cluster->server_count; i++)
        if (strcmp(cluster->servers[i].id, id) == 0)
            return &cluster->servers[i];
    return NULL;
}

static inline bool
bed_said_state(const struct bed *bed, const char *cluster, const char *id, const char *state)
{
    const struct said_server *server = bed_said_server(bed, cluster, id);
    return server != NULL && strcmp(server->state, state) == 0;
}

static inline struct edge_member *
bed_member(const struct bed *bed, const char *cluster_name, const char *id)
{
    struct edge_cluster *cluster = edge_cluster_find(bed->edge, fr_view_of(cluster_name));
    return cluster ? edge_member_find(cluster, fr_view_of(id)) : NULL;
}

#endif
