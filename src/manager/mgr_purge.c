/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr_purge.c - purges the caches of all edges, and gathers a receipt from each; and what purges
 * mean for the clusters behind.
 *
 * May touch:  base, admin, wire.
 * Threads:    the manager's loop.
 * Memory:     one struct a call that waits, a row in it for each edge that is known.
 * When full:  MGR_PURGES_MAX calls wait; more get 503.
 * Limits:     after RECEIPTS_US the answer goes out with the receipts that there are; it says of
 *             the others that they did not answer. An edge that is not connected is listed as such:
 *             what it holds is not purged, and whoever asked must know.
 */
#include "manager/mgr_priv.h"

#include <inttypes.h>

#define RECEIPTS_US (20 * FR_US_PER_S) /* less than an admin exchange may last */
#define TEXT_BYTES 4097                /* as long as the stream takes it */

struct receipt {
    char edge[MGR_ID_BYTES];
    char status[16]; /* done, refused, silent, absent */
    char words[MGR_WORDS_BYTES];
    uint64_t objects, bytes;
    double rate;
};

struct mgr_purge {
    struct fr_list link; /* in mgr->purges */
    struct mgr *mgr;
    struct admin_exchange *exchange;
    struct loop_timer timer;
    size_t waiting, count;
    struct receipt *receipts;
};

static void
purge_free(struct mgr_purge *purge)
{
    FR_LIST_EACH(&purge->mgr->requests, node) {
        struct mgr_request *request = FR_CONTAINER(node, struct mgr_request, link);
        if (request->purge == purge)
            request->purge = NULL; /* it comes too late */
    }
    loop_timer_stop(&purge->timer);
    fr_list_remove(&purge->link);
    purge->mgr->purge_count--;
    fr_free(purge->receipts);
    fr_free(purge);
}

void
mgr_purges_free(struct mgr *mgr)
{
    FR_LIST_EACH_SAFE(&mgr->purges, node)
        purge_free(FR_CONTAINER(node, struct mgr_purge, link));
}

static enum fr_err
receipt_print(struct fr_buf *out, const struct receipt *receipt, bool first)
{
    enum fr_err err = fr_buf_printf(out, "%s{\"edge\":", first ? "" : ",");
    if (err == FR_OK)
        err = admin_json_string(out, fr_view_of(receipt->edge));
    if (err == FR_OK)
        err = fr_buf_printf(out, ",\"status\":\"%s\",\"reason\":", receipt->status);
    if (err == FR_OK)
        err = admin_json_string(out, fr_view_of(receipt->words));
    if (err == FR_OK)
        err = fr_buf_printf(
            out, ",\"objects\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"requests_per_s\":%.3f}",
            receipt->objects, receipt->bytes, receipt->rate);
    return err;
}

static void
answer(struct mgr_purge *purge)
{
    struct fr_buf out;
    bool complete = true;
    fr_buf_init(&out, MGR_ANSWER_BYTES_MAX);
    for (size_t i = 0; i < purge->count; i++)
        complete &= strcmp(purge->receipts[i].status, "done") == 0;
    enum fr_err err =
        fr_buf_printf(&out, "{\"complete\":%s,\"receipts\":[", complete ? "true" : "false");
    for (size_t i = 0; i < purge->count && err == FR_OK; i++)
        err = receipt_print(&out, &purge->receipts[i], i == 0);
    if (err == FR_OK)
        err = fr_buf_append_view(&out, FR_VIEW("]}\n"));
    if (err == FR_OK)
        admin_answer(purge->exchange, 200, NULL, fr_buf_view(&out));
    else
        admin_answer_error(purge->exchange, 503, "%s", fr_err_words(err));
    fr_buf_fini(&out);
    purge_free(purge);
}

static void
on_timeout(void *ctx)
{
    answer(ctx);
}

void
mgr_purge_receipt(struct mgr_request *request, const char *status, struct fr_view words,
                  const struct wire_result *result)
{
    struct mgr_purge *purge = request->purge;
    if (purge == NULL)
        return;
    request->purge = NULL;
    for (size_t i = 0; i < purge->count; i++) {
        struct receipt *receipt = &purge->receipts[i];
        if (strcmp(receipt->edge, request->target) != 0)
            continue;
        (void)fr_view_copy(fr_view_of(status), receipt->status, sizeof(receipt->status));
        if (words.len >= sizeof(receipt->words))
            words.len = sizeof(receipt->words) - 1;
        (void)fr_view_copy(words, receipt->words, sizeof(receipt->words));
        if (result != NULL) {
            receipt->objects = result->purged;
            receipt->bytes = result->purged_bytes;
            receipt->rate = result->purged_rate;
        }
    }
    if (--purge->waiting == 0) /* not now: the caller still holds what the answer lets go of */
        loop_timer_start(purge->mgr->loop, &purge->timer, 0, on_timeout, purge);
}

/* Asks one edge; its receipt is filled in now when it cannot be asked. */
static void
ask_one(struct mgr_purge *purge, struct mgr_source *source, const struct mgr_ask *what)
{
    struct receipt *receipt = &purge->receipts[purge->count++];
    struct mgr_ask ask = *what;
    ask.target = source;
    (void)fr_view_copy(fr_view_of(source->id), receipt->edge, sizeof(receipt->edge));
    bool asked = source->session != NULL && mgr_request_send(purge->mgr, &ask, NULL);
    purge->waiting += asked;
    const char *status = asked ? "silent" : "absent";
    const char *words = asked ? "it has not answered" : "it is not connected";
    (void)fr_view_copy(fr_view_of(status), receipt->status, sizeof(receipt->status));
    (void)fr_view_copy(fr_view_of(words), receipt->words, sizeof(receipt->words));
}

static void
ask_all(struct mgr *mgr, struct admin_exchange *exchange, const struct mgr_ask *what)
{
    size_t cursor = 0;
    void *value = NULL;
    struct mgr_purge *purge = fr_xalloc(sizeof(*purge));
    *purge = (struct mgr_purge){.mgr = mgr, .exchange = exchange};
    purge->receipts = fr_xalloc((fr_map_count(mgr->sources) + 1) * sizeof(*purge->receipts));
    fr_list_push_back(&mgr->purges, &purge->link);
    mgr->purge_count++;
    struct mgr_ask ask = *what;
    ask.purge = purge;
    while (fr_map_next(mgr->sources, &cursor, NULL, &value)) {
        struct mgr_source *source = value;
        if (source->role == WIRE_ROLE_EDGE)
            ask_one(purge, source, &ask);
    }
    loop_timer_start(mgr->loop, &purge->timer, purge->waiting ? RECEIPTS_US : 0, on_timeout, purge);
}

void
mgr_post_purge(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    static const char *const names[] = {"url", "prefix", "tag", "all"};
    struct mgr *mgr = ctx;
    char text[TEXT_BYTES], found[TEXT_BYTES] = "", flag[8], reason[MGR_SENTENCE_BYTES];
    struct mgr_ask ask = {.operation = WIRE_PURGE, .upper = (double)NAN, .lower = (double)NAN};
    unsigned said = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!admin_query(request->query, names[i], text, sizeof(text)))
            continue;
        said++;
        ask.what = names[i];
        memcpy(found, text, sizeof(found));
    }
    if (said != 1) {
        admin_answer_error(exchange, 400, "what? give one of url=, prefix=, tag=, all");
        return;
    }
    bool bare = found[0] == '\0';
    if (bare != (strcmp(ask.what, "all") == 0)) {
        admin_answer_error(exchange, 400, "%s: %s", ask.what,
                           bare ? "which?" : "takes no value");
        return;
    }
    if (mgr->purge_count >= MGR_PURGES_MAX) {
        admin_answer_error(exchange, 503, "%d purges wait for their receipts", MGR_PURGES_MAX);
        return;
    }
    ask.soft = admin_query(request->query, "soft", flag, sizeof(flag)) && flag[0] != '0';
    ask.text = found;
    (void)snprintf(reason, sizeof(reason), "purge by %s %.400s", ask.what, found);
    ask.reason = reason;
    ask_all(mgr, exchange, &ask);
}

/* ---- what members are about to get ----------------------------------------------------------- */

static void
keep_rate(struct mgr_view *view, int64_t now_us)
{
    int64_t since_us = now_us - view->rate_at_us;
    if (view->rate_at_us != 0 && since_us < MGR_RATE_US)
        return;
    bool counts = view->rate_at_us != 0 && view->requests >= view->rate_requests;
    if (counts)
        view->rate = (double)(view->requests - view->rate_requests) * FR_US_PER_S /
                     (double)since_us;
    view->rate_at_us = now_us;
    view->rate_requests = view->requests;
}

/* Utilization goes with requests; so what the cache answered until now will add as much as it is of
 * what the members do. That ends soon: the cache fills again. */
void
mgr_purge_announced(struct mgr_view *view, const struct wire_cluster *said, int64_t now_us)
{
    struct mgr_cluster *cluster = view->cluster;
    if (!(said->purged_rate > 0)) {
        keep_rate(view, now_us);
        return;
    }
    double rate = view->rate > 1 ? view->rate : 1;
    double factor = 1 + said->purged_rate / rate;
    if (factor > MGR_ANNOUNCED_FACTOR_MAX)
        factor = MGR_ANNOUNCED_FACTOR_MAX;
    if (now_us >= cluster->announced_until_us || factor > cluster->announced_factor)
        cluster->announced_factor = factor;
    cluster->announced_until_us = now_us + MGR_ANNOUNCED_US;
    fr_log(FR_LOG_INFO, "manager", "purge announced", FR_S("by", view->source->id),
           FR_S("cluster", cluster->name), FR_I("objects", said->purged),
           FR_I("requests_per_s", (int64_t)said->purged_rate),
           FR_I("members_requests_per_s", (int64_t)rate));
    keep_rate(view, now_us);
}

double
mgr_purge_foresee(const struct mgr_cluster *cluster, double utilization, int64_t now_us)
{
    return now_us < cluster->announced_until_us ? utilization * cluster->announced_factor
                                                : utilization;
}
