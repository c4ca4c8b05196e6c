/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property_disk_log.c - the real writer and the real start on a real file, in random order: stores,
 * replacements, confirmations, purges, invalidations, evictions, a disk that fills up and laps,
 * writes and reads that fail, ends, and kills at any byte of any write.
 *
 * Every response has a number, larger than those before. Whatever is found has at least the number
 * that must be: what was purged, invalidated, or replaced by what is synced since never comes back,
 * and neither does the body of another one. Steps: FRESHET_STEPS; seed: FRESHET_SEED, printed.
 *
 * A kill is played: from one byte on nothing reaches the file, and the marks are those of that
 * moment.
 */
#include "../cache/disk_help.h"
#include "disk/disk_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEYS 48
#define LANGUAGES 2
#define VERSIONS 200000
#define LARGE (300 * 1024) /* is sent from disk */

struct version {
    int key, language;
    uint64_t body; /* the number of the response that brought it */
    uint32_t bytes;
};

struct walk {
    struct fr_rand rand;
    char path[64];
    struct disk *disk;
    struct cache_store *store;
    struct version *versions; /* by number */
    uint64_t next;
    /* The least number that may be found: now, and after a kill. What is below soft is not fresh.
     */
    uint64_t least[KEYS][LANGUAGES], synced[KEYS][LANGUAGES], soft[KEYS];
    /* the file */
    int fd;
    bool dead;
    uint32_t kill_in;                 /* in the midst of so many writes from now; 0: of none */
    uint32_t write_fails, read_fails; /* one of so many; 0: none */
    char *marks;                      /* when it was killed */
    /* how much of it all there was */
    int focus;     /* a key of which much is asked */
    uint32_t life; /* it ends after so many steps, about */
    uint64_t stored, confirmed, from_memory, from_disk, pieces, kills, ends, failed, kept;
};

static struct walk *walking; /* whose file it is */

static bool
chance(struct walk *w, uint32_t of)
{
    return fr_rand_below(&w->rand, of) == 0;
}

/* ---- the system ------------------------------------------------------------------------------ */

ssize_t
getrandom(void *out, size_t bytes, unsigned flags)
{
    if (!walking)
        return syscall(SYS_getrandom, out, bytes, flags);
    for (size_t i = 0; i < bytes; i++)
        ((char *)out)[i] = (char)fr_rand_below(&walking->rand, 256);
    return (ssize_t)bytes;
}

static void
die(struct walk *w)
{
    w->dead = true;
    memcpy(w->marks, w->disk->mapped, w->disk->layout.mapped_bytes);
}

ssize_t
pwrite(int fd, const void *data, size_t bytes, off_t at)
{
    struct walk *w = walking;
    if (!w || fd != w->fd)
        return syscall(SYS_pwrite64, fd, data, bytes, at);
    if (w->dead)
        return (ssize_t)bytes;
    if (w->write_fails > 0 && chance(w, w->write_fails)) {
        size_t some = chance(w, 2) ? 0 : fr_rand_below(&w->rand, (uint32_t)bytes);
        w->failed++;
        if (some > 0)
            (void)syscall(SYS_pwrite64, fd, data, some, at);
        errno = ENOSPC;
        return -1;
    }
    if (w->kill_in == 0 || --w->kill_in > 0)
        return syscall(SYS_pwrite64, fd, data, bytes, at);
    (void)syscall(SYS_pwrite64, fd, data, fr_rand_below(&w->rand, (uint32_t)bytes), at);
    die(w);
    return (ssize_t)bytes;
}

ssize_t
pread(int fd, void *data, size_t bytes, off_t at)
{
    struct walk *w = walking;
    if (w && fd == w->fd && w->read_fails > 0 && chance(w, w->read_fails)) {
        w->failed++;
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, fd, data, bytes, at);
}

/* ---- requests and responses ------------------------------------------------------------------ */

static bool
varies(int key)
{
    return key % 4 == 0;
}

static void
request_of(int key, int language, char out[128])
{
    (void)snprintf(out, 128, "GET /%d HTTP/1.1\r\nHost: a\r\nAccept-Language: %c%c\r\n\r\n", key,
                   'a' + language, 'a' + language);
}

static char
octet_of(uint64_t body, size_t at)
{
    uint64_t block = body * 31 + at / 512;
    return (char)('a' + (at % 16 < 8 ? (block >> at % 8 * 4 & 15) : block % 26));
}

static void
put(struct walk *w, int key, int language)
{
    static char text[512], body[LARGE + 1];
    char request[128];
    static const uint32_t sizes[] = {0, 200, 5000, 70000, 130000, 200000, LARGE};
    uint64_t number = w->next++;
    uint32_t bytes = sizes[fr_rand_below(&w->rand, 7)];
    for (size_t i = 0; i < bytes; i++)
        body[i] = octet_of(number, i);
    body[bytes] = '\0';
    w->versions[number] = (struct version){key, language, number, bytes};
    request_of(key, language, request);
    (void)snprintf(text, sizeof(text),
                   OK("Cache-Control: max-age=60\r\nX-Number: %" PRIu64 "\r\nETag: \"%" PRIu64
                      "\"\r\nCache-Tag: t%d\r\n%sContent-Length: %u\r\n"),
                   number, number, key, varies(key) ? "Vary: accept-language\r\n" : "", bytes);
    if (!help_put(w->store, request, text, body, NOW))
        return; /* memory has no room for it: what was there may still be */
    w->least[key][language] = number;
    w->stored++;
}

/* What is in memory, or on disk alone, for its whole body. */
static uint64_t
number_of(const struct cache_entry *entry)
{
    struct fr_view rest = cache_entry_head(entry), line;
    uint64_t number = 0;
    while (fr_view_split(&rest, '\n', &line))
        if (fr_view_istarts(line, FR_VIEW("x-number: ")))
            assert_true(
                fr_view_u64(fr_view_trim(fr_view_make(line.ptr + 10, line.len - 11)), &number));
    assert_true(number > 0);
    return number;
}

static void
check_octets(const struct version *version, size_t at, struct fr_view part)
{
    for (size_t i = 0; i < part.len; i++)
        if (part.ptr[i] != octet_of(version->body, at + i))
            fail_msg("octet %zu of a body is another one's", at + i);
}

static void
on_piece(void *ctx)
{
    (void)ctx;
}

static void
check_far(struct walk *w, struct cache_entry *entry, const struct version *version)
{
    static char room[CACHE_DISK_PIECE_BYTES];
    struct disk_piece piece = {.done = on_piece, .entry = entry, .room = room};
    if (!cache_disk_body_open(disk_cache(w->disk), entry, &piece.place))
        return;
    for (size_t at = 0; at < version->bytes; at += sizeof(room), piece.number++) {
        disk__read_piece(w->disk, &piece);
        if (piece.end != DISK_PIECE_GOOD)
            break;
        size_t left = version->bytes - at;
        check_octets(version, at, fr_view_make(room, left < sizeof(room) ? left : sizeof(room)));
        w->pieces++;
    }
    cache_disk_body_close(disk_cache(w->disk));
}

static void
check(struct walk *w, int key, int language, struct cache_entry *entry, enum cache_answer answer)
{
    struct fr_view part;
    uint64_t number = number_of(entry), at = 0;
    const struct version *version = &w->versions[number];
    if (version->key != key || version->language != language)
        fail_msg("of another target");
    if (number < w->least[key][language])
        fail_msg("%" PRIu64 " of /%d came back, at least %" PRIu64 " must be", number, key,
                 w->least[key][language]);
    if (answer == CACHE_FRESH && number < w->soft[key])
        fail_msg("%" PRIu64 " of /%d is fresh, softly purged at %" PRIu64, number, key,
                 w->soft[key]);
    assert_int_equal(cache_entry_body_bytes(entry), version->bytes);
    if (cache_entry_is_far(entry)) {
        check_far(w, entry, version);
        return;
    }
    for (size_t i = 0; cache_entry_body(entry, i, &part); at += part.len, i++)
        check_octets(version, at, part);
    assert_int_equal(at, version->bytes);
}

/* From disk into memory, if it is there. */
static void
load(struct walk *w, const struct cache_request *ask)
{
    static char record[2 * LARGE];
    struct cache_disk *cache = disk_cache(w->disk);
    struct cache_disk_place place;
    struct cache_disk_loading *loading = NULL;
    size_t want = 0;
    if (!cache_disk_find(cache, ask, &place))
        return;
    assert_true(place.bytes <= sizeof(record));
    off_t from = (off_t)(cache_disk_segment_at(&w->disk->layout, place.segment) + place.offset);
    ssize_t got = pread(w->fd, record, place.bytes, from);
    if (got < 0) {
        cache_disk_drop(cache, &place);
        return;
    }
    size_t at = cache_disk_head_bytes(fr_view_make(record, (size_t)got));
    enum cache_disk_step step = CACHE_DISK_BAD;
    if (at > 0 && at <= place.bytes)
        step = cache_disk_load_begin(w->store, cache, &place, fr_view_make(record, at), 0, &loading,
                                     &want);
    while (step == CACHE_DISK_MORE) {
        size_t unit = want < place.bytes - at ? want : place.bytes - at;
        step = cache_disk_load_add(loading, fr_view_make(record + at, unit), &want);
        at += unit;
    }
    if (step == CACHE_DISK_WHOLE)
        w->from_disk += cache_disk_load_end(&loading);
    cache_disk_load_drop(&loading);
    if (step == CACHE_DISK_BAD)
        cache_disk_found_bad(cache, &place);
}

/* Sometimes its member confirms it: the head is another one, the body the same. */
static void
confirm(struct walk *w, const struct cache_request *ask, struct cache_entry *entry)
{
    static char text[512], more[200];
    struct http_head response;
    struct version version = w->versions[number_of(entry)];
    uint64_t number = w->next++;
    bool other = false;
    memset(more, 'x', sizeof(more) - 1); /* more than there is room for, now and then */
    (void)snprintf(text, sizeof(text),
                   "HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nETag: \"%" PRIu64
                   "\"\r\nX-Number: %" PRIu64 "\r\nX-More: %s\r\n\r\n",
                   version.body, number, chance(w, 4) ? more : "");
    help_response(&response, text);
    w->versions[number] = version;
    struct cache_entry *fresh = cache_entry_freshen(entry, ask, &response, NOW, NOW, &other);
    assert_false(other);
    cache_entry_unref(&fresh);
    struct cache_found found;
    (void)cache_lookup(w->store, ask, &found);
    if (found.entry && number_of(found.entry) == number) {
        w->least[version.key][version.language] = number;
        w->confirmed++;
    }
    cache_entry_unref(&found.entry);
}

static void
get(struct walk *w, int key, int language)
{
    struct http_head head;
    struct cache_found found;
    char request[128];
    request_of(key, language, request);
    help_request(&head, request);
    struct cache_request ask = help_ask(&head, NOW);
    enum cache_answer answer = cache_lookup(w->store, &ask, &found);
    if (!found.entry) {
        load(w, &ask);
        answer = cache_lookup(w->store, &ask, &found);
    } else {
        w->from_memory++;
    }
    if (!found.entry)
        return;
    check(w, key, language, found.entry, answer);
    if (chance(w, 3))
        confirm(w, &ask, found.entry);
    cache_entry_unref(&found.entry);
}

/* ---- taken back ------------------------------------------------------------------------------ */

static void
bar(struct walk *w, int key)
{
    for (int i = 0; i < LANGUAGES; i++)
        w->least[key][i] = w->synced[key][i] = w->next;
}

static void
forget(struct walk *w, int key)
{
    struct http_head head;
    char request[128];
    request_of(key, 0, request);
    help_request(&head, request);
    struct cache_request ask = help_ask(&head, NOW);
    cache_forget(w->store, &ask);
    bar(w, key);
}

static void
purge(struct walk *w, int key)
{
    static const enum cache_purge_kind kinds[] = {CACHE_PURGE_URL, CACHE_PURGE_TAG,
                                                  CACHE_PURGE_PREFIX, CACHE_PURGE_ALL};
    static const char *const forms[] = {"http://a/%d", "t%d", "//a/%d", "%d"};
    char text[32], other[32];
    uint64_t serial;
    uint32_t which = fr_rand_below(&w->rand, chance(w, 10) ? 4 : 2);
    (void)snprintf(text, sizeof(text), forms[which], key);
    struct cache_purge what = {kinds[which], chance(w, 2), fr_view_of(text)};
    (void)cache_purge_sweep(w->store, 100, NOW); /* so that there is room for one more */
    if (cache_purge(w->store, &what, NOW, &serial) != FR_OK)
        return; /* nothing was purged */
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(other, sizeof(other), forms[which], i);
        if (i != key && which < 3 && !(which == 2 && strncmp(other, text, strlen(text)) == 0))
            continue;
        if (what.soft)
            w->soft[i] = w->next;
        else
            bar(w, i);
    }
}

static void
evict(struct walk *w, int key)
{
    struct cache__key made;
    struct http_head head;
    char request[128];
    request_of(key, 0, request);
    help_request(&head, request);
    struct cache_request ask = help_ask(&head, NOW);
    assert_true(cache__key_make(cache__store_hash_key(w->store), &ask, &made));
    cache__store_evict_owner(w->store, cache__owner_of(made.hash));
}

/* ---- the writer, ends and kills -------------------------------------------------------------- */

static void
tell(void *ctx, enum disk_news news, const char *words, int64_t number)
{
    (void)ctx;
    (void)number;
    if (news == DISK_NEWS_ANEW && words)
        fail_msg("the file is begun anew: %s", words);
}

/* What was written or given up replaces for good. */
static void
sync_all(struct walk *w)
{
    struct cache_disk_job job;
    while (cache_disk_next(disk_cache(w->disk), &job))
        (void)disk__write_job(w->disk, &job);
    disk__write_flush(w->disk);
    if (!w->dead)
        memcpy(w->synced, w->least, sizeof(w->synced));
}

static void
begin(struct walk *w)
{
    int error;
    /* Now and then an index that is too small for what is there. */
    uint64_t memory = chance(w, 8) ? 16 * 6 * CACHE_DISK_SPOT_BYTES : DISK_MEMORY;
    struct disk_options options = {w->path, DISK_BYTES, memory, tell, w};
    assert_int_equal(disk_open(&options, &w->disk, &error), FR_OK);
    struct cache_options cache = {DISK_MEMORY, 1 << 20, disk_cache(w->disk)};
    assert_int_equal(cache_store_new(&cache, &w->store), FR_OK);
    w->disk->store = w->store;
    w->life = 20u << fr_rand_below(&w->rand, 5);
    w->fd = w->disk->fd;
    w->dead = false;
    w->kill_in = 0;
    w->read_fails = chance(w, 4) ? 2 + fr_rand_below(&w->rand, 20) : 0;
    disk__start_scan(w->disk);
    w->read_fails = chance(w, 8) ? 20 : 0;
    w->write_fails = chance(w, 5) ? 2 + fr_rand_below(&w->rand, 60) : 0;
}

static void
end(struct walk *w)
{
    struct cache_disk_counters counters;
    uint64_t mapped_bytes = w->disk->layout.mapped_bytes;
    bool killed = w->dead || chance(w, 2);
    if (killed && !w->dead && chance(w, 2)) { /* in the midst of what is written next */
        w->kill_in = 1 + fr_rand_below(&w->rand, chance(w, 2) ? 4 : 20);
        sync_all(w);
    }
    if (killed && !w->dead)
        die(w);
    if (!killed)
        sync_all(w);
    cache_disk_read_counters(disk_cache(w->disk), &counters);
    w->kept += counters.kept;
    cache__store_check(w->store);
    disk_stop(w->disk);
    cache_store_free(&w->store);
    disk_free(&w->disk);
    w->kills += killed;
    w->ends += !killed;
    w->fd = -1;
    if (killed) {
        int fd = open(w->path, O_RDWR | O_CLOEXEC);
        assert_int_equal(pwrite(fd, w->marks, mapped_bytes, 0), mapped_bytes);
        (void)close(fd);
    }
    memcpy(killed ? w->least : w->synced, killed ? w->synced : w->least, sizeof(w->least));
}

static void
ask_or_put(struct walk *w, uint32_t what)
{
    static const int few[] = {6, KEYS};
    if (chance(w, 50))
        w->focus = (int)fr_rand_below(&w->rand, KEYS);
    int key = chance(w, 4) ? w->focus : (int)fr_rand_below(&w->rand, (uint32_t)few[chance(w, 2)]);
    int language = varies(key) ? (int)fr_rand_below(&w->rand, LANGUAGES) : 0;
    if (what < 25)
        put(w, key, language);
    else if (what < 70)
        get(w, key, language);
    else if (what < 77)
        evict(w, key);
    else if (what < 83)
        forget(w, key);
    else
        purge(w, key);
}

static void
step(struct walk *w)
{
    uint32_t what = fr_rand_below(&w->rand, 100);
    if (what < 85)
        ask_or_put(w, what);
    else
        sync_all(w);
    if (!chance(w, w->life))
        return;
    for (int i = 0; i < 10; i++)
        ask_or_put(w, fr_rand_below(&w->rand, 65));
    end(w);
    begin(w);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static uint64_t
setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void
nothing_comes_back(void **state)
{
    static struct walk walk;
    struct walk *w = &walk;
    (void)state;
    uint64_t steps = setting("FRESHET_STEPS", 20000), seed = setting("FRESHET_SEED", 0);
    if (steps > VERSIONS / 2 - 1)
        steps = VERSIONS / 2 - 1;
    fr_rand_init_random(&w->rand);
    if (seed == 0)
        seed = 1 + fr_rand_below(&w->rand, 1000000000);
    print_message("FRESHET_SEED=%" PRIu64 "\n", seed);
    fr_rand_init(&w->rand, seed);
    (void)snprintf(w->path, sizeof(w->path), "disk-property-XXXXXX");
    int fd = mkstemp(w->path);
    assert_true(fd >= 0);
    (void)close(fd);
    w->versions = fr_xalloc(VERSIONS * sizeof(*w->versions));
    w->marks = fr_xalloc(DISK_BYTES);
    w->next = 1;
    w->fd = -1;
    walking = w;
    begin(w);
    for (uint64_t i = 0; i < steps; i++)
        step(w);
    end(w);
    walking = NULL;
    (void)unlink(w->path);
    fr_free(w->versions);
    fr_free(w->marks);
    print_message("%" PRIu64 " stored, %" PRIu64 " confirmed, %" PRIu64 " from memory, %" PRIu64
                  " from disk, %" PRIu64 " pieces, %" PRIu64 " moved, %" PRIu64
                  " failures, %" PRIu64 " kills, %" PRIu64 " ends\n",
                  w->stored, w->confirmed, w->from_memory, w->from_disk, w->pieces, w->kept,
                  w->failed, w->kills, w->ends);
    assert_true(w->from_disk > steps / 100 && w->from_memory > steps / 100);
    assert_true(w->confirmed > steps / 200 && w->pieces > steps / 200);
    assert_true(w->kept > 0 && w->failed > steps / 1000);
    assert_true(w->kills > steps / 2000 && w->ends > steps / 4000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_comes_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
