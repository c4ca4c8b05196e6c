/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_config_reference.c - the committed schema and reference page say what the rows say.
 *
 * After a change of options.def: FRESHET_ACCEPT=1 in the environment writes both files anew.
 */
#include "config/config_priv.h"

#include "base/fr_file.h"
#include "base/fr_mem.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define UP_MAX 5

/* Tests run in the build folder, somewhere below the repository. The caller frees. */
static char *
path_in_repository(const char *path)
{
    char up[UP_MAX * 3 + 1] = "";
    for (int i = 0; i < UP_MAX; i++) {
        char *marker = fr_xprintf("%ssrc/config/options.def", up);
        bool here = access(marker, R_OK) == 0;
        fr_free(marker);
        if (here)
            return fr_xprintf("%s%s", up, path);
        (void)snprintf(up + 3 * i, sizeof(up) - 3 * (size_t)i, "../");
    }
    fail_msg("the repository is not above the folder that this test runs in");
    return NULL;
}

static void
compare(const char *name, enum fr_err (*print)(struct fr_buf *out))
{
    struct fr_buf printed, committed;
    fr_buf_init(&printed, 1 << 20);
    fr_buf_init(&committed, 1 << 20);
    char *path = path_in_repository(name);
    assert_int_equal(print(&printed), FR_OK);
    if (getenv("FRESHET_ACCEPT"))
        assert_int_equal(fr_file_replace(path, fr_buf_view(&printed), 0644, NULL), FR_OK);
    assert_int_equal(fr_file_read(path, &committed, NULL), FR_OK);
    if (!fr_view_eq(fr_buf_view(&printed), fr_buf_view(&committed)))
        fail_msg("%s does not say what options.def says; run this test with FRESHET_ACCEPT=1",
                 name);
    fr_buf_fini(&printed);
    fr_buf_fini(&committed);
    fr_free(path);
}

static void
test_reference_page(void **state)
{
    (void)state;
    compare("docs/configuration.md", config_reference_print);
}

static void
test_schema(void **state)
{
    (void)state;
    compare("schema/freshet-config.schema.json", config_schema_print);
}

/* Every key of every scope is in the schema, below the properties of its mapping. */
static void
test_schema_knows_every_row(void **state)
{
    (void)state;
    struct fr_buf text;
    fr_buf_init(&text, 1 << 20);
    assert_int_equal(config_schema_print(&text), FR_OK);
    json_t *schema = json_loads(text.data, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(schema);
    for (size_t i = 0; i < config__row_count; i++) {
        const struct config__row *row = &config__rows[i];
        json_t *at = schema;
        if (row->scope != CONFIG_SCOPE_FILE)
            at = json_object_get(json_object_get(schema, "$defs"), config__scope_name(row->scope));
        struct fr_view rest = fr_view_of(row->path), word;
        while (fr_view_split(&rest, '.', &word)) {
            if (json_object_get(at, "anyOf"))
                at = json_array_get(json_object_get(at, "anyOf"), 1);
            at = json_object_getn(json_object_get(at, "properties"), word.ptr, word.len);
            assert_non_null(at);
        }
        assert_string_equal(json_string_value(json_object_get(at, "description")), row->words);
    }
    json_decref(schema);
    fr_buf_fini(&text);
}

/* The table keeps its own rules: the parents of a path are rows, bounds parse, words are there. */
static void
test_rows(void **state)
{
    (void)state;
    assert_true(config__row_count <= 512);
    for (size_t i = 0; i < config__row_count; i++) {
        const struct config__row *row = &config__rows[i];
        assert_true(strlen(row->path) < 64);
        assert_true(strlen(row->words) > 10);
        assert_ptr_equal(config__row_find(row->scope, fr_view_of(row->path)), row);
        const char *dot = strrchr(row->path, '.');
        if (dot) {
            const struct config__row *parent =
                config__row_find(row->scope, fr_view_make(row->path, (size_t)(dot - row->path)));
            assert_non_null(parent);
            assert_int_equal(parent->type, CONFIG_TYPE_MAPPING);
        }
        assert_true(row->type == CONFIG_TYPE_MAPPING || config__types[row->type].parse);
        bool bounded = row->type == CONFIG_TYPE_COUNT || row->type == CONFIG_TYPE_BYTES ||
                       row->type == CONFIG_TYPE_DURATION || row->type == CONFIG_TYPE_RATIO;
        if (bounded) {
            assert_true(row->min[0] && row->max[0] && row->default_text[0]);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_reference_page),
        cmocka_unit_test(test_schema),
        cmocka_unit_test(test_schema_knows_every_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
