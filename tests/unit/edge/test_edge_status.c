/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_edge_status.c - GET /status is JSON, says what is, and says "null" of what nobody measured.
 */
#include "edge_bed.h"

#include <jansson.h>

static json_t *
status_of(struct bed *bed)
{
    struct fr_buf text;
    json_error_t error;
    fr_buf_init(&text, (size_t)4 << 20);
    assert_int_equal(edge_status_print(bed->edge, &text), FR_OK);
    json_t *root = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL)
        fail_msg("%s, line %d of %.*s", error.text, error.line, FR_VIEW_ARG(fr_buf_view(&text)));
    assert_int_equal(text.data[text.len - 1], '\n');
    fr_buf_fini(&text);
    return root;
}

static json_t *
find(json_t *list, const char *key, const char *name)
{
    size_t i;
    json_t *item, *found = NULL;
    assert_true(json_is_array(list));
    json_array_foreach(list, i, item)
    {
        const char *value = json_string_value(json_object_get(item, key));
        assert_non_null(value);
        if (strcmp(value, name) != 0)
            continue;
        assert_null(found); /* never twice */
        found = item;
    }
    return found;
}

static json_t *
server(json_t *root, const char *cluster, const char *id)
{
    json_t *found = find(json_object_get(root, "clusters"), "name", cluster);
    assert_non_null(found);
    return find(json_object_get(found, "servers"), "id", id);
}

static void
expect_text(const json_t *object, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(object, key));
    assert_non_null(value);
    assert_string_equal(value, text);
}

static void
expect_number(const json_t *object, const char *key, double number)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    assert_float_equal(json_number_value(value), number, 1e-9);
}

static void
an_edge_on_its_own(void **state)
{
    struct bed *bed = bed_open_alone(BED_SETTINGS);
    (void)state;
    json_t *root = status_of(bed);
    expect_text(root, "role", "edge");
    expect_text(root, "id", "edge-1");
    expect_text(root, "version", FRESHET_VERSION);
    assert_true(json_is_false(json_object_get(root, "manager_configured")));
    assert_true(json_is_false(json_object_get(root, "manager_connected")));
    assert_int_equal(json_array_size(json_object_get(root, "clusters")), 3);
    assert_int_equal(json_array_size(json_object_get(root, "routes")), 3);
    json_t *route = find(json_object_get(root, "routes"), "name", "api");
    expect_text(route, "path", "/api/");
    expect_text(route, "cluster", "api");
    assert_null(json_object_get(route, "host")); /* matches every one */
    json_t *web = find(json_object_get(root, "clusters"), "name", "web");
    assert_null(json_object_get(web, "upper")); /* it has no levels */
    expect_number(find(json_object_get(root, "clusters"), "name", "api"), "upper", 0.8);
    json_t *member = server(root, "web", "web-2");
    expect_text(member, "address", "127.0.0.1:10");
    expect_text(member, "state", "ready");
    expect_text(member, "pool", "");
    expect_number(member, "weight", 50);
    expect_number(member, "weight_normal", 50);
    assert_true(json_is_null(json_object_get(member, "utilization"))); /* web has no limit */
    json_t *pool = find(json_object_get(root, "pools"), "name", "rack");
    expect_number(pool, "available", 4);
    expect_number(pool, "allocated", 0);
    expect_number(json_object_get(root, "counters"), "requests", 0);
    char text[LOOP_ADDR_TEXT_BYTES];
    loop_addr_format(&bed->edge->listeners[0].bound, text);
    assert_string_equal(json_string_value(json_array_get(json_object_get(root, "listen"), 0)),
                        text);
    json_decref(root);
    bed_close(bed);
}

static void
with_a_manager(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    struct said_result one = *bed_ask(bed, "api", "<allocate/>");
    bed_done(bed, "far", "<join server='far-1' address='127.0.0.1:15' weight='30'/>");
    bed_done(bed, "web", "<weight server='web-1' weight='10'/>");
    bed_done(bed, "api", "<levels lower='0.25'/>");
    bed_done(bed, NULL, "<route name='r' cluster='web'><match host='a.example' method='POST'>"
                        "<header x-tenant='blue'/></match></route>");
    json_t *root = status_of(bed);
    assert_true(json_is_true(json_object_get(root, "manager_connected")));
    expect_number(root, "manager_epoch", 3);
    expect_number(root, "allocations", 1);
    expect_number(root, "generation",
                  (double)allocator_ledger(bed->edge->allocator)->generation);
    json_t *allocated = server(root, "api", one.servers[0]);
    expect_text(allocated, "state", "ready");
    expect_text(allocated, "pool", "rack");
    expect_number(server(root, "far", "far-1"), "weight", 30);
    expect_number(server(root, "web", "web-1"), "weight", 10);
    expect_number(server(root, "web", "web-1"), "weight_normal", 100);
    json_t *api = find(json_object_get(root, "clusters"), "name", "api");
    assert_null(json_object_get(api, "upper"));
    expect_number(api, "lower", 0.25);
    json_t *route = find(json_object_get(root, "routes"), "name", "r");
    expect_text(route, "host", "a.example");
    expect_text(route, "method", "POST");
    expect_text(route, "header", "x-tenant");
    expect_text(route, "header_value", "blue");
    json_decref(root);
    bed_close(bed);
}

/* On its way in, in, and on its way out: always exactly one row. */
static void
a_server_is_shown_once_in_every_state(void **state)
{
    char address[32];
    struct bed *bed = bed_new();
    (void)state;
    int listen_fd = bed_silent_server(address, sizeof(address));
    char *tail = fr_xprintf("routes: [{ cluster: api }]\n"
                            "clusters:\n"
                            "  api: { health: { path: /h, timeout: 9s, starting-interval: 9ms },\n"
                            "         scale: { from: rack, min: 0, max: 3 } }\n"
                            "pools: { rack: { provider: static, servers: [\"%s\"] } }\n",
                            address);
    bed_manager_up(bed);
    bed_start(bed, bed_config(bed, CONFIG_ROLE_EDGE, true, tail), WIRE_ROLE_EDGE);
    bed_meet(bed, 3);
    uint64_t asked = bed_request(bed, "api", "<allocate/>");
    int check = bed_server_take(bed, listen_fd); /* its check is under way */
    json_t *root = status_of(bed);
    json_t *servers = json_object_get(find(json_object_get(root, "clusters"), "name", "api"),
                                      "servers");
    assert_int_equal(json_array_size(servers), 1);
    expect_text(json_array_get(servers, 0), "state", "starting");
    json_decref(root);
    static const char fine[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    assert_int_equal(send(check, fine, sizeof(fine) - 1, MSG_NOSIGNAL), sizeof(fine) - 1);
    bed_until(bed, bed_result(bed, asked) != NULL);
    root = status_of(bed);
    const char *id = bed_result(bed, asked)->servers[0];
    expect_text(server(root, "api", id), "state", "ready");
    json_decref(root);
    close(check);
    int client = bed_client(bed, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    int busy = bed_server_take(bed, listen_fd);
    asked = bed_request(bed, "api", "<deallocate/>");
    bed_until(bed, bed_member(bed, "api", id) == NULL);
    root = status_of(bed);
    expect_text(server(root, "api", id), "state", "draining");
    json_decref(root);
    close(busy);
    bed_until(bed, bed_result(bed, asked) != NULL);
    root = status_of(bed);
    assert_null(server(root, "api", id));
    json_decref(root);
    close(client);
    close(listen_fd);
    fr_free(tail);
    bed_close(bed);
}

static void
a_follower_shows_what_leaves(void **state)
{
    char address[32], join[128];
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    int listen_fd = bed_silent_server(address, sizeof(address));
    (void)snprintf(join, sizeof(join), "<join server='far-1' address='%s'/>", address);
    bed_done(bed, "far", join);
    int client = bed_client(bed, "GET /far/ HTTP/1.1\r\nHost: a\r\n\r\n");
    int busy = bed_server_take(bed, listen_fd);
    uint64_t asked = bed_request(bed, "far", "<leave server='far-1'/>");
    bed_until(bed, bed_member(bed, "far", "far-1") == NULL);
    json_t *root = status_of(bed);
    json_t *leaving = server(root, "far", "far-1");
    expect_text(leaving, "state", "draining");
    expect_number(leaving, "in_flight", 1);
    assert_true(json_is_null(json_object_get(leaving, "utilization")));
    json_decref(root);
    close(busy);
    bed_until(bed, bed_result(bed, asked) != NULL);
    root = status_of(bed);
    assert_null(server(root, "far", "far-1"));
    json_decref(root);
    close(client);
    close(listen_fd);
    bed_close(bed);
}

static void
an_allocator_says_so(void **state)
{
    struct bed *bed = bed_new();
    (void)state;
    bed_manager_up(bed);
    bed_start(bed,
              bed_config(bed, CONFIG_ROLE_ALLOCATOR, true,
                         "clusters:\n"
                         "  api: { health: { type: none }, scale: { from: rack, min: 1 } }\n"
                         "pools:\n"
                         "  rack: { provider: static, servers: [\"127.0.0.1:11\"] }\n"),
              WIRE_ROLE_ALLOCATOR);
    bed_until(bed, bed->edge->allocations == 1);
    json_t *root = status_of(bed);
    expect_text(root, "role", "allocator");
    json_t *servers = json_object_get(find(json_object_get(root, "clusters"), "name", "api"),
                                      "servers");
    assert_int_equal(json_array_size(servers), 1);
    assert_null(json_object_get(json_array_get(servers, 0), "requests")); /* no traffic of ours */
    assert_null(json_object_get(root, "counters"));
    json_decref(root);
    bed_close(bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_edge_on_its_own),
        cmocka_unit_test(with_a_manager),
        cmocka_unit_test(a_server_is_shown_once_in_every_state),
        cmocka_unit_test(a_follower_shows_what_leaves),
        cmocka_unit_test(an_allocator_says_so),
    };
    fr_log_setup(FR_LOG_ERROR, FR_LOG_SHAPE_HUMAN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
