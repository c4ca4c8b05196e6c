/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cluster_sticky.c - session cookies: round trips, every byte changed, keys that change.
 */
#include "cluster/cluster_sticky.h"
#include "cluster_fixture.h"

#include "base/fr_hash.h"

#define NOW_S 1800000000
#define EXPECTED_COOKIE "AQBrSdIAqpvQ0tS4H4dJqTl6LQAEGlaW8JGvLm_6"

struct sticky_bench {
    struct fixture f;
    struct cluster_sticky_keys keys;
    struct cluster_sticky *sticky;
};

static void
key_fill(struct cluster_sticky_keys *keys, uint32_t index, unsigned char byte)
{
    memset(keys->keys[index], byte, CONFIG_STICKY_KEY_BYTES);
}

static struct cluster_sticky *
table_of(const struct cluster_sticky_keys *keys, const struct config_cluster *config,
         const struct fixture *f, uint32_t count)
{
    struct cluster_roster roster;
    fixture_roster(&roster, f->endpoints, count);
    struct cluster_sticky *sticky = cluster_sticky_new(keys, config, &roster);
    cluster_roster_fini(&roster); /* a table needs it no more */
    return sticky;
}

static struct cluster_sticky *
table(const struct sticky_bench *b)
{
    return table_of(&b->keys, b->f.config, &b->f, b->f.count);
}

static void
sticky_bench_init(struct sticky_bench *b, uint32_t members)
{
    memset(b, 0, sizeof(*b));
    fixture_init(&b->f, members, 1);
    b->f.config->sticky.cookie = fr_xstrdup("SRV");
    b->keys.count = 1;
    key_fill(&b->keys, 0, 1);
    b->sticky = table(b);
    assert_non_null(b->sticky);
}

static void
sticky_bench_fini(struct sticky_bench *b)
{
    cluster_sticky_unref(&b->sticky);
    fixture_fini(&b->f);
}

static struct fr_view
write_cookie(const struct cluster_sticky *sticky, uint32_t index, int64_t expires_s,
             char text[CLUSTER_STICKY_TEXT_BYTES])
{
    assert_true(cluster_sticky_write(sticky, index, expires_s, text));
    return fr_view_make(text, CLUSTER_STICKY_TEXT_BYTES);
}

static void
comes_back_as_it_went(void **state)
{
    (void)state;
    static const int64_t ends_s[] = {0, NOW_S + 1, NOW_S + 86400, (INT64_C(1) << 40) - 1};
    struct sticky_bench b;
    sticky_bench_init(&b, 8);
    for (uint32_t i = 0; i < 8; i++) {
        for (size_t k = 0; k < 4; k++) {
            char text[CLUSTER_STICKY_TEXT_BYTES];
            struct cluster_session session;
            bool old = true;
            struct fr_view cookie = write_cookie(b.sticky, i, ends_s[k], text);
            assert_int_equal(cluster_sticky_read(b.sticky, cookie, NOW_S, &session),
                             CLUSTER_STICKY_GOOD);
            assert_true(session.expires_s == ends_s[k]);
            assert_int_equal(cluster_sticky_find(b.sticky, session.member, &old), i);
            assert_false(old);
        }
    }
    sticky_bench_fini(&b);
}

static void
nothing_of_the_member_can_be_read(void **state)
{
    (void)state;
    struct sticky_bench b;
    char text[CLUSTER_STICKY_TEXT_BYTES];
    sticky_bench_init(&b, 2);
    struct fr_view cookie = write_cookie(b.sticky, 0, 0, text);
    assert_null(memmem(cookie.ptr, cookie.len, "web", 3));
    for (size_t i = 0; i < cookie.len; i++) {
        char c = cookie.ptr[i];
        assert_true((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    c == '-' || c == '_');
    }
    sticky_bench_fini(&b);
}

/* Written by this very code at its first version: edges of different versions share sessions. */
static void
the_format_is_a_constant(void **state)
{
    (void)state;
    struct sticky_bench b;
    char text[CLUSTER_STICKY_TEXT_BYTES];
    sticky_bench_init(&b, 1);
    struct fr_view cookie = write_cookie(b.sticky, 0, NOW_S, text);
    print_message("%.*s\n", FR_VIEW_ARG(cookie));
    assert_true(fr_view_is(cookie, EXPECTED_COOKIE));
    sticky_bench_fini(&b);
}

static void
every_changed_character_is_forgery(void **state)
{
    (void)state;
    struct sticky_bench b;
    sticky_bench_init(&b, 3);
    for (int64_t expires_s = 0; expires_s <= NOW_S + 100; expires_s += NOW_S + 100) {
        char text[CLUSTER_STICKY_TEXT_BYTES];
        struct fr_view cookie = write_cookie(b.sticky, 1, expires_s, text);
        struct cluster_session session = {7, 7};
        for (size_t i = 0; i < cookie.len; i++) {
            char kept = text[i];
            for (int c = 0; c < 256; c++) {
                if ((char)c == kept)
                    continue;
                text[i] = (char)c;
                assert_int_equal(cluster_sticky_read(b.sticky, cookie, NOW_S, &session),
                                 CLUSTER_STICKY_FORGED);
            }
            text[i] = kept;
        }
        assert_true(session.member == 7); /* untouched */
    }
    sticky_bench_fini(&b);
}

static void
every_other_length_is_forgery(void **state)
{
    (void)state;
    struct sticky_bench b;
    char text[CLUSTER_STICKY_TEXT_BYTES + 1];
    struct cluster_session session;
    sticky_bench_init(&b, 1);
    (void)write_cookie(b.sticky, 0, 0, text);
    text[CLUSTER_STICKY_TEXT_BYTES] = 'A';
    for (size_t len = 0; len <= sizeof(text); len++)
        assert_int_equal(cluster_sticky_read(b.sticky, fr_view_make(text, len), NOW_S, &session),
                         len == CLUSTER_STICKY_TEXT_BYTES ? CLUSTER_STICKY_GOOD
                                                          : CLUSTER_STICKY_FORGED);
    sticky_bench_fini(&b);
}

static void
it_ends_when_it_says(void **state)
{
    (void)state;
    struct sticky_bench b;
    char text[CLUSTER_STICKY_TEXT_BYTES];
    struct cluster_session session;
    sticky_bench_init(&b, 1);
    struct fr_view cookie = write_cookie(b.sticky, 0, NOW_S, text);
    assert_int_equal(cluster_sticky_read(b.sticky, cookie, NOW_S - 1, &session),
                     CLUSTER_STICKY_GOOD);
    assert_int_equal(cluster_sticky_read(b.sticky, cookie, NOW_S, &session),
                     CLUSTER_STICKY_EXPIRED);
    sticky_bench_fini(&b);
}

/* The same member in another cluster, and another key: both foreign. */
static void
foreign_cookies_are_forgery(void **state)
{
    (void)state;
    struct sticky_bench b;
    sticky_bench_init(&b, 2);
    struct config_cluster *api = config_cluster_new(FR_VIEW("api"));
    api->sticky.cookie = fr_xstrdup("SRV");
    struct cluster_sticky *others[2];
    others[0] = table_of(&b.keys, api, &b.f, 2);
    key_fill(&b.keys, 0, 2);
    others[1] = table(&b);
    for (size_t k = 0; k < 2; k++) {
        for (int64_t expires_s = 0; expires_s <= NOW_S + 9; expires_s += NOW_S + 9) {
            char text[CLUSTER_STICKY_TEXT_BYTES];
            struct cluster_session session;
            struct fr_view cookie = write_cookie(others[k], 0, expires_s, text);
            assert_int_equal(cluster_sticky_read(b.sticky, cookie, NOW_S, &session),
                             CLUSTER_STICKY_FORGED);
        }
        cluster_sticky_unref(&others[k]);
    }
    config_cluster_unref(&api);
    sticky_bench_fini(&b);
}

static void
a_member_that_is_gone_is_good_but_nobody(void **state)
{
    (void)state;
    struct sticky_bench b;
    char text[CLUSTER_STICKY_TEXT_BYTES];
    struct cluster_session session;
    bool old;
    sticky_bench_init(&b, 3);
    struct fr_view cookie = write_cookie(b.sticky, 2, 0, text);
    cluster_sticky_unref(&b.sticky);
    b.sticky = table_of(&b.keys, b.f.config, &b.f, 2);
    assert_int_equal(cluster_sticky_read(b.sticky, cookie, NOW_S, &session), CLUSTER_STICKY_GOOD);
    assert_int_equal(cluster_sticky_find(b.sticky, session.member, &old), UINT32_MAX);
    cluster_sticky_unref(&b.sticky); /* and with nobody at all */
    b.sticky = table_of(&b.keys, b.f.config, &b.f, 0);
    assert_int_equal(cluster_sticky_read(b.sticky, cookie, NOW_S, &session), CLUSTER_STICKY_GOOD);
    assert_int_equal(cluster_sticky_find(b.sticky, session.member, &old), UINT32_MAX);
    sticky_bench_fini(&b);
}

static void
keys_change_in_two_steps(void **state)
{
    (void)state;
    struct sticky_bench b;
    sticky_bench_init(&b, 3);
    for (int64_t expires_s = 0; expires_s <= NOW_S + 9; expires_s += NOW_S + 9) {
        char text[CLUSTER_STICKY_TEXT_BYTES];
        struct cluster_session session;
        bool old = false;
        struct fr_view cookie = write_cookie(b.sticky, 1, expires_s, text);
        struct cluster_sticky_keys keys = {.count = 2};
        key_fill(&keys, 0, 9);
        key_fill(&keys, 1, 1);
        struct cluster_sticky *next = table_of(&keys, b.f.config, &b.f, 3);
        assert_int_equal(cluster_sticky_read(next, cookie, NOW_S, &session), CLUSTER_STICKY_GOOD);
        assert_int_equal(cluster_sticky_find(next, session.member, &old), 1);
        assert_true(old);
        cookie = write_cookie(next, 1, expires_s, text);
        keys.count = 1;
        cluster_sticky_unref(&next);
        next = table_of(&keys, b.f.config, &b.f, 3);
        assert_int_equal(cluster_sticky_read(next, cookie, NOW_S, &session), CLUSTER_STICKY_GOOD);
        assert_int_equal(cluster_sticky_find(next, session.member, &old), 1);
        assert_false(old);
        cookie = write_cookie(b.sticky, 1, expires_s, text);
        assert_int_equal(cluster_sticky_read(next, cookie, NOW_S, &session), CLUSTER_STICKY_FORGED);
        cluster_sticky_unref(&next);
    }
    sticky_bench_fini(&b);
}

/* Whoever is in the roster has a cookie that finds it, the same as a table built anew would write;
 * who is not is nobody. */
static void
names_are_of(const struct sticky_bench *b, const struct cluster_sticky *sticky,
             const struct cluster_roster *roster)
{
    struct cluster_sticky *anew = cluster_sticky_new(&b->keys, b->f.config, roster);
    char text[CLUSTER_STICKY_TEXT_BYTES], wanted[CLUSTER_STICKY_TEXT_BYTES];
    struct cluster_session session;
    bool old;
    for (uint32_t i = 0; i < b->f.count; i++) {
        uint32_t at = 0;
        (void)write_cookie(b->sticky, i, 0, wanted); /* the first table has them all */
        struct fr_view cookie = fr_view_make(wanted, sizeof(wanted));
        while (at < roster->count && cluster_roster_at(roster, at)->member != b->f.members[i])
            at++;
        assert_int_equal(cluster_sticky_read(sticky, cookie, NOW_S, &session), CLUSTER_STICKY_GOOD);
        assert_int_equal(cluster_sticky_find(sticky, session.member, &old),
                         at < roster->count ? at : UINT32_MAX);
        if (at == roster->count)
            continue;
        (void)write_cookie(sticky, at, 0, text);
        assert_memory_equal(text, wanted, sizeof(text));
        (void)write_cookie(anew, at, 0, text);
        assert_memory_equal(text, wanted, sizeof(text));
    }
    cluster_sticky_unref(&anew);
}

static void
changes_are_as_if_built_anew(void **state)
{
    (void)state;
    struct sticky_bench b;
    struct cluster_roster roster, last;
    struct fr_rand rand;
    fr_rand_init(&rand, 20261130);
    sticky_bench_init(&b, 70);
    fixture_roster(&roster, b.f.endpoints, b.f.count);
    struct cluster_sticky *sticky = cluster_sticky_ref(b.sticky);
    for (uint32_t step = 0; step < 300; step++) {
        const struct cluster_endpoint *one = &b.f.endpoints[fr_rand_below(&rand, b.f.count)];
        uint32_t at = 0;
        cluster_roster_copy(&roster, &last);
        while (at < roster.count && cluster_roster_at(&roster, at)->member != one->member)
            at++;
        if (at < roster.count)
            cluster_roster_remove(&roster, at);
        else
            cluster_roster_put(&roster, at, one);
        struct cluster_sticky *next =
            cluster_sticky_after(sticky, &b.keys, b.f.config, &last, &roster);
        assert_ptr_not_equal(next, sticky);
        names_are_of(&b, next, &roster);
        if (step % 20 == 0)
            names_are_of(&b, sticky, &last); /* who reads it does not see the change */
        cluster_sticky_unref(&sticky);
        cluster_roster_fini(&last);
        sticky = next;
    }
    cluster_sticky_unref(&sticky);
    cluster_roster_fini(&roster);
    sticky_bench_fini(&b);
}

/* What the table does not depend on leaves it as it is; what it is built for makes another one. */
static void
is_shared_as_long_as_nothing_changes(void **state)
{
    (void)state;
    struct sticky_bench b;
    struct cluster_roster last, roster;
    sticky_bench_init(&b, 3);
    struct cluster_sticky_keys keys[3] = {b.keys, b.keys, {.count = 0}};
    fixture_roster(&roster, b.f.endpoints, 3);
    cluster_roster_copy(&roster, &last);
    b.f.endpoints[0].weight = 0; /* names do not depend on it */
    cluster_roster_put(&roster, 0, &b.f.endpoints[0]);
    struct cluster_sticky *next =
        cluster_sticky_after(b.sticky, &b.keys, b.f.config, &last, &roster);
    assert_ptr_equal(next, b.sticky);
    cluster_sticky_unref(&next);
    keys[0].keys[0][31] ^= 1;
    keys[1].count = 2;
    for (size_t i = 0; i < 2; i++) {
        next = cluster_sticky_after(b.sticky, &keys[i], b.f.config, &last, &roster);
        assert_ptr_not_equal(next, b.sticky);
        assert_non_null(next);
        cluster_sticky_unref(&next);
    }
    assert_null(cluster_sticky_after(b.sticky, &keys[2], b.f.config, &last, &roster));
    struct config_cluster *api = config_cluster_new(FR_VIEW("api"));
    api->sticky.cookie = fr_xstrdup("API");
    next = cluster_sticky_after(b.sticky, &b.keys, api, &last, &roster);
    assert_true(fr_view_is(cluster_sticky_line_head(next), "Set-Cookie: API="));
    cluster_sticky_unref(&next);
    config_cluster_unref(&api);
    cluster_roster_fini(&roster);
    cluster_roster_fini(&last);
    sticky_bench_fini(&b);
}

static void
the_line_says_what_is_configured(void **state)
{
    (void)state;
    struct sticky_bench b;
    sticky_bench_init(&b, 1);
    struct config_sticky *settings = &b.f.config->sticky;
    assert_true(fr_view_is(cluster_sticky_line_head(b.sticky), "Set-Cookie: SRV="));
    assert_true(fr_view_is(cluster_sticky_line_tail(b.sticky),
                           "; Path=/; HttpOnly; SameSite=Lax\r\nCache-Control: private\r\n"));
    settings->for_us = 1500000;
    settings->secure = true;
    settings->same_site = CONFIG_SAME_SITE_NONE;
    fr_free(settings->path);
    settings->path = fr_xstrdup("/shop/");
    cluster_sticky_unref(&b.sticky);
    b.sticky = table(&b);
    assert_true(fr_view_is(cluster_sticky_line_tail(b.sticky),
                           "; Path=/shop/; Max-Age=2; HttpOnly; Secure; SameSite=None\r\n"
                           "Cache-Control: private\r\n"));
    sticky_bench_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_as_it_went),
        cmocka_unit_test(nothing_of_the_member_can_be_read),
        cmocka_unit_test(the_format_is_a_constant),
        cmocka_unit_test(every_changed_character_is_forgery),
        cmocka_unit_test(every_other_length_is_forgery),
        cmocka_unit_test(it_ends_when_it_says),
        cmocka_unit_test(foreign_cookies_are_forgery),
        cmocka_unit_test(a_member_that_is_gone_is_good_but_nobody),
        cmocka_unit_test(keys_change_in_two_steps),
        cmocka_unit_test(changes_are_as_if_built_anew),
        cmocka_unit_test(is_shared_as_long_as_nothing_changes),
        cmocka_unit_test(the_line_says_what_is_configured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
