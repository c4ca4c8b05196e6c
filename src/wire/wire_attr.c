/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_attr.c - the attributes of every element, as tables, and their way in and out of a struct.
 *
 * May touch:  base.
 * Trusts:     nothing: every value is checked against its row.
 * Follows:    schema/freshet-stream.rng, which says the same; the tests hold one against the other.
 * Cost:       decoding: one comparison to find a row where the peer writes in our order, and no
 *             allocation but the arena's for texts.
 */
#include "wire/wire_priv.h"

#include "base/fr_time.h"

#include <string.h>

#define U64_MAX (UINT64_MAX - 1) /* the greatest is WIRE_NONE */
#define TABLE(name, rows)                                                                          \
    {                                                                                              \
        (name), (rows), sizeof(rows) / sizeof((rows)[0])                                           \
    }
#define ROW(type, field, name, kind, required, max)                                                \
    {                                                                                              \
        (name), (kind), (required), offsetof(type, field), (max)                                   \
    }

/* ---- tables --------------------------------------------------------------------------------- */

static const struct wire__attr open_rows[] = {
    {"version", WIRE__VERSION, true, 0, 0},
    ROW(struct wire_open, role, "role", WIRE__ROLE, true, 0),
    ROW(struct wire_open, id, "id", WIRE__NAME, true, 0),
    ROW(struct wire_open, epoch, "epoch", WIRE__EPOCH, false, U64_MAX),
    ROW(struct wire_open, boot, "boot", WIRE__NAME, false, 0),
};
const struct wire__table wire__open_table = TABLE("stream", open_rows);

static const struct wire__attr report_rows[] = {
    ROW(struct wire_report, seq, "seq", WIRE__EPOCH, false, U64_MAX),
    ROW(struct wire_report, at_us, "at", WIRE__TIME, false, 0),
    ROW(struct wire_report, crossing, "crossing", WIRE__BOOL, false, 0),
    ROW(struct wire_report, full, "full", WIRE__BOOL, false, 0),
};
const struct wire__table wire__report_table = TABLE("report", report_rows);

#define SERVER(field, name, kind, max) ROW(struct wire_server, field, name, kind, false, max)
static const struct wire__attr server_rows[] = {
    SERVER(id, "id", WIRE__NAME, 0),
    SERVER(address, "address", WIRE__NAME, 0),
    SERVER(role, "role", WIRE__NAME, 0),
    SERVER(state, "state", WIRE__NAME, 0),
    SERVER(pool, "pool", WIRE__NAME, 0),
    SERVER(weight, "weight", WIRE__U64, 65535),
    SERVER(weight_normal, "weight-normal", WIRE__U64, 65535),
    SERVER(utilization, "utilization", WIRE__F64, WIRE__UTILIZATION_MAX),
    SERVER(cpu, "cpu", WIRE__F64, WIRE__UTILIZATION_MAX),
    SERVER(requests, "requests", WIRE__U64, U64_MAX),
    SERVER(errors, "errors", WIRE__U64, U64_MAX),
    SERVER(connect_failures, "connect-failures", WIRE__U64, U64_MAX),
    SERVER(in_flight, "in-flight", WIRE__U64, U64_MAX),
    SERVER(connections, "connections", WIRE__U64, U64_MAX),
    SERVER(bytes_in, "bytes-in", WIRE__U64, U64_MAX),
    SERVER(bytes_out, "bytes-out", WIRE__U64, U64_MAX),
    SERVER(p50_ms, "p50-ms", WIRE__F64, WIRE__MS_MAX),
    SERVER(p90_ms, "p90-ms", WIRE__F64, WIRE__MS_MAX),
    SERVER(p99_ms, "p99-ms", WIRE__F64, WIRE__MS_MAX),
    SERVER(memory_bytes, "memory-bytes", WIRE__U64, U64_MAX),
    SERVER(cache_hits, "cache-hits", WIRE__U64, U64_MAX),
    SERVER(cache_misses, "cache-misses", WIRE__U64, U64_MAX),
    SERVER(cache_revalidations, "cache-revalidations", WIRE__U64, U64_MAX),
    SERVER(cache_collapses, "cache-collapses", WIRE__U64, U64_MAX),
    SERVER(cache_bytes, "cache-bytes", WIRE__U64, U64_MAX),
    SERVER(origin_requests, "origin-requests", WIRE__U64, U64_MAX),
    SERVER(sessions, "sessions", WIRE__U64, U64_MAX),
    SERVER(relief, "relief", WIRE__U64, 1000),
};
const struct wire__table wire__server_table = TABLE("server", server_rows);

static const struct wire__attr worker_rows[] = {
    ROW(struct wire_worker, index, "index", WIRE__U64, true, 65535),
    ROW(struct wire_worker, cpu, "cpu", WIRE__F64, false, WIRE__UTILIZATION_MAX),
};
const struct wire__table wire__worker_table = TABLE("worker", worker_rows);

static const struct wire__attr cluster_rows[] = {
    ROW(struct wire_cluster, name, "name", WIRE__NAME, true, 0),
    ROW(struct wire_cluster, responsible, "responsible", WIRE__BOOL, false, 0),
    ROW(struct wire_cluster, requests, "requests", WIRE__U64, false, U64_MAX),
    ROW(struct wire_cluster, waiting, "waiting", WIRE__U64, false, U64_MAX),
    ROW(struct wire_cluster, generation, "generation", WIRE__U64, false, U64_MAX),
    ROW(struct wire_cluster, rung, "rung", WIRE__NAME, false, 0),
    ROW(struct wire_cluster, stale, "stale", WIRE__EPOCH, false, U64_MAX),
    ROW(struct wire_cluster, refreshes, "refreshes", WIRE__EPOCH, false, U64_MAX),
    ROW(struct wire_cluster, goal_us, "goal-us", WIRE__EPOCH, false, WIRE__GOAL_US_MAX),
    ROW(struct wire_cluster, timed, "timed", WIRE__EPOCH, false, U64_MAX),
    ROW(struct wire_cluster, late, "late", WIRE__EPOCH, false, U64_MAX),
    ROW(struct wire_cluster, purged, "purged", WIRE__EPOCH, false, U64_MAX),
    ROW(struct wire_cluster, purged_rate, "purged-rate", WIRE__RATE, false, WIRE__RATE_MAX),
};
const struct wire__table wire__cluster_table = TABLE("cluster", cluster_rows);

static const struct wire__attr pool_rows[] = {
    ROW(struct wire_pool, name, "name", WIRE__NAME, true, 0),
    ROW(struct wire_pool, available, "available", WIRE__U64, false, U64_MAX),
    ROW(struct wire_pool, allocated, "allocated", WIRE__U64, false, U64_MAX),
    ROW(struct wire_pool, cost, "cost", WIRE__U64, false, 1000000),
};
const struct wire__table wire__pool_table = TABLE("pool", pool_rows);

#define REQUEST(field, name, kind, required, max)                                                  \
    ROW(struct wire_reconfigure, field, name, kind, required, max)
#define REASON REQUEST(reason, "reason", WIRE__TEXT, false, 0)
static const struct wire__attr reconfigure_rows[] = {
    REQUEST(id, "id", WIRE__ID, true, 0), REQUEST(cluster, "cluster", WIRE__NAME, false, 0),
    REASON, /* of a put, whose own attributes are settings */
};
const struct wire__table wire__reconfigure_table = TABLE("reconfigure", reconfigure_rows);

static const struct wire__attr error_rows[] = {
    ROW(struct wire_peer_error, code, "code", WIRE__NAME, true, 0),
    ROW(struct wire_peer_error, words, "words", WIRE__TEXT, false, 0),
};
const struct wire__table wire__error_table = TABLE("error", error_rows);

static const struct wire__attr result_rows[] = {
    ROW(struct wire_result, id, "id", WIRE__ID, true, 0),
    ROW(struct wire_result, status, "status", WIRE__STATUS, true, 0),
    ROW(struct wire_result, code, "code", WIRE__NAME, false, 0),
    ROW(struct wire_result, reason, "reason", WIRE__TEXT, false, 0),
    ROW(struct wire_result, generation, "generation", WIRE__U64, false, U64_MAX),
    ROW(struct wire_result, purged, "purged", WIRE__EPOCH, false, U64_MAX),
    ROW(struct wire_result, purged_bytes, "purged-bytes", WIRE__EPOCH, false, U64_MAX),
    ROW(struct wire_result, purged_rate, "purged-rate", WIRE__RATE, false, WIRE__RATE_MAX),
};
const struct wire__table wire__result_table = TABLE("result", result_rows);

static const struct wire__attr allocate_rows[] = {
    REQUEST(count, "count", WIRE__COUNT, false, 10000),
    REQUEST(server, "server", WIRE__NAME, false, 0),
    REQUEST(pool, "pool", WIRE__NAME, false, 0),
    REASON,
};
static const struct wire__attr deallocate_rows[] = {
    REQUEST(count, "count", WIRE__COUNT, false, 10000),
    REQUEST(server, "server", WIRE__NAME, false, 0),
    REASON,
};
static const struct wire__attr weight_rows[] = {
    REQUEST(server, "server", WIRE__NAME, true, 0),
    REQUEST(weight, "weight", WIRE__U64, true, 65535),
    REASON,
};
static const struct wire__attr move_rows[] = {
    REQUEST(server, "server", WIRE__NAME, true, 0),
    REQUEST(to, "to", WIRE__NAME, true, 0),
    REASON,
};
static const struct wire__attr join_rows[] = {
    REQUEST(server, "server", WIRE__NAME, true, 0),
    REQUEST(address, "address", WIRE__NAME, true, 0),
    REQUEST(weight, "weight", WIRE__U64, false, 65535),
    REQUEST(pool, "pool", WIRE__NAME, false, 0),
    REASON,
};
static const struct wire__attr server_only_rows[] = {
    REQUEST(server, "server", WIRE__NAME, true, 0),
    REASON,
};
static const struct wire__attr levels_rows[] = {
    REQUEST(upper, "upper", WIRE__F64, false, WIRE__UTILIZATION_MAX),
    REQUEST(lower, "lower", WIRE__F64, false, WIRE__UTILIZATION_MAX),
    REQUEST(followers, "followers", WIRE__U64, false, U64_MAX),
    REQUEST(goal_us, "goal-us", WIRE__EPOCH, false, WIRE__GOAL_US_MAX),
    REASON,
};
static const struct wire__attr relieve_rows[] = {
    REQUEST(step, "step", WIRE__U64, true, 1000),
    REASON,
};
static const struct wire__attr purge_rows[] = {
    REQUEST(what, "what", WIRE__NAME, true, 0),
    REQUEST(text, "text", WIRE__LINE, false, 0),
    REQUEST(soft, "soft", WIRE__BOOL, false, 0),
    REASON,
};
static const struct wire__attr put_rows[] = {
    REQUEST(name, "name", WIRE__NAME, true, 0),
};
static const struct wire__attr remove_rows[] = {
    REQUEST(name, "name", WIRE__NAME, true, 0),
    REASON,
};
const struct wire__table wire__operation_tables[WIRE_OPERATION_COUNT] = {
    [WIRE_ALLOCATE] = TABLE("allocate", allocate_rows),
    [WIRE_DEALLOCATE] = TABLE("deallocate", deallocate_rows),
    [WIRE_WEIGHT] = TABLE("weight", weight_rows),
    [WIRE_MOVE] = TABLE("move", move_rows),
    [WIRE_JOIN] = TABLE("join", join_rows),
    [WIRE_LEAVE] = TABLE("leave", server_only_rows),
    [WIRE_RELEASE] = TABLE("release", server_only_rows),
    [WIRE_LEVELS] = TABLE("levels", levels_rows),
    [WIRE_RELIEVE] = TABLE("relieve", relieve_rows),
    [WIRE_PUT_ROUTE] = TABLE("route", put_rows),
    [WIRE_REMOVE_ROUTE] = TABLE("remove-route", remove_rows),
    [WIRE_PUT_CLUSTER] = TABLE("cluster", put_rows),
    [WIRE_REMOVE_CLUSTER] = TABLE("remove-cluster", remove_rows),
    [WIRE_PUT_POOL] = TABLE("pool", put_rows),
    [WIRE_REMOVE_POOL] = TABLE("remove-pool", remove_rows),
    [WIRE_PURGE] = TABLE("purge", purge_rows),
};

/* ---- out ------------------------------------------------------------------------------------ */

static const void *
field_of(const struct wire__attr *attr, const void *object)
{
    return (const char *)object + attr->offset;
}

static void
out_name(struct wire__out *out, const struct wire__attr *attr)
{
    wire__out_raw(out, " ", 1);
    wire__out_str(out, attr->name);
    wire__out_raw(out, "=\"", 2);
}

static void
out_text(struct wire__out *out, const struct wire__attr *attr, struct fr_view value)
{
    if (value.len == 0) {
        if (attr->required)
            wire__out_fail(out, FR_ERR_SYNTAX);
        return;
    }
    /* A name that we had to change would be another name, so it is refused; words are cut, at a
     * character's beginning. */
    size_t max = attr->kind == WIRE__NAME ? WIRE__NAME_BYTES : WIRE__VALUE_BYTES;
    if (attr->kind != WIRE__TEXT && (value.len > max || wire__text_has_control(value))) {
        wire__out_fail(out, FR_ERR_SYNTAX);
        return;
    }
    if (attr->kind == WIRE__TEXT)
        value = wire__text_cut(value, WIRE__WORDS_BYTES);
    out_name(out, attr);
    wire__out_escaped(out, value);
    wire__out_raw(out, "\"", 1);
}

static void
out_u64(struct wire__out *out, const struct wire__attr *attr, uint64_t value)
{
    char text[32];
    if (attr->kind == WIRE__COUNT && value == 0)
        value = 1;
    if (!attr->required && value == (attr->kind == WIRE__EPOCH ? 0 : WIRE_NONE))
        return;
    if (value > attr->max) {
        wire__out_fail(out, FR_ERR_RANGE);
        return;
    }
    out_name(out, attr);
    wire__out_raw(out, text, wire__format_u64(value, text));
    wire__out_raw(out, "\"", 1);
}

static void
out_f64(struct wire__out *out, const struct wire__attr *attr, double value)
{
    char text[32];
    /* What is no number is left out, as absent: the reader then holds still. Too great a number is
     * still a great one. */
    if (!(value >= 0) || isinf(value))
        return;
    if (value > (double)attr->max)
        value = (double)attr->max;
    out_name(out, attr);
    wire__out_raw(out, text, wire__format_f64(value, text));
    wire__out_raw(out, "\"", 1);
}

static void
out_time(struct wire__out *out, const struct wire__attr *attr, int64_t wall_us)
{
    char text[FR_TIME_ISO_BYTES];
    if (wall_us == 0)
        return;
    if (wall_us < 0 || wall_us > WIRE__AT_US_MAX) {
        wire__out_fail(out, FR_ERR_RANGE);
        return;
    }
    fr_time_format_iso(wall_us, text);
    out_name(out, attr);
    wire__out_str(out, text);
    wire__out_raw(out, "\"", 1);
}

static void
out_words(struct wire__out *out, const struct wire__attr *attr, const char *word)
{
    if (word == NULL) {
        wire__out_fail(out, FR_ERR_RANGE);
        return;
    }
    out_name(out, attr);
    wire__out_str(out, word);
    wire__out_raw(out, "\"", 1);
}

static void
out_attr(struct wire__out *out, const struct wire__attr *attr, const void *field)
{
    switch (attr->kind) {
    case WIRE__NAME:
    case WIRE__TEXT:
    case WIRE__LINE:
        out_text(out, attr, *(const struct fr_view *)field);
        break;
    case WIRE__U64:
    case WIRE__COUNT:
    case WIRE__EPOCH:
        out_u64(out, attr, *(const uint64_t *)field);
        break;
    case WIRE__RATE:
        if (*(const double *)field == 0)
            break;
        __attribute__((fallthrough));
    case WIRE__F64:
        out_f64(out, attr, *(const double *)field);
        break;
    case WIRE__BOOL:
        if (*(const bool *)field)
            out_words(out, attr, "true");
        break;
    case WIRE__TIME:
        out_time(out, attr, *(const int64_t *)field);
        break;
    case WIRE__ID: {
        char text[WIRE_REQUEST_ID_BYTES];
        wire_request_id_format(*(const struct wire_request_id *)field, text);
        out_words(out, attr, text);
        break;
    }
    case WIRE__ROLE:
        out_words(out, attr, wire_role_name(*(const enum wire_role *)field));
        break;
    case WIRE__STATUS:
        out_words(out, attr, wire__status_name(*(const enum wire_status *)field));
        break;
    case WIRE__VERSION:
        out_words(out, attr, "1");
        break;
    }
}

void
wire__out_attrs(struct wire__out *out, const struct wire__table *table, const void *object)
{
    for (size_t i = 0; i < table->count; i++)
        out_attr(out, &table->attrs[i], field_of(&table->attrs[i], object));
}

/* ---- in ------------------------------------------------------------------------------------- */

const struct wire__attr *
wire__attr_find(const struct wire__table *table, const char *name, size_t *cursor)
{
    for (size_t i = *cursor; i < table->count; i++) {
        if (strcmp(table->attrs[i].name, name) == 0) {
            *cursor = i + 1;
            return &table->attrs[i];
        }
    }
    for (size_t i = 0; i < *cursor; i++) {
        if (strcmp(table->attrs[i].name, name) == 0)
            return &table->attrs[i];
    }
    return NULL;
}

static enum wire__attr_step
decode_text(const struct wire__attr *attr, struct fr_view text, void *field, struct fr_arena *arena,
            const char **out_expected)
{
    bool name = attr->kind == WIRE__NAME;
    if (name && (text.len == 0 || text.len > WIRE__NAME_BYTES || wire__text_has_control(text))) {
        *out_expected = "a name of 1 to 128 bytes without control characters";
        return WIRE__ATTR_BAD;
    }
    if (attr->kind == WIRE__LINE) {
        if (text.len > WIRE__VALUE_BYTES || wire__text_has_control(text)) {
            *out_expected = "at most 4096 bytes without control characters";
            return WIRE__ATTR_BAD;
        }
    } else if (text.len > WIRE__WORDS_BYTES) {
        *out_expected = "at most 1024 bytes";
        return WIRE__ATTR_BAD;
    }
    char *copy = fr_arena_dup(arena, text);
    if (copy == NULL)
        return WIRE__ATTR_NO_MEMORY;
    *(struct fr_view *)field = fr_view_make(copy, text.len);
    return WIRE__ATTR_OK;
}

static bool
decode_bool(struct fr_view text, bool *out)
{
    if (fr_view_is(text, "true") || fr_view_is(text, "1"))
        *out = true;
    else if (fr_view_is(text, "false") || fr_view_is(text, "0"))
        *out = false;
    else
        return false;
    return true;
}

static bool
decode_time(struct fr_view text, int64_t *out)
{
    int64_t wall_us;
    if (!fr_time_parse_iso(text, &wall_us) || wall_us < 0 || wall_us > WIRE__AT_US_MAX)
        return false;
    *out = wall_us;
    return true;
}

enum wire__attr_step
wire__attr_decode(const struct wire__attr *attr, const char *value, void *object,
                  struct fr_arena *arena, const char **out_expected)
{
    struct fr_view text = fr_view_of(value);
    void *field = (char *)object + attr->offset;
    bool good = false;
    switch (attr->kind) {
    case WIRE__NAME:
    case WIRE__TEXT:
    case WIRE__LINE:
        return decode_text(attr, text, field, arena, out_expected);
    case WIRE__U64:
    case WIRE__EPOCH:
        good = wire__parse_u64(text.ptr, text.len, attr->max, field);
        *out_expected = "a whole number in its range, without a sign";
        break;
    case WIRE__COUNT: {
        uint64_t count = 0;
        good = wire__parse_u64(text.ptr, text.len, attr->max, &count) && count > 0;
        if (good)
            *(uint64_t *)field = count;
        *out_expected = "a whole number from 1 to 10000";
        break;
    }
    case WIRE__F64:
    case WIRE__RATE:
        good = wire__parse_f64(text.ptr, text.len, attr->max, field);
        *out_expected = "a decimal number in its range, without sign or exponent";
        break;
    case WIRE__BOOL:
        good = decode_bool(text, field);
        *out_expected = "true or false";
        break;
    case WIRE__TIME:
        good = decode_time(text, field);
        *out_expected = "a time such as 2026-01-01T12:00:00.000Z";
        break;
    case WIRE__ID:
        good = wire_request_id_parse(text, field);
        *out_expected = "an id such as 3:81";
        break;
    case WIRE__ROLE:
        good = wire_role_parse(text, field);
        *out_expected = "edge, manager, agent or allocator";
        break;
    case WIRE__STATUS:
        good = wire__status_parse(text, field);
        *out_expected = "done or refused";
        break;
    case WIRE__VERSION:
        good = true; /* it was looked at before all else */
        break;
    }
    return good ? WIRE__ATTR_OK : WIRE__ATTR_BAD;
}
