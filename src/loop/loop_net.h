/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_net.h - networks that addresses lie in: "10.0.0.0/8", "2001:db8::/32", "192.0.2.1", "unix:"
 * (whoever connects over a Unix socket). A value type.
 */
#ifndef LOOP_NET_H
#define LOOP_NET_H

#include "loop/loop_addr.h"

#define LOOP_NET_TEXT_BYTES 64

struct loop_net {
    int family; /* AF_INET, AF_INET6, AF_UNIX */
    unsigned bits;
    uint8_t bytes[16]; /* in network order; zero behind `bits` */
};

/* FR_ERR_SYNTAX: no network.  FR_ERR_RANGE: one with bits behind its prefix, which says two things
 * at once; *out is then the network that its prefix means. */
FR_MUST_USE enum fr_err loop_net_parse(struct fr_view text, struct loop_net *out);
void loop_net_format(const struct loop_net *net, char out[LOOP_NET_TEXT_BYTES]);
/* An IPv4 address written as IPv6 (::ffff:192.0.2.1) counts as the IPv4 one. */
bool loop_nets_have(const struct loop_net *nets, size_t count, const struct loop_addr *addr);

#endif
