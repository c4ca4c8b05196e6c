/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_answer.h - answers of a route without a cluster: redirects, fixed responses, files.
 *
 * May touch:  base, http, config. Included by proxy_priv.h.
 */
#ifndef PROXY_ANSWER_H
#define PROXY_ANSWER_H

#include "base/fr_err.h"
#include "base/fr_view.h"
#include "http/http.h"
#include "http/http_select.h"

struct config_files;
struct config_route;
struct proxy_exchange;

/* proxy_answer.c */
/* What a route without a cluster says to a request; host: normalised, empty when there is none. */
/* True when it asks for a challenge of ours that is under way, and was answered. */
bool proxy_answer_challenge(struct proxy_exchange *x, const struct http_head *request);
void proxy_answer(struct proxy_exchange *x, const struct http_head *request,
                  const struct config_route *route, struct fr_view host);
/* The status line and Date into x->down_head, and what every head ends with. */
enum fr_err proxy_answer_begin(struct proxy_exchange *x, int status);
enum fr_err proxy_answer_headers(struct proxy_exchange *x, char *const *headers);
enum fr_err proxy_answer_end(struct proxy_exchange *x);
/* Sends x->down_head and nothing behind it, then ends; err: the head could not be printed. */
void proxy_answer_send(struct proxy_exchange *x, enum fr_err err);

/* proxy_files.c, proxy_file_send.c */
struct proxy_file { /* one that is being sent */
    int fd;
    uint64_t size;
    int64_t modified_s;
    struct fr_view type;   /* of the table: static */
    struct fr_view coding; /* static; empty: none */
    char etag[64];
    char boundary[40]; /* "" unless there are several ranges */
    char part[320];    /* the lines in front of a range */
    bool head_sent, closed;
    int64_t offset; /* next to send */
    uint64_t left;  /* of the current range */
    size_t range_count, range_next;
    struct http_range ranges[]; /* HTTP_RANGES_MAX, or one */
};
void proxy_files_answer(struct proxy_exchange *x, const struct http_head *request,
                        const struct config_route *route);
/* Judges conditions and ranges, prints the head and sends. x->file is complete but for its ranges.
 */
void proxy_file_send(struct proxy_exchange *x, const struct http_head *request,
                     const struct config_files *files);
void proxy_file_end(struct proxy_exchange *x); /* closes it, if there is one */

#endif
