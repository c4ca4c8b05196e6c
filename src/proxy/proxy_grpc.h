/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_grpc.h - what a gRPC call needs that other requests do not: its outcome stands in a field
 * of the trailers, its deadline in one of the request, and what is answered here in their words.
 *
 * May touch:  base, loop, http.
 * Trusts:     nothing: a field that is none is passed on and not believed.
 * Follows:    the gRPC project's "gRPC over HTTP2" and "HTTP to gRPC status code mapping".
 */
#ifndef PROXY_GRPC_H
#define PROXY_GRPC_H

#include "proxy/proxy_priv.h"

#define PROXY_GRPC_SLACK_US 50000 /* behind its deadline: who set it is first to tell */

void proxy_grpc_take(struct proxy_exchange *x, const struct http_head *request);
/* The outcome, if it is told there. */
void proxy_grpc_head(struct proxy_exchange *x, const struct http_head *response);
void proxy_grpc_trailers(struct proxy_exchange *x);
bool proxy_grpc_error(const struct proxy_exchange *x);       /* as a 5xx is one */
bool proxy_grpc_unavailable(const struct proxy_exchange *x); /* as a 503 */
/* An answer of ours, into x->down_head. */
FR_MUST_USE enum fr_err proxy_grpc_print(struct proxy_exchange *x,
                                         const struct proxy_answer *answer);

#endif
