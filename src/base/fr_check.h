/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_check.h - assertions. None is reachable from bytes of a network, disk, configuration or peer.
 *
 * fr_require: the caller broke the contract.  fr_insist: we broke our own.  Both stay on in
 * release.  fr_slow_check: debug and fuzz builds only.  fr_count_if: strange but survivable,
 * counted.
 */
#ifndef FR_CHECK_H
#define FR_CHECK_H

#include <stdint.h>

__attribute__((noreturn, cold)) void
fr_check_failed(const char *kind, const char *expression, const char *file, int line);

#define fr_require(x)                                                                              \
    ((x) ? (void)0 : fr_check_failed("requirement", #x, __FILE__, __LINE__))
#define fr_insist(x) ((x) ? (void)0 : fr_check_failed("invariant", #x, __FILE__, __LINE__))

#ifdef FR_SLOW_CHECKS
#define fr_slow_check(x) fr_insist(x)
#else
#define fr_slow_check(x) ((void)sizeof(x))
#endif

/* Counts one more strange event of this place; true when x held. */
struct fr_count_site {
    const char *expression;
    const char *file;
    int line;
    uint64_t count; /* relaxed atomic */
    struct fr_count_site *next;
};
int fr_count_hit(struct fr_count_site *site);
/* Visits every site that was hit at least once. */
void fr_count_each(void (*visit)(void *ctx, const struct fr_count_site *site), void *ctx);

#define fr_count_if(x)                                                                             \
    (__extension__({                                                                               \
        static struct fr_count_site fr_site_ = {#x, __FILE__, __LINE__, 0, 0};                     \
        (x) ? fr_count_hit(&fr_site_) : 0;                                                         \
    }))

#endif
