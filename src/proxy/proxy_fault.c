/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_fault.c - what members do wrong: counted here, told to the control thread for its log.
 *
 * May touch:  base, loop, cluster (names).
 * Threads:    counts are the worker's own; a message with copies of the names carries the rest.
 * Limits:     a message a second, member and fault; those between are told as a number with the
 *             next one. The counters miss none.
 */
#include "proxy/proxy_trouble.h"

#include <stdio.h>

static const struct {
    int status;
    size_t counter; /* offset in struct proxy_counters */
    const char *words;
} faults[] = {
    [PROXY_ATTEMPT_OK] = {0},
    [PROXY_ATTEMPT_DROPPED] = {502, 0, ""},
    [PROXY_ATTEMPT_WITHDRAWN] = {503, 0, "the member is leaving the cluster"},
#define PROXY_FAULT_ROW(name, status, counter, words)                                              \
    [PROXY_ATTEMPT_##name] = {status, offsetof(struct proxy_counters, counter), words},
#include "proxy/proxy_faults.def"
#undef PROXY_FAULT_ROW
};

struct fault_msg {
    struct loop_msg msg;
    struct proxy *proxy;
    const char *words; /* static */
    uint64_t count;
    char member[CONFIG_NAME_BYTES];
    char address[LOOP_ADDR_TEXT_BYTES];
    char why[PROXY_TLS_WHY_BYTES];
};

static void
on_fault(void *ctx)
{
    struct fault_msg *message = ctx;
    struct proxy_fault_report report = {
        .member = message->member,
        .address = message->address,
        .words = message->words,
        .why = message->why,
        .count = message->count,
    };
    proxy_tell_fault(message->proxy, &report);
    fr_free(message);
}

struct proxy_fault_answer
proxy_fault_answer(enum proxy_attempt_end end)
{
    fr_require(end < PROXY_FAULT_COUNT);
    return (struct proxy_fault_answer){faults[end].status, faults[end].words};
}

struct proxy_trouble *
proxy_pool_trouble(struct proxy_pool *pool)
{
    if (!pool->trouble)
        pool->trouble = fr_alloc(sizeof(*pool->trouble));
    return pool->trouble;
}

void
proxy_fault_tls_why(struct proxy_pool *pool, const char *words)
{
    struct proxy_trouble *trouble = proxy_pool_trouble(pool);
    if (trouble)
        (void)snprintf(trouble->tls_why, sizeof(trouble->tls_why), "%s", words); /* cut is fine */
}

void
proxy_fault(struct proxy_pool *pool, enum proxy_attempt_end end)
{
    struct proxy_worker *worker = pool->worker;
    if (end == PROXY_ATTEMPT_OK || end == PROXY_ATTEMPT_DROPPED || end == PROXY_ATTEMPT_WITHDRAWN)
        return;
    cluster_count_add((uint64_t *)(void *)((char *)&worker->counters + faults[end].counter), 1);
    struct proxy_trouble *trouble = proxy_pool_trouble(pool);
    if (!trouble)
        return; /* counted, but not told */
    struct proxy_fault_pace *pace = &trouble->faults[end];
    int64_t now_us = loop_now_us(worker->loop);
    pace->untold++;
    if (pace->told_us != 0 && now_us - pace->told_us < PROXY_FAULT_QUIET_US)
        return;
    struct fault_msg *message = fr_alloc(sizeof(*message));
    if (!message)
        return; /* told with the next one */
    message->proxy = worker->proxy;
    message->words = faults[end].words;
    message->count = pace->untold;
    memcpy(message->member, pool->member->id, sizeof(message->member));
    memcpy(message->address, pool->member->address, sizeof(message->address));
    if (end == PROXY_ATTEMPT_TLS)
        memcpy(message->why, trouble->tls_why, sizeof(message->why));
    pace->told_us = now_us;
    pace->untold = 0;
    loop_post(proxy_control(worker->proxy), &message->msg, on_fault, message);
}
