/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_priv.h - what the encoder and the decoder share: one table of attributes for each element.
 *
 * A row says an attribute's name, its kind, where its value lies in the struct and its greatest
 * value. The encoder walks the table, the decoder looks names up in it, and so neither can know an
 * attribute that the other does not.
 */
#ifndef WIRE_PRIV_H
#define WIRE_PRIV_H

#include "base/fr_arena.h"
#include "wire/wire.h"

#define WIRE__NAME_BYTES 128   /* ids, names, addresses, names of elements we do not know */
#define WIRE__WORDS_BYTES 1024 /* reasons and parting words */
#define WIRE__VALUE_BYTES 4096 /* one setting */
#define WIRE__UTILIZATION_MAX 1000
#define WIRE__MS_MAX 1000000000
#define WIRE__RATE_MAX 1000000000   /* requests a second */
#define WIRE__GOAL_US_MAX 3600000000 /* an hour */
#define WIRE__AT_US_MAX 253402300799999999LL /* the end of the year 9999 */

enum wire__kind {
    WIRE__NAME,    /* fr_view: not empty, at most WIRE__NAME_BYTES, no control characters */
    WIRE__TEXT,    /* fr_view: people's words, at most WIRE__WORDS_BYTES */
    WIRE__LINE,    /* fr_view: exact, at most WIRE__VALUE_BYTES, no control characters */
    WIRE__U64,     /* 0..max; WIRE_NONE = absent */
    WIRE__COUNT,   /* 1..max; absent, or 0 in a struct, means 1 */
    WIRE__EPOCH,   /* 0..max; absent means 0 */
    WIRE__F64,     /* 0..max, plain decimal notation; NaN = absent */
    WIRE__RATE,    /* the same; absent means 0 */
    WIRE__BOOL,    /* absent means false */
    WIRE__TIME,    /* int64_t of wall microseconds; absent means 0 */
    WIRE__ID,      /* struct wire_request_id */
    WIRE__ROLE,    /* enum wire_role */
    WIRE__STATUS,  /* enum wire_status */
    WIRE__VERSION, /* no field: always WIRE_VERSION; the decoder looks at it before all else */
};

struct wire__attr {
    const char *name;
    enum wire__kind kind;
    bool required;
    size_t offset;
    uint64_t max;
};

struct wire__table {
    const char *element;
    const struct wire__attr *attrs;
    size_t count;
};

extern const struct wire__table wire__open_table;
extern const struct wire__table wire__report_table;
extern const struct wire__table wire__server_table;
extern const struct wire__table wire__worker_table;
extern const struct wire__table wire__cluster_table;
extern const struct wire__table wire__pool_table;
extern const struct wire__table wire__reconfigure_table;
extern const struct wire__table wire__result_table;
extern const struct wire__table wire__error_table;
/* Of struct wire_reconfigure, one an operation. Puts know only the name here: their other
 * attributes are settings. */
extern const struct wire__table wire__operation_tables[WIRE_OPERATION_COUNT];

bool wire__is_put(enum wire_operation operation);
bool wire__needs_cluster(enum wire_operation operation);
/* Whether an element or attribute of that name can be written: letters, digits, "_", "-", ".". */
bool wire__setting_name_good(struct fr_view name);

const char *wire__status_name(enum wire_status status);
bool wire__status_parse(struct fr_view text, enum wire_status *out);

/* ---- text and numbers (wire_text.c) --------------------------------------------------------- */

bool wire__text_has_control(struct fr_view text);
/* UTF-8 of characters that XML can carry, and nothing else. */
bool wire__text_is_good(struct fr_view text);
/* The longest beginning that takes at most max_bytes where it arrives; never half a character. */
struct fr_view wire__text_cut(struct fr_view text, size_t max_bytes);
/* Digits only; false on anything else and above max. */
bool wire__parse_u64(const char *text, size_t len, uint64_t max, uint64_t *out);
/* "0", "0.41", "12.": digits, then perhaps a point and digits. Never an exponent, sign, infinity or
 * NaN. */
bool wire__parse_f64(const char *text, size_t len, uint64_t max, double *out);
/* At most six decimals, none that says nothing. Returns the length; out holds 32 bytes. */
size_t wire__format_f64(double value, char *out);
size_t wire__format_u64(uint64_t value, char *out);

/* Writes to a buffer and remembers the first failure, so that callers check once. */
struct wire__out {
    struct fr_buf *buf;
    size_t mark; /* length to go back to */
    enum fr_err err;
};
void wire__out_begin(struct wire__out *out, struct fr_buf *buf);
FR_MUST_USE enum fr_err wire__out_end(struct wire__out *out); /* takes all back on failure */
void wire__out_fail(struct wire__out *out, enum fr_err err);
void wire__out_raw(struct wire__out *out, const char *ptr, size_t len);
void wire__out_str(struct wire__out *out, const char *text);
/* Escaped for attribute values and for text. What XML cannot carry (control characters, bytes that
 * are not UTF-8) becomes U+FFFD. */
void wire__out_escaped(struct wire__out *out, struct fr_view text);

/* The attributes of an element, in the table's order, absent ones left out. */
void wire__out_attrs(struct wire__out *out, const struct wire__table *table, const void *object);

/* ---- decoding attributes (wire_attr.c) ------------------------------------------------------ */

enum wire__attr_step { WIRE__ATTR_OK, WIRE__ATTR_BAD, WIRE__ATTR_NO_MEMORY };

/* One attribute: its value goes into the object, texts into the arena. On BAD *out_expected says
 * what the value should have been. */
enum wire__attr_step wire__attr_decode(const struct wire__attr *attr, const char *value,
                                       void *object, struct fr_arena *arena,
                                       const char **out_expected);
/* The row of that name, or NULL. Looks first at *cursor, where a peer that writes in our order has
 * its next attribute, and moves it behind what it found. */
const struct wire__attr *wire__attr_find(const struct wire__table *table, const char *name,
                                         size_t *cursor);

#endif
