/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin_priv.h - what the files of this room share.
 */
#ifndef ADMIN_PRIV_H
#define ADMIN_PRIV_H

#include "admin/admin.h"

/* Decodes %XX (and, in queries, '+' as a space) into out, NUL-terminated. False on a broken escape,
 * a NUL, or when it does not fit. */
bool admin__decode(struct fr_view text, bool plus_is_space, char *out, size_t out_bytes);

/* The row for method and path: the exact path wins, then the longest prefix. NULL: *out_status is
 * 404, or 405 with *out_allow listing the methods of that path. */
const struct admin_route *admin__route(const struct admin_route *routes, struct fr_view method,
                                       struct fr_view path, int *out_status,
                                       struct fr_buf *out_allow);

/* What admin.users makes of somebody. *out_known: he showed something that is good. */
enum admin_role admin__role(const struct config_users *users, const struct admin_peer *peer,
                            struct fr_view authorization, bool *out_known);
bool admin__may(enum admin_role role, enum admin_needs needs);
/* The refusal in words. */
void admin__refusal(const struct admin_peer *peer, enum admin_role role, enum admin_needs needs,
                    bool known, char *out, size_t out_bytes);

/* Tests do not wait for 30 s. Holds for deadlines started from now on. */
void admin__set_request_us(struct admin *admin, int64_t request_us);

#endif
