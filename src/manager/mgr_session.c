/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr_session.c - one peer's stream: who it is, what it may say, when it ends.
 *
 * May touch:  base, stream, wire, config.
 * Threads:    the manager's loop.
 * Memory:     one session and its stream (stream_session.h); stream.sessions of them.
 * When full:  the newcomer's stream ends with <error code="full">.
 * Trusts:     nothing: an id must be a name, a role one that reports; a peer that sends a
 *             reconfigure is sent away, because only the manager commands.
 *
 * Life:   accepted --opened--> known --report claims a cluster--> responsible --ended--> gone
 *         A second stream with the id of a living one ends the older: a restarted edge must not
 *         wait until its dead stream is noticed.
 */
#include "manager/mgr_priv.h"

#include "base/fr_check.h"

#include <math.h>
#include <unistd.h>

static void
session_leave_source(struct mgr_session *session)
{
    struct mgr_source *source = session->source;

    session->source = NULL;
    if (!source || source->session != session)
        return;
    mgr_source_lost(session->mgr, source);
    mgr_request_stream_lost(session->mgr, source);
}

void
mgr_session_free(struct mgr_session *session)
{
    struct mgr *mgr = session->mgr;

    session_leave_source(session);
    stream_session_free(&session->stream);
    fr_list_remove(&session->link);
    mgr->session_count--;
    session->magic = 0;
    fr_free(session);
}

/* The epoch must be beyond every one a peer obeyed, or it would take our requests for old ones. It
 * is, unless the journal was lost. */
static void
epoch_raise(struct mgr_session *session, uint64_t obeyed)
{
    struct mgr *mgr = session->mgr;

    if (obeyed <= mgr->epoch)
        return;
    if (obeyed >= MGR_EPOCH_MAX) {
        fr_log(FR_LOG_WARN, "manager", "peer obeyed an epoch beyond belief: ignored",
               FR_S("source", session->source->id), FR_I("epoch", obeyed));
        return;
    }
    fr_log(FR_LOG_WARN, "manager", "peer obeyed a later epoch: going beyond it",
           FR_S("source", session->source->id), FR_I("ours", mgr->epoch), FR_I("theirs", obeyed));
    mgr->epoch = obeyed + 1;
    mgr_journal_epoch(mgr->journal, mgr->epoch, loop_wall_us(mgr->loop));
    FR_LIST_EACH(&mgr->sessions, node)
        stream_session_set_epoch(FR_CONTAINER(node, struct mgr_session, link)->stream, mgr->epoch);
}

/* The other end logs and counts it too: the words go there. */
static void
forbid(struct mgr_session *session, const char *words)
{
    session->mgr->counters.forbidden++;
    fr_log(FR_LOG_WARN, "manager", "forbidden: its stream ends",
           FR_S("certificate", session->peer.names),
           FR_S("source", session->source ? session->source->id : "-"), FR_S("rule", words));
    session_leave_source(session);
    stream_session_fail(session->stream, "forbidden", words);
}

static void
on_opened(void *ctx, const struct wire_open *open)
{
    struct mgr_session *session = ctx;
    struct mgr *mgr = session->mgr;

    fr_insist(session->magic == MGR_SESSION_MAGIC);
    if (open->role == WIRE_ROLE_MANAGER) {
        stream_session_fail(session->stream, "invalid",
                            "this is a manager; another has no say here");
        return;
    }
    if (!config_name_valid(open->id)) {
        stream_session_fail(session->stream, "invalid",
                            "id must be a name: letters, digits, '.', '_' and '-', at most 63");
        return;
    }
    char words[MGR_REFUSAL_BYTES];
    if (!mgr_access_open(mgr, &session->peer, open, words)) {
        forbid(session, words);
        return;
    }
    struct mgr_source *source = mgr_source_get(mgr, open->id, open->role);
    if (!source) {
        mgr->counters.sessions_refused++;
        stream_session_fail(session->stream, "full", "the manager remembers too many sources");
        return;
    }
    struct mgr_session *older = source->session;
    if (older && older != session) {
        mgr->counters.sessions_replaced++;
        session_leave_source(older);
        stream_session_fail(older->stream, "replaced", "a newer stream has this id");
    }
    source->session = session;
    source->is_poster = false;
    source->scheduled_at_us = 0;
    session->source = source;
    session->opened_at_us = loop_now_us(mgr->loop);
    epoch_raise(session, open->epoch);
    fr_log(FR_LOG_INFO, "manager", "session is open", FR_S("source", source->id),
           FR_S("role", wire_role_name(open->role)), FR_V("boot", open->boot),
           FR_I("obeyed", open->epoch), FR_I("sessions", mgr->session_count));
}

void
mgr_session_send_levels(struct mgr_source *source)
{
    for (size_t i = 0; source->session && i < source->view_count; i++) {
        struct mgr_view *view = source->views[i];
        const struct config_cluster *config = view->cluster->config;
        if (!config || !config->scale.enabled)
            continue;
        double upper = config->scale.upper.value;
        double lower = config->scale.lower.value;
        bool is_leader = view == view->cluster->responsible;
        uint64_t goal_us = (uint64_t)config->scale.slo_latency_us;
        uint64_t followers = is_leader ? mgr_sync_followers(view->cluster) : 0;
        /* NaN compares unequal to itself: levels that were never sent go out. */
        if (view->levels_upper == upper && view->levels_lower == lower &&
            view->followers_sent == followers && view->goal_sent_us == goal_us)
            continue;
        struct mgr_ask ask = {
            .operation = WIRE_LEVELS,
            .cluster = view->cluster,
            .target = source,
            .upper = upper >= 0 ? upper : (double)NAN,
            .lower = lower >= 0 ? lower : (double)NAN,
            .followers = followers,
            .goal_us = goal_us,
            .reason = "report at once when a member crosses",
        };
        if (mgr_request_send(source->mgr, &ask, NULL)) {
            view->levels_upper = upper;
            view->levels_lower = lower;
            view->followers_sent = followers;
            view->goal_sent_us = goal_us;
        }
    }
}

static void
on_report(struct mgr_session *session, const struct wire_report *report)
{
    struct mgr *mgr = session->mgr;
    struct mgr_source *source = session->source;
    char words[MGR_REFUSAL_BYTES];

    if (!mgr_access_report(mgr, &session->peer, source->role, report, words)) {
        forbid(session, words);
        return;
    }
    mgr_source_store(mgr, source, report);
    mgr_session_send_levels(source);
    /* Who follows concerns the one that is responsible. */
    for (size_t i = 0; i < source->view_count; i++) {
        const struct mgr_view *leader = source->views[i]->cluster->responsible;
        if (leader && leader->source != source)
            mgr_session_send_levels(leader->source);
    }
    for (size_t i = 0; i < source->view_count; i++)
        if (source->views[i]->is_responsible && !source->views[i]->is_resent)
            mgr_request_resend(mgr, source->views[i]);
    if (source->role == WIRE_ROLE_EDGE)
        mgr_decide_relief(source);
    mgr_decide_soon(mgr);
}

static void
on_event(void *ctx, const struct wire_event *event)
{
    struct mgr_session *session = ctx;
    struct mgr *mgr = session->mgr;

    fr_insist(session->magic == MGR_SESSION_MAGIC);
    if (!session->source)
        return; /* replaced or refused: what still arrives is no one's */
    switch (event->kind) {
    case WIRE_EVENT_REPORT:
        on_report(session, event->as.report);
        break;
    case WIRE_EVENT_RESULT:
        mgr_request_result(mgr, session->source, event->as.result);
        break;
    case WIRE_EVENT_RECONFIGURE:
        mgr->counters.intruders++;
        fr_log(FR_LOG_WARN, "manager", "a peer sent a reconfigure: its stream ends",
               FR_S("source", session->source->id));
        session_leave_source(session);
        stream_session_fail(session->stream, "not-the-manager",
                            "only the manager sends reconfiguration requests");
        break;
    default:
        break;
    }
}

static void
on_ended(void *ctx, const char *why)
{
    struct mgr_session *session = ctx;
    struct mgr *mgr = session->mgr;
    struct stream_counters counters = {0};

    fr_insist(session->magic == MGR_SESSION_MAGIC);
    stream_session_read_counters(session->stream, &counters);
    mgr->counters.refused_by_peer += counters.refusals;
    fr_log(FR_LOG_INFO, "manager", "session ended",
           FR_S("source", session->source ? session->source->id : "-"), FR_S("why", why));
    mgr_session_free(session);
    if (mgr->stop_fn && mgr->session_count == 0)
        loop_timer_start(mgr->loop, &mgr->stop_timer, 0, mgr->stop_fn, mgr->stop_ctx);
}

static const struct stream_callbacks callbacks = {on_opened, on_event, on_ended};

void
mgr_session_accept(struct mgr *mgr, const struct admin_handed *handed)
{
    struct stream_options options = {
        .open = {.role = WIRE_ROLE_MANAGER, .id = fr_view_of(mgr->id), .epoch = mgr->epoch},
        .limits = wire_limits_default,
        .stanza_rate = mgr->stream.stanza_rate,
        .keepalive_us = mgr->stream.keepalive_us,
        .filter = handed->filter,
    };

    options.limits.stanza_bytes = mgr->stream.stanza_bytes;
    if (mgr->stop_fn) {
        loop_buf_give_back(handed->first);
        if (handed->filter)
            handed->filter->close(handed->filter, true);
        (void)close(handed->fd); /* nothing was sent on it */
        return;
    }
    struct mgr_session *session = fr_xalloc(sizeof(*session));
    session->mgr = mgr;
    session->peer = *handed->peer;
    fr_list_init(&session->link);
    enum fr_err err = stream_session_accept(mgr->loop, handed->fd, handed->first, &options,
                                            &callbacks, session, &session->stream);
    if (err != FR_OK) {
        fr_log(FR_LOG_WARN, "manager", "stream cannot be taken", FR_S("error", fr_err_words(err)));
        mgr->counters.sessions_refused++;
        fr_free(session);
        return;
    }
    session->magic = MGR_SESSION_MAGIC;
    fr_list_push_back(&mgr->sessions, &session->link);
    mgr->session_count++;
    mgr->counters.sessions_accepted++;
    if (mgr->session_count > mgr->stream.sessions) {
        mgr->counters.sessions_refused++;
        stream_session_fail(session->stream, "full", "the manager has as many streams as it may");
    }
}
