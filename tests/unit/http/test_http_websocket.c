/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http_websocket.c - the proof of a WebSocket's handshake; what is expected came from OpenSSL.
 */
#include "http/http_websocket.h"
#include "http_help.h"

static void
check(const char *key, const char *want)
{
    char got[32];
    http_websocket_accept(fr_view_of(key), got);
    assert_string_equal(got, want);
}

static void
accepts(void **state)
{
    (void)state;
    check("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); /* RFC 6455 section 1.3 */
    check("", "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w=");
    check("x", "JVxkmtKFjDcI/Pm/AGPEKSN6wT8=");
    check("AAAAAAAAAAAAAAAAAAA", "aY4PwGcVNJA8APkO5DyVUWJM+GI=");
    check("AAAAAAAAAAAAAAAAAAAA", "/3M+5HFywElctYU7s1JYO+XV104=");
    check("AQIDBAUGBwgJCgsMDQ4PEA==", "C/0nmHhBztSRGR1CwL6Tf4ZjwpY=");
    check("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
          "CNVCgqrOv9cq/hZteEmJXitx+cU=");
}

static void
cuts_a_long_key(void **state)
{
    char key[HTTP_WEBSOCKET_KEY_BYTES_MAX + 2], cut[32], whole[32];
    (void)state;
    memset(key, 'k', sizeof(key));
    http_websocket_accept(fr_view_make(key, sizeof(key)), whole);
    http_websocket_accept(fr_view_make(key, HTTP_WEBSOCKET_KEY_BYTES_MAX), cut);
    assert_string_equal(whole, cut);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),
        cmocka_unit_test(cuts_a_long_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
