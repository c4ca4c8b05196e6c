/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_control.c - reads Cache-Control, of requests and responses alike.
 *
 * May touch:  base, http.
 * Trusts:     nothing. What is doubtful is read the way that reuses less.
 * Follows:    RFC 9111 sections 1.2.2, 4.2.1, 5.2 and 5.4.
 */
#include "cache/cache_priv.h"

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

/* The forms with field names, no-cache="…" and private="…", count as the plain ones, which sections
 * 5.2.2.4 and 5.2.2.7 allow. */
static void
directive_apply(struct cache__control *out, struct fr_view name, struct fr_view value)
{
    if (fr_view_ieq(name, FR_VIEW("max-age"))) {
        seconds_set(&out->max_age_s, value);
    } else if (fr_view_ieq(name, FR_VIEW("s-maxage"))) {
        seconds_set(&out->s_maxage_s, value);
        out->must_revalidate = true; /* section 5.2.2.10 */
    } else if (fr_view_ieq(name, FR_VIEW("min-fresh"))) {
        /* Here more is more restrictive, and an unreadable one asks for the most. */
        int64_t s = value.len ? seconds_of(value) : CACHE__SECONDS_MAX;
        if (s > out->min_fresh_s)
            out->min_fresh_s = s;
    } else if (fr_view_ieq(name, FR_VIEW("max-stale"))) {
        int64_t s = value.ptr ? seconds_of(value) : CACHE__SECONDS_MAX;
        if (out->max_stale_s == CACHE__ABSENT || s < out->max_stale_s)
            out->max_stale_s = s;
    } else if (fr_view_ieq(name, FR_VIEW("no-store"))) {
        out->no_store = true;
    } else if (fr_view_ieq(name, FR_VIEW("no-cache"))) {
        out->no_cache = true;
    } else if (fr_view_ieq(name, FR_VIEW("private"))) {
        out->is_private = true;
    } else if (fr_view_ieq(name, FR_VIEW("public"))) {
        out->is_public = true;
    } else if (fr_view_ieq(name, FR_VIEW("must-revalidate")) ||
               fr_view_ieq(name, FR_VIEW("proxy-revalidate"))) {
        out->must_revalidate = true;
    } else if (fr_view_ieq(name, FR_VIEW("must-understand"))) {
        out->must_understand = true;
    } else if (fr_view_ieq(name, FR_VIEW("only-if-cached"))) {
        out->only_if_cached = true;
    }
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

void
cache__control_read(const struct http_head *head, struct cache__control *out)
{
    *out = (struct cache__control){
        .max_age_s = CACHE__ABSENT,
        .s_maxage_s = CACHE__ABSENT,
        .min_fresh_s = CACHE__ABSENT,
        .max_stale_s = CACHE__ABSENT,
    };
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
