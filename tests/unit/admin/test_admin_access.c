/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_admin_access.c - what a way, a certificate and a token amount to.
 */
#include "admin/admin_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* SHA-256 of "open sesame", as sha256sum prints it. */
#define SESAME "41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb"

static char ops[] = "ops-*", reader[] = "reader";

static enum admin_role
role_of(enum admin_way way, const char *names, const char *authorization, const char *hash,
        bool *out_known)
{
    char text[80];
    struct admin_peer peer = {.way = way};
    struct config_user list[] = {
        {.certificate = ops, .role = CONFIG_USER_OPERATE},
        {.certificate = reader, .role = CONFIG_USER_READ},
        {.token = text, .role = CONFIG_USER_ADMIN},
    };
    const struct config_users users = {.list = list, .count = 3};
    (void)snprintf(text, sizeof(text), "%s", hash);
    (void)snprintf(peer.names, sizeof(peer.names), "%s", names);
    return admin__role(&users, &peer, fr_view_of(authorization), out_known);
}

static void
test_ways(void **state)
{
    bool known = false;
    (void)state;
    assert_int_equal(role_of(ADMIN_WAY_LOCAL, "", "", SESAME, &known), ADMIN_ROLE_ADMIN);
    assert_true(known);
    assert_int_equal(role_of(ADMIN_WAY_CLEAR, "", "", SESAME, &known), ADMIN_ROLE_READ);
    assert_false(known);
    assert_int_equal(role_of(ADMIN_WAY_TLS, "", "", SESAME, &known), ADMIN_ROLE_NOBODY);
    assert_false(known);
}

static void
test_certificates(void **state)
{
    bool known = false;
    (void)state;
    assert_int_equal(role_of(ADMIN_WAY_TLS, "ops-7", "", SESAME, &known), ADMIN_ROLE_OPERATE);
    assert_true(known);
    assert_int_equal(role_of(ADMIN_WAY_TLS, "host reader", "", SESAME, &known), ADMIN_ROLE_READ);
    assert_int_equal(role_of(ADMIN_WAY_TLS, "reader2", "", SESAME, &known), ADMIN_ROLE_NOBODY);
    assert_true(known);
    assert_int_equal(role_of(ADMIN_WAY_TLS, "reader ops-", "", SESAME, &known), ADMIN_ROLE_OPERATE);
}

static void
test_tokens(void **state)
{
    bool known = false;
    char upper[] = SESAME;
    (void)state;
    for (char *c = upper; *c; c++)
        *c = (char)(*c >= 'a' && *c <= 'f' ? *c - 32 : *c);
    assert_int_equal(role_of(ADMIN_WAY_TLS, "", "Bearer open sesame", SESAME, &known),
                     ADMIN_ROLE_ADMIN);
    assert_true(known);
    assert_int_equal(role_of(ADMIN_WAY_TLS, "", "bearer open sesame ", upper, &known),
                     ADMIN_ROLE_ADMIN);
    assert_int_equal(role_of(ADMIN_WAY_CLEAR, "", "Bearer open sesame", SESAME, &known),
                     ADMIN_ROLE_ADMIN);
    static const char *const wrong[] = {
        "Bearer open sesam", "Bearer ",           "Bearer",
        "open sesame",       "Basic open sesame", ("Bearer " SESAME)};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(role_of(ADMIN_WAY_TLS, "", wrong[i], SESAME, &known), ADMIN_ROLE_NOBODY);
        assert_false(known);
    }
}

static void
test_needs(void **state)
{
    (void)state;
    for (int role = ADMIN_ROLE_NOBODY; role <= ADMIN_ROLE_ADMIN; role++) {
        assert_true(admin__may((enum admin_role)role, ADMIN_NEEDS_NOTHING));
        assert_int_equal(admin__may((enum admin_role)role, ADMIN_NEEDS_READ), role >= 1);
        assert_int_equal(admin__may((enum admin_role)role, ADMIN_NEEDS_OPERATE), role >= 2);
        assert_int_equal(admin__may((enum admin_role)role, ADMIN_NEEDS_ADMIN), role >= 3);
    }
    /* A row that says nothing is the strictest. */
    assert_int_equal((struct admin_route){.method = "GET"}.needs, ADMIN_NEEDS_ADMIN);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ways),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
