/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_agent_check.c - HAProxy's agent-check: one line of text about one server.
 *
 * May touch:  base, config, loop.  Never: threads, logs.
 * Threads:    the control thread's loop.
 * Memory:     one allocation a checked address, the line included.
 * When full:  a line is read up to AGENT_LINE_BYTES_MAX; what is longer is cut there.
 * Trusts:     nothing. Words it does not know are skipped, as HAProxy does.
 * Follows:    HAProxy configuration manual, section 5.2, "agent-check".
 */
#include "cluster/cluster_health.h"

#include "base/fr_check.h"
#include "base/fr_hash.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"

#define AGENT_LINE_BYTES_MAX 512
#define AGENT_TIMEOUT_MIN_US (100 * FR_US_PER_MS)
#define AGENT_TIMEOUT_MAX_US (5000 * FR_US_PER_MS)

struct cluster_agent_check {
    /* set once */
    struct loop *loop;
    struct loop_addr addr;
    int64_t interval_us, timeout_us;
    cluster_agent_check_fn fn;
    void *ctx;
    /* owner */
    struct fr_rand rand;
    struct loop_sock sock;
    bool sock_used;
    bool dying;
    struct loop_timer wait_timer, timeout_timer;
    char line[AGENT_LINE_BYTES_MAX];
    size_t line_len;
};

static bool
is_separator(char c)
{
    return c == ' ' || c == '\t' || c == ',' || c == ';';
}

static struct fr_view
word_next(struct fr_view *rest)
{
    while (rest->len && is_separator(rest->ptr[0])) {
        rest->ptr++;
        rest->len--;
    }
    struct fr_view word = {rest->ptr, 0};
    while (word.len < rest->len && !is_separator(rest->ptr[word.len]))
        word.len++;
    rest->ptr += word.len;
    rest->len -= word.len;
    return word;
}

/* "75%"; false for anything else. More than 100 % is allowed there and means idle here. */
static bool
word_percent(struct fr_view word, double *out_utilization)
{
    uint64_t percent;
    if (word.len < 2 || word.ptr[word.len - 1] != '%')
        return false;
    word.len--;
    if (!fr_view_u64(word, &percent))
        return false;
    *out_utilization = percent >= 100 ? 0.0 : 1.0 - (double)percent / 100.0;
    return true;
}

/* "down#disk full" carries its reason behind a '#'. */
static enum cluster_agent_state
word_state(struct fr_view word)
{
    static const struct {
        const char *word;
        enum cluster_agent_state state;
    } words[] = {
        {"up", CLUSTER_AGENT_UP},       {"ready", CLUSTER_AGENT_UP},
        {"down", CLUSTER_AGENT_DOWN},   {"stopped", CLUSTER_AGENT_DOWN},
        {"fail", CLUSTER_AGENT_DOWN},   {"failed", CLUSTER_AGENT_DOWN},
        {"drain", CLUSTER_AGENT_DRAIN}, {"maint", CLUSTER_AGENT_DRAIN},
    };
    const char *hash = word.len ? memchr(word.ptr, '#', word.len) : NULL;
    if (hash)
        word.len = (size_t)(hash - word.ptr);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (fr_view_ieq(word, fr_view_of(words[i].word)))
            return words[i].state;
    return CLUSTER_AGENT_NONE;
}

/* A '#' begins free text up to the end of the line, so words behind it must not count. */
static struct fr_view
line_without_reason(struct fr_view line)
{
    for (size_t i = 0; i < line.len; i++)
        if (line.ptr[i] == '#' || line.ptr[i] == '\n' || line.ptr[i] == '\r' || line.ptr[i] == 0)
            return fr_view_make(line.ptr, i);
    return line;
}

bool
cluster_agent_check_parse(struct fr_view line, double *out_utilization,
                          enum cluster_agent_state *out_state)
{
    static const unsigned char badness[] = {
        [CLUSTER_AGENT_NONE] = 0,
        [CLUSTER_AGENT_UP] = 1,
        [CLUSTER_AGENT_DRAIN] = 2,
        [CLUSTER_AGENT_DOWN] = 3,
    };
    struct fr_view rest = line_without_reason(line);
    double utilization = -1.0;
    enum cluster_agent_state state = CLUSTER_AGENT_NONE;
    for (;;) {
        struct fr_view word = word_next(&rest);
        if (word.len == 0)
            break;
        if (word_percent(word, &utilization))
            continue;
        enum cluster_agent_state said = word_state(word);
        if (badness[said] > badness[state])
            state = said;
    }
    if (utilization < 0 && state == CLUSTER_AGENT_NONE)
        return false;
    *out_utilization = utilization;
    *out_state = state;
    return true;
}

static void check_start(struct cluster_agent_check *check);

static void
on_wait_over(void *ctx)
{
    check_start(ctx);
}

static void
check_wait(struct cluster_agent_check *check)
{
    double factor = 0.9 + 0.2 * fr_rand_unit(&check->rand);
    loop_timer_start(check->loop, &check->wait_timer,
                     (int64_t)((double)check->interval_us * factor), on_wait_over, check);
}

static void
on_closed(void *ctx)
{
    struct cluster_agent_check *check = ctx;
    double utilization;
    enum cluster_agent_state state;
    check->sock_used = false;
    if (check->dying) {
        fr_free(check);
        return;
    }
    check_wait(check);
    /* The last act: fn may free the check. */
    if (cluster_agent_check_parse(fr_view_make(check->line, check->line_len), &utilization, &state))
        check->fn(check->ctx, utilization, state);
}

static void
check_end(struct cluster_agent_check *check)
{
    loop_timer_stop(&check->timeout_timer);
    loop_close(&check->sock, on_closed, check);
}

static void
on_timeout(void *ctx)
{
    struct cluster_agent_check *check = ctx;
    check->line_len = 0; /* a cut line might say "5%" instead of "50%" */
    check_end(check);
}

static void
on_received(void *ctx, struct loop_buf *buf, int status)
{
    struct cluster_agent_check *check = ctx;
    if (status <= 0) {
        if (status < 0)
            check->line_len = 0;
        check_end(check);
        return;
    }
    size_t room = sizeof(check->line) - check->line_len;
    size_t take = buf->len < room ? buf->len : room;
    memcpy(check->line + check->line_len, buf->data, take);
    check->line_len += take;
    loop_buf_give_back(buf);
    bool ended =
        memchr(check->line, '\n', check->line_len) || memchr(check->line, '\r', check->line_len);
    if (ended || check->line_len == sizeof(check->line))
        check_end(check);
    else
        loop_recv(&check->sock, on_received, check);
}

static void
on_connected(void *ctx, int status)
{
    struct cluster_agent_check *check = ctx;
    if (status < 0)
        check_end(check);
    else
        loop_recv(&check->sock, on_received, check);
}

static void
check_start(struct cluster_agent_check *check)
{
    check->line_len = 0;
    if (loop_connect(&check->sock, check->loop, &check->addr, on_connected, check)) {
        check_wait(check);
        return;
    }
    check->sock_used = true;
    loop_timer_start(check->loop, &check->timeout_timer, check->timeout_us, on_timeout, check);
}

struct cluster_agent_check *
cluster_agent_check_new(struct loop *loop, const struct loop_addr *addr, int64_t interval_us,
                        cluster_agent_check_fn fn, void *ctx)
{
    struct cluster_agent_check *check = fr_xalloc(sizeof(*check));
    check->loop = loop;
    check->addr = *addr;
    check->interval_us = interval_us;
    check->timeout_us = interval_us < AGENT_TIMEOUT_MIN_US   ? AGENT_TIMEOUT_MIN_US
                        : interval_us > AGENT_TIMEOUT_MAX_US ? AGENT_TIMEOUT_MAX_US
                                                             : interval_us;
    check->fn = fn;
    check->ctx = ctx;
    check->sock.fd = -1;
    fr_rand_init_random(&check->rand);
    check_start(check);
    return check;
}

void
cluster_agent_check_free(struct cluster_agent_check **check_ref)
{
    struct cluster_agent_check *check = *check_ref;
    *check_ref = NULL;
    if (!check)
        return;
    fr_insist(!check->dying);
    loop_timer_stop(&check->wait_timer);
    loop_timer_stop(&check->timeout_timer);
    if (!check->sock_used) {
        fr_free(check);
        return;
    }
    check->dying = true;
    if (check->sock.fd >= 0)
        loop_close(&check->sock, on_closed, check);
}
