/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_sticky.c - the table of a cluster's sessions: names of its members, and signatures.
 *
 * May touch:  base, config, OpenSSL. Never: sockets, clocks, logs.
 */
#include "cluster/cluster_sticky.h"

#include "base/fr_be.h"
#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "cluster/cluster_snapshot.h"

#include <assert.h> /* static_assert */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>

#define VERSION 1
#define EXPIRES_BYTES 5
#define MEMBER_BYTES 8
#define SIGNED_BYTES (1 + EXPIRES_BYTES + MEMBER_BYTES)
#define SIGNATURE_BYTES 16
#define COOKIE_BYTES (SIGNED_BYTES + SIGNATURE_BYTES)
#define HMAC_BYTES 32
#define LINE_BYTES_MAX 8192 /* name and path are far shorter together */

static_assert(COOKIE_BYTES % 3 == 0, "base64 without padding");
static_assert(COOKIE_BYTES / 3 * 4 == CLUSTER_STICKY_TEXT_BYTES, "length of the text");

struct named_member { /* by one key */
    uint64_t name;
    unsigned char signature[SIGNATURE_BYTES]; /* of its cookie that does not expire */
};

struct cluster_sticky {
    atomic_uint refs;
    struct cluster_sticky_keys keys;
    const struct config_cluster *config; /* held by the views that show the table */
    uint32_t count;
    const struct cluster_member **members; /* likewise */
    EVP_MAC_CTX *signers[2];               /* keyed, the cluster's name taken in; copied for use */
    struct named_member *named;            /* keys.count for each member, the current key's first */
    uint32_t *slots;                       /* by name: index in named + 1; 0: free */
    uint32_t slot_mask;
    struct fr_buf head, tail;
};

/* ---- HMAC ----------------------------------------------------------------------------------- */

/* What the code signs begins with what it is for, so that one is never taken for the other. */
static EVP_MAC_CTX *
hmac_begin(EVP_MAC *mac, const unsigned char *key, const char *purpose, const char *cluster)
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", digest, 0),
                                 OSSL_PARAM_construct_end()};
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
    if (ctx && EVP_MAC_init(ctx, key, CONFIG_STICKY_KEY_BYTES, params) &&
        EVP_MAC_update(ctx, (const unsigned char *)purpose, strlen(purpose) + 1) &&
        EVP_MAC_update(ctx, (const unsigned char *)cluster, strlen(cluster) + 1))
        return ctx;
    EVP_MAC_CTX_free(ctx);
    return NULL;
}

/* Of what `begun` has taken in and `bytes` after it; `begun` stays as it is. */
static bool
hmac_of(const EVP_MAC_CTX *begun, const void *bytes, size_t len, unsigned char out[HMAC_BYTES])
{
    size_t out_len = 0;
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_dup(begun);
    bool good = ctx && EVP_MAC_update(ctx, bytes, len) &&
                EVP_MAC_final(ctx, out, &out_len, HMAC_BYTES) && out_len == HMAC_BYTES;
    EVP_MAC_CTX_free(ctx);
    return good;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void
encode(const unsigned char in[COOKIE_BYTES], char out[CLUSTER_STICKY_TEXT_BYTES])
{
    for (size_t i = 0; i < COOKIE_BYTES / 3; i++) {
        uint32_t group = (uint32_t)fr_be_get(in + 3 * i, 3);
        for (size_t k = 0; k < 4; k++)
            out[4 * i + k] = alphabet[group >> (18 - 6 * k) & 63];
    }
}

static int
digit_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

static bool
decode(struct fr_view text, unsigned char out[COOKIE_BYTES])
{
    if (text.len != CLUSTER_STICKY_TEXT_BYTES)
        return false;
    for (size_t i = 0; i < COOKIE_BYTES / 3; i++) {
        uint32_t group = 0;
        for (size_t k = 0; k < 4; k++) {
            int digit = digit_of(text.ptr[4 * i + k]);
            if (digit < 0)
                return false;
            group = group << 6 | (uint32_t)digit;
        }
        fr_be_put(out + 3 * i, group, 3);
    }
    return true;
}

static void
put_signed(unsigned char out[SIGNED_BYTES], int64_t expires_s, uint64_t name)
{
    out[0] = VERSION;
    fr_be_put(out + 1, (uint64_t)expires_s, EXPIRES_BYTES);
    fr_be_put(out + 1 + EXPIRES_BYTES, name, MEMBER_BYTES);
}

/* ---- the table ------------------------------------------------------------------------------ */

static bool
name_members(struct cluster_sticky *sticky, EVP_MAC *mac, const char *cluster)
{
    for (uint32_t k = 0; k < sticky->keys.count; k++) {
        const unsigned char *key = sticky->keys.keys[k];
        sticky->signers[k] = hmac_begin(mac, key, "freshet sticky cookie", cluster);
        EVP_MAC_CTX *namer = hmac_begin(mac, key, "freshet sticky member", cluster);
        bool good = sticky->signers[k] && namer;
        for (uint32_t i = 0; i < sticky->count && good; i++) {
            struct named_member *named = &sticky->named[i * sticky->keys.count + k];
            unsigned char out[HMAC_BYTES], text[SIGNED_BYTES];
            const char *id = sticky->members[i]->id;
            good = hmac_of(namer, id, strlen(id), out);
            if (!good)
                break;
            named->name = fr_be_get(out, MEMBER_BYTES);
            put_signed(text, 0, named->name);
            good = hmac_of(sticky->signers[k], text, sizeof(text), out);
            if (good)
                memcpy(named->signature, out, SIGNATURE_BYTES);
        }
        EVP_MAC_CTX_free(namer);
        if (!good)
            return false;
    }
    return true;
}

static void
index_names(struct cluster_sticky *sticky)
{
    uint32_t names = sticky->count * sticky->keys.count, size = 4;
    while (size < 2 * names)
        size *= 2;
    sticky->slots = fr_xalloc(size * sizeof(*sticky->slots));
    sticky->slot_mask = size - 1;
    for (uint32_t i = 0; i < names; i++) {
        uint32_t slot = (uint32_t)sticky->named[i].name & sticky->slot_mask;
        while (sticky->slots[slot])
            slot = (slot + 1) & sticky->slot_mask;
        sticky->slots[slot] = i + 1;
    }
}

/* RFC 6265 section 4.1. Scripts have no business with it (HttpOnly); and a response that gives one
 * client its session must not be given to others by a cache on the way (RFC 9111 section 5.2.2.7).
 */
static bool
print_lines(struct cluster_sticky *sticky, const struct config_sticky *settings)
{
    static const char *const same_site[] = {[CONFIG_SAME_SITE_OFF] = "",
                                            [CONFIG_SAME_SITE_LAX] = "; SameSite=Lax",
                                            [CONFIG_SAME_SITE_STRICT] = "; SameSite=Strict",
                                            [CONFIG_SAME_SITE_NONE] = "; SameSite=None"};
    char age[40] = "";
    if (settings->for_us > 0)
        (void)snprintf(age, sizeof(age), "; Max-Age=%lld",
                       (long long)((settings->for_us + 999999) / 1000000));
    fr_buf_init(&sticky->head, LINE_BYTES_MAX);
    fr_buf_init(&sticky->tail, LINE_BYTES_MAX);
    return !fr_buf_printf(&sticky->head, "Set-Cookie: %s=", settings->cookie) &&
           !fr_buf_printf(&sticky->tail, "; Path=%s%s; HttpOnly%s%s\r\nCache-Control: private\r\n",
                          settings->path, age, settings->secure ? "; Secure" : "",
                          same_site[settings->same_site]);
}

struct cluster_sticky *
cluster_sticky_new(const struct cluster_sticky_keys *keys, const struct config_cluster *config,
                   const struct cluster_endpoint *endpoints, uint32_t count)
{
    if (keys->count == 0)
        return NULL;
    struct cluster_sticky *sticky = fr_xalloc(sizeof(*sticky));
    atomic_init(&sticky->refs, 1);
    sticky->keys = *keys;
    sticky->config = config;
    sticky->count = count;
    sticky->members = fr_xalloc((count + 1) * sizeof(const struct cluster_member *));
    sticky->named = fr_xalloc((count * keys->count + 1) * sizeof(*sticky->named));
    for (uint32_t i = 0; i < count; i++)
        sticky->members[i] = endpoints[i].member;
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    bool good =
        mac && name_members(sticky, mac, config->name) && print_lines(sticky, &config->sticky);
    EVP_MAC_free(mac);
    if (good)
        index_names(sticky);
    else
        cluster_sticky_unref(&sticky);
    return sticky;
}

struct cluster_sticky *
cluster_sticky_ref(struct cluster_sticky *sticky)
{
    atomic_fetch_add_explicit(&sticky->refs, 1, memory_order_relaxed);
    return sticky;
}

void
cluster_sticky_unref(struct cluster_sticky **sticky)
{
    struct cluster_sticky *s = *sticky;
    *sticky = NULL;
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t k = 0; k < 2; k++)
        EVP_MAC_CTX_free(s->signers[k]);
    OPENSSL_cleanse(&s->keys, sizeof(s->keys));
    fr_buf_fini(&s->head);
    fr_buf_fini(&s->tail);
    fr_free(s->members);
    fr_free(s->named);
    fr_free(s->slots);
    fr_free(s);
}

bool
cluster_sticky_fits(const struct cluster_sticky *sticky, const struct cluster_sticky_keys *keys,
                    const struct config_cluster *config, const struct cluster_endpoint *endpoints,
                    uint32_t count)
{
    if (sticky->config != config || sticky->count != count || sticky->keys.count != keys->count ||
        CRYPTO_memcmp(sticky->keys.keys, keys->keys, keys->count * sizeof(keys->keys[0])) != 0)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (sticky->members[i] != endpoints[i].member)
            return false;
    return true;
}

/* ---- cookies -------------------------------------------------------------------------------- */

/* Index in named; UINT32_MAX: nobody's. */
static uint32_t
find_name(const struct cluster_sticky *sticky, uint64_t name)
{
    uint32_t slot = (uint32_t)name & sticky->slot_mask;
    for (; sticky->slots[slot]; slot = (slot + 1) & sticky->slot_mask)
        if (sticky->named[sticky->slots[slot] - 1].name == name)
            return sticky->slots[slot] - 1;
    return UINT32_MAX;
}

static bool
signature_is_good(const struct cluster_sticky *sticky, const unsigned char cookie[COOKIE_BYTES],
                  uint32_t named, bool expires)
{
    const unsigned char *signature = cookie + SIGNED_BYTES;
    if (named != UINT32_MAX && !expires)
        return CRYPTO_memcmp(signature, sticky->named[named].signature, SIGNATURE_BYTES) == 0;
    for (uint32_t k = 0; k < sticky->keys.count; k++) {
        unsigned char out[HMAC_BYTES];
        if (hmac_of(sticky->signers[k], cookie, SIGNED_BYTES, out) &&
            CRYPTO_memcmp(signature, out, SIGNATURE_BYTES) == 0)
            return true;
    }
    return false;
}

enum cluster_sticky_verdict
cluster_sticky_read(const struct cluster_sticky *sticky, struct fr_view text, int64_t now_s,
                    struct cluster_session *out)
{
    unsigned char cookie[COOKIE_BYTES];
    if (!decode(text, cookie) || cookie[0] != VERSION)
        return CLUSTER_STICKY_FORGED;
    int64_t expires_s = (int64_t)fr_be_get(cookie + 1, EXPIRES_BYTES);
    uint64_t name = fr_be_get(cookie + 1 + EXPIRES_BYTES, MEMBER_BYTES);
    if (!signature_is_good(sticky, cookie, find_name(sticky, name), expires_s != 0))
        return CLUSTER_STICKY_FORGED;
    if (expires_s != 0 && now_s >= expires_s)
        return CLUSTER_STICKY_EXPIRED;
    *out = (struct cluster_session){name, expires_s};
    return CLUSTER_STICKY_GOOD;
}

uint32_t
cluster_sticky_find(const struct cluster_sticky *sticky, uint64_t member, bool *out_old)
{
    uint32_t named = find_name(sticky, member);
    if (named == UINT32_MAX)
        return UINT32_MAX;
    *out_old = named % sticky->keys.count != 0;
    return named / sticky->keys.count;
}

bool
cluster_sticky_write(const struct cluster_sticky *sticky, uint32_t index, int64_t expires_s,
                     char out[CLUSTER_STICKY_TEXT_BYTES])
{
    unsigned char cookie[COOKIE_BYTES], signature[HMAC_BYTES];
    fr_require(index < sticky->count);
    fr_require(expires_s >= 0);
    const struct named_member *named = &sticky->named[index * sticky->keys.count];
    put_signed(cookie, expires_s, named->name);
    if (expires_s == 0)
        memcpy(signature, named->signature, SIGNATURE_BYTES);
    else if (!hmac_of(sticky->signers[0], cookie, SIGNED_BYTES, signature))
        return false;
    memcpy(cookie + SIGNED_BYTES, signature, SIGNATURE_BYTES);
    encode(cookie, out);
    return true;
}

struct fr_view
cluster_sticky_line_head(const struct cluster_sticky *sticky)
{
    return fr_buf_view(&sticky->head);
}

struct fr_view
cluster_sticky_line_tail(const struct cluster_sticky *sticky)
{
    return fr_buf_view(&sticky->tail);
}
