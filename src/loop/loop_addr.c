/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_addr.c - addresses as text and as the kernel takes them.
 *
 * Trusts:     nothing about the text.
 * Follows:    RFC 3986 section 3.2.2 for the brackets, RFC 5952 for IPv6 text, RFC 1123 section 2.1
 *             for names.
 */
#include "loop/loop_addr.h"

#include "base/fr_check.h"
#include "base/fr_put.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>

#define HOST_BYTES_MAX 253

static_assert(LOOP_ADDR_TEXT_BYTES > sizeof("unix:") + sizeof(((struct sockaddr_un *)0)->sun_path),
              "every path must fit");

static void
set_four(struct loop_addr *out, const struct in_addr *host, uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = *host};
    memset(out, 0, sizeof(*out));
    memcpy(&out->sa, &in, sizeof(in));
    out->len = sizeof(in);
}

static void
set_six(struct loop_addr *out, const struct in6_addr *host, uint16_t port)
{
    struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons(port),
                              .sin6_addr = *host};
    memset(out, 0, sizeof(*out));
    memcpy(&out->sa, &in, sizeof(in));
    out->len = sizeof(in);
}

static enum fr_err
parse_unix(struct fr_view path, struct loop_addr *out)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    if (path.len == 0 || memchr(path.ptr, '\0', path.len) ||
        !fr_view_copy(path, local.sun_path, sizeof(local.sun_path)))
        return FR_ERR_SYNTAX;
    memset(out, 0, sizeof(*out));
    memcpy(&out->sa, &local, sizeof(local));
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
    return FR_OK;
}

/* A name, and not a number gone wrong: its last label must have a letter (RFC 3696 section 2). */
static bool
is_name(struct fr_view host)
{
    bool letter = false;
    size_t label_bytes = 0;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (c == '.') {
            if (label_bytes == 0)
                return false;
            label_bytes = 0;
            if (i + 1 < host.len)
                letter = false;
            continue;
        }
        if (!alpha && !(c >= '0' && c <= '9') && !(c == '-' && label_bytes > 0))
            return false;
        letter = letter || alpha;
        if (++label_bytes > 63)
            return false;
    }
    return host.len > 0 && host.len <= HOST_BYTES_MAX && letter;
}

/* Splits "host:port"; brackets stay on the host. */
bool
loop_addr_split(struct fr_view text, struct fr_view *out_host, uint16_t *out_port)
{
    uint64_t port;
    size_t colon = text.len;
    while (colon > 0 && text.ptr[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return false;
    struct fr_view digits = fr_view_make(text.ptr + colon, text.len - colon);
    if (digits.len > 5 || !fr_view_u64(digits, &port) || port > UINT16_MAX)
        return false;
    *out_host = fr_view_make(text.ptr, colon - 1);
    *out_port = (uint16_t)port;
    return true;
}

enum fr_err
loop_addr_parse(struct fr_view text, struct loop_addr *out)
{
    struct fr_view host;
    char host_text[HOST_BYTES_MAX + 1];
    struct in_addr four;
    struct in6_addr six;
    uint16_t port;
    if (fr_view_starts(text, FR_VIEW("unix:")))
        return parse_unix(fr_view_make(text.ptr + 5, text.len - 5), out);
    if (!loop_addr_split(text, &host, &port))
        return FR_ERR_SYNTAX;
    if (host.len == 0) {
        set_six(out, &in6addr_any, port); /* dual-stack, see loop_bind */
        return FR_OK;
    }
    if (memchr(host.ptr, '\0', host.len))
        return FR_ERR_SYNTAX;
    if (host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']') {
        if (!fr_view_copy(fr_view_make(host.ptr + 1, host.len - 2), host_text, sizeof(host_text)) ||
            inet_pton(AF_INET6, host_text, &six) != 1)
            return FR_ERR_SYNTAX;
        set_six(out, &six, port);
        return FR_OK;
    }
    if (!fr_view_copy(host, host_text, sizeof(host_text)))
        return FR_ERR_SYNTAX;
    if (inet_pton(AF_INET, host_text, &four) == 1) {
        set_four(out, &four, port);
        return FR_OK;
    }
    return is_name(host) ? FR_ERR_RESOLVE : FR_ERR_SYNTAX;
}

enum fr_err
loop_addr_parse_host(struct fr_view text, struct loop_addr *out)
{
    char host[INET6_ADDRSTRLEN];
    struct in_addr four;
    struct in6_addr six;
    struct fr_view bare = text;
    if (text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
        bare = fr_view_make(text.ptr + 1, text.len - 2);
    if (bare.len > 0 && !memchr(bare.ptr, '\0', bare.len) &&
        fr_view_copy(bare, host, sizeof(host))) {
        if (bare.len == text.len && inet_pton(AF_INET, host, &four) == 1) {
            set_four(out, &four, 0);
            return FR_OK;
        }
        if (inet_pton(AF_INET6, host, &six) == 1) {
            set_six(out, &six, 0);
            return FR_OK;
        }
    }
    /* "unix:" and ":80" are addresses to listen on, and nobody's that asks. */
    if (text.len == 0 || text.ptr[0] == ':' || fr_view_starts(text, FR_VIEW("unix:")))
        return FR_ERR_SYNTAX;
    return loop_addr_parse(text, out) == FR_OK ? FR_OK : FR_ERR_SYNTAX;
}

enum fr_err
loop_addr_resolve(struct fr_view text, struct loop_addr *out)
{
    char host_text[HOST_BYTES_MAX + 1];
    struct fr_view host;
    uint16_t port;
    enum fr_err err = loop_addr_parse(text, out);
    if (err != FR_ERR_RESOLVE)
        return err;
    if (!loop_addr_split(text, &host, &port) || !fr_view_copy(host, host_text, sizeof(host_text)))
        return FR_ERR_SYNTAX;
    /* One address is kept. IPv4 is asked for first: "localhost" has both, and what listens there
     * mostly listens on 127.0.0.1 alone. */
    static const int families[] = {AF_INET, AF_INET6};
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        struct addrinfo hints = {.ai_family = families[i], .ai_socktype = SOCK_STREAM};
        struct addrinfo *found = NULL;
        if (getaddrinfo(host_text, NULL, &hints, &found) != 0 || !found)
            continue;
        if (families[i] == AF_INET)
            set_four(out, &((struct sockaddr_in *)(void *)found->ai_addr)->sin_addr, port);
        else
            set_six(out, &((struct sockaddr_in6 *)(void *)found->ai_addr)->sin6_addr, port);
        freeaddrinfo(found);
        return FR_OK;
    }
    return FR_ERR_RESOLVE;
}

static const struct sockaddr_in *
as_four(const struct loop_addr *addr)
{
    return (const struct sockaddr_in *)(const void *)&addr->sa.any;
}

static const struct sockaddr_in6 *
as_six(const struct loop_addr *addr)
{
    return (const struct sockaddr_in6 *)(const void *)&addr->sa.any;
}

static int
family_of(const struct loop_addr *addr)
{
    return addr->len >= sizeof(sa_family_t) ? addr->sa.any.sa_family : AF_UNSPEC;
}

/* The path without its NUL; empty for a socket without a name. */
static struct fr_view
unix_path(const struct loop_addr *addr)
{
    size_t before = offsetof(struct sockaddr_un, sun_path);
    if (addr->len <= before)
        return fr_view_make(addr->sa.local.sun_path, 0);
    return fr_view_make(addr->sa.local.sun_path,
                        strnlen(addr->sa.local.sun_path, addr->len - before));
}

void
loop_addr_format(const struct loop_addr *addr, char out[LOOP_ADDR_TEXT_BYTES])
{
    char host[INET6_ADDRSTRLEN] = "";
    switch (family_of(addr)) {
    case AF_INET:
        (void)inet_ntop(AF_INET, &as_four(addr)->sin_addr, host, sizeof(host));
        (void)snprintf(out, LOOP_ADDR_TEXT_BYTES, "%s:%d", host, loop_addr_port(addr));
        break;
    case AF_INET6:
        (void)inet_ntop(AF_INET6, &as_six(addr)->sin6_addr, host, sizeof(host));
        if (IN6_IS_ADDR_UNSPECIFIED(&as_six(addr)->sin6_addr))
            (void)snprintf(out, LOOP_ADDR_TEXT_BYTES, ":%d", loop_addr_port(addr));
        else
            (void)snprintf(out, LOOP_ADDR_TEXT_BYTES, "[%s]:%d", host, loop_addr_port(addr));
        break;
    case AF_UNIX:
        (void)snprintf(out, LOOP_ADDR_TEXT_BYTES, "unix:%.*s", FR_VIEW_ARG(unix_path(addr)));
        break;
    default:
        (void)snprintf(out, LOOP_ADDR_TEXT_BYTES, "-");
        break;
    }
}

/* With every connection: inet_ntop does it by way of printf. */
static void
format_four(const struct loop_addr *addr, char *out)
{
    uint8_t octets[4];
    memcpy(octets, &as_four(addr)->sin_addr, sizeof(octets));
    for (size_t i = 0; i < sizeof(octets); i++) {
        if (i > 0)
            *out++ = '.';
        out = fr_put_u64(out, octets[i]);
    }
    *out = '\0';
}

void
loop_addr_format_host(const struct loop_addr *addr, char out[LOOP_ADDR_TEXT_BYTES])
{
    switch (family_of(addr)) {
    case AF_INET:
        format_four(addr, out);
        break;
    case AF_INET6:
        (void)inet_ntop(AF_INET6, &as_six(addr)->sin6_addr, out, LOOP_ADDR_TEXT_BYTES);
        break;
    default:
        (void)snprintf(out, LOOP_ADDR_TEXT_BYTES, "%s",
                       family_of(addr) == AF_UNIX ? "unix:" : "-");
        break;
    }
}

bool
loop_addr_equal(const struct loop_addr *a, const struct loop_addr *b)
{
    if (family_of(a) != family_of(b))
        return false;
    switch (family_of(a)) {
    case AF_INET:
        return as_four(a)->sin_port == as_four(b)->sin_port &&
               as_four(a)->sin_addr.s_addr == as_four(b)->sin_addr.s_addr;
    case AF_INET6:
        return as_six(a)->sin6_port == as_six(b)->sin6_port &&
               IN6_ARE_ADDR_EQUAL(&as_six(a)->sin6_addr, &as_six(b)->sin6_addr);
    case AF_UNIX:
        return fr_view_eq(unix_path(a), unix_path(b));
    default:
        return true;
    }
}

bool
loop_addr_is_local(const struct loop_addr *addr)
{
    switch (family_of(addr)) {
    case AF_INET:
        return ntohl(as_four(addr)->sin_addr.s_addr) >> 24 == 127;
    case AF_INET6:
        return IN6_IS_ADDR_LOOPBACK(&as_six(addr)->sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&as_six(addr)->sin6_addr) &&
                as_six(addr)->sin6_addr.s6_addr[12] == 127);
    case AF_UNIX:
        return true;
    default:
        return false;
    }
}

int
loop_addr_port(const struct loop_addr *addr)
{
    switch (family_of(addr)) {
    case AF_INET:
        return ntohs(as_four(addr)->sin_port);
    case AF_INET6:
        return ntohs(as_six(addr)->sin6_port);
    default:
        return 0;
    }
}

void
loop_addr_unmap(struct loop_addr *addr)
{
    struct in_addr four;
    if (family_of(addr) != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&as_six(addr)->sin6_addr))
        return;
    memcpy(&four, &as_six(addr)->sin6_addr.s6_addr[12], sizeof(four));
    set_four(addr, &four, ntohs(as_six(addr)->sin6_port));
}

int
loop_addr_bytes(const struct loop_addr *addr, uint8_t out[16])
{
    int family = family_of(addr);
    if (family == AF_INET)
        memcpy(out, &as_four(addr)->sin_addr, 4);
    else if (family == AF_INET6)
        memcpy(out, &as_six(addr)->sin6_addr, 16);
    return family;
}

void
loop_addr_make(const uint8_t *bytes, size_t byte_count, uint16_t port, struct loop_addr *out)
{
    struct in_addr four;
    struct in6_addr six;
    fr_require(byte_count == sizeof(four) || byte_count == sizeof(six));
    if (byte_count == sizeof(four)) {
        memcpy(&four, bytes, sizeof(four));
        set_four(out, &four, port);
    } else {
        memcpy(&six, bytes, sizeof(six));
        set_six(out, &six, port);
    }
}
