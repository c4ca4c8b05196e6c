/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_rules.c - what may be stored, how old it is, and whether it may answer.
 *
 * May touch:  base, http. Pure: heads and times in, verdicts out.
 * Trusts:     nothing of what the heads say; every number is bounded before it is added.
 * Follows:    RFC 9111 sections 3, 3.5, 4, 4.2 and 5.2. Beyond them: nothing is reused on a guess
 *             (section 4.2.2 is not used), and a response that sets a cookie is stored only where
 *             it says public.
 */
#include "cache/cache_priv.h"

#include "base/fr_time.h"

/* The value of a date field; false when it is absent or no date. */
static bool
date_of(const struct http_head *head, enum http_known known, int64_t now_s, int64_t *out_s)
{
    const struct http_field *field = http_head_find(head, known);
    return field && http_date_parse(field->value, now_s, out_s);
}

/* Section 4.2.1. False: the response says nothing about it. */
static bool
lifetime_of(const struct http_head *response, const struct cache__control *control,
            int64_t response_s, int64_t *out_s)
{
    if (control->s_maxage_s != CACHE__ABSENT) {
        *out_s = control->s_maxage_s;
        return true;
    }
    if (control->max_age_s != CACHE__ABSENT) {
        *out_s = control->max_age_s;
        return true;
    }
    if (!http_head_find(response, HTTP_FIELD_EXPIRES))
        return false;
    int64_t expires_s;
    int64_t date_s;
    *out_s = 0;
    /* Section 5.3: an invalid date, above all "0", is in the past. */
    if (!date_of(response, HTTP_FIELD_EXPIRES, response_s, &expires_s))
        return true;
    if (!date_of(response, HTTP_FIELD_DATE, response_s, &date_s))
        date_s = response_s;
    if (expires_s > date_s)
        *out_s = expires_s - date_s;
    if (*out_s > CACHE__SECONDS_MAX)
        *out_s = CACHE__SECONDS_MAX;
    return true;
}

/* Age as received; 0 when absent or invalid. Section 5.1: of a list the first counts. */
static int64_t
age_field_s(const struct http_head *response)
{
    const struct http_field *field = http_head_find(response, HTTP_FIELD_AGE);
    struct fr_view item;
    if (!field)
        return 0;
    struct fr_view rest = field->value;
    if (!http_list_next(&rest, &item))
        return 0;
    int64_t s = 0;
    for (size_t i = 0; i < item.len; i++) {
        if (item.ptr[i] < '0' || item.ptr[i] > '9')
            return 0;
        s = s * 10 + (item.ptr[i] - '0');
        if (s > CACHE__SECONDS_MAX)
            s = CACHE__SECONDS_MAX;
    }
    return s;
}

/* Section 4.2.3: corrected_initial_age. */
static int64_t
initial_age_us(const struct http_head *response, int64_t request_us, int64_t response_us)
{
    int64_t response_s = response_us / FR_US_PER_S;
    int64_t date_s;
    int64_t apparent_s = 0;
    if (date_of(response, HTTP_FIELD_DATE, response_s, &date_s) && response_s > date_s)
        apparent_s = response_s - date_s;
    if (apparent_s > CACHE__SECONDS_MAX)
        apparent_s = CACHE__SECONDS_MAX;
    int64_t delay_us = response_us > request_us ? response_us - request_us : 0;
    int64_t corrected_us = age_field_s(response) * FR_US_PER_S + delay_us;
    int64_t apparent_us = apparent_s * FR_US_PER_S;
    return apparent_us > corrected_us ? apparent_us : corrected_us;
}

int64_t
cache__age_us(const struct cache__freshness *freshness, int64_t now_us)
{
    /* A wall clock can be set back; nothing gets younger by it than it was when it came. */
    int64_t resident_us = now_us > freshness->response_us ? now_us - freshness->response_us : 0;
    return freshness->initial_age_us + resident_us;
}

/* Statuses that cannot be stored here: not final, partial (section 3.3), or about a stored one. */
static bool
status_storable(int status, const struct cache__control *control)
{
    if (status < 200 || status == 206 || status == 304)
        return false;
    /* Section 5.2.2.3: only what we understand. */
    return !control->must_understand || http_reason(status)[0] != '\0';
}

/* What both heads say without any clock. */
static bool
heads_allow(const struct http_head *request, const struct http_head *response,
            const struct cache__control *asked, const struct cache__control *said)
{
    if (request->method != HTTP_GET || cache__bypasses(request, asked))
        return false;
    if (!status_storable(response->status, said))
        return false;
    /* no-cache could be stored if every use were validated; nothing validates yet. */
    if (said->no_store || said->no_cache || said->is_private)
        return false;
    if (http_head_find(response, HTTP_FIELD_SET_COOKIE) && !said->is_public)
        return false;
    if (http_head_find(response, HTTP_FIELD_CONTENT_RANGE))
        return false;
    return true;
}

bool
cache__may_store(const struct http_head *request, const struct http_head *response,
                 enum http_framing framing, int64_t request_us, int64_t response_us,
                 struct cache__freshness *out)
{
    struct cache__control asked;
    struct cache__control said;
    cache__control_read(request, &asked);
    cache__control_read(response, &said);
    if (!heads_allow(request, response, &asked, &said))
        return false;
    /* A body that ends with its connection may have been cut short without anybody seeing it, and
     * would be served short for its lifetime (section 3.3). */
    if (framing == HTTP_BODY_TO_CLOSE || response->unknown_coding)
        return false;
    bool authorization_good =
        said.is_public || said.must_revalidate || said.s_maxage_s != CACHE__ABSENT;
    if (http_head_find(request, HTTP_FIELD_AUTHORIZATION) && !authorization_good)
        return false; /* section 3.5 */
    int64_t lifetime_s;
    if (!lifetime_of(response, &said, response_us / FR_US_PER_S, &lifetime_s))
        return false;
    struct cache__freshness freshness = {
        .lifetime_us = lifetime_s * FR_US_PER_S,
        .initial_age_us = initial_age_us(response, request_us, response_us),
        .response_us = response_us,
        .stale_forbidden = said.must_revalidate,
        .authorization_good = authorization_good,
    };
    if (freshness.initial_age_us >= freshness.lifetime_us)
        return false; /* dead on arrival */
    *out = freshness;
    return true;
}

bool
cache__bypasses(const struct http_head *request, const struct cache__control *control)
{
    if (request->method != HTTP_GET && request->method != HTTP_HEAD)
        return true;
    /* A body could change what GET means to the member; an upgrade is no request for a response. */
    if (request->framing != HTTP_BODY_NONE || request->upgrade || control->no_store)
        return true;
    /* If-Match and If-Unmodified-Since are the member's to judge (section 4.3.2). */
    return http_head_find(request, HTTP_FIELD_RANGE) != NULL ||
           http_head_find(request, HTTP_FIELD_IF_MATCH) != NULL ||
           http_head_find(request, HTTP_FIELD_IF_UNMODIFIED_SINCE) != NULL;
}

enum cache_answer
cache__judge(const struct cache__freshness *freshness, const struct cache__control *control,
             bool has_authorization, int64_t now_us, int64_t stale_max_us)
{
    int64_t age_us = cache__age_us(freshness, now_us);
    int64_t left_us = freshness->lifetime_us - age_us;
    if (has_authorization && !freshness->authorization_good)
        return CACHE_MISS;
    if (control->no_cache) /* section 5.2.1.4 */
        return CACHE_MISS;
    bool bounded = control->max_age_s != CACHE__ABSENT || control->min_fresh_s != CACHE__ABSENT;
    if (control->max_age_s != CACHE__ABSENT && age_us > control->max_age_s * FR_US_PER_S)
        return CACHE_MISS;       /* section 5.2.1.1 */
    if (control->max_age_s == 0) /* "now": an answer from the shelf is never that */
        return CACHE_MISS;
    if (control->min_fresh_s != CACHE__ABSENT && left_us < control->min_fresh_s * FR_US_PER_S)
        return CACHE_MISS; /* section 5.2.1.3 */
    if (left_us > 0)
        return CACHE_FRESH;
    if (freshness->stale_forbidden) /* section 4.2.4 */
        return CACHE_MISS;
    if (control->max_stale_s == CACHE__SECONDS_MAX)
        return CACHE_STALE_ALLOWED;
    if (control->max_stale_s != CACHE__ABSENT && -left_us <= control->max_stale_s * FR_US_PER_S)
        return CACHE_STALE_ALLOWED; /* section 5.2.1.2 */
    /* The edge's own relief: it disconnects itself from the member for a while, so to speak
     * (section 4.2.4), but not against a request that bounds the age. */
    if (!bounded && stale_max_us > 0 && -left_us <= stale_max_us)
        return CACHE_STALE_ALLOWED;
    return CACHE_MISS;
}
