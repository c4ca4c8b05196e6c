/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_buf.c - the receive buffers of one loop.
 *
 * Threads:    the loop's own.
 * Memory:     limits.buf_count_max lent at once; up to LOOP_BUFS_SPARE_MAX are kept when given
 *             back, the newest is lent first since its bytes are still in the processor's cache.
 *             For whom much is held already small ones are lent (struct loop_account), so that
 *             each gets on with the little it needs.
 * When full:  receiving sockets wait in line, loop_buf_take answers NULL.
 */
#include "loop/loop_priv.h"

#include "base/fr_check.h"
#include "base/fr_poison.h"

static bool
is_small(const struct loop_buf *buf)
{
    return buf->cap < buf->owner->limits.buf_bytes;
}

static struct loop_buf *
take(struct loop *loop, bool small)
{
    size_t bytes = loop->limits.buf_bytes;
    struct loop_buf *buf;
    if (small && bytes > LOOP_BUF_SMALL_BYTES)
        bytes = LOOP_BUF_SMALL_BYTES;
    small = bytes < loop->limits.buf_bytes;
    struct fr_list *link = fr_list_pop_front(small ? &loop->small_bufs : &loop->bufs);
    if (link) {
        buf = FR_CONTAINER(link, struct loop_buf, link);
        loop->bufs_spare--;
        FR_UNPOISON(buf->data, buf->cap);
    } else {
        buf = fr_alloc(sizeof(*buf) + bytes);
        if (!buf)
            return NULL;
        buf->data = (char *)(buf + 1);
        buf->cap = (uint32_t)bytes;
        buf->owner = loop;
        fr_list_init(&buf->link);
    }
    buf->len = 0;
    buf->account = NULL;
    loop->bufs_in_use++;
    loop__count(&loop->counters.buf_in_use, 1);
    return buf;
}

void
loop_buf_charge(struct loop_buf *buf, struct loop_account *account)
{
    if (!buf || buf->account == account)
        return;
    if (buf->account) {
        fr_insist(buf->account->bytes >= buf->cap);
        buf->account->bytes -= buf->cap;
    }
    buf->account = account;
    if (account)
        account->bytes += buf->cap;
}

struct loop_buf *
loop__buf_take(struct loop *loop, struct loop_account *account, bool *out_at_limit)
{
    *out_at_limit = loop->bufs_in_use >= loop->limits.buf_count_max;
    if (*out_at_limit)
        return NULL;
    struct loop_buf *buf = take(loop, loop_account_full(account));
    loop_buf_charge(buf, account);
    return buf;
}

struct loop_buf *
loop_buf_take(struct loop *loop)
{
    bool at_limit;
    return loop__buf_take(loop, NULL, &at_limit);
}

struct loop_buf *
loop_buf_take_small(struct loop *loop)
{
    return loop->bufs_in_use < loop->limits.buf_count_max ? take(loop, true) : NULL;
}

void
loop_buf_give_back(struct loop_buf *buf)
{
    if (!buf)
        return;
    struct loop *loop = buf->owner;
    fr_require(loop->bufs_in_use > 0);
    loop_buf_charge(buf, NULL);
    loop->bufs_in_use--;
    loop__count(&loop->counters.buf_in_use, (uint64_t)-1);
    if (loop->bufs_spare < LOOP_BUFS_SPARE_MAX) {
        loop->bufs_spare++;
        FR_POISON(buf->data, buf->cap);
        fr_list_push_front(is_small(buf) ? &loop->small_bufs : &loop->bufs, &buf->link);
    } else {
        fr_free(buf);
    }
    loop__sock_wake_receiver(loop);
}

static void
free_spare(struct fr_list *bufs)
{
    struct fr_list *link;
    while ((link = fr_list_pop_front(bufs))) {
        struct loop_buf *buf = FR_CONTAINER(link, struct loop_buf, link);
        FR_UNPOISON(buf->data, buf->cap);
        fr_free(buf);
    }
}

void
loop__buf_fini(struct loop *loop)
{
    free_spare(&loop->bufs);
    free_spare(&loop->small_bufs);
    loop->bufs_spare = 0;
}
