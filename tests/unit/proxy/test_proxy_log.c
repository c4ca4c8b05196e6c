/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_proxy_log.c - the ring between a worker and the control thread: order, wrap, full, calls,
 * and two threads at it.
 */
#include "proxy/proxy_priv.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define RING_BYTES 65536
#define RECORDS 200000

struct called {
    struct loop *loop;
    struct proxy_ring *ring;
    unsigned soon, now;
};

static void
on_call(void *ctx, bool now)
{
    struct called *called = ctx;
    if (now)
        called->now++;
    else
        called->soon++;
}

static void
called_init(struct called *called)
{
    *called = (struct called){0};
    assert_int_equal(loop_new(NULL, &called->loop), FR_OK);
    called->ring = proxy_ring_new(RING_BYTES, called->loop, on_call, called);
}

static void
called_fini(struct called *called)
{
    loop_drain_posts(called->loop);
    fr_free(called->ring);
    loop_free(&called->loop);
}

/* A record that carries its number, and texts of a length that goes with it. */
static bool
put_number(struct proxy_ring *ring, uint64_t number)
{
    char texts[4096];
    size_t len = number * 37 % sizeof(texts);
    struct proxy_log_record record = {.request_bytes = number};
    memset(texts, (int)(number & 0xff), len);
    record.lens[PROXY_LOG_TARGET] = (uint16_t)len;
    return proxy_ring_put(ring, &record, texts, len);
}

static void
check_number(const struct proxy_log_record *record, uint64_t number)
{
    const char *texts = (const char *)(record + 1);
    assert_int_equal(record->request_bytes, number);
    assert_int_equal(record->lens[PROXY_LOG_TARGET], number * 37 % 4096);
    for (size_t i = 0; i < record->lens[PROXY_LOG_TARGET]; i++)
        if (texts[i] != (char)(number & 0xff))
            fail_msg("record %llu, byte %zu", (unsigned long long)number, i);
}

static void
test_order_and_wrap(void **state)
{
    struct called called;
    (void)state;
    called_init(&called);
    assert_null(proxy_ring_peek(called.ring));
    for (uint64_t i = 0; i < 5000; i++) {
        assert_true(put_number(called.ring, 2 * i));
        assert_true(put_number(called.ring, 2 * i + 1));
        for (uint64_t k = 2 * i; k < 2 * i + 2; k++) {
            const struct proxy_log_record *record = proxy_ring_peek(called.ring);
            assert_non_null(record);
            assert_ptr_equal(proxy_ring_peek(called.ring), record);
            check_number(record, k);
            proxy_ring_take(called.ring, record);
        }
        assert_null(proxy_ring_peek(called.ring));
    }
    called_fini(&called);
}

static void
test_full(void **state)
{
    struct called called;
    uint64_t in = 0, out = 0;
    (void)state;
    called_init(&called);
    while (put_number(called.ring, in))
        in++;
    assert_true(in > RING_BYTES / 4096);
    assert_false(put_number(called.ring, in)); /* and stays full, with nothing of it spoilt */
    for (int round = 0; round < 1000; round++) {
        const struct proxy_log_record *record = proxy_ring_peek(called.ring);
        check_number(record, out++);
        proxy_ring_take(called.ring, record);
        while (put_number(called.ring, in))
            in++;
    }
    const struct proxy_log_record *record;
    while ((record = proxy_ring_peek(called.ring))) {
        check_number(record, out++);
        proxy_ring_take(called.ring, record);
    }
    assert_int_equal(in, out);
    called_fini(&called);
}

/* Once until it came, and once more when the ring is half full; never a message that is still on
 * its way. */
static void
test_calls(void **state)
{
    struct called called;
    (void)state;
    called_init(&called);
    assert_true(put_number(called.ring, 1));
    assert_true(put_number(called.ring, 2));
    proxy_ring_came(called.ring); /* by itself, before the message: it stays posted */
    assert_true(put_number(called.ring, 3));
    loop_drain_posts(called.loop);
    assert_int_equal(called.soon, 1);
    assert_int_equal(called.now, 0);
    assert_true(put_number(called.ring, 4)); /* heard, but it has not come yet */
    loop_drain_posts(called.loop);
    assert_int_equal(called.soon, 1);
    proxy_ring_came(called.ring);
    while (put_number(called.ring, 5))
        ;
    loop_drain_posts(called.loop);
    assert_int_equal(called.soon, 2);
    assert_int_equal(called.now, 1);
    const struct proxy_log_record *record;
    while ((record = proxy_ring_peek(called.ring)))
        proxy_ring_take(called.ring, record);
    proxy_ring_came(called.ring);
    assert_true(put_number(called.ring, 6));
    loop_drain_posts(called.loop);
    assert_int_equal(called.soon, 3);
    assert_int_equal(called.now, 1);
    called_fini(&called);
}

struct race {
    struct called called;
    uint64_t dropped;
};

static void *
writer_main(void *ctx)
{
    struct race *race = ctx;
    for (uint64_t i = 0; i < RECORDS; i++) {
        struct proxy_log_record record = {.request_bytes = i, .response_bytes = i * 3};
        char texts[64];
        size_t len = i % sizeof(texts);
        memset(texts, 'x', len);
        record.lens[PROXY_LOG_TARGET] = (uint16_t)len;
        if (!proxy_ring_put(race->called.ring, &record, texts, len))
            race->dropped++;
    }
    return NULL;
}

static void
test_two_threads(void **state)
{
    struct race race = {.dropped = 0};
    pthread_t writer;
    uint64_t seen = 0, last = 0;
    (void)state;
    called_init(&race.called);
    assert_int_equal(pthread_create(&writer, NULL, writer_main, &race), 0);
    for (bool done = false; !done;) {
        const struct proxy_log_record *record;
        done = pthread_tryjoin_np(writer, NULL) == 0;
        loop_drain_posts(race.called.loop);
        proxy_ring_came(race.called.ring);
        while ((record = proxy_ring_peek(race.called.ring))) {
            assert_true(seen == 0 || record->request_bytes > last);
            assert_int_equal(record->response_bytes, record->request_bytes * 3);
            assert_int_equal(record->lens[PROXY_LOG_TARGET], record->request_bytes % 64);
            last = record->request_bytes;
            seen++;
            proxy_ring_take(race.called.ring, record);
        }
    }
    assert_int_equal(seen + race.dropped, RECORDS);
    assert_true(race.called.soon + race.called.now > 0);
    called_fini(&race.called);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_wrap),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
