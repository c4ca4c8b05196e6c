/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_sticky.c - sessions: the cookie of a request read, the cookie of a response written.
 *
 * May touch:  base, http, cluster.
 * Trusts:     nothing of the client's: a cookie that is not ours is as good as none, and counted.
 * Cost:       only where the cluster has sessions: one pass over the Cookie fields.
 */
#include "proxy/proxy_priv.h"

#define STICKY_TRIES_MAX 4 /* cookies of our name in one request that are looked at */
#define US_PER_S 1000000

static const struct config_sticky *
settings_of(const struct proxy_exchange *x)
{
    return &x->cluster->view->config->sticky;
}

static int64_t
now_s(const struct proxy_exchange *x)
{
    return loop_wall_us(x->worker->loop) / US_PER_S;
}

/* True: that was it, look no further. */
static bool
take_cookie(struct proxy_exchange *x, struct fr_view value)
{
    struct proxy_worker *worker = x->worker;
    switch (cluster_sticky_read(x->cluster->view->sticky, value, now_s(x), &x->session)) {
    case CLUSTER_STICKY_GOOD:
        x->in_session = true;
        return true;
    case CLUSTER_STICKY_EXPIRED:
        PROXY_COUNT(worker, sessions_expired);
        return false;
    case CLUSTER_STICKY_FORGED:
        break;
    }
    PROXY_COUNT(worker, sessions_forged);
    return false;
}

void
proxy_sticky_take(struct proxy_exchange *x, const struct http_head *request)
{
    if (!x->cluster->view->sticky)
        return;
    struct fr_view name = fr_view_of(settings_of(x)->cookie);
    const struct http_field *field = http_head_find(request, HTTP_FIELD_COOKIE);
    int tries = 0;
    for (; field; field = http_head_next(request, field)) {
        struct fr_view rest = field->value;
        struct http_cookie cookie;
        while (http_cookie_next(&rest, &cookie)) {
            if (!fr_view_eq(cookie.name, name))
                continue;
            x->session_cookies = true;
            if (!x->in_session && tries++ < STICKY_TRIES_MAX && take_cookie(x, cookie.value))
                break;
        }
    }
}

const struct cluster_endpoint *
proxy_sticky_choose(struct proxy_exchange *x, const struct cluster_pick *pick)
{
    const struct cluster_view *view = x->cluster->view;
    bool old;
    if (!x->in_session || !view->sticky)
        return NULL;
    uint32_t index = cluster_sticky_find(view->sticky, x->session.member, &old);
    const struct cluster_endpoint *endpoint =
        index != UINT32_MAX ? cluster_view_at(view, index) : NULL;
    if (endpoint && cluster_balance_session(view, pick, endpoint)) {
        PROXY_COUNT(x->worker, sessions_kept);
        return endpoint;
    }
    PROXY_COUNT(x->worker, sessions_moved);
    return NULL;
}

/* ---- the cookie, to the member -------------------------------------------------------------- */

bool
proxy_sticky_hides(const struct proxy_exchange *x)
{
    return x->session_cookies && !settings_of(x)->forward;
}

/* Whether the text between two semicolons is a cookie of our name. */
static bool
is_session_cookie(struct fr_view piece, struct fr_view name)
{
    struct http_cookie cookie;
    return http_cookie_next(&piece, &cookie) && fr_view_eq(cookie.name, name);
}

static char *
copy(char *at, struct fr_view text)
{
    if (text.len)
        memcpy(at, text.ptr, text.len);
    return at + text.len;
}

char *
proxy_sticky_put_cookie(const struct proxy_exchange *x, const struct http_field *field, char *at)
{
    struct fr_view name = fr_view_of(settings_of(x)->cookie);
    struct fr_view colon = http_field_colon(field);
    struct fr_view rest = field->value, piece;
    bool any = false;
    while (fr_view_split(&rest, ';', &piece)) {
        if (is_session_cookie(piece, name) || (!any && fr_view_trim(piece).len == 0))
            continue;
        at = any ? copy(at, FR_VIEW(";")) : copy(copy(at, field->name), colon);
        at = copy(at, any ? piece : fr_view_trim(piece));
        any = true;
    }
    return any ? copy(at, FR_VIEW("\r\n")) : at;
}

/* ---- the cookie, to the client -------------------------------------------------------------- */

/* A session that goes on is renewed in its second half, so that it ends only by rest; and when its
 * end is no longer what the settings say. */
static bool
is_due(const struct proxy_exchange *x)
{
    int64_t for_us = settings_of(x)->for_us;
    int64_t left_us = (x->session.expires_s - now_s(x)) * US_PER_S;
    if (for_us == 0 || x->session.expires_s == 0)
        return (for_us == 0) != (x->session.expires_s == 0);
    return left_us < for_us / 2 || left_us > for_us + US_PER_S;
}

/* A response of its own for one client is not stored. */
bool
proxy_sticky_due(struct proxy_exchange *x)
{
    const struct cluster_view *view = x->cluster->view;
    bool old = false;
    if (!view->sticky || !x->endpoint)
        return false;
    uint32_t index = x->endpoint->index;
    if (x->in_session && !is_due(x) &&
        cluster_sticky_find(view->sticky, x->session.member, &old) == index && !old)
        return false;
    int64_t for_us = settings_of(x)->for_us;
    int64_t expires_s = for_us ? now_s(x) + (for_us + US_PER_S - 1) / US_PER_S : 0;
    if (!cluster_sticky_write(view->sticky, index, expires_s, x->session_text))
        return false; /* no memory: the next response may have it */
    PROXY_COUNT(x->worker, sessions_given);
    cluster_count_add(&x->endpoint->member->stats[x->worker->index].sessions_given, 1);
    x->storing = false; /* it answers this client alone */
    return true;
}
