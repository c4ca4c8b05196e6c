/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_loop_listen.c - listening sockets: TCP, dual-stack, Unix files, running out of descriptors.
 */
#include "loop_bed.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct door {
    struct bed *bed;
    struct loop_listener listener;
    int accepted;
    int fd;
    bool close_at_first;
    int spare; /* a descriptor to let go of when they run out, or -1 */
    char peer[LOOP_ADDR_TEXT_BYTES];
};

static void
on_accept(void *ctx, int fd, const struct loop_addr *peer)
{
    struct door *door = ctx;
    door->accepted++;
    door->fd = fd;
    loop_addr_format_host(peer, door->peer);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    if (door->close_at_first) {
        loop_listener_close(&door->listener);
        memset(&door->listener, 0xff, sizeof(door->listener)); /* nobody may touch it any more */
    }
    loop_stop(door->bed->loop);
}

static void
door_open(struct door *door, struct bed *bed, const char *text)
{
    memset(door, 0, sizeof(*door));
    door->bed = bed;
    bed_listen(bed, &door->listener, text, on_accept, door);
}

static void
test_listen_tcp(void **state)
{
    struct bed bed;
    struct door door;
    int on = 0;
    socklen_t len = sizeof(on);
    (void)state;
    bed_open(&bed, NULL);
    door_open(&door, &bed, "127.0.0.1:0");
    assert_true(loop_addr_port(&door.listener.addr) > 0);
    int fd = knock(&door.listener.addr);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(door.accepted, 1);
    assert_string_equal(door.peer, "127.0.0.1");
    assert_int_equal(getsockopt(door.fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    assert_true(on); /* inherited from the listener */
    assert_int_equal(getsockopt(door.fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &on, &len), 0);
    assert_int_equal(on, 131072); /* likewise: a slow reader holds no megabytes in the kernel */
    close(fd);
    close(door.fd);
    /* A pause keeps them in the backlog. */
    loop_listener_pause(&door.listener, true);
    fd = knock(&door.listener.addr);
    bed_settle(&bed, 5000);
    assert_int_equal(door.accepted, 1);
    loop_listener_pause(&door.listener, false);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(door.accepted, 2);
    close(fd);
    close(door.fd);
    loop_listener_close(&door.listener);
    bed_close(&bed);
}

static void
test_listen_dual_stack(void **state)
{
    struct bed bed;
    struct door door;
    struct loop_addr addr;
    char text[64];
    (void)state;
    bed_open(&bed, NULL);
    door_open(&door, &bed, ":0"); /* with or without IPv6 on this machine */
    (void)snprintf(text, sizeof(text), "127.0.0.1:%d", loop_addr_port(&door.listener.addr));
    assert_int_equal(loop_addr_parse(fr_view_of(text), &addr), FR_OK);
    int fd = knock(&addr);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_string_equal(door.peer, "127.0.0.1"); /* not ::ffff:127.0.0.1 */
    close(fd);
    close(door.fd);
    loop_listener_close(&door.listener);
    bed_close(&bed);
}

static void
test_bind_in_use_and_shared(void **state)
{
    struct bed bed;
    struct door door;
    int fd = -1, other = -1, error = 0;
    (void)state;
    bed_open(&bed, NULL);
    door_open(&door, &bed, "127.0.0.1:0");
    assert_int_equal(loop_bind(&door.listener.addr, false, &fd, &error), FR_ERR_ADDRESS_IN_USE);
    assert_int_equal(error, EADDRINUSE);
    loop_listener_close(&door.listener);
    assert_int_equal(loop_bind(&door.listener.addr, true, &fd, &error), FR_OK);
    assert_int_equal(loop_bind(&door.listener.addr, true, &other, &error), FR_OK);
    close(fd);
    close(other);
    bed_close(&bed);
}

static void
test_listen_unix(void **state)
{
    struct bed bed;
    struct door door;
    struct loop_addr addr;
    struct stat file;
    char text[96];
    const char *path = text + 5;
    int fd = -1, error = 0;
    (void)state;
    bed_open(&bed, NULL);
    (void)snprintf(text, sizeof(text), "unix:%s/sock", bed.folder);
    mode_t mask = umask(0);
    door_open(&door, &bed, text);
    (void)umask(mask);
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 07777, 0600);
    /* A living one is not replaced. */
    assert_int_equal(loop_addr_parse(fr_view_of(text), &addr), FR_OK);
    assert_int_equal(loop_bind(&addr, false, &fd, &error), FR_ERR_ADDRESS_IN_USE);
    bed_settle(&bed, 5000); /* the question knocked */
    if (door.accepted)
        close(door.fd);
    loop_listener_close(&door.listener);
    assert_int_not_equal(stat(path, &file), 0);
    /* A dead one is. */
    assert_int_equal(loop_bind(&addr, false, &fd, &error), FR_OK);
    close(fd);
    assert_int_equal(stat(path, &file), 0);
    door_open(&door, &bed, text);
    fd = knock(&addr);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    close(fd);
    close(door.fd);
    /* A successor has taken the name: closing leaves its file alone. */
    assert_int_equal(unlink(path), 0);
    struct door next;
    door_open(&next, &bed, text);
    loop_listener_close(&door.listener);
    assert_int_equal(stat(path, &file), 0);
    loop_listener_close(&next.listener);
    /* What is no socket is not ours to remove. */
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    assert_int_equal(loop_bind(&addr, false, &fd, &error), FR_ERR_ADDRESS_IN_USE);
    assert_int_equal(unlink(path), 0);
    bed_close(&bed);
}

static void
test_close_inside_accept(void **state)
{
    struct bed bed;
    struct door door;
    (void)state;
    bed_open(&bed, NULL);
    door_open(&door, &bed, "127.0.0.1:0");
    door.close_at_first = true;
    int one = knock(&door.listener.addr), two = knock(&door.listener.addr);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    bed_settle(&bed, 5000);
    assert_int_equal(door.accepted, 1);
    close(one);
    close(two);
    close(door.fd);
    bed_close(&bed);
}

static void
test_out_of_descriptors_pauses(void **state)
{
    struct bed bed;
    struct door door;
    struct loop_counters counters;
    struct rlimit limit, tight;
    (void)state;
    bed_open(&bed, NULL);
    door_open(&door, &bed, "127.0.0.1:0");
    int fd = knock(&door.listener.addr);
    int lowest = dup(fd);
    close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    tight = limit;
    tight.rlim_cur = (rlim_t)lowest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    bed_settle(&bed, 50000);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    loop_read_counters(bed.loop, &counters);
    assert_int_equal(counters.accept_errors, 1);
    assert_true(counters.turns < 20); /* it did not spin */
    assert_int_equal(door.accepted, 0);
    assert_int_equal(loop_run(bed.loop), FR_OK); /* the retry lets it in */
    assert_int_equal(door.accepted, 1);
    close(fd);
    close(door.fd);
    loop_listener_close(&door.listener);
    bed_close(&bed);
}

static bool
let_go(void *ctx)
{
    struct door *door = ctx;
    if (door->spare < 0)
        return false;
    close(door->spare);
    door->spare = -1;
    return true;
}

/* The owner lets go of something: accepting goes on, and pauses when it has nothing left. */
static void
test_out_of_descriptors_owner_lets_go(void **state)
{
    struct bed bed;
    struct door door;
    struct loop_counters counters;
    struct rlimit limit, tight;
    (void)state;
    bed_open(&bed, NULL);
    door_open(&door, &bed, "127.0.0.1:0");
    loop_listener_on_starved(&door.listener, let_go);
    int one = knock(&door.listener.addr), two = knock(&door.listener.addr);
    int lowest = dup(one);
    door.spare = lowest;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    tight = limit;
    tight.rlim_cur = (rlim_t)lowest + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    int first = door.fd;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    loop_read_counters(bed.loop, &counters);
    assert_int_equal(door.accepted, 1);
    assert_int_equal(first, lowest);
    assert_int_equal(counters.accept_errors, 2); /* the second found nothing to let go of */
    assert_true(door.listener.starved);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(door.accepted, 2);
    close(one);
    close(two);
    close(first);
    close(door.fd);
    loop_listener_close(&door.listener);
    bed_close(&bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listen_tcp),
        cmocka_unit_test(test_listen_dual_stack),
        cmocka_unit_test(test_bind_in_use_and_shared),
        cmocka_unit_test(test_listen_unix),
        cmocka_unit_test(test_close_inside_accept),
        cmocka_unit_test(test_out_of_descriptors_pauses),
        cmocka_unit_test(test_out_of_descriptors_owner_lets_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
