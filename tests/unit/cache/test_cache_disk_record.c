/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cache_disk_record.c - a response as bytes and back: whole, cut anywhere, any bit turned.
 */
#include "disk_help.h"

#include <stdio.h>

#define START CACHE_DISK_SEGMENT_HEAD_BYTES
#define BODY_BYTES 70000 /* two pieces */

static struct help_disk help;
static struct cache_disk_place place;

static char *
record(void)
{
    return help.file + cache_disk_segment_at(&help.layout, 0) + START;
}

/* One response on disk, in a record of `body` bytes, and none in memory. */
static void
make(const char *fields, size_t body_bytes)
{
    static char body[BODY_BYTES + 1], response[512];
    uint64_t at = START;
    help = help_disk_new();
    for (size_t i = 0; i < body_bytes; i++)
        body[i] = (char)('a' + i % 26);
    body[body_bytes] = '\0';
    (void)snprintf(response, sizeof(response),
                   "HTTP/1.1 200 Very Good\r\n%sContent-Length: %zu\r\n\r\n", fields, body_bytes);
    cache_disk_ready(help.disk);
    assert_true(help_put(help.store, GET("A: 1\r\n"), response, body, NOW));
    assert_int_equal(help_write(&help, 0, 1, &at), 1);
    help_disk_end(&help);
    help_disk_begin(&help);
    assert_int_equal(help_scan(&help, 0, 1), 1);
    assert_true(help_find(&help, GET("A: 1\r\n"), &place));
}

static enum cache_disk_step
load(size_t bytes, bool *out_there)
{
    return help_load_bytes(&help, &place, fr_view_make(record(), bytes), out_there);
}

#define FIELDS                                                                                     \
    "Cache-Control: max-age=60, stale-while-revalidate=10, must-revalidate\r\nETag: \"v\"\r\n"     \
    "Vary: A\r\nX-Empty: \r\nX: 1\r\nX: 2\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

static void
all_of_it_comes_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 7, 8, 65535, 65536, 65537, BODY_BYTES};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct cache_entry *entry;
        struct cache_validators validators;
        struct fr_view part;
        bool there;
        size_t at = 0;
        make(FIELDS, sizes[i]);
        assert_int_equal(load(place.bytes, &there), CACHE_DISK_WHOLE);
        assert_true(there);
        assert_int_equal(help_get(help.store, GET("A: 1\r\n"), NOW, &entry), CACHE_FRESH);
        assert_int_equal(cache_entry_body_bytes(entry), sizes[i]);
        for (size_t p = 0; cache_entry_body(entry, p, &part); p++)
            for (size_t b = 0; b < part.len; b++, at++)
                assert_int_equal(part.ptr[b], 'a' + at % 26);
        assert_int_equal(at, sizes[i]);
        struct fr_view head = cache_entry_head(entry);
        assert_true(fr_view_starts(head, FR_VIEW("HTTP/1.1 200 Very Good\r\n" FIELDS "Date: ")));
        cache_entry_validators(entry, &validators);
        assert_true(fr_view_is(validators.etag, "\"v\""));
        assert_true(fr_view_is(validators.modified, "Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_true(cache_entry_must_validate(entry));
        assert_int_equal(cache_entry_left_s(entry, NOW + 10 * S), 50);
        cache_entry_unref(&entry);
        help_disk_free(&help);
    }
}

static void
cut_anywhere_is_bad(void **state)
{
    (void)state;
    bool there;
    make(FIELDS, 100);
    for (size_t bytes = 0; bytes < place.bytes; bytes++) {
        assert_int_equal(load(bytes, &there), CACHE_DISK_BAD);
        assert_false(there);
    }
    assert_int_equal(help_counters(help.store).entries, 0);
    assert_int_equal(help_counters(help.store).head_bytes, 0); /* nothing leaked */
    help_disk_free(&help);
}

static void
any_turned_bit_is_bad(void **state)
{
    (void)state;
    bool there;
    make(FIELDS, 100);
    for (size_t i = 0; i < place.bytes; i++) {
        char bit = (char)(1 << i % 8);
        record()[i] = (char)(record()[i] ^ bit);
        assert_int_equal(load(place.bytes, &there), CACHE_DISK_BAD);
        assert_false(there);
        record()[i] = (char)(record()[i] ^ bit);
    }
    assert_int_equal(load(place.bytes, &there), CACHE_DISK_WHOLE);
    assert_true(there);
    help_disk_free(&help);
}

static void
a_scan_of_any_cut_or_turned_bit_ends(void **state)
{
    (void)state;
    struct cache_disk_record_view view;
    size_t want, head;
    make(FIELDS, 100);
    head = cache_disk_head_bytes(fr_view_make(record(), CACHE_DISK_FIRST_BYTES));
    for (size_t bytes = 0; bytes < head; bytes++) {
        assert_int_equal(
            cache_disk_scan(help.disk, 0, 1, START, fr_view_make(record(), bytes), &view, &want),
            CACHE_DISK_SCAN_SHORT);
        assert_true(want > bytes && want <= head);
    }
    for (size_t i = 0; i < head; i++) {
        bool front = i < CACHE_DISK_FIRST_BYTES;
        record()[i] ^= 4;
        enum cache_disk_scan scan =
            cache_disk_scan(help.disk, 0, 1, START, fr_view_make(record(), head), &view, &want);
        /* Behind a good front the next record is found, and this one is not. */
        assert_true(front ? scan != CACHE_DISK_SCAN_RECORD
                          : scan == CACHE_DISK_SCAN_RECORD && view.torn &&
                                view.place.bytes == place.bytes);
        record()[i] ^= 4;
    }
    struct fr_view whole = fr_view_make(record(), head);
    /* Of an earlier lap, or behind the segment's end. */
    assert_int_equal(cache_disk_scan(help.disk, 0, 2, START, whole, &view, &want),
                     CACHE_DISK_SCAN_END);
    assert_int_equal(
        cache_disk_scan(help.disk, 0, 1, help.layout.segment_bytes - head, whole, &view, &want),
        CACHE_DISK_SCAN_END);
    assert_int_equal(cache_disk_scan(help.disk, 0, 1, START, whole, &view, &want),
                     CACHE_DISK_SCAN_RECORD);
    assert_false(view.torn);
    help_disk_free(&help);
}

/* Pieces in another order, of another record, or from what stood there before. */
static void
a_piece_has_its_place(void **state)
{
    (void)state;
    bool there;
    make("Cache-Control: max-age=60\r\n", 2 * 32768);
    size_t head = cache_disk_head_bytes(fr_view_make(record(), CACHE_DISK_FIRST_BYTES));
    struct fr_view piece = fr_view_make(record() + head, cache_disk_piece_bytes(65536));
    assert_true(cache_disk_piece_good(help.disk, place.birth, 1, piece));
    assert_false(cache_disk_piece_good(help.disk, place.birth, 2, piece));
    assert_false(cache_disk_piece_good(help.disk, place.birth + 1, 1, piece));
    struct cache_disk_place other = place;
    other.birth++;
    assert_int_equal(help_load_bytes(&help, &other, fr_view_make(record(), place.bytes), &there),
                     CACHE_DISK_BAD);
    other = place;
    other.stamp++;
    assert_int_equal(help_load_bytes(&help, &other, fr_view_make(record(), place.bytes), &there),
                     CACHE_DISK_BAD);
    help_disk_free(&help);
}

static void
reseated_it_is_the_same(void **state)
{
    (void)state;
    bool there;
    make(FIELDS, 100);
    size_t head = cache_disk_head_bytes(fr_view_make(record(), CACHE_DISK_FIRST_BYTES));
    assert_true(cache_disk_reseat(help.disk, &place, record(), head, 9));
    struct cache_disk_record_view view;
    size_t want;
    assert_int_equal(
        cache_disk_scan(help.disk, 0, 9, START, fr_view_make(record(), head), &view, &want),
        CACHE_DISK_SCAN_RECORD);
    assert_int_equal(load(place.bytes, &there), CACHE_DISK_WHOLE);
    record()[20] ^= 1;
    assert_false(cache_disk_reseat(help.disk, &place, record(), head, 9));
    help_disk_free(&help);
}

/* A record that another body stands in has no room for this one's head. */
static void
a_head_has_room_in_its_own_record_alone(void **state)
{
    (void)state;
    struct cache_entry *entry;
    size_t bytes = 1;
    bool there;
    static char unit[CACHE_DISK_UNIT_BYTES_MAX];
    make(FIELDS, BODY_BYTES);
    assert_int_equal(load(place.bytes, &there), CACHE_DISK_WHOLE);
    assert_int_equal(help_get(help.store, GET("A: 1\r\n"), NOW, &entry), CACHE_FRESH);
    (void)cache_disk_head_at(help.disk, entry, &place, &bytes);
    assert_true(bytes > 0);
    assert_true(cache_disk_encode_head(help.disk, entry, 9, place.birth, bytes, unit));
    struct cache_disk_place other = place;
    for (other.bytes = 0; other.bytes < place.bytes - 64; other.bytes += 8) {
        (void)cache_disk_head_at(help.disk, entry, &other, &bytes);
        assert_int_equal(bytes, 0);
        assert_false(cache_disk_encode_head(help.disk, entry, 9, place.birth, bytes, unit));
    }
    other.bytes = place.bytes + CACHE_DISK_UNIT_BYTES_MAX;
    (void)cache_disk_head_at(help.disk, entry, &other, &bytes);
    assert_int_equal(bytes, 0);
    cache_entry_unref(&entry);
    help_disk_free(&help);
}

static void
segment_heads(void **state)
{
    (void)state;
    char head[CACHE_DISK_SEGMENT_HEAD_BYTES];
    help = help_disk_new();
    cache_disk_segment_head(help.disk, 3, 77, head);
    struct fr_view view = fr_view_make(head, sizeof(head));
    assert_int_equal(cache_disk_segment_sequence(help.disk, 3, view), 77);
    assert_int_equal(cache_disk_segment_sequence(help.disk, 4, view), 0);
    cache_disk_leave(help.disk, 2, 76);
    assert_int_equal(cache_disk_segment_sequence(help.disk, 3, view), 77);
    cache_disk_leave(help.disk, 3, 77); /* it says so itself, and has left */
    assert_int_equal(cache_disk_segment_sequence(help.disk, 3, view), 0);
    cache_disk_leave(help.disk, 0, 0);
    for (size_t i = 0; i < sizeof(head); i++) {
        head[i] ^= 1;
        assert_int_equal(cache_disk_segment_sequence(help.disk, 3, view), 0);
        head[i] ^= 1;
        assert_int_equal(cache_disk_segment_sequence(help.disk, 3, fr_view_make(head, i)), 0);
    }
    help_disk_free(&help);
}

/* The head of what replaced another one is half written: that one, which still stands before it, is
 * not found instead. */
static void
a_torn_head_takes_what_it_replaced(void **state)
{
    (void)state;
    static const char *const bodies[] = {"older", "other", "newer"};
    static const char *const requests[] = {GET(""), "GET /y HTTP/1.1\r\nHost: a\r\n\r\n", GET("")};
    struct help_disk own = help_disk_new();
    struct cache_disk_place at_place;
    uint64_t at = START, last = 0;
    cache_disk_ready(own.disk);
    for (size_t i = 0; i < 3; i++) {
        last = at;
        assert_true(help_put(own.store, requests[i],
                             OK("Cache-Control: max-age=60\r\nContent-Length: 5\r\n"), bodies[i],
                             NOW));
        assert_int_equal(help_write(&own, 0, 1, &at), 1);
    }
    own.file[cache_disk_segment_at(&own.layout, 0) + last + CACHE_DISK_FIRST_BYTES + 9] ^= 1;
    help_disk_end(&own);
    help_disk_begin(&own);
    assert_int_equal(help_scan(&own, 0, 1), 2);
    assert_false(help_find(&own, requests[0], &at_place));
    assert_true(help_find(&own, requests[1], &at_place));
    help_disk_free(&own);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_it_comes_back),
        cmocka_unit_test(cut_anywhere_is_bad),
        cmocka_unit_test(any_turned_bit_is_bad),
        cmocka_unit_test(a_scan_of_any_cut_or_turned_bit_ends),
        cmocka_unit_test(a_piece_has_its_place),
        cmocka_unit_test(reseated_it_is_the_same),
        cmocka_unit_test(a_head_has_room_in_its_own_record_alone),
        cmocka_unit_test(segment_heads),
        cmocka_unit_test(a_torn_head_takes_what_it_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
