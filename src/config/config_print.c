/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_print.c - the way back: values as YAML flow text that reads to the same values.
 *
 * May touch:  base.
 * Memory:     what differs from the default is found by printing both; control code only.
 */
#include "config/config_priv.h"

#define VALUE_BYTES_MAX (4u << 20) /* of one value; members are the longest */

/* Words that YAML readers take for something else than text, and characters that mean something. */
static bool
is_plain(struct fr_view value)
{
    if (value.len == 0 || value.ptr[0] == '-' || value.ptr[0] == '.' || value.ptr[0] == '=')
        return false;
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        bool word = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!word && !strchr("-_./", c))
            return false;
    }
    return true;
}

/* One character of UTF-8; what is no UTF-8 gives U+FFFD for one byte. */
static size_t
decode(struct fr_view text, uint32_t *out_code)
{
    unsigned char first = (unsigned char)text.ptr[0];
    size_t len = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t code = len == 1 ? first : first & (0x7fu >> len);
    *out_code = 0xfffd;
    if (len == 0 || first > 0xf4 || len > text.len)
        return 1;
    for (size_t i = 1; i < len; i++) {
        if (((unsigned char)text.ptr[i] & 0xc0) != 0x80)
            return 1;
        code = code << 6 | ((unsigned char)text.ptr[i] & 0x3f);
    }
    if ((len == 3 && code < 0x800) || (len == 4 && code < 0x10000) || code > 0x10ffff ||
        (code >= 0xd800 && code < 0xe000))
        return 1;
    *out_code = code;
    return len;
}

/* What a YAML reader refuses, or takes for the end of a line (YAML 1.1 sections 5.1 and 5.4). */
static bool
must_escape(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
           code == 0xfeff || (code & 0xfffe) == 0xfffe;
}

enum fr_err
config_print_scalar(struct fr_view value, struct fr_buf *out)
{
    if (is_plain(value))
        return fr_buf_append_view(out, value);
    enum fr_err err = fr_buf_append(out, "\"", 1);
    for (size_t i = 0; i < value.len && !err;) {
        uint32_t code;
        size_t len = decode(fr_view_make(value.ptr + i, value.len - i), &code);
        if (code == '"' || code == '\\')
            err = fr_buf_printf(out, "\\%c", (char)code);
        else if (must_escape(code) || (code == 0xfffd && len == 1))
            err = fr_buf_printf(out, code > 0xffff ? "\\U%08x" : "\\u%04x", code);
        else
            err = fr_buf_append(out, value.ptr + i, len);
        i += len;
    }
    return err ? err : fr_buf_append(out, "\"", 1);
}

static enum fr_err print_mapping(enum config__scope scope, struct fr_view prefix, const void *base,
                                 const void *defaults, struct fr_buf *out);

/* What stands behind the key; nothing when it need not be written. */
static enum fr_err
print_value(const struct config__row *row, const void *base, const void *defaults,
            struct fr_buf *out)
{
    const char *field = (const char *)base + row->offset;
    if (row->type == CONFIG_TYPE_MAPPING) {
        if (row->has_field && !*(const bool *)(const void *)field)
            return FR_OK;
        enum fr_err err = print_mapping(row->scope, fr_view_of(row->path), base, defaults, out);
        bool empty = out->len == 2; /* "{}" says that it was given, where that means something */
        if (!err && empty && !row->has_field)
            fr_buf_clear(out);
        return err;
    }
    enum fr_err err = config__types[row->type].print(row, field, out);
    if (err || config__row_is_computed(row))
        return err;
    struct fr_buf usual;
    fr_buf_init(&usual, VALUE_BYTES_MAX);
    err = config__types[row->type].print(row, (const char *)defaults + row->offset, &usual);
    if (!err && fr_view_eq(fr_buf_view(out), fr_buf_view(&usual)))
        fr_buf_clear(out);
    fr_buf_fini(&usual);
    return err;
}

static enum fr_err
print_mapping(enum config__scope scope, struct fr_view prefix, const void *base,
              const void *defaults, struct fr_buf *out)
{
    const struct config__row *row = NULL;
    const char *comma = "";
    enum fr_err err = fr_buf_append(out, "{", 1);
    while (!err && (row = config__row_next(scope, prefix, row)) != NULL) {
        struct fr_buf value;
        fr_buf_init(&value, VALUE_BYTES_MAX);
        err = print_value(row, base, defaults, &value);
        if (!err && value.len > 0) {
            err = fr_buf_printf(out, "%s%.*s: ", comma, FR_VIEW_ARG(config__row_key(row)));
            if (!err)
                err = fr_buf_append_view(out, fr_buf_view(&value));
            comma = ", ";
        }
        fr_buf_fini(&value);
    }
    return err ? err : fr_buf_append(out, "}", 1);
}

enum fr_err
config__print_scope(enum config__scope scope, const void *base, const void *defaults,
                    struct fr_buf *out)
{
    return print_mapping(scope, (struct fr_view){"", 0}, base, defaults, out);
}
