/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_control.c - fuzzes what heads say about caching: Cache-Control, CDN-Cache-Control,
 * Surrogate-Control, Pragma.
 *
 * Shape:  header fields, line by line.
 * Judged: seconds stay within their bounds; what is withheld lies in the head; a value without
 *         quotes says what a reader that knows only commas makes of it; a line more never allows
 *         more.
 */
#include "cache/cache_priv.h"

#include "base/fr_check.h"

#define TEXT_BYTES_MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct text {
    size_t len;
    char bytes[TEXT_BYTES_MAX];
};

static void
put(struct text *text, struct fr_view view)
{
    fr_insist(view.len <= sizeof(text->bytes) - text->len);
    if (view.len)
        memcpy(text->bytes + text->len, view.ptr, view.len);
    text->len += view.len;
}

static bool
head_of(struct text *text, struct fr_view fields, struct fr_view more, struct http_head *out)
{
    struct http_err err;
    size_t scanned = 0;
    text->len = 0;
    put(text, FR_VIEW("HTTP/1.1 200 OK\r\n"));
    put(text, fields);
    put(text, FR_VIEW("\r\n"));
    put(text, more);
    put(text, FR_VIEW("\r\n"));
    return http_response_parse(fr_view_make(text->bytes, text->len), &http_limits_default, &scanned,
                               out, &err) == HTTP_DONE;
}

static void
check_bounds(const struct text *text, const struct cache__control *control)
{
    const int64_t seconds[] = {
        control->max_age_s,   control->s_maxage_s,         control->min_fresh_s,
        control->max_stale_s, control->while_revalidate_s, control->if_error_s,
    };
    for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++)
        fr_insist(seconds[i] >= CACHE__ABSENT && seconds[i] <= CACHE__SECONDS_MAX);
    fr_insist(control->withheld_count <= CACHE__WITHHELD_MAX);
    for (size_t i = 0; i < control->withheld_count; i++) {
        struct fr_view names = control->withheld[i], name;
        fr_insist(names.ptr >= text->bytes && names.ptr + names.len <= text->bytes + text->len);
        while (http_list_next(&names, &name))
            fr_insist(cache__control_withholds(control, name));
    }
}

/* ---- the other reader ------------------------------------------------------------------------ */

/* The lowest or highest number that a directive of this name has; CACHE__ABSENT: there is none. */
static int64_t
seconds_of(const struct http_head *head, const char *name)
{
    int64_t lowest = CACHE__ABSENT;
    const struct http_field *field = http_head_find(head, HTTP_FIELD_CACHE_CONTROL);
    for (; field; field = http_head_next(head, field)) {
        struct fr_view rest = field->value, item, key;
        while (fr_view_split(&rest, ',', &item)) {
            struct fr_view value = item;
            if (!fr_view_split(&value, '=', &key) ||
                !fr_view_ieq(fr_view_trim(key), fr_view_of(name)))
                continue;
            uint64_t s = 0;
            value = fr_view_trim(value);
            bool digits = value.len > 0;
            for (size_t i = 0; i < value.len; i++) {
                digits &= value.ptr[i] >= '0' && value.ptr[i] <= '9';
                s = s > UINT32_MAX ? s : s * 10 + (uint64_t)(value.ptr[i] - '0');
            }
            if (!digits)
                s = 0;
            if (s > (uint64_t)CACHE__SECONDS_MAX)
                s = (uint64_t)CACHE__SECONDS_MAX;
            if (lowest == CACHE__ABSENT || (int64_t)s < lowest)
                lowest = (int64_t)s;
        }
    }
    return lowest;
}

static bool
says(const struct http_head *head, const char *name)
{
    return seconds_of(head, name) != CACHE__ABSENT;
}

static bool
is_plain(const struct http_head *head)
{
    const struct http_field *field = http_head_find(head, HTTP_FIELD_CACHE_CONTROL);
    bool any = field != NULL;
    for (; field; field = http_head_next(head, field))
        any &= field->value.len == 0 || (!memchr(field->value.ptr, '"', field->value.len) &&
                                         !memchr(field->value.ptr, '\\', field->value.len));
    return any;
}

static void
check_plain(const struct http_head *head, const struct cache__control *control)
{
    if (!is_plain(head))
        return;
    fr_insist(control->no_store == says(head, "no-store"));
    fr_insist(control->is_public == says(head, "public"));
    fr_insist(control->must_understand == says(head, "must-understand"));
    fr_insist(control->only_if_cached == says(head, "only-if-cached"));
    fr_insist(control->must_revalidate ==
              (says(head, "must-revalidate") || says(head, "proxy-revalidate") ||
               says(head, "s-maxage")));
    fr_insist(control->max_age_s == seconds_of(head, "max-age"));
    fr_insist(control->s_maxage_s == seconds_of(head, "s-maxage"));
    fr_insist(control->while_revalidate_s == seconds_of(head, "stale-while-revalidate"));
    fr_insist(control->if_error_s == seconds_of(head, "stale-if-error"));
    fr_insist((control->no_cache || control->withheld_count > 0) >= says(head, "no-cache"));
    fr_insist((control->is_private || control->withheld_count > 0) >= says(head, "private"));
}

/* ---- lines more ------------------------------------------------------------------------------ */

/* What is said last or first counts alike, and what was forbidden stays so. */
static void
check_stricter(struct fr_view fields, const struct cache__control *before)
{
    static struct text text;
    static struct http_head head;
    struct cache__control after;
    const struct fr_view more =
        FR_VIEW("Cache-Control: no-store, private, no-cache, must-revalidate, max-age=7\r\n");
    if (!head_of(&text, fields, more, &head))
        return; /* too many fields */
    cache__control_read(&head, &after);
    fr_insist(after.no_store && after.is_private && after.no_cache && after.must_revalidate);
    fr_insist(after.max_age_s >= 0 && after.max_age_s <= 7);
    fr_insist(before->max_age_s == CACHE__ABSENT || after.max_age_s <= before->max_age_s);
    fr_insist(after.s_maxage_s == before->s_maxage_s);
    fr_insist(after.withheld_count == before->withheld_count);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct text text;
    static struct http_head head;
    struct fr_view fields = fr_view_make((const char *)data, size);
    struct cache__control control;
    struct cache_policy policy = cache_policy_default;
    if (size > TEXT_BYTES_MAX - 256 || !head_of(&text, fields, FR_VIEW(""), &head))
        return 0;
    for (int surrogate = 0; surrogate < 2; surrogate++) {
        policy.surrogate = surrogate;
        cache__control_read_response(&head, &policy, &control);
        check_bounds(&text, &control);
        fr_insist(!control.surrogate || control.targeted);
    }
    cache__control_read(&head, &control);
    check_bounds(&text, &control);
    check_plain(&head, &control);
    /* The fields have to end where another line may follow. */
    if (head.head_bytes == text.len)
        check_stricter(fields, &control);
    return 0;
}
