/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.h - the event loop: operations are started here and complete by a callback.
 *
 * Style:      completion. Nobody above knows that readiness exists; the engine behind is epoll.
 * Threads:    a loop and everything on it belong to one thread; loop_post is the one exception.
 * Callbacks:  never run inside the call that started the operation, always from loop_run. Each
 *             started operation completes exactly once, unless its socket is closed first: then it
 *             never calls back.
 * Memory:     sockets, timers, messages and tasks are the caller's storage; receive buffers are the
 *             loop's and are lent (loop_buf).
 * Time:       one clock reading a turn: loop_now_us, loop_wall_us.
 * Cost:       recv: one system call a completion, none while idle, no buffer held while idle.
 *             send: tried at once, one sendmsg where the kernel takes it all; one sendfile more
 *             for a piece of a file, in the same packets; one for several sends where more is to
 *             come (loop_send_more), which are copied. A socket costs one epoll_ctl in its life,
 *             when it first has to wait for something.
 */
#ifndef LOOP_H
#define LOOP_H

#include "base/fr_err.h"
#include "base/fr_list.h"
#include "loop/loop_addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct loop;

struct loop_limits {
    size_t buf_bytes;     /* size of one receive buffer; default 16384 */
    size_t buf_count_max; /* lent at once; when reached, receiving waits; default 8192 */
};
/* All turns, system calls and waits of this loop since its start; written by its thread (relaxed
 * atomics), readable by any. */
struct loop_counters {
    uint64_t turns;
    uint64_t busy_us; /* time spent outside waiting */
    uint64_t buf_in_use;
    uint64_t buf_waits;     /* receives that had to wait for a buffer */
    uint64_t accept_errors; /* EMFILE and its like */
    uint64_t recv_calls;    /* system calls: recv, sendmsg and sendfile, epoll_ctl */
    uint64_t send_calls;
    uint64_t ctl_calls;
};

/* limits may be NULL: the defaults. */
FR_MUST_USE enum fr_err loop_new(const struct loop_limits *limits, struct loop **out);
/* Every socket must be closed and every buffer given back before; close callbacks that did not run
 * yet run now. Timers and tasks that still wait are forgotten. Accepts NULL, leaves NULL behind. */
void loop_free(struct loop **loop);
/* Runs turns until loop_stop; returns FR_OK, or FR_ERR_SYSTEM when the kernel refuses to wait. */
FR_MUST_USE enum fr_err loop_run(struct loop *loop);
void loop_stop(struct loop *loop); /* from a callback: this turn is the last */
/* From now on another thread that wants the core gets it between any two callbacks (fr_thread.h):
 * for a loop whose work nobody waits for as one waits for an answer. */
void loop_give_way_between(struct loop *loop);
int64_t loop_now_us(const struct loop *loop);
int64_t loop_wall_us(const struct loop *loop);
/* A reading of the clock of loop_now_us for this moment: for what is measured within a turn, and
 * never for deciding anything. */
int64_t loop_clock_us(const struct loop *loop);
void loop_read_counters(const struct loop *loop, struct loop_counters *out); /* any thread */

/* ---- receive buffers ---------------------------------------------------------------------- */

#define LOOP_BUF_SMALL_BYTES 2048 /* of those lent on an account that is used up */

/* What somebody holds of them, in bytes, and from where on it is lent small ones only. */
struct loop_account {
    size_t bytes;
    size_t bytes_max;
};

struct loop_buf {
    char *data;
    uint32_t len; /* bytes received */
    uint32_t cap;
    struct loop *owner;
    struct loop_account *account; /* it counts there until it is given back; NULL: nowhere */
    struct fr_list link;          /* the holder's, while lent */
};
void loop_buf_give_back(struct loop_buf *buf); /* on the loop's thread; NULL is allowed */
/* A buffer to write into; NULL when the limit is reached or memory is out. */
struct loop_buf *loop_buf_take(struct loop *loop);
struct loop_buf *loop_buf_take_small(struct loop *loop);
/* Has it count there and nowhere else; account NULL: nowhere. buf may be NULL. */
void loop_buf_charge(struct loop_buf *buf, struct loop_account *account);
static inline bool
loop_account_full(const struct loop_account *account)
{
    return account && account->bytes >= account->bytes_max;
}

/* ---- sockets ------------------------------------------------------------------------------ */

/* status > 0: that many bytes, `buf` is the callee's until it gives it back; it may send from it.
 * status == 0: the other side sent all it will; a receive started after that tells, as an
 * error, when it is gone altogether.  status < 0: -errno (-ENOMEM: no memory for a
 * buffer).  buf is NULL unless > 0. */
typedef void (*loop_recv_fn)(void *ctx, struct loop_buf *buf, int status);
/* status 0: every byte was taken by the kernel; < 0: -errno. */
typedef void (*loop_send_fn)(void *ctx, int status);
typedef void (*loop_connect_fn)(void *ctx, int status); /* 0 or -errno */
typedef void (*loop_close_fn)(void *ctx);

#define LOOP_IOV_MAX 16

/* What has come that its owner has not received. */
enum loop_waiting { LOOP_WAITING_NOTHING, LOOP_WAITING_BYTES, LOOP_WAITING_END };

/* What stands between a socket's operations and the kernel: TLS. The loop calls it, on its own
 * thread, where it would call recv, sendmsg, shutdown and close on fd. recv and send answer as
 * those do: bytes, 0 (recv: the proper end), or -1 and errno. EAGAIN: both are tried again after
 * the next event, whichever way it points. */
struct loop_filter {
    bool again; /* recv gave less than it could have: no event will announce what is left */
    bool later; /* recv put its work off (EAGAIN): it is asked again in a later turn, unannounced */
    ssize_t (*recv)(struct loop_filter *filter, char *data, size_t cap);
    /* more: another send follows at once, so that what is to go may wait for it. */
    ssize_t (*send)(struct loop_filter *filter, const struct iovec *parts, int count, bool more);
    /* Of what is for the owner; what is the filter's own business is seen to meanwhile. */
    enum loop_waiting (*waiting)(struct loop_filter *filter);
    void (*shutdown)(struct loop_filter *filter); /* our half's proper end */
    /* The last call; fd is open still. reset: nothing may look like a proper end. */
    void (*close)(struct loop_filter *filter, bool reset);
};

struct loop_sock {
    /* set once */
    struct loop *loop;
    int fd;                     /* -1 when closed */
    struct loop_filter *filter; /* NULL: the kernel itself */
    /* owner: for whom it receives; outlives the buffers that were lent for it. NULL: for nobody */
    struct loop_account *account;
    /* the engine's own */
    uint32_t flags;
    uint32_t serial; /* of no other socket of its loop */
    loop_recv_fn recv_fn;
    void *recv_ctx;
    loop_send_fn send_fn;
    void *send_ctx;
    loop_connect_fn connect_fn;
    void *connect_ctx;
    loop_close_fn close_fn;
    void *close_ctx;
    struct iovec send_iov[LOOP_IOV_MAX + 1]; /* what was held, and the parts */
    int send_iov_first;
    int send_iov_count;
    int send_file; /* behind the parts, while send_file_bytes > 0 */
    int64_t send_file_offset;
    uint64_t send_file_bytes;
    int send_status;       /* of the connect too */
    uint64_t sent_bytes;   /* taken by the kernel, ever */
    struct loop_buf *held; /* sent by its owner, and not yet by us: loop_send_more */
    uint32_t held_at;      /* up to here it is out */
    uint32_t next_in;      /* the pass in which it went before its turn; 0: in none */
    struct fr_list held_link;
    struct fr_list ready_link;
    struct fr_list wait_link;
};

/* Takes a connected, non-blocking stream socket (from loop_listen's callback, or socketpair). Where
 * it later cannot be waited for, a receive or send tells (-ENOMEM, -ENOSPC). */
void loop_sock_open(struct loop_sock *sock, struct loop *loop, int fd);
/* Something has most likely come already: its first receive asks the kernel first and waits then,
 * which saves the waiting if it is so, and costs a system call if not. */
void loop_sock_expect(struct loop_sock *sock);
/* Makes a socket and connects it; completes by fn. TCP_NODELAY is set. After a failed completion
 * the socket is still to be closed; when this call itself fails there is nothing to close. */
FR_MUST_USE enum fr_err loop_connect(struct loop_sock *sock, struct loop *loop,
                                     const struct loop_addr *addr, loop_connect_fn fn, void *ctx);
/* From now on everything goes through the filter, which the socket then owns. Before the first
 * operation, or from the connect's callback. */
void loop_sock_filter(struct loop_sock *sock, struct loop_filter *filter);
/* One receive and one send may be under way at a time. */
void loop_recv(struct loop_sock *sock, loop_recv_fn fn, void *ctx);
bool loop_recv_pending(const struct loop_sock *sock);
/* Withdraws a receive that has not completed: its callback won't run. No byte is lost. */
void loop_recv_cancel(struct loop_sock *sock);
/* Sends all bytes of all parts. The parts' bytes stay valid until completion; the array is copied.
 * count <= LOOP_IOV_MAX. */
void loop_send(struct loop_sock *sock, const struct iovec *parts, int count, loop_send_fn fn,
               void *ctx);
/* Sends all bytes of all parts, as loop_send does, and behind them a piece of a regular file,
 * which is never copied through memory of ours. It is the one send under way, and completes as
 * loop_send's: 0 when the kernel took every byte.  -ENODATA: the file ended before its piece did.
 * What there was is out, and nobody can say how much, so the connection can only be closed.
 * file->fd stays the caller's and is open for reading until completion, or until the callback that
 * closes the socket. Its own position is neither used nor moved: several may send from one.
 * Reading what is not in memory blocks the loop's thread as long as the disk takes.
 * The process must ignore SIGPIPE: the kernel's call has no way to ask for silence. */
struct loop_file_piece {
    int fd;
    int64_t offset;
    uint64_t bytes; /* 0 is allowed */
};
void loop_send_file(struct loop_sock *sock, const struct iovec *parts, int count,
                    const struct loop_file_piece *file, loop_send_fn fn, void *ctx);
/* More is about to be sent behind the next send, whose bytes may therefore wait for it: they are
 * copied, the send completes, and they go out together with what comes, in one system call. What
 * does not come in the same turn of the loop is waited for no longer. What is too long for the
 * buffer of one receive, or has a file behind it, is sent at once. */
void loop_send_more(struct loop_sock *sock);
bool loop_send_pending(const struct loop_sock *sock);
/* How many bytes of those that the kernel took for it the other side has not acknowledged. The
 * kernel takes megabytes from a sender whose reader takes none, so that what it took says little
 * about a reader. Cost: one system call. */
uint64_t loop_sock_unread(const struct loop_sock *sock);
uint64_t loop_sock_sent(const struct loop_sock *sock); /* bytes that the kernel ever took */
void loop_shutdown_send(struct loop_sock *sock);       /* half close */
/* Ends all operations without their callbacks and closes the descriptor; fn (may be NULL) runs
 * when the storage may be reused, in this turn or a later one. */
void loop_close(struct loop_sock *sock, loop_close_fn fn, void *ctx);
/* Like loop_close, but the other side sees a reset: nothing may look like a proper end. */
void loop_abort(struct loop_sock *sock, loop_close_fn fn, void *ctx);
/* Takes the descriptor off the loop and gives it back, open. No operation may be under way; the
 * storage may be reused at once. */
int loop_detach(struct loop_sock *sock);
/* Likewise with the filter under it, which is the caller's then: for loop_sock_filter. */
int loop_detach_filtered(struct loop_sock *sock, struct loop_filter **out_filter);
/* What has come that its owner has not received, as the kernel knows at this moment: more than the
 * engine may have been told. A pooled connection with anything waiting must not be reused. An error
 * is an end. Cost: one system call. */
enum loop_waiting loop_sock_waiting(const struct loop_sock *sock);
/* True when nothing has come that its owner has not received: closing takes nothing from anybody.
 * Cost: one system call. */
bool loop_sock_quiet(const struct loop_sock *sock);

typedef void (*loop_fn)(void *ctx);

struct loop_timer { /* zero-initialise; grain 1 ms, never early */
    struct fr_list link;
    int64_t due_us;
    loop_fn fn;
    void *ctx;
    struct loop *loop;
};

/* ---- listening ---------------------------------------------------------------------------- */

/* fd is the callee's, non-blocking and close-on-exec. */
typedef void (*loop_accept_fn)(void *ctx, int fd, const struct loop_addr *peer);

/* Descriptors or memory ran out while accepting: true when the callee let go of some, and accepting
 * is tried again at once; false: after 100 ms. */
typedef bool (*loop_starved_fn)(void *ctx);

struct loop_listener {
    struct loop *loop;
    int fd;
    bool paused;           /* by its owner */
    bool starved;          /* descriptors or memory ran out; retry is running */
    int64_t defer_us;      /* see loop_listener_defer; 0: connections are told of at once */
    int64_t kept_until_us; /* those that were deferred until then have come by it */
    bool defer_when_busy;
    uint32_t accepts; /* since counted_us; looked at where deferring depends on them */
    int64_t counted_us;
    struct loop_timer busy; /* runs while it defers because it is busy */
    loop_accept_fn fn;
    loop_starved_fn starved_fn; /* NULL: nobody can let go of anything */
    void *ctx;
    struct loop_addr addr; /* as bound: a port 0 is filled in */
    struct loop_timer retry;
    dev_t file_dev; /* the Unix socket's file, so that a successor's is not removed */
    ino_t file_ino;
};
/* Binds a listening socket, not yet on any loop. reuse_port lets every worker bind its own. A Unix
 * socket's dead leftover is replaced; a living one is FR_ERR_ADDRESS_IN_USE. */
FR_MUST_USE enum fr_err loop_bind(const struct loop_addr *addr, bool reuse_port, int *out_fd,
                                  int *out_errno);
/* Whether nobody listens there, another process of ours with SO_REUSEPORT included, which
 * loop_bind(reuse_port) would silently share the connections with. A Unix socket always passes:
 * loop_bind looks for itself. */
FR_MUST_USE enum fr_err loop_bind_probe(const struct loop_addr *addr, int *out_errno);
/* Starts accepting on a bound descriptor, which the listener then owns. */
FR_MUST_USE enum fr_err loop_listen(struct loop_listener *listener, struct loop *loop, int fd,
                                    loop_accept_fn fn, void *ctx);
void loop_listener_on_starved(struct loop_listener *listener, loop_starved_fn fn); /* same ctx */
void loop_listener_pause(struct loop_listener *listener, bool paused);
/* Connections are told of when they have sent something, or have been silent for us: the kernel
 * keeps them until then, and knows only the times of LOOP_DEFER_US_MAX's comment, so that it is the
 * next longer one, and 0. listener->defer_us says what it became: 0 of a Unix socket and where the
 * kernel does not know how. From a longer time to a shorter one those already kept come within the
 * longer: loop_listener_kept_us is how long from now there may be some. */
#define LOOP_DEFER_US_MAX 15000000LL /* 1, 3, 7, 15 s: when the kernel asks a silent one again */
#define LOOP_DEFER_WHEN_BUSY (-1LL)  /* the shortest time, while connections come by the thousand  \
                                      */
void loop_listener_defer(struct loop_listener *listener, int64_t us);
int64_t loop_listener_kept_us(const struct loop_listener *listener);
void loop_listener_close(struct loop_listener *listener); /* a Unix socket's file is removed */

/* ---- timers, tasks, messages, signals, processes ------------------------------------------ */

/* Starts or restarts; the delay counts from loop_now_us. Cost: constant, no system call. */
void loop_timer_start(struct loop *loop, struct loop_timer *timer, int64_t delay_us, loop_fn fn,
                      void *ctx);
void loop_timer_stop(struct loop_timer *timer); /* allowed when not running */
bool loop_timer_running(const struct loop_timer *timer);

/* Runs once at the end of this turn: to do once what many callbacks of a turn ask for. */
struct loop_task {
    struct fr_list link; /* zero-initialise */
    loop_fn fn;
    void *ctx;
    bool queued;
};
void loop_defer(struct loop *loop, struct loop_task *task, loop_fn fn, void *ctx);
void loop_defer_cancel(struct loop_task *task);

/* Hands a message to another loop's thread, which runs fn(ctx) and owns it from then on. From any
 * thread; messages of one sender arrive in order. Posting to a stopped loop is allowed: it is run
 * by loop_drain_posts. */
struct loop_msg {
    struct loop_msg *next;
    loop_fn fn;
    void *ctx;
};
void loop_post(struct loop *loop, struct loop_msg *msg, loop_fn fn, void *ctx);
void loop_drain_posts(struct loop *loop); /* after loop_run ended, on the joining thread */

/* Signals of the process, taken by one loop: blocks the signal in this thread (call it before other
 * threads start, so that they inherit the mask). */
typedef void (*loop_signal_fn)(void *ctx, int signal_number);
FR_MUST_USE enum fr_err loop_signal(struct loop *loop, int signal_number, loop_signal_fn fn,
                                    void *ctx);

/* Ends of a process, child or not (pidfd). A child is reaped: exit_code is its exit status and
 * exit_signal 0, or exit_code is -1 and exit_signal what killed it. Of others nothing can be known:
 * both are -1. The storage may be reused from the callback on. */
typedef void (*loop_exit_fn)(void *ctx, pid_t pid, int exit_code, int exit_signal);
struct loop_process {
    struct loop *loop;
    pid_t pid;
    int pidfd;
    loop_exit_fn fn;
    void *ctx;
};
/* FR_ERR_NOT_FOUND when there is no such process. */
FR_MUST_USE enum fr_err loop_process_watch(struct loop *loop, struct loop_process *process,
                                           pid_t pid, loop_exit_fn fn, void *ctx);
void loop_process_unwatch(struct loop_process *process);

/* Changes of one file, as inotify sees them: fn runs after it was written, replaced or removed, or
 * its folder went away. The file need not exist, its folder must (FR_ERR_NOT_FOUND). */
struct loop_watch {
    struct loop *loop;
    int wd;
    char name[256];
    bool changed;
    loop_fn fn;
    void *ctx;
    struct fr_list link;
};
FR_MUST_USE enum fr_err loop_file_watch(struct loop *loop, struct loop_watch *watch,
                                        const char *path, loop_fn fn, void *ctx);
void loop_file_unwatch(struct loop_watch *watch);

#endif
