/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_list.c - lists: pushed, walked, taken apart while walked.
 */
#include "base/fr_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
lists(void **state)
{
    (void)state;
    struct fr_list list, nodes[3];
    size_t count = 0;
    fr_list_init(&list);
    for (int i = 0; i < 3; i++)
        fr_list_push_back(&list, &nodes[i]);
    fr_list_remove(&nodes[1]);
    FR_LIST_EACH(&list, node)
        count++;
    assert_int_equal(count, 2);
    assert_ptr_equal(fr_list_pop_front(&list), &nodes[0]);
    FR_LIST_EACH_SAFE(&list, node)
        fr_list_remove(node);
    assert_null(fr_list_pop_front(&list));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
