/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_edge_settings.c - the file, and what was introduced or taken away at run time laid over it:
 * through reloads, restarts and edits that contradict each other, all or nothing.
 */
#include "edge_bed.h"

#include "allocator/allocator_priv.h"

static size_t
size_of(const struct bed *bed, const char *cluster)
{
    const struct edge_cluster *found = edge_cluster_find(bed->edge, fr_view_of(cluster));
    return found ? found->member_count : SIZE_MAX;
}

/* The route's cluster; "" when it is not in force. */
static const char *
route_to(const struct bed *bed, const char *name)
{
    for (size_t i = 0; i < bed->edge->route_count; i++)
        if (strcmp(bed->edge->routes[i]->name, name) == 0)
            return bed->edge->routes[i]->cluster;
    return "";
}

static enum fr_err
reload(struct bed *bed, const char *tail)
{
    struct config *config =
        bed_config(bed, CONFIG_ROLE_EDGE, bed->listen_fd >= 0, tail);
    fr_free(bed->why);
    bed->why = NULL;
    return edge_reload(bed->edge, config, &bed->diag, &bed->why);
}

/* As after kill -9 and a start with that file. */
static enum fr_err
restart(struct bed *bed, const char *tail)
{
    bool manager = bed->listen_fd >= 0;
    fr_free(bed->why);
    bed->why = NULL;
    edge_free(&bed->edge);
    bed_turn(bed);
    enum fr_err err = edge_new(bed->loop, bed_config(bed, CONFIG_ROLE_EDGE, manager, tail),
                               WIRE_ROLE_EDGE, &bed->diag, &bed->edge, &bed->why);
    return err != FR_OK ? err : edge_start(bed->edge, &bed->why);
}

static void
a_reload_changes_what_the_file_says(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    const struct edge_member *stays = bed_member(bed, "web", "web-2");
    assert_int_equal(reload(bed,
                            "routes: [{ name: all, cluster: web }]\n"
                            "clusters:\n"
                            "  web: { members: [{ id: web-2, address: \"127.0.0.1:10\",\n"
                            "                     weight: 9 },\n"
                            "                   { id: web-3, address: \"127.0.0.1:8\" }] }\n"),
                     FR_OK);
    assert_ptr_equal(bed_member(bed, "web", "web-2"), stays); /* with all that it counted */
    assert_int_equal(stays->weight, 9);
    assert_null(bed_member(bed, "web", "web-1"));
    assert_non_null(bed_member(bed, "web", "web-3"));
    assert_int_equal(size_of(bed, "api"), SIZE_MAX);
    assert_string_equal(route_to(bed, "api"), "");
    bed_done(bed, "web", "<weight server='web-3' weight='1'/>"); /* it lives */
    bed_close(bed);
}

static void
a_member_at_another_address_is_another(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    const struct edge_member *before = bed_member(bed, "web", "web-1");
    assert_int_equal(reload(bed, "routes: [{ cluster: web }]\n"
                                 "clusters: { web: { members: [{ id: web-1, address: "
                                 "\"127.0.0.1:7\" }] } }\n"),
                     FR_OK);
    const struct edge_member *after = bed_member(bed, "web", "web-1");
    assert_ptr_not_equal(after, before);
    assert_string_equal(after->shared->address, "127.0.0.1:7");
    assert_int_equal(size_of(bed, "web"), 1);
    bed_close(bed);
}

static void
what_was_introduced_outlives_reload_and_restart(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    bed_done(bed, NULL, "<cluster name='extra'><members><item>127.0.0.1:20</item></members>"
                        "</cluster>");
    bed_done(bed, NULL, "<route name='x' cluster='extra'><match path='/x/'/></route>");
    bed_done(bed, NULL, "<route name='api' cluster='web'><match path='/api/'/></route>");
    bed_done(bed, NULL, "<remove-route name='far'/>");
    bed_done(bed, "web", "<weight server='web-1' weight='11'/>");
    for (int life = 0; life < 3; life++) {
        assert_string_equal(route_to(bed, "x"), "extra");
        assert_string_equal(route_to(bed, "api"), "web");
        assert_string_equal(route_to(bed, "far"), "");
        assert_string_equal(route_to(bed, "all"), "web");
        assert_int_equal(bed->edge->route_count, 3);
        assert_int_equal(size_of(bed, "extra"), 1);
        assert_int_equal(bed_member(bed, "web", "web-1")->weight, 11);
        assert_int_equal(bed_member(bed, "web", "web-1")->weight_normal, 100);
        assert_int_equal(life == 0 ? reload(bed, BED_SETTINGS) : restart(bed, BED_SETTINGS),
                         FR_OK);
    }
    bed_close(bed);
}

static void
a_port_in_use_changes_nothing(void **state)
{
    struct bed *bed = bed_open_alone(BED_SETTINGS);
    char taken[32];
    (void)state;
    int listen_fd = bed_silent_server(taken, sizeof(taken));
    struct loop_addr before = bed->edge->listeners[0].bound;
    char *yaml = fr_xprintf("id: edge-1\nworkers: 1\nstate: %s/state\n"
                            "listen: [\"127.0.0.1:0\", \"%s\"]\n"
                            "routes: [{ name: only, cluster: other }]\n"
                            "clusters: { other: { members: [\"127.0.0.1:5\"] } }\n",
                            bed->folder, taken);
    struct config *config = NULL;
    assert_int_equal(config_parse(fr_view_of(yaml), "test.yaml", CONFIG_ROLE_EDGE, &bed->diag,
                                  &config),
                     FR_OK);
    assert_int_not_equal(edge_reload(bed->edge, config, &bed->diag, &bed->why), FR_OK);
    assert_non_null(strstr(bed->why, taken));
    assert_non_null(strstr(bed->why, "in use"));
    assert_int_equal(bed->edge->listener_count, 1);
    assert_true(loop_addr_equal(&bed->edge->listeners[0].bound, &before));
    assert_int_equal(size_of(bed, "other"), SIZE_MAX);
    assert_int_equal(size_of(bed, "web"), 2);
    assert_string_equal(route_to(bed, "all"), "web");
    fr_free(yaml);
    close(listen_fd);
    bed_close(bed);
}

/* The file drops a cluster that a route of the ledger still names. */
static void
a_file_that_contradicts_the_ledger_is_refused(void **state)
{
    static const char *const without_web =
        "routes: [{ name: other, cluster: other }]\n"
        "clusters: { other: { members: [\"127.0.0.1:5\"] } }\n";
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    bed_done(bed, NULL, "<route name='x' cluster='web' handover='far'><match path='/x/'/></route>");
    assert_int_equal(reload(bed, without_web), FR_ERR_CONFIG);
    assert_non_null(strstr(bed->why, "route x"));
    assert_non_null(strstr(bed->why, "web"));
    assert_int_equal(size_of(bed, "web"), 2);
    assert_int_equal(size_of(bed, "other"), SIZE_MAX);
    assert_string_equal(route_to(bed, "all"), "web");
    bed_done(bed, "web", "<weight server='web-1' weight='1'/>"); /* changes still come through */
    assert_int_equal(restart(bed, without_web), FR_ERR_CONFIG);
    assert_int_equal(bed->diag.error_count, 1);
    assert_non_null(strstr(bed->diag.entries[0].text, "route x names an unknown cluster: web"));
    assert_int_equal(restart(bed, BED_SETTINGS), FR_OK); /* nothing was touched */
    assert_string_equal(route_to(bed, "x"), "web");
    bed_close(bed);
}

/* And the other way round: the file takes up a cluster that was removed at run time. */
static void
a_route_to_what_was_removed_is_refused(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    bed_done(bed, NULL, "<remove-route name='far'/>");
    bed_done(bed, NULL, "<remove-cluster name='far'/>");
    assert_int_equal(reload(bed, BED_SETTINGS), FR_OK); /* its route is removed too */
    char *more = fr_xprintf("%s", BED_SETTINGS);
    memcpy(strstr(more, "name: far"), "name: fur", strlen("name: fur"));
    assert_int_equal(reload(bed, more), FR_ERR_CONFIG);
    assert_non_null(strstr(bed->why, "route fur names an unknown cluster: far"));
    assert_string_equal(route_to(bed, "fur"), "");
    bed_done(bed, "web", "<weight server='web-1' weight='1'/>");
    fr_free(more);
    bed_close(bed);
}

static char *
ledger_path(const struct bed *bed)
{
    return fr_xprintf("%s/state/ledger.yaml", bed->folder);
}

static void
edit(struct bed *bed, const char *text)
{
    char *path = ledger_path(bed);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    fr_free(path);
}

static bool
refused(const struct bed *bed, const char *words)
{
    const struct fr_buf *text = &bed->edge->allocator->refused_text;
    return text->len > 0 && memmem(text->data, text->len, words, strlen(words)) != NULL;
}

/* A ledger edited by hand meets the same question. */
static void
an_edit_that_contradicts_the_file_is_refused(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    edit(bed, "routes:\n  - { name: y, match: { path: /y/ }, cluster: web }\n");
    bed_until(bed, strcmp(route_to(bed, "y"), "web") == 0);
    bed_done(bed, "web", "<weight server='web-1' weight='1'/>");
    edit(bed, "routes:\n  - { name: y, match: { path: /y/ }, cluster: nowhere }\n");
    bed_until(bed, refused(bed, "nowhere"));
    assert_string_equal(route_to(bed, "y"), "web");
    edit(bed, "removed: { clusters: [web] }\n");
    bed_until(bed, refused(bed, "[web]"));
    assert_int_equal(size_of(bed, "web"), 2);
    bed_done(bed, "web", "<weight server='web-1' weight='2'/>");
    bed_close(bed);
}

static void
one_edge_a_state_folder(void **state)
{
    struct bed *bed = bed_open_alone(BED_SETTINGS);
    struct edge *second = NULL;
    char *why = NULL;
    (void)state;
    assert_int_equal(edge_new(bed->loop, bed_config(bed, CONFIG_ROLE_EDGE, false, BED_SETTINGS),
                              WIRE_ROLE_EDGE, &bed->diag, &second, &why),
                     FR_ERR_IO);
    assert_null(second);
    assert_non_null(strstr(why, "in use by another edge"));
    fr_free(why);
    bed_close(bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reload_changes_what_the_file_says),
        cmocka_unit_test(a_member_at_another_address_is_another),
        cmocka_unit_test(what_was_introduced_outlives_reload_and_restart),
        cmocka_unit_test(a_port_in_use_changes_nothing),
        cmocka_unit_test(a_file_that_contradicts_the_ledger_is_refused),
        cmocka_unit_test(a_route_to_what_was_removed_is_refused),
        cmocka_unit_test(an_edit_that_contradicts_the_file_is_refused),
        cmocka_unit_test(one_edge_a_state_folder),
    };
    fr_log_setup(FR_LOG_ERROR, FR_LOG_SHAPE_HUMAN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
