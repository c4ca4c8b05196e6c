/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file_loop_sock.c - pieces of files behind parts: whole, cut by a slow reader, of nothing, from a
 * file that became shorter, from one file twice, to a reader that went away.
 */
#include "loop_bed.h"

#include "base/fr_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>

#define FILE_BYTES (3u << 20)

struct reader {
    struct bed *bed;
    struct loop_sock sock;
    char *bytes;
    size_t len, wanted;
    int end; /* status of the receive that gave nothing; 1 until then */
};

struct sender {
    struct bed *bed;
    struct loop_sock sock;
    int fd;
    int sends, status;
};

static char
byte_at(size_t offset)
{
    return (char)('a' + offset * 7 / 5 % 23);
}

static int
make_file(const struct bed *bed)
{
    char path[96], *bytes = fr_xalloc(FILE_BYTES);
    (void)snprintf(path, sizeof(path), "%s/file", bed->folder);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    for (size_t i = 0; i < FILE_BYTES; i++)
        bytes[i] = byte_at(i);
    assert_int_equal(write(fd, bytes, FILE_BYTES), FILE_BYTES);
    fr_free(bytes);
    return fd;
}

static void
on_recv(void *ctx, struct loop_buf *buf, int status)
{
    struct reader *reader = ctx;
    if (status <= 0) {
        reader->end = status;
        loop_stop(reader->bed->loop);
        return;
    }
    assert_true(reader->len + buf->len <= FILE_BYTES + 64);
    memcpy(reader->bytes + reader->len, buf->data, buf->len);
    reader->len += buf->len;
    loop_buf_give_back(buf);
    loop_recv(&reader->sock, on_recv, reader);
    if (reader->len >= reader->wanted)
        loop_stop(reader->bed->loop);
}

static void
on_sent(void *ctx, int status)
{
    struct sender *sender = ctx;
    sender->sends++;
    sender->status = status;
    if (status < 0)
        loop_close(&sender->sock, NULL, NULL);
}

static void
stage_open(struct bed *bed, struct sender *sender, struct reader *reader)
{
    struct loop_limits limits = {.buf_bytes = 4096};
    int fds[2];
    (void)signal(SIGPIPE, SIG_IGN); /* as the program does */
    bed_open(bed, &limits);
    make_tcp_pair(fds);
    *sender = (struct sender){.bed = bed, .fd = make_file(bed), .status = 1};
    *reader = (struct reader){.bed = bed, .end = 1, .bytes = fr_xalloc(FILE_BYTES + 64)};
    loop_sock_open(&sender->sock, bed->loop, fds[0]);
    loop_sock_open(&reader->sock, bed->loop, fds[1]);
}

static void
stage_close(struct bed *bed, struct sender *sender, struct reader *reader)
{
    if (sender->sock.fd >= 0)
        loop_close(&sender->sock, NULL, NULL);
    if (reader->sock.fd >= 0)
        loop_close(&reader->sock, NULL, NULL);
    close(sender->fd);
    fr_free(reader->bytes);
    bed_close(bed);
}

static void
send_piece(struct sender *sender, const char *head, int64_t offset, uint64_t bytes)
{
    struct iovec part = {(void *)(uintptr_t)head, strlen(head)};
    struct loop_file_piece piece = {sender->fd, offset, bytes};
    loop_send_file(&sender->sock, &part, 1, &piece, on_sent, sender);
}

static void
check_piece(const char *got, size_t offset, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (got[i] != byte_at(offset + i))
            fail_msg("byte %zu of the piece at %zu is wrong", i, offset);
}

static void
test_parts_come_before_the_piece(void **state)
{
    struct bed bed;
    struct sender sender;
    struct reader reader;
    struct loop_counters before, after;
    (void)state;
    stage_open(&bed, &sender, &reader);
    reader.wanted = 5 + 1000;
    loop_recv(&reader.sock, on_recv, &reader);
    bed_settle(&bed, 5000);
    loop_read_counters(bed.loop, &before);
    send_piece(&sender, "head:", 777, 1000);
    assert_int_equal(sender.sends, 0); /* never inside the call */
    assert_true(loop_send_pending(&sender.sock));
    assert_int_equal(loop_run(bed.loop), FR_OK);
    bed_settle(&bed, 5000);
    loop_read_counters(bed.loop, &after);
    assert_int_equal(after.send_calls - before.send_calls, 2);
    assert_int_equal(sender.sends, 1);
    assert_int_equal(sender.status, 0);
    assert_int_equal(reader.len, 1005);
    assert_memory_equal(reader.bytes, "head:", 5);
    check_piece(reader.bytes + 5, 777, 1000);
    assert_int_equal(lseek(sender.fd, 0, SEEK_CUR), FILE_BYTES); /* not moved */
    stage_close(&bed, &sender, &reader);
}

static void
test_slow_reader_gets_every_byte(void **state)
{
    struct bed bed;
    struct sender sender;
    struct reader reader;
    (void)state;
    stage_open(&bed, &sender, &reader);
    int small = 256 << 10; /* in all less than the file, and more than loopback's largest packet */
    assert_int_equal(setsockopt(sender.sock.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    assert_int_equal(setsockopt(reader.sock.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    send_piece(&sender, "", 1, FILE_BYTES - 1);
    bed_settle(&bed, 5000);
    assert_int_equal(sender.sends, 0); /* nobody reads yet */
    reader.wanted = FILE_BYTES - 1;
    loop_recv(&reader.sock, on_recv, &reader);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    bed_settle(&bed, 5000);
    assert_int_equal(sender.sends, 1);
    assert_int_equal(sender.status, 0);
    assert_int_equal(reader.len, FILE_BYTES - 1);
    check_piece(reader.bytes, 1, FILE_BYTES - 1);
    stage_close(&bed, &sender, &reader);
}

static void
test_piece_of_nothing(void **state)
{
    struct bed bed;
    struct sender sender;
    struct reader reader;
    (void)state;
    stage_open(&bed, &sender, &reader);
    send_piece(&sender, "", 0, 0);
    bed_settle(&bed, 5000);
    assert_int_equal(sender.sends, 1);
    assert_int_equal(sender.status, 0);
    send_piece(&sender, "x", FILE_BYTES + 9, 0); /* nor is the offset looked at */
    bed_settle(&bed, 5000);
    assert_int_equal(sender.sends, 2);
    assert_int_equal(sender.status, 0);
    stage_close(&bed, &sender, &reader);
}

static void
test_two_sends_from_one_file(void **state)
{
    struct bed bed;
    struct sender sender;
    struct reader reader;
    (void)state;
    stage_open(&bed, &sender, &reader);
    reader.wanted = 600;
    loop_recv(&reader.sock, on_recv, &reader);
    send_piece(&sender, "", 5000, 300);
    bed_settle(&bed, 5000);
    assert_int_equal(sender.sends, 1);
    send_piece(&sender, "", 100, 300);
    bed_settle(&bed, 5000);
    assert_int_equal(sender.sends, 2);
    assert_int_equal(reader.len, 600);
    check_piece(reader.bytes, 5000, 300);
    check_piece(reader.bytes + 300, 100, 300);
    stage_close(&bed, &sender, &reader);
}

/* What there is goes out, then the send fails, and it does so once. */
static void
test_file_that_became_shorter(void **state)
{
    struct bed bed;
    struct sender sender;
    struct reader reader;
    (void)state;
    stage_open(&bed, &sender, &reader);
    assert_int_equal(ftruncate(sender.fd, 1500), 0);
    reader.wanted = SIZE_MAX;
    loop_recv(&reader.sock, on_recv, &reader);
    send_piece(&sender, "head:", 1000, 501);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(sender.sends, 1);
    assert_int_equal(sender.status, -ENODATA);
    assert_int_equal(reader.end, 0);
    assert_int_equal(reader.len, 5 + 500);
    check_piece(reader.bytes + 5, 1000, 500);
    stage_close(&bed, &sender, &reader);
}

static void
test_reader_that_went_away(void **state)
{
    struct bed bed;
    struct sender sender;
    struct reader reader;
    (void)state;
    stage_open(&bed, &sender, &reader);
    loop_abort(&reader.sock, NULL, NULL);
    bed_settle(&bed, 5000);
    send_piece(&sender, "", 0, FILE_BYTES);
    bed_settle(&bed, 5000);
    assert_int_equal(sender.sends, 1);
    assert_true(sender.status == -EPIPE || sender.status == -ECONNRESET);
    stage_close(&bed, &sender, &reader);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_come_before_the_piece),
        cmocka_unit_test(test_slow_reader_gets_every_byte),
        cmocka_unit_test(test_piece_of_nothing),
        cmocka_unit_test(test_two_sends_from_one_file),
        cmocka_unit_test(test_file_that_became_shorter),
        cmocka_unit_test(test_reader_that_went_away),
    };
    return cmocka_run_group_tests_name("loop-file", tests, NULL, NULL);
}
