/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_edge_access_format.c - records as lines, to the byte; and every octet in every text.
 */
#include "edge/edge_access.h"

#include "base/fr_mem.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct proxy_log_record *
record_new(const struct fr_view texts[PROXY_LOG_TEXTS])
{
    struct proxy_log_record *record = fr_xalloc(sizeof(*record) + 65536);
    char *at = (char *)(record + 1);
    for (int i = 0; i < PROXY_LOG_TEXTS; i++) {
        if (texts[i].len)
            memcpy(at, texts[i].ptr, texts[i].len);
        at += texts[i].len;
        record->lens[i] = (uint16_t)texts[i].len;
    }
    record->wall_us = 1791640536123456; /* 10 October 2026, 13:55:36 UTC */
    record->version_minor = 1;
    record->status = 200;
    record->attempts = 2;
    record->cache = PROXY_LOG_CACHE_MISS;
    record->duration_us = 1500;
    record->first_byte_us = 900;
    record->request_bytes = 7;
    record->response_bytes = 250;
    record->body_bytes = 100;
    return record;
}

static void
expect(enum config_access_format format, const struct proxy_log_record *record, const char *line)
{
    struct fr_buf out;
    fr_buf_init(&out, EDGE_ACCESS_LINE_BYTES_MAX);
    assert_int_equal(edge_access_format(format, record, &out), FR_OK);
    assert_string_equal(out.data, line);
    fr_buf_fini(&out);
}

static const struct fr_view usual[PROXY_LOG_TEXTS] = {
    [PROXY_LOG_ADDRESS] = {"192.0.2.7", 9}, [PROXY_LOG_PEER] = {"10.0.0.1", 8},
    [PROXY_LOG_METHOD] = {"GET", 3},        [PROXY_LOG_TARGET] = {"/a?b", 4},
    [PROXY_LOG_HOST] = {"h", 1},            [PROXY_LOG_REFERER] = {"http://r/", 9},
    [PROXY_LOG_AGENT] = {"me/1", 4},        [PROXY_LOG_REQUEST_ID] = {"id", 2},
    [PROXY_LOG_TRACE] = {"tr", 2},          [PROXY_LOG_ROUTE] = {"all", 3},
    [PROXY_LOG_CLUSTER] = {"web", 3},       [PROXY_LOG_MEMBER] = {"web-1", 5},
};

static void
test_lines(void **state)
{
    static const struct fr_view nothing[PROXY_LOG_TEXTS];
    struct proxy_log_record *record = record_new(usual);
    (void)state;
    expect(CONFIG_ACCESS_COMMON, record,
           "192.0.2.7 - - [10/Oct/2026:13:55:36 +0000] \"GET /a?b HTTP/1.1\" 200 100\n");
    expect(CONFIG_ACCESS_COMBINED, record,
           "192.0.2.7 - - [10/Oct/2026:13:55:36 +0000] \"GET /a?b HTTP/1.1\" 200 100 "
           "\"http://r/\" \"me/1\"\n");
    expect(CONFIG_ACCESS_JSON, record,
           "{\"time\":\"2026-10-10T13:55:36.123Z\",\"client\":\"192.0.2.7\",\"peer\":\"10.0.0.1\","
           "\"method\":\"GET\",\"target\":\"/a?b\",\"host\":\"h\",\"referer\":\"http://r/\","
           "\"user_agent\":\"me/1\",\"request_id\":\"id\",\"trace_id\":\"tr\",\"route\":\"all\","
           "\"cluster\":\"web\",\"member\":\"web-1\",\"protocol\":\"HTTP/1.1\","
           "\"scheme\":\"http\",\"status\":200,\"end\":\"done\",\"cache\":\"miss\","
           "\"attempts\":2,\"retries\":1,\"request_bytes\":7,\"bytes\":100,\"sent_bytes\":250,"
           "\"duration_us\":1500,\"first_byte_us\":900}\n");
    fr_free(record);
    /* What was refused before it was a request, from a Unix socket. */
    record = record_new(nothing);
    record->status = 400;
    record->first_byte_us = -1;
    record->attempts = 0;
    record->cut = 1;
    record->end = PROXY_LOG_DROPPED;
    record->cache = PROXY_LOG_CACHE_NONE;
    expect(CONFIG_ACCESS_COMBINED, record,
           "unix: - - [10/Oct/2026:13:55:36 +0000] \"\" 400 100 \"-\" \"-\"\n");
    expect(CONFIG_ACCESS_JSON, record,
           "{\"time\":\"2026-10-10T13:55:36.123Z\",\"status\":400,\"end\":\"dropped\","
           "\"cache\":\"none\",\"attempts\":0,\"retries\":0,\"request_bytes\":7,\"bytes\":100,"
           "\"sent_bytes\":250,\"duration_us\":1500,\"first_byte_us\":null,\"shortened\":true}\n");
    fr_free(record);
}

/* Every octet in every text: one line comes out, printable, and JSON reads it back. */
static void
test_octets(void **state)
{
    char all[256];
    struct fr_view texts[PROXY_LOG_TEXTS];
    struct fr_buf out;
    (void)state;
    for (int c = 0; c < 256; c++)
        all[c] = (char)c;
    for (int i = 0; i < PROXY_LOG_TEXTS; i++)
        texts[i] = fr_view_make(all, sizeof(all));
    struct proxy_log_record *record = record_new(texts);
    fr_buf_init(&out, EDGE_ACCESS_LINE_BYTES_MAX);
    for (int format = CONFIG_ACCESS_COMMON; format <= CONFIG_ACCESS_JSON; format++) {
        size_t quotes = 0;
        fr_buf_clear(&out);
        assert_int_equal(edge_access_format((enum config_access_format)format, record, &out),
                         FR_OK);
        for (size_t i = 0; i + 1 < out.len; i++) {
            assert_in_range((uint8_t)out.data[i], 0x20, 0x7e);
            quotes += out.data[i] == '"';
        }
        assert_int_equal(out.data[out.len - 1], '\n');
        if (format != CONFIG_ACCESS_JSON)
            assert_int_equal(quotes, format == CONFIG_ACCESS_COMMON ? 2 : 6);
    }
    json_t *row = json_loadb(out.data, out.len, JSON_ALLOW_NUL, NULL);
    assert_non_null(row);
    json_t *agent = json_object_get(row, "user_agent");
    assert_int_equal(json_string_length(agent), 128 + 2 * 128); /* as UTF-8 */
    json_decref(row);
    fr_buf_fini(&out);
    fr_free(record);
}

/* The longest that a worker writes fits, whatever is in it; what does not fit leaves nothing. */
static void
test_room(void **state)
{
    static const size_t lens[PROXY_LOG_TEXTS] = {46, 46, 32, 2048, 255, 1024, 512, 128,
                                                 32, 64, 64, 64};
    char zeros[2048] = {0};
    struct fr_view texts[PROXY_LOG_TEXTS];
    struct fr_buf out;
    (void)state;
    for (int i = 0; i < PROXY_LOG_TEXTS; i++)
        texts[i] = fr_view_make(zeros, lens[i]);
    struct proxy_log_record *record = record_new(texts);
    fr_buf_init(&out, EDGE_ACCESS_LINE_BYTES_MAX);
    assert_int_equal(edge_access_format(CONFIG_ACCESS_JSON, record, &out), FR_OK);
    fr_buf_fini(&out);
    fr_buf_init(&out, 1000);
    assert_int_equal(fr_buf_append(&out, "before", 6), FR_OK);
    assert_int_equal(edge_access_format(CONFIG_ACCESS_JSON, record, &out), FR_ERR_FULL);
    assert_int_equal(out.len, 6);
    fr_buf_fini(&out);
    fr_free(record);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_octets),
        cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
