/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_preface.c - the PROXY protocol, both versions read and version 2 written.
 *
 * Memory:     none of its own.
 * Trusts:     nothing: one spelling is taken, lengths must add up to the octet, and a checksum that
 *             is there must be right. What an HTTP client could send by chance is never taken.
 * Follows:    "The PROXY protocol, versions 1 & 2" (HAProxy, doc/proxy-protocol.txt), sections 2.1
 *             and 2.2; RFC 3720 appendix B.4 (CRC32C).
 *
 *     version 2:  signature (12)  version+command  family+transport  length (2)  addresses  TLVs
 */
#include "loop/loop_preface.h"

#include "base/fr_be.h"
#include "base/fr_check.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define SIGNATURE_BYTES 12
#define HEAD_BYTES 16
#define V1_BYTES_MAX 107 /* with CRLF */
#define FOUR_BYTES 12
#define SIX_BYTES 36
#define LOCAL_BYTES 216
#define UNIQUE_ID_BYTES_MAX 128

enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 };
enum { OVER_UNKNOWN = 0x00, OVER_TCP4 = 0x11, OVER_TCP6 = 0x21, OVER_UNIX = 0x31 };
enum { TLV_CRC32C = 0x03, TLV_UNIQUE_ID = 0x05, TLV_SSL = 0x20 };
enum { SSL_CLIENT_TLS = 1, SSL_HEAD_BYTES = 5, TLV_HEAD_BYTES = 3 };

static enum loop_preface_step
bad(const char *words, const char **out_words)
{
    *out_words = words;
    return LOOP_PREFACE_BAD;
}

/* ---- version 1 ------------------------------------------------------------------------------ */

/* A word up to one space; the last one up to the end. */
static bool
word_take(struct fr_view *rest, struct fr_view *out)
{
    return rest->ptr && fr_view_split(rest, ' ', out) && out->len > 0;
}

static bool
port_read(struct fr_view text, uint16_t *out)
{
    uint64_t port;
    if ((text.len > 1 && text.ptr[0] == '0') || !fr_view_u64(text, &port) || port > UINT16_MAX)
        return false;
    *out = (uint16_t)port;
    return true;
}

static bool
host_read(int family, struct fr_view text, uint8_t out[16])
{
    char host[INET6_ADDRSTRLEN];
    return !memchr(text.ptr, '\0', text.len) && fr_view_copy(text, host, sizeof(host)) &&
           inet_pton(family, host, out) == 1;
}

static enum loop_preface_step
v1_line(struct fr_view line, struct loop_preface *out, const char **out_words)
{
    struct fr_view rest = line, family_word, hosts[2], ports[2];
    uint8_t bytes[2][16];
    uint16_t numbers[2];
    if (!word_take(&rest, &family_word))
        return bad("no protocol in a PROXY line", out_words);
    if (fr_view_is(family_word, "UNKNOWN")) { /* what follows it is to be ignored */
        out->kind = LOOP_PREFACE_UNKNOWN;
        return LOOP_PREFACE_DONE;
    }
    bool six = fr_view_is(family_word, "TCP6");
    if (!six && !fr_view_is(family_word, "TCP4"))
        return bad("an unknown protocol in a PROXY line", out_words);
    if (!word_take(&rest, &hosts[0]) || !word_take(&rest, &hosts[1]) ||
        !word_take(&rest, &ports[0]) || !word_take(&rest, &ports[1]) || rest.ptr)
        return bad("a PROXY line without two addresses and two ports", out_words);
    for (int i = 0; i < 2; i++)
        if (!host_read(six ? AF_INET6 : AF_INET, hosts[i], bytes[i]) ||
            !port_read(ports[i], &numbers[i]))
            return bad("an address or port in a PROXY line is none", out_words);
    out->kind = LOOP_PREFACE_ADDRESS;
    loop_addr_make(bytes[0], six ? 16 : 4, numbers[0], &out->source);
    loop_addr_make(bytes[1], six ? 16 : 4, numbers[1], &out->destination);
    return LOOP_PREFACE_DONE;
}

static enum loop_preface_step
v1_parse(struct fr_view in, struct loop_preface *out, const char **out_words)
{
    static const struct fr_view start = {"PROXY ", 6};
    size_t looked = in.len < V1_BYTES_MAX ? in.len : V1_BYTES_MAX;
    if (memcmp(in.ptr, start.ptr, looked < start.len ? looked : start.len) != 0)
        return bad("no PROXY header", out_words);
    const char *lf = memchr(in.ptr, '\n', looked);
    if (!lf)
        return looked == V1_BYTES_MAX ? bad("a PROXY line is too long", out_words)
                                      : LOOP_PREFACE_MORE;
    size_t bytes = (size_t)(lf - in.ptr) + 1;
    if (bytes < start.len + 2 || lf[-1] != '\r' || memchr(in.ptr, '\r', bytes - 2))
        return bad("a PROXY line does not end in CRLF", out_words);
    out->version = 1;
    out->bytes = bytes;
    return v1_line(fr_view_make(in.ptr + start.len, bytes - start.len - 2), out, out_words);
}

/* ---- version 2 ------------------------------------------------------------------------------ */

static uint16_t
read_two(const uint8_t *at)
{
    return (uint16_t)fr_be_get(at, 2);
}

/* Of the bytes, with four of them taken for zero: those that hold the sum. */
static uint32_t
crc32c(const uint8_t *bytes, size_t count, size_t hole)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < count; i++) {
        crc ^= i >= hole && i < hole + 4 ? 0 : bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

/* Whether TLVs fill the space to the octet. */
static bool
tlvs_fit(const uint8_t *at, const uint8_t *end)
{
    while (end - at >= TLV_HEAD_BYTES && end - at - TLV_HEAD_BYTES >= read_two(at + 1))
        at += TLV_HEAD_BYTES + read_two(at + 1);
    return at == end;
}

static enum loop_preface_step
tlvs_read(const uint8_t *start, size_t from, struct loop_preface *out, const char **out_words)
{
    const uint8_t *end = start + out->bytes;
    if (!tlvs_fit(start + from, end))
        return bad("the parts of a PROXY header do not add up", out_words);
    for (const uint8_t *at = start + from; at < end; at += TLV_HEAD_BYTES + read_two(at + 1)) {
        const uint8_t *value = at + TLV_HEAD_BYTES;
        uint16_t bytes = read_two(at + 1);
        if (at[0] == TLV_CRC32C) {
            if (bytes != 4)
                return bad("the checksum of a PROXY header is none", out_words);
            uint32_t told = (uint32_t)fr_be_get(value, 4);
            if (told != crc32c(start, out->bytes, (size_t)(value - start)))
                return bad("the checksum of a PROXY header is wrong", out_words);
        } else if (at[0] == TLV_UNIQUE_ID && bytes > UNIQUE_ID_BYTES_MAX) {
            return bad("the id in a PROXY header is too long", out_words);
        } else if (at[0] == TLV_SSL) {
            if (bytes < SSL_HEAD_BYTES || !tlvs_fit(value + SSL_HEAD_BYTES, value + bytes))
                return bad("what a PROXY header says of TLS does not add up", out_words);
            out->tls = value[0] & SSL_CLIENT_TLS;
        }
    }
    return LOOP_PREFACE_DONE;
}

/* Who it speaks for. */
static enum loop_preface_step
v2_block(const uint8_t *start, struct loop_preface *out, const char **out_words)
{
    const uint8_t *at = start + HEAD_BYTES;
    size_t have = out->bytes - HEAD_BYTES;
    size_t needed, host_bytes = 0;
    switch (start[13]) {
    case OVER_UNKNOWN: /* the block is to be skipped */
        out->kind = LOOP_PREFACE_UNKNOWN;
        return LOOP_PREFACE_DONE;
    case OVER_TCP4:
        needed = FOUR_BYTES;
        host_bytes = 4;
        break;
    case OVER_TCP6:
        needed = SIX_BYTES;
        host_bytes = 16;
        break;
    case OVER_UNIX:
        needed = LOCAL_BYTES;
        break;
    default:
        return bad("a PROXY header of an unknown family or transport", out_words);
    }
    if (have < needed)
        return bad("a PROXY header is too short for its addresses", out_words);
    /* A socket's path says nothing that a log or a member could use. */
    out->kind = host_bytes ? LOOP_PREFACE_ADDRESS : LOOP_PREFACE_UNKNOWN;
    if (host_bytes) {
        const uint8_t *ports = at + 2 * host_bytes;
        loop_addr_make(at, host_bytes, read_two(ports), &out->source);
        loop_addr_make(at + host_bytes, host_bytes, read_two(ports + 2), &out->destination);
    }
    return tlvs_read(start, HEAD_BYTES + needed, out, out_words);
}

static enum loop_preface_step
v2_parse(struct fr_view in, struct loop_preface *out, const char **out_words)
{
    const uint8_t *start = (const uint8_t *)in.ptr;
    size_t sure = in.len < SIGNATURE_BYTES ? in.len : SIGNATURE_BYTES;
    if (memcmp(start, SIGNATURE, sure) != 0)
        return bad("no PROXY header", out_words);
    if (in.len > 12 && start[12] != COMMAND_LOCAL && start[12] != COMMAND_PROXY)
        return bad("a PROXY header of an unknown version or command", out_words);
    if (in.len < HEAD_BYTES)
        return LOOP_PREFACE_MORE;
    out->version = 2;
    out->bytes = HEAD_BYTES + (size_t)read_two(start + 14);
    if (out->bytes > LOOP_PREFACE_BYTES_MAX)
        return bad("a PROXY header is too long", out_words);
    if (in.len < out->bytes)
        return LOOP_PREFACE_MORE;
    out->kind = LOOP_PREFACE_LOCAL; /* its block, whatever it holds, is to be skipped */
    return start[12] == COMMAND_LOCAL ? LOOP_PREFACE_DONE : v2_block(start, out, out_words);
}

enum loop_preface_step
loop_preface_parse(struct fr_view in, struct loop_preface *out, const char **out_words)
{
    static_assert(sizeof(SIGNATURE) - 1 == SIGNATURE_BYTES, "its NUL is inside");
    *out = (struct loop_preface){0};
    if (in.len == 0)
        return LOOP_PREFACE_MORE;
    return in.ptr[0] == '\r' ? v2_parse(in, out, out_words) : v1_parse(in, out, out_words);
}

/* ---- writing -------------------------------------------------------------------------------- */

/* As an IPv6 address, IPv4 mapped into it. */
static void
widen(const struct loop_addr *addr, uint8_t out[16])
{
    uint8_t bytes[16] = {0};
    if (loop_addr_bytes(addr, bytes) == AF_INET6) {
        memcpy(out, bytes, 16);
        return;
    }
    memset(out, 0, 10);
    memset(out + 10, 0xff, 2);
    memcpy(out + 12, bytes, 4);
}

size_t
loop_preface_write(bool local, const struct loop_addr *source, const struct loop_addr *destination,
                   uint8_t out[LOOP_PREFACE_OUT_BYTES])
{
    uint8_t from[16], to[16];
    int a = source ? loop_addr_bytes(source, from) : AF_UNSPEC;
    int b = destination ? loop_addr_bytes(destination, to) : AF_UNSPEC;
    bool known = (a == AF_INET || a == AF_INET6) && (b == AF_INET || b == AF_INET6);
    size_t host_bytes = local || !known ? 0 : a == AF_INET && b == AF_INET ? 4 : 16;
    memcpy(out, SIGNATURE, SIGNATURE_BYTES);
    out[12] = local ? COMMAND_LOCAL : COMMAND_PROXY;
    out[13] = host_bytes == 4 ? OVER_TCP4 : host_bytes == 16 ? OVER_TCP6 : OVER_UNKNOWN;
    if (host_bytes == 0) {
        fr_be_put(out + 14, 0, 2);
        return HEAD_BYTES;
    }
    if (host_bytes == 16) {
        widen(source, from);
        widen(destination, to);
    }
    memcpy(out + HEAD_BYTES, from, host_bytes);
    memcpy(out + HEAD_BYTES + host_bytes, to, host_bytes);
    uint8_t *ports = out + HEAD_BYTES + 2 * host_bytes;
    fr_be_put(ports, (uint64_t)loop_addr_port(source), 2);
    fr_be_put(ports + 2, (uint64_t)loop_addr_port(destination), 2);
    fr_be_put(out + 14, 2 * host_bytes + 4, 2);
    return HEAD_BYTES + 2 * host_bytes + 4;
}
