/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_disk.c - the cache's file with its threads: restarts, laps, torn and refused writes.
 */
#include "../cache/cache_help.h"
#include "disk/disk_priv.h"

#include "base/fr_buf.h"
#include "base/fr_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES ((uint64_t)16 * 1024 * 1024)
#define MEMORY ((uint64_t)16 * 1024 * 1024)
#define BODY_BYTES 100000

static char path[64];
static char body[BODY_BYTES + 1];

/* What the disk told, and who waits for it. */
struct world {
    pthread_mutex_t lock;
    pthread_cond_t news;
    unsigned told[DISK_NEWS_OFF + 1];
    size_t done;
    struct disk *disk;
    struct cache_store *store;
};

static void
tell(void *ctx, enum disk_news news, const char *words, int64_t number)
{
    struct world *world = ctx;
    (void)words;
    (void)number;
    (void)pthread_mutex_lock(&world->lock);
    world->told[news]++;
    (void)pthread_cond_broadcast(&world->news);
    (void)pthread_mutex_unlock(&world->lock);
}

static void
on_done(void *ctx)
{
    struct world *world = ctx;
    (void)pthread_mutex_lock(&world->lock);
    world->done++;
    (void)pthread_cond_broadcast(&world->news);
    (void)pthread_mutex_unlock(&world->lock);
}

static unsigned
told(struct world *world, enum disk_news news)
{
    (void)pthread_mutex_lock(&world->lock);
    unsigned n = world->told[news];
    (void)pthread_mutex_unlock(&world->lock);
    return n;
}

static void
begin(struct world *world)
{
    int error;
    struct disk_options options = {path, BYTES, MEMORY, tell, world};
    assert_int_equal(disk_open(&options, &world->disk, &error), FR_OK);
    struct cache_options cache = {MEMORY, 4 << 20, disk_cache(world->disk)};
    assert_int_equal(cache_store_new(&cache, &world->store), FR_OK);
}

static void
start(struct world *world)
{
    unsigned ready = told(world, DISK_NEWS_READY);
    begin(world);
    assert_int_equal(disk_start(world->disk, world->store), FR_OK);
    (void)pthread_mutex_lock(&world->lock);
    while (world->told[DISK_NEWS_READY] == ready)
        (void)pthread_cond_wait(&world->news, &world->lock);
    (void)pthread_mutex_unlock(&world->lock);
}

static void
stop(struct world *world)
{
    disk_stop(world->disk);
    cache_store_free(&world->store);
    disk_free(&world->disk);
}

static struct cache_disk_counters
counters(const struct world *world)
{
    struct cache_disk_counters out;
    cache_disk_read_counters(disk_cache(world->disk), &out);
    return out;
}

static void
request_of(int key, char out[64])
{
    (void)snprintf(out, 64, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", key);
}

/* Every body is told from all others. */
static void
body_of(int key)
{
    char mark[16];
    memset(body, 'a' + key % 26, BODY_BYTES);
    int len = snprintf(mark, sizeof(mark), "%d;", key);
    memcpy(body, mark, (size_t)len);
    memcpy(body + BODY_BYTES - 16, mark, (size_t)len);
}

static void
put(struct world *world, int key)
{
    char request[64];
    request_of(key, request);
    body_of(key);
    assert_true(help_put(world->store, request,
                         OK("Cache-Control: max-age=60\r\nContent-Length: 100000\r\n"), body, NOW));
}

/* The writer is to follow, so that none is dropped. */
static void
put_all(struct world *world, int from, int to)
{
    for (int key = from; key < to; key++) {
        uint64_t before = counters(world).written;
        put(world, key);
        while (counters(world).written == before)
            (void)sched_yield();
    }
}

/* In memory, or brought there from disk. */
static bool
get(struct world *world, int key)
{
    char request[64];
    struct http_head head;
    struct cache_disk_place place;
    struct disk_waiter waiter = {.done = on_done, .ctx = world};
    struct cache_entry *entry;
    request_of(key, request);
    if (help_get(world->store, request, NOW, &entry) != CACHE_FRESH) {
        help_request(&head, request);
        struct cache_request ask = help_ask(&head, NOW);
        if (!cache_disk_find(disk_cache(world->disk), &ask, &place))
            return false;
        size_t done = world->done;
        assert_true(disk_read(world->disk, &place, 0, &waiter));
        (void)pthread_mutex_lock(&world->lock);
        while (world->done == done)
            (void)pthread_cond_wait(&world->news, &world->lock);
        (void)pthread_mutex_unlock(&world->lock);
        if (help_get(world->store, request, NOW, &entry) != CACHE_FRESH)
            return false;
    }
    struct fr_view part;
    size_t at = 0;
    body_of(key);
    for (size_t i = 0; cache_entry_body(entry, i, &part); at += part.len, i++)
        assert_memory_equal(part.ptr, body + at, part.len);
    assert_int_equal(at, BODY_BYTES);
    cache_entry_unref(&entry);
    return true;
}

static int
set_up(void **state)
{
    struct world *world = fr_xalloc(sizeof(*world));
    (void)pthread_mutex_init(&world->lock, NULL);
    (void)pthread_cond_init(&world->news, NULL);
    (void)snprintf(path, sizeof(path), "disk-test-XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    (void)close(fd);
    *state = world;
    return 0;
}

static int
tear_down(void **state)
{
    struct world *world = *state;
    (void)unlink(path);
    (void)pthread_cond_destroy(&world->news);
    (void)pthread_mutex_destroy(&world->lock);
    fr_free(world);
    return 0;
}

static void
warm_after_a_restart(void **state)
{
    struct world *world = *state;
    start(world);
    put_all(world, 0, 50);
    stop(world);
    assert_int_equal(told(world, DISK_NEWS_ANEW), 0); /* an empty file is no other one's */
    start(world);
    assert_int_equal(counters(world).entries, 50);
    for (int key = 0; key < 50; key++)
        assert_true(get(world, key));
    assert_false(get(world, 50));
    assert_int_equal(counters(world).hits, 50);
    stop(world);
}

/* Three laps; what is asked for outlives them. */
static void
laps_keep_what_is_asked_for(void **state)
{
    struct world *world = *state;
    start(world);
    for (int key = 0; key < 400; key++) {
        put_all(world, key, key + 1);
        assert_true(get(world, 0));
    }
    assert_true(counters(world).kept > 0);
    assert_true(counters(world).bytes <= BYTES);
    assert_true(counters(world).entries > 60);
    stop(world);
    start(world);
    size_t found = 0;
    for (int key = 0; key < 400; key++)
        found += get(world, key);
    assert_true(found > 60);
    assert_true(get(world, 0) && get(world, 399));
    assert_int_equal(counters(world).bad, 0);
    stop(world);
}

static void
write_at(uint64_t at, const char *data, size_t bytes)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, bytes, (off_t)at), bytes);
    (void)close(fd);
}

/* The last record is cut off at every so many bytes, as by a kill: it is gone, the others stay. */
static void
a_torn_record_is_gone(void **state)
{
    struct world *world = *state;
    struct cache_disk_layout layout;
    static const char zeroes[BODY_BYTES];
    assert_true(cache_disk_layout(BYTES, &layout));
    start(world);
    put_all(world, 0, 2);
    uint64_t each = counters(world).bytes / 2;
    stop(world);
    uint64_t second = cache_disk_segment_at(&layout, 0) + CACHE_DISK_SEGMENT_HEAD_BYTES + each;
    for (uint64_t cut = each - 8;; cut -= 10007) {
        write_at(second + cut, zeroes, each - cut < BODY_BYTES ? each - cut : BODY_BYTES);
        start(world);
        assert_true(get(world, 0));
        assert_false(get(world, 1));
        assert_int_equal(counters(world).bad, 0);
        stop(world);
        if (cut < 10007)
            break;
    }
}

static void
damaged_bytes_are_a_miss(void **state)
{
    struct world *world = *state;
    struct cache_disk_layout layout;
    assert_true(cache_disk_layout(BYTES, &layout));
    start(world);
    put_all(world, 0, 3);
    stop(world);
    write_at(cache_disk_segment_at(&layout, 0) + 5000, "?", 1);
    start(world);
    assert_false(get(world, 0));
    assert_true(get(world, 1) && get(world, 2));
    assert_int_equal(counters(world).bad, 1);
    assert_int_equal(told(world, DISK_NEWS_BAD), 1);
    assert_false(get(world, 0));
    assert_int_equal(counters(world).bad, 1); /* it is not found any more */
    stop(world);
}

/* A disk that takes nothing more: what is there is there, nothing waits, and it is said once. */
static void
refused_writes_turn_it_off(void **state)
{
    struct world *world = *state;
    start(world);
    put_all(world, 0, 2);
    int full = open("/dev/full", O_RDWR | O_CLOEXEC);
    int was = dup(world->disk->fd);
    assert_true(full >= 0 && was >= 0 && dup2(full, world->disk->fd) >= 0);
    for (int key = 2; told(world, DISK_NEWS_OFF) == 0; key = key < 60 ? key + 1 : 2) {
        put(world, key);
        (void)sched_yield();
    }
    assert_int_equal(told(world, DISK_NEWS_ERROR), 1);
    assert_true(counters(world).errors >= DISK_ERRORS_MAX);
    assert_true(dup2(was, world->disk->fd) >= 0);
    (void)close(full);
    (void)close(was);
    stop(world);
    start(world);
    assert_true(get(world, 0) && get(world, 1));
    assert_int_equal(counters(world).bad, 0);
    stop(world);
}

/* The file is cut while it is in use. */
static void
refused_reads_are_a_miss(void **state)
{
    struct world *world = *state;
    struct cache_disk_layout layout;
    assert_true(cache_disk_layout(BYTES, &layout));
    start(world);
    put_all(world, 0, 3);
    stop(world);
    start(world);
    assert_int_equal(truncate(path, (off_t)layout.mapped_bytes + 50000), 0);
    assert_false(get(world, 0));
    assert_false(get(world, 2));
    assert_int_equal(told(world, DISK_NEWS_ERROR), 1);
    assert_int_equal(counters(world).bad, 0);
    stop(world);
    start(world); /* of another size now */
    assert_int_equal(told(world, DISK_NEWS_ANEW), 1);
    assert_int_equal(counters(world).entries, 0);
    stop(world);
}

/* By this thread: what is queued, and nothing later. Returns how many were written. */
static size_t
write_all(struct world *world)
{
    struct cache_disk_job job;
    size_t good = 0;
    while (cache_disk_next(disk_cache(world->disk), &job))
        good += disk__write_job(world->disk, &job);
    disk__write_flush(world->disk);
    return good;
}

/* Without threads of its own. */
static void
begin_alone(struct world *world)
{
    begin(world);
    world->disk->store = world->store;
    disk__start_scan(world->disk);
}

static bool
is_found(struct world *world, int key)
{
    char request[64];
    struct http_head head;
    struct cache_disk_place place;
    request_of(key, request);
    help_request(&head, request);
    struct cache_request ask = help_ask(&head, NOW);
    return cache_disk_find(disk_cache(world->disk), &ask, &place);
}

/* As a POST to its URL does it. */
static void
forget(struct world *world, int key)
{
    char request[64];
    struct http_head head;
    request_of(key, request);
    help_request(&head, request);
    struct cache_request ask = help_ask(&head, NOW);
    cache_forget(world->store, &ask);
}

/* The segment that stands free is as it was written, but what was in it is not found any more. So
 * nobody notes that it is taken back; a restart does not find it either. */
static void
what_left_does_not_come_back(void **state)
{
    struct world *world = *state;
    begin_alone(world);
    int last = 0;
    for (; last == 0 || is_found(world, 0); last++) {
        put(world, last);
        assert_int_equal(write_all(world), 1);
    }
    size_t entries = counters(world).entries;
    uint64_t sequence = world->disk->sequence;
    assert_true(is_found(world, last - 1));
    forget(world, 0);
    stop(world);
    begin_alone(world);
    assert_false(is_found(world, 0));
    assert_true(is_found(world, last - 1));
    assert_int_equal(counters(world).entries, entries);
    assert_int_equal(world->disk->sequence, sequence);
    stop(world);
}

/* More different values of Vary than there is room for: they are not on disk, and nothing else
 * leaves for them. First some that are queued before the table is full, then one behind it. */
static void
too_many_values_of_vary_cost_nothing(void **state)
{
    struct world *world = *state;
    char request[64], response[128];
    begin_alone(world);
    for (int key = 0; key < 30; key++) { /* into more than one segment */
        put(world, key);
        assert_int_equal(write_all(world), 1);
    }
    assert_true(world->disk->sequence > 1);
    for (int key = 100; key < 401; key++) {
        request_of(key, request);
        (void)snprintf(response, sizeof(response),
                       OK("Cache-Control: max-age=60\r\nVary: x-%d\r\nContent-Length: 5\r\n"), key);
        assert_true(help_put(world->store, request, response, "hello", NOW));
        if (key == 399)
            assert_int_equal(write_all(world), 300);
    }
    assert_int_equal(counters(world).entries, 30 + 255); /* by nothing is a value, too */
    assert_int_equal(counters(world).queued, 0);         /* the last one was refused at once */
    assert_int_equal(counters(world).refused, 300 + 1 - 255);
    assert_int_equal(counters(world).dropped, 0);
    stop(world);
}

/* A segment is full of one record, and a 304 brings a head that is too long for both. */
static void
what_outgrows_a_segment_is_refused(void **state)
{
    struct world *world = *state;
    struct http_head request, response;
    struct cache_entry *entry;
    struct cache_disk_layout layout;
    char text[4096], x[2001];
    bool other;
    assert_true(cache_disk_layout(BYTES, &layout));
    size_t bytes = layout.segment_bytes - 4096;
    char *large = fr_xalloc(bytes + 1);
    memset(large, 'l', bytes);
    memset(x, 'x', sizeof(x) - 1);
    x[sizeof(x) - 1] = '\0';
    begin_alone(world);
    put(world, 1);
    assert_int_equal(write_all(world), 1);
    (void)snprintf(text, sizeof(text),
                   OK("Cache-Control: max-age=60\r\nETag: \"1\"\r\nX: %s\r\n"
                      "Content-Length: %zu\r\n"),
                   x, bytes);
    assert_true(help_put(world->store, GET(""), text, large, NOW));
    assert_int_equal(write_all(world), 1);
    assert_int_equal(counters(world).entries, 2);
    uint64_t sequence = world->disk->sequence;
    (void)snprintf(text, sizeof(text), "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nY: %s\r\n\r\n",
                   x);
    help_request(&request, GET(""));
    help_response(&response, text);
    struct cache_request ask = help_ask(&request, NOW);
    assert_int_equal(help_get(world->store, GET(""), NOW, &entry), CACHE_FRESH);
    struct cache_entry *fresh = cache_entry_freshen(entry, &ask, &response, NOW, NOW, &other);
    assert_non_null(fresh);
    cache_entry_unref(&fresh);
    cache_entry_unref(&entry);
    assert_int_equal(write_all(world), 0);
    assert_int_equal(world->disk->sequence, sequence); /* no segment was begun for it */
    assert_int_equal(counters(world).refused, 1);
    assert_int_equal(counters(world).entries, 1); /* its older head is not found either */
    fr_free(large);
    stop(world);
}

/* From here on this process has a file system that promises nothing and, perhaps, is full. */
static bool
refuse_room(bool full)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pwrite64, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, full ? SECCOMP_RET_ERRNO | ENOSPC : SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(rules) / sizeof(rules[0]), .filter = rules};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* Opens the file in a process of its own, which ends with this code. */
static int
open_without_room(struct world *world, bool full)
{
    pid_t child = fork();
    if (child == 0) {
        int error;
        struct disk_options options = {path, BYTES, MEMORY, tell, world};
        if (!refuse_room(full))
            _exit(2);
        if (disk_open(&options, &world->disk, &error) != FR_OK)
            _exit(error == ENOSPC ? 3 : 4);
        off_t hole = lseek(world->disk->fd, 0, SEEK_HOLE);
        _exit(hole >= (off_t)world->disk->layout.mapped_bytes ? 0 : 5);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* A write that finds no room is an error, but one into a mapping is the end of the process. */
static void
what_is_mapped_is_there_before(void **state)
{
    struct world *world = *state;
    assert_int_equal(open_without_room(world, true), 3);
    assert_int_equal(open_without_room(world, false), 0);
    start(world); /* and what it holds is as it was */
    stop(world);
    assert_int_equal(world->told[DISK_NEWS_ANEW], 0);
}

static void
two_do_not_share(void **state)
{
    struct world *world = *state;
    struct disk *other = NULL;
    int error;
    struct disk_options options = {path, BYTES, MEMORY, tell, world};
    begin(world);
    assert_int_equal(disk_open(&options, &other, &error), FR_ERR_EXISTS);
    assert_null(other);
    options.bytes = 1000;
    assert_int_equal(disk_open(&options, &other, &error), FR_ERR_RANGE);
    options.bytes = BYTES;
    options.path = "/proc/none/such";
    assert_int_equal(disk_open(&options, &other, &error), FR_ERR_IO);
    assert_true(error != 0);
    put(world, 1); /* nobody writes it */
    stop(world);
}

/* Who waits when it stops is told. */
static void
a_stop_tells_who_waits(void **state)
{
    struct world *world = *state;
    struct disk_waiter waiters[20];
    struct cache_disk_place place = {.stamp = 1, .bytes = 4096};
    start(world);
    size_t asked = 0;
    for (size_t i = 0; i < 20; i++) {
        waiters[i] = (struct disk_waiter){.done = on_done, .ctx = world};
        place.offset = i / 2 * 8;
        asked += disk_read(world->disk, &place, 0, &waiters[i]);
    }
    disk_stop(world->disk);
    assert_int_equal(world->done, asked);
    assert_int_equal(asked, 20);
    assert_false(disk_read(world->disk, &place, 0, &waiters[0]));
    stop(world);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(warm_after_a_restart),
        TEST(laps_keep_what_is_asked_for),
        TEST(a_torn_record_is_gone),
        TEST(damaged_bytes_are_a_miss),
        TEST(refused_writes_turn_it_off),
        TEST(refused_reads_are_a_miss),
        TEST(what_is_mapped_is_there_before),
        TEST(two_do_not_share),
        TEST(a_stop_tells_who_waits),
        TEST(what_left_does_not_come_back),
        TEST(too_many_values_of_vary_cost_nothing),
        TEST(what_outgrows_a_segment_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
