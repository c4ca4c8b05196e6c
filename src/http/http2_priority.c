/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_priority.c - which stream's body is sent next.
 *
 * May touch:  base.
 * Limits:     of streams that are yet to come HTTP2__EARLY_MAX priorities are kept.
 * Trusts:     nothing: a priority that cannot be read is the usual one.
 * Follows:    RFC 9218 sections 4, 7 and 10.
 *
 * There is a queue for each urgency. In it responses that are of use only when they are whole stand
 * in the order of their requests, in front of those that are of use bit by bit, which take turns.
 */
#include "http/http2_priv.h"

#include "http/http_structured.h"

static const struct http2__priority usual = {HTTP2__URGENCY_USUAL, false};

struct http2__priority
http2__priority_read(struct fr_view value)
{
    struct http2__priority priority = usual;
    struct http_sf_member member;
    enum http_step step;
    while ((step = http_sf_member_next(&value, &member)) == HTTP_MORE) {
        if (fr_view_is(member.key, "u"))
            priority.urgency = member.type == HTTP_SF_INTEGER && member.integer >= 0 &&
                                       member.integer < HTTP2__URGENCIES
                                   ? (uint8_t)member.integer
                                   : usual.urgency;
        else if (fr_view_is(member.key, "i"))
            priority.incremental = member.type == HTTP_SF_BOOLEAN && member.integer == 1;
    }
    return step == HTTP_DONE ? priority : usual;
}

void
http2__priority_update(struct http2_session *session, int32_t id, struct fr_view value)
{
    struct http2__priority priority = http2__priority_read(value);
    struct http2_stream *stream = http2__stream_of(session, id);
    if (stream) {
        http2__unready(stream);
        stream->urgency = priority.urgency;
        stream->incremental = priority.incremental;
        http2__stream_look(stream);
    } else if (http2__is_idle(session, id)) {
        session->early[(uint32_t)id / 2 % HTTP2__EARLY_MAX] = (struct http2__early){id, priority};
    }
}

bool
http2__priority_early(const struct http2_session *session, int32_t id, struct http2__priority *out)
{
    const struct http2__early *early = &session->early[(uint32_t)id / 2 % HTTP2__EARLY_MAX];
    *out = early->id == id ? early->priority : usual;
    return early->id == id;
}

/* ---- queues ---------------------------------------------------------------------------------- */

static struct http2_stream *
stream_at(struct fr_list *link)
{
    return FR_CONTAINER(link, struct http2_stream, link);
}

void
http2__ready(struct http2_stream *stream)
{
    struct http2_session *session = stream->session;
    struct fr_list *queue = &session->ready[stream->urgency], *at = queue->prev;
    if (stream->is_ready)
        return;
    if (!stream->incremental)
        while (at != queue && (stream_at(at)->incremental || stream_at(at)->id > stream->id))
            at = at->prev;
    fr_list_push_front(at, &stream->link); /* behind it */
    stream->is_ready = true;
    session->urgencies |= 1u << stream->urgency;
}

void
http2__unready(struct http2_stream *stream)
{
    struct http2_session *session = stream->session;
    if (!stream->is_ready)
        return;
    fr_list_remove(&stream->link);
    stream->is_ready = false;
    if (fr_list_empty(&session->ready[stream->urgency]))
        session->urgencies &= ~(1u << stream->urgency);
}

struct http2_stream *
http2__ready_first(const struct http2_session *session)
{
    if (session->urgencies == 0)
        return NULL;
    return stream_at(session->ready[__builtin_ctz(session->urgencies)].next);
}

void
http2__ready_turn(struct http2_stream *stream)
{
    if (!stream->incremental)
        return;
    fr_list_remove(&stream->link);
    fr_list_push_back(&stream->session->ready[stream->urgency], &stream->link);
}
