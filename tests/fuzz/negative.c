/* SPDX-License-Identifier: Apache-2.0 */
/*
 * negative.c - the harness that is meant to fail: proof that a failure in a harness is seen.
 */
#include "base/fr_check.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)data;
    fr_insist(size == SIZE_MAX);
    return 0;
}
