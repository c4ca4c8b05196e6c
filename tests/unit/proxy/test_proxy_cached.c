/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_proxy_cached.c - answers from the cache, filling it, and what relief changes.
 */
#include "proxy_fixture.h"

#define BODY_BYTES 400000 /* several parts and several sends */

static void
serve(struct origin *origin, int fd)
{
    char head[4096], line[512], *body = malloc(BODY_BYTES);
    memset(body, 'b', BODY_BYTES);
    while (sock_read(fd, head, sizeof(head), "\r\n\r\n", 0) > 0 && strstr(head, "\r\n\r\n")) {
        origin->requests++;
        size_t len = strstr(head, " /large ") ? BODY_BYTES : 5;
        const char *extra = strstr(head, " /vary ") ? "Vary: X-A\r\n" : "";
        const char *fresh = strstr(head, " /short ") ? "max-age=1" : "max-age=1000";
        if (strstr(head, " /cut ")) {
            (void)sock_text(fd, "HTTP/1.1 200 OK\r\nCache-Control: max-age=1000\r\n"
                                "Content-Length: 10\r\n\r\n01234");
            break;
        }
        if (strstr(head, " /chunked "))
            (void)snprintf(line, sizeof(line),
                           "HTTP/1.1 200 OK\r\nCache-Control: max-age=1000\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n2\r\nbb\r\n3\r\nbbb\r\n0\r\n\r\n");
        else
            (void)snprintf(line, sizeof(line),
                           "HTTP/1.1 200 OK\r\nCache-Control: %s\r\nETag: \"v1\"\r\n%s"
                           "Content-Length: %zu\r\n\r\n",
                           fresh, extra, len);
        if (!sock_text(fd, line) || (!strstr(head, " /chunked ") &&
                                     strncmp(head, "HEAD ", 5) != 0 && !sock_write(fd, body, len)))
            break;
    }
    free(body);
}

struct world {
    struct fixture f;
    struct origin *origin;
};

static void
world_init(struct world *w)
{
    struct cache_options options = {.memory_bytes = 16 << 20, .object_bytes_max = 4 << 20};
    fixture_init(&w->f);
    w->origin = origin_new(serve, NULL);
    (void)fixture_member(&w->f, w->origin);
    assert_int_equal(cache_store_new(&options, &w->f.cache), FR_OK);
}

static void
world_fini(struct world *w)
{
    fixture_fini(&w->f);
    origin_free(w->origin);
}

static void
ask_for(struct fixture *f, const char *method, const char *path, const char *fields,
        struct answer *answer)
{
    char text[512];
    (void)snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: a\r\n%s\r\n", method, path, fields);
    ask(f, text, answer);
}

static void
a_second_request_is_a_hit(void **state)
{
    (void)state;
    static const char *const paths[] = {"/", "/large", "/chunked"};
    for (size_t i = 0; i < 3; i++) {
        struct world w;
        struct answer first, answer;
        world_init(&w);
        fixture_start(&w.f);
        ask_for(&w.f, "GET", paths[i], "", &first);
        assert_int_equal(first.status, 200);
        assert_null(strstr(first.head, "\r\nAge: "));
        for (int k = 0; k < 3; k++) {
            ask_for(&w.f, "GET", paths[i], k == 2 ? "Connection: close\r\n" : "", &answer);
            assert_int_equal(answer.status, 200);
            assert_true(answer.whole);
            assert_int_equal(answer.body_len, first.body_len);
            assert_memory_equal(answer.body, first.body, first.body_len);
            assert_non_null(strstr(answer.head, "\r\nAge: "));
            assert_non_null(strstr(answer.head, "\r\nVia: 1.1 freshet\r\n"));
            assert_non_null(strstr(answer.head, "\r\nContent-Length: "));
            assert_null(strcasestr(answer.head, "chunked"));
            answer_free(&answer);
        }
        ask_for(&w.f, "HEAD", paths[i], "", &answer);
        assert_int_equal(answer.status, 200);
        assert_non_null(strstr(answer.head, "\r\nAge: "));
        answer_free(&answer);
        assert_int_equal(w.origin->requests, 1);
        assert_int_equal(fixture_counters(&w.f).cache_hits, 4);
        assert_int_equal(fixture_counters(&w.f).cache_misses, 1);
        answer_free(&first);
        world_fini(&w);
    }
}

static void
hits_follow_one_another_on_a_connection(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    char text[100 * 40];
    size_t len = 0;
    world_init(&w);
    fixture_start(&w.f);
    ask_for(&w.f, "GET", "/", "", &answer);
    answer_free(&answer);
    for (int i = 0; i < 100; i++)
        len += (size_t)sprintf(text + len, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    int fd = sock_connect(&w.f.bound);
    assert_true(sock_write(fd, text, len));
    for (int i = 0; i < 100; i++) {
        answer_read(fd, "GET", &answer);
        assert_int_equal(answer.status, 200);
        assert_string_equal(answer.body, "bbbbb");
        answer_free(&answer);
    }
    close(fd);
    assert_int_equal(w.origin->requests, 1);
    world_fini(&w);
}

static void
conditions_are_answered_with_304(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_init(&w);
    fixture_start(&w.f);
    ask_for(&w.f, "GET", "/", "", &answer);
    answer_free(&answer);
    ask_for(&w.f, "GET", "/", "If-None-Match: \"v1\"\r\n", &answer);
    assert_int_equal(answer.status, 304);
    assert_non_null(strstr(answer.head, "\r\nETag: \"v1\"\r\n"));
    assert_non_null(strstr(answer.head, "\r\nCache-Control: "));
    assert_null(strstr(answer.head, "\r\nContent-Length: "));
    answer_free(&answer);
    ask_for(&w.f, "GET", "/", "If-None-Match: \"v2\"\r\n", &answer);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    assert_int_equal(w.origin->requests, 1);
    world_fini(&w);
}

static void
variants_and_hosts_are_apart(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_init(&w);
    fixture_start(&w.f);
    for (int round = 0; round < 2; round++) {
        ask_for(&w.f, "GET", "/vary", "X-A: 1\r\n", &answer);
        answer_free(&answer);
        ask_for(&w.f, "GET", "/vary", "X-A: 2\r\n", &answer);
        answer_free(&answer);
        ask(&w.f, "GET /vary HTTP/1.1\r\nHost: b\r\nX-A: 1\r\n\r\n", &answer);
        answer_free(&answer);
        assert_int_equal(w.origin->requests, 3);
    }
    world_fini(&w);
}

static void
cut_responses_are_not_stored(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_init(&w);
    fixture_start(&w.f);
    for (unsigned i = 1; i <= 2; i++) {
        ask_for(&w.f, "GET", "/cut", "", &answer);
        assert_false(answer.whole);
        answer_free(&answer);
        assert_int_equal(w.origin->requests, i);
    }
    world_fini(&w);
}

static void
a_change_invalidates(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_init(&w);
    fixture_start(&w.f);
    ask_for(&w.f, "GET", "/", "", &answer);
    answer_free(&answer);
    ask_for(&w.f, "DELETE", "/", "", &answer);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    ask_for(&w.f, "GET", "/", "", &answer);
    assert_null(strstr(answer.head, "\r\nAge: "));
    answer_free(&answer);
    assert_int_equal(w.origin->requests, 3);
    world_fini(&w);
}

static void
only_if_cached_and_cache_off(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_init(&w);
    fixture_start(&w.f);
    ask_for(&w.f, "GET", "/", "Cache-Control: only-if-cached\r\n", &answer);
    assert_int_equal(answer.status, 504);
    answer_free(&answer);
    assert_int_equal(w.origin->requests, 0);
    world_fini(&w);
    world_init(&w);
    w.f.route->cache = CONFIG_CACHE_OFF;
    fixture_start(&w.f);
    for (int i = 0; i < 2; i++) {
        ask_for(&w.f, "GET", "/", "", &answer);
        answer_free(&answer);
    }
    assert_int_equal(w.origin->requests, 2);
    world_fini(&w);
}

static void
relief_serves_stale_and_sheds(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_init(&w);
    w.f.route->priority = CONFIG_PRIORITY_LOW;
    w.f.route->stale_us = 60000000;
    fixture_start(&w.f);
    ask_for(&w.f, "GET", "/short", "", &answer);
    answer_free(&answer);
    w.f.relief = 1u << CONFIG_STEP_STALE | 1u << CONFIG_STEP_SHED;
    fixture_publish(&w.f, 1);
    fixture_until(proxy_generation(w.f.proxy) == w.f.generation);
    (void)poll(NULL, 0, 2100); /* past max-age=1: the store counts whole seconds */
    ask_for(&w.f, "GET", "/short", "", &answer);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.head, "\r\nAge: "));
    answer_free(&answer);
    assert_int_equal(fixture_counters(&w.f).cache_stale, 1);
    ask_for(&w.f, "GET", "/other", "", &answer);
    assert_int_equal(answer.status, 503);
    assert_non_null(strstr(answer.head, "\r\nRetry-After: 1\r\n"));
    answer_free(&answer);
    assert_int_equal(fixture_counters(&w.f).shed, 1);
    assert_int_equal(w.origin->requests, 1);
    w.f.relief = 0;
    fixture_publish(&w.f, 1);
    fixture_until(proxy_generation(w.f.proxy) == w.f.generation);
    ask_for(&w.f, "GET", "/short", "", &answer);
    assert_null(strstr(answer.head, "\r\nAge: "));
    answer_free(&answer);
    assert_int_equal(w.origin->requests, 2);
    world_fini(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_request_is_a_hit),
        cmocka_unit_test(hits_follow_one_another_on_a_connection),
        cmocka_unit_test(conditions_are_answered_with_304),
        cmocka_unit_test(variants_and_hosts_are_apart),
        cmocka_unit_test(cut_responses_are_not_stored),
        cmocka_unit_test(a_change_invalidates),
        cmocka_unit_test(only_if_cached_and_cache_off),
        cmocka_unit_test(relief_serves_stale_and_sheds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
