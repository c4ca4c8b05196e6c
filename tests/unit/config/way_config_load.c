/* SPDX-License-Identifier: Apache-2.0 */
/*
 * way_config_load.c - whoever reads a long file, checks it and frees it gives way meanwhile: on a
 * core that a worker shares, no request waits for all of it. sched_yield is this program's own and
 * counts.
 */
#include "base/fr_buf.h"
#include "config/config.h"
#include "config/config_diag.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ROUTES 500

static int yields;

int
sched_yield(void)
{
    yields++;
    return 0;
}

static void
test_as_often_as_there_are_routes(void **state)
{
    struct fr_buf text;
    struct config_diag diag;
    struct config *config = NULL;
    (void)state;
    fr_buf_init(&text, 1 << 20);
    assert_int_equal(fr_buf_printf(&text, "listen: 127.0.0.1:8080\nroutes:\n"), FR_OK);
    for (int i = 0; i < ROUTES; i++)
        assert_int_equal(fr_buf_printf(&text, "  - { match: { path: /p%d/ }, cluster: web }\n", i),
                         FR_OK);
    assert_int_equal(fr_buf_printf(&text, "clusters: { web: { members: [127.0.0.1:1] } }\n"),
                     FR_OK);
    config_diag_init(&diag);
    assert_int_equal(
        config_parse(fr_buf_view(&text), "freshet.yaml", CONFIG_ROLE_EDGE, &diag, &config), FR_OK);
    assert_int_equal(config->route_count, ROUTES);
    assert_true(yields > 2 * ROUTES); /* each is read, and looked at again with the others */
    yields = 0;
    config_free(&config);
    assert_true(yields > ROUTES);
    config_diag_fini(&diag);
    fr_buf_fini(&text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_often_as_there_are_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
