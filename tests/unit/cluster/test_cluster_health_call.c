/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cluster_health_call.c - a check over HTTP/2 as bytes: split anywhere, cut anywhere, and
 * without memory.
 */
#include "cluster/cluster_health_call.h"

#include "base/fr_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BYTES_MAX 1024
#define HEADERS 1
#define DATA 0
#define SETTINGS 4
#define END_STREAM 1
#define END_HEADERS 4

struct script {
    char bytes[BYTES_MAX];
    size_t len;
};

static void
put(struct script *script, const void *bytes, size_t len)
{
    assert_true(script->len + len <= BYTES_MAX);
    memcpy(script->bytes + script->len, bytes, len);
    script->len += len;
}

static void
frame(struct script *script, uint8_t type, uint8_t flags, uint8_t stream, const void *payload,
      size_t len)
{
    uint8_t head[9] = {0, 0, (uint8_t)len, type, flags, 0, 0, 0, stream};
    put(script, head, sizeof(head));
    put(script, payload, len);
}

/* A literal without indexing (RFC 7541 section 6.2.2). */
static void
field(struct script *block, const char *name, const char *value)
{
    uint8_t lengths[2] = {(uint8_t)strlen(name), (uint8_t)strlen(value)};
    put(block, "", 1);
    put(block, &lengths[0], 1);
    put(block, name, lengths[0]);
    put(block, &lengths[1], 1);
    put(block, value, lengths[1]);
}

static void
serving(struct script *script)
{
    struct script head = {.len = 0}, tail = {.len = 0};
    static const uint8_t message[] = {0, 0, 0, 0, 2, 8, 1};
    frame(script, SETTINGS, 0, 0, "", 0);
    field(&head, ":status", "200");
    field(&head, "content-type", "application/grpc");
    field(&tail, "grpc-status", "0");
    frame(script, HEADERS, END_HEADERS, 1, head.bytes, head.len);
    frame(script, DATA, 0, 1, message, sizeof(message));
    frame(script, HEADERS, END_HEADERS | END_STREAM, 1, tail.bytes, tail.len);
}

static const struct config_health settings_grpc = {
    .kind = CONFIG_HEALTH_GRPC,
    .service = (char *)(uintptr_t) "shop.Orders",
};
static const struct config_health settings_get = {
    .kind = CONFIG_HEALTH_HTTP,
    .status_min = 200,
    .status_max = 299,
};
#define HEAD                                                                                       \
    "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nHost: a\r\n"                                    \
    "TE: trailers\r\n\r\n"

static const struct fr_view head = {HEAD, sizeof(HEAD) - 1};

static bool
has(const struct fr_buf *out, const void *bytes, size_t len)
{
    return memmem(out->data, out->len, bytes, len) != NULL;
}

static void
split_at_every_offset(void **state)
{
    (void)state;
    struct script script = {.len = 0};
    serving(&script);
    for (size_t cut = 0; cut <= script.len; cut++) {
        struct cluster_health_call *call;
        char why[CLUSTER_HEALTH_WHY_BYTES];
        struct fr_buf out;
        fr_buf_init(&out, 65536);
        assert_int_equal(cluster_health_call_new(&settings_grpc, head, false, &call), FR_OK);
        assert_int_equal(cluster_health_call_output(call, &out, why), CLUSTER_HEALTH_MORE);
        assert_true(has(&out, "PRI * HTTP/2.0", 14));
        assert_true(has(&out, "\0\0\0\0\x0d\x0a\x0bshop.Orders", 18));
        enum cluster_health_step step =
            cluster_health_call_receive(call, fr_view_make(script.bytes, cut), 1, why);
        assert_int_equal(step, cut < script.len ? CLUSTER_HEALTH_MORE : CLUSTER_HEALTH_PASSED);
        step = cluster_health_call_receive(call, fr_view_make(script.bytes + cut, script.len - cut),
                                           2, why);
        assert_int_equal(step, CLUSTER_HEALTH_PASSED);
        assert_string_equal(why, "SERVING");
        cluster_health_call_free(&call);
        assert_null(call);
        fr_buf_fini(&out);
    }
}

static void
a_get_is_judged_by_its_status(void **state)
{
    (void)state;
    static const char *const statuses[] = {"200", "300"};
    for (size_t i = 0; i < 2; i++) {
        struct script script = {.len = 0}, block = {.len = 0};
        struct cluster_health_call *call;
        char why[CLUSTER_HEALTH_WHY_BYTES];
        struct fr_buf out;
        fr_buf_init(&out, 65536);
        frame(&script, SETTINGS, 0, 0, "", 0);
        field(&block, ":status", statuses[i]);
        frame(&script, HEADERS, END_HEADERS, 1, block.bytes, block.len);
        assert_int_equal(cluster_health_call_new(&settings_get, head, true, &call), FR_OK);
        assert_int_equal(cluster_health_call_output(call, &out, why), CLUSTER_HEALTH_MORE);
        enum cluster_health_step step =
            cluster_health_call_receive(call, fr_view_make(script.bytes, script.len), 1, why);
        assert_int_equal(step, i == 0 ? CLUSTER_HEALTH_PASSED : CLUSTER_HEALTH_FAILED);
        assert_string_equal(why, i == 0 ? "status 200" : "status 300, expected 200-299");
        cluster_health_call_free(&call);
        fr_buf_fini(&out);
    }
}

/* However far it comes, it says so and leaks nothing. */
static void
without_memory(void **state)
{
    (void)state;
    bool passed = false;
    for (uint64_t after = 1; !passed; after++) {
        struct script script = {.len = 0};
        struct cluster_health_call *call = NULL;
        char why[CLUSTER_HEALTH_WHY_BYTES] = "";
        struct fr_buf out;
        fr_buf_init(&out, 65536);
        serving(&script);
        fr_mem_fail_after(after);
        if (cluster_health_call_new(&settings_grpc, head, false, &call) == FR_OK) {
            enum cluster_health_step step = cluster_health_call_output(call, &out, why);
            if (step == CLUSTER_HEALTH_MORE)
                step = cluster_health_call_receive(call, fr_view_make(script.bytes, script.len), 1,
                                                   why);
            if (step == CLUSTER_HEALTH_MORE)
                step = cluster_health_call_output(call, &out, why);
            passed = step == CLUSTER_HEALTH_PASSED;
            assert_true(passed || (step == CLUSTER_HEALTH_FAILED && why[0]));
        }
        fr_mem_fail_after(0);
        cluster_health_call_free(&call);
        fr_buf_fini(&out);
        assert_true(after < 1000);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_at_every_offset),
        cmocka_unit_test(a_get_is_judged_by_its_status),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
