/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cluster_sticky.c - session cookies: round trips, every byte changed, keys that change.
 */
#include "cluster/cluster_sticky.h"
#include "cluster_fixture.h"

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
table(const struct sticky_bench *b)
{
    return cluster_sticky_new(&b->keys, b->f.config, b->f.endpoints, b->f.count);
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
    others[0] = cluster_sticky_new(&b.keys, api, b.f.endpoints, 2);
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
    b.sticky = cluster_sticky_new(&b.keys, b.f.config, b.f.endpoints, 2);
    assert_int_equal(cluster_sticky_read(b.sticky, cookie, NOW_S, &session), CLUSTER_STICKY_GOOD);
    assert_int_equal(cluster_sticky_find(b.sticky, session.member, &old), UINT32_MAX);
    cluster_sticky_unref(&b.sticky); /* and with nobody at all */
    b.sticky = cluster_sticky_new(&b.keys, b.f.config, b.f.endpoints, 0);
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
        struct cluster_sticky *next = cluster_sticky_new(&keys, b.f.config, b.f.endpoints, 3);
        assert_int_equal(cluster_sticky_read(next, cookie, NOW_S, &session), CLUSTER_STICKY_GOOD);
        assert_int_equal(cluster_sticky_find(next, session.member, &old), 1);
        assert_true(old);
        cookie = write_cookie(next, 1, expires_s, text);
        keys.count = 1;
        cluster_sticky_unref(&next);
        next = cluster_sticky_new(&keys, b.f.config, b.f.endpoints, 3);
        assert_int_equal(cluster_sticky_read(next, cookie, NOW_S, &session), CLUSTER_STICKY_GOOD);
        assert_int_equal(cluster_sticky_find(next, session.member, &old), 1);
        assert_false(old);
        cookie = write_cookie(b.sticky, 1, expires_s, text);
        assert_int_equal(cluster_sticky_read(next, cookie, NOW_S, &session), CLUSTER_STICKY_FORGED);
        cluster_sticky_unref(&next);
    }
    sticky_bench_fini(&b);
}

static void
fits_only_what_it_was_built_from(void **state)
{
    (void)state;
    struct sticky_bench b;
    sticky_bench_init(&b, 3);
    struct cluster_sticky_keys keys = b.keys;
    assert_true(cluster_sticky_fits(b.sticky, &keys, b.f.config, b.f.endpoints, 3));
    b.f.endpoints[0].weight = 0; /* names do not depend on it */
    assert_true(cluster_sticky_fits(b.sticky, &keys, b.f.config, b.f.endpoints, 3));
    assert_false(cluster_sticky_fits(b.sticky, &keys, b.f.config, b.f.endpoints, 2));
    assert_false(cluster_sticky_fits(b.sticky, &keys, b.f.config, b.f.endpoints + 1, 3));
    assert_false(cluster_sticky_fits(b.sticky, &keys, NULL, b.f.endpoints, 3));
    keys.keys[0][31] ^= 1;
    assert_false(cluster_sticky_fits(b.sticky, &keys, b.f.config, b.f.endpoints, 3));
    keys = b.keys;
    keys.count = 2;
    assert_false(cluster_sticky_fits(b.sticky, &keys, b.f.config, b.f.endpoints, 3));
    keys.count = 0;
    assert_null(cluster_sticky_new(&keys, b.f.config, b.f.endpoints, 3));
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
        cmocka_unit_test(fits_only_what_it_was_built_from),
        cmocka_unit_test(the_line_says_what_is_configured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
