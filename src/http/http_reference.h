/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_reference.h - where a URI reference leads, seen from a target.
 *
 * May touch:  base.
 * Trusts:     nothing.
 * Follows:    RFC 3986 section 5.2.
 */
#ifndef HTTP_REFERENCE_H
#define HTTP_REFERENCE_H

#include "http/http.h"

struct http_base {
    struct fr_view scheme, authority, path;
};

/* Resolves `reference` against `base`. False: it leads to another origin (scheme and authority are
 * compared without case), is none, or does not fit. *out_path, and *out_query where *out_has_query,
 * are in `room` or in `reference`; a fragment is dropped. */
bool http_reference_resolve(const struct http_base *base, struct fr_view reference, char *room,
                            size_t room_bytes, struct fr_view *out_path, struct fr_view *out_query,
                            bool *out_has_query);

#endif
