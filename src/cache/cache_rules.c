/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_rules.c - what may be stored, how old it is, and whether it may answer.
 *
 * May touch:  base, http. Pure: heads and times in, verdicts out.
 * Trusts:     nothing of what the heads say; every number is bounded before it is added.
 * Follows:    RFC 9111 sections 3, 3.5, 4, 4.2 and 5.2; RFC 5861. Beyond them: a response that sets
 * a cookie is stored as the policy has it, never on a guess.
 */
#include "cache/cache_priv.h"

#include "base/fr_time.h"

#define HEURISTIC_SHARE 10 /* section 4.2.2: a tenth of the time since it was modified */

const struct cache_policy cache_policy_default = {
    .ttl_us = CACHE_UNSET,
    .negative_us = 0,
    .grace_us = 24 * 3600 * FR_US_PER_S,
    .heuristic_max_us = 24 * 3600 * FR_US_PER_S,
    .set_cookie = CACHE_SET_COOKIE_EXPLICIT,
};

/* ---- times ----------------------------------------------------------------------------------- */

/* The value of a date field; false when it is absent, no date, or there are two. */
static bool
date_of(const struct http_head *head, enum http_known known, int64_t now_s, int64_t *out_s)
{
    const struct http_field *field = http_head_find(head, known);
    return field && http_date_parse(field->value, now_s, out_s);
}

static int64_t
date_or(const struct http_head *response, int64_t response_s)
{
    int64_t s;
    return date_of(response, HTTP_FIELD_DATE, response_s, &s) ? s : response_s;
}

static int64_t
bounded_s(int64_t s)
{
    return s < 0 ? 0 : s > CACHE__SECONDS_MAX ? CACHE__SECONDS_MAX : s;
}

/* Section 4.2.1: what the response itself says. False: nothing. */
static bool
lifetime_told(const struct http_head *response, const struct cache__control *said,
              int64_t response_s, int64_t *out_s)
{
    if (said->s_maxage_s != CACHE__ABSENT) {
        *out_s = said->s_maxage_s;
        return true;
    }
    if (said->max_age_s != CACHE__ABSENT) {
        *out_s = said->max_age_s;
        return true;
    }
    if (said->targeted || !http_head_find(response, HTTP_FIELD_EXPIRES))
        return false;
    int64_t expires_s;
    *out_s = 0;
    /* Section 5.3: an invalid date, above all "0", is in the past. */
    if (date_of(response, HTTP_FIELD_EXPIRES, response_s, &expires_s))
        *out_s = bounded_s(expires_s - date_or(response, response_s));
    return true;
}

/* RFC 9110 section 15.1. */
static bool
status_heuristic(int status)
{
    static const short statuses[] = {200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501};
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        if (statuses[i] == status)
            return true;
    return false;
}

/* Section 4.2.2. */
static int64_t
lifetime_guessed_us(const struct http_head *response, const struct cache__control *said,
                    const struct cache_policy *policy, int64_t response_s)
{
    int64_t modified_s;
    if (!status_heuristic(response->status) && !said->is_public)
        return 0;
    if (response->status >= 400 && policy->negative_us > 0)
        return policy->negative_us;
    if (!date_of(response, HTTP_FIELD_LAST_MODIFIED, response_s, &modified_s))
        return 0;
    int64_t us =
        bounded_s(date_or(response, response_s) - modified_s) * FR_US_PER_S / HEURISTIC_SHARE;
    return us < policy->heuristic_max_us ? us : policy->heuristic_max_us;
}

/* Age as received. Section 5.1: of a list the first counts, and what is no number is ignored. */
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
        s = bounded_s(s * 10 + (item.ptr[i] - '0'));
    }
    return s;
}

/* Section 4.2.3: corrected_initial_age. */
static int64_t
initial_age_us(const struct http_head *response, int64_t request_us, int64_t response_us)
{
    int64_t response_s = response_us / FR_US_PER_S;
    int64_t apparent_s = bounded_s(response_s - date_or(response, response_s));
    int64_t delay_us = response_us > request_us ? response_us - request_us : 0;
    int64_t corrected_us = age_field_s(response) * FR_US_PER_S + delay_us;
    int64_t apparent_us = apparent_s * FR_US_PER_S;
    return apparent_us > corrected_us ? apparent_us : corrected_us;
}

int64_t
cache__age_us(const struct cache__freshness *freshness, int64_t now_us)
{
    /* Workers' clocks differ by a turn of their loops. */
    int64_t resident_us = now_us > freshness->response_us ? now_us - freshness->response_us : 0;
    return freshness->initial_age_us + resident_us;
}

/* ---- section 3 ------------------------------------------------------------------------------- */

/* Statuses that cannot be stored: not final, about a stored one, or parts of what we cannot place.
 */
static bool
status_storable(const struct http_head *response, const struct cache__control *said)
{
    struct cache_piece piece;
    int status = response->status;
    if (status < 200 || status == 304)
        return false;
    if (status == 206 && !cache__piece_read(response, &piece))
        return false;
    /* Section 5.2.2.3: only what we understand. */
    return !said->must_understand || http_reason(status)[0] != '\0';
}

static bool
cookies_allow(const struct http_head *response, const struct cache__control *said,
              const struct cache_policy *policy, bool told)
{
    if (!http_head_find(response, HTTP_FIELD_SET_COOKIE) || policy->ignore_cookies ||
        cache__control_withholds(said, FR_VIEW("set-cookie")))
        return true;
    if (policy->set_cookie == CACHE_SET_COOKIE_EXPLICIT)
        return told;
    return policy->set_cookie == CACHE_SET_COOKIE_PUBLIC && said->is_public;
}

/* What both heads say without any clock. */
static bool
heads_allow(const struct http_head *request, const struct http_head *response,
            enum http_framing framing, const struct cache__control *said)
{
    struct cache__control asked;
    cache__control_read(request, &asked);
    if (request->method != HTTP_GET || cache__bypasses(request, &asked))
        return false;
    if (!status_storable(response, said))
        return false;
    /* Section 5.2.2.3: who understands the status, which was just seen, ignores no-store. */
    if ((said->no_store && !said->must_understand) || said->is_private)
        return false;
    /* A body that ends with its connection may have been cut short without anybody seeing it, and
     * would be served short for its lifetime (section 3.3). */
    return framing != HTTP_BODY_TO_CLOSE && !response->unknown_coding;
}

static bool
has_validator(const struct http_head *response, int64_t response_s)
{
    int64_t s;
    return http_head_find(response, HTTP_FIELD_ETAG) != NULL ||
           date_of(response, HTTP_FIELD_LAST_MODIFIED, response_s, &s);
}

static void
stale_windows(const struct cache__control *said, struct cache__freshness *out)
{
    out->while_revalidate_s =
        said->while_revalidate_s == CACHE__ABSENT ? 0 : said->while_revalidate_s;
    out->if_error_s = said->if_error_s;
    out->stale_forbidden = said->must_revalidate;
    out->always_validate = said->no_cache;
    out->surrogate = said->surrogate;
}

bool
cache__may_store(const struct http_head *request, const struct http_head *response,
                 enum http_framing framing, const struct cache_policy *policy, int64_t request_us,
                 int64_t response_us, struct cache__freshness *out)
{
    struct cache__control said;
    int64_t response_s = response_us / FR_US_PER_S;
    int64_t lifetime_s = 0;
    cache__control_read_response(response, policy, &said);
    if (!heads_allow(request, response, framing, &said))
        return false;
    if (http_head_find(request, HTTP_FIELD_AUTHORIZATION) && !said.for_others)
        return false; /* section 3.5 */
    bool told = lifetime_told(response, &said, response_s, &lifetime_s);
    if (!cookies_allow(response, &said, policy, told || said.is_public))
        return false;
    struct cache__freshness freshness = {
        .initial_age_us = initial_age_us(response, request_us, response_us),
        .response_us = response_us,
        .authorization_good = said.for_others,
    };
    stale_windows(&said, &freshness);
    if (policy->ttl_us != CACHE_UNSET && (told || status_heuristic(response->status)))
        freshness.lifetime_us = policy->ttl_us;
    else if (told)
        freshness.lifetime_us = lifetime_s * FR_US_PER_S;
    else
        freshness.lifetime_us = lifetime_guessed_us(response, &said, policy, response_s);
    /* Section 3: cacheable by what it says or by its status. What is dead on arrival is worth its
     * place only where it can be validated. */
    bool fresh = freshness.initial_age_us < freshness.lifetime_us && !said.no_cache;
    if (!fresh && (!has_validator(response, response_s) ||
                   !(told || said.is_public || status_heuristic(response->status))))
        return false;
    *out = freshness;
    return true;
}

/* ---- section 4 ------------------------------------------------------------------------------- */

bool
cache__bypasses(const struct http_head *request, const struct cache__control *control)
{
    if (request->method != HTTP_GET && request->method != HTTP_HEAD)
        return true;
    /* A body could change what GET means to the member; an upgrade is no request for a response. */
    if (request->framing != HTTP_BODY_NONE || request->upgrade || control->no_store)
        return true;
    /* If-Match and If-Unmodified-Since are the member's to judge (section 4.3.2). */
    return http_head_has(request, HTTP_SET(IF_MATCH) | HTTP_SET(IF_UNMODIFIED_SINCE));
}

/* Sections 5.2.1.1, 5.2.1.3 and 5.2.1.4: what a request says against what is stored. */
static bool
request_refuses(const struct cache__control *asked, int64_t age_us, int64_t left_us)
{
    if (asked->no_cache)
        return true;
    /* "0" means now, and an answer from the shelf is never that. */
    if (asked->max_age_s != CACHE__ABSENT &&
        (asked->max_age_s == 0 || age_us > asked->max_age_s * FR_US_PER_S))
        return true;
    return asked->min_fresh_s != CACHE__ABSENT && left_us < asked->min_fresh_s * FR_US_PER_S;
}

struct cache__verdict
cache__judge(const struct cache__freshness *freshness, const struct cache__control *asked,
             bool has_authorization, int64_t now_us, int64_t stale_max_us)
{
    int64_t age_us = cache__age_us(freshness, now_us);
    int64_t left_us = freshness->lifetime_us - age_us;
    struct cache__verdict out = {.answer = CACHE_MISS};
    if (has_authorization && !freshness->authorization_good)
        return out; /* section 3.5: it was not asked with these credentials */
    out.answer = CACHE_VALIDATE;
    out.refused = request_refuses(asked, age_us, left_us);
    if (freshness->always_validate || out.refused)
        return out;
    if (left_us > 0) {
        out.answer = CACHE_FRESH;
        return out;
    }
    if (freshness->stale_forbidden) /* section 4.2.4 */
        return out;
    /* Section 5.2.1.2. */
    if (asked->max_stale_s == CACHE__SECONDS_MAX ||
        (asked->max_stale_s != CACHE__ABSENT && -left_us <= asked->max_stale_s * FR_US_PER_S))
        out.answer = CACHE_STALE_ALLOWED;
    bool bounded = asked->max_age_s != CACHE__ABSENT || asked->min_fresh_s != CACHE__ABSENT;
    if (bounded)
        return out;
    /* RFC 5861 section 3; and relief: the edge disconnects itself from the member for a while, so
     * to speak (section 4.2.4), but not against a request that bounds the age. Whether it fetches
     * anew meanwhile is the caller's to say: it knows who is relieved. */
    int64_t window_us = freshness->while_revalidate_s * FR_US_PER_S;
    out.refresh = window_us > 0 && -left_us <= window_us;
    out.relieved = out.answer != CACHE_STALE_ALLOWED && !out.refresh && stale_max_us > 0 &&
                   -left_us <= stale_max_us;
    if (out.refresh || out.relieved)
        out.answer = CACHE_STALE_ALLOWED;
    return out;
}

bool
cache__stale_serves(const struct cache__freshness *freshness, const struct cache__control *asked,
                    const struct cache_policy *policy, int64_t now_us, bool answered)
{
    int64_t age_us = cache__age_us(freshness, now_us);
    int64_t late_us = age_us - freshness->lifetime_us;
    /* Section 4.2.4: not where a directive forbids it, on either side. */
    if (freshness->stale_forbidden || freshness->always_validate ||
        request_refuses(asked, age_us, -late_us))
        return false;
    if (late_us <= 0)
        return true;
    int64_t window_s = freshness->if_error_s;
    if (asked->if_error_s != CACHE__ABSENT &&
        (window_s == CACHE__ABSENT || asked->if_error_s < window_s))
        window_s = asked->if_error_s;
    if (window_s != CACHE__ABSENT)
        return late_us <= window_s * FR_US_PER_S;
    /* An error that the member gave itself is its answer, unless it said otherwise (RFC 5861
     * section 4); one that cannot be reached gave none. */
    return !answered && late_us <= policy->grace_us;
}
