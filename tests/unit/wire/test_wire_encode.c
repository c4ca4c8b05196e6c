/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_wire_encode.c - what the encoder writes: valid by the schema, and the same again after it
 * was read.
 */
#include "wire_case.h"

#include "base/fr_hash.h"
#include "wire/wire_priv.h"

#include <sys/wait.h>
#include <unistd.h>

/* ---- the schema ----------------------------------------------------------------------------- */

/* True when the document is valid by schema/freshet-stream.rng. */
static bool
is_valid(struct fr_view document)
{
    const char *source = getenv("FRESHET_SOURCE");
    char path[] = "/tmp/freshet-wire-XXXXXX", schema[4096];
    if (source == NULL)
        fail_msg("FRESHET_SOURCE does not say where the sources are; meson test sets it");
    (void)snprintf(schema, sizeof(schema), "%s/schema/freshet-stream.rng", source);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, document.ptr, document.len), (ssize_t)document.len);
    close(fd);
    pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(126);
        execlp("xmllint", "xmllint", "--noout", "--relaxng", schema, path, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    unlink(path);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        print_message("xmllint is not installed: the schema is not looked at\n");
        skip();
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Wraps stanzas into a stream, holds it against the schema, and reads and writes it again. */
static void
expect_valid_and_stable(const struct fr_buf *stanzas)
{
    struct fr_buf whole;
    struct wire_case one;
    const struct wire_open open = {.role = WIRE_ROLE_MANAGER,
                                   .id = FR_VIEW("m & \"n\" <o>"),
                                   .epoch = 3,
                                   .boot = FR_VIEW("b")};
    fr_buf_init(&whole, (size_t)64 << 20);
    assert_int_equal(wire_put_open(&whole, &open), FR_OK);
    assert_int_equal(fr_buf_append_view(&whole, fr_buf_view(stanzas)), FR_OK);
    assert_int_equal(wire_put_close(&whole), FR_OK);
    wire_case_init(&one);
    enum wire_error error = wire_case_whole(&one, WIRE_STREAM, NULL, fr_buf_view(&whole));
    if (error != WIRE_OK)
        fail_msg("%s: %s in %s", wire_error_code(error), one.words, whole.data);
    assert_string_equal(one.again.data, whole.data);
    if (!is_valid(fr_buf_view(&whole)))
        fail_msg("not valid: %s", whole.data);
    wire_case_fini(&one);
    fr_buf_fini(&whole);
}

static void
test_the_schema_refuses(void **state)
{
    (void)state;
    assert_true(is_valid(FR_VIEW("<alive xmlns='urn:freshet:stream:1'/>")));
    assert_false(is_valid(FR_VIEW("<alive/>")));
    assert_false(is_valid(FR_VIEW("<report xmlns='urn:freshet:stream:1'><server/></report>")));
    assert_false(is_valid(FR_VIEW("<report xmlns='urn:freshet:stream:1'>"
                                  "<server id='a' utilization='-1'/></report>")));
    assert_false(is_valid(FR_VIEW("<reconfigure xmlns='urn:freshet:stream:1' id='1:1'>"
                                  "<allocate count='1'/></reconfigure>")));
}

/* ---- reports -------------------------------------------------------------------------------- */

static struct wire_server
full_server(void)
{
    return (struct wire_server){
        .id = FR_VIEW("web-3"),
        .address = FR_VIEW("10.0.0.7:8080"),
        .role = FR_VIEW("edge"),
        .state = FR_VIEW("ready"),
        .pool = FR_VIEW("rack"),
        .weight = 65535,
        .utilization = 0.93,
        .cpu = 0.25,
        .requests = UINT64_MAX - 1,
        .errors = 1,
        .connect_failures = 2,
        .in_flight = 15,
        .connections = 16,
        .bytes_in = 17,
        .bytes_out = 18,
        .p50_ms = 4.125,
        .p90_ms = 0,
        .p99_ms = 1e9,
        .memory_bytes = 19,
        .cache_hits = 20,
        .cache_misses = 21,
        .cache_bytes = 22,
        .cache_revalidations = 23,
        .cache_collapses = 24,
        .origin_requests = 25,
        .relief = 3,
    };
}

static void
test_a_full_report(void **state)
{
    struct fr_buf buf;
    struct wire_server servers[2] = {full_server(), wire_server_none()};
    struct wire_worker workers[2] = {{0, 0.5}, {1, NAN}};
    struct wire_cluster clusters[2] = {wire_cluster_none(), wire_cluster_none()};
    struct wire_pool pools[2] = {{FR_VIEW("rack"), 7, WIRE_NONE, 5},
                                 {FR_VIEW("b"), WIRE_NONE, 0, WIRE_NONE}};
    (void)state;
    servers[1].address = FR_VIEW("unix:/run/x y");
    clusters[0] = (struct wire_cluster){FR_VIEW("web"), true, 8010, 0, 13, servers, 2};
    clusters[1].name = FR_VIEW("leer");
    clusters[1].purged = 12;
    clusters[1].purged_rate = 30.25;
    clusters[1].rung = FR_VIEW("stale");
    clusters[1].stale = 812;
    clusters[1].refreshes = 14;
    clusters[1].goal_us = 300000;
    clusters[1].timed = 8010;
    clusters[1].late = 17;
    struct wire_report report = {
        .seq = 17,
        .at_us = 1767268800123000LL,
        .crossing = true,
        .full = true,
        .self = full_server(),
        .has_self = true,
        .workers = workers,
        .worker_count = 2,
        .clusters = clusters,
        .cluster_count = 2,
        .pools = pools,
        .pool_count = 2,
    };
    fr_buf_init(&buf, 1 << 20);
    assert_int_equal(wire_put_report(&buf, &report), FR_OK);
    assert_non_null(strstr(buf.data, "at=\"2026-01-01T12:00:00.123Z\""));
    assert_non_null(strstr(buf.data, " goal-us=\"300000\" timed=\"8010\" late=\"17\""));
    expect_valid_and_stable(&buf);
    fr_buf_clear(&buf);
    assert_int_equal(wire_put_report_document(&buf, &report), FR_OK);
    assert_true(is_valid(fr_buf_view(&buf)));
    struct wire_case one;
    wire_case_init(&one);
    assert_int_equal(wire_case_whole(&one, WIRE_REPORT_DOCUMENT, NULL, fr_buf_view(&buf)), WIRE_OK);
    assert_int_equal(one.kinds[WIRE_EVENT_REPORT], 1);
    assert_int_equal(one.events, 1);
    fr_buf_clear(&buf);
    assert_int_equal(wire_put_report(&buf, &report), FR_OK);
    assert_string_equal(one.again.data, buf.data);
    wire_case_fini(&one);
    fr_buf_fini(&buf);
}

static void
test_numbers_that_are_none_are_left_out(void **state)
{
    struct fr_buf buf;
    struct wire_server server = wire_server_none();
    struct wire_cluster cluster = wire_cluster_none();
    (void)state;
    server.id = FR_VIEW("a");
    server.utilization = -0.5;
    server.cpu = INFINITY;
    server.p50_ms = NAN;
    server.p90_ms = -INFINITY;
    server.p99_ms = 1e300; /* too great, but great it is */
    cluster.name = FR_VIEW("c");
    cluster.servers = &server;
    cluster.server_count = 1;
    struct wire_report report = {.seq = 1, .clusters = &cluster, .cluster_count = 1};
    fr_buf_init(&buf, 4096);
    assert_int_equal(wire_put_report(&buf, &report), FR_OK);
    assert_string_equal(buf.data, "<report seq=\"1\"><cluster name=\"c\">"
                                  "<server id=\"a\" p99-ms=\"1000000000\"/></cluster></report>\n");
    expect_valid_and_stable(&buf);
    fr_buf_fini(&buf);
}

static void
expect_refused(const struct wire_report *report, enum fr_err expected)
{
    struct fr_buf buf;
    fr_buf_init(&buf, 1 << 20);
    assert_int_equal(fr_buf_append(&buf, "before", 6), FR_OK);
    assert_int_equal(wire_put_report(&buf, report), expected);
    assert_int_equal(buf.len, 6); /* nothing of it stayed */
    assert_string_equal(buf.data, "before");
    fr_buf_fini(&buf);
}

static void
test_names_that_are_none_are_refused(void **state)
{
    char longest[130];
    struct wire_report report = {.seq = 1, .has_self = true, .self = wire_server_none()};
    (void)state;
    memset(longest, 'x', sizeof(longest));
    expect_refused(&report, FR_ERR_SYNTAX); /* neither id nor address */
    report.self.id = fr_view_make(longest, 129);
    expect_refused(&report, FR_ERR_SYNTAX);
    report.self.id = FR_VIEW("a\nb");
    expect_refused(&report, FR_ERR_SYNTAX);
    report.self.id = FR_VIEW("a");
    report.self.weight = 65536;
    expect_refused(&report, FR_ERR_RANGE);
    report.self.weight = 1;
    report.at_us = -1;
    expect_refused(&report, FR_ERR_RANGE);
    report.at_us = INT64_MAX;
    expect_refused(&report, FR_ERR_RANGE);
    report.at_us = 0;
    struct wire_cluster cluster = wire_cluster_none();
    report.clusters = &cluster;
    report.cluster_count = 1;
    expect_refused(&report, FR_ERR_SYNTAX); /* a cluster without a name */
}

static void
test_a_buffer_that_is_full(void **state)
{
    struct wire_report report = {.seq = 1, .has_self = true, .self = full_server()};
    struct fr_buf buf;
    (void)state;
    fr_buf_init(&buf, 1 << 20);
    assert_int_equal(wire_put_report(&buf, &report), FR_OK);
    size_t need = buf.len;
    fr_buf_fini(&buf);
    for (size_t max = 1; max < need; max++) {
        fr_buf_init(&buf, max);
        assert_int_equal(wire_put_report(&buf, &report), FR_ERR_FULL);
        assert_int_equal(buf.len, 0);
        fr_buf_fini(&buf);
    }
}

/* ---- requests ------------------------------------------------------------------------------- */

static struct wire_reconfigure
full_request(enum wire_operation operation)
{
    return (struct wire_reconfigure){
        .id = {3, 81},
        .cluster = FR_VIEW("web"),
        .reason = FR_VIEW("web-3 at 0.93, upper level 0.80 \"<&>\""),
        .operation = operation,
        .count = 2,
        .server = FR_VIEW("web-3"),
        .address = FR_VIEW("10.0.0.7:80"),
        .pool = FR_VIEW("rack"),
        .to = FR_VIEW("api"),
        .name = FR_VIEW("a-name"),
        .weight = 50,
        .upper = 0.8,
        .lower = 0.3,
        .step = 2,
        .what = FR_VIEW("tag"),
        .text = FR_VIEW("a tag"),
        .soft = true,
    };
}

static void
test_every_operation(void **state)
{
    struct fr_buf buf;
    (void)state;
    fr_buf_init(&buf, 1 << 20);
    for (int i = 0; i < WIRE_OPERATION_COUNT; i++) {
        struct wire_reconfigure request = full_request((enum wire_operation)i);
        assert_int_equal(wire_put_reconfigure(&buf, &request), FR_OK);
        struct wire_reconfigure least = wire_reconfigure_none();
        least.id.sequence = (uint64_t)i;
        least.operation = request.operation;
        if (wire__needs_cluster(request.operation))
            least.cluster = FR_VIEW("c");
        for (size_t row = 0; row < wire__operation_tables[i].count; row++) {
            const struct wire__attr *attr = &wire__operation_tables[i].attrs[row];
            if (attr->required)
                memcpy((char *)&least + attr->offset, (const char *)&request + attr->offset,
                       attr->kind == WIRE__NAME ? sizeof(struct fr_view) : sizeof(uint64_t));
        }
        assert_int_equal(wire_put_reconfigure(&buf, &least), FR_OK);
    }
    expect_valid_and_stable(&buf);
    fr_buf_fini(&buf);
}

static void
test_operations_that_lack_something(void **state)
{
    struct fr_buf buf;
    (void)state;
    fr_buf_init(&buf, 1 << 20);
    for (int i = 0; i < WIRE_OPERATION_COUNT; i++) {
        struct wire_reconfigure request = wire_reconfigure_none();
        request.operation = (enum wire_operation)i;
        if (request.operation == WIRE_OPERATION_COUNT)
            continue;
        assert_true(wire_put_reconfigure(&buf, &request) != FR_OK);
        request = full_request((enum wire_operation)i);
        request.cluster.len = 0;
        assert_int_equal(wire_put_reconfigure(&buf, &request) != FR_OK,
                         wire__needs_cluster(request.operation));
        fr_buf_clear(&buf);
    }
    struct wire_reconfigure request = full_request(WIRE_ALLOCATE);
    request.operation = WIRE_OPERATION_COUNT;
    assert_int_equal(wire_put_reconfigure(&buf, &request), FR_ERR_RANGE);
    request = full_request(WIRE_ALLOCATE);
    request.count = 10001;
    assert_int_equal(wire_put_reconfigure(&buf, &request), FR_ERR_RANGE);
    assert_int_equal(buf.len, 0);
    fr_buf_fini(&buf);
}

static void
test_settings(void **state)
{
    struct fr_buf buf;
    (void)state;
    struct wire_setting item2 = {.name = FR_VIEW("item"), .value = FR_VIEW("b")};
    struct wire_setting item1 = {
        .name = FR_VIEW("item"), .value = FR_VIEW("a<&>\"'"), .next = &item2};
    struct wire_setting list = {.name = FR_VIEW("servers"), .first_child = &item1};
    struct wire_setting host = {
        .name = FR_VIEW("host"), .value = FR_VIEW("*.example.com\n"), .is_attribute = true};
    struct wire_setting match = {.name = FR_VIEW("match"), .first_child = &host, .next = &list};
    struct wire_setting empty = {.name = FR_VIEW("health"), .next = &match};
    struct wire_setting named = {
        .name = FR_VIEW("name"), .value = FR_VIEW("x"), .is_attribute = true, .next = &empty};
    struct wire_setting cluster = {
        .name = FR_VIEW("cluster"), .value = FR_VIEW(""), .is_attribute = true, .next = &named};
    struct wire_setting route = {.name = FR_VIEW("route"), .first_child = &cluster};
    struct wire_reconfigure request = full_request(WIRE_PUT_ROUTE);
    request.settings = &route;
    fr_buf_init(&buf, 1 << 20);
    assert_int_equal(wire_put_reconfigure(&buf, &request), FR_OK);
    assert_non_null(strstr(buf.data,
                           "<route name=\"a-name\" cluster=\"\"><health/>"
                           "<match host=\"*.example.com&#10;\"/><servers>"
                           "<item>a&lt;&amp;&gt;&quot;'</item><item>b</item></servers></route>"));
    expect_valid_and_stable(&buf);
    fr_buf_fini(&buf);
}

static void
test_settings_that_cannot_be_written(void **state)
{
    struct fr_buf buf;
    char longest[4098];
    (void)state;
    memset(longest, 'x', sizeof(longest));
    fr_buf_init(&buf, 1 << 20);
    struct wire_setting second = {.name = FR_VIEW("a"), .is_attribute = true};
    struct wire_setting first = {.name = FR_VIEW("a"), .is_attribute = true, .next = &second};
    struct wire_setting root = {.name = FR_VIEW("pool"), .first_child = &first};
    struct wire_reconfigure request = full_request(WIRE_PUT_POOL);
    request.settings = &root;
    assert_int_equal(wire_put_reconfigure(&buf, &request), FR_ERR_SYNTAX); /* twice */
    first.next = NULL;
    assert_int_equal(wire_put_reconfigure(&buf, &request), FR_OK);
    fr_buf_clear(&buf);
    first.name = FR_VIEW("a b");
    assert_int_equal(wire_put_reconfigure(&buf, &request), FR_ERR_SYNTAX);
    first.name = FR_VIEW("a");
    first.value = FR_VIEW("\x01");
    assert_int_equal(wire_put_reconfigure(&buf, &request), FR_ERR_SYNTAX);
    first.value = fr_view_make(longest, 4097);
    assert_int_equal(wire_put_reconfigure(&buf, &request), FR_ERR_SYNTAX);
    first.value = fr_view_make(longest, 4096);
    assert_int_equal(wire_put_reconfigure(&buf, &request), FR_OK);
    expect_valid_and_stable(&buf);
    fr_buf_clear(&buf);
    root.value = FR_VIEW("text");
    first.is_attribute = false;
    assert_int_equal(wire_put_reconfigure(&buf, &request), FR_ERR_SYNTAX); /* text and elements */
    root.value.len = 0;
    struct wire_setting deep[20] = {{.name = FR_VIEW("d")}};
    for (int i = 1; i < 20; i++)
        deep[i] = (struct wire_setting){.name = FR_VIEW("d"), .first_child = &deep[i - 1]};
    root.first_child = &deep[12];
    assert_int_equal(wire_put_reconfigure(&buf, &request), FR_OK);
    expect_valid_and_stable(&buf); /* the decoder takes as deep as the encoder gives */
    fr_buf_clear(&buf);
    root.first_child = &deep[13];
    assert_int_equal(wire_put_reconfigure(&buf, &request), FR_ERR_RANGE);
    assert_int_equal(buf.len, 0);
    fr_buf_fini(&buf);
}

/* ---- the rest ------------------------------------------------------------------------------- */

static void
test_results_errors_alive(void **state)
{
    struct fr_buf buf;
    struct wire_server server = full_server();
    char longest[5000];
    (void)state;
    fr_buf_init(&buf, 1 << 20);
    struct wire_result result = {.id = {3, 81},
                                 .status = WIRE_DONE,
                                 .generation = 13,
                                 .servers = &server,
                                 .server_count = 1};
    assert_int_equal(wire_put_result(&buf, &result), FR_OK);
    result = (struct wire_result){.id = {3, 82},
                                  .status = WIRE_REFUSED,
                                  .code = FR_VIEW("pool-empty"),
                                  .reason = FR_VIEW("no server is available in the pool"),
                                  .generation = WIRE_NONE};
    assert_int_equal(wire_put_result(&buf, &result), FR_OK);
    result = (struct wire_result){.id = {3, 83},
                                  .generation = WIRE_NONE,
                                  .purged = 12,
                                  .purged_bytes = 34567,
                                  .purged_rate = 0.5};
    assert_int_equal(wire_put_result(&buf, &result), FR_OK);
    assert_non_null(strstr(buf.data, "purged=\"12\" purged-bytes=\"34567\" purged-rate=\"0.5\""));
    assert_int_equal(wire_put_alive(&buf), FR_OK);
    for (size_t i = 0; i < sizeof(longest) - 1; i++)
        longest[i] = "\x01x\xc3\xa9"[i % 4];
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(wire_put_error(&buf, "too-deep", longest), FR_OK); /* cleaned and cut */
    assert_int_equal(wire_put_error(&buf, "doctype", ""), FR_OK);
    expect_valid_and_stable(&buf);
    assert_int_equal(wire_put_error(&buf, "", "words"), FR_ERR_SYNTAX);
    fr_buf_fini(&buf);
}

static struct fr_view
random_text(struct fr_rand *rand, char *out, size_t max, bool name)
{
    static const char *const parts[] = {"a",   "-",     "7",  "\xc3\xa9", "\xf0\x9f\x8c\x8a",
                                        "<",   "&",     "\"", "'",        " ",
                                        "]]>", "&amp;", "\n", "\t"};
    size_t len = 0, count = 1 + fr_rand_below(rand, 20);
    for (size_t i = 0; i < count; i++) {
        const char *part = parts[fr_rand_below(rand, name ? 12 : 14)];
        if (len + strlen(part) > max)
            break;
        memcpy(out + len, part, strlen(part));
        len += strlen(part);
    }
    return fr_view_make(out, len);
}

static uint64_t
random_count(struct fr_rand *rand)
{
    return fr_rand_below(rand, 4) == 0 ? WIRE_NONE : fr_rand_next(rand) >> fr_rand_below(rand, 64);
}

static double
random_ratio(struct fr_rand *rand)
{
    return fr_rand_below(rand, 4) == 0 ? NAN : fr_rand_unit(rand) * fr_rand_below(rand, 1000);
}

static void
random_server(struct fr_rand *rand, struct wire_server *server, char (*texts)[64])
{
    *server = wire_server_none();
    server->id = random_text(rand, texts[0], 63, true);
    server->state = random_text(rand, texts[1], 63, true);
    server->weight = fr_rand_below(rand, 65536);
    server->utilization = random_ratio(rand);
    server->requests = random_count(rand);
    server->bytes_out = random_count(rand);
    server->p50_ms = random_ratio(rand) * 1e5;
    server->cache_bytes = random_count(rand);
}

/* Whatever is encoded is read as what it was: checked by writing it once more. */
static void
test_random_reports_come_back(void **state)
{
    const uint64_t seed = 20260101;
    struct fr_rand rand;
    struct fr_buf buf;
    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    fr_rand_init(&rand, seed);
    fr_buf_init(&buf, (size_t)16 << 20);
    for (unsigned round = 0; round < 300; round++) {
        static char texts[10][2][64];
        static char names[5][64];
        struct wire_server servers[10];
        struct wire_cluster clusters[4];
        size_t used = 0, cluster_count = fr_rand_below(&rand, 5);
        for (size_t i = 0; i < cluster_count; i++) {
            clusters[i] = wire_cluster_none();
            clusters[i].name = random_text(&rand, names[i], 63, true);
            clusters[i].requests = random_count(&rand);
            clusters[i].servers = &servers[used];
            clusters[i].server_count = fr_rand_below(&rand, 3);
            for (size_t j = 0; j < clusters[i].server_count; j++, used++)
                random_server(&rand, &servers[used], texts[used]);
        }
        struct wire_report report = {.seq = fr_rand_next(&rand) >> 1,
                                     .crossing = fr_rand_below(&rand, 2) == 0,
                                     .has_self = fr_rand_below(&rand, 2) == 0,
                                     .clusters = clusters,
                                     .cluster_count = cluster_count};
        random_server(&rand, &report.self, texts[9]);
        assert_int_equal(wire_put_report(&buf, &report), FR_OK);
        struct wire_reconfigure request = full_request(WIRE_MOVE);
        char reason[64];
        request.reason = random_text(&rand, reason, 63, false);
        assert_int_equal(wire_put_reconfigure(&buf, &request), FR_OK);
    }
    expect_valid_and_stable(&buf);
    fr_buf_fini(&buf);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_schema_refuses),
        cmocka_unit_test(test_a_full_report),
        cmocka_unit_test(test_numbers_that_are_none_are_left_out),
        cmocka_unit_test(test_names_that_are_none_are_refused),
        cmocka_unit_test(test_a_buffer_that_is_full),
        cmocka_unit_test(test_every_operation),
        cmocka_unit_test(test_operations_that_lack_something),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_settings_that_cannot_be_written),
        cmocka_unit_test(test_results_errors_alive),
        cmocka_unit_test(test_random_reports_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
