/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_decide.c - lines from strangers to `freshet decide`: every answer is a count between the
 * limits, whatever came before.
 */
#include "base/fr_check.h"
#include "policy/policy_lines.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *at = (const char *)data;
    const char *end = at + size;
    struct policy_lines *lines = policy_lines_new((enum policy_kind)(size % POLICY_KIND_COUNT));
    char answer[POLICY_ANSWER_BYTES];

    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t len = stop ? (size_t)(stop - at) : (size_t)(end - at);
        if (policy_lines_take(lines, (struct fr_view){at, len}, answer) != POLICY_LINE_SILENT) {
            uint64_t count = 0;
            fr_insist(strchr(answer, '\n') == answer + strlen(answer) - 1);
            fr_insist(fr_view_u64((struct fr_view){answer, strlen(answer) - 1}, &count));
            fr_insist(count <= 1000000);
        }
        at += len + 1;
    }
    policy_lines_free(&lines);
    return 0;
}
