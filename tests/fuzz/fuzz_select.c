/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_select.c - what a client says about a file: its path, its conditions, its ranges.
 *
 * The bytes are a path, then a line end, then header fields. No name leads out of a folder, no
 * range lies outside of the file nor do all together ask for more than it has, and what is put into
 * a Location ends no line and names no host.
 */
#include "http/http_path.h"
#include "http/http_select.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_name(const struct http_path *path)
{
    struct fr_view rest = fr_view_make(path->name, path->len), segment;
    fr_insist(strlen(path->name) == path->len);
    fr_insist(path->len == 0 || path->name[0] != '/');
    while (path->len > 0 && fr_view_split(&rest, '/', &segment)) {
        fr_insist(segment.len > 0 && segment.len <= HTTP_PATH_SEGMENT_BYTES);
        fr_insist(!fr_view_is(segment, ".") && !fr_view_is(segment, ".."));
    }
}

static void
check_path(struct fr_view text)
{
    static struct http_path path;
    struct fr_buf out;
    struct fr_view rest;
    for (int hidden = 0; hidden < 2; hidden++)
        if (http_path_decode(text, hidden, &path) == HTTP_PATH_OK)
            check_name(&path);
    if (http_path_strip(text, FR_VIEW("/a"), &rest))
        fr_insist(rest.len == 0 || rest.ptr[0] == '/');
    fr_buf_init(&out, 1 << 16);
    if (http_path_put(text, &out) == FR_OK && http_query_put(text, true, &out) == FR_OK) {
        fr_insist(out.len > 1 && out.data[0] == '/' && out.data[1] != '/');
        for (size_t i = 0; i < out.len; i++)
            fr_insist(out.data[i] > ' ' && out.data[i] < 0x7f &&
                      !strchr("\"<>\\^`{|}#", out.data[i]));
    }
    fr_buf_fini(&out);
}

static void
check_ranges(struct fr_view value)
{
    static const uint64_t sizes[] = {0, 1, 10, 1u << 20, INT64_MAX};
    struct http_range ranges[HTTP_RANGES_MAX];
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t count = 0;
        uint64_t left = sizes[i];
        if (http_range_parse(value, sizes[i], 16, ranges, &count) != HTTP_RANGE_PARTS)
            continue;
        fr_insist(count > 0 && count <= 16);
        for (size_t k = 0; k < count; k++) {
            fr_insist(ranges[k].bytes > 0 && ranges[k].bytes <= left);
            fr_insist(ranges[k].first <= sizes[i] - ranges[k].bytes);
            left -= ranges[k].bytes;
        }
    }
}

static void
check_fields(struct fr_view fields)
{
    static struct http_head head;
    static const struct http_validators is = {{"\"1-2-3\"", 7}, 784111777};
    struct http_err err;
    struct fr_buf text;
    size_t scanned = 0;
    fr_buf_init(&text, 1 << 16);
    if (fr_buf_printf(&text, "GET / HTTP/1.1\r\nHost: a\r\n%.*s\r\n\r\n", FR_VIEW_ARG(fields)) ==
            FR_OK &&
        http_request_parse(fr_buf_view(&text), &http_limits_default, &scanned, &head, &err) ==
            HTTP_DONE) {
        (void)http_condition_judge(&head, &is, 1700000000);
        (void)http_condition_if_range(&head, &is, 1700000000);
        const struct http_field *field = http_head_find(&head, HTTP_FIELD_RANGE);
        if (field)
            check_ranges(field->value);
        field = http_head_find_name(&head, FR_VIEW("accept-encoding"));
        fr_insist(http_coding_quality(field, &head, FR_VIEW("br")) <= 1000);
    }
    fr_buf_fini(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fr_view rest = fr_view_make((const char *)data, size), path;
    if (size == 0 || !fr_view_split(&rest, '\n', &path))
        return 0;
    check_path(path);
    check_ranges(path);
    (void)http_media_type(path);
    if (rest.ptr)
        check_fields(rest);
    return 0;
}
