/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_view.h - borrowed bytes: a pointer and a length, never owned, never NUL-terminated.
 *
 * May touch:  nothing.
 * Memory:     a view dies with the bytes it points into; the giver says when that is.
 */
#ifndef FR_VIEW_H
#define FR_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct fr_view {
    const char *ptr;
    size_t len;
};

/* A view of a string literal. FR_VIEW_ARG feeds printf's "%.*s". */
#define FR_VIEW(literal) ((struct fr_view){(literal), sizeof(literal) - 1})
#define FR_VIEW_ARG(view) (int)(view).len, ((view).len ? (view).ptr : "")

static inline struct fr_view
fr_view_of(const char *text)
{
    return (struct fr_view){text, text ? strlen(text) : 0};
}

static inline struct fr_view
fr_view_make(const char *ptr, size_t len)
{
    return (struct fr_view){ptr, len};
}

static inline bool
fr_view_eq(struct fr_view a, struct fr_view b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool
fr_view_is(struct fr_view a, const char *text)
{
    return fr_view_eq(a, fr_view_of(text));
}

static inline bool
fr_view_starts(struct fr_view a, struct fr_view prefix)
{
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.ptr, prefix.ptr, prefix.len) == 0);
}

/* A name that people give to things: a letter or digit, then letters, digits, '.', '_' and '-'. */
bool fr_view_is_name(struct fr_view name);

/* ASCII case folding only: the comparison of field names and host names. */
bool fr_view_ieq(struct fr_view a, struct fr_view b);
bool fr_view_istarts(struct fr_view a, struct fr_view prefix);

/* The value of a hexadecimal digit; -1 of anything else. */
int fr_view_hex_digit(char c);

/* Without the spaces and tabs at both ends. */
struct fr_view fr_view_trim(struct fr_view a);

/* Splits at the first `sep`: *out_head is what stands before it, *rest what follows.
 * Returns:  false once *rest is exhausted (rest->ptr == NULL). */
bool fr_view_split(struct fr_view *rest, char sep, struct fr_view *out_head);

/* Decimal digits only, no sign, no space; false on junk, emptiness or overflow. */
bool fr_view_u64(struct fr_view a, uint64_t *out);

/* Plain decimal number such as "0.83"; false on anything else, infinities and NaN included. */
bool fr_view_f64(struct fr_view a, double *out);

/* Copies into a fixed array, NUL-terminated; false (and an empty string) when it does not fit. */
bool fr_view_copy(struct fr_view a, char *out, size_t out_bytes);

#endif
