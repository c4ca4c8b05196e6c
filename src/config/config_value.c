/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_value.c - the types that are numbers or words: parsed into a field, printed back.
 *
 * May touch:  base.
 * Trusts:     nothing; every number is checked against its row.
 */
#include "config/config_priv.h"

#include "base/fr_check.h"
#include "base/fr_list.h"
#include "base/fr_unit.h"

#include <math.h>
#include <stdio.h>

#define MILLION 1e6

static bool
is_scalar(const struct config_node *node)
{
    return node->kind == CONFIG_SCALAR;
}

/* ---- numbers ----------------------------------------------------------------------------------
 */

static void
store_integer(const struct config__row *row, void *field, uint64_t value)
{
    switch (row->field_bytes) {
    case sizeof(uint16_t):
        *(uint16_t *)field = (uint16_t)value;
        break;
    case sizeof(uint32_t):
        *(uint32_t *)field = (uint32_t)value;
        break;
    default:
        fr_insist(row->field_bytes == sizeof(uint64_t));
        *(uint64_t *)field = value;
    }
}

static uint64_t
load_integer(const struct config__row *row, const void *field)
{
    switch (row->field_bytes) {
    case sizeof(uint16_t):
        return *(const uint16_t *)field;
    case sizeof(uint32_t):
        return *(const uint32_t *)field;
    default:
        return *(const uint64_t *)field;
    }
}

static bool
parse_count(struct config__reader *reader, const struct config__row *row,
            const struct config_node *node, void *field)
{
    uint64_t value, min, max;
    fr_insist(fr_view_u64(fr_view_of(row->min), &min));
    fr_insist(fr_view_u64(fr_view_of(row->max), &max));
    if (!is_scalar(node) || !fr_view_u64(node->value, &value) || value < min || value > max)
        return config__bad_value(reader, row, node);
    store_integer(row, field, value);
    return true;
}

static enum fr_err
print_count(const struct config__row *row, const void *field, struct fr_buf *out)
{
    return fr_buf_printf(out, "%llu", (unsigned long long)load_integer(row, field));
}

static bool
parse_bytes(struct config__reader *reader, const struct config__row *row,
            const struct config_node *node, void *field)
{
    uint64_t value, min, max;
    fr_insist(fr_unit_parse_bytes(fr_view_of(row->min), &min));
    fr_insist(fr_unit_parse_bytes(fr_view_of(row->max), &max));
    if (!is_scalar(node) || !fr_unit_parse_bytes(node->value, &value) || value < min || value > max)
        return config__bad_value(reader, row, node);
    store_integer(row, field, value);
    return true;
}

static enum fr_err
print_bytes(const struct config__row *row, const void *field, struct fr_buf *out)
{
    char text[FR_UNIT_TEXT_BYTES];
    fr_unit_format_bytes(load_integer(row, field), text);
    return fr_buf_append_view(out, fr_view_of(text));
}

static bool
parse_duration(struct config__reader *reader, const struct config__row *row,
               const struct config_node *node, void *field)
{
    int64_t value, min, max;
    fr_insist(fr_unit_parse_duration(fr_view_of(row->min), &min));
    fr_insist(fr_unit_parse_duration(fr_view_of(row->max), &max));
    if (!is_scalar(node) || !fr_unit_parse_duration(node->value, &value) || value < min ||
        value > max)
        return config__bad_value(reader, row, node);
    *(int64_t *)field = value;
    return true;
}

static enum fr_err
print_duration(const struct config__row *row, const void *field, struct fr_buf *out)
{
    (void)row;
    char text[FR_UNIT_TEXT_BYTES];
    fr_unit_format_duration(*(const int64_t *)field, text);
    return fr_buf_append_view(out, fr_view_of(text));
}

/* Kept to the millionth, so that six decimals print it exactly. */
static bool
parse_ratio(struct config__reader *reader, const struct config__row *row,
            const struct config_node *node, void *field)
{
    double value, min, max;
    fr_insist(fr_unit_parse_ratio(fr_view_of(row->min), &min));
    fr_insist(fr_unit_parse_ratio(fr_view_of(row->max), &max));
    if (!is_scalar(node) || !fr_unit_parse_ratio(node->value, &value) || !(value >= min) ||
        !(value <= max))
        return config__bad_value(reader, row, node);
    *(double *)field = round(value * MILLION) / MILLION;
    return true;
}

static enum fr_err
print_ratio(const struct config__row *row, const void *field, struct fr_buf *out)
{
    (void)row;
    char text[64];
    int len = snprintf(text, sizeof(text), "%.6f", *(const double *)field);
    while (len > 1 && text[len - 1] == '0' && text[len - 2] != '.')
        len--;
    return fr_buf_append(out, text, (size_t)len);
}

static bool
parse_bool(struct config__reader *reader, const struct config__row *row,
           const struct config_node *node, void *field)
{
    if (is_scalar(node) && (fr_view_is(node->value, "true") || fr_view_is(node->value, "on"))) {
        *(bool *)field = true;
        return true;
    }
    if (is_scalar(node) && (fr_view_is(node->value, "false") || fr_view_is(node->value, "off"))) {
        *(bool *)field = false;
        return true;
    }
    return config__bad_value(reader, row, node);
}

static enum fr_err
print_bool(const struct config__row *row, const void *field, struct fr_buf *out)
{
    (void)row;
    return fr_buf_append_view(out, fr_view_of(*(const bool *)field ? "true" : "false"));
}

/* "first-last", or one number for both. */
static bool
parse_range(struct fr_view text, const struct config__row *row, uint64_t *out_first,
            uint64_t *out_last)
{
    uint64_t min, max;
    struct fr_view first, rest = text;
    if (!fr_view_u64(fr_view_of(row->min), &min) || !fr_view_u64(fr_view_of(row->max), &max) ||
        !fr_view_split(&rest, '-', &first))
        return false;
    struct fr_view last = rest.ptr ? rest : first;
    return fr_view_u64(fr_view_trim(first), out_first) &&
           fr_view_u64(fr_view_trim(last), out_last) && *out_first >= min && *out_last <= max &&
           *out_first <= *out_last;
}

static bool
parse_status(struct config__reader *reader, const struct config__row *row,
             const struct config_node *node, void *field)
{
    uint64_t first, last;
    if (!is_scalar(node) || !parse_range(node->value, row, &first, &last))
        return config__bad_value(reader, row, node);
    unsigned *range = field; /* status_min, status_max */
    range[0] = (unsigned)first;
    range[1] = (unsigned)last;
    return true;
}

static enum fr_err
print_status(const struct config__row *row, const void *field, struct fr_buf *out)
{
    (void)row;
    const unsigned *range = field;
    return fr_buf_printf(out, "%u-%u", range[0], range[1]);
}

static bool
parse_ports(struct config__reader *reader, const struct config__row *row,
            const struct config_node *node, void *field)
{
    uint64_t first, last;
    if (!is_scalar(node) || !parse_range(node->value, row, &first, &last))
        return config__bad_value(reader, row, node);
    uint16_t *range = field; /* port_first, port_last */
    range[0] = (uint16_t)first;
    range[1] = (uint16_t)last;
    return true;
}

static enum fr_err
print_ports(const struct config__row *row, const void *field, struct fr_buf *out)
{
    (void)row;
    const uint16_t *range = field;
    return range[0] ? fr_buf_printf(out, "%u-%u", range[0], range[1]) : FR_OK;
}

/* ---- words ------------------------------------------------------------------------------------
 */

/* Its place in "a, b, c"; false when it is none of them. */
static bool
word_index(struct fr_view words, struct fr_view written, unsigned *out_index)
{
    struct fr_view word;
    for (unsigned i = 0; config__word_next(&words, &word); i++) {
        if (fr_view_eq(word, written)) {
            *out_index = i;
            return true;
        }
    }
    return false;
}

static struct fr_view
word_at(struct fr_view words, unsigned index)
{
    struct fr_view word = {"", 0};
    for (unsigned i = 0; i <= index && config__word_next(&words, &word); i++)
        ;
    return word;
}

static bool
parse_choice(struct config__reader *reader, const struct config__row *row,
             const struct config_node *node, void *field)
{
    unsigned index;
    if (!is_scalar(node) || !word_index(fr_view_of(row->unit), node->value, &index))
        return config__bad_value(reader, row, node);
    *(unsigned *)field = index;
    return true;
}

static enum fr_err
print_choice(const struct config__row *row, const void *field, struct fr_buf *out)
{
    return fr_buf_append_view(out, word_at(fr_view_of(row->unit), *(const unsigned *)field));
}

static bool
parse_flags(struct config__reader *reader, const struct config__row *row,
            const struct config_node *node, void *field)
{
    unsigned flags = 0, index;
    bool single = is_scalar(node);
    if (node->kind == CONFIG_MAPPING)
        return config__bad_value(reader, row, node);
    for (const struct config_node *item = single ? node : node->first_child; item;
         item = single ? NULL : item->next) {
        if (!is_scalar(item) || !word_index(fr_view_of(row->unit), item->value, &index))
            return config__bad_value(reader, row, item);
        flags |= 1u << index;
    }
    *(unsigned *)field = flags;
    return true;
}

static enum fr_err
print_flags(const struct config__row *row, const void *field, struct fr_buf *out)
{
    const char *comma = "";
    enum fr_err err = fr_buf_append(out, "[", 1);
    struct fr_view rest = fr_view_of(row->unit), word;
    for (unsigned i = 0; !err && config__word_next(&rest, &word); i++) {
        if ((*(const unsigned *)field & (1u << i)) == 0)
            continue;
        err = fr_buf_printf(out, "%s%.*s", comma, FR_VIEW_ARG(word));
        comma = ", ";
    }
    return err ? err : fr_buf_append(out, "]", 1);
}

static bool
parse_steps(struct config__reader *reader, const struct config__row *row,
            const struct config_node *node, void *field)
{
    struct config_edge_relief *relief =
        FR_CONTAINER(field, struct config_edge_relief, steps); /* steps and step_count */
    enum config_relief_step steps[3];
    size_t count = 0;
    unsigned index, seen = 0;
    if (node->kind != CONFIG_SEQUENCE)
        return config__bad_value(reader, row, node);
    for (const struct config_node *item = node->first_child; item; item = item->next) {
        if (!is_scalar(item) || !word_index(fr_view_of(row->unit), item->value, &index) ||
            (seen & (1u << index)) != 0)
            return config__bad_value(reader, row, item);
        seen |= 1u << index;
        steps[count++] = (enum config_relief_step)index;
    }
    for (size_t i = 0; i < count; i++)
        relief->steps[i] = steps[i];
    relief->step_count = count;
    return true;
}

static enum fr_err
print_steps(const struct config__row *row, const void *field, struct fr_buf *out)
{
    const struct config_edge_relief *relief = FR_CONTAINER(field, struct config_edge_relief, steps);
    enum fr_err err = fr_buf_append(out, "[", 1);
    for (size_t i = 0; i < relief->step_count && !err; i++)
        err = fr_buf_printf(out, "%s%.*s", i ? ", " : "",
                            FR_VIEW_ARG(word_at(fr_view_of(row->unit), relief->steps[i])));
    return err ? err : fr_buf_append(out, "]", 1);
}

static bool
parse_provider(struct config__reader *reader, const struct config__row *row,
               const struct config_node *node, void *field)
{
    unsigned index;
    if (!is_scalar(node) || !word_index(fr_view_of(row->unit), node->value, &index))
        return config__bad_value(reader, row, node);
    config__set_text(field, node->value);
    return true;
}

const struct config__type_ops config__types[CONFIG_TYPE_COUNT_OF] = {
    [CONFIG_TYPE_MAPPING] = {"mapping", NULL, NULL},
    [CONFIG_TYPE_BOOL] = {"boolean", parse_bool, print_bool},
    [CONFIG_TYPE_COUNT] = {"number", parse_count, print_count},
    [CONFIG_TYPE_BYTES] = {"bytes", parse_bytes, print_bytes},
    [CONFIG_TYPE_DURATION] = {"duration", parse_duration, print_duration},
    [CONFIG_TYPE_RATIO] = {"share", parse_ratio, print_ratio},
    [CONFIG_TYPE_CHOICE] = {"word", parse_choice, print_choice},
    [CONFIG_TYPE_FLAGS] = {"words", parse_flags, print_flags},
    [CONFIG_TYPE_STEPS] = {"words", parse_steps, print_steps},
    [CONFIG_TYPE_NAME] = {"name", config__parse_name, config__print_name},
    [CONFIG_TYPE_POOL_NAMES] = {"names", config__parse_pool_names, config__print_pool_names},
    [CONFIG_TYPE_NAME_TEXT] = {"name", config__parse_name_text, config__print_text},
    [CONFIG_TYPE_TEXT] = {"text", config__parse_text, config__print_text},
    [CONFIG_TYPE_HOST] = {"host name", config__parse_host, config__print_text},
    [CONFIG_TYPE_PATH] = {"path", config__parse_path, config__print_text},
    [CONFIG_TYPE_TOKEN] = {"token", config__parse_token, config__print_text},
    [CONFIG_TYPE_TOKEN_NAME] = {"token", config__parse_token, config__print_text},
    [CONFIG_TYPE_SECRET] = {"key", config__parse_secret, NULL},
    [CONFIG_TYPE_HEADER] = {"header field", config__parse_header, config__print_header},
    [CONFIG_TYPE_HEADERS] = {"header fields", config__parse_headers, config__print_headers},
    [CONFIG_TYPE_LOCATION] = {"target", config__parse_location, config__print_text},
    [CONFIG_TYPE_BODY] = {"text", config__parse_body, config__print_text},
    [CONFIG_TYPE_FILE_NAME] = {"file", config__parse_file_name, config__print_text},
    [CONFIG_TYPE_STATUS] = {"status codes", parse_status, print_status},
    [CONFIG_TYPE_PORTS] = {"ports", parse_ports, print_ports},
    [CONFIG_TYPE_IP] = {"numeric address", config__parse_ip, config__print_name},
    [CONFIG_TYPE_ADDRESS] = {"address", config__parse_address, config__print_text},
    [CONFIG_TYPE_ADMIN] = {"address", config__parse_admin, config__print_text},
    [CONFIG_TYPE_ADDRESS_TEXT] = {"address", config__parse_address_text, config__print_text},
    [CONFIG_TYPE_LISTEN_ADDRESS] = {"address", config__parse_listen_address, config__print_text},
    [CONFIG_TYPE_MEMBER_ADDRESS] = {"address", config__parse_member_address, config__print_text},
    [CONFIG_TYPE_PROVIDER] = {"word", parse_provider, config__print_text},
    [CONFIG_TYPE_COMMAND] = {"list of words", config__parse_command, config__print_command},
    [CONFIG_TYPE_ENVIRONMENT] = {"variables", config__parse_environment, config__print_environment},
    [CONFIG_TYPE_NETWORKS] = {"networks", config__parse_networks, NULL},
    [CONFIG_TYPE_LISTEN] = {"listeners", config__parse_listen, NULL},
    [CONFIG_TYPE_WINDOWS] = {"windows", config__parse_windows, config__print_windows},
    [CONFIG_TYPE_CERTIFICATES] = {"certificates", config__parse_certificates, NULL},
    [CONFIG_TYPE_MEMBERS] = {"members", config__parse_members, config__print_members},
    [CONFIG_TYPE_ROUTES] = {"routes", config__parse_routes, NULL},
    [CONFIG_TYPE_CLUSTERS] = {"clusters", config__parse_clusters, NULL},
    [CONFIG_TYPE_POOLS] = {"pools", config__parse_pools, NULL},
    [CONFIG_TYPE_NAMES] = {"names", config__parse_names, NULL},
    [CONFIG_TYPE_PEERS] = {"peers", config__parse_peers, NULL},
    [CONFIG_TYPE_USERS] = {"users", config__parse_users, NULL},
};
