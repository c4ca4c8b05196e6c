/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin_access.c - who a connection belongs to, and what that one may do.
 *
 *     Unix socket             everything: whoever may open the file
 *     loopback without TLS    reading, and more with a token
 *     TLS                     what admin.users says of the certificate's name, or of the token
 *
 * May touch:  base, config, OpenSSL (SHA-256).
 * Trusts:     a name only where the handshake found the certificate good; tokens are compared by
 *             their hash, in constant time, so that neither the file nor a clock tells them.
 */
#include "admin/admin_priv.h"

#include "base/fr_put.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DIGEST_BYTES 32

static bool
hash_token(struct fr_view token, char out[2 * DIGEST_BYTES + 1])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    if (EVP_Digest(token.ptr, token.len, digest, &len, EVP_sha256(), NULL) != 1 ||
        len != DIGEST_BYTES)
        return false;
    *fr_put_hex(out, digest, len) = '\0';
    return true;
}

static bool
is_token(const char *hash, const char *wanted)
{
    char lower[2 * DIGEST_BYTES + 1];
    for (size_t i = 0; i < 2 * DIGEST_BYTES; i++)
        lower[i] = (char)(wanted[i] >= 'A' && wanted[i] <= 'F' ? wanted[i] + 32 : wanted[i]);
    return CRYPTO_memcmp(hash, lower, 2 * (size_t)DIGEST_BYTES) == 0;
}

/* "Bearer TOKEN" (RFC 6750 section 2.1); empty: none. */
static struct fr_view
token_of(struct fr_view authorization)
{
    static const struct fr_view scheme = {"Bearer ", 7};
    if (!fr_view_istarts(authorization, scheme))
        return (struct fr_view){NULL, 0};
    return fr_view_trim(
        fr_view_make(authorization.ptr + scheme.len, authorization.len - scheme.len));
}

static enum admin_role
better(enum admin_role role, const struct config_user *user)
{
    enum admin_role theirs = (enum admin_role)(user->role + 1);
    return theirs > role ? theirs : role;
}

enum admin_role
admin__role(const struct config_users *users, const struct admin_peer *peer,
            struct fr_view authorization, bool *out_known)
{
    char hash[2 * DIGEST_BYTES + 1];
    struct fr_view token = token_of(authorization);
    enum admin_role role = peer->way == ADMIN_WAY_LOCAL   ? ADMIN_ROLE_ADMIN
                           : peer->way == ADMIN_WAY_CLEAR ? ADMIN_ROLE_READ
                                                          : ADMIN_ROLE_NOBODY;
    *out_known = peer->way == ADMIN_WAY_LOCAL || peer->names[0] != '\0';
    bool hashed = token.len > 0 && hash_token(token, hash);
    for (size_t i = 0; users && i < users->count; i++) {
        const struct config_user *user = &users->list[i];
        if (user->certificate && config_name_matches(user->certificate, fr_view_of(peer->names)))
            role = better(role, user);
        if (user->token && hashed && is_token(hash, user->token)) {
            role = better(role, user);
            *out_known = true;
        }
    }
    return role;
}

bool
admin__may(enum admin_role role, enum admin_needs needs)
{
    switch (needs) {
    case ADMIN_NEEDS_NOTHING:
        return true;
    case ADMIN_NEEDS_READ:
        return role >= ADMIN_ROLE_READ;
    case ADMIN_NEEDS_OPERATE:
        return role >= ADMIN_ROLE_OPERATE;
    case ADMIN_NEEDS_ADMIN:
        break;
    }
    return role == ADMIN_ROLE_ADMIN;
}

void
admin__refusal(const struct admin_peer *peer, enum admin_role role, enum admin_needs needs,
               bool known, char *out, size_t out_bytes)
{
    static const char *const roles[] = {"no role", "the role read", "the role operate",
                                        "the role admin"};
    static const char *const needed[] = {[ADMIN_NEEDS_ADMIN] = "admin",
                                         [ADMIN_NEEDS_OPERATE] = "operate",
                                         [ADMIN_NEEDS_READ] = "read",
                                         [ADMIN_NEEDS_NOTHING] = "none"};
    if (!known)
        (void)snprintf(out, out_bytes,
                       "this needs the role %s: show %sa bearer token of admin.users",
                       needed[needs], peer->way == ADMIN_WAY_TLS ? "a client certificate or " : "");
    else
        (void)snprintf(out, out_bytes, "admin.users gives %s%s%s, and this needs the role %s",
                       peer->names[0] ? peer->names : "", peer->names[0] ? " " : "", roles[role],
                       needed[needs]);
}
