/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_edge_metrics.c - what a scraper gets is the text format of Prometheus, whatever the edge
 * has: every family announced once and in one piece, no series twice, numbers that are numbers.
 */
#include "edge_bed.h"

#include <ctype.h>
#include <math.h>

#define FAMILIES_MAX 256
#define SERIES_MAX 4096

struct scrape {
    struct fr_buf text;
    char families[FAMILIES_MAX][96], types[FAMILIES_MAX][16];
    size_t family_count;
    char *series[SERIES_MAX]; /* name with its labels */
    double values[SERIES_MAX];
    size_t series_count;
};

static size_t
name_length(const char *text, bool colon)
{
    size_t len = 0;
    if (!isalpha((unsigned char)text[0]) && text[0] != '_')
        return 0;
    while (isalnum((unsigned char)text[len]) || text[len] == '_' || (colon && text[len] == ':'))
        len++;
    return len;
}

/* {name="value",...}: the length, or 0 when it is not. Inside of a value only \\ \" and \n are
 * escaped, and nothing else begins with a backslash. */
static size_t
labels_length(const char *text)
{
    size_t at = 1;
    if (text[0] != '{')
        return 0;
    for (;;) {
        size_t len = name_length(text + at, false);
        at += len;
        if (len == 0 || text[at] != '=' || text[at + 1] != '"')
            return 0;
        for (at += 2; text[at] != '"'; at++) {
            if (text[at] == '\0' || text[at] == '\n')
                return 0;
            if (text[at] == '\\' && strchr("\\\"n", text[++at]) == NULL)
                return 0;
        }
        if (text[++at] == '}')
            return at + 1;
        if (text[at++] != ',')
            return 0;
    }
}

static void
take_comment(struct scrape *scrape, const char *line)
{
    char kind[8], name[96];
    int used = 0;
    assert_int_equal(sscanf(line, "# %7s %95s %n", kind, name, &used), 2);
    assert_int_equal(strlen(name), name_length(name, true));
    if (strcmp(kind, "HELP") == 0) {
        assert_true(line[used] != '\0');
        for (size_t i = 0; i < scrape->family_count; i++)
            if (strcmp(scrape->families[i], name) == 0)
                fail_msg("announced twice: %s", name);
        assert_true(scrape->family_count < FAMILIES_MAX);
        strcpy(scrape->families[scrape->family_count++], name);
        return;
    }
    assert_string_equal(kind, "TYPE");
    assert_true(scrape->family_count > 0);
    assert_string_equal(scrape->families[scrape->family_count - 1], name);
    char *type = scrape->types[scrape->family_count - 1];
    assert_int_equal(type[0], '\0'); /* once */
    assert_true(strcmp(line + used, "counter") == 0 || strcmp(line + used, "gauge") == 0 ||
                strcmp(line + used, "summary") == 0);
    strcpy(type, line + used);
    size_t len = strlen(name);
    bool total = len > 6 && strcmp(name + len - 6, "_total") == 0;
    assert_int_equal(total, strcmp(type, "counter") == 0);
}

/* A sample belongs to the family that was announced last. */
static void
take_sample(struct scrape *scrape, char *line)
{
    char *end = NULL;
    size_t name = name_length(line, true);
    size_t labels = line[name] == '{' ? labels_length(line + name) : 0;
    if (name == 0 || line[name + labels] != ' ')
        fail_msg("not a sample: %s", line);
    assert_true(scrape->family_count > 0);
    const char *family = scrape->families[scrape->family_count - 1];
    const char *type = scrape->types[scrape->family_count - 1];
    size_t len = strlen(family);
    bool summary = strcmp(type, "summary") == 0;
    bool count = summary && name == len + 6 && strncmp(line + len, "_count", 6) == 0;
    if (strncmp(line, family, len) != 0 || (name != len && !count))
        fail_msg("%s is not of family %s", line, family);
    assert_true(type[0] != '\0');
    double value = strtod(line + name + labels + 1, &end);
    if (end == line + name + labels + 1 || *end != '\0' || isnan(value))
        fail_msg("no number: %s", line);
    if (strcmp(type, "counter") == 0)
        assert_true(value >= 0);
    line[name + labels] = '\0';
    for (size_t i = 0; i < scrape->series_count; i++)
        if (strcmp(scrape->series[i], line) == 0)
            fail_msg("twice: %s", line);
    assert_true(scrape->series_count < SERIES_MAX);
    scrape->values[scrape->series_count] = value;
    scrape->series[scrape->series_count++] = line;
}

static struct scrape *
scrape_edge(struct bed *bed)
{
    struct scrape *scrape = fr_xalloc(sizeof(*scrape));
    fr_buf_init(&scrape->text, (size_t)4 << 20);
    assert_int_equal(edge_metrics_print(bed->edge, &scrape->text), FR_OK);
    assert_int_equal(fr_buf_append(&scrape->text, "", 1), FR_OK);
    assert_int_equal(scrape->text.data[scrape->text.len - 2], '\n');
    char *rest = scrape->text.data;
    for (char *line; (line = strsep(&rest, "\n")) != NULL && rest != NULL;) {
        if (line[0] == '#')
            take_comment(scrape, line);
        else
            take_sample(scrape, line);
    }
    return scrape;
}

static void
scrape_free(struct scrape *scrape)
{
    fr_buf_fini(&scrape->text);
    fr_free(scrape);
}

static bool
has_series(const struct scrape *scrape, const char *series)
{
    for (size_t i = 0; i < scrape->series_count; i++)
        if (strcmp(scrape->series[i], series) == 0)
            return true;
    return false;
}

static double
value_of(const struct scrape *scrape, const char *series)
{
    for (size_t i = 0; i < scrape->series_count; i++)
        if (strcmp(scrape->series[i], series) == 0)
            return scrape->values[i];
    fail_msg("not there: %s", series);
    return NAN;
}

static void
expect(struct bed *bed, const char *series, double value)
{
    struct scrape *scrape = scrape_edge(bed);
    double found = value_of(scrape, series);
    scrape_free(scrape);
    if (fabs(found - value) > 1e-9)
        fail_msg("%s is %g, expected %g", series, found, value);
}

static void
every_family_once(void **state)
{
    struct bed *bed = bed_open("cache: { memory: 1MiB }\n" BED_SETTINGS);
    (void)state;
    bed_done(bed, "api", "<allocate count='2'/>");
    bed_done(bed, "far", "<join server='far-1' address='127.0.0.1:15'/>");
    bed_done(bed, "api", "<join server='far-1' address='127.0.0.1:15'/>"); /* one id, twice */
    struct scrape *scrape = scrape_edge(bed);
    assert_float_equal(value_of(scrape, "freshet_pool_allocated{pool=\"rack\"}"), 2, 0);
    assert_float_equal(value_of(scrape, "freshet_pool_available{pool=\"rack\"}"), 2, 0);
    assert_float_equal(value_of(scrape, "freshet_allocations_total"), 2, 0);
    assert_float_equal(value_of(scrape, "freshet_manager_connected"), 1, 0);
    assert_float_equal(
        value_of(scrape, "freshet_member_weight{cluster=\"web\",member=\"web-2\"}"), 50, 0);
    (void)value_of(scrape, "freshet_member_weight{cluster=\"far\",member=\"far-1\"}");
    (void)value_of(scrape, "freshet_member_weight{cluster=\"api\",member=\"far-1\"}");
    (void)value_of(scrape, "freshet_cache_bytes");
    (void)value_of(scrape, "freshet_requests_total{worker=\"0\"}");
    (void)value_of(scrape, "freshet_worker_cpu_ratio{worker=\"0\"}");
    assert_false(has_series(scrape, "freshet_requests_total{worker=\"1\"}")); /* there is one */
    scrape_free(scrape);
    bed_done(bed, "api", "<deallocate/>");
    expect(bed, "freshet_deallocations_total", 1);
    bed_hang_up(bed);
    bed_until(bed, !stream_session_is_open(bed->edge->stream));
    expect(bed, "freshet_manager_connected", 0);
    bed_close(bed);
}

#define ONE_MEMBER                                                                                 \
    "routes: [{ cluster: web }]\nclusters: { web: { members: [{ id: web-1, address: \"%s\" }] } }\n"

static void
a_request_is_counted_once(void **state)
{
    struct bed *bed = bed_new();
    char address[32];
    static const char answer[] = "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno";
    static const char in_flight[] = "freshet_member_in_flight{cluster=\"web\",member=\"web-1\"}";
    static const char count[] =
        "freshet_member_latency_seconds_count{cluster=\"web\",member=\"web-1\"}";
    static const char median[] =
        "freshet_member_latency_seconds{cluster=\"web\",member=\"web-1\",quantile=\"0.5\"}";
    (void)state;
    int listen_fd = bed_silent_server(address, sizeof(address));
    char *tail = fr_xprintf(ONE_MEMBER, address);
    bed_start(bed, bed_config(bed, CONFIG_ROLE_EDGE, false, tail), WIRE_ROLE_EDGE);
    struct scrape *before = scrape_edge(bed);
    assert_false(has_series(before, median)); /* of nothing there is no median */
    assert_false(has_series(before, "freshet_cache_bytes"));
    scrape_free(before);
    int client = bed_client(bed, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    int server = bed_server_take(bed, listen_fd);
    expect(bed, in_flight, 1);
    expect(bed, "freshet_requests_active{worker=\"0\"}", 1);
    expect(bed, count, 0);
    assert_int_equal(send(server, answer, sizeof(answer) - 1, MSG_NOSIGNAL), sizeof(answer) - 1);
    bed_until(bed, bed_in_flight(bed_member(bed, "web", "web-1")) == 0);
    char byte;
    assert_int_equal(recv(client, &byte, 1, 0), 1);
    struct proxy_counters counters;
    bed_until(bed, (proxy_read_counters(bed->edge->proxy, 0, &counters), counters.requests) == 1);
    expect(bed, in_flight, 0);
    expect(bed, count, 1);
    expect(bed, "freshet_member_requests_total{cluster=\"web\",member=\"web-1\"}", 1);
    expect(bed, "freshet_member_errors_total{cluster=\"web\",member=\"web-1\"}", 1);
    expect(bed, "freshet_requests_total{worker=\"0\"}", 1);
    expect(bed, "freshet_errors_total{worker=\"0\"}", 1);
    struct scrape *after = scrape_edge(bed);
    assert_true(value_of(after, median) > 0 && value_of(after, median) < 20);
    scrape_free(after);
    close(client);
    close(server);
    close(listen_fd);
    fr_free(tail);
    bed_close(bed);
}

static void
an_allocator_has_no_data_plane(void **state)
{
    struct bed *bed = bed_new();
    (void)state;
    bed_manager_up(bed);
    bed_start(bed, bed_config(bed, CONFIG_ROLE_ALLOCATOR, true,
                              "clusters:\n  api: { scale: { from: rack, min: 0 } }\n"
                              "pools:\n"
                              "  rack: { provider: static, servers: [\"127.0.0.1:11\"] }\n"),
              WIRE_ROLE_ALLOCATOR);
    struct scrape *scrape = scrape_edge(bed);
    assert_true(has_series(scrape, "freshet_build_info{version=\"" FRESHET_VERSION
                                   "\",role=\"allocator\"}"));
    assert_float_equal(value_of(scrape, "freshet_pool_available{pool=\"rack\"}"), 1, 0);
    assert_false(has_series(scrape, "freshet_requests_total{worker=\"0\"}"));
    scrape_free(scrape);
    bed_close(bed);
}

/* Names that could end a label's value never become members. */
static void
strange_names_do_not_join(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    bed_refused(bed, "far", "<join server='a\"} 1' address='127.0.0.1:15'/>", "syntax",
                "not a name");
    bed_refused(bed, "far", "<join server='a\\' address='127.0.0.1:15'/>", "syntax", "not a name");
    bed_refused(bed, "far", "<join server='a' pool='\"' address='127.0.0.1:15'/>", "syntax",
                "not a name");
    assert_int_equal(edge_cluster_find(bed->edge, FR_VIEW("far"))->member_count, 1);
    scrape_free(scrape_edge(bed));
    bed_close(bed);
}

static void
a_full_buffer_is_told(void **state)
{
    struct bed *bed = bed_open_alone(BED_SETTINGS);
    struct fr_buf whole, small;
    (void)state;
    fr_buf_init(&whole, (size_t)4 << 20);
    assert_int_equal(edge_metrics_print(bed->edge, &whole), FR_OK);
    fr_buf_init(&small, whole.len / 2);
    assert_int_equal(edge_metrics_print(bed->edge, &small), FR_ERR_FULL);
    fr_buf_fini(&small);
    fr_buf_fini(&whole);
    bed_close(bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_once),
        cmocka_unit_test(a_request_is_counted_once),
        cmocka_unit_test(an_allocator_has_no_data_plane),
        cmocka_unit_test(strange_names_do_not_join),
        cmocka_unit_test(a_full_buffer_is_told),
    };
    fr_log_setup(FR_LOG_ERROR, FR_LOG_SHAPE_HUMAN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
