/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_resolve.c - all addresses of a host name, from the system's resolver or a DNS server.
 *
 * May touch:  base, the resolver: blocks.
 * Threads:    any; holds no state.
 * Limits:     a server of one's own is asked RESOLVE_TRIES times, RESOLVE_WAIT_S each; the system's
 *             resolver has limits of its own (resolv.conf).
 * Trusts:     glibc's reading of DNS messages (ns_initparse); addresses are taken by type and
 *             length. Names in the answer are not compared: an alias chain is the server's affair.
 */
#include "base/fr_mem.h"
#include "loop/loop_addr.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdlib.h>
#include <string.h>

#define RESOLVE_TRIES 2
#define RESOLVE_WAIT_S 1
#define RESOLVE_ANSWER_BYTES 65536 /* the longest DNS message */
#define RESOLVE_NAME_BYTES 256

struct found {
    struct loop_addr *addrs;
    size_t max, count;
    uint16_t port;
};

static void
add(struct found *found, const void *bytes, size_t byte_count)
{
    if (found->count < found->max)
        loop_addr_make(bytes, byte_count, found->port, &found->addrs[found->count++]);
}

static void
ask_system(const char *host, int family, struct found *found)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    if (getaddrinfo(host, NULL, &hints, &list) != 0)
        return;
    for (const struct addrinfo *item = list; item; item = item->ai_next) {
        const void *addr = item->ai_addr;
        if (family == AF_INET)
            add(found, &((const struct sockaddr_in *)addr)->sin_addr, 4);
        else
            add(found, &((const struct sockaddr_in6 *)addr)->sin6_addr, 16);
    }
    freeaddrinfo(list);
}

static void
ask_server(const char *host, int family, const struct loop_addr *server, struct found *found)
{
    struct __res_state state = {0};
    ns_msg message;
    ns_rr record;
    int type = family == AF_INET ? ns_t_a : ns_t_aaaa;
    size_t byte_count = family == AF_INET ? 4 : 16;
    if (server->sa.any.sa_family != AF_INET || res_ninit(&state) != 0)
        return;
    unsigned char *answer = fr_xalloc(RESOLVE_ANSWER_BYTES);
    state.nscount = 1;
    state.nsaddr_list[0] = *(const struct sockaddr_in *)(const void *)&server->sa;
    state.retrans = RESOLVE_WAIT_S;
    state.retry = RESOLVE_TRIES;
    int len = res_nquery(&state, host, ns_c_in, type, answer, RESOLVE_ANSWER_BYTES);
    if (len > 0 && len <= RESOLVE_ANSWER_BYTES && ns_initparse(answer, len, &message) == 0)
        for (int i = 0; i < ns_msg_count(message, ns_s_an); i++)
            if (ns_parserr(&message, ns_s_an, i, &record) == 0 && (int)ns_rr_type(record) == type &&
                ns_rr_rdlen(record) == byte_count)
                add(found, ns_rr_rdata(record), byte_count);
    fr_free(answer);
    res_nclose(&state);
}

static int
compare(const void *a, const void *b)
{
    uint8_t left[16] = {0}, right[16] = {0};
    (void)loop_addr_bytes(a, left); /* of one family, all of them */
    (void)loop_addr_bytes(b, right);
    return memcmp(left, right, sizeof(left));
}

static size_t
sort_once(struct loop_addr *addrs, size_t count)
{
    size_t kept = 0;
    qsort(addrs, count, sizeof(*addrs), compare);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || !loop_addr_equal(&addrs[kept - 1], &addrs[i]))
            addrs[kept++] = addrs[i];
    return kept;
}

enum fr_err
loop_resolve(struct fr_view text, const struct loop_addr *server, struct loop_addr *out, size_t max,
             size_t *out_count)
{
    static const int families[] = {AF_INET, AF_INET6};
    char host_text[RESOLVE_NAME_BYTES];
    struct fr_view host;
    struct found found = {.addrs = out, .max = max};
    if (!loop_addr_split(text, &host, &found.port) ||
        !fr_view_copy(host, host_text, sizeof(host_text)))
        return FR_ERR_SYNTAX;
    for (size_t i = 0; i < 2 && found.count == 0; i++) {
        if (server)
            ask_server(host_text, families[i], server, &found);
        else
            ask_system(host_text, families[i], &found);
    }
    if (found.count == 0)
        return FR_ERR_RESOLVE;
    *out_count = sort_once(out, found.count);
    return FR_OK;
}
