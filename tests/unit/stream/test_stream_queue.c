/* SPDX-License-Identifier: Apache-2.0 */
/* test_stream_queue.c - the bounded queue: what is dropped, what is refused, what is handed on. */
#include "stream/stream_queue.h"

#include "base/fr_hash.h"
#include "base/fr_mem.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

/* Queues `bytes` of one letter. */
static enum fr_err
put(struct stream_queue *queue, enum stream_mark_kind kind, char letter, size_t bytes)
{
    char text[4096];
    size_t before = queue->buf.len;
    memset(text, letter, sizeof(text));
    enum fr_err err = fr_buf_append(&queue->buf, text, bytes);
    err = stream_queue_commit(queue, before, kind, err);
    stream_queue_check(queue);
    return err;
}

static void
expect(struct stream_queue *queue, const char *text, size_t elements)
{
    struct fr_buf out;
    fr_buf_init(&out, queue->buf.max_bytes);
    assert_int_equal(stream_queue_take(queue, &out), elements);
    stream_queue_check(queue);
    assert_int_equal(queue->buf.len, 0);
    assert_true(fr_view_is(fr_buf_view(&out), text));
    fr_buf_fini(&out);
}

static void
test_handed_on_in_order(void **state)
{
    struct stream_queue queue;
    (void)state;
    stream_queue_init(&queue, 10, 10);
    expect(&queue, "", 0);
    assert_int_equal(put(&queue, STREAM_MARK_FRAME, 'f', 1), FR_OK);
    assert_int_equal(put(&queue, STREAM_MARK_REPORT, 'r', 2), FR_OK);
    assert_int_equal(put(&queue, STREAM_MARK_STANZA, 's', 3), FR_OK);
    expect(&queue, "frrsss", 3);
    expect(&queue, "", 0);
    stream_queue_fini(&queue);
}

static void
test_the_oldest_reports_go(void **state)
{
    struct stream_queue queue;
    (void)state;
    stream_queue_init(&queue, 10, 10);
    assert_int_equal(put(&queue, STREAM_MARK_REPORT, 'a', 3), FR_OK);
    assert_int_equal(put(&queue, STREAM_MARK_STANZA, 's', 3), FR_OK);
    assert_int_equal(put(&queue, STREAM_MARK_REPORT, 'b', 3), FR_OK);
    assert_int_equal(put(&queue, STREAM_MARK_REPORT, 'c', 1), FR_OK); /* just full */
    assert_int_equal(queue.reports_dropped, 0);
    assert_int_equal(put(&queue, STREAM_MARK_REPORT, 'd', 2), FR_OK);
    assert_int_equal(queue.reports_dropped, 1);
    expect(&queue, "sssbbbcdd", 4);
    stream_queue_fini(&queue);
}

static void
test_only_as_many_as_must(void **state)
{
    struct stream_queue queue;
    (void)state;
    stream_queue_init(&queue, 10, 10);
    for (char c = 'a'; c < 'k'; c++)
        assert_int_equal(put(&queue, STREAM_MARK_REPORT, c, 1), FR_OK);
    assert_int_equal(put(&queue, STREAM_MARK_STANZA, 'S', 4), FR_OK);
    assert_int_equal(queue.reports_dropped, 4);
    expect(&queue, "efghijSSSS", 7);
    stream_queue_fini(&queue);
}

static void
test_requests_are_refused_and_never_dropped(void **state)
{
    struct stream_queue queue;
    (void)state;
    stream_queue_init(&queue, 10, 10);
    assert_int_equal(put(&queue, STREAM_MARK_REPORT, 'r', 1), FR_OK);
    assert_int_equal(put(&queue, STREAM_MARK_STANZA, 's', 9), FR_OK);
    assert_int_equal(put(&queue, STREAM_MARK_STANZA, 't', 2), FR_ERR_FULL);
    assert_int_equal(queue.refused, 1);
    assert_int_equal(put(&queue, STREAM_MARK_REPORT, 'u', 2), FR_ERR_FULL);
    assert_int_equal(put(&queue, STREAM_MARK_STANZA, 'v', 1), FR_OK);
    expect(&queue, "sssssssssv", 2);
    stream_queue_fini(&queue);
}

static void
test_frames_have_room_kept_free(void **state)
{
    struct stream_queue queue;
    (void)state;
    stream_queue_init(&queue, 10, 10);
    assert_int_equal(put(&queue, STREAM_MARK_STANZA, 's', 10), FR_OK);
    assert_int_equal(put(&queue, STREAM_MARK_FRAME, 'f', 4000), FR_OK);
    assert_int_equal(queue.refused + queue.reports_dropped, 0);
    stream_queue_clear(&queue);
    expect(&queue, "", 0);
    stream_queue_fini(&queue);
}

static void
test_too_large_for_the_peer(void **state)
{
    struct stream_queue queue;
    (void)state;
    stream_queue_init(&queue, 100, 10);
    assert_int_equal(put(&queue, STREAM_MARK_REPORT, 'r', 10), FR_OK);
    assert_int_equal(put(&queue, STREAM_MARK_REPORT, 't', 11), FR_ERR_RANGE);
    assert_int_equal(put(&queue, STREAM_MARK_STANZA, 't', 11), FR_ERR_RANGE);
    expect(&queue, "rrrrrrrrrr", 1);
    stream_queue_fini(&queue);
}

static void
test_memory_that_is_out(void **state)
{
    struct stream_queue queue;
    (void)state;
    stream_queue_init(&queue, 1000, 1000);
    for (uint64_t countdown = 1; countdown < 3; countdown++) {
        fr_mem_fail_after(countdown);
        assert_int_equal(put(&queue, STREAM_MARK_STANZA, 's', 5), FR_ERR_NOMEM);
        fr_mem_fail_after(0);
        assert_int_equal(queue.buf.len, 0);
        fr_buf_fini(&queue.buf); /* so that the next round allocates it again */
    }
    assert_int_equal(put(&queue, STREAM_MARK_STANZA, 's', 5), FR_OK);
    expect(&queue, "sssss", 1);
    stream_queue_fini(&queue);
}

static void
test_whatever_comes(void **state)
{
    const uint64_t seed = 31;
    struct fr_rand rand;
    struct stream_queue queue;
    uint64_t reports = 0, taken = 0, put_in = 0;
    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    fr_rand_init(&rand, seed);
    stream_queue_init(&queue, 2000, 500);
    for (unsigned round = 0; round < 20000; round++) {
        enum stream_mark_kind kind =
            fr_rand_below(&rand, 3) ? STREAM_MARK_REPORT : STREAM_MARK_STANZA;
        reports += kind == STREAM_MARK_REPORT;
        put_in += put(&queue, kind, 'x', 1 + fr_rand_below(&rand, 500)) == FR_OK;
        assert_true(queue.buf.len <= 2000);
        if (fr_rand_below(&rand, 12) == 0) {
            struct fr_buf out;
            fr_buf_init(&out, queue.buf.max_bytes);
            taken += stream_queue_take(&queue, &out);
            fr_buf_fini(&out);
        }
    }
    taken += queue.mark_count;
    assert_true(queue.reports_dropped > 0 && queue.reports_dropped < reports);
    assert_true(queue.refused > 0);
    /* Nothing is lost uncounted: what came is there, or dropped, or refused. */
    assert_int_equal(taken + queue.reports_dropped + queue.refused, 20000);
    assert_true(put_in >= taken);
    stream_queue_fini(&queue);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handed_on_in_order),
        cmocka_unit_test(test_the_oldest_reports_go),
        cmocka_unit_test(test_only_as_many_as_must),
        cmocka_unit_test(test_requests_are_refused_and_never_dropped),
        cmocka_unit_test(test_frames_have_room_kept_free),
        cmocka_unit_test(test_too_large_for_the_peer),
        cmocka_unit_test(test_memory_that_is_out),
        cmocka_unit_test(test_whatever_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
