/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_trouble.h - what a worker keeps of a member only once something went wrong with it, or was
 * secured: of thousands most are silent.
 *
 * Memory:  with the member's pool. Without it a fault is counted, but not told, and nobody looks
 *          whether a member that is left out is back.
 */
#ifndef PROXY_TROUBLE_H
#define PROXY_TROUBLE_H

#include "proxy/proxy_priv.h"

struct proxy_trouble {
    /* proxy_probe.c */
    struct loop_sock probe_sock;
    struct loop_timer probe_timer;
    int64_t probe_timeout_us;
    /* proxy_fault.c */
    char tls_why[PROXY_TLS_WHY_BYTES]; /* the last failure's */
    struct proxy_fault_pace {
        int64_t told_us;
        uint32_t untold;
    } faults[PROXY_FAULT_COUNT];
};

/* proxy_fault.c */
struct proxy_trouble *proxy_pool_trouble(struct proxy_pool *pool); /* NULL: memory is out */
/* What the next fault of TLS is told with. */
void proxy_fault_tls_why(struct proxy_pool *pool, const char *words);

#endif
