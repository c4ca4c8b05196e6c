/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_mgr_access.c - manager.peers, row by row: who may open a stream, report, allocate, command
 * and renew, and the rule that a refusal names.
 */
#include "mgr_harness.h"

#include <stdio.h>
#include <string.h>

static char web[] = "web", api[] = "api", all[] = "*";
static char *only_web[] = {web, NULL}, *both[] = {web, api, NULL}, *none[] = {NULL};
static char *every[] = {all, NULL};
static char n_web[] = "edge-web*", n_look[] = "edge-look", n_op[] = "op", n_boss[] = "boss",
            n_host[] = "host-*";

static struct config_peer rules[] = {
    {.name = n_web, .roles = CONFIG_PEER_EDGE, .report = only_web},
    {.name = n_look, .roles = 7, .report = both, .allocate = none},
    {.name = n_op, .roles = 7, .report = none, .command = only_web},
    {.name = n_boss, .roles = 7, .command = every},
    {.name = n_host, .roles = CONFIG_PEER_AGENT, .report = only_web},
};

static struct admin_peer
peer_of(enum admin_way way, const char *names)
{
    struct admin_peer peer = {.way = way};
    (void)snprintf(peer.names, sizeof(peer.names), "%s", names);
    return peer;
}

/* NULL when it may; else the words, valid until the next call. */
static const char *
opens(struct mgr *mgr, enum admin_way way, const char *names, enum wire_role role, const char *id)
{
    static char words[MGR_REFUSAL_BYTES];
    const struct admin_peer peer = peer_of(way, names);
    const struct wire_open open = {.role = role, .id = fr_view_of(id)};
    return mgr_access_open(mgr, &peer, &open, words) ? NULL : words;
}

static const char *
reports(struct mgr *mgr, const char *names, enum wire_role role, const char *cluster,
        bool responsible)
{
    static char words[MGR_REFUSAL_BYTES];
    const struct admin_peer peer = peer_of(ADMIN_WAY_TLS, names);
    struct wire_cluster shown = {.name = fr_view_of(cluster), .responsible = responsible};
    const struct wire_report report = {.clusters = &shown, .cluster_count = 1};
    return mgr_access_report(mgr, &peer, role, &report, words) ? NULL : words;
}

static const char *
speaks_of_host(struct mgr *mgr, const char *names, const char *id, const char *address)
{
    static char words[MGR_REFUSAL_BYTES];
    const struct admin_peer peer = peer_of(ADMIN_WAY_TLS, names);
    struct wire_report report = {.self = wire_server_none(), .has_self = true};
    report.self.id = fr_view_of(id);
    report.self.address = fr_view_of(address);
    return mgr_access_report(mgr, &peer, WIRE_ROLE_AGENT, &report, words) ? NULL : words;
}

static bool
asks(struct mgr *mgr, enum admin_way way, const char *names, const char *path, const char *query)
{
    const struct admin_peer peer = peer_of(way, names);
    const struct admin_request request = {
        .path = fr_view_of(path), .query = fr_view_of(query), .peer = &peer};
    return mgr_access_request(mgr, &request);
}

static bool
renews(struct mgr *mgr, const char *names, enum admin_role role, char words[MGR_REFUSAL_BYTES])
{
    const struct admin_peer peer = peer_of(ADMIN_WAY_TLS, names);
    const struct admin_request request = {.peer = &peer, .role = role};
    return mgr_access_renew(mgr, &request, words);
}

static void
assert_says(const char *words, const char *wanted)
{
    assert_non_null(words);
    if (!strstr(words, wanted))
        fail_msg("\"%s\" does not say \"%s\"", words, wanted);
}

/* A manager that is nothing but its configuration. */
struct bed {
    struct mgr mgr;
    struct config config;
};

static struct mgr *
bed_of(struct bed *bed, bool with_rules)
{
    memset(bed, 0, sizeof(*bed));
    bed->mgr.config = &bed->config;
    bed->config.manager.peers = with_rules ? rules : NULL;
    bed->config.manager.peer_count = with_rules ? sizeof(rules) / sizeof(rules[0]) : 0;
    return &bed->mgr;
}

static void
test_a_name_is_the_certificates(void **state)
{
    struct bed bed;
    struct mgr *mgr = bed_of(&bed, false);
    (void)state;
    assert_null(opens(mgr, ADMIN_WAY_TLS, "edge-1", WIRE_ROLE_EDGE, "edge-1"));
    assert_null(opens(mgr, ADMIN_WAY_TLS, "edge-1 EDGE-2", WIRE_ROLE_EDGE, "edge-2"));
    assert_says(opens(mgr, ADMIN_WAY_TLS, "edge-1", WIRE_ROLE_EDGE, "edge-2"),
                "manager.tls: id \"edge-2\" is not the name of the certificate, which is for "
                "edge-1");
    /* A part of a name is no name, nor is nothing. */
    assert_non_null(opens(mgr, ADMIN_WAY_TLS, "edge-10", WIRE_ROLE_EDGE, "edge-1"));
    assert_non_null(opens(mgr, ADMIN_WAY_TLS, "edge-1", WIRE_ROLE_EDGE, ""));
    assert_says(opens(mgr, ADMIN_WAY_TLS, "", WIRE_ROLE_EDGE, "edge-1"),
                "needs a client certificate");
    /* A socket of this machine, and loopback in the clear: any name. */
    assert_null(opens(mgr, ADMIN_WAY_LOCAL, "", WIRE_ROLE_EDGE, "edge-1"));
    assert_null(opens(mgr, ADMIN_WAY_CLEAR, "", WIRE_ROLE_AGENT, "edge-1"));
}

static void
test_roles_and_who_has_no_rule(void **state)
{
    struct bed bed;
    struct mgr *mgr = bed_of(&bed, true);
    (void)state;
    assert_null(opens(mgr, ADMIN_WAY_TLS, "edge-web7", WIRE_ROLE_EDGE, "edge-web7"));
    assert_says(opens(mgr, ADMIN_WAY_TLS, "edge-web7", WIRE_ROLE_AGENT, "edge-web7"),
                "manager.peers[0] (edge-web*): roles does not have agent");
    assert_says(opens(mgr, ADMIN_WAY_TLS, "edge-web7", WIRE_ROLE_ALLOCATOR, "edge-web7"),
                "roles does not have allocator");
    assert_null(opens(mgr, ADMIN_WAY_TLS, "edge-look", WIRE_ROLE_ALLOCATOR, "edge-look"));
    assert_says(opens(mgr, ADMIN_WAY_TLS, "nobody", WIRE_ROLE_EDGE, "nobody"),
                "manager.peers: no rule is for nobody");
    /* Not a wildcard: a longer name than that of the rule. */
    assert_non_null(opens(mgr, ADMIN_WAY_TLS, "edge-looker", WIRE_ROLE_EDGE, "edge-looker"));
}

static void
test_clusters(void **state)
{
    struct bed bed;
    struct mgr *mgr = bed_of(&bed, true);
    (void)state;
    assert_null(reports(mgr, "edge-web1", WIRE_ROLE_EDGE, "web", true));
    assert_says(reports(mgr, "edge-web1", WIRE_ROLE_EDGE, "api", false),
                "manager.peers[0] (edge-web*): report does not have cluster api");
    assert_null(reports(mgr, "edge-look", WIRE_ROLE_EDGE, "api", false));
    assert_says(reports(mgr, "edge-look", WIRE_ROLE_EDGE, "api", true),
                "manager.peers[1] (edge-look): allocate does not have cluster api");
    assert_says(reports(mgr, "op", WIRE_ROLE_EDGE, "web", false),
                "manager.peers[2] (op): report does not have cluster web");
    assert_null(reports(mgr, "boss", WIRE_ROLE_EDGE, "anything", true));
    /* Taken off the list while its stream stands. */
    assert_says(reports(mgr, "gone", WIRE_ROLE_EDGE, "web", false), "no rule is for gone");
    mgr = bed_of(&bed, false);
    assert_null(reports(mgr, "gone", WIRE_ROLE_EDGE, "web", true));
}

static void
test_agents_speak_of_hosts_of_their_clusters(void **state)
{
    struct harness harness;
    struct peer edge;
    (void)state;
    harness_start(&harness, "clusters:\n"
                            "  web: { members: [{ address: \"10.0.0.1:80\", id: web-1 }] }\n"
                            "  api: { members: [{ address: \"10.0.0.2:80\", id: api-1 }] }\n");
    peer_connect(&harness, &edge, "edge", "edge-1", 0);
    peer_say(&edge, "<report full=\"true\">"
                    "<cluster name=\"web\"><server id=\"web-1\" address=\"10.0.0.1:80\"/></cluster>"
                    "<cluster name=\"api\"><server id=\"api-1\" address=\"10.0.0.2:80\"/></cluster>"
                    "</report>");
    harness_wait_count(&harness, &harness.mgr->counters.reports, 1);
    harness.config->manager.peers = rules;
    harness.config->manager.peer_count = sizeof(rules) / sizeof(rules[0]);
    assert_null(speaks_of_host(harness.mgr, "host-1", "web-1", ""));
    assert_null(speaks_of_host(harness.mgr, "host-1", "host-1", "10.0.0.1:80"));
    assert_null(speaks_of_host(harness.mgr, "host-1", "host-1", "10.0.0.9:80")); /* nobody's */
    assert_says(speaks_of_host(harness.mgr, "host-1", "api-1", ""),
                "manager.peers[4] (host-*): report does not have cluster api");
    assert_says(speaks_of_host(harness.mgr, "host-1", "host-1", "10.0.0.2:80"),
                "report does not have cluster api");
    assert_null(speaks_of_host(harness.mgr, "boss", "api-1", ""));
    harness.config->manager.peers = NULL; /* they are not the configuration's to free */
    harness.config->manager.peer_count = 0;
    peer_close(&edge);
    harness_stop(&harness);
}

static void
test_commands(void **state)
{
    struct bed bed;
    struct mgr *mgr = bed_of(&bed, true);
    (void)state;
    assert_true(asks(mgr, ADMIN_WAY_TLS, "op", "/approve", "cluster=web"));
    assert_true(asks(mgr, ADMIN_WAY_TLS, "op", "/deny", "cluster=web"));
    assert_false(asks(mgr, ADMIN_WAY_TLS, "op", "/approve", "cluster=api"));
    assert_false(asks(mgr, ADMIN_WAY_TLS, "op", "/approve", ""));
    assert_false(asks(mgr, ADMIN_WAY_TLS, "op", "/cache/purge", "cluster=web"));
    assert_true(asks(mgr, ADMIN_WAY_TLS, "boss", "/cache/purge", "all"));
    assert_true(asks(mgr, ADMIN_WAY_TLS, "boss", "/approve", "cluster=api"));
    assert_false(asks(mgr, ADMIN_WAY_TLS, "edge-web1", "/approve", "cluster=web"));
    assert_false(asks(mgr, ADMIN_WAY_TLS, "", "/approve", "cluster=web"));
    assert_false(asks(mgr, ADMIN_WAY_CLEAR, "op", "/approve", "cluster=web")); /* nobody's word */
    /* Nothing else is let in by a rule. */
    assert_false(asks(mgr, ADMIN_WAY_TLS, "boss", "/tokens", "name=x"));
    assert_false(asks(mgr, ADMIN_WAY_TLS, "boss", "/status", ""));
    /* A posted report is judged by what it says, but somebody must have said it. */
    assert_true(asks(mgr, ADMIN_WAY_TLS, "edge-web1", "/report", ""));
    assert_false(asks(mgr, ADMIN_WAY_TLS, "", "/report", ""));
    assert_true(asks(mgr, ADMIN_WAY_CLEAR, "", "/report", ""));
}

static void
test_who_was_taken_off_gets_no_new_certificate(void **state)
{
    struct bed bed;
    struct mgr *mgr = bed_of(&bed, true);
    char words[MGR_REFUSAL_BYTES];
    (void)state;
    assert_true(renews(mgr, "edge-web1", ADMIN_ROLE_NOBODY, words));
    assert_true(renews(mgr, "somebody", ADMIN_ROLE_READ, words)); /* a person of admin.users */
    assert_false(renews(mgr, "gone", ADMIN_ROLE_NOBODY, words));
    assert_says(words, "manager.peers: no rule is for gone");
    mgr = bed_of(&bed, false);
    assert_true(renews(mgr, "gone", ADMIN_ROLE_NOBODY, words));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_name_is_the_certificates),
        cmocka_unit_test(test_roles_and_who_has_no_rule),
        cmocka_unit_test(test_clusters),
        cmocka_unit_test(test_agents_speak_of_hosts_of_their_clusters),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_who_was_taken_off_gets_no_new_certificate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
