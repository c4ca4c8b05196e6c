/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection_judge.c - a run's bytes read again, from both ends.
 *
 * Shape:      clients' bytes are read as the requests they are (no more than these may reach a
 *             member), members' as attempts (a request and the response to it), and what clients
 *             got as answers, each of which must be an attempt's, whole, or one of our own.
 *             Requests and answers are matched by the X-Request-Id that Freshet makes for each.
 */
#include "connection_judge.h"

#include "base/fr_check.h"

#define MESSAGES_MAX 48 /* of one client, and attempts in all; what is more is not judged */

struct message {
    enum http_method method;
    struct fr_view method_text, path, query, id;
    bool has_query, keep, upgrade, te, range;
    int status;            /* of a response; 0: none came */
    bool via;              /* a response that came from a member, or from the cache */
    uint64_t first, total; /* a 206's place in the whole, and the length of that; 416: the length */
    enum http_framing framing;
    struct fr_buf body;
    struct fr_buf trailers;
    bool whole;
    size_t end; /* offset behind it */
};

struct attempt {
    struct message request, response;
    const struct judge_side *side;
    size_t tunnel_in, tunnel_out; /* where it begins; 101 only */
};

struct reading {
    const struct judge_run *run;
    struct http_head head[1];
    struct attempt attempts[MESSAGES_MAX];
    size_t attempt_count;
    struct {
        struct message requests[MESSAGES_MAX];
        size_t count;
    } clients[JUDGE_CLIENTS_MAX];
};

/* ---- messages ----------------------------------------------------------------------------- */

static void
message_fini(struct message *message)
{
    fr_buf_fini(&message->body);
    fr_buf_fini(&message->trailers);
}

/* Nothing of what the parser knows is used: a head that Freshet wrote, octet by octet. */
static void
head_raw_check(struct fr_view raw, bool request)
{
    size_t lengths = 0, codings = 0, hosts = 0;
    struct fr_view rest = raw, line;
    for (size_t i = 0; i < raw.len; i++) {
        uint8_t c = (uint8_t)raw.ptr[i];
        fr_insist(c != '\n' || (i > 0 && raw.ptr[i - 1] == '\r'));
        fr_insist(c != '\r' || (i + 1 < raw.len && raw.ptr[i + 1] == '\n'));
        fr_insist(c >= 0x20 || c == '\t' || c == '\r' || c == '\n');
        fr_insist(c != 0x7f);
    }
    for (size_t i = 0; fr_view_split(&rest, '\n', &line); i++) {
        fr_insist(i == 0 || line.len <= 1 || (line.ptr[0] != ' ' && line.ptr[0] != '\t'));
        lengths += fr_view_istarts(line, FR_VIEW("content-length:"));
        codings += fr_view_istarts(line, FR_VIEW("transfer-encoding:"));
        hosts += fr_view_istarts(line, FR_VIEW("host:"));
        fr_insist(!fr_view_istarts(line, FR_VIEW("keep-alive:")));
        fr_insist(!fr_view_istarts(line, FR_VIEW("proxy-connection:")));
    }
    fr_insist(lengths <= 1 && (lengths == 0 || codings == 0));
    fr_insist(codings <= 1 && (!request || hosts == 1));
}

static void
take_id(struct message *message, const struct http_head *head)
{
    const struct http_field *field = http_head_find(head, HTTP_FIELD_X_REQUEST_ID);
    message->id = field ? field->value : (struct fr_view){0};
}

/* Content-Range (RFC 9110 section 14.4): bytes 0-1/5; of a 416 no span, but a length. */
static void
take_place(struct message *message, const struct http_head *head)
{
    const struct http_field *field = http_head_find(head, HTTP_FIELD_CONTENT_RANGE);
    struct fr_view rest = field ? field->value : (struct fr_view){0}, unit, first, span;
    message->first = 0;
    message->total = UINT64_MAX; /* not told */
    if (!field || !fr_view_split(&rest, ' ', &unit) || !fr_view_split(&rest, '/', &span))
        return;
    (void)fr_view_u64(rest, &message->total);
    if (fr_view_split(&span, '-', &first))
        (void)fr_view_u64(first, &message->first);
}

/* RFC 9110 section 6.5.1: what goes on behind a body frames and routes nothing. */
static void
trailers_check(const struct message *message, struct http_head *room)
{
    struct http_limits limits = {1 << 20, 1 << 20, HTTP_FIELDS_MAX};
    struct http_err err;
    if (!message->whole || message->framing != HTTP_BODY_CHUNKED)
        return;
    fr_insist(http_trailers_read(fr_buf_view(&message->trailers), &limits, room, &err) ==
              HTTP_DONE);
    for (size_t i = 0; i < room->field_count; i++)
        fr_insist(!room->fields[i].hop);
}

/* From `at` on: the body into message->body. BAD: it is not well-formed. */
static enum http_step
read_body(struct message *message, uint64_t length, struct fr_view in, size_t at)
{
    struct http_body body;
    struct http_err err;
    enum http_step step =
        message->framing == HTTP_BODY_NONE || (message->framing == HTTP_BODY_LENGTH && length == 0)
            ? HTTP_DONE
            : HTTP_MORE;
    http_body_init(&body, message->framing, length);
    while (step == HTTP_MORE && at < in.len) {
        size_t used = 0;
        struct fr_view run;
        step = http_body_decode(&body, fr_view_make(in.ptr + at, in.len - at), &used, &run, &err);
        fr_insist(fr_buf_append_view(&message->body, run) == FR_OK);
        fr_insist(fr_buf_append_view(&message->trailers, body.trailer) == FR_OK);
        at += used;
    }
    message->whole = step == HTTP_DONE;
    message->end = at;
    return step;
}

static void
message_init(struct message *message)
{
    *message = (struct message){0};
    fr_buf_init(&message->body, JUDGE_STREAM_BYTES);
    fr_buf_init(&message->trailers, JUDGE_STREAM_BYTES);
}

static void
take_request(struct message *message, const struct http_head *head)
{
    message->method = head->method;
    message->method_text = head->method_text;
    message->path = head->path;
    message->query = head->query;
    message->has_query = head->has_query;
    message->keep = head->keep_alive;
    message->upgrade = head->upgrade;
    message->te = head->te_trailers;
    message->range = http_head_find(head, HTTP_FIELD_RANGE) != NULL;
    message->framing = head->framing;
    take_id(message, head);
}

/* ---- what clients said ---------------------------------------------------------------------- */

static void
read_client_requests(struct reading *reading, size_t index)
{
    struct fr_view in = fr_buf_view(&reading->run->clients[index].out);
    struct http_limits limits = reading->run->limits;
    size_t at = 0;
    while (at < in.len && reading->clients[index].count < MESSAGES_MAX) {
        struct http_err err;
        size_t scanned = 0;
        enum http_step step = http_request_parse(fr_view_make(in.ptr + at, in.len - at), &limits,
                                                 &scanned, reading->head, &err);
        if (step != HTTP_DONE)
            return;
        struct message *message =
            &reading->clients[index].requests[reading->clients[index].count++];
        message_init(message);
        take_request(message, reading->head);
        step =
            read_body(message, reading->head->content_length, in, at + reading->head->head_bytes);
        if (step != HTTP_DONE)
            return;
        at = message->end;
    }
}

static bool
starts_with(const struct fr_buf *whole, const struct fr_buf *part)
{
    return part->len <= whole->len &&
           (part->len == 0 || memcmp(whole->data, part->data, part->len) == 0);
}

/* Whether some client asked for this; a body that has come in part must be the beginning of his. */
static bool
was_asked(const struct reading *reading, const struct message *seen)
{
    for (size_t i = 0; i < reading->run->client_count; i++) {
        for (size_t k = 0; k < reading->clients[i].count; k++) {
            const struct message *asked = &reading->clients[i].requests[k];
            if (!fr_view_eq(asked->method_text, seen->method_text) ||
                !fr_view_eq(asked->path, seen->path) || asked->has_query != seen->has_query ||
                !fr_view_eq(asked->query, seen->query))
                continue;
            if (!starts_with(&asked->body, &seen->body))
                continue;
            if (!seen->whole || (asked->whole && asked->body.len == seen->body.len))
                return true;
        }
    }
    return false;
}

/* ---- what members saw and said -------------------------------------------------------------- */

/* How much the member had said when the byte at `at` came to it. */
static size_t
said_at(const struct judge_side *side, size_t at)
{
    size_t said = 0;
    for (size_t i = 0; i < side->mark_count && side->marks[i].in_at <= at; i++)
        said = side->marks[i].out_len;
    return said;
}

/* The response in the member's words; status 0: none, or not well-formed. */
static void
read_member_response(struct reading *reading, const struct judge_side *side, size_t at,
                     struct attempt *attempt)
{
    struct fr_view out = fr_buf_view(&side->out);
    struct http_head *head = reading->head;
    struct message *response = &attempt->response;
    struct http_err err;
    do {
        size_t scanned = 0;
        if (at >= out.len ||
            http_response_parse(fr_view_make(out.ptr + at, out.len - at), &reading->run->limits,
                                &scanned, head, &err) != HTTP_DONE)
            return;
        at += head->head_bytes;
    } while (head->status < 200 && head->status != 101);
    response->status = head->status;
    take_place(response, head);
    response->keep = head->keep_alive;
    response->framing = http_response_framing(head, attempt->request.method);
    attempt->tunnel_out = at;
    (void)read_body(response, head->content_length, out, at); /* not ours: it may be anything */
    if (response->framing == HTTP_BODY_TO_CLOSE)
        response->whole = side->said_all;
}

static void
read_member(struct reading *reading, const struct judge_side *side)
{
    struct fr_view in = fr_buf_view(&side->in);
    size_t at = 0, said = 0;
    while (at < in.len && reading->attempt_count < MESSAGES_MAX) {
        struct http_limits limits = {1 << 20, 1 << 20, HTTP_FIELDS_MAX};
        struct http_err err;
        size_t scanned = 0;
        enum http_step step = http_request_parse(fr_view_make(in.ptr + at, in.len - at), &limits,
                                                 &scanned, reading->head, &err);
        fr_insist(step != HTTP_BAD);
        if (step != HTTP_DONE)
            return;
        /* Bytes that answer nothing were there: this connection should have been closed. */
        fr_insist(at == 0 || side->late || said_at(side, at) <= said);
        struct attempt *attempt = &reading->attempts[reading->attempt_count++];
        attempt->side = side;
        message_init(&attempt->request);
        message_init(&attempt->response);
        struct message *request = &attempt->request;
        take_request(request, reading->head);
        head_raw_check(fr_view_make(in.ptr + at, reading->head->head_bytes), true);
        step =
            read_body(request, reading->head->content_length, in, at + reading->head->head_bytes);
        fr_insist(step != HTTP_BAD);
        fr_insist(was_asked(reading, request));
        trailers_check(request, reading->head);
        read_member_response(reading, side, said, attempt);
        at = attempt->tunnel_in = request->end;
        said = attempt->response.end;
        if (attempt->response.status == 101 && request->upgrade)
            return;
        /* Only behind a whole answer may another request follow. */
        bool again = request->whole && attempt->response.whole && attempt->response.keep &&
                     attempt->response.framing != HTTP_BODY_TO_CLOSE;
        fr_insist(again || at == in.len);
    }
}

/* ---- what clients got ----------------------------------------------------------------------- */

static bool
same_target(const struct attempt *attempt, const struct message *asked)
{
    return fr_view_eq(attempt->request.path, asked->path) &&
           fr_view_eq(attempt->request.query, asked->query);
}

/* Where the body begins in the whole, and how long that is; UINT64_MAX: it does not say. */
static uint64_t
begin_of(const struct message *response)
{
    return response->status == 206 ? response->first : 0;
}

static uint64_t
total_of(const struct message *response)
{
    if (response->status == 206 || response->status == 416)
        return response->total;
    return response->whole ? response->body.len : UINT64_MAX;
}

/* How many bytes of the answer, from `at` of the whole on, stand in the response at this place. */
static size_t
shared_from(const struct message *said, const struct message *answer, uint64_t at)
{
    size_t shared = 0;
    if (at < begin_of(said) || at - begin_of(said) > said->body.len)
        return 0;
    size_t from = (size_t)(at - begin_of(said)), begin = (size_t)(at - begin_of(answer));
    while (from + shared < said->body.len && begin + shared < answer->body.len &&
           said->body.data[from + shared] == answer->body.data[begin + shared])
        shared++;
    return shared;
}

/* Of what the cache keeps, whole or in parts that it put together, the part that was asked for; or
 * all of it, put together. RFC 9111 sections 3.3 and 3.4. */
static bool
was_pieced(const struct reading *reading, const struct message *asked, const struct message *answer)
{
    uint64_t at = begin_of(answer), end = at + answer->body.len;
    bool part = asked->range && (answer->status == 206 || answer->status == 416);
    if (!part && answer->status != 200)
        return false;
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < reading->attempt_count; i++) {
            const struct message *said = &reading->attempts[i].response;
            bool kept = said->status == 206 || (said->status == 200 && said->whole && part);
            if (!kept || !same_target(&reading->attempts[i], asked) ||
                (total_of(said) != total_of(answer) && (part || answer->whole)))
                continue;
            size_t shared = shared_from(said, answer, at);
            if (shared == end - at)
                return true;
            if (said->status == 206) {
                at += shared;
                more |= shared > 0;
            }
        }
    }
    return false;
}

/* Whether the answer is that of a member to this request, or to one like it if there is a cache. */
static bool
was_answered(const struct reading *reading, const struct message *asked,
             const struct message *answer)
{
    for (size_t i = 0; i < reading->attempt_count; i++) {
        const struct attempt *attempt = &reading->attempts[i];
        const struct message *said = &attempt->response;
        bool same = fr_view_eq(attempt->request.id, answer->id) && answer->id.len > 0 &&
                    said->status == answer->status;
        bool stored = reading->run->cache && same_target(attempt, asked) && answer->status != 206;
        if (said->status == 0 || !(same || stored))
            continue;
        if (answer->framing == HTTP_BODY_NONE)
            return true;
        if (said->status != answer->status || !starts_with(&said->body, &answer->body))
            continue;
        if (!answer->whole || (said->whole && said->body.len == answer->body.len))
            return true;
    }
    return reading->run->cache && was_pieced(reading, asked, answer);
}

static void
tunnel_check(const struct reading *reading, const struct judge_side *client, size_t asked_end,
             size_t at)
{
    struct fr_view got = fr_view_make(client->in.data + at, client->in.len - at);
    struct fr_view sent = fr_view_make(client->out.data + asked_end, client->out.len - asked_end);
    bool found = false;
    for (size_t i = 0; i < reading->attempt_count && !found; i++) {
        const struct attempt *attempt = &reading->attempts[i];
        const struct judge_side *side = attempt->side;
        if (attempt->response.status != 101)
            continue;
        struct fr_view in =
            fr_view_make(side->in.data + attempt->tunnel_in, side->in.len - attempt->tunnel_in);
        struct fr_view out =
            fr_view_make(side->out.data + attempt->tunnel_out, side->out.len - attempt->tunnel_out);
        found = fr_view_starts(out, got) && fr_view_starts(sent, in);
    }
    fr_insist(found);
}

/* The next answer at *at. False: there is none, or none behind it that could be read. */
static bool
read_answer(struct reading *reading, const struct judge_side *side, const struct message *asked,
            size_t *at, struct message *answer)
{
    struct fr_view in = fr_buf_view(&side->in);
    struct http_limits limits = {1 << 20, 1 << 20, HTTP_FIELDS_MAX};
    struct http_head *head = reading->head;
    struct http_err err;
    do {
        size_t scanned = 0;
        if (*at >= in.len)
            return false;
        enum http_step step = http_response_parse(fr_view_make(in.ptr + *at, in.len - *at), &limits,
                                                  &scanned, head, &err);
        fr_insist(step != HTTP_BAD);
        if (step != HTTP_DONE)
            return false;
        head_raw_check(fr_view_make(in.ptr + *at, head->head_bytes), false);
        *at += head->head_bytes;
    } while (head->status < 200 && head->status != 101);
    answer->status = head->status;
    take_place(answer, head);
    answer->keep = head->keep_alive;
    answer->via = http_head_find(head, HTTP_FIELD_VIA) != NULL;
    answer->framing = http_response_framing(head, asked ? asked->method : HTTP_GET);
    take_id(answer, head);
    enum http_step step = read_body(answer, head->content_length, in, *at);
    fr_insist(step != HTTP_BAD);
    trailers_check(answer, head);
    fr_insist(answer->trailers.len <= 2 || (asked && asked->te));
    if (answer->framing == HTTP_BODY_TO_CLOSE)
        answer->whole = side->ended && !side->aborted && side->fd >= 0;
    return true;
}

/* An answer of our own says its status in its body. */
static void
own_check(const struct message *answer)
{
    uint64_t status = 0;
    if (answer->body.len == 0)
        return;
    fr_insist(answer->body.len > 3 && answer->body.data[3] == ' ');
    fr_insist(fr_view_u64(fr_view_make(answer->body.data, 3), &status));
    fr_insist((int)status == answer->status);
}

static void
judge_client(struct reading *reading, size_t index)
{
    const struct judge_side *side = &reading->run->clients[index];
    const struct message *requests = reading->clients[index].requests;
    size_t count = reading->clients[index].count;
    size_t at = 0;
    for (size_t i = 0; at < side->in.len; i++) {
        const struct message *asked = i < count ? &requests[i] : NULL;
        struct message answer;
        fr_insist(i <= count); /* one more, for what was no request */
        message_init(&answer);
        if (!read_answer(reading, side, asked, &at, &answer)) {
            message_fini(&answer);
            return;
        }
        if (answer.status == 101) {
            fr_insist(asked && asked->upgrade);
            tunnel_check(reading, side, asked->end, at);
            message_fini(&answer);
            return;
        }
        if (answer.via)
            fr_insist(asked && was_answered(reading, asked, &answer));
        else if (answer.whole)
            own_check(&answer);
        at = answer.end;
        bool again = answer.whole && answer.keep && answer.framing != HTTP_BODY_TO_CLOSE && asked;
        /* A refusal that came before the whole head, from one who cannot know that it was a HEAD.
         */
        bool early = asked && asked->method == HTTP_HEAD && !answer.via && !answer.keep;
        fr_insist(again || early || at == side->in.len);
        message_fini(&answer);
        if (early)
            return;
    }
}

/* ---- all of it ------------------------------------------------------------------------------ */

void
judge(const struct judge_run *run)
{
    if (run->overflowed)
        return;
    static struct reading room; /* it is large: one for all runs */
    struct reading *reading = &room;
    reading->run = run;
    reading->attempt_count = 0;
    for (size_t i = 0; i < JUDGE_CLIENTS_MAX; i++)
        reading->clients[i].count = 0;
    for (size_t i = 0; i < run->client_count; i++)
        read_client_requests(reading, i);
    for (size_t i = 0; i < run->member_count; i++)
        read_member(reading, &run->members[i]);
    /* With more of them than fit, what an answer belongs to may not have been read. */
    if (reading->attempt_count < MESSAGES_MAX)
        for (size_t i = 0; i < run->client_count; i++)
            judge_client(reading, i);
    for (size_t i = 0; i < run->client_count; i++)
        for (size_t k = 0; k < reading->clients[i].count; k++)
            message_fini(&reading->clients[i].requests[k]);
    for (size_t i = 0; i < reading->attempt_count; i++) {
        message_fini(&reading->attempts[i].request);
        message_fini(&reading->attempts[i].response);
    }
}
