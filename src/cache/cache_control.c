/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_control.c - reads what heads say about caching: Cache-Control of requests and responses,
 * and the fields that speak to us in its place.
 *
 * May touch:  base, http.
 * Trusts:     nothing. What is doubtful is read the way that reuses less.
 * Follows:    RFC 9111 sections 1.2.2, 4.2.1, 5.2 and 5.4; RFC 5861; RFC 9213; Surrogate-Control as
 *             in the W3C note "Edge Architecture Specification" section 2.3.
 */
#include "cache/cache_priv.h"

#include "http/http_structured.h"

/* delta-seconds. What is no number counts as 0: "stale" (section 4.2.1). */
static int64_t
seconds_of(struct fr_view value)
{
    int64_t s = 0;
    if (value.len == 0)
        return 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9')
            return 0;
        s = s * 10 + (value.ptr[i] - '0');
        if (s > CACHE__SECONDS_MAX)
            s = CACHE__SECONDS_MAX;
    }
    return s;
}

/* Of two values of one directive the lower one counts (section 4.2.1: the most restrictive). */
static void
seconds_set(int64_t *slot, struct fr_view value)
{
    int64_t s = seconds_of(value);
    if (*slot == CACHE__ABSENT || s < *slot)
        *slot = s;
}

/* no-cache="a, b" and private="a, b": these fields alone are meant (sections 5.2.2.4 and 5.2.2.7).
 * The plain form says more, and so does a value that names nothing, or one list too many. */
static void
fields_set(struct cache__control *out, bool *plain, struct fr_view value)
{
    if (value.len == 0 || out->withheld_count == CACHE__WITHHELD_MAX)
        *plain = true;
    else
        out->withheld[out->withheld_count++] = value;
}

/* Those with a value. */
static bool
directive_apply_value(struct cache__control *out, struct fr_view name, struct fr_view value)
{
    if (fr_view_ieq(name, FR_VIEW("max-age"))) {
        seconds_set(&out->max_age_s, value);
    } else if (fr_view_ieq(name, FR_VIEW("s-maxage"))) {
        seconds_set(&out->s_maxage_s, value);
        out->must_revalidate = out->for_others = true; /* section 5.2.2.10 */
    } else if (fr_view_ieq(name, FR_VIEW("stale-while-revalidate"))) {
        seconds_set(&out->while_revalidate_s, value);
    } else if (fr_view_ieq(name, FR_VIEW("stale-if-error"))) {
        seconds_set(&out->if_error_s, value);
    } else if (fr_view_ieq(name, FR_VIEW("min-fresh"))) {
        /* Here more is more restrictive, and an unreadable one asks for the most. */
        int64_t s = value.len ? seconds_of(value) : CACHE__SECONDS_MAX;
        if (s > out->min_fresh_s)
            out->min_fresh_s = s;
    } else if (fr_view_ieq(name, FR_VIEW("max-stale"))) {
        int64_t s = value.ptr ? seconds_of(value) : CACHE__SECONDS_MAX;
        if (out->max_stale_s == CACHE__ABSENT || s < out->max_stale_s)
            out->max_stale_s = s;
    } else if (fr_view_ieq(name, FR_VIEW("no-cache"))) {
        fields_set(out, &out->no_cache, value);
    } else if (fr_view_ieq(name, FR_VIEW("private"))) {
        fields_set(out, &out->is_private, value);
    } else {
        return false;
    }
    return true;
}

static void
directive_apply(struct cache__control *out, struct fr_view name, struct fr_view value)
{
    if (directive_apply_value(out, name, value))
        return;
    if (fr_view_ieq(name, FR_VIEW("no-store")))
        out->no_store = true;
    else if (fr_view_ieq(name, FR_VIEW("public")))
        out->is_public = out->for_others = true;
    else if (fr_view_ieq(name, FR_VIEW("must-revalidate")))
        out->must_revalidate = out->for_others = true;
    else if (fr_view_ieq(name, FR_VIEW("proxy-revalidate")))
        out->must_revalidate = true; /* it allows nothing by itself: section 5.2.2.8 */
    else if (fr_view_ieq(name, FR_VIEW("must-understand")))
        out->must_understand = true;
    else if (fr_view_ieq(name, FR_VIEW("only-if-cached")))
        out->only_if_cached = true;
}

/* Section 5.4: Pragma: no-cache counts where there is no Cache-Control. */
static bool
pragma_no_cache(const struct http_head *head)
{
    const struct http_field *field = http_head_find(head, HTTP_FIELD_PRAGMA);
    for (; field; field = http_head_next(head, field)) {
        struct fr_view rest = field->value;
        struct fr_view item;
        while (http_list_next(&rest, &item))
            if (fr_view_ieq(item, FR_VIEW("no-cache")))
                return true;
    }
    return false;
}

static void
control_clear(struct cache__control *out)
{
    *out = (struct cache__control){
        .max_age_s = CACHE__ABSENT,
        .s_maxage_s = CACHE__ABSENT,
        .min_fresh_s = CACHE__ABSENT,
        .max_stale_s = CACHE__ABSENT,
        .while_revalidate_s = CACHE__ABSENT,
        .if_error_s = CACHE__ABSENT,
    };
}

void
cache__control_read(const struct http_head *head, struct cache__control *out)
{
    control_clear(out);
    if (!http_head_has(head, HTTP_SET(CACHE_CONTROL) | HTTP_SET(PRAGMA)))
        return;
    const struct http_field *field = http_head_find(head, HTTP_FIELD_CACHE_CONTROL);
    if (!field) {
        out->no_cache = pragma_no_cache(head);
        return;
    }
    for (; field; field = http_head_next(head, field)) {
        struct fr_view rest = field->value;
        struct fr_view item;
        while (http_list_next(&rest, &item)) {
            struct fr_view name;
            struct fr_view value;
            http_directive_split(item, &name, &value);
            directive_apply(out, name, value);
        }
    }
}

/* ---- targeted fields ------------------------------------------------------------------------- */

/* RFC 9213 section 2.1: seconds are Integers, lists of names Strings, all others Booleans. */
static bool
type_fits(const struct http_sf_member *member)
{
    static const char *const seconds[] = {"max-age", "s-maxage", "stale-while-revalidate",
                                          "stale-if-error"};
    static const char *const flags[] = {"no-store", "public", "must-revalidate", "proxy-revalidate",
                                        "must-understand"};
    for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++)
        if (fr_view_is(member->key, seconds[i]))
            return member->type == HTTP_SF_INTEGER;
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (fr_view_is(member->key, flags[i]))
            return member->type == HTTP_SF_BOOLEAN;
    if (fr_view_is(member->key, "no-cache") || fr_view_is(member->key, "private"))
        return member->type == HTTP_SF_BOOLEAN || member->type == HTTP_SF_STRING;
    return true;
}

static void
member_apply(struct cache__control *out, const struct http_sf_member *member)
{
    char digits[24];
    struct fr_view value = member->text;
    if (member->type == HTTP_SF_BOOLEAN) {
        if (member->integer == 0)
            return; /* "no-store=?0" says nothing */
        value = fr_view_make(NULL, 0);
    } else if (member->type == HTTP_SF_INTEGER) {
        size_t at = sizeof(digits);
        int64_t left = member->integer < 0 ? 0 : member->integer;
        do {
            digits[--at] = (char)('0' + left % 10);
            left /= 10;
        } while (left);
        value = fr_view_make(digits + at, sizeof(digits) - at);
    }
    directive_apply(out, member->key, value);
}

/* One pass over all lines of the field; applies where out is not NULL. False: it is no dictionary,
 * or empty, or a value has another type than its directive. */
static bool
targeted_pass(const struct http_head *head, const struct http_field *field,
              struct cache__control *out)
{
    size_t members = 0;
    for (; field; field = http_head_next(head, field)) {
        struct fr_view rest = field->value;
        struct http_sf_member member;
        enum http_step step;
        while ((step = http_sf_member_next(&rest, &member)) == HTTP_MORE) {
            members++;
            if (!type_fits(&member))
                return false;
            if (out)
                member_apply(out, &member);
        }
        if (step == HTTP_BAD)
            return false;
    }
    return members > 0;
}

/* "max-age=30+60;us, no-store;them": what names a target other than us is not for us. False:
 * nothing here is. */
static bool
surrogate_read(const struct http_head *head, struct cache__control *out)
{
    const struct http_field *field = http_head_find_name(head, FR_VIEW("surrogate-control"));
    bool any = false;
    for (; field; field = http_head_next(head, field)) {
        struct fr_view rest = field->value;
        struct fr_view item;
        while (http_list_next(&rest, &item)) {
            struct fr_view name, value, directive, number;
            (void)fr_view_split(&item, ';', &directive); /* there is one: items are not empty */
            if (item.ptr && !fr_view_ieq(fr_view_trim(item), FR_VIEW(CACHE_NAME)))
                continue;
            http_directive_split(directive, &name, &value);
            if (fr_view_ieq(name, FR_VIEW("max-age")) && fr_view_split(&value, '+', &number)) {
                seconds_set(&out->max_age_s, number);
                if (value.ptr) /* how much longer it may be served stale */
                    seconds_set(&out->while_revalidate_s, value);
                any = true;
            } else if (fr_view_ieq(name, FR_VIEW("no-store"))) {
                out->no_store = any = true;
            }
        }
    }
    return any;
}

void
cache__control_read_response(const struct http_head *head, const struct cache_policy *policy,
                             struct cache__control *out)
{
    const struct http_field *field = http_head_find_name(head, FR_VIEW("cdn-cache-control"));
    control_clear(out);
    if (policy->surrogate && surrogate_read(head, out)) {
        out->targeted = out->surrogate = true;
        return;
    }
    control_clear(out);
    /* RFC 9213 section 2.1: one that cannot be parsed counts as absent. */
    if (field && targeted_pass(head, field, NULL)) {
        (void)targeted_pass(head, field, out);
        out->targeted = true;
        return;
    }
    cache__control_read(head, out);
}

bool
cache__control_withholds(const struct cache__control *control, struct fr_view name)
{
    for (size_t i = 0; i < control->withheld_count; i++) {
        struct fr_view rest = control->withheld[i];
        struct fr_view item;
        while (http_list_next(&rest, &item))
            if (fr_view_ieq(item, name))
                return true;
    }
    return false;
}
