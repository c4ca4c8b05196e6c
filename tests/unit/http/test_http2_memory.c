/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http2_memory.c - blocks that sessions leave to one another: up to a limit, which is counted.
 */
#include "http/http2_priv.h"
#include "http_help.h"

#define BLOCK_BYTES 992 /* with what stands beside it the largest that is kept: 1024 */
#define KEPT 1024       /* of them are all that is kept */

static void *blocks[KEPT + 3];

static void
take_and_free(struct http2_session *session, size_t count, size_t bytes)
{
    nghttp2_mem mem = http2__mem(session);
    for (size_t i = 0; i < count; i++)
        assert_non_null(blocks[i] = mem.malloc(bytes, mem.mem_user_data));
    for (size_t i = 0; i < count; i++)
        mem.free(blocks[i], mem.mem_user_data);
}

static void
what_is_not_kept_is_counted(void **state)
{
    struct http2_session session = {0};
    struct http2_spare *spare = session.limits.spare = http2_spare_new();
    (void)state;
    take_and_free(&session, KEPT, BLOCK_BYTES);
    assert_int_equal(http2_spare_over(spare), 0);
    take_and_free(&session, KEPT, BLOCK_BYTES); /* the same ones */
    assert_int_equal(http2_spare_over(spare), 0);
    take_and_free(&session, KEPT + 3, BLOCK_BYTES);
    assert_int_equal(http2_spare_over(spare), 3);
    take_and_free(&session, 2, 16); /* there is no room for small ones either */
    assert_int_equal(http2_spare_over(spare), 5);
    take_and_free(&session, 4, BLOCK_BYTES + 1); /* never kept, and so not left out */
    assert_int_equal(http2_spare_over(spare), 5);
    http2_spare_free(&spare);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_not_kept_is_counted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
