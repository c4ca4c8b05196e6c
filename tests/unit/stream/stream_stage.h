/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_stage.h - what the stream tests share: two sessions, or one and a peer spoken to by hand,
 * on a real loop.
 */
#ifndef STREAM_STAGE_H
#define STREAM_STAGE_H

#include "stream/stream_session.h"

#include "base/fr_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_US 10000000LL

struct end { /* one session and what it said */
    struct stream_session *session;
    struct loop *loop;
    unsigned opened, ended, reports, requests, results;
    uint64_t last_seq;
    uint64_t first_seq;
    char why[512];
    char peer_id[64];
    uint64_t peer_epoch;
    void (*on_opened)(struct end *end);
    void (*on_event)(struct end *end, const struct wire_event *event);
    void (*on_ended)(struct end *end);
};

struct raw { /* the other end of a socket pair, spoken to by hand */
    int fd;
    char text[65536];
    size_t len;
    bool ended;
};

struct stage {
    struct loop *loop;
    bool (*until)(struct stage *stage);
    bool late;
    struct loop_timer poll, deadline;
    struct end a, b;
    struct raw raw;
    int64_t waited_from_us;
    unsigned wanted;
};

/* ---- the stage ------------------------------------------------------------------------------ */

static inline void
end_opened(void *ctx, const struct wire_open *open)
{
    struct end *end = ctx;
    end->opened++;
    (void)fr_view_copy(open->id, end->peer_id, sizeof(end->peer_id)); /* ids here are short */
    end->peer_epoch = open->epoch;
    if (end->on_opened != NULL)
        end->on_opened(end);
}

static inline void
end_event(void *ctx, const struct wire_event *event)
{
    struct end *end = ctx;
    if (event->kind == WIRE_EVENT_REPORT) {
        end->last_seq = event->as.report->seq;
        if (end->reports++ == 0)
            end->first_seq = end->last_seq;
    } else if (event->kind == WIRE_EVENT_RECONFIGURE) {
        end->requests++;
    } else if (event->kind == WIRE_EVENT_RESULT) {
        end->results++;
    }
    if (end->on_event != NULL)
        end->on_event(end, event);
}

static inline void
end_ended(void *ctx, const char *why)
{
    struct end *end = ctx;
    end->ended++;
    (void)snprintf(end->why, sizeof(end->why), "%s", why);
    if (end->on_ended != NULL)
        end->on_ended(end);
}

static const struct stream_callbacks stage_callbacks = {end_opened, end_event, end_ended};

static inline struct stream_options
options_of(enum wire_role role, const char *id)
{
    return (struct stream_options){
        .open = {.role = role, .id = fr_view_of(id), .epoch = 3, .boot = FR_VIEW("boot-1")},
        .seed = 17,
    };
}

static inline void
read_raw(struct raw *raw)
{
    ssize_t count;
    while (raw->fd >= 0 && raw->len < sizeof(raw->text) - 1 &&
           (count = read(raw->fd, raw->text + raw->len, sizeof(raw->text) - 1 - raw->len)) >= 0) {
        raw->ended = count == 0;
        raw->len += (size_t)count;
        raw->text[raw->len] = '\0';
        if (count == 0)
            break;
    }
}

static inline void
write_raw(struct stage *stage, const char *text)
{
    size_t len = strlen(text);
    assert_int_equal(write(stage->raw.fd, text, len), (ssize_t)len);
}

static inline void
stage_poll(void *ctx)
{
    struct stage *stage = ctx;
    read_raw(&stage->raw);
    if (stage->until(stage))
        loop_stop(stage->loop);
    else
        loop_timer_start(stage->loop, &stage->poll, 1000, stage_poll, stage);
}

static inline void
stage_late(void *ctx)
{
    struct stage *stage = ctx;
    stage->late = true;
    loop_stop(stage->loop);
}

static inline void
run_until(struct stage *stage, bool (*until)(struct stage *stage))
{
    stage->until = until;
    stage->late = false;
    stage->waited_from_us = loop_now_us(stage->loop);
    loop_timer_start(stage->loop, &stage->poll, 0, stage_poll, stage);
    loop_timer_start(stage->loop, &stage->deadline, DEADLINE_US, stage_late, stage);
    assert_int_equal(loop_run(stage->loop), FR_OK);
    loop_timer_stop(&stage->poll);
    loop_timer_stop(&stage->deadline);
    if (stage->late)
        fail_msg("nothing came: a %u/%u \"%s\", b %u/%u \"%s\", raw \"%s\"", stage->a.opened,
                 stage->a.ended, stage->a.why, stage->b.opened, stage->b.ended, stage->b.why,
                 stage->raw.text);
}

static inline int
stage_set_up(void **state)
{
    struct stage *stage = fr_xalloc(sizeof(*stage));
    stage->raw.fd = -1;
    if (loop_new(NULL, &stage->loop) != FR_OK)
        return -1;
    stage->a.loop = stage->b.loop = stage->loop;
    *state = stage;
    return 0;
}

static inline int
stage_tear_down(void **state)
{
    struct stage *stage = *state;
    stream_session_free(&stage->a.session);
    stream_session_free(&stage->b.session);
    if (stage->raw.fd >= 0)
        close(stage->raw.fd);
    loop_free(&stage->loop);
    fr_free(stage);
    return 0;
}

static inline void
make_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

/* a and b, each accepting one end of a socket pair. */
static inline void
join(struct stage *stage, const struct stream_options *of_a, const struct stream_options *of_b)
{
    int fds[2];
    make_pair(fds);
    assert_int_equal(stream_session_accept(stage->loop, fds[0], NULL, of_a, &stage_callbacks,
                                           &stage->a, &stage->a.session),
                     FR_OK);
    assert_int_equal(stream_session_accept(stage->loop, fds[1], NULL, of_b, &stage_callbacks,
                                           &stage->b, &stage->b.session),
                     FR_OK);
}

static inline bool
both_open(struct stage *stage)
{
    return stage->a.opened > 0 && stage->b.opened > 0;
}

static inline void
join_open(struct stage *stage)
{
    struct stream_options of_a = options_of(WIRE_ROLE_MANAGER, "m");
    struct stream_options of_b = options_of(WIRE_ROLE_EDGE, "edge-1");
    join(stage, &of_a, &of_b);
    run_until(stage, both_open);
}

/* a against bytes by hand. */
static inline void
join_raw(struct stage *stage, const struct stream_options *options)
{
    int fds[2];
    make_pair(fds);
    stage->raw.fd = fds[1];
    assert_int_equal(stream_session_accept(stage->loop, fds[0], NULL, options, &stage_callbacks,
                                           &stage->a, &stage->a.session),
                     FR_OK);
}

#define RAW_OPEN                                                                                   \
    "<stream xmlns='urn:freshet:stream:1' version='1' role='edge' id='raw' epoch='2' boot='b'>"

static inline bool
a_open(struct stage *stage)
{
    return stage->a.opened > 0;
}

static inline bool
a_ended(struct stage *stage)
{
    return stage->a.ended > 0;
}

/* The peer has seen all, the end included; closing our end lets the session end at once. */
static inline bool
raw_ended(struct stage *stage)
{
    return stage->raw.ended;
}

static inline void
end_raw(struct stage *stage)
{
    run_until(stage, raw_ended);
    close(stage->raw.fd);
    stage->raw.fd = -1;
    run_until(stage, a_ended);
}

static inline enum fr_err
send_report(struct end *end, uint64_t seq, size_t servers)
{
    struct wire_server *list = fr_xalloc((servers + 1) * sizeof(*list));
    struct wire_cluster cluster = wire_cluster_none();
    for (size_t i = 0; i < servers; i++) {
        list[i] = wire_server_none();
        list[i].id = FR_VIEW("server-with-quite-a-long-name-1234567890");
        list[i].utilization = 0.5;
    }
    cluster.name = FR_VIEW("web");
    cluster.servers = list;
    cluster.server_count = servers;
    struct wire_report report = {.seq = seq, .clusters = &cluster, .cluster_count = 1};
    enum fr_err err = stream_session_send_report(end->session, &report);
    fr_free(list);
    return err;
}

static inline enum fr_err
send_request(struct end *end, uint64_t sequence)
{
    struct wire_reconfigure request = wire_reconfigure_none();
    request.id = (struct wire_request_id){3, sequence};
    request.cluster = FR_VIEW("web");
    request.operation = WIRE_ALLOCATE;
    request.reason = FR_VIEW("because");
    return stream_session_send_reconfigure(end->session, &request);
}

static inline bool
b_has_wanted(struct stage *stage)
{
    return stage->b.reports + stage->b.requests >= stage->wanted;
}

/* The last report is there. */
static inline bool
drained(struct stage *stage)
{
    return stage->b.last_seq == 100;
}

#define STAGED(test) cmocka_unit_test_setup_teardown(test, stage_set_up, stage_tear_down)

#endif
