/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cache_rules.c - what may be stored and what may be reused, by section of RFC 9111.
 */
#include "cache_help.h"

#include <stdio.h>

static struct http_head req;
static struct http_head res;

static bool
storable(const char *request, const char *response, struct cache__freshness *out)
{
    help_request(&req, request);
    help_response(&res, response);
    return cache__may_store(&req, &res, http_response_framing(&res, req.method),
                            &cache_policy_default, NOW, NOW, out);
}

static void
stores(const char *request, const char *response)
{
    struct cache__freshness f;
    if (!storable(request, response, &f))
        fail_msg("not stored: %s%s", request, response);
}

static void
stores_not(const char *request, const char *response)
{
    struct cache__freshness f;
    if (storable(request, response, &f))
        fail_msg("stored: %s%s", request, response);
}

#define CL "Content-Length: 0\r\n"
#define MA60 CL "Cache-Control: max-age=60\r\n"

static void
section_3_methods_and_statuses(void **state)
{
    (void)state;
    stores(GET(""), OK(MA60));
    stores_not("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n", OK(MA60));
    stores_not("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", OK(MA60));
    stores_not("get /x HTTP/1.1\r\nHost: a\r\n\r\n", OK(MA60));
    stores(GET(""), "HTTP/1.1 404 Not Found\r\n" MA60 "\r\n");
    stores(GET(""), "HTTP/1.1 301 Moved\r\n" MA60 "\r\n");
    stores(GET(""), "HTTP/1.1 204 No Content\r\nCache-Control: max-age=60\r\n\r\n");
    stores_not(GET(""), "HTTP/1.1 206 Partial Content\r\n" MA60 "\r\n");
    stores_not(GET(""), "HTTP/1.1 304 Not Modified\r\n" MA60 "\r\n");
    stores_not(GET(""), "HTTP/1.1 101 Switching Protocols\r\n" MA60 "\r\n");
    /* must-understand: a status without a name here is not understood */
    stores(GET(""), "HTTP/1.1 299 Odd\r\n" MA60 "\r\n");
    stores_not(GET(""),
               "HTTP/1.1 299 Odd\r\n" CL "Cache-Control: max-age=60, must-understand\r\n\r\n");
    stores(GET(""), OK(CL "Cache-Control: max-age=60, must-understand\r\n"));
}

static void
section_3_directives(void **state)
{
    (void)state;
    stores_not(GET(""), OK(CL "Cache-Control: max-age=60, no-store\r\n"));
    stores_not(GET(""), OK(CL "Cache-Control: max-age=60\r\nCache-Control: NO-STORE\r\n"));
    stores(GET(""), OK(CL "Cache-Control: max-age=60, no-store, must-understand\r\n"));
    stores_not(GET(""), "HTTP/1.1 299 Odd\r\n" CL
                        "Cache-Control: max-age=60, no-store, must-understand\r\n\r\n");
    stores_not(GET(""), OK(CL "Cache-Control: max-age=60, private\r\n"));
    stores_not(GET(""), OK(CL "Cache-Control: max-age=60, private=\r\n"));
    stores(GET(""), OK(CL "Cache-Control: max-age=60, private=\"x-a, x-b\"\r\n"));
    stores_not(GET(""), OK(CL "Cache-Control: max-age=60, no-cache\r\n"));
    stores(GET(""), OK(CL "ETag: \"a\"\r\nCache-Control: max-age=60, no-cache\r\n"));
    stores(GET(""), OK(CL "Cache-Control: max-age=60, no-cache=\"set-cookie\"\r\n"));
    /* one list too many is the plain form */
    stores_not(GET(""), OK(CL "Cache-Control: max-age=9, private=a, private=b, private=c, "
                              "private=d, private=e\r\n"));
    stores_not(GET("Cache-Control: no-store\r\n"), OK(MA60));
    stores(GET("Cache-Control: no-cache\r\n"), OK(MA60));
    stores(GET(""), OK(CL "Cache-Control: x=\"no-store\", max-age=60\r\n"));
    stores_not(GET(""), OK(CL "Cache-Control: x=\"a, max-age=60\"\r\n"));
}

static void
section_3_more_refusals(void **state)
{
    (void)state;
    stores_not(GET(""), OK(CL));                             /* nothing says how long */
    stores_not(GET(""), OK(CL "Cache-Control: public\r\n")); /* nothing to guess from */
    stores(GET("Range: bytes=0-1\r\n"), OK(MA60));
    stores(GET(""), OK(MA60 "Content-Range: bytes 0-1/2\r\n")); /* says nothing in a 200 */
    stores_not(GET("If-Match: \"a\"\r\n"), OK(MA60));
    stores_not(GET("Content-Length: 1\r\n"), OK(MA60));
    stores_not(GET("Connection: upgrade\r\nUpgrade: x\r\n"), OK(MA60));
    stores(GET(""), OK(MA60 "Set-Cookie: a=b\r\n"));
    stores_not(GET(""), OK(CL "Last-Modified: Sun, 06 Nov 1994 07:49:37 GMT\r\n"
                              "Set-Cookie: a=b\r\n"));
    stores(GET(""), OK(MA60 "Set-Cookie: a=b\r\nCache-Control: public\r\n"));
    /* section 3.3: nobody can tell whether it came whole */
    stores_not(GET(""), OK("Cache-Control: max-age=60\r\n"));
    stores_not(GET(""), OK("Cache-Control: max-age=60\r\nTransfer-Encoding: gzip\r\n"));
    stores(GET(""), OK("Cache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n"));
}

static void
section_3_5_authorization(void **state)
{
    (void)state;
    const char *with = GET("Authorization: Basic eA==\r\n");
    stores_not(with, OK(MA60));
    stores(with, OK(CL "Cache-Control: max-age=60, public\r\n"));
    stores(with, OK(CL "Cache-Control: s-maxage=60\r\n"));
    stores(with, OK(CL "Cache-Control: max-age=60, must-revalidate\r\n"));
    stores_not(with, OK(CL "Cache-Control: max-age=60, proxy-revalidate\r\n"));
    stores(with, OK(CL "Cache-Control: max-age=60, proxy-revalidate, public\r\n"));
    struct cache_store *store = help_store(1024 * 1024, 1024);
    assert_true(help_put(store, GET(""), OK(MA60), "", NOW));
    assert_int_equal(help_answer(store, with, NOW), CACHE_MISS);
    assert_true(help_put(store, with, OK(MA60 "Cache-Control: public\r\n"), "", NOW));
    assert_int_equal(help_answer(store, with, NOW), CACHE_FRESH);
    assert_int_equal(help_answer(store, GET(""), NOW), CACHE_FRESH);
    cache_store_free(&store);
}

static void
lifetime_is(const char *response, int64_t want_s)
{
    struct cache__freshness f;
    bool stored = storable(GET(""), response, &f);
    if (stored != (want_s > 0))
        fail_msg("stored %d, wanted lifetime %d: %s", stored, (int)want_s, response);
    if (stored)
        assert_int_equal(f.lifetime_us, want_s * S);
}

static void
section_4_2_1_lifetime(void **state)
{
    (void)state;
    lifetime_is(OK(CL "Cache-Control: max-age=60, s-maxage=30\r\n"), 30);
    lifetime_is(OK(CL "Cache-Control: max-age=\"60\"\r\n"), 60);
    lifetime_is(OK(CL "cache-control: MAX-AGE=60\r\n"), 60);
    lifetime_is(OK(CL "Cache-Control: max-age=60\r\nExpires: 0\r\n"), 60);
    lifetime_is(OK(CL "Date: " NOW_TEXT "\r\nExpires: Sun, 06 Nov 1994 08:50:37 GMT\r\n"), 60);
    lifetime_is(OK(CL "Expires: Sun, 06 Nov 1994 08:50:37 GMT\r\n"), 60);
    lifetime_is(OK(CL "Expires: Sunday, 06-Nov-94 08:50:37 GMT\r\n"), 60);
    lifetime_is(OK(CL "Date: " NOW_TEXT "\r\nExpires: " NOW_TEXT "\r\n"), 0);
    lifetime_is(OK(CL "Expires: 0\r\n"), 0);
    lifetime_is(OK(CL "Expires: tomorrow\r\n"), 0);
    lifetime_is(OK(CL "Cache-Control: max-age=0\r\n"), 0);
    lifetime_is(OK(CL "Cache-Control: max-age=-1\r\n"), 0);
    lifetime_is(OK(CL "Cache-Control: max-age=1.5\r\n"), 0);
    lifetime_is(OK(CL "Cache-Control: max-age=\r\n"), 0);
    lifetime_is(OK(CL "Cache-Control: max-age\r\n"), 0);
    lifetime_is(OK(CL "Cache-Control: max-age=60, max-age=5\r\n"), 5);
    lifetime_is(OK(CL "Cache-Control: s-maxage=0, max-age=60\r\n"), 0);
    lifetime_is(OK(CL "Cache-Control: max-age=99999999999999999999\r\n"), CACHE__SECONDS_MAX);
}

#define LM_10H "Last-Modified: Sat, 05 Nov 1994 22:49:37 GMT\r\n"

static void
section_4_2_2_heuristics(void **state)
{
    (void)state;
    lifetime_is(OK(CL "Date: " NOW_TEXT "\r\n" LM_10H), 3600);
    lifetime_is("HTTP/1.1 404 No\r\n" CL LM_10H "\r\n", 3600);
    lifetime_is("HTTP/1.1 599 Odd\r\nCache-Control: public\r\n" CL LM_10H "\r\n", 3600);
    stores_not(GET(""), "HTTP/1.1 403 No\r\n" CL LM_10H "\r\n");
    lifetime_is(OK(CL "Last-Modified: Thu, 06 Nov 1980 08:49:37 GMT\r\n"), 24 * 3600);
    struct cache__freshness f;
    /* what is told is not guessed over; without a lifetime it is there to be validated */
    assert_true(storable(GET(""), OK(CL LM_10H "Cache-Control: max-age=0\r\n"), &f));
    assert_int_equal(f.lifetime_us, 0);
    assert_true(storable(GET(""), OK(CL "Last-Modified: Mon, 07 Nov 1994 08:49:37 GMT\r\n"), &f));
    assert_int_equal(f.lifetime_us, 0);
}

/* RFC 9213, and Surrogate-Control where it is asked for. */
static void
targeted_fields(void **state)
{
    (void)state;
    lifetime_is(OK(CL "CDN-Cache-Control: max-age=9\r\nCache-Control: no-store\r\n"), 9);
    lifetime_is(OK(CL "CDN-Cache-Control: max-age=0\r\nCache-Control: max-age=9\r\n"), 0);
    lifetime_is(OK(CL "CDN-Cache-Control: foo;a=1, max-age=9\r\nExpires: 0\r\n"), 9);
    lifetime_is(OK(CL "CDN-Cache-Control: foo\r\nCDN-Cache-Control: max-age=9\r\n"), 9);
    lifetime_is(OK(CL "CDN-Cache-Control: no-store=?0, max-age=9\r\n"), 9);
    lifetime_is(OK(CL "CDN-Cache-Control: max-age=99999999999\r\n"), CACHE__SECONDS_MAX);
    stores_not(GET(""), OK(MA60 "CDN-Cache-Control: private\r\n"));
    stores_not(GET(""), OK(MA60 "CDN-Cache-Control: no-store\r\n"));
    /* what is no dictionary, or of the wrong type, or empty, is not there */
    static const char *const broken[] = {"max-age=9, &&&", "max-age=\"9\"", "MAX-AGE=9", "",
                                         "max-age= 9",     "max-age=9,",    "no-store=1"};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        char text[160];
        (void)snprintf(text, sizeof(text), OK(MA60 "CDN-Cache-Control: %s\r\n"), broken[i]);
        lifetime_is(text, 60);
    }
    struct cache_policy policy = cache_policy_default;
    struct cache__freshness f;
    policy.surrogate = true;
    help_request(&req, GET(""));
    help_response(&res, OK(CL "Cache-Control: no-store\r\n"
                              "Surrogate-Control: no-store;them, max-age=30+60;freshet\r\n"));
    assert_true(cache__may_store(&req, &res, HTTP_BODY_LENGTH, &policy, NOW, NOW, &f));
    assert_int_equal(f.lifetime_us, 30 * S);
    assert_int_equal(f.while_revalidate_s, 60);
    assert_false(
        cache__may_store(&req, &res, HTTP_BODY_LENGTH, &cache_policy_default, NOW, NOW, &f));
}

static void
policies(void **state)
{
    (void)state;
    struct cache_policy policy = cache_policy_default;
    struct cache__freshness f;
    help_request(&req, GET(""));
    policy.ttl_us = 5 * S;
    policy.negative_us = 7 * S;
    help_response(&res, OK(MA60));
    assert_true(cache__may_store(&req, &res, HTTP_BODY_LENGTH, &policy, NOW, NOW, &f));
    assert_int_equal(f.lifetime_us, 5 * S);
    help_response(&res, OK(MA60 "Cache-Control: private\r\n"));
    assert_false(cache__may_store(&req, &res, HTTP_BODY_LENGTH, &policy, NOW, NOW, &f));
    policy.ttl_us = CACHE_UNSET;
    help_response(&res, "HTTP/1.1 404 No\r\n" CL "\r\n");
    assert_true(cache__may_store(&req, &res, HTTP_BODY_LENGTH, &policy, NOW, NOW, &f));
    assert_int_equal(f.lifetime_us, 7 * S);
    help_response(&res, OK(MA60 "Set-Cookie: a=b\r\n"));
    policy.set_cookie = CACHE_SET_COOKIE_PUBLIC;
    assert_false(cache__may_store(&req, &res, HTTP_BODY_LENGTH, &policy, NOW, NOW, &f));
    policy.ignore_cookies = true;
    assert_true(cache__may_store(&req, &res, HTTP_BODY_LENGTH, &policy, NOW, NOW, &f));
}

static int64_t
initial_age_s(const char *response, int64_t request_us, int64_t response_us)
{
    struct cache__freshness f;
    help_request(&req, GET(""));
    help_response(&res, response);
    if (!cache__may_store(&req, &res, HTTP_BODY_NONE, &cache_policy_default, request_us,
                          response_us, &f))
        return -1;
    return f.initial_age_us / S;
}

static void
section_4_2_3_age(void **state)
{
    (void)state;
    assert_int_equal(initial_age_s(OK(MA60), NOW, NOW), 0);
    assert_int_equal(initial_age_s(OK(MA60), NOW - 3 * S, NOW), 3); /* response_delay */
    assert_int_equal(initial_age_s(OK(MA60 "Age: 7\r\n"), NOW - 3 * S, NOW), 10);
    assert_int_equal(initial_age_s(OK(MA60 "Date: " NOW_TEXT "\r\n"), NOW, NOW + 5 * S), 5);
    assert_int_equal(initial_age_s(OK(MA60 "Date: " NOW_TEXT "\r\nAge: 20\r\n"), NOW, NOW + 5 * S),
                     25);
    /* a member whose clock is ahead, one that is behind us, and one whose Age is nonsense */
    assert_int_equal(initial_age_s(OK(MA60 "Date: " NOW_TEXT "\r\n"), NOW - 9 * S, NOW - 9 * S), 0);
    assert_int_equal(initial_age_s(OK(MA60 "Age: x\r\n"), NOW, NOW), 0);
    assert_int_equal(initial_age_s(OK(MA60 "Age: -5\r\n"), NOW, NOW), 0);
    assert_int_equal(initial_age_s(OK(MA60 "Age: 7, 9\r\n"), NOW, NOW), 7);
    assert_int_equal(initial_age_s(OK(MA60), NOW, NOW - S), 0); /* our clock was set back */
    assert_int_equal(initial_age_s(OK(MA60 "Age: 59\r\n"), NOW, NOW), 59);
    assert_int_equal(initial_age_s(OK(MA60 "Age: 60\r\n"), NOW, NOW), -1); /* dead on arrival */
    assert_int_equal(initial_age_s(OK(MA60 "Age: 99999999999999999999\r\n"), NOW, NOW), -1);
    struct cache__freshness f;
    assert_true(storable(GET(""), OK(MA60 "Age: 10\r\n"), &f));
    assert_int_equal(cache__age_us(&f, NOW + 5 * S), 15 * S);
    assert_int_equal(cache__age_us(&f, NOW - 5 * S), 10 * S);
}

/* One stored response, age 0 at NOW, lifetime 60 s. */
static enum cache_answer
asked(const char *response, const char *request, int64_t age_s, int64_t stale_max_us)
{
    struct cache_store *store = help_store(1024 * 1024, 1024);
    assert_true(help_put(store, GET(""), response, "", NOW));
    help_request(&req, request);
    struct cache_request ask = help_ask(&req, NOW + age_s * S);
    ask.stale_max_us = stale_max_us;
    struct cache_entry *entry;
    enum cache_answer answer = help_lookup(store, &ask, &entry);
    assert_int_equal(entry != NULL, answer == CACHE_FRESH || answer == CACHE_STALE_ALLOWED);
    cache_entry_unref(&entry);
    cache_store_free(&store);
    return answer;
}
#define ASKED(cc, age_s) asked(OK(MA60), GET("Cache-Control: " cc "\r\n"), (age_s), 0)

static void
section_5_2_1_request_directives(void **state)
{
    (void)state;
    assert_int_equal(ASKED("no-store", 0), CACHE_BYPASS);
    assert_int_equal(ASKED("no-cache", 0), CACHE_MISS);
    assert_int_equal(asked(OK(MA60), GET("Pragma: no-cache\r\n"), 0, 0), CACHE_MISS);
    assert_int_equal(asked(OK(MA60), GET("Pragma: no-cache\r\nCache-Control: max-age=9\r\n"), 0, 0),
                     CACHE_FRESH);
    assert_int_equal(ASKED("max-age=10", 10), CACHE_FRESH);
    assert_int_equal(ASKED("max-age=10", 11), CACHE_MISS);
    assert_int_equal(ASKED("max-age=0", 0), CACHE_MISS);
    assert_int_equal(ASKED("min-fresh=10", 50), CACHE_FRESH);
    assert_int_equal(ASKED("min-fresh=10", 51), CACHE_MISS);
    assert_int_equal(ASKED("max-stale=10", 59), CACHE_FRESH);
    assert_int_equal(ASKED("max-stale=10", 70), CACHE_STALE_ALLOWED);
    assert_int_equal(ASKED("max-stale=10", 71), CACHE_MISS);
    assert_int_equal(ASKED("max-stale", 100000), CACHE_STALE_ALLOWED);
    assert_int_equal(ASKED("max-stale=", 61), CACHE_MISS);
    assert_int_equal(ASKED("only-if-cached", 0), CACHE_FRESH);
    assert_int_equal(ASKED("only-if-cached", 60), CACHE_GATEWAY_TIMEOUT);
    assert_int_equal(ASKED("only-if-cached, no-cache", 0), CACHE_GATEWAY_TIMEOUT);
    assert_int_equal(ASKED("only-if-cached\r\nIf-Match: *", 0), CACHE_GATEWAY_TIMEOUT);
}

static void
section_4_2_4_stale(void **state)
{
    (void)state;
    assert_int_equal(asked(OK(MA60), GET(""), 60, 0), CACHE_MISS);
    assert_int_equal(asked(OK(MA60), GET(""), 70, 10 * S), CACHE_STALE_ALLOWED);
    assert_int_equal(asked(OK(MA60), GET(""), 71, 10 * S), CACHE_MISS);
    assert_int_equal(asked(OK(MA60), GET(""), 59, 10 * S), CACHE_FRESH);
    /* relief does not override what the request bounds */
    assert_int_equal(asked(OK(MA60), GET("Cache-Control: max-age=100\r\n"), 61, 10 * S),
                     CACHE_MISS);
    static const char *const forbids[] = {"must-revalidate", "proxy-revalidate", "s-maxage=60"};
    for (size_t i = 0; i < 3; i++) {
        char response[128];
        (void)snprintf(response, sizeof(response), OK(CL "Cache-Control: max-age=60, %s\r\n"),
                       forbids[i]);
        assert_int_equal(asked(response, GET(""), 59, 0), CACHE_FRESH);
        assert_int_equal(asked(response, GET(""), 61, 10 * S), CACHE_MISS);
        assert_int_equal(asked(response, GET("Cache-Control: max-stale\r\n"), 61, 0), CACHE_MISS);
    }
}

/* RFC 5861, and what answers when no member does. */
static void
stale_windows(void **state)
{
    (void)state;
    const char *swr = OK(CL "Cache-Control: max-age=60, stale-while-revalidate=10\r\n");
    assert_int_equal(asked(swr, GET(""), 70, 0), CACHE_STALE_ALLOWED);
    assert_int_equal(asked(swr, GET(""), 71, 0), CACHE_MISS);
    assert_int_equal(asked(swr, GET("Cache-Control: max-age=100\r\n"), 65, 0), CACHE_MISS);
    struct cache__freshness f;
    struct cache__control asks;
    help_request(&req, GET(""));
    cache__control_read(&req, &asks);
    const struct cache_policy *policy = &cache_policy_default;
    assert_true(storable(GET(""), OK(MA60), &f));
    assert_true(cache__stale_serves(&f, &asks, policy, NOW + 3600 * S, false));
    assert_false(cache__stale_serves(&f, &asks, policy, NOW + 3600 * S, true));
    assert_false(cache__stale_serves(&f, &asks, policy, NOW + 24 * 3600 * S + 61 * S, false));
    assert_true(storable(GET(""), OK(CL "Cache-Control: max-age=60, stale-if-error=9\r\n"), &f));
    assert_true(cache__stale_serves(&f, &asks, policy, NOW + 69 * S, true));
    assert_false(cache__stale_serves(&f, &asks, policy, NOW + 70 * S, false));
    assert_true(storable(GET(""),
                         OK(CL "Cache-Control: max-age=60, must-revalidate, "
                               "stale-if-error=9\r\n"),
                         &f));
    assert_false(cache__stale_serves(&f, &asks, policy, NOW + 61 * S, false));
    assert_true(storable(GET(""), OK(MA60), &f));
    help_request(&req, GET("Cache-Control: no-cache\r\n"));
    cache__control_read(&req, &asks);
    assert_false(cache__stale_serves(&f, &asks, policy, NOW + 61 * S, false));
}

static void
section_4_what_bypasses(void **state)
{
    (void)state;
    assert_int_equal(asked(OK(MA60), GET("If-Match: *\r\n"), 0, 0), CACHE_BYPASS);
    assert_int_equal(asked(OK(MA60), GET("If-Unmodified-Since: " NOW_TEXT "\r\n"), 0, 0),
                     CACHE_BYPASS);
    assert_int_equal(asked(OK(MA60), GET("Transfer-Encoding: chunked\r\n"), 0, 0), CACHE_BYPASS);
    assert_int_equal(asked(OK(MA60), GET("Connection: upgrade\r\nUpgrade: x\r\n"), 0, 0),
                     CACHE_BYPASS);
    assert_int_equal(asked(OK(MA60),
                           "DELETE /x HTTP/1.1\r\nHost: a\r\nCache-Control: only-if-cached\r\n\r\n",
                           0, 0),
                     CACHE_BYPASS);
    assert_int_equal(asked(OK(MA60), GET("If-None-Match: *\r\n"), 0, 0), CACHE_FRESH);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(section_3_methods_and_statuses),
        cmocka_unit_test(section_3_directives),
        cmocka_unit_test(section_3_more_refusals),
        cmocka_unit_test(section_3_5_authorization),
        cmocka_unit_test(section_4_2_1_lifetime),
        cmocka_unit_test(section_4_2_2_heuristics),
        cmocka_unit_test(targeted_fields),
        cmocka_unit_test(policies),
        cmocka_unit_test(section_4_2_3_age),
        cmocka_unit_test(section_5_2_1_request_directives),
        cmocka_unit_test(section_4_2_4_stale),
        cmocka_unit_test(stale_windows),
        cmocka_unit_test(section_4_what_bypasses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
