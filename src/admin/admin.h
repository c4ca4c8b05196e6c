/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin.h - a small HTTP/1.1 server on a control loop: the admin socket and the manager's listener.
 *
 * May touch:  base, loop, tls, http, config.
 * Threads:    one control loop. Handlers answer at once or later (admin_exchange is kept).
 * Limits:     head 16 KiB, body body_bytes_max, answer 64 MiB, 256 connections, 30 s a request:
 *             then the client gets 504, and the late answer is dropped.
 */
#ifndef ADMIN_H
#define ADMIN_H

#include "base/fr_buf.h"
#include "config/config.h"
#include "loop/loop.h"
#include "tls/tls.h"

struct admin;
struct admin_exchange;

/* How somebody came, and who he is. */
enum admin_way { ADMIN_WAY_LOCAL /* a Unix socket */, ADMIN_WAY_CLEAR, ADMIN_WAY_TLS };
#define ADMIN_NAMES_BYTES 512
#define ADMIN_ADDRESSES_BYTES 800
struct admin_peer {
    enum admin_way way;
    char names[ADMIN_NAMES_BYTES]; /* of his certificate, spaces between; "": he showed none */
    /* Of his certificate likewise. They say nothing of who he is: no rule looks at them. */
    char addresses[ADMIN_ADDRESSES_BYTES];
    char serial[TLS_SERIAL_BYTES]; /* its number; "": he showed none */
    bool whole;                    /* every name and every address of his certificate is above */
    struct loop_addr from;
};
enum admin_role { ADMIN_ROLE_NOBODY, ADMIN_ROLE_READ, ADMIN_ROLE_OPERATE, ADMIN_ROLE_ADMIN };

struct admin_request {
    struct fr_view method, path; /* path without the query, percent-decoded */
    struct fr_view query;        /* raw, without '?' */
    struct fr_view content_type;
    struct fr_view body;           /* whole; valid until the answer */
    const struct admin_peer *peer; /* likewise */
    enum admin_role role;          /* of config_users */
};
/* Must lead to exactly one admin_answer. */
typedef void (*admin_fn)(void *ctx, struct admin_exchange *exchange,
                         const struct admin_request *request);

enum admin_needs { ADMIN_NEEDS_ADMIN, ADMIN_NEEDS_OPERATE, ADMIN_NEEDS_READ, ADMIN_NEEDS_NOTHING };

struct admin_route {
    const char *method; /* "GET" (serves HEAD too), "POST", "DELETE", "PUT" */
    const char *path;   /* exact, or a prefix when it ends in '/' */
    admin_fn fn;
    enum admin_needs needs; /* who less may do gets 401 or 403 */
};

/* A connection whose first byte is not an HTTP method's is handed to `other` (the manager's XML
 * streams share its listener): its descriptor, off the loop, with the bytes already received, which
 * the callee gives back. Without one such a connection gets 400. */
struct admin_handed {
    int fd;
    struct loop_buf *first;
    struct loop_filter *filter;    /* TLS that stands under it; NULL: none */
    const struct admin_peer *peer; /* until the callee returns */
};
typedef void (*admin_other_fn)(void *ctx, const struct admin_handed *handed);

/* Takes a bound descriptor. routes: terminated by a row with method NULL; must outlive the server.
 * Of several rows that fit, the exact path wins, then the longest prefix. 404, 405 (with Allow),
 * 400, 413 and 431 are answered by the server itself, and 403 to what a page of another site sends.
 */
FR_MUST_USE enum fr_err admin_new(struct loop *loop, int fd, const struct admin_route *routes,
                                  size_t body_bytes_max, void *ctx, struct admin **out);
void admin_on_other(struct admin *admin, admin_other_fn fn);
/* TLS for TCP connections accepted from now on (a reference is taken); NULL: none. */
void admin_set_tls(struct admin *admin, struct tls_server *tls);
/* Who may do what over TCP; borrowed until the next call. */
void admin_set_users(struct admin *admin, const struct config_users *users);
/* Asked before a request is refused for want of a role; true lets it through. */
typedef bool (*admin_allow_fn)(void *ctx, const struct admin_request *request);
void admin_on_allow(struct admin *admin, admin_allow_fn fn);
/* Told of what is refused, for the log: a handshake (what: "handshake") or a request ("request").
 */
typedef void (*admin_refused_fn)(void *ctx, const char *what, const char *from, const char *why);
void admin_on_refused(struct admin *admin, admin_refused_fn fn);
struct admin_counters {
    uint64_t handshakes_failed; /* TLS: no good certificate, an older version, no TLS at all */
    uint64_t unauthorized;      /* 401 */
    uint64_t forbidden;         /* 403 */
};
void admin_read_counters(const struct admin *admin, struct admin_counters *out);
const struct loop_addr *admin_addr(const struct admin *admin); /* as bound */
/* Open exchanges end unanswered: they are gone, and must not be answered any more. Allowed within a
 * handler. What is left runs as close callbacks of the loop. */
void admin_free(struct admin **admin);

/* body may be empty; copied. content_type NULL: application/json. */
void admin_answer(struct admin_exchange *exchange, int status, const char *content_type,
                  struct fr_view body);
/* {"error": "..."} with the words escaped. */
__attribute__((format(printf, 3, 4))) void admin_answer_error(struct admin_exchange *exchange,
                                                              int status, const char *format, ...);
/* First value of key in a query string, percent-decoded into out ("" for "key" alone); false when
 * absent, malformed or too long. */
bool admin_query(struct fr_view query, const char *key, char *out, size_t out_bytes);
/* Appends a JSON string literal, quotes included. */
FR_MUST_USE enum fr_err admin_json_string(struct fr_buf *out, struct fr_view text);

#endif
