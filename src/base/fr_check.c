/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_check.c - last words of a failed assertion, and the list of strange events.
 *
 * Threads:  any; sites are linked once, by compare-and-swap.
 */
#include "base/fr_check.h"

#include <stdio.h>
#include <stdlib.h>

static struct fr_count_site *count_sites; /* atomic */

void
fr_check_failed(const char *kind, const char *expression, const char *file, int line)
{
    fprintf(stderr, "freshet: broken %s: %s (%s:%d); stopping\n", kind, expression, file, line);
    fflush(stderr);
    abort();
}

int
fr_count_hit(struct fr_count_site *site)
{
    if (__atomic_fetch_add(&site->count, 1, __ATOMIC_RELAXED) == 0) {
        site->next = __atomic_load_n(&count_sites, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n(&count_sites, &site->next, site, 1, __ATOMIC_RELEASE,
                                            __ATOMIC_RELAXED))
            ;
    }
    return 1;
}

void
fr_count_each(void (*visit)(void *ctx, const struct fr_count_site *site), void *ctx)
{
    const struct fr_count_site *site = __atomic_load_n(&count_sites, __ATOMIC_ACQUIRE);
    for (; site != NULL; site = site->next)
        visit(ctx, site);
}
