/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_trace.h - what a request is called: X-Request-Id, traceparent; and who it is for: Forwarded.
 *
 * May touch:  base. Never: sockets, clocks, the heap, logs.
 * Trusts:     nothing. Whether a sender may be believed is the caller's to know.
 * Follows:    W3C Trace Context (Recommendation, 23 November 2021), RFC 7239 section 4.
 */
#ifndef HTTP_TRACE_H
#define HTTP_TRACE_H

#include "http/http.h"

#define HTTP_REQUEST_ID_BYTES_MAX 128
#define HTTP_TRACEPARENT_BYTES 55 /* of version 00: 00-TRACE-PARENT-FLAGS */
#define HTTP_TRACE_ID_AT 3        /* in a traceparent */
#define HTTP_TRACE_ID_BYTES 32    /* hexadecimal */
#define HTTP_TRACEPARENT_BYTES_MAX 256

/* Letters, digits and a few marks that mean nothing to a shell, a log or a query. */
bool http_request_id_valid(struct fr_view id);
/* *out_trace_id: HTTP_TRACE_ID_BYTES digits in `value`. A later version's may be longer. */
bool http_traceparent_valid(struct fr_view value, struct fr_view *out_trace_id);
/* Begins a trace, not sampled, from random bits. */
void http_traceparent_make(const uint64_t random[3], char out[HTTP_TRACEPARENT_BYTES + 1]);

/* One element of Forwarded: values without their quotes, empty where absent. False when it is not
 * well-formed, has a parameter twice, or a quoted pair, which no address or host needs. */
struct http_forwarded {
    struct fr_view node; /* "for": an address, perhaps with a port, "unknown" or "_name" */
    struct fr_view proto;
    struct fr_view host;
};
bool http_forwarded_read(struct fr_view element, struct http_forwarded *out);

#endif
