/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_config.c - configuration files from strangers: nothing asserts, leaks or reads past the end;
 * what loads prints to text that loads to the same.
 *
 * The first byte chooses the role. Nothing outside the text is asked (config__parse without world).
 */
#include "config/config_priv.h"

#include "base/fr_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_BYTES_MAX (1u << 20)

/* Printed, read and printed again: both texts must be the same. */
static void
check_cluster(const struct config_cluster *cluster)
{
    struct fr_buf first, second;
    struct config_diag diag;
    struct config_tree tree;
    struct config_cluster *again = NULL;
    fr_buf_init(&first, CONFIG_TREE_BYTES_MAX);
    fr_buf_init(&second, CONFIG_TREE_BYTES_MAX);
    config_diag_init(&diag);
    fr_insist(config_cluster_print(cluster, &first) == FR_OK);
    fr_insist(config_tree_parse(fr_buf_view(&first), &diag, &tree) == FR_OK);
    fr_insist(config_cluster_restore(fr_view_of(cluster->name), tree.root, &diag, &again) == FR_OK);
    fr_insist(config_cluster_print(again, &second) == FR_OK);
    fr_insist(fr_view_eq(fr_buf_view(&first), fr_buf_view(&second)));
    config_cluster_unref(&again);
    config_tree_fini(&tree);
    config_diag_fini(&diag);
    fr_buf_fini(&first);
    fr_buf_fini(&second);
}

static void
check_pool(const struct config_pool *pool)
{
    struct fr_buf first, second;
    struct config_diag diag;
    struct config_tree tree;
    struct config_pool *again = NULL;
    fr_buf_init(&first, CONFIG_TREE_BYTES_MAX);
    fr_buf_init(&second, CONFIG_TREE_BYTES_MAX);
    config_diag_init(&diag);
    fr_insist(config_pool_print(pool, &first) == FR_OK);
    fr_insist(config_tree_parse(fr_buf_view(&first), &diag, &tree) == FR_OK);
    fr_insist(config_pool_restore(fr_view_of(pool->name), tree.root, &diag, &again) == FR_OK);
    fr_insist(config_pool_print(again, &second) == FR_OK);
    fr_insist(fr_view_eq(fr_buf_view(&first), fr_buf_view(&second)));
    config_pool_unref(&again);
    config_tree_fini(&tree);
    config_diag_fini(&diag);
    fr_buf_fini(&first);
    fr_buf_fini(&second);
}

static void
check_route(const struct config_route *route)
{
    struct fr_buf first, second;
    struct config_diag diag;
    struct config_tree tree;
    struct config_route *again = NULL;
    fr_buf_init(&first, CONFIG_TREE_BYTES_MAX);
    fr_buf_init(&second, CONFIG_TREE_BYTES_MAX);
    config_diag_init(&diag);
    fr_insist(config_route_print(route, &first) == FR_OK);
    fr_insist(config_tree_parse(fr_buf_view(&first), &diag, &tree) == FR_OK);
    fr_insist(config_route_from_tree(tree.root, &diag, &again) == FR_OK);
    fr_insist(config_route_print(again, &second) == FR_OK);
    fr_insist(fr_view_eq(fr_buf_view(&first), fr_buf_view(&second)));
    config_route_unref(&again);
    config_tree_fini(&tree);
    config_diag_fini(&diag);
    fr_buf_fini(&first);
    fr_buf_fini(&second);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > TEXT_BYTES_MAX)
        return 0;
    enum config_role role = (enum config_role)(data[0] % 5);
    struct fr_view text = fr_view_make((const char *)data + 1, size - 1);
    struct config_diag diag;
    struct config *config = NULL;
    struct fr_buf out;
    fr_buf_init(&out, 16 * CONFIG_TREE_BYTES_MAX);
    config_diag_init(&diag);
    enum fr_err err = config__parse(text, "fuzz.yaml", role, false, &diag, &config);
    fr_insist((err == FR_OK) == (config != NULL));
    fr_insist((err == FR_OK) == (diag.error_count == 0));
    fr_insist(config_diag_print(&diag, &out) == FR_OK);
    for (size_t i = 0; config && i < config->route_count; i++)
        check_route(config->routes[i]);
    for (size_t i = 0; config && i < config->cluster_count; i++)
        check_cluster(config->clusters[i]);
    for (size_t i = 0; config && i < config->pool_count; i++)
        check_pool(config->pools[i]);
    config_free(&config);
    config_diag_fini(&diag);
    fr_buf_fini(&out);
    return 0;
}
