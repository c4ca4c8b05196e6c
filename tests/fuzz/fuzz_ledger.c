/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_ledger.c - ledgers from strangers: nothing asserts, leaks or reads past the end; what loads
 * prints to text that loads to the same.
 */
#include "cluster/cluster_ledger.h"

#include "base/fr_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_BYTES_MAX (1u << 20)

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > TEXT_BYTES_MAX)
        return 0;
    struct fr_view text = fr_view_make((const char *)data, size);
    struct config_diag diag;
    struct cluster_ledger ledger, again;
    struct fr_buf first, second;
    fr_buf_init(&first, 16 * CONFIG_TREE_BYTES_MAX);
    fr_buf_init(&second, 16 * CONFIG_TREE_BYTES_MAX);
    config_diag_init(&diag);
    cluster_ledger_init(&ledger);
    cluster_ledger_init(&again);
    enum fr_err err = cluster_ledger_parse(text, "fuzz.yaml", &diag, &ledger);
    fr_insist((err == FR_OK) == (diag.error_count == 0));
    if (!err) {
        fr_insist(cluster_ledger_print(&ledger, NULL, &first) == FR_OK);
        if (first.len <= CONFIG_TREE_BYTES_MAX) { /* a longer one would not be saved */
            fr_insist(cluster_ledger_parse(fr_buf_view(&first), "again.yaml", &diag, &again) ==
                      FR_OK);
            fr_insist(cluster_ledger_print(&again, NULL, &second) == FR_OK);
            fr_insist(fr_view_eq(fr_buf_view(&first), fr_buf_view(&second)));
        }
    } else {
        fr_insist(config_diag_print(&diag, &first) == FR_OK);
    }
    cluster_ledger_fini(&ledger);
    cluster_ledger_fini(&again);
    config_diag_fini(&diag);
    fr_buf_fini(&first);
    fr_buf_fini(&second);
    return 0;
}
