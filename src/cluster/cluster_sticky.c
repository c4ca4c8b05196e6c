/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_sticky.c - the table of a cluster's sessions: names of its members, and signatures.
 *
 * Names by index and indexes by name are in an array and a trie that share with the table before
 * what is the same, so that a change of members costs what it changes; what depends on settings and
 * keys alone is shared whole.
 *
 * May touch:  base, config, OpenSSL. Never: sockets, clocks, logs.
 */
#include "cluster/cluster_sticky.h"

#include "base/fr_be.h"
#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "base/fr_pvec.h"
#include "base/fr_trie.h"
#include "cluster/cluster_roster.h"

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

#define KEYS_MAX 2

struct named_member { /* by one key */
    uint64_t name;
    unsigned char signature[SIGNATURE_BYTES]; /* of its cookie that does not expire */
};

struct names { /* of one member */
    struct named_member by_key[KEYS_MAX];
};

struct settings { /* immutable, counted */
    atomic_uint refs;
    struct cluster_sticky_keys keys;
    const struct config_cluster *config; /* held by the views that show the table */
    EVP_MAC_CTX *signers[KEYS_MAX];      /* keyed, the cluster's name taken in; copied for use */
    EVP_MAC_CTX *namers[KEYS_MAX];       /* likewise */
    struct fr_buf head, tail;
};

struct cluster_sticky {
    atomic_uint refs;
    uint32_t count;
    struct settings *settings;
    struct fr_pvec named;  /* of struct names, by index */
    struct fr_trie places; /* by name: index times the number of keys, plus the key's, plus 1 */
};

static const struct fr_pvec_ops named_ops = {sizeof(struct names), NULL, NULL};
static const struct fr_trie_ops place_ops = {NULL, NULL};

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

static struct fr_view
key_of(const uint64_t *name)
{
    return fr_view_make((const char *)name, sizeof(*name));
}

/* Its place; SIZE_MAX: nobody's. */
static size_t
find_name(const struct cluster_sticky *sticky, uint64_t name)
{
    return (uintptr_t)fr_trie_get(&sticky->places, key_of(&name)) - 1; /* 0 wraps */
}

static const struct named_member *
named_at(const struct cluster_sticky *sticky, size_t place)
{
    uint32_t keys = sticky->settings->keys.count;
    const struct names *names = fr_pvec_at(&sticky->named, (uint32_t)(place / keys));
    return &names->by_key[place % keys];
}

static bool
name_member(const struct settings *settings, uint32_t key, const char *id, struct named_member *out)
{
    unsigned char hmac[HMAC_BYTES], text[SIGNED_BYTES];
    if (!hmac_of(settings->namers[key], id, strlen(id), hmac))
        return false;
    out->name = fr_be_get(hmac, MEMBER_BYTES);
    put_signed(text, 0, out->name);
    if (!hmac_of(settings->signers[key], text, sizeof(text), hmac))
        return false;
    memcpy(out->signature, hmac, SIGNATURE_BYTES);
    return true;
}

/* Names that lead to that index do so no more. */
static void
forget(struct cluster_sticky *sticky, uint32_t index)
{
    uint32_t keys = sticky->settings->keys.count;
    for (uint32_t k = 0; k < keys; k++) {
        size_t place = (size_t)index * keys + k;
        uint64_t name = named_at(sticky, place)->name;
        if (find_name(sticky, name) == place) /* else its member has moved already */
            (void)fr_trie_remove(&sticky->places, key_of(&name));
    }
}

static bool
take_in(struct cluster_sticky *sticky, uint32_t index, const char *id)
{
    uint32_t keys = sticky->settings->keys.count;
    struct names *names = fr_pvec_own(&sticky->named, index);
    for (uint32_t k = 0; k < keys; k++) {
        struct named_member *named = &names->by_key[k];
        if (!name_member(sticky->settings, k, id, named))
            return false;
        fr_trie_take_put(&sticky->places, key_of(&named->name),
                         (void *)((uintptr_t)index * keys + k + 1)); /* never followed */
    }
    return true;
}

/* RFC 6265 section 4.1. Scripts have no business with it (HttpOnly); and a response that gives one
 * client its session must not be given to others by a cache on the way (RFC 9111 section 5.2.2.7).
 */
static bool
print_lines(struct settings *out, const struct config_sticky *settings)
{
    static const char *const same_site[] = {[CONFIG_SAME_SITE_OFF] = "",
                                            [CONFIG_SAME_SITE_LAX] = "; SameSite=Lax",
                                            [CONFIG_SAME_SITE_STRICT] = "; SameSite=Strict",
                                            [CONFIG_SAME_SITE_NONE] = "; SameSite=None"};
    char age[40] = "";
    if (settings->for_us > 0)
        (void)snprintf(age, sizeof(age), "; Max-Age=%lld",
                       (long long)((settings->for_us + 999999) / 1000000));
    return !fr_buf_printf(&out->head, "Set-Cookie: %s=", settings->cookie) &&
           !fr_buf_printf(&out->tail, "; Path=%s%s; HttpOnly%s%s\r\nCache-Control: private\r\n",
                          settings->path, age, settings->secure ? "; Secure" : "",
                          same_site[settings->same_site]);
}

static void
settings_unref(struct settings *settings)
{
    if (!settings || atomic_fetch_sub_explicit(&settings->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t k = 0; k < KEYS_MAX; k++) {
        EVP_MAC_CTX_free(settings->signers[k]);
        EVP_MAC_CTX_free(settings->namers[k]);
    }
    OPENSSL_cleanse(&settings->keys, sizeof(settings->keys));
    fr_buf_fini(&settings->head);
    fr_buf_fini(&settings->tail);
    fr_free(settings);
}

/* NULL: OpenSSL has no memory. */
static struct settings *
settings_new(const struct cluster_sticky_keys *keys, const struct config_cluster *config)
{
    struct settings *settings = fr_xalloc(sizeof(*settings));
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    atomic_init(&settings->refs, 1);
    settings->keys = *keys;
    settings->config = config;
    fr_buf_init(&settings->head, LINE_BYTES_MAX);
    fr_buf_init(&settings->tail, LINE_BYTES_MAX);
    bool good = mac && print_lines(settings, &config->sticky);
    for (uint32_t k = 0; k < keys->count && good; k++) {
        const unsigned char *key = keys->keys[k];
        settings->signers[k] = hmac_begin(mac, key, "freshet sticky cookie", config->name);
        settings->namers[k] = hmac_begin(mac, key, "freshet sticky member", config->name);
        good = settings->signers[k] && settings->namers[k];
    }
    EVP_MAC_free(mac);
    if (good)
        return settings;
    settings_unref(settings);
    return NULL;
}

static bool
settings_fit(const struct settings *settings, const struct cluster_sticky_keys *keys,
             const struct config_cluster *config)
{
    return settings->config == config && settings->keys.count == keys->count &&
           CRYPTO_memcmp(settings->keys.keys, keys->keys, keys->count * sizeof(keys->keys[0])) == 0;
}

/* ---- changes -------------------------------------------------------------------------------- */

struct change {
    struct cluster_sticky *before; /* NULL: from nothing */
    struct cluster_sticky *sticky; /* NULL: nothing has changed yet */
    bool failed;
};

static struct cluster_sticky *
copy_of(const struct cluster_sticky *from)
{
    struct cluster_sticky *sticky = fr_xalloc(sizeof(*sticky));
    atomic_init(&sticky->refs, 1);
    sticky->settings = from->settings;
    atomic_fetch_add_explicit(&sticky->settings->refs, 1, memory_order_relaxed);
    fr_pvec_copy(&from->named, &sticky->named);
    fr_trie_copy(&from->places, &sticky->places);
    return sticky;
}

static void
on_change(void *ctx, const struct cluster_endpoint *before, const struct cluster_endpoint *after)
{
    struct change *change = ctx;
    if (change->failed || (before && after && before->member == after->member))
        return;
    if (!change->sticky)
        change->sticky = copy_of(change->before);
    if (before)
        forget(change->sticky, before->index);
    if (after)
        change->failed = !take_in(change->sticky, after->index, after->member->id);
}

struct cluster_sticky *
cluster_sticky_new(const struct cluster_sticky_keys *keys, const struct config_cluster *config,
                   const struct cluster_roster *roster)
{
    struct settings *settings = keys->count > 0 ? settings_new(keys, config) : NULL;
    if (!settings)
        return NULL;
    struct cluster_sticky *sticky = fr_xalloc(sizeof(*sticky));
    struct change change = {NULL, sticky, false};
    atomic_init(&sticky->refs, 1);
    sticky->settings = settings;
    sticky->count = roster->count;
    fr_pvec_init(&sticky->named, &named_ops);
    fr_trie_init(&sticky->places, &place_ops);
    cluster_roster_compare(NULL, roster, on_change, &change);
    if (change.failed)
        cluster_sticky_unref(&sticky);
    return sticky;
}

struct cluster_sticky *
cluster_sticky_after(struct cluster_sticky *sticky, const struct cluster_sticky_keys *keys,
                     const struct config_cluster *config, const struct cluster_roster *before,
                     const struct cluster_roster *after)
{
    struct change change = {sticky, NULL, false};
    if (!settings_fit(sticky->settings, keys, config))
        return cluster_sticky_new(keys, config, after);
    cluster_roster_compare(before, after, on_change, &change);
    if (!change.sticky)
        return cluster_sticky_ref(sticky);
    change.sticky->count = after->count;
    if (change.failed)
        cluster_sticky_unref(&change.sticky);
    return change.sticky;
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
    settings_unref(s->settings);
    fr_pvec_fini(&s->named);
    fr_trie_fini(&s->places);
    fr_free(s);
}

/* ---- cookies -------------------------------------------------------------------------------- */

static bool
signature_is_good(const struct cluster_sticky *sticky, const unsigned char cookie[COOKIE_BYTES],
                  size_t place, bool expires)
{
    const struct settings *settings = sticky->settings;
    const unsigned char *signature = cookie + SIGNED_BYTES;
    if (place != SIZE_MAX && !expires)
        return CRYPTO_memcmp(signature, named_at(sticky, place)->signature, SIGNATURE_BYTES) == 0;
    for (uint32_t k = 0; k < settings->keys.count; k++) {
        unsigned char out[HMAC_BYTES];
        if (hmac_of(settings->signers[k], cookie, SIGNED_BYTES, out) &&
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
    size_t place = find_name(sticky, member);
    uint32_t keys = sticky->settings->keys.count;
    if (place == SIZE_MAX)
        return UINT32_MAX;
    *out_old = place % keys != 0;
    return (uint32_t)(place / keys);
}

bool
cluster_sticky_write(const struct cluster_sticky *sticky, uint32_t index, int64_t expires_s,
                     char out[CLUSTER_STICKY_TEXT_BYTES])
{
    unsigned char cookie[COOKIE_BYTES], signature[HMAC_BYTES];
    fr_require(index < sticky->count);
    fr_require(expires_s >= 0);
    const struct settings *settings = sticky->settings;
    const struct named_member *named = named_at(sticky, (size_t)index * settings->keys.count);
    put_signed(cookie, expires_s, named->name);
    if (expires_s == 0)
        memcpy(signature, named->signature, SIGNATURE_BYTES);
    else if (!hmac_of(settings->signers[0], cookie, SIGNED_BYTES, signature))
        return false;
    memcpy(cookie + SIGNED_BYTES, signature, SIGNATURE_BYTES);
    encode(cookie, out);
    return true;
}

struct fr_view
cluster_sticky_line_head(const struct cluster_sticky *sticky)
{
    return fr_buf_view(&sticky->settings->head);
}

struct fr_view
cluster_sticky_line_tail(const struct cluster_sticky *sticky)
{
    return fr_buf_view(&sticky->settings->tail);
}
