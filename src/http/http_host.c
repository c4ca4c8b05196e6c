/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_host.c - authorities: what may be one, and the host in it as routes compare it.
 *
 * May touch:  base.
 * Follows:    RFC 3986 sections 3.2.2 and 3.2.3, RFC 4291 section 2.2, RFC 9110 sections 4.2
 * and 7.2.
 */
#include "http/http_scan.h"

#include "base/fr_check.h"
#include "base/fr_put.h"

#define PORT_DIGITS_MAX 5
#define PORT_MAX 65535

/* Length of the dotted IPv4 address at the start of text, up to a bracket; 0 when there is none. */
static size_t
quad_bytes(struct fr_view text)
{
    size_t at = 0;
    for (unsigned part = 0; part < 4; part++) {
        unsigned n = 0;
        size_t from = at;
        while (at < text.len && at - from < 4 && http__is(text.ptr[at], HTTP__DIGIT))
            n = n * 10 + (unsigned)(text.ptr[at++] - '0');
        bool zero_first = at - from > 1 && text.ptr[from] == '0';
        char want = part < 3 ? '.' : ']';
        if (at == from || zero_first || n > 255 || at == text.len || text.ptr[at] != want)
            return 0;
        at += part < 3;
    }
    return at;
}

/* Length of "[...]" at the start of text; 0 when it is not an IPv6 address. No zone (RFC 6874): it
 * means something on one machine only. */
static size_t
literal_bytes(struct fr_view text)
{
    size_t at = 1;
    unsigned groups = 0;
    bool gap = false;
    if (text.len > 2 && text.ptr[1] == ':') {
        if (text.ptr[2] != ':')
            return 0;
        gap = true;
        at = 3;
    }
    while (at < text.len && text.ptr[at] != ']') {
        size_t from = at;
        size_t quad = quad_bytes(fr_view_make(text.ptr + at, text.len - at));
        groups += quad ? 2 : 1;
        if (quad) {
            at += quad;
            break;
        }
        while (at < text.len && http__is(text.ptr[at], HTTP__HEX))
            at++;
        if (at == from || at - from > 4 || at == text.len)
            return 0;
        if (text.ptr[at] != ':')
            break;
        at++; /* one more group follows, or the one gap */
        if (at < text.len && text.ptr[at] == ':') {
            if (gap)
                return 0;
            gap = true;
            at++;
        } else if (at < text.len && text.ptr[at] == ']') {
            return 0;
        }
    }
    bool whole = gap ? groups < 8 : groups == 8;
    return whole && at < text.len && text.ptr[at] == ']' ? at + 1 : 0;
}

/* Length of the reg-name at the start of text; 0 when there is none or a triplet is cut. */
static size_t
name_bytes(struct fr_view text)
{
    size_t i = 0;
    while (i < text.len) {
        size_t run = (size_t)(http__run(text.ptr + i, text.ptr + text.len, HTTP__HOST) - text.ptr);
        if (run > i) {
            i = run;
        } else if (text.ptr[i] == '%') {
            if (text.len - i < 3 || !http__is(text.ptr[i + 1], HTTP__HEX) ||
                !http__is(text.ptr[i + 2], HTTP__HEX))
                return 0;
            i += 3;
        } else {
            break;
        }
    }
    return i;
}

/* Length of the host part of a valid authority; 0 when it is none. */
static size_t
host_bytes(struct fr_view text)
{
    if (text.len == 0)
        return 0;
    size_t host = text.ptr[0] == '[' ? literal_bytes(text) : name_bytes(text);
    if (host == 0 || host == text.len)
        return host;
    if (text.ptr[host] != ':' || text.len - host - 1 > PORT_DIGITS_MAX)
        return 0;
    unsigned port = 0;
    for (size_t i = host + 1; i < text.len; i++) {
        if (!http__is(text.ptr[i], HTTP__DIGIT))
            return 0;
        port = port * 10 + (unsigned)(text.ptr[i] - '0');
    }
    return port <= PORT_MAX ? host : 0;
}

bool
http_is_authority(struct fr_view text)
{
    return host_bytes(text) > 0;
}

/* Without a trailing dot: "example.com." is the same name, fully qualified. */
static size_t
undotted(struct fr_view authority, size_t len)
{
    return len > 1 && authority.ptr[len - 1] == '.' ? len - 1 : len;
}

static bool
put_host(struct fr_view authority, size_t len, char *out, size_t out_bytes, size_t *out_len)
{
    if (len > out_bytes)
        return false;
    (void)fr_put_lower(out, fr_view_make(authority.ptr, len));
    *out_len = len;
    return true;
}

bool
http_host_normalise(struct fr_view authority, char *out, size_t out_bytes, size_t *out_len)
{
    size_t len = undotted(authority, host_bytes(authority));
    return len > 0 && put_host(authority, len, out, out_bytes, out_len);
}

size_t
http_host_bytes(struct fr_view authority)
{
    /* Only a port has a colon before digits that end it: a literal ends in its bracket. */
    size_t len = authority.len;
    while (len > 0 && http__is(authority.ptr[len - 1], HTTP__DIGIT))
        len--;
    len = len > 0 && authority.ptr[len - 1] == ':' ? len - 1 : authority.len;
    fr_slow_check(len == host_bytes(authority));
    return undotted(authority, len);
}

bool
http_head_host(const struct http_head *head, char *out, size_t out_bytes, size_t *out_len)
{
    return head->host.len > 0 &&
           put_host(head->host, http_host_bytes(head->host), out, out_bytes, out_len);
}
