/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr_harness.c - see mgr_harness.h.
 */
#include "mgr_harness.h"

#include "base/fr_file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void
stop_loop(void *ctx)
{
    loop_stop(ctx);
}

void
harness_turns(struct harness *harness, int64_t ms)
{
    struct loop_timer timer = {0};

    loop_timer_start(harness->loop, &timer, ms * 1000, stop_loop, harness->loop);
    assert_int_equal(loop_run(harness->loop), FR_OK);
    loop_timer_stop(&timer);
}

static void
manager_up(struct harness *harness)
{
    int fd = -1;
    int errno_value = 0;

    assert_int_equal(loop_bind(&harness->config->manager.listen[0].addr, false, &fd, &errno_value),
                     FR_OK);
    assert_int_equal(mgr_new(harness->loop, harness->config, &fd, 1, &harness->mgr), FR_OK);
}

void
harness_start(struct harness *harness, const char *tail)
{
    struct config_diag diag;

    memset(harness, 0, sizeof(*harness));
    strcpy(harness->folder, "/tmp/mgr-test-XXXXXX");
    assert_non_null(mkdtemp(harness->folder));
    snprintf(harness->socket_path, sizeof(harness->socket_path), "%s/m.sock", harness->folder);
    harness->yaml = fr_xprintf("id: boss\nstate: %s\nmanager: { listen: \"unix:%s\" }\n%s",
                               harness->folder, harness->socket_path, tail);
    config_diag_init(&diag);
    enum fr_err err = config_parse(fr_view_of(harness->yaml), "test.yaml", CONFIG_ROLE_MANAGER,
                                   &diag, &harness->config);
    if (err != FR_OK) {
        struct fr_buf words;
        fr_buf_init(&words, 65536);
        assert_int_equal(config_diag_print(&diag, &words), FR_OK);
        fail_msg("%s", words.data ? words.data : "?");
    }
    config_diag_fini(&diag);
    assert_int_equal(loop_new(NULL, &harness->loop), FR_OK);
    harness_turns(harness, 1); /* reads the clock */
    manager_up(harness);
}

void
harness_restart(struct harness *harness)
{
    mgr_free(&harness->mgr);
    harness_turns(harness, 2);
    manager_up(harness);
}

void
harness_reload(struct harness *harness, const char *from, const char *to)
{
    struct config_diag diag;
    struct config *config = NULL;
    char *yaml = fr_xstrdup(harness->yaml);
    char *at = strstr(yaml, from);

    assert_non_null(at);
    assert_int_equal(strlen(from), strlen(to));
    memcpy(at, to, strlen(to));
    config_diag_init(&diag);
    assert_int_equal(
        config_parse(fr_view_of(yaml), "new.yaml", CONFIG_ROLE_MANAGER, &diag, &config), FR_OK);
    mgr_reload(harness->mgr, config);
    config_free(&config); /* the manager keeps what it needs */
    config_diag_fini(&diag);
    fr_free(yaml);
}

void
harness_stop(struct harness *harness)
{
    char command[128];

    mgr_free(&harness->mgr);
    harness_turns(harness, 2);
    loop_free(&harness->loop);
    config_free(&harness->config);
    fr_free(harness->yaml);
    snprintf(command, sizeof(command), "rm -rf -- %s", harness->folder);
    assert_int_equal(system(command), 0);
}

/* ---- peers ---------------------------------------------------------------------------------- */

static void
copy(struct fr_view text, char *out, size_t out_bytes)
{
    assert_true(fr_view_copy(text, out, out_bytes));
}

static bool
peer_event(void *ctx, const struct wire_event *event)
{
    struct peer *peer = ctx;

    if (event->kind == WIRE_EVENT_OPEN) {
        peer->is_open = true;
        peer->manager_epoch = event->as.open->epoch;
    } else if (event->kind == WIRE_EVENT_ERROR) {
        copy(event->as.error.code, peer->error_code, sizeof(peer->error_code));
    } else if (event->kind == WIRE_EVENT_CLOSE) {
        peer->is_ended = true;
    } else if (event->kind == WIRE_EVENT_RECONFIGURE) {
        const struct wire_reconfigure *said = event->as.reconfigure;
        assert_true(peer->order_count < PEER_ORDERS_MAX);
        struct order *order = &peer->orders[peer->order_count++];
        memset(order, 0, sizeof(*order));
        order->id = said->id;
        order->operation = said->operation;
        copy(said->cluster, order->cluster, sizeof(order->cluster));
        copy(said->server, order->server, sizeof(order->server));
        copy(said->address, order->address, sizeof(order->address));
        copy(said->pool, order->pool, sizeof(order->pool));
        order->count = said->count;
        order->weight = said->weight;
        order->step = said->step;
        order->upper = said->upper;
        order->goal_us = said->goal_us;
        order->lower = said->lower;
        order->at_us = fr_clock_mono_us();
    }
    return true;
}

void
peer_poll(struct peer *peer)
{
    char bytes[65536];

    while (peer->fd >= 0) {
        ssize_t got = recv(peer->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            peer->is_ended = true;
            return;
        }
        if (peer->is_ended)
            continue;
        enum wire_error err = wire_decoder_feed(peer->decoder, fr_view_make(bytes, (size_t)got));
        if (err != WIRE_OK)
            fail_msg("manager's bytes do not decode: %s", wire_decoder_words(peer->decoder));
    }
}

void
peer_say(struct peer *peer, const char *format, ...)
{
    struct fr_buf buf;
    va_list args;
    size_t sent = 0;

    fr_buf_init(&buf, (size_t)8 << 20);
    va_start(args, format);
    assert_int_equal(fr_buf_vprintf(&buf, format, args), FR_OK);
    va_end(args);
    while (sent < buf.len) {
        ssize_t put = send(peer->fd, buf.data + sent, buf.len - sent, MSG_NOSIGNAL);
        if (put < 0)
            break; /* the manager ended it: what follows notices */
        sent += (size_t)put;
    }
    fr_buf_fini(&buf);
}

static int
connect_to(const struct harness *harness)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    strcpy(addr.sun_path, harness->socket_path);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

void
peer_connect(struct harness *harness, struct peer *peer, const char *role, const char *id,
             uint64_t obeyed)
{
    memset(peer, 0, sizeof(*peer));
    peer->fd = connect_to(harness);
    assert_int_equal(
        wire_decoder_new(WIRE_STREAM, &wire_limits_default, peer_event, peer, &peer->decoder),
        FR_OK);
    peer_say(peer,
             "<stream xmlns=\"" WIRE_NAMESPACE "\" version=\"1\" role=\"%s\" id=\"%s\""
             " epoch=\"%llu\">",
             role, id, (unsigned long long)obeyed);
    for (int64_t ms = 0; ms < HARNESS_WAIT_MS && !peer->is_open && !peer->is_ended; ms += 2) {
        harness_turns(harness, 2);
        peer_poll(peer);
    }
    assert_true(peer->is_open);
}

void
peer_close(struct peer *peer)
{
    if (peer->fd >= 0)
        close(peer->fd);
    peer->fd = -1;
    wire_decoder_free(&peer->decoder);
}

const struct order *
peer_next(struct harness *harness, struct peer *peer, enum wire_operation operation)
{
    for (int64_t ms = 0; ms < HARNESS_WAIT_MS; ms++) {
        peer_poll(peer);
        while (peer->taken < peer->order_count) {
            const struct order *order = &peer->orders[peer->taken++];
            if (order->operation == operation)
                return order;
        }
        harness_turns(harness, 1);
    }
    fail_msg("no <%s> came", wire_operation_name(operation));
    return NULL;
}

bool
peer_hears_none(struct harness *harness, struct peer *peer, enum wire_operation operation,
                int64_t ms)
{
    harness_turns(harness, ms);
    peer_poll(peer);
    for (size_t i = peer->taken; i < peer->order_count; i++)
        if (peer->orders[i].operation == operation)
            return false;
    return true;
}

void
peer_done(struct peer *peer, const struct order *order, const char *servers_xml)
{
    char id[WIRE_REQUEST_ID_BYTES];

    wire_request_id_format(order->id, id);
    peer_say(peer, "<result id=\"%s\" status=\"done\">%s</result>", id, servers_xml);
}

void
peer_refuse(struct peer *peer, const struct order *order, const char *code)
{
    char id[WIRE_REQUEST_ID_BYTES];

    wire_request_id_format(order->id, id);
    peer_say(peer, "<result id=\"%s\" status=\"refused\" code=\"%s\" reason=\"so it is\"/>", id,
             code);
}

void
peer_wait_ended(struct harness *harness, struct peer *peer)
{
    for (int64_t ms = 0; ms < HARNESS_WAIT_MS && !peer->is_ended; ms += 2) {
        harness_turns(harness, 2);
        peer_poll(peer);
    }
    assert_true(peer->is_ended);
}

void
harness_wait_count(struct harness *harness, const uint64_t *counter, uint64_t least)
{
    for (int64_t ms = 0; ms < HARNESS_WAIT_MS && *counter < least; ms++)
        harness_turns(harness, 1);
    assert_true(*counter >= least);
}

char *
harness_http(struct harness *harness, const char *method, const char *target, const char *body)
{
    struct peer web = {.fd = connect_to(harness)};
    struct fr_buf answer;
    char bytes[16384];
    bool is_over = false;

    fr_buf_init(&answer, (size_t)64 << 20);
    peer_say(&web,
             "%s %s HTTP/1.1\r\nHost: manager\r\nConnection: close\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             method, target, strlen(body), body);
    for (int64_t ms = 0; ms < HARNESS_WAIT_MS && !is_over; ms++) {
        harness_turns(harness, 1);
        ssize_t got = recv(web.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        while (got > 0) {
            assert_int_equal(fr_buf_append(&answer, bytes, (size_t)got), FR_OK);
            got = recv(web.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        }
        is_over = got == 0;
    }
    assert_true(is_over);
    close(web.fd);
    assert_non_null(answer.data);
    return answer.data;
}
