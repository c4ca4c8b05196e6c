/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_schema.c - the rows as a JSON Schema, so that editors complete and check freshet.yaml.
 *
 * May touch:  base, Jansson.
 * Memory:     the schema as a tree while it is printed.
 * Note:       a schema cannot say everything: what only the whole file shows is config_check.c's.
 * Follows:    JSON Schema, draft 2020-12.
 */
#include "config/config_priv.h"

#include "base/fr_unit.h"

#include <jansson.h>
#include <stdlib.h>

#define NAME_PATTERN "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"

static json_t *
text_with(const char *pattern)
{
    return pattern ? json_pack("{s:s, s:s}", "type", "string", "pattern", pattern)
                   : json_pack("{s:s}", "type", "string");
}

static json_t *
reference(const char *name)
{
    char text[64];
    (void)snprintf(text, sizeof(text), "#/$defs/%s", name);
    return json_pack("{s:s}", "$ref", text);
}

/* The row's words. YAML 1.1 readers take on and off for true and false, so those are let in too. */
static json_t *
words_of(const struct config__row *row)
{
    json_t *list = json_array();
    struct fr_view rest = fr_view_of(row->unit), word;
    while (config__word_next(&rest, &word)) {
        (void)json_array_append_new(list, json_stringn(word.ptr, word.len));
        if (fr_view_is(word, "on") || fr_view_is(word, "off"))
            (void)json_array_append_new(list, json_boolean(word.len == 2));
    }
    return list;
}

static json_t *
number_of(const struct config__row *row)
{
    return json_pack("{s:s, s:I, s:I}", "type", "integer", "minimum",
                     (json_int_t)strtoll(row->min, NULL, 10), "maximum",
                     (json_int_t)strtoll(row->max, NULL, 10));
}

static json_t *
ratio_of(const struct config__row *row)
{
    double min = 0, max = 1;
    (void)fr_unit_parse_ratio(fr_view_of(row->min), &min); /* every default proves its row */
    (void)fr_unit_parse_ratio(fr_view_of(row->max), &max);
    return json_pack("{s:[{s:s, s:f, s:f}, {s:s, s:s}]}", "anyOf", "type", "number", "minimum", min,
                     "maximum", max, "type", "string", "pattern", "^[0-9]+([.][0-9]+)?%?$");
}

static json_t *
address_list(void)
{
    return json_pack("{s:[{s:s}, {s:s}, {s:s, s:i, s:{s:[{s:s}, {s:s}]}}]}", "anyOf", "type",
                     "string", "$ref", "#/$defs/listener", "type", "array", "minItems", 1, "items",
                     "anyOf", "type", "string", "$ref", "#/$defs/listener");
}

static json_t *
named(const char *definition)
{
    return json_pack("{s:s, s:{s:s}, s:o}", "type", "object", "propertyNames", "pattern",
                     NAME_PATTERN, "additionalProperties", reference(definition));
}

static json_t *
lists_of(const struct config__row *row)
{
    switch (row->type) {
    case CONFIG_TYPE_FLAGS:
        return json_pack("{s:[{s:o}, {s:s, s:{s:o}}]}", "anyOf", "enum", words_of(row), "type",
                         "array", "items", "enum", words_of(row));
    case CONFIG_TYPE_STEPS:
        return json_pack("{s:s, s:b, s:{s:o}}", "type", "array", "uniqueItems", 1, "items", "enum",
                         words_of(row));
    case CONFIG_TYPE_COMMAND:
        return json_pack("{s:s, s:i, s:{s:[s, s]}}", "type", "array", "minItems", 1, "items",
                         "type", "string", "number");
    case CONFIG_TYPE_ENVIRONMENT:
        return json_pack("{s:s, s:{s:s}, s:{s:[s, s, s]}}", "type", "object", "propertyNames",
                         "pattern", "^[A-Za-z_][A-Za-z0-9_]*$", "additionalProperties", "type",
                         "string", "number", "boolean");
    case CONFIG_TYPE_HEADER:
        return json_pack("{s:[{s:s}, {s:s, s:i, s:i, s:{s:[s, s, s]}}]}", "anyOf", "type", "string",
                         "type", "object", "minProperties", 1, "maxProperties", 1,
                         "additionalProperties", "type", "string", "number", "boolean");
    case CONFIG_TYPE_POOL_NAMES:
        return json_pack("{s:[o, {s:s, s:i, s:i, s:b, s:o}]}", "anyOf", text_with(NAME_PATTERN),
                         "type", "array", "minItems", 1, "maxItems", CONFIG_SCALE_POOLS_MAX,
                         "uniqueItems", 1, "items", text_with(NAME_PATTERN));
    case CONFIG_TYPE_NETWORKS:
    case CONFIG_TYPE_NAMES:
        return json_pack("{s:[{s:s}, {s:s, s:{s:s}}]}", "anyOf", "type", "string", "type", "array",
                         "items", "type", "string");
    case CONFIG_TYPE_HEADERS:
        return json_pack("{s:s, s:i, s:{s:s}, s:{s:[s, s]}}", "type", "object", "maxProperties",
                         CONFIG_HEADERS_MAX, "propertyNames", "pattern",
                         "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", "additionalProperties", "type", "string",
                         "number");
    case CONFIG_TYPE_LISTEN:
        return address_list();
    case CONFIG_TYPE_MEMBERS:
        return json_pack("{s:s, s:{s:[{s:s}, {s:s}]}}", "type", "array", "items", "anyOf", "type",
                         "string", "$ref", "#/$defs/member");
    case CONFIG_TYPE_WINDOWS:
        return json_pack("{s:s, s:o}", "type", "array", "items", reference("window"));
    case CONFIG_TYPE_CERTIFICATES:
        return json_pack("{s:s, s:o}", "type", "array", "items", reference("certificate"));
    case CONFIG_TYPE_ROUTES:
        return json_pack("{s:s, s:o}", "type", "array", "items", reference("route"));
    case CONFIG_TYPE_PEERS:
        return json_pack("{s:s, s:o}", "type", "array", "items", reference("peer"));
    case CONFIG_TYPE_USERS:
        return json_pack("{s:s, s:o}", "type", "array", "items", reference("user"));
    case CONFIG_TYPE_CLUSTERS:
        return named("cluster");
    default:
        return named("pool");
    }
}

static json_t *
value_of(const struct config__row *row)
{
    switch (row->type) {
    case CONFIG_TYPE_BOOL:
        return json_pack("{s:[b, b, s, s]}", "enum", 1, 0, "on", "off");
    case CONFIG_TYPE_COUNT:
        return number_of(row);
    case CONFIG_TYPE_BYTES:
        return json_pack("{s:[{s:s, s:i}, {s:s, s:s}]}", "anyOf", "type", "integer", "minimum", 0,
                         "type", "string", "pattern",
                         "^[0-9]+([.][0-9]+)?(B|KiB|MiB|GiB|kB|MB|GB)$");
    case CONFIG_TYPE_DURATION:
        return json_pack("{s:[{s:i}, {s:s, s:s}]}", "anyOf", "const", 0, "type", "string",
                         "pattern", "^[0-9]+([.][0-9]+)?(us|ms|s|min|h|d)$");
    case CONFIG_TYPE_RATIO:
        return ratio_of(row);
    case CONFIG_TYPE_CHOICE:
    case CONFIG_TYPE_PROVIDER:
        return json_pack("{s:o}", "enum", words_of(row));
    case CONFIG_TYPE_NAME:
    case CONFIG_TYPE_NAME_TEXT:
        return text_with(NAME_PATTERN);
    case CONFIG_TYPE_PATH:
        return text_with("^/");
    case CONFIG_TYPE_LOCATION:
        return text_with("^(/|https?://|[{]path[}])");
    case CONFIG_TYPE_SECRET:
        return text_with("^[0-9A-Fa-f]{64}$");
    case CONFIG_TYPE_STATUS:
        return json_pack("{s:[{s:s, s:i, s:i}, {s:s, s:s}]}", "anyOf", "type", "integer", "minimum",
                         100, "maximum", 599, "type", "string", "pattern",
                         "^[1-5][0-9][0-9]( *- *[1-5][0-9][0-9])?$");
    case CONFIG_TYPE_PORTS:
        return json_pack("{s:[{s:s, s:i, s:i}, {s:s, s:s}]}", "anyOf", "type", "integer", "minimum",
                         1, "maximum", 65535, "type", "string", "pattern",
                         "^[0-9]+( *- *[0-9]+)?$");
    case CONFIG_TYPE_ADMIN:
        return json_pack("{s:[{s:s}, {s:b}]}", "anyOf", "type", "string", "const", 0);
    case CONFIG_TYPE_FLAGS:
    case CONFIG_TYPE_STEPS:
    case CONFIG_TYPE_COMMAND:
    case CONFIG_TYPE_ENVIRONMENT:
    case CONFIG_TYPE_HEADER:
    case CONFIG_TYPE_NETWORKS:
    case CONFIG_TYPE_HEADERS:
    case CONFIG_TYPE_LISTEN:
    case CONFIG_TYPE_CERTIFICATES:
    case CONFIG_TYPE_WINDOWS:
    case CONFIG_TYPE_MEMBERS:
    case CONFIG_TYPE_ROUTES:
    case CONFIG_TYPE_CLUSTERS:
    case CONFIG_TYPE_POOLS:
    case CONFIG_TYPE_NAMES:
    case CONFIG_TYPE_POOL_NAMES:
    case CONFIG_TYPE_PEERS:
    case CONFIG_TYPE_USERS:
        return lists_of(row);
    default:
        return text_with(NULL);
    }
}

static json_t *mapping_of(enum config__scope scope, struct fr_view prefix);

/* A section, and what a scalar in its place stands for. */
static json_t *
section_of(const struct config__row *row)
{
    json_t *mapping = mapping_of(row->scope, fr_view_of(row->path));
    const struct config__row *child = NULL;
    if (!row->unit[0])
        return mapping;
    while ((child = config__row_next(row->scope, fr_view_of(row->path), child)) != NULL)
        if (row->unit[0] == '*' || fr_view_is(config__row_key(child), row->unit))
            return json_pack("{s:[o, o]}", "anyOf", value_of(child), mapping);
    return mapping;
}

static json_t *
row_schema(const struct config__row *row)
{
    json_t *schema = row->type == CONFIG_TYPE_MAPPING ? section_of(row) : value_of(row);
    (void)json_object_set_new(schema, "description", json_string(row->words));
    if (row->default_text[0] && !config__row_is_computed(row) && row->default_text[0] != '[') {
        json_t *usual = row->type == CONFIG_TYPE_COUNT
                            ? json_integer((json_int_t)strtoll(row->default_text, NULL, 10))
                        : row->type == CONFIG_TYPE_BOOL ? json_boolean(row->default_text[0] == 't')
                                                        : json_string(row->default_text);
        (void)json_object_set_new(schema, "default", usual);
    }
    return schema;
}

static json_t *
mapping_of(enum config__scope scope, struct fr_view prefix)
{
    json_t *properties = json_object();
    const struct config__row *row = NULL;
    while ((row = config__row_next(scope, prefix, row)) != NULL) {
        struct fr_view key = config__row_key(row);
        (void)json_object_setn_new(properties, key.ptr, key.len, row_schema(row));
    }
    return json_pack("{s:s, s:b, s:o}", "type", "object", "additionalProperties", 0, "properties",
                     properties);
}

static const struct {
    enum config__scope scope;
    const char *required; /* keys, exactly one of which must be there; "" = none */
} definitions[] = {
    {CONFIG_SCOPE_LISTEN, "address"},
    {CONFIG_SCOPE_CERTIFICATE, "certificate"},
    {CONFIG_SCOPE_ROUTE, "cluster, redirect, respond, files"},
    {CONFIG_SCOPE_MEMBER, "address"},
    {CONFIG_SCOPE_WINDOW, "at"},
    {CONFIG_SCOPE_CLUSTER, ""},
    {CONFIG_SCOPE_POOL, "provider"},
    {CONFIG_SCOPE_PEER, "name"},
    {CONFIG_SCOPE_USER, "role"},
};

static void
require_one(json_t *definition, const char *required)
{
    struct fr_view rest = fr_view_of(required), word;
    if (!strchr(required, ',')) {
        (void)json_object_set_new(definition, "required", json_pack("[s]", required));
        return;
    }
    json_t *choices = json_array();
    while (config__word_next(&rest, &word))
        (void)json_array_append_new(choices,
                                    json_pack("{s:[s%]}", "required", word.ptr, (size_t)word.len));
    (void)json_object_set_new(definition, "oneOf", choices);
}

enum fr_err
config_schema_print(struct fr_buf *out)
{
    const struct fr_view top = {"", 0};
    json_t *schema = json_pack(
        "{s:s, s:s, s:s}", "$schema", "https://json-schema.org/draft/2020-12/schema", "title",
        "freshet.yaml", "description", "Printed from src/config/options.def; do not edit.");
    json_t *defs = json_object();
    for (size_t i = 0; i < sizeof(definitions) / sizeof(definitions[0]); i++) {
        json_t *definition = mapping_of(definitions[i].scope, top);
        if (definitions[i].required[0])
            require_one(definition, definitions[i].required);
        (void)json_object_set_new(defs, config__scope_name(definitions[i].scope), definition);
    }
    json_t *file = mapping_of(CONFIG_SCOPE_FILE, top);
    enum fr_err err = FR_ERR_NOMEM;
    /* A step that failed for want of memory leaves a hole; then nothing is printed. */
    if (schema && file && json_object_update(schema, file) == 0 &&
        json_object_set(schema, "$defs", defs) == 0) {
        char *text =
            json_dumps(schema, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
        if (text)
            err = fr_buf_printf(out, "%s\n", text);
        free(text); /* tidy: allow call: Jansson's allocation, not ours */
    }
    json_decref(file);
    json_decref(defs);
    json_decref(schema);
    return err;
}
