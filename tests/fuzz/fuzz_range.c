/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_range.c - fuzzes ranges: two parts of one representation that come in, and what a request
 * for a part gets of them.
 *
 * Shape:  lines: Content-Range of the first part, of the second one, Range, and If-Range or
 * nothing. Judged: every octet of an answer is the one that stands there in the representation; a
 * range is what another reader of it says; what is not there is not answered.
 */
#include "cache/cache_priv.h"

#include "http/http_select.h"

#include "base/fr_check.h"
#include "base/fr_time.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW_US (INT64_C(784111777) * FR_US_PER_S)
#define LINE_BYTES_MAX 512
#define PIECE_BYTES_MAX 20000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The octet at a place of the representation. */
static char
octet_at(uint64_t at)
{
    return (char)((at * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

static bool
request_read(char *text, size_t bytes, struct fr_view range, struct fr_view if_range,
             struct http_head *out)
{
    struct http_err err;
    size_t scanned = 0;
    int len =
        snprintf(text, bytes, "GET /x HTTP/1.1\r\nHost: a\r\nRange: %.*s\r\n%s%.*s\r\n\r\n",
                 FR_VIEW_ARG(range), if_range.ptr ? "If-Range: " : "X: ", FR_VIEW_ARG(if_range));
    return http_request_parse(fr_view_make(text, (size_t)len), &http_limits_default, &scanned, out,
                              &err) == HTTP_DONE;
}

static struct cache_request
ask_for(const struct http_head *head)
{
    return (struct cache_request){
        .head = head, .scheme = FR_VIEW("http"), .host = FR_VIEW("a"), .now_us = NOW_US};
}

/* A part comes in whole. False: the value is none that can be tried. */
static bool
part_put(struct cache_store *store, struct fr_view content_range)
{
    static struct http_head request, response;
    static char body[PIECE_BYTES_MAX];
    char text[2 * LINE_BYTES_MAX], asked[LINE_BYTES_MAX], range[64];
    struct cache_piece piece;
    struct http_err err;
    size_t scanned = 0;
    /* The length is the part's, which is not known before it was read: read twice. */
    for (uint64_t bytes = 0, pass = 0; pass < 2; pass++, scanned = 0) {
        int len = snprintf(text, sizeof(text),
                           "HTTP/1.1 206 X\r\nETag: \"v\"\r\nCache-Control: max-age=60\r\n"
                           "Content-Length: %" PRIu64 "\r\nContent-Range: %.*s\r\n\r\n",
                           bytes, FR_VIEW_ARG(content_range));
        if (http_response_parse(fr_view_make(text, (size_t)len), &http_limits_default, &scanned,
                                &response, &err) != HTTP_DONE ||
            !cache__piece_read(&response, &piece))
            return false;
        fr_insist(piece.first <= piece.last && piece.last < piece.total);
        if (piece.last - piece.first >= PIECE_BYTES_MAX)
            return false;
        bytes = piece.last - piece.first + 1;
    }
    (void)snprintf(range, sizeof(range), "bytes=%" PRIu64 "-%" PRIu64, piece.first, piece.last);
    fr_insist(
        request_read(asked, sizeof(asked), fr_view_of(range), fr_view_make(NULL, 0), &request));
    struct cache_request ask = ask_for(&request);
    struct cache_filler *filler =
        cache_fill_begin(store, &ask, &response, response.framing, NOW_US, NOW_US);
    size_t bytes = (size_t)(piece.last - piece.first + 1);
    for (size_t i = 0; i < bytes; i++)
        body[i] = octet_at(piece.first + i);
    if (filler && cache_fill_add(&filler, fr_view_make(body, bytes)) == FR_OK)
        cache_fill_commit(&filler);
    return true;
}

/* ---- the judge ------------------------------------------------------------------------------- */

static void
check_octets(const struct cache_entry *entry, const struct cache_selection *what, uint64_t place)
{
    struct fr_view part;
    uint64_t at = 0, seen = 0;
    for (size_t i = 0; cache_entry_body(entry, i, &part); i++)
        for (size_t k = 0; k < part.len; k++, at++)
            if (at >= what->first && at - what->first < what->bytes) {
                fr_insist(part.ptr[k] == octet_at(place + at - what->first));
                seen++;
            }
    fr_insist(seen == what->bytes);
}

/* One range with numbers that anybody can read: what of `total` it is. False: it is none. */
static bool
other_reading(const char *text, uint64_t total, uint64_t *out_first, uint64_t *out_bytes)
{
    uint64_t first, last = UINT64_MAX;
    char *end;
    if (strncmp(text, "bytes=", 6) != 0 || text[6] < '0' || text[6] > '9')
        return false;
    first = strtoull(text + 6, &end, 10);
    if (*end++ != '-')
        return false;
    if (*end >= '0' && *end <= '9')
        last = strtoull(end, &end, 10);
    if (*end != '\0')
        return false;
    if (last < first)
        return false;
    if (first >= total)
        return false;
    *out_first = first;
    *out_bytes = (last >= total ? total - 1 : last) - first + 1;
    return true;
}

static void
check(struct cache_store *store, const char *range, struct fr_view if_range)
{
    static struct http_head request;
    char text[2 * LINE_BYTES_MAX];
    struct cache_found found;
    struct cache_selection what;
    if (!request_read(text, sizeof(text), fr_view_of(range), if_range, &request))
        return;
    struct cache_request ask = ask_for(&request);
    if (cache_lookup(store, &ask, &found) != CACHE_FRESH)
        return;
    const struct cache__part_of *part_of = cache__entry_part_of(found.entry);
    uint64_t held = cache_entry_body_bytes(found.entry);
    uint64_t total = part_of ? part_of->piece.total : held, first, bytes;
    fr_insist(cache_entry_select(found.entry, &request, NOW_US, &what));
    fr_insist(what.status == 200 || what.status == 206 || what.status == 416);
    if (what.status == 416) {
        fr_insist(total != CACHE_LENGTH_UNKNOWN);
        fr_insist(!other_reading(range, total, &first, &bytes));
    } else {
        uint64_t place = what.status == 206 ? what.range_first : 0;
        check_octets(found.entry, &what, place);
        fr_insist(what.status == 206 || (!part_of && what.bytes == total));
    }
    bool counts = !if_range.ptr || fr_view_is(if_range, "\"v\"");
    fr_insist(counts || what.status == 200);
    if (counts && other_reading(range, total, &first, &bytes))
        fr_insist(what.status == 206 && what.range_first == first && what.bytes == bytes);
    if (what.status == 206)
        fr_insist(fr_view_istarts(fr_view_of(range), FR_VIEW("bytes=")));
    cache_entry_unref(&found.entry);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct cache_options options = {1024 * 1024, 128 * 1024};
    struct cache_store *store = NULL;
    struct fr_view rest = fr_view_make((const char *)data, size), parts[2], value;
    char range[LINE_BYTES_MAX];
    if (size == 0 || size > LINE_BYTES_MAX || memchr(data, '\0', size) ||
        !fr_view_split(&rest, '\n', &parts[0]) || !fr_view_split(&rest, '\n', &parts[1]) ||
        !fr_view_split(&rest, '\n', &value) ||
        !fr_view_copy(fr_view_trim(value), range, sizeof(range)))
        return 0;
    if (!rest.ptr || cache_store_new(&options, &store) != FR_OK)
        return 0;
    if (part_put(store, parts[0])) {
        (void)part_put(store, parts[1]); /* one is enough */
        check(store, range, rest.len > 0 ? fr_view_trim(rest) : fr_view_make(NULL, 0));
        cache__store_check(store);
    }
    cache_store_free(&store);
    return 0;
}
