/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_sticky.h - session cookies: which member a client's session is on, signed.
 *
 * The value of a cookie is 40 characters (base64url) of 30 bytes:
 *
 *     version 1 | expires 5 | member 8 | signature 16
 *
 *     expires    seconds since 1970, big-endian; 0: with the browser's session
 *     member     HMAC-SHA-256 of cluster and member id, cut to 8 bytes: it names nobody to who has
 *                not the key
 *     signature  HMAC-SHA-256 of cluster and the bytes before it, cut to 16 bytes
 *
 * Threads:    the table is built on the control thread and immutable once published; counted.
 * Memory:     about 100 bytes a member.
 * Cost:       reading a cookie that does not expire: no hashing. One that does, and writing such a
 *             one: one HMAC (OpenSSL allocates for it). A change of members: two for each that
 *             comes, by each key, and the nodes on the way to it (fr_pvec.h, fr_trie.h).
 * Trusts:     nothing of a cookie before its signature was compared, in constant time.
 * Follows:    RFC 2104, RFC 6265, RFC 4648 section 5.
 */
#ifndef CLUSTER_STICKY_H
#define CLUSTER_STICKY_H

#include "base/fr_err.h"
#include "base/fr_view.h"
#include "config/config.h"

struct cluster_roster;
struct cluster_sticky;

#define CLUSTER_STICKY_TEXT_BYTES 40 /* of a cookie's value, no NUL */

/* [0] signs; what either has signed is taken. */
struct cluster_sticky_keys {
    unsigned char keys[2][CONFIG_STICKY_KEY_BYTES];
    uint32_t count; /* 0 to 2 */
};

/* NULL: no key, or OpenSSL has no memory; then the cluster has no sessions. */
struct cluster_sticky *cluster_sticky_new(const struct cluster_sticky_keys *keys,
                                          const struct config_cluster *config,
                                          const struct cluster_roster *roster);
/* That of `after`, or NULL likewise; before: what `sticky` is of. It is `sticky` itself, counted,
 * where nothing has changed that it depends on; it shares what is the same with it where only
 * members have. */
struct cluster_sticky *
cluster_sticky_after(struct cluster_sticky *sticky, const struct cluster_sticky_keys *keys,
                     const struct config_cluster *config, const struct cluster_roster *before,
                     const struct cluster_roster *after);
struct cluster_sticky *cluster_sticky_ref(struct cluster_sticky *sticky);
void cluster_sticky_unref(struct cluster_sticky **sticky); /* NULL is allowed; leaves NULL */
enum cluster_sticky_verdict {
    CLUSTER_STICKY_GOOD,
    CLUSTER_STICKY_EXPIRED,
    CLUSTER_STICKY_FORGED, /* or of another cluster, another key, or no cookie of ours at all */
};

struct cluster_session {
    uint64_t member;   /* as the cookie names it */
    int64_t expires_s; /* 0: never */
};

/* On GOOD: *out is the session; its member may be gone. */
enum cluster_sticky_verdict cluster_sticky_read(const struct cluster_sticky *sticky,
                                                struct fr_view text, int64_t now_s,
                                                struct cluster_session *out);
/* The endpoint that a session names, as an index; UINT32_MAX when it is gone. *out_old: it was
 * named with the previous key. */
uint32_t cluster_sticky_find(const struct cluster_sticky *sticky, uint64_t member, bool *out_old);
/* False when memory is out. */
bool cluster_sticky_write(const struct cluster_sticky *sticky, uint32_t index, int64_t expires_s,
                          char out[CLUSTER_STICKY_TEXT_BYTES]);

/* The header lines around a cookie's value: "Set-Cookie: NAME=", and all behind it. */
struct fr_view cluster_sticky_line_head(const struct cluster_sticky *sticky);
struct fr_view cluster_sticky_line_tail(const struct cluster_sticky *sticky);

#endif
