/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_path.h - a request's path as the name of a file, and a path as it may stand in a Location.
 *
 * May touch:  base. Never: files.
 * Trusts:     nothing. What a path could be made to mean twice is refused, not repaired.
 * Follows:    RFC 3986 sections 2.1, 3.3 and 6.2.2.
 */
#ifndef HTTP_PATH_H
#define HTTP_PATH_H

#include "base/fr_buf.h"
#include "base/fr_err.h"
#include "base/fr_view.h"

#define HTTP_PATH_BYTES_MAX 4096    /* of a decoded path, its NUL included: Linux' PATH_MAX */
#define HTTP_PATH_SEGMENT_BYTES 255 /* of one name: Linux' NAME_MAX */

enum http_path_result {
    HTTP_PATH_OK,
    HTTP_PATH_BAD,     /* a triplet cut short, a NUL, a dot segment in whatever disguise: 400 */
    HTTP_PATH_NO_FILE, /* no file can have this name: too long, an encoded slash, a control */
    HTTP_PATH_HIDDEN,  /* a segment begins with a dot, and that was not asked for */
};

struct http_path {
    char name[HTTP_PATH_BYTES_MAX]; /* relative, NUL-terminated; "" is the folder itself */
    size_t len;
    bool folder; /* the path ended in '/', or is empty */
};

/* Decodes `path` (what follows the host, without the query; it need not begin with '/') into the
 * name of a file below a folder. Empty segments are left out. Dot segments are refused: a route was
 * chosen by the path as it was sent, so resolving them would lead into what another route guards.
 * hidden: names that begin with a dot are good; ".well-known" (RFC 8615) as the first segment
 * always is. */
enum http_path_result http_path_decode(struct fr_view path, bool hidden, struct http_path *out);

/* True when `prefix` ends where a segment of `path` does; *out_rest is then what follows, which
 * begins with '/' or is empty. "/a" and "/a/" both stand for "/a/b" and "/a/", "/a" for "/a". */
bool http_path_strip(struct fr_view path, struct fr_view prefix, struct fr_view *out_rest);

/* Appends `path` so that it cannot be taken for anything else than a path: with one slash in front,
 * however many there are (two would name another host), and everything that RFC 3986 lets no path
 * hold as a triplet. */
FR_MUST_USE enum fr_err http_path_put(struct fr_view path, struct fr_buf *out);
/* The same for a query, '?' put in front; nothing when it is not there. */
FR_MUST_USE enum fr_err http_query_put(struct fr_view query, bool has_query, struct fr_buf *out);

#endif
