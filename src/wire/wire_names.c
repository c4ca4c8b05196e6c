/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_names.c - words of the stream that stand for enums, request ids, and structs that say
 * nothing yet.
 *
 * May touch:  base.
 * Trusts:     nothing.
 */
#include "wire/wire_priv.h"

static const char *const role_names[] = {
    [WIRE_ROLE_EDGE] = "edge",
    [WIRE_ROLE_MANAGER] = "manager",
    [WIRE_ROLE_AGENT] = "agent",
    [WIRE_ROLE_ALLOCATOR] = "allocator",
};
#define ROLE_COUNT (sizeof(role_names) / sizeof(role_names[0]))

static const char *const error_codes[] = {
    [WIRE_OK] = "ok",
    [WIRE_STOPPED] = "stopped",
    [WIRE_NOT_WELL_FORMED] = "not-well-formed",
    [WIRE_DOCTYPE] = "doctype",
    [WIRE_INSTRUCTION] = "instruction",
    [WIRE_NAMESPACE_BAD] = "namespace",
    [WIRE_VERSION_BAD] = "version",
    [WIRE_TOO_DEEP] = "too-deep",
    [WIRE_TOO_LARGE] = "too-large",
    [WIRE_TOO_MANY] = "too-many",
    [WIRE_INVALID] = "invalid",
    [WIRE_NO_MEMORY] = "no-memory",
};

static const char *const status_names[] = {
    [WIRE_DONE] = "done",
    [WIRE_REFUSED] = "refused",
};
#define STATUS_COUNT (sizeof(status_names) / sizeof(status_names[0]))

const char *
wire_role_name(enum wire_role role)
{
    return (size_t)role < ROLE_COUNT ? role_names[role] : NULL;
}

bool
wire_role_parse(struct fr_view text, enum wire_role *out)
{
    for (size_t i = 0; i < ROLE_COUNT; i++) {
        if (fr_view_is(text, role_names[i])) {
            *out = (enum wire_role)i;
            return true;
        }
    }
    return false;
}

const char *
wire__status_name(enum wire_status status)
{
    return (size_t)status < STATUS_COUNT ? status_names[status] : NULL;
}

bool
wire__status_parse(struct fr_view text, enum wire_status *out)
{
    for (size_t i = 0; i < STATUS_COUNT; i++) {
        if (fr_view_is(text, status_names[i])) {
            *out = (enum wire_status)i;
            return true;
        }
    }
    return false;
}

const char *
wire_error_code(enum wire_error error)
{
    bool known = (size_t)error < sizeof(error_codes) / sizeof(error_codes[0]);
    return known ? error_codes[error] : "invalid";
}

const char *
wire_operation_name(enum wire_operation operation)
{
    bool known = (size_t)operation < WIRE_OPERATION_COUNT;
    return known ? wire__operation_tables[operation].element : "unknown";
}

bool
wire__is_put(enum wire_operation operation)
{
    return operation == WIRE_PUT_ROUTE || operation == WIRE_PUT_CLUSTER ||
           operation == WIRE_PUT_POOL;
}

bool
wire__needs_cluster(enum wire_operation operation)
{
    switch (operation) {
    case WIRE_ALLOCATE:
    case WIRE_DEALLOCATE:
    case WIRE_WEIGHT:
    case WIRE_MOVE:
    case WIRE_JOIN:
    case WIRE_LEVELS:
        return true;
    default:
        return false;
    }
}

bool
wire_request_id_parse(struct fr_view text, struct wire_request_id *out)
{
    const char *colon = text.len > 0 ? memchr(text.ptr, ':', text.len) : NULL;
    struct wire_request_id id;
    if (colon == NULL)
        return false;
    size_t head = (size_t)(colon - text.ptr);
    if (!wire__parse_u64(text.ptr, head, UINT64_MAX, &id.epoch) ||
        !wire__parse_u64(colon + 1, text.len - head - 1, UINT64_MAX, &id.sequence))
        return false;
    *out = id;
    return true;
}

void
wire_request_id_format(struct wire_request_id id, char out[WIRE_REQUEST_ID_BYTES])
{
    size_t len = wire__format_u64(id.epoch, out);
    out[len] = ':';
    (void)wire__format_u64(id.sequence, out + len + 1); /* the terminating NUL is all we need */
}

struct wire_server
wire_server_none(void)
{
    return (struct wire_server){
        .weight = WIRE_NONE,
        .weight_normal = WIRE_NONE,
        .utilization = NAN,
        .cpu = NAN,
        .requests = WIRE_NONE,
        .errors = WIRE_NONE,
        .connect_failures = WIRE_NONE,
        .in_flight = WIRE_NONE,
        .connections = WIRE_NONE,
        .bytes_in = WIRE_NONE,
        .bytes_out = WIRE_NONE,
        .p50_ms = NAN,
        .p90_ms = NAN,
        .p99_ms = NAN,
        .memory_bytes = WIRE_NONE,
        .cache_hits = WIRE_NONE,
        .cache_misses = WIRE_NONE,
        .cache_revalidations = WIRE_NONE,
        .cache_collapses = WIRE_NONE,
        .origin_requests = WIRE_NONE,
        .cache_bytes = WIRE_NONE,
        .sessions = WIRE_NONE,
        .relief = WIRE_NONE,
    };
}

struct wire_cluster
wire_cluster_none(void)
{
    return (struct wire_cluster){
        .requests = WIRE_NONE, .waiting = WIRE_NONE, .generation = WIRE_NONE};
}

struct wire_reconfigure
wire_reconfigure_none(void)
{
    return (struct wire_reconfigure){.operation = WIRE_OPERATION_COUNT,
                                     .count = 1,
                                     .weight = WIRE_NONE,
                                     .upper = NAN,
                                     .lower = NAN,
                                     .step = WIRE_NONE};
}

bool
wire__setting_name_good(struct fr_view name)
{
    if (name.len == 0 || name.len > WIRE__NAME_BYTES)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        bool later = (c >= '0' && c <= '9') || c == '-' || c == '.';
        if (!letter && !(later && i > 0))
            return false;
    }
    /* XML 1.0 section 2.3 keeps names that begin with "xml" for itself. */
    return !(name.len >= 3 && fr_view_ieq(fr_view_make(name.ptr, 3), FR_VIEW("xml")));
}
