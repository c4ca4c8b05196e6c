/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.c - the turn, deferred tasks and messages of other threads.
 *
 * May touch:  base. The one place that reads the clocks for the rooms above.
 * Threads:    the loop's own; loop_post and loop_read_counters from any.
 * Fairness:   a turn works off the events it took, the messages it found, the timers that are due
 *             and a bounded number of passes over the ready queue; what these start anew waits for
 *             the next turn, which then does not sleep.
 * Cost:       a turn: one epoll_wait and three clock readings without a system call.
 */
#include "loop/loop_priv.h"

#include "base/fr_check.h"
#include "base/fr_time.h"

#include <assert.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LOOP_BUF_BYTES_DEFAULT 16384
#define LOOP_BUF_COUNT_DEFAULT 8192

static uint64_t
data_of(void *object, enum loop_kind kind)
{
    fr_insist(((uintptr_t)object & LOOP_KIND_MASK) == 0);
    return (uint64_t)(uintptr_t)object | (uint64_t)kind;
}

bool
loop__ctl(struct loop *loop, int op, int fd, uint32_t events, void *object, enum loop_kind kind)
{
    struct epoll_event event = {.events = events, .data.u64 = data_of(object, kind)};
    loop__count(&loop->counters.ctl_calls, 1);
    return epoll_ctl(loop->epoll_fd, op, fd, &event) == 0;
}

void
loop__forget(struct loop *loop, int fd, void *object, enum loop_kind kind)
{
    /* Closing alone is not enough: between another thread's fork and exec the child holds the
     * description too, and epoll would go on reporting it. */
    (void)loop__ctl(loop, EPOLL_CTL_DEL, fd, 0, object, kind);
    for (int i = loop->event_index + 1; i < loop->event_count; i++)
        if (loop->events[i].data.u64 == data_of(object, kind))
            loop->events[i].data.u64 = 0;
}

static void
read_clocks(struct loop *loop)
{
    loop->now_us = fr_clock_mono_us();
    loop->wall_us = fr_clock_wall_us();
}

enum fr_err
loop_new(const struct loop_limits *limits, struct loop **out)
{
    struct loop *loop = fr_xalloc_lines(sizeof(*loop));
    if (limits)
        loop->limits = *limits;
    if (loop->limits.buf_bytes == 0)
        loop->limits.buf_bytes = LOOP_BUF_BYTES_DEFAULT;
    if (loop->limits.buf_count_max == 0)
        loop->limits.buf_count_max = LOOP_BUF_COUNT_DEFAULT;
    fr_require(loop->limits.buf_bytes <= UINT32_MAX / 2);
    fr_list_init(&loop->ready);
    fr_list_init(&loop->pass);
    fr_list_init(&loop->closed);
    fr_list_init(&loop->held);
    fr_list_init(&loop->tasks);
    fr_list_init(&loop->bufs);
    fr_list_init(&loop->small_bufs);
    fr_list_init(&loop->buf_waiters);
    fr_list_init(&loop->watches);
    sigemptyset(&loop->signals);
    loop->signal_fd = loop->watch_fd = -1;
    read_clocks(loop);
    loop__timer_init(loop);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->post_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    /* Edge-triggered, so that the counter need never be read. */
    if (loop->epoll_fd < 0 || loop->post_fd < 0 ||
        !loop__ctl(loop, EPOLL_CTL_ADD, loop->post_fd, EPOLLIN | EPOLLET, loop, LOOP_KIND_POST)) {
        enum fr_err err = fr_err_from_errno(errno);
        loop_free(&loop);
        return err;
    }
    *out = loop;
    return FR_OK;
}

void
loop_free(struct loop **loop_ptr)
{
    struct loop *loop = *loop_ptr;
    struct fr_list *link;
    *loop_ptr = NULL;
    if (!loop)
        return;
    while (!fr_list_empty(&loop->closed))
        loop__sock_run_closed(loop);
    fr_require(loop->socks_open == 0);
    fr_require(loop->bufs_in_use == 0);
    while ((link = fr_list_pop_front(&loop->tasks)))
        FR_CONTAINER(link, struct loop_task, link)->queued = false;
    while (fr_list_pop_front(&loop->watches))
        continue;
    loop__timer_fini(loop);
    loop__buf_fini(loop);
    fr_free(loop->socks);
    int fds[] = {loop->epoll_fd, loop->post_fd, loop->signal_fd, loop->watch_fd};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    fr_free(loop);
}

static void
dispatch(struct loop *loop, struct epoll_event event)
{
    void *object = (void *)(uintptr_t)(event.data.u64 & ~(uint64_t)LOOP_KIND_MASK);
    switch ((enum loop_kind)(event.data.u64 & LOOP_KIND_MASK)) {
    case LOOP_KIND_SOCK:
        loop__sock_event(loop, event.data.u64, event.events);
        break;
    case LOOP_KIND_LISTENER:
        loop__listener_event(object);
        break;
    case LOOP_KIND_PROCESS:
        loop__process_event(object);
        break;
    case LOOP_KIND_SIGNAL:
        loop__signal_event(loop);
        break;
    case LOOP_KIND_WATCH:
        loop__watch_event(loop);
        break;
    case LOOP_KIND_POST: /* it only had to wake us */
    case LOOP_KIND_MASK:
        break;
    }
}

void
loop_give_way_between(struct loop *loop)
{
    loop->gives_way = true;
}

static void
run_events(struct loop *loop, int count)
{
    loop->event_count = count;
    for (loop->event_index = 0; loop->event_index < loop->event_count; loop->event_index++) {
        if (loop->events[loop->event_index].data.u64 != 0)
            dispatch(loop, loop->events[loop->event_index]);
        loop__between(loop);
    }
    loop->event_count = 0;
    loop->event_index = 0;
}

static void
run_ready(struct loop *loop)
{
    for (int i = 0; i < LOOP_READY_PASSES_MAX && !fr_list_empty(&loop->ready); i++) {
        struct fr_list *link;
        loop__list_move(&loop->pass, &loop->ready);
        if (++loop->passes == 0)
            loop->passes = 1;
        loop->pass_serial = loop->passes;
        while ((link = fr_list_pop_front(&loop->pass))) {
            loop__sock_step(FR_CONTAINER(link, struct loop_sock, ready_link));
            loop__between(loop);
        }
    }
    loop->pass_serial = 0;
}

static void
run_tasks(struct loop *loop)
{
    struct fr_list now, *link;
    fr_list_init(&now);
    loop__list_move(&now, &loop->tasks);
    while ((link = fr_list_pop_front(&now))) {
        struct loop_task *task = FR_CONTAINER(link, struct loop_task, link);
        task->queued = false;
        task->fn(task->ctx);
        loop__between(loop);
    }
}

static int
wait_for_events(struct loop *loop)
{
    bool busy = !fr_list_empty(&loop->ready) || !fr_list_empty(&loop->tasks) ||
                !fr_list_empty(&loop->closed) || !fr_list_empty(&loop->held) || loop->stopping;
    int64_t before_us = fr_clock_mono_us();
    int timeout_ms = busy ? 0 : loop__timer_wait_ms(loop, before_us);
    if (timeout_ms != 0) {
        /* Both sides write first and look then: either we see the message, or its sender sees
         * that we sleep. */
        __atomic_store_n(&loop->waiting, 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&loop->post_head, __ATOMIC_SEQ_CST))
            timeout_ms = 0;
    }
    loop__count(&loop->counters.busy_us, (uint64_t)(before_us - loop->now_us));
    int count = epoll_wait(loop->epoll_fd, loop->events, LOOP_EVENTS_MAX, timeout_ms);
    __atomic_store_n(&loop->waiting, 0, __ATOMIC_SEQ_CST);
    if (count < 0 && errno == EINTR)
        count = 0;
    read_clocks(loop);
    loop__count(&loop->counters.turns, 1);
    return count;
}

enum fr_err
loop_run(struct loop *loop)
{
    enum fr_err err = FR_OK;
    read_clocks(loop);
    do {
        int count = wait_for_events(loop);
        if (count < 0) {
            err = FR_ERR_SYSTEM;
            break;
        }
        run_events(loop, count);
        loop_drain_posts(loop);
        loop__timer_run(loop);
        run_ready(loop);
        run_tasks(loop);
        loop__sock_run_held(loop);
        loop__sock_run_closed(loop);
    } while (!loop->stopping);
    while (!fr_list_empty(&loop->closed))
        loop__sock_run_closed(loop);
    loop->stopping = false;
    return err;
}

void
loop_stop(struct loop *loop)
{
    loop->stopping = true;
}

int64_t
loop_now_us(const struct loop *loop)
{
    return loop->now_us;
}

int64_t
loop_clock_us(const struct loop *loop)
{
    int64_t now_us = fr_clock_mono_us();
    return now_us > loop->now_us ? now_us : loop->now_us;
}

int64_t
loop_wall_us(const struct loop *loop)
{
    return loop->wall_us;
}

void
loop_read_counters(const struct loop *loop, struct loop_counters *out)
{
    const uint64_t *from = (const uint64_t *)(const void *)&loop->counters;
    uint64_t *into = (uint64_t *)(void *)out;
    static_assert(sizeof(*out) % sizeof(uint64_t) == 0, "counters are all of one type");
    for (size_t i = 0; i < sizeof(*out) / sizeof(uint64_t); i++)
        into[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

void
loop_defer(struct loop *loop, struct loop_task *task, loop_fn fn, void *ctx)
{
    if (task->queued)
        return;
    task->fn = fn;
    task->ctx = ctx;
    task->queued = true;
    fr_list_push_back(&loop->tasks, &task->link);
}

void
loop_defer_cancel(struct loop_task *task)
{
    if (!task->queued)
        return;
    task->queued = false;
    fr_list_remove(&task->link);
}

void
loop_post(struct loop *loop, struct loop_msg *msg, loop_fn fn, void *ctx)
{
    msg->fn = fn;
    msg->ctx = ctx;
    msg->next = __atomic_load_n(&loop->post_head, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&loop->post_head, &msg->next, msg, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED))
        continue;
    /* From here on msg may be gone. One sender wakes a sleeping loop, the others need not. */
    if (__atomic_load_n(&loop->waiting, __ATOMIC_SEQ_CST) &&
        __atomic_exchange_n(&loop->waiting, 0, __ATOMIC_SEQ_CST)) {
        uint64_t one = 1;
        /* Cannot fail: the counter is never read, and far from full. */
        (void)!write(loop->post_fd, &one, sizeof(one));
    }
}

void
loop_drain_posts(struct loop *loop)
{
    struct loop_msg *oldest = NULL;
    if (!__atomic_load_n(&loop->post_head, __ATOMIC_RELAXED))
        return;
    struct loop_msg *msg = __atomic_exchange_n(&loop->post_head, NULL, __ATOMIC_SEQ_CST);
    while (msg) {
        struct loop_msg *next = msg->next;
        msg->next = oldest;
        oldest = msg;
        msg = next;
    }
    while (oldest) {
        struct loop_msg *next = oldest->next;
        oldest->fn(oldest->ctx);
        oldest = next;
        loop__between(loop);
    }
}
