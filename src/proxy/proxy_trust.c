/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_trust.c - who asks: from the connection, or from what a trusted proxy in front says.
 *
 * May touch:  base, loop (addresses), http.
 * Memory:     the worker's scratch, good until the turn's end; the address is copied.
 * Limits:     PROXY_HOPS_MAX proxies are looked through; behind them the last one is the client.
 * Trusts:     only what networks of trusted-proxies say, from the right: each proxy adds at the end
 *             whom it saw, so the rightmost address that is not trusted is the client, and what
 *             stands left of it is hearsay, which is not passed on.
 * Follows:    RFC 7239 sections 4 to 7.
 *
 *     X-Forwarded-For: hearsay, client, hop, hop       peer
 *                               ^ not trusted    ^ trusted
 *
 * X-Forwarded-For counts before Forwarded: most proxies know only the former, and pass on what
 * their clients write into the latter.
 */
#include "proxy/proxy_priv.h"

#include "base/fr_put.h"
#include "http/http_trace.h"

struct hops { /* the last ones of a list */
    struct fr_view items[PROXY_HOPS_MAX];
    size_t seen;
};

static void
hop_add(struct hops *hops, struct fr_view item)
{
    if (item.len > 0)
        hops->items[hops->seen++ % PROXY_HOPS_MAX] = item;
}

static struct fr_view
hop_from_right(const struct hops *hops, size_t index)
{
    return hops->items[(hops->seen - 1 - index) % PROXY_HOPS_MAX];
}

static size_t
hop_count(const struct hops *hops)
{
    return hops->seen < PROXY_HOPS_MAX ? hops->seen : PROXY_HOPS_MAX;
}

/* X-Forwarded-For knows no quotes: a lone one, put there by a client, must not swallow what was
 * added behind it. */
static void
collect(const struct http_head *request, enum http_known known, struct hops *hops)
{
    const struct http_field *field = http_head_find(request, known);
    for (; field; field = http_head_next(request, field)) {
        struct fr_view rest = field->value, item;
        if (known == HTTP_FIELD_FORWARDED) {
            while (http_list_next(&rest, &item))
                hop_add(hops, item);
        } else {
            while (fr_view_split(&rest, ',', &item))
                hop_add(hops, fr_view_trim(item));
        }
    }
}

static bool
is_https(struct fr_view proto, bool otherwise)
{
    if (fr_view_ieq(proto, FR_VIEW("https")))
        return true;
    return fr_view_ieq(proto, FR_VIEW("http")) ? false : otherwise;
}

/* The one value of a field; nothing where there are several. */
static struct fr_view
only_value(const struct http_head *request, enum http_known known)
{
    const struct http_field *field = http_head_find(request, known);
    if (!field || http_head_next(request, field))
        return (struct fr_view){0};
    return field->value;
}

struct walk {
    char texts[PROXY_HOPS_MAX][PROXY_ADDRESS_BYTES];
    size_t count; /* believed; the last of them is the client */
    struct http_forwarded last;
};

/* From the right, up to the first address that is not trusted or is no address. */
static void
walk(const struct proxy_settings *settings, const struct hops *hops, bool rfc7239, struct walk *out)
{
    char text[LOOP_ADDR_TEXT_BYTES];
    out->count = 0;
    out->last = (struct http_forwarded){0};
    for (size_t i = 0; i < hop_count(hops); i++) {
        struct http_forwarded element = {.node = hop_from_right(hops, i)};
        struct loop_addr addr;
        if ((rfc7239 && !http_forwarded_read(element.node, &element)) ||
            loop_addr_parse_host(element.node, &addr) != FR_OK)
            return;
        loop_addr_unmap(&addr);
        loop_addr_format_host(&addr, text);
        (void)fr_view_copy(fr_view_of(text), out->texts[i], PROXY_ADDRESS_BYTES);
        out->count = i + 1;
        out->last = element;
        if (!loop_nets_have(settings->trusted, settings->trusted_count, &addr))
            return;
    }
}

static void
chain_add(struct proxy_trust *trust, struct fr_view address)
{
    if (address.len == 0)
        return;
    if (trust->chain_len > 0) {
        memcpy(trust->chain + trust->chain_len, ", ", 2);
        trust->chain_len += 2;
    }
    memcpy(trust->chain + trust->chain_len, address.ptr, address.len);
    trust->chain_len += address.len;
}

static void
believe(struct proxy_exchange *x, const struct http_head *request, struct proxy_trust *trust)
{
    const struct proxy_settings *settings = &x->worker->settings;
    struct hops hops = {.seen = 0};
    struct walk walked;
    bool rfc7239 = !http_head_find(request, HTTP_FIELD_X_FORWARDED_FOR) &&
                   http_head_find(request, HTTP_FIELD_FORWARDED);
    collect(request, rfc7239 ? HTTP_FIELD_FORWARDED : HTTP_FIELD_X_FORWARDED_FOR, &hops);
    walk(settings, &hops, rfc7239, &walked);
    struct fr_view host =
        rfc7239 ? walked.last.host : only_value(request, HTTP_FIELD_X_FORWARDED_HOST);
    struct fr_view proto =
        rfc7239 ? walked.last.proto : only_value(request, HTTP_FIELD_X_FORWARDED_PROTO);
    if (http_is_authority(host))
        trust->host = host;
    x->https = is_https(proto, x->https);
    for (size_t i = walked.count; i > 0; i--)
        chain_add(trust, fr_view_of(walked.texts[i - 1]));
    if (walked.count > 0) {
        struct fr_view client = fr_view_of(walked.texts[walked.count - 1]);
        memcpy(x->address, client.ptr, client.len);
        x->address_len = (uint8_t)client.len;
    }
    trust->kept_count = rfc7239 ? walked.count : 0;
    for (size_t i = 0; i < trust->kept_count; i++)
        trust->kept[i] = hop_from_right(&hops, walked.count - 1 - i);
}

void
proxy_trust_peer(struct proxy_client *client)
{
    const struct proxy_settings *settings = &client->worker->settings;
    client->trusted = !client->spoken_for_unknown &&
                      loop_nets_have(settings->trusted, settings->trusted_count, &client->peer);
    client->trusted_by = client->worker->settings_count;
}

void
proxy_trust_resolve(struct proxy_exchange *x, const struct http_head *request)
{
    struct proxy_client *client = x->client;
    struct proxy_trust *trust = &x->worker->trust;
    trust->chain_len = 0;
    trust->kept_count = 0;
    trust->host = (struct fr_view){0};
    if (client->trusted_by != x->worker->settings_count)
        proxy_trust_peer(client);
    x->trusted = client->trusted;
    x->https = client->https;
    x->address_len = (uint8_t)client->address_len;
    memcpy(x->address, client->address, client->address_len);
    if (x->trusted)
        believe(x, request, trust);
    chain_add(trust, fr_view_make(client->address, client->address_len));
    fr_insist(trust->chain_len <= sizeof(trust->chain));
}

/* ---- names of requests ---------------------------------------------------------------------- */

static void
take_request_id(struct proxy_exchange *x, const struct http_head *request)
{
    struct fr_view id = only_value(request, HTTP_FIELD_X_REQUEST_ID);
    if (x->trusted && http_request_id_valid(id)) {
        memcpy(x->request_id, id.ptr, id.len);
        x->request_id_len = (uint8_t)id.len;
    } else {
        x->id_due = x->worker->settings.id_make;
    }
}

void
proxy_trust_make_names(struct proxy_exchange *x)
{
    struct fr_rand *rand = &x->worker->rand;
    if (x->id_due) {
        uint64_t high = fr_rand_next(rand), low = fr_rand_next(rand);
        char *end = fr_put_hex64(fr_put_hex64(x->request_id, high), low);
        x->request_id_len = (uint8_t)(end - x->request_id);
        x->id_due = false;
    }
    if (x->trace_due) {
        uint64_t random[3];
        for (int i = 0; i < 3; i++)
            random[i] = fr_rand_next(rand);
        http_traceparent_make(random, x->traceparent);
        x->trace_due = false;
    }
}

void
proxy_trust_name(struct proxy_exchange *x, const struct http_head *request)
{
    struct fr_view parent = only_value(request, HTTP_FIELD_TRACEPARENT), trace_id;
    take_request_id(x, request);
    x->trace_passed = http_traceparent_valid(parent, &trace_id);
    x->trace_made = !x->trace_passed && x->worker->settings.trace_make;
    x->trace_due = x->trace_made;
    if (x->trace_passed)
        memcpy(x->traceparent, parent.ptr, HTTP_TRACEPARENT_BYTES);
    /* An answer from the cache needs none, unless they are told or written down. */
    if (x->worker->ring || x->worker->settings.id_respond)
        proxy_trust_make_names(x);
}
