/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_structured.h - dictionaries of structured fields.
 *
 * May touch:  base.
 * Trusts:     nothing; a field with any error in it is no structured field at all.
 * Follows:    RFC 9651 sections 3 and 4.2 (RFC 8941 is its subset).
 */
#ifndef HTTP_STRUCTURED_H
#define HTTP_STRUCTURED_H

#include "http/http.h"

enum http_sf_type {
    HTTP_SF_BOOLEAN,
    HTTP_SF_INTEGER,
    HTTP_SF_DECIMAL,
    HTTP_SF_STRING,
    HTTP_SF_TOKEN,
    HTTP_SF_BYTES,
    HTTP_SF_DATE,
    HTTP_SF_DISPLAY,
    HTTP_SF_LIST, /* an inner list */
};

struct http_sf_member {
    struct fr_view key;
    enum http_sf_type type;
    int64_t integer; /* INTEGER, DATE; BOOLEAN: 0 or 1 */
    struct fr_view
        text; /* the others, as they stand: a STRING without its quotes, backslashes kept */
};

/* Takes the next member off *rest, one field line, its parameters checked and passed over. MORE:
 * *out is one; DONE: the line ended; BAD: the line is no dictionary. Of one key the last member
 * counts. */
FR_MUST_USE enum http_step http_sf_member_next(struct fr_view *rest, struct http_sf_member *out);

#endif
