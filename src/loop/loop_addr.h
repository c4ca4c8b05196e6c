/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_addr.h - addresses: "127.0.0.1:80", "[::1]:80", ":8080" (every interface), "host:80",
 * "unix:path". A value type.
 */
#ifndef LOOP_ADDR_H
#define LOOP_ADDR_H

#include "base/fr_err.h"
#include "base/fr_view.h"

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#define LOOP_ADDR_TEXT_BYTES 128

struct loop_addr {
    socklen_t len; /* 0: none */
    union {
        struct sockaddr any;
        struct sockaddr_storage storage;
        struct sockaddr_un local;
    } sa;
};

/* Numeric addresses and unix paths only, never blocks.
 * FR_ERR_SYNTAX: not an address.  FR_ERR_RESOLVE: well-formed, but the host is a name. */
FR_MUST_USE enum fr_err loop_addr_parse(struct fr_view text, struct loop_addr *out);
/* As above, and asks the resolver for names: blocks, so boot and configuration checking only. */
FR_MUST_USE enum fr_err loop_addr_resolve(struct fr_view text, struct loop_addr *out);
/* All addresses of a "name:port", IPv4 if there are any, else IPv6, sorted, at most `max`. `server`
 * (NULL: the system's resolver) is the IPv4 address of a DNS server that is asked in its place.
 * Blocks for seconds: for a thread that has nothing else to do, or boot. FR_ERR_RESOLVE: there is
 * no answer, or it names no address. */
FR_MUST_USE enum fr_err loop_resolve(struct fr_view text, const struct loop_addr *server,
                                     struct loop_addr *out, size_t max, size_t *out_count);
/* Takes "name:port" or "[::1]:port" apart; false: there is no port. */
bool loop_addr_split(struct fr_view text, struct fr_view *out_host, uint16_t *out_port);
/* Canonical text; "-" for none. */
void loop_addr_format(const struct loop_addr *addr, char out[LOOP_ADDR_TEXT_BYTES]);
/* The address without the port ("10.0.0.7", "::1", "unix:"). */
void loop_addr_format_host(const struct loop_addr *addr, char out[LOOP_ADDR_TEXT_BYTES]);
/* A numeric address without a port ("192.0.2.1", "2001:db8::1") or with one ("192.0.2.1:80",
 * "[2001:db8::1]:80", "[2001:db8::1]"); the port is 0 where none stands. Never blocks. */
FR_MUST_USE enum fr_err loop_addr_parse_host(struct fr_view text, struct loop_addr *out);
/* An IPv4 address written as IPv6, as dual-stack sockets show their peers, becomes plain IPv4. */
void loop_addr_unmap(struct loop_addr *addr);
/* 4 or 16 bytes in network order; returns the family (AF_UNIX and AF_UNSPEC have no bytes). */
int loop_addr_bytes(const struct loop_addr *addr, uint8_t out[16]);
/* The way back: byte_count is 4 or 16. */
void loop_addr_make(const uint8_t *bytes, size_t byte_count, uint16_t port, struct loop_addr *out);
bool loop_addr_equal(const struct loop_addr *a, const struct loop_addr *b);
bool loop_addr_is_local(const struct loop_addr *addr); /* loopback or unix */
int loop_addr_port(const struct loop_addr *addr);      /* 0 for unix */

#endif
