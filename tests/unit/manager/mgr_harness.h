/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr_harness.h - a manager on a Unix socket, and peers that speak real bytes to it.
 *
 * Threads:  one: peers are polled between turns of the manager's loop.
 * Time:     is its own (own_clock.c), so that no busy machine makes a report stale. Waits end when
 *           what they wait for is there, or fail after HARNESS_WAIT_MS of it.
 */
#ifndef MGR_HARNESS_H
#define MGR_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "manager/mgr_priv.h"

#define HARNESS_WAIT_MS 10000
#define PEER_ORDERS_MAX 256

struct harness {
    char folder[64];
    char socket_path[96];
    char *yaml;
    struct loop *loop;
    struct config *config;
    struct mgr *mgr;
};

struct order { /* a reconfigure as the peer got it */
    struct wire_request_id id;
    enum wire_operation operation;
    char cluster[64], server[64], address[64], pool[64];
    uint64_t count, weight, step, goal_us;
    double upper, lower;
    int64_t at_us;
};

struct peer {
    int fd; /* -1: closed */
    struct wire_decoder *decoder;
    bool is_open, is_ended;
    uint64_t manager_epoch;
    char error_code[64];
    struct order orders[PEER_ORDERS_MAX];
    size_t order_count;
    size_t taken; /* orders that peer_next gave out */
};

/* `tail` is added to "state" and "manager". */
void harness_start(struct harness *harness, const char *tail);
void harness_restart(struct harness *harness); /* as after kill -9: same state folder */
/* As after a change of the file: the first place of `from` in it is `to`, which is as long. */
void harness_reload(struct harness *harness, const char *from, const char *to);
void harness_stop(struct harness *harness);    /* and removes the folder */
void harness_turns(struct harness *harness, int64_t ms);

void peer_connect(struct harness *harness, struct peer *peer, const char *role, const char *id,
                  uint64_t obeyed);
void peer_close(struct peer *peer); /* without a goodbye */
__attribute__((format(printf, 2, 3))) void peer_say(struct peer *peer, const char *format, ...);
void peer_poll(struct peer *peer);
/* Waits for the next order of that kind and skips others before it; fails the test without one. */
const struct order *peer_next(struct harness *harness, struct peer *peer,
                              enum wire_operation operation);
/* No order of that kind came within `ms`. */
bool peer_hears_none(struct harness *harness, struct peer *peer, enum wire_operation operation,
                     int64_t ms);
void peer_done(struct peer *peer, const struct order *order, const char *servers_xml);
void peer_refuse(struct peer *peer, const struct order *order, const char *code);
void peer_wait_ended(struct harness *harness, struct peer *peer);

/* One HTTP exchange; the whole answer, head and body. The caller frees it (fr_free). */
char *harness_http(struct harness *harness, const char *method, const char *target,
                   const char *body);
/* Runs turns until the counter is at least `least`. */
void harness_wait_count(struct harness *harness, const uint64_t *counter, uint64_t least);

#endif
