/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_net.c - networks: read, printed, and looked up in a list.
 *
 * Trusts:     nothing about the text.
 * Cost:       a look-up is linear in the list; lists are a dozen entries.
 * Follows:    RFC 4632 section 3.1 and RFC 4291 section 2.3 for the notation.
 */
#include "loop/loop_net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

/* Clears what lies behind the prefix; true when there was nothing. */
static bool
mask(struct loop_net *net, size_t byte_count)
{
    bool clean = true;
    for (size_t i = 0; i < byte_count; i++) {
        unsigned from = (unsigned)i * 8;
        unsigned kept = net->bits <= from ? 0 : net->bits - from >= 8 ? 8 : net->bits - from;
        uint8_t keep = (uint8_t)(0xff00u >> kept);
        if (net->bytes[i] & (uint8_t)~keep)
            clean = false;
        net->bytes[i] &= keep;
    }
    return clean;
}

enum fr_err
loop_net_parse(struct fr_view text, struct loop_net *out)
{
    char host[INET6_ADDRSTRLEN];
    struct fr_view rest = text, address;
    uint64_t bits;
    *out = (struct loop_net){0};
    if (fr_view_is(text, "unix:")) {
        out->family = AF_UNIX;
        return FR_OK;
    }
    if (!fr_view_split(&rest, '/', &address) || memchr(text.ptr, '\0', text.len) ||
        !fr_view_copy(address, host, sizeof(host)))
        return FR_ERR_SYNTAX;
    if (inet_pton(AF_INET, host, out->bytes) == 1)
        out->family = AF_INET;
    else if (inet_pton(AF_INET6, host, out->bytes) == 1)
        out->family = AF_INET6;
    else
        return FR_ERR_SYNTAX;
    unsigned bits_max = out->family == AF_INET ? 32 : 128;
    out->bits = bits_max;
    if (rest.ptr) {
        bool padded = rest.len > 1 && rest.ptr[0] == '0';
        if (padded || !fr_view_u64(rest, &bits) || bits > bits_max)
            return FR_ERR_SYNTAX;
        out->bits = (unsigned)bits;
    }
    return mask(out, bits_max / 8) ? FR_OK : FR_ERR_RANGE;
}

void
loop_net_format(const struct loop_net *net, char out[LOOP_NET_TEXT_BYTES])
{
    char host[INET6_ADDRSTRLEN] = "";
    if (net->family == AF_UNIX) {
        (void)snprintf(out, LOOP_NET_TEXT_BYTES, "unix:");
        return;
    }
    (void)inet_ntop(net->family, net->bytes, host, sizeof(host)); /* room for any */
    (void)snprintf(out, LOOP_NET_TEXT_BYTES, "%s/%u", host, net->bits);
}

static bool
holds(const struct loop_net *net, const uint8_t *bytes)
{
    unsigned whole = net->bits / 8, left = net->bits % 8;
    if (memcmp(net->bytes, bytes, whole) != 0)
        return false;
    return left == 0 || ((net->bytes[whole] ^ bytes[whole]) & (0xff00u >> left) & 0xff) == 0;
}

bool
loop_nets_have(const struct loop_net *nets, size_t count, const struct loop_addr *addr)
{
    struct loop_addr plain = *addr;
    uint8_t bytes[16];
    loop_addr_unmap(&plain);
    int family = loop_addr_bytes(&plain, bytes);
    for (size_t i = 0; i < count; i++)
        if (nets[i].family == family && (family == AF_UNIX || holds(&nets[i], bytes)))
            return true;
    return false;
}
