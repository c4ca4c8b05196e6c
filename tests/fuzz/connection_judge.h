/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection_judge.h - what went over each connection of a run, and whether that was right.
 *
 * fuzz_connection.c writes down, connection_judge.c reads it when the run is over.
 */
#ifndef CONNECTION_JUDGE_H
#define CONNECTION_JUDGE_H

#include "base/fr_buf.h"
#include "http/http.h"

#define JUDGE_CLIENTS_MAX 4
#define JUDGE_MEMBERS_MAX 24          /* connections that members took */
#define JUDGE_STREAM_BYTES (1u << 20) /* kept of what one side of a connection says */
#define JUDGE_MARKS_MAX 48

/* One connection, seen from the other end of it: a client's, or a member's. */
struct judge_side {
    int fd;                /* -1: closed by us, or never opened */
    struct fr_buf out, in; /* written by us; read by us */
    bool deaf;             /* we do not read */
    bool late;             /* we did not for a while: `marks` tell nothing */
    bool said_all;         /* we ended what we say properly */
    bool ended;            /* Freshet ended it: properly, or ... */
    bool aborted;          /* ... by a reset */
    /* How much we had written when bytes from `in_at` on came. */
    struct {
        size_t in_at, out_len;
    } marks[JUDGE_MARKS_MAX];
    size_t mark_count;
};

struct judge_run {
    struct judge_side clients[JUDGE_CLIENTS_MAX];
    size_t client_count;
    struct judge_side members[JUDGE_MEMBERS_MAX];
    size_t member_count;
    struct http_limits limits;
    bool cache;
    bool overflowed; /* a stream is longer than what was kept: there is nothing to judge */
};

/* Stops the process at the first thing that is wrong. */
void judge(const struct judge_run *run);

#endif
