/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cluster_ledger.c - the ledger: round trip, files on disk, and every way to get it wrong.
 */
#include "cluster/cluster_ledger.h"

#include "base/fr_file.h"
#include "base/fr_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char full[] =
    "generation: 13\n"
    "clusters:\n"
    "  api:\n"
    "    serves: [ \"example.com/api/\" ]\n"
    "    servers:\n"
    "      - { id: local-1, address: \"127.0.0.1:9101\", pool: local, state: ready, weight: 100,\n"
    "          pid: 4711, started: 88123, request: \"3:81\" }\n"
    "      - { id: local-2, address: \"127.0.0.1:9102\", pool: local, state: draining, weight: 0, "
    "normal: 70 }\n"
    "  web:\n"
    "    servers:\n"
    "      - { id: rack-1, address: \"[::1]:80\", pool: rack }\n"
    "pools:\n"
    "  rack: { available: [\"10.0.0.5:8080\"] }\n"
    "weights: { web-127.0.0.1-9001: 50, web-2: { weight: 20 }, web-3: { weight: 20, normal: 60 } "
    "}\n"
    "routes: [ { name: extra, cluster: web, match: { host: b.example, header: { X-A: \"1, 2\" } } "
    "} ]\n"
    "new-clusters: { blue: { members: [\"10.0.0.9:80\"], timeouts: { connect: 1500ms } } }\n"
    "new-pools: { more: { provider: process, command: [\"/gone/app\", \"{port}\"], ports: 1-2 } }\n"
    "removed: { routes: [old], clusters: [a, b], pools: [] }\n";

static enum fr_err
parse(const char *text, struct config_diag *diag, struct cluster_ledger *out)
{
    config_diag_init(diag);
    return cluster_ledger_parse(fr_view_of(text), "ledger.yaml", diag, out);
}

static void
must_parse(const char *text, struct cluster_ledger *out)
{
    struct config_diag diag;
    enum fr_err err = parse(text, &diag, out);
    if (err) {
        struct fr_buf words;
        fr_buf_init(&words, 1 << 20);
        assert_int_equal(config_diag_print(&diag, &words), FR_OK);
        fputs(words.data, stderr);
        fr_buf_fini(&words);
    }
    assert_int_equal(err, FR_OK);
    config_diag_fini(&diag);
}

static void
check_full(struct cluster_ledger *ledger)
{
    assert_int_equal(ledger->generation, 13);
    assert_int_equal(ledger->server_count, 3);
    const struct cluster_ledger_server *server = cluster_ledger_find(ledger, "local-1");
    assert_string_equal(server->cluster, "api");
    assert_string_equal(server->pool, "local");
    assert_string_equal(server->address, "127.0.0.1:9101");
    assert_int_equal(server->state, CLUSTER_SERVER_READY);
    assert_int_equal(server->weight, 100);
    assert_int_equal(server->pid, 4711);
    assert_int_equal(server->started, 88123);
    assert_string_equal(server->request, "3:81");
    server = cluster_ledger_find(ledger, "local-2");
    assert_int_equal(server->state, CLUSTER_SERVER_DRAINING);
    assert_int_equal(server->weight, 0);
    assert_int_equal(server->weight_normal, 70);
    assert_string_equal(server->request, "");
    server = cluster_ledger_find(ledger, "rack-1");
    assert_string_equal(server->address, "[::1]:80");
    assert_int_equal(server->state, CLUSTER_SERVER_STARTING);
    assert_int_equal(server->weight, 100);
    assert_int_equal(server->weight_normal, 100);
    assert_int_equal(ledger->weight_count, 3);
    assert_string_equal(ledger->weights[0].id, "web-127.0.0.1-9001");
    assert_int_equal(ledger->weights[0].weight, 50);
    assert_int_equal(ledger->weights[0].weight_normal, 50); /* said by a person */
    assert_int_equal(ledger->weights[1].weight, 20);
    assert_int_equal(ledger->weights[1].weight_normal, CLUSTER_WEIGHT_OF_FILE);
    assert_int_equal(ledger->weights[2].weight_normal, 60);
    assert_int_equal(ledger->route_count, 1);
    assert_true(ledger->routes[0]->runtime);
    assert_string_equal(ledger->routes[0]->header_name, "x-a");
    assert_string_equal(ledger->routes[0]->header_value, "1, 2");
    assert_int_equal(ledger->cluster_count, 1);
    assert_int_equal(ledger->clusters[0]->timeouts.connect_us, 1500000);
    assert_int_equal(ledger->pool_count, 1);
    assert_string_equal(ledger->pools[0]->command[0], "/gone/app");
    assert_int_equal(ledger->removed_route_count, 1);
    assert_int_equal(ledger->removed_cluster_count, 2);
    assert_string_equal(ledger->removed_clusters[1], "b");
    assert_int_equal(ledger->removed_pool_count, 0);
}

static const char *const *
serves(void *ctx, const char *cluster)
{
    (void)ctx;
    static const char *const api[] = {"example.com/api/", NULL};
    return strcmp(cluster, "api") == 0 ? api : NULL;
}

static const char *const *
available(void *ctx, const char *pool)
{
    (void)ctx;
    static const char *const rack[] = {"10.0.0.5:8080", NULL};
    return strcmp(pool, "rack") == 0 ? rack : NULL;
}

static const char *const shown_clusters[] = {"api", "idle", NULL};
static const char *const shown_pools[] = {"local", "rack", NULL};
static const struct cluster_ledger_shown shown = {
    .serves = serves, .available = available, .clusters = shown_clusters, .pools = shown_pools};

static void
test_round_trip(void **state)
{
    (void)state;
    struct cluster_ledger ledger, again;
    struct fr_buf first, second;
    fr_buf_init(&first, 1 << 20);
    fr_buf_init(&second, 1 << 20);
    must_parse(full, &ledger);
    check_full(&ledger);
    assert_true(cluster_ledger_find(&ledger, "rack-1")->edited);
    assert_false(cluster_ledger_find(&ledger, "local-1")->edited);
    assert_int_equal(cluster_ledger_print(&ledger, &shown, &first), FR_OK);
    must_parse(first.data, &again);
    check_full(&again);
    assert_false(cluster_ledger_find(&again, "rack-1")->edited);
    assert_int_equal(cluster_ledger_print(&again, &shown, &second), FR_OK);
    assert_string_equal(first.data, second.data);
    assert_non_null(strstr(first.data,
                           "  api:\n    serves: [example.com/api/]\n    servers:\n      - "
                           "{ id: local-1, address: \"127.0.0.1:9101\", pool: local, "
                           "state: ready, weight: 100, pid: 4711, started: 88123, "
                           "request: \"3:81\" }\n"));
    assert_non_null(strstr(first.data, "  idle:\n    servers: []\n"));
    assert_non_null(strstr(first.data, "pools:\n  rack: { available: [\"10.0.0.5:8080\"] }\n"));
    fr_buf_fini(&first);
    fr_buf_fini(&second);
    cluster_ledger_fini(&ledger);
    cluster_ledger_fini(&again);
}

static void
test_empty(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "---\n",
                                        "# nothing\n",
                                        "clusters:\npools:\nroutes:\n",
                                        "clusters: { web: }\n",
                                        "generation: 0\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct cluster_ledger ledger;
        must_parse(texts[i], &ledger);
        assert_int_equal(ledger.server_count, 0);
        struct fr_buf out;
        fr_buf_init(&out, 1 << 20);
        assert_int_equal(cluster_ledger_print(&ledger, NULL, &out), FR_OK);
        assert_non_null(strstr(out.data, "\ngeneration: 0\n"));
        assert_null(strstr(out.data, "clusters:"));
        cluster_ledger_fini(&ledger);
        must_parse(out.data, &ledger);
        fr_buf_fini(&out);
        cluster_ledger_fini(&ledger);
    }
}

struct bad {
    const char *text, *message;
};
#define S "clusters: { a: { servers: [ "
#define GOOD "{ id: s1, address: \"10.0.0.1:80\", pool: p }"

static const struct bad bads[] = {
    {"generaton: 1\n",
     "1:1: unknown key \"generaton\" in the ledger, expected one of generation, "
     "clusters, pools, weights, routes, new-clusters, new-pools, removed (did you "
     "mean \"generation\"?)"},
    {"generation: -1\n", "1:13: generation is \"-1\", expected a whole number from 0 to "
                         "9223372036854775807"},
    {"generation: 9223372036854775808\n",
     "1:13: generation is \"9223372036854775808\", expected a whole number from 0 to "
     "9223372036854775807"},
    {"[]\n", "1:1: the ledger is a list, expected a mapping"},
    {S GOOD ", { id: s1, address: \"10.0.0.2:80\", pool: p } ] } }\n",
     "1:80: id s1 a second time, expected every server once"},
    {S GOOD ", { id: s2, address: \"10.0.0.1:80\", pool: p } ] } }\n",
     "1:93: address 10.0.0.1:80 a second time, expected every server once"},
    {S "{ id: s1, address: \"10.0.0.1:80\", pool: p, state: redy } ] } }\n",
     "1:79: state is \"redy\", expected one of starting, ready, draining, stopping"},
    {S "{ id: s1, address: \"10.0.0.1:80\", pool: p, state: available } ] } }\n",
     "1:79: state is \"available\", expected one of starting, ready, draining, stopping"},
    {S "{ id: s1, address: \"10.0.0.1:80\", pool: p, weight: 65536 } ] } }\n",
     "1:80: weight is \"65536\", expected a whole number from 0 to 65535"},
    {S "{ id: s1, address: \"10.0.0.1:80\", pool: p, pid: 4194305 } ] } }\n",
     "1:77: pid is \"4194305\", expected a whole number from 0 to 4194304"},
    {S "{ id: s1, address: \"10.0.0.1:80\", pool: p, started: x } ] } }\n",
     "1:81: started is \"x\", expected a whole number from 0 to 9223372036854775807"},
    {S "{ id: s1, address: \"10.0.0.1\", pool: p } ] } }\n",
     "1:48: address is \"10.0.0.1\", expected a numeric HOST:PORT or unix:PATH"},
    {S "{ id: s1, address: \"nowhere.invalid:80\", pool: p } ] } }\n",
     "1:48: address is \"nowhere.invalid:80\", expected a numeric HOST:PORT or unix:PATH"},
    {S "{ id: s1, address: \"10.0.0.1:0\", pool: p } ] } }\n",
     "1:48: address is \"10.0.0.1:0\", expected a numeric HOST:PORT or unix:PATH"},
    {S "{ address: \"10.0.0.1:80\", pool: p } ] } }\n",
     "1:29: a server without id, expected id, address and pool"},
    {S "{ id: s1, pool: p } ] } }\n",
     "1:29: a server without address, expected id, address and pool"},
    {S "{ id: s1, address: \"10.0.0.1:80\" } ] } }\n",
     "1:29: a server without pool, expected id, address and pool"},
    {S "{ id: a b, address: \"10.0.0.1:80\", pool: p } ] } }\n",
     "1:35: id is \"a b\", expected letters, digits, '.', '_' and '-', beginning with a letter or "
     "digit, at most 63"},
    {S "{ id: s1, address: \"10.0.0.1:80\", pool: p, wait: 1 } ] } }\n",
     "1:72: unknown key \"wait\" in a server, expected one of id, address, pool, state, weight, "
     "normal, pid, started, request"},
    {"clusters: { a: { server: [] } }\n",
     "1:18: unknown key \"server\" in a cluster, expected one of serves, servers (did you mean "
     "\"servers\"?)"},
    {"clusters: { a: { servers: {} } }\n",
     "1:27: servers is a mapping, expected a list of servers"},
    {"weights: { a: 65536 }\n", "1:15: a is \"65536\", expected a whole number from 0 to 65535"},
    {"weights: { a: { normal: 1 } }\n",
     "1:15: a has no weight, expected { weight: N, normal: N }"},
    {"weights: { a: { weight: 1, normal: x } }\n",
     "1:36: normal is \"x\", expected a whole number from 0 to 65535"},
    {S "{ id: s1, address: \"10.0.0.1:80\", pool: p, normal: 65536 } ] } }\n",
     "1:80: normal is \"65536\", expected a whole number from 0 to 65535"},
    {S "{ id: s1, address: \"10.0.0.1:80\", pool: p, request: \"3\" } ] } }\n",
     "1:81: request is \"3\", expected EPOCH:SEQUENCE, two numbers"},
    {S "{ id: s1, address: \"10.0.0.1:80\", pool: p, request: [3] } ] } }\n",
     "1:81: request is \"a list\", expected EPOCH:SEQUENCE, two numbers"},
    {"routes: [ { cluster: a } ]\n",
     "1:11: a route without a name, expected one: run-time changes need it"},
    {"routes: [ { name: r, cluster: a }, { name: r, cluster: b } ]\n",
     "1:36: route r a second time, expected every name once"},
    {"new-clusters: { a: { limit: x, members: [\"10.0.0.1:1\"] } }\n",
     "1:29: clusters.a.limit is \"x\", expected a whole number from 0 to 1000000"},
    {"new-pools: { a: { provider: cloud } }\n",
     "1:29: pools.a.provider is \"cloud\", expected one of static, process"},
    {"removed: { routes: [ \"a b\" ] }\n",
     "1:22: a name is \"a b\", expected letters, digits, '.', '_' and '-', beginning with a letter "
     "or digit, at most 63"},
    {"clusters: [\n", "2:1: did not find expected node content while parsing a flow node, expected "
                      "YAML"},
};

static void
test_too_many(void **state)
{
    (void)state;
    struct cluster_ledger ledger = {.generation = 77};
    struct config_diag diag;
    struct fr_buf text;
    fr_buf_init(&text, 1 << 20);
    assert_int_equal(fr_buf_printf(&text, "new-clusters:\n"), FR_OK);
    for (int i = 0; i <= CONFIG_CLUSTERS_MAX; i++)
        assert_int_equal(fr_buf_printf(&text, "  c%d: { limit: 1 }\n", i), FR_OK);
    assert_int_equal(parse(text.data, &diag, &ledger), FR_ERR_CONFIG);
    assert_string_equal(diag.entries[0].text,
                        "new-clusters has 10001 entries, expected at most 10000");
    config_diag_fini(&diag);
    fr_buf_fini(&text);
}

static void
test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
        struct cluster_ledger ledger = {.generation = 77};
        struct config_diag diag;
        struct fr_buf out;
        char expected[1024];
        fr_buf_init(&out, 1 << 16);
        assert_int_equal(parse(bads[i].text, &diag, &ledger), FR_ERR_CONFIG);
        assert_int_equal(ledger.generation, 77); /* the old content stays */
        assert_int_equal(diag.error_count, 1);
        assert_int_equal(config_diag_print_first(&diag, &out), FR_OK);
        (void)snprintf(expected, sizeof(expected), "ledger.yaml:%s", bads[i].message);
        assert_string_equal(out.data, expected);
        fr_buf_fini(&out);
        config_diag_fini(&diag);
    }
}

static void
test_every_error_in_one_run(void **state)
{
    (void)state;
    struct cluster_ledger ledger;
    struct config_diag diag;
    assert_int_equal(parse("generation: x\n"
                           "clusters: { a: { servers: [ 5, { id: s } ] } }\n"
                           "weights: []\n"
                           "weights: {}\n"
                           "nonsense: 1\n",
                           &diag, &ledger),
                     FR_ERR_CONFIG);
    assert_int_equal(diag.error_count, 7);
    config_diag_fini(&diag);
}

static void
test_values(void **state)
{
    (void)state;
    struct cluster_ledger ledger;
    cluster_ledger_init(&ledger);
    for (unsigned i = 0; i < 20; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "s-%u", i);
        struct cluster_ledger_server *server = cluster_ledger_add(&ledger, id);
        assert_int_equal(server->state, CLUSTER_SERVER_STARTING);
        assert_int_equal(server->weight, 100);
    }
    cluster_ledger_drop(&ledger, "s-0");
    cluster_ledger_drop(&ledger, "s-7");
    cluster_ledger_drop(&ledger, "s-19");
    cluster_ledger_drop(&ledger, "s-19");
    assert_int_equal(ledger.server_count, 17);
    assert_null(cluster_ledger_find(&ledger, "s-7"));
    assert_string_equal(cluster_ledger_find(&ledger, "s-8")->id, "s-8");
    cluster_ledger_fini(&ledger);
    assert_string_equal(cluster_server_state_name(CLUSTER_SERVER_STOPPING), "stopping");
}

static void
test_files(void **state)
{
    (void)state;
    char folder[] = "/tmp/freshet-ledger-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *path = fr_xprintf("%s/ledger.yaml", folder);
    struct cluster_ledger ledger, again;
    struct config_diag diag;
    int why = 0;
    config_diag_init(&diag);
    assert_int_equal(cluster_ledger_load(path, &diag, &again), FR_OK); /* not there: empty */
    assert_int_equal(again.server_count, 0);
    cluster_ledger_fini(&again);
    must_parse(full, &ledger);
    assert_int_equal(cluster_ledger_save(&ledger, &shown, path, &why), FR_OK);
    assert_int_equal(cluster_ledger_load(path, &diag, &again), FR_OK);
    check_full(&again);
    cluster_ledger_fini(&again);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    char *nowhere = fr_xprintf("%s/no/ledger.yaml", folder);
    assert_int_equal(cluster_ledger_save(&ledger, &shown, nowhere, &why), FR_ERR_IO);
    assert_int_not_equal(why, 0);
    assert_int_equal(cluster_ledger_load(folder, &diag, &again), FR_ERR_CONFIG);
    assert_int_equal(diag.entries[0].line, 0);
    cluster_ledger_fini(&ledger);
    config_diag_fini(&diag);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
    fr_free(path);
    fr_free(nowhere);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_empty),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_bad),        cmocka_unit_test(test_every_error_in_one_run),
        cmocka_unit_test(test_values),     cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
