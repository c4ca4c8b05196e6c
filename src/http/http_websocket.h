/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_websocket.h - the proof of a WebSocket's handshake, for whoever answers it in the place of a
 * member that was asked over HTTP/2.
 *
 * May touch:  base. Never: sockets, clocks, the heap.
 * Follows:    RFC 6455 section 4.2.2, RFC 3174 (SHA-1: a checksum here, and no secret).
 */
#ifndef HTTP_WEBSOCKET_H
#define HTTP_WEBSOCKET_H

#include "base/fr_view.h"

#define HTTP_WEBSOCKET_KEY_BYTES_MAX 64 /* longer ones are cut: no client's own is over 24 */

/* The value of Sec-WebSocket-Key in a request's head as text; empty when there is none. */
struct fr_view http_websocket_key(struct fr_view head);
/* Sec-WebSocket-Accept for a Sec-WebSocket-Key; NUL-terminated. */
void http_websocket_accept(struct fr_view key, char out[32]);

#endif
