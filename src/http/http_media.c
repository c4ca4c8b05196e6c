/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_media.c - media types by the ending of a name, the one of gRPC, and what Accept-Encoding
 * allows.
 *
 * May touch:  base.
 * Follows:    RFC 9110 sections 8.3, 12.4.2 and 12.5.3.
 */
#include "http/http_select.h"

#define ENDING_BYTES_MAX 16 /* longer endings are unknown ones */

const struct http_media_row http_media_rows[] = {
#define HTTP_MEDIA_ROW(ending, type) {ending, type},
#include "http/http_media.def"
#undef HTTP_MEDIA_ROW
};
const size_t http_media_row_count = sizeof(http_media_rows) / sizeof(http_media_rows[0]);

/* What follows the last dot, in lower case; false when there is nothing like it. */
static bool
ending_of(struct fr_view name, char out[ENDING_BYTES_MAX])
{
    size_t len = 0;
    while (len < name.len && name.ptr[name.len - len - 1] != '.')
        if (name.ptr[name.len - ++len] == '/')
            return false;
    if (len == name.len || len == 0 || len >= ENDING_BYTES_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = name.ptr[name.len - len + i];
        out[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    out[len] = '\0';
    return true;
}

struct fr_view
http_media_type(struct fr_view name)
{
    char ending[ENDING_BYTES_MAX];
    size_t low = 0, high = ending_of(name, ending) ? http_media_row_count : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(ending, http_media_rows[middle].ending);
        if (order == 0)
            return fr_view_of(http_media_rows[middle].type);
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return FR_VIEW("application/octet-stream");
}

/* ---- codings -------------------------------------------------------------------------------- */

/* "0.5", "1", "0.123" in thousandths; a malformed weight is 0, so that nothing is sent that the
 * client may not read. */
static unsigned
weight_of(struct fr_view text)
{
    unsigned value, scale = 100;
    if (text.len == 0 || text.len > 5 || (text.ptr[0] != '0' && text.ptr[0] != '1'))
        return 0;
    value = text.ptr[0] == '1' ? 1000 : 0;
    if (text.len > 1 && text.ptr[1] != '.')
        return 0;
    for (size_t i = 2; i < text.len; i++, scale /= 10) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return 0;
        value += (unsigned)(text.ptr[i] - '0') * scale;
    }
    return value <= 1000 ? value : 0;
}

/* "gzip;q=0.5" into its name and weight. */
static struct fr_view
item_split(struct fr_view item, unsigned *out_weight)
{
    struct fr_view name, parameter, key, value;
    *out_weight = 1000;
    if (!fr_view_split(&item, ';', &name))
        return item;
    while (fr_view_split(&item, ';', &parameter)) {
        http_directive_split(parameter, &key, &value);
        if (fr_view_ieq(key, FR_VIEW("q")))
            *out_weight = weight_of(value);
    }
    return fr_view_trim(name);
}

unsigned
http_coding_quality(const struct http_field *accept, const struct http_head *request,
                    struct fr_view coding)
{
    unsigned any = 0, weight;
    for (; accept; accept = http_head_next(request, accept)) {
        struct fr_view rest = accept->value, item;
        while (http_list_next(&rest, &item)) {
            struct fr_view name = item_split(item, &weight);
            if (fr_view_ieq(name, coding))
                return weight;
            if (fr_view_is(name, "*"))
                any = weight;
        }
    }
    return any;
}

bool
http_is_grpc(struct fr_view content_type)
{
    struct fr_view wanted = FR_VIEW("application/grpc");
    if (!fr_view_istarts(content_type, wanted))
        return false;
    return content_type.len == wanted.len || strchr("+; \t", content_type.ptr[wanted.len]) != NULL;
}
