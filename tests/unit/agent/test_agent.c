/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_agent.c - what an agent reads in /proc.
 */
#include "agent/agent.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void
cpu_line(void **state)
{
    (void)state;
    struct agent_cpu a, b;
    assert_true(agent_cpu_parse(FR_VIEW("cpu  10 0 10 70 10 0 0 0 5 5\ncpu0 1 2 3 4\n"), &a));
    assert_int_equal(a.total, 100);
    assert_int_equal(a.busy, 20);
    assert_true(agent_cpu_parse(FR_VIEW("cpu  60 0 40 80 20 0 0 0\n"), &b));
    double share = agent_cpu_share(&a, &b);
    assert_true(share > 0.799 && share < 0.801);
    assert_true(isnan(agent_cpu_share(&b, &a)));
    assert_true(isnan(agent_cpu_share(&a, &a)));
    assert_false(agent_cpu_parse(FR_VIEW("cpu0 1 2 3 4\n"), &a));
    assert_false(agent_cpu_parse(FR_VIEW("cpu  1 2 x 4\n"), &a));
    assert_false(agent_cpu_parse(FR_VIEW("cpu  1 2 3\n"), &a));
    assert_false(agent_cpu_parse(FR_VIEW(""), &a));
}

static void
memory_lines(void **state)
{
    (void)state;
    uint64_t bytes = 0;
    assert_true(agent_memory_parse(
        FR_VIEW("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:   400 kB\n"), &bytes));
    assert_int_equal(bytes, 600 * 1024);
    assert_false(agent_memory_parse(FR_VIEW("MemTotal: 1 kB\n"), &bytes));
    assert_false(agent_memory_parse(FR_VIEW("MemTotal: 1 kB\nMemAvailable: 2 kB\n"), &bytes));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cpu_line),
        cmocka_unit_test(memory_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
