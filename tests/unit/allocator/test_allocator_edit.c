/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_allocator_edit.c - people writing into the ledger: applied as a whole, or refused as a
 * whole.
 */
#include "allocator_fixture.h"

/* The ledger's text with every line that holds `drop` left out and `find` replaced once. */
static void
ledger_edit(struct fixture *fix, const char *drop, const char *find, const char *put)
{
    struct fr_buf text, next;
    fixture_file_read(fix, "ledger.yaml", &text);
    fr_buf_init(&next, 1 << 20);
    struct fr_view rest = fr_buf_view(&text), line;
    while (fr_view_split(&rest, '\n', &line)) {
        if (drop && memmem(line.ptr, line.len, drop, strlen(drop)))
            continue;
        const char *at = find ? memmem(line.ptr, line.len, find, strlen(find)) : NULL;
        if (at) {
            size_t head = (size_t)(at - line.ptr), skip = head + strlen(find);
            assert_int_equal(fr_buf_printf(&next, "%.*s%s%.*s\n", (int)head, line.ptr, put,
                                           (int)(line.len - skip), line.ptr + skip),
                             FR_OK);
            find = NULL;
        } else if (line.len || rest.ptr) {
            assert_int_equal(fr_buf_printf(&next, "%.*s\n", FR_VIEW_ARG(line)), FR_OK);
        }
    }
    assert_null(find); /* the edit did happen */
    fixture_file_write(fix, "ledger.yaml", next.data);
    fr_buf_fini(&text);
    fr_buf_fini(&next);
}

static bool
until_gone(struct fixture *fix)
{
    return fix->allocator->server_count == 1;
}

static void
removed_line_gives_the_server_back(void **state)
{
    (void)state;
    struct fixture fix;
    struct fixture_census census;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 2);
    ledger_edit(&fix, "id: local-1", NULL, NULL);
    fixture_run(&fix, until_gone);
    assert_true(fixture_has_seen(&fix, "leave local-1"));
    assert_int_equal(fix.refused, 0);
    fixture_census_take(&fix, &census);
    assert_int_equal(census.leaders, 1);
    assert_string_equal(census.ids[0], "local-2");
    fixture_close(&fix);
}

static bool
until_added(struct fixture *fix)
{
    return fixture_has_seen(fix, "join my-own");
}

static void
added_line_allocates(void **state)
{
    (void)state;
    struct fixture fix;
    struct allocator_server server;
    struct cluster_ledger ledger;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "web", 1);
    fixture_file_write(&fix, "ledger.yaml",
                       "clusters:\n  web:\n    servers:\n"
                       "      - { id: rack-1, address: \"127.0.0.1:9\", pool: rack, weight: 35 }\n"
                       "      - { id: my-own, address: \"127.0.0.1:10\", pool: rack }\n");
    fixture_run(&fix, until_added);
    assert_true(fixture_server(&fix, "my-own", &server));
    assert_string_equal(server.address, "127.0.0.1:10");
    assert_true(fixture_has_seen(&fix, "weight rack-1 35"));
    assert_false(fixture_has_seen(&fix, "leave rack-1"));
    fixture_ledger(&fix, &ledger); /* in our own notation again */
    assert_int_equal(ledger.server_count, 2);
    assert_true(ledger.generation > 0);
    cluster_ledger_fini(&ledger);
    fixture_close(&fix);
}

static bool
until_moved(struct fixture *fix)
{
    struct allocator_server server;
    return fixture_server(fix, "local-1", &server) && strcmp(server.cluster, "web") == 0 &&
           server.state == CLUSTER_SERVER_READY;
}

static void
moved_line_moves(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    struct allocator_server server;
    assert_true(fixture_server(&fix, "local-1", &server));
    char text[512];
    (void)snprintf(text, sizeof(text),
                   "clusters: { web: { servers: [ { id: local-1, address: \"%s\", pool: local, "
                   "state: ready } ] } }\n",
                   server.address);
    fixture_file_write(&fix, "ledger.yaml", text);
    fixture_run(&fix, until_moved);
    fixture_close(&fix);
}

static bool
until_settings(struct fixture *fix)
{
    return fix->settings > 0;
}

static void
settings_by_hand_are_told(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    struct fr_buf text;
    fixture_file_read(&fix, "ledger.yaml", &text);
    assert_int_equal(fr_buf_printf(&text, "new-pools: { spare: { provider: static, servers: "
                                          "[\"127.0.0.1:77\"] } }\n"),
                     FR_OK);
    fixture_file_write(&fix, "ledger.yaml", text.data);
    fr_buf_fini(&text);
    fixture_run(&fix, until_settings);
    assert_int_equal(fix.refused, 0);
    assert_int_equal(allocator_ledger(fix.allocator)->pool_count, 1);
    assert_int_equal(allocator_pool_count(fix.allocator), 3);
    fixture_close(&fix);
}

static bool
until_refused(struct fixture *fix)
{
    return fix->refused >= fix->wanted;
}

static void
bad_edits_are_refused_and_kept(void **state)
{
    (void)state;
    struct fixture fix;
    struct fr_buf text;
    struct cluster_ledger ledger;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"clusters: {\n", "ledger.yaml:"},
        {"clusters:\n  api:\n    servers:\n      - { id: x, address: \"127.0.0.1:9\" }\n",
         "ledger.yaml:4:9: "},
        {"clusters:\n  api:\n    servers:\n      - { id: x1, address: \"127.0.0.1:9\", pool: no "
         "}\n",
         "ledger.yaml:4:15: server x1: there is no pool \"no\""},
        {"clusters:\n  nil:\n    servers:\n"
         "      - { id: x1, address: \"127.0.0.1:9\", pool: rack }\n",
         "ledger.yaml:4:15: server x1: there is no cluster \"nil\""},
        {"clusters:\n  api:\n    servers:\n"
         "      - { id: x1, address: \"127.0.0.1:1234\", pool: rack }\n",
         "ledger.yaml:4:15: server x1: pool rack does not have 127.0.0.1:1234"},
        {"clusters:\n  api:\n    servers:\n"
         "      - { id: local-1, address: \"127.0.0.1:9\", pool: rack }\n",
         "ledger.yaml:4:15: server local-1: pool is rack"},
        {"# nothing\n", "ledger.yaml:1:1: the ledger says nothing, but 1 servers are allocated"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fix.wanted = fix.refused + 1;
        fixture_file_write(&fix, "ledger.yaml", rows[i].text);
        fixture_run(&fix, until_refused);
        if (!strstr(fix.refused_words, rows[i].words))
            fail_msg("\"%s\" instead of \"%s\"", fix.refused_words, rows[i].words);
        assert_int_equal(fix.allocator->server_count, 1);
        fixture_file_read(&fix, "ledger.yaml", &text); /* the user's file is left alone */
        assert_string_equal(text.data, rows[i].text);
        fr_buf_fini(&text);
    }
    assert_false(fixture_has_seen(&fix, "leave local-1"));
    /* Our own next write keeps it beside the ledger. */
    fixture_allocate(&fix, "web", 1);
    fixture_ledger(&fix, &ledger);
    assert_int_equal(ledger.server_count, 2);
    cluster_ledger_fini(&ledger);
    fixture_file_read(&fix, "ledger.yaml.refused", &text);
    assert_string_equal(text.data, "# nothing\n");
    fr_buf_fini(&text);
    fixture_close(&fix);
}

static bool
until_first_gone(struct fixture *fix)
{
    struct allocator_server server;
    return !fixture_server(fix, "local-1", &server);
}

static void
editor_with_an_old_copy_undoes_nothing(void **state)
{
    (void)state;
    struct fixture fix;
    struct fr_buf old;
    struct allocator_server server;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 2);
    fixture_file_read(&fix, "ledger.yaml", &old);
    /* While he edits, one server comes and one goes. Then he takes local-2 out and saves. */
    fixture_allocate(&fix, "web", 1);
    fixture_deallocate(&fix, "local-1");
    fixture_file_write(&fix, "ledger.yaml", old.data);
    ledger_edit(&fix, "id: local-2", NULL, NULL);
    fixture_run(&fix, until_gone);
    assert_int_equal(fix.refused, 0);
    assert_true(fixture_server(&fix, "rack-1", &server));
    assert_false(fixture_server(&fix, "local-1", &server));
    fr_buf_fini(&old);
    fixture_close(&fix);
}

static void
edit_right_before_our_write_is_not_lost(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 2);
    /* Both in one turn: the watch has had no time to tell. */
    ledger_edit(&fix, "id: local-1", NULL, NULL);
    allocator_allocate(fix.allocator, FR_VIEW("web"), 1, FR_VIEW(""), fixture_done, &fix);
    fixture_answer(&fix);
    fixture_run(&fix, until_first_gone);
    assert_true(fixture_has_seen(&fix, "leave local-1"));
    assert_int_equal(fix.allocator->server_count, 2);
    fixture_close(&fix);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(removed_line_gives_the_server_back),
        cmocka_unit_test(added_line_allocates),
        cmocka_unit_test(moved_line_moves),
        cmocka_unit_test(settings_by_hand_are_told),
        cmocka_unit_test(bad_edits_are_refused_and_kept),
        cmocka_unit_test(editor_with_an_old_copy_undoes_nothing),
        cmocka_unit_test(edit_right_before_our_write_is_not_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
