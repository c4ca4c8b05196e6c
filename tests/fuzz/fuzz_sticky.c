/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_sticky.c - Cookie fields from strangers: every pair lies inside the field, in order; and a
 * session cookie counts only if it is, to the byte, one that we write.
 */
#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "cluster/cluster_snapshot.h"
#include "http/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FIELD_BYTES_MAX 65536
#define MEMBERS 3
#define NOW_S 1800000000

struct house {
    struct cluster_slots *slots;
    struct config_cluster *config;
    struct cluster_endpoint endpoints[MEMBERS];
    struct cluster_sticky *sticky;
};

static void
house_init(struct house *house)
{
    static const char *const ids[MEMBERS] = {"web-0", "web-1", "web-2"};
    struct cluster_sticky_keys keys = {.count = 2};
    struct loop_addr addr;
    memset(keys.keys[0], 1, CONFIG_STICKY_KEY_BYTES);
    memset(keys.keys[1], 2, CONFIG_STICKY_KEY_BYTES);
    fr_insist(loop_addr_parse(FR_VIEW("127.0.0.1:80"), &addr) == FR_OK);
    house->slots = cluster_slots_new();
    house->config = config_cluster_new(FR_VIEW("web"));
    house->config->sticky.cookie = fr_xstrdup("SRV");
    for (uint32_t i = 0; i < MEMBERS; i++)
        house->endpoints[i] = (struct cluster_endpoint){
            cluster_member_new(house->slots, fr_view_of(ids[i]), FR_VIEW(""), &addr, 1), 100, true,
            0};
    struct cluster_view *view = cluster_view_new(0, house->config, house->endpoints, MEMBERS);
    house->sticky = cluster_sticky_new(&keys, house->config, &view->roster);
    cluster_view_unref(&view);
    fr_insist(house->sticky != NULL);
}

/* A fuzzer does not find HMACs: what counts can only be a seed, signed with one of the keys. */
static void
check_value(const struct house *house, struct fr_view value)
{
    struct cluster_session session;
    char again[CLUSTER_STICKY_TEXT_BYTES];
    bool old = false;
    if (cluster_sticky_read(house->sticky, value, NOW_S, &session) != CLUSTER_STICKY_GOOD)
        return;
    fr_insist(session.expires_s == 0 || session.expires_s > NOW_S);
    uint32_t index = cluster_sticky_find(house->sticky, session.member, &old);
    if (index == UINT32_MAX || old)
        return;
    fr_insist(cluster_sticky_write(house->sticky, index, session.expires_s, again));
    fr_insist(fr_view_eq(value, fr_view_make(again, sizeof(again))));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct house house; /* for all runs: building it costs more than a run */
    if (size > FIELD_BYTES_MAX)
        return 0;
    if (!house.sticky)
        house_init(&house);
    char *copy = fr_xalloc(size ? size : 1); /* exact, so that ASan sees a read behind it */
    if (size)
        memcpy(copy, data, size);
    struct fr_view rest = fr_view_make(copy, size);
    struct http_cookie cookie;
    const char *at = copy;
    while (http_cookie_next(&rest, &cookie)) {
        fr_insist(cookie.pair.ptr >= at);
        fr_insist(cookie.name.len > 0 && cookie.name.ptr == cookie.pair.ptr);
        fr_insist(cookie.value.ptr > cookie.name.ptr);
        fr_insist(cookie.value.ptr + cookie.value.len <= cookie.pair.ptr + cookie.pair.len);
        at = cookie.pair.ptr + cookie.pair.len;
        fr_insist(at <= copy + size);
        check_value(&house, cookie.value);
    }
    check_value(&house, fr_view_make(copy, size));
    fr_free(copy);
    return 0;
}
