/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_priv.h - what the files of this room share: the loop's body and the seams between them.
 *
 * Life of a turn:  wait -> clock -> events -> posts -> timers -> ready sockets -> tasks -> what is
 *                  held -> closed.
 */
#ifndef LOOP_PRIV_H
#define LOOP_PRIV_H

#include "base/fr_list.h"
#include "base/fr_mem.h"
#include "base/fr_thread.h"
#include "loop/loop.h"

#include <signal.h>
#include <sys/epoll.h>

#define LOOP_EVENTS_MAX 256      /* taken from the kernel in one turn */
#define LOOP_READY_PASSES_MAX 4  /* over the ready queue in one turn, then others get theirs */
#define LOOP_SEND_TRIES_MAX 4    /* sendmsg and sendfile calls in a row for one socket */
#define LOOP_SENDFILE_BYTES_MAX 1048576 /* of one call: others wait meanwhile */
#define LOOP_FILTERED_FILE_BYTES 16384  /* of one call through a filter: a TLS record */
#define LOOP_ACCEPTS_MAX 64      /* in one turn, for one listener */
#define LOOP_BUFS_SPARE_MAX 256  /* kept for the next; more are freed */
#define LOOP_STARVED_US 100000LL /* accepting pauses when descriptors run out */
#define LOOP_SIGNALS 65

/* The timing wheel: LOOP_WHEEL_LEVELS digits of 6 bits of a time in milliseconds. Seven of them
 * reach 139 years from the clock's zero. */
#define LOOP_WHEEL_BITS 6
#define LOOP_WHEEL_SLOTS 64
#define LOOP_WHEEL_LEVELS 7
struct loop_wheel {
    uint64_t tick_ms;                   /* everything up to here has fired */
    uint64_t occupied[LOOP_WHEEL_LEVELS]; /* bit n: slot n is not empty */
    struct fr_list slot[LOOP_WHEEL_LEVELS][LOOP_WHEEL_SLOTS];
    struct fr_list due; /* being fired */
};

/* What an epoll event is about: the low bits of its data; the rest is the object's address, or of a
 * socket its descriptor (the upper half) and its serial. */
enum loop_kind {
    LOOP_KIND_SOCK,
    LOOP_KIND_LISTENER,
    LOOP_KIND_PROCESS,
    LOOP_KIND_POST,
    LOOP_KIND_SIGNAL,
    LOOP_KIND_WATCH,
    LOOP_KIND_MASK = 7,
};

enum sock_flag {
    SOCK_READABLE = 1u << 0, /* hint: recv will not say EAGAIN */
    SOCK_WRITABLE = 1u << 1,
    SOCK_ENDING = 1u << 2,    /* the other side's end or an error was signalled: no edge follows */
    SOCK_RECEIVING = 1u << 3, /* operations under way */
    SOCK_SENDING = 1u << 4,
    SOCK_CONNECTING = 1u << 5,
    SOCK_DONE = 1u << 6,  /* the send or connect under way has its status */
    SOCK_WOKEN = 1u << 7, /* a buffer was given back for it */
    SOCK_CLOSED = 1u << 8,
    SOCK_ENDED = 1u << 9,   /* the end was delivered */
    SOCK_GONE = 1u << 10,   /* neither direction works any more */
    SOCK_JOINED = 1u << 11, /* epoll knows it */
    SOCK_MORE = 1u << 12,   /* the next send may wait for the one behind it */
};

struct loop_signal_row {
    loop_signal_fn fn;
    void *ctx;
};

struct loop {
    /* set once */
    struct loop_limits limits;
    int epoll_fd;
    int post_fd;

    /* owner */
    bool stopping;
    bool gives_way; /* between callbacks */
    int64_t now_us;
    int64_t wall_us;
    struct fr_list ready;   /* sockets with something to complete or to try */
    struct fr_list pass;    /* the part of ready that is being worked off */
    uint32_t pass_serial;   /* which part that is; 0: none is */
    uint32_t passes;        /* the last one's serial */
    struct fr_list closed;  /* sockets whose close callback is due */
    struct fr_list held;    /* sockets that hold what is sent, by held_link */
    struct fr_list tasks;
    struct fr_list bufs; /* spare ones */
    struct fr_list small_bufs;
    size_t bufs_spare; /* of either kind */
    size_t bufs_in_use;
    struct fr_list buf_waiters; /* sockets, by wait_link */
    size_t socks_open;
    struct loop_sock **socks; /* by descriptor; NULL: none of this loop's sockets */
    size_t socks_cap;
    uint32_t sock_serial; /* the newest socket's */
    struct loop_listener *accepting; /* NULL once its callback closed it */
    int event_index;
    int event_count;
    struct epoll_event events[LOOP_EVENTS_MAX];
    struct loop_wheel wheel;
    int signal_fd; /* -1 until asked for */
    sigset_t signals;
    struct loop_signal_row signal_rows[LOOP_SIGNALS];
    int watch_fd; /* -1 until asked for */
    struct fr_list watches;

    /* owner writes, any reads: relaxed atomics */
    struct loop_counters counters;

    /* shared, atomic; on lines of their own */
    char line_before[FR_CACHE_LINE];
    struct loop_msg *post_head; /* newest first */
    uint32_t waiting;           /* 1: the owner sleeps, or is about to: write to post_fd */
    char line_behind[FR_CACHE_LINE];
};

static inline void
loop__count(uint64_t *counter, uint64_t more)
{
    __atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED);
}

/* Moves all of `from` behind what `into` has. */
static inline void
loop__list_move(struct fr_list *into, struct fr_list *from)
{
    if (fr_list_empty(from))
        return;
    from->next->prev = into->prev;
    into->prev->next = from->next;
    from->prev->next = into;
    into->prev = from->prev;
    fr_list_init(from);
}

/* After each callback. */
static inline void
loop__between(const struct loop *loop)
{
    if (loop->gives_way)
        fr_give_way();
}

/* loop.c. op is EPOLL_CTL_*; false with errno set. */
bool loop__ctl(struct loop *loop, int op, int fd, uint32_t events, void *object,
               enum loop_kind kind);
/* Takes a descriptor off epoll, and its events out of the batch being worked off. */
void loop__forget(struct loop *loop, int fd, void *object, enum loop_kind kind);

/* loop_buf.c. *out_at_limit tells the two reasons for NULL apart. */
struct loop_buf *loop__buf_take(struct loop *loop, struct loop_account *account,
                                bool *out_at_limit);
void loop__buf_fini(struct loop *loop);

/* loop_sock.c */
static inline void
loop__sock_enqueue(struct loop_sock *sock)
{
    if (fr_list_empty(&sock->ready_link))
        fr_list_push_back(&sock->loop->ready, &sock->ready_link);
}
/* Its turn comes next, while what it is about is near; but once in a pass, so that whoever asks for
 * more each time does not keep the others waiting. */
static inline void
loop__sock_enqueue_next(struct loop_sock *sock)
{
    struct loop *loop = sock->loop;
    bool went = loop->pass_serial == 0 || sock->next_in == loop->pass_serial;
    if (went || !fr_list_empty(&sock->ready_link)) {
        loop__sock_enqueue(sock);
        return;
    }
    sock->next_in = loop->pass_serial;
    fr_list_push_front(&loop->pass, &sock->ready_link);
}
/* From now on the kernel tells what happens to it, beginning with what has happened. 0, or -errno:
 * then it cannot be waited for. */
int loop__sock_join(struct loop_sock *sock);
void loop__sock_event(struct loop *loop, uint64_t data, uint32_t events);
void loop__sock_step(struct loop_sock *sock);
void loop__sock_wake_receiver(struct loop *loop);
void loop__sock_run_closed(struct loop *loop);
int loop__tcp_nodelay(int fd, int family);

/* loop_send.c */
/* Sets SOCK_DONE when the send has its status; drops the hint when the kernel takes no more. */
void loop__sock_try_send(struct loop_sock *sock);
void loop__sock_held_event(struct loop_sock *sock);           /* there may be room again */
void loop__sock_held_end(struct loop_sock *sock, bool reset); /* before it is closed */
/* Sends what is held, but of a socket whose send has just completed: the next may be to come. */
void loop__sock_run_held(struct loop *loop);

/* loop_listen.c, loop_process.c, loop_signal.c, loop_watch.c */
void loop__listener_event(struct loop_listener *listener);
void loop__process_event(struct loop_process *process);
void loop__signal_event(struct loop *loop);
void loop__watch_event(struct loop *loop);

/* loop_timer.c */
void loop__timer_init(struct loop *loop);
void loop__timer_fini(struct loop *loop);
void loop__timer_run(struct loop *loop);
/* Milliseconds to sleep from now_us on, rounded up; -1 when no timer runs. */
int loop__timer_wait_ms(const struct loop *loop, int64_t now_us);

#endif
