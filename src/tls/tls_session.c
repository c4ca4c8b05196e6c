/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_session.c - one connection's TLS, as the filter between a socket and the kernel.
 *
 * OpenSSL reads and writes through a BIO of ours, which knows when the kernel had no more: without
 * it every request would cost one recv that says EAGAIN.
 *
 * Threads:    the socket's loop.
 * Memory:     freed in close, which the loop calls once.
 * Cost:       a request and its answer: one recv, one send, as without TLS.
 */
#include "base/fr_put.h"
#include "tls/tls_pem.h"
#include "tls/tls_priv.h"

#include <errno.h>
#include <openssl/bio.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define RECORD_BYTES SSL3_RT_MAX_PLAIN_LENGTH
#define HANDSHAKE_TURN_US 1000

static struct tls_session *
session_of(struct loop_filter *filter)
{
    struct tls_session *session = FR_CONTAINER(filter, struct tls_session, filter);
    fr_insist(session->magic == TLS_SESSION_MAGIC);
    return session;
}

/* ---- the kernel's side -------------------------------------------------------------------- */

static size_t
take_early(struct tls_session *session, char *data, size_t cap)
{
    size_t bytes = session->early.len - session->early_read;
    if (bytes > cap)
        bytes = cap;
    memcpy(data, session->early.data + session->early_read, bytes);
    session->early_read += bytes;
    if (session->early_read == session->early.len)
        fr_buf_fini(&session->early);
    return bytes;
}

static int
bio_read(BIO *bio, char *data, size_t cap, size_t *out_got)
{
    struct tls_session *session = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *out_got = 0;
    if (session->early.len > 0) {
        *out_got = take_early(session, data, cap);
        return 1;
    }
    if (session->drained) {
        BIO_set_retry_read(bio);
        return 0;
    }
    ssize_t got;
    do
        got = recv(session->fd, data, cap, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got > 0) {
        session->drained = (size_t)got < cap;
        *out_got = (size_t)got;
        return 1;
    }
    if (got < 0 && errno == EAGAIN)
        BIO_set_retry_read(bio);
    else if (got == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return 0;
}

/* Whether more is sent at once behind what is sent now, so that the kernel makes one segment of it:
 * behind a ticket the first answer, mostly, and behind our last word the end of the connection.
 * What does not follow within 200 ms is not waited for. */
static bool
more_follows(const struct tls_session *session)
{
    return session->more || SSL_get_state(session->ssl) == TLS_ST_SW_SESSION_TICKET;
}

static int
bio_write(BIO *bio, const char *data, size_t bytes, size_t *out_sent)
{
    struct tls_session *session = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t sent;
    do
        sent = send(session->fd, data, bytes,
                    MSG_DONTWAIT | MSG_NOSIGNAL | (more_follows(session) ? MSG_MORE : 0));
    while (sent < 0 && errno == EINTR);
    *out_sent = sent > 0 ? (size_t)sent : 0;
    /* For OpenSSL every failure is one to try again: after any other it would not read either, and
     * what the other side sent before it closed tells why it did. */
    if (sent < 0)
        BIO_set_retry_write(bio);
    if (sent < 0 && errno != EAGAIN)
        session->send_error = errno;
    return sent > 0;
}

static long
bio_ctrl(BIO *bio, int command, long number, void *ptr)
{
    (void)number, (void)ptr;
    if (command == BIO_CTRL_FLUSH)
        return 1;
    if (command == BIO_CTRL_EOF)
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return 0;
}

static pthread_once_t bio_once = PTHREAD_ONCE_INIT;
static BIO_METHOD *bio_method; /* made once, then constant; the process's end frees it */

static void
make_bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "freshet");
    if (method && BIO_meth_set_read_ex(method, bio_read) &&
        BIO_meth_set_write_ex(method, bio_write) && BIO_meth_set_ctrl(method, bio_ctrl))
        bio_method = method;
    else
        BIO_meth_free(method);
}

/* ---- the handshake's end ------------------------------------------------------------------ */

static void
handshake_over(struct tls_session *session, enum tls_outcome outcome, const char *words)
{
    session->over = true;
    if (session->fn)
        session->fn(session->ctx, outcome, words);
}

static void
notice_handshake(struct tls_session *session)
{
    if (!session->over && SSL_is_init_finished(session->ssl))
        handshake_over(session, SSL_session_reused(session->ssl) ? TLS_RESUMED : TLS_DONE, "");
}

/* Turns what OpenSSL says into what the system would: returns -1 with errno, or 0 at the proper
 * end. */
static ssize_t
outcome_of(struct tls_session *session, int returned)
{
    int error = SSL_get_error(session->ssl, returned);
    if (error == SSL_ERROR_WANT_WRITE && session->send_error) {
        session->failed = true;
        if (!session->over)
            handshake_over(session, TLS_FAILED, strerrordesc_np(session->send_error));
        errno = session->send_error;
        return -1;
    }
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        errno = EAGAIN;
        return -1;
    }
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    session->failed = true;
    const char *words = tls__why();
    if (!session->why[0])
        (void)snprintf(session->why, sizeof(session->why), "%s", words);
    if (!session->over) {
        const char *verify =
            SSL_get_verify_result(session->ssl) == X509_V_OK
                ? NULL
                : X509_verify_cert_error_string(SSL_get_verify_result(session->ssl));
        if (session->resume)
            tls_resume_clear(session->resume); /* it may be the session that they stumble over */
        if (verify)
            (void)snprintf(session->why, sizeof(session->why), "%s", verify);
        handshake_over(session, TLS_FAILED, verify ? verify : words);
    }
    /* A connection that ends without a close_notify may have been cut by anybody. */
    errno = error == SSL_ERROR_SYSCALL ? ECONNRESET : EPROTO;
    return -1;
}

/* ---- the loop's side ---------------------------------------------------------------------- */

/* A signature of RSA-4096 takes milliseconds, and a hundred clients may come in one turn: once a
 * turn has lasted this long, handshakes wait for the next, and requests in between are served. At
 * least one is done in every turn, as those that wait are first in it. */
static bool
must_rest(const struct tls_session *session)
{
    return loop_clock_us(session->loop) - loop_now_us(session->loop) > HANDSHAKE_TURN_US;
}

static ssize_t
filter_recv(struct loop_filter *filter, char *data, size_t cap)
{
    struct tls_session *session = session_of(filter);
    size_t filled = 0;
    filter->again = filter->later = session->drained = false;
    if (!session->over && must_rest(session)) {
        filter->later = true;
        errno = EAGAIN;
        return -1;
    }
    if (session->failed) {
        errno = EPROTO;
        return -1;
    }
    while (filled < cap) {
        size_t got = 0;
        ERR_clear_error();
        int returned = SSL_read_ex(session->ssl, data + filled, cap - filled, &got);
        notice_handshake(session);
        if (returned == 1) {
            filled += got;
            continue;
        }
        bool wants = SSL_get_error(session->ssl, returned) == SSL_ERROR_WANT_READ;
        if (filled == 0 && !(wants && session->drained))
            return outcome_of(session, returned);
        filter->again = !wants;
        if (filled > 0)
            break;
        session->drained = false; /* nothing for the caller so far: there may be more */
    }
    return (ssize_t)filled;
}

/* At most a record's worth, in one piece: as many small parts as fit are copied together, so that
 * a head and its body become one record. */
static struct fr_view
gather(char *room, const struct iovec *parts, int count)
{
    size_t filled = 0;
    if (count == 1 || parts[0].iov_len >= RECORD_BYTES)
        return fr_view_make(parts[0].iov_base,
                            parts[0].iov_len < RECORD_BYTES ? parts[0].iov_len : RECORD_BYTES);
    for (int i = 0; i < count && filled < RECORD_BYTES; i++) {
        size_t bytes = parts[i].iov_len;
        if (bytes > RECORD_BYTES - filled)
            bytes = RECORD_BYTES - filled;
        memcpy(room + filled, parts[i].iov_base, bytes);
        filled += bytes;
    }
    return fr_view_make(room, filled);
}

static size_t
bytes_of(const struct iovec *parts, int count)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += parts[i].iov_len;
    return bytes;
}

static ssize_t
filter_send(struct loop_filter *filter, const struct iovec *parts, int count, bool more)
{
    struct tls_session *session = session_of(filter);
    char room[RECORD_BYTES];
    size_t sent = 0;
    if (session->failed || session->send_error) {
        errno = EPIPE;
        return -1;
    }
    struct fr_view data = gather(room, parts, count);
    session->drained = false;
    /* One record a call, or OpenSSL would send the last as if something followed. What the record
     * leaves is sent at once. */
    session->more = more || bytes_of(parts, count) > data.len;
    ERR_clear_error();
    int returned = SSL_write_ex(session->ssl, data.ptr, data.len, &sent);
    session->more = false;
    notice_handshake(session);
    if (returned == 1)
        return (ssize_t)sent;
    if (session->over && session->send_error) {
        errno = session->send_error;
        return -1;
    }
    ssize_t outcome = outcome_of(session, returned);
    if (outcome == 0) { /* the other side's end is no end of ours, but nothing can be sent */
        errno = EPIPE;
        outcome = -1;
    }
    return outcome;
}

static enum loop_waiting
filter_waiting(struct loop_filter *filter)
{
    struct tls_session *session = session_of(filter);
    char byte;
    size_t got = 0;
    if (session->failed)
        return LOOP_WAITING_END;
    if (!session->over) { /* nothing of the handshake is done here */
        ssize_t raw = recv(session->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (raw > 0)
            return LOOP_WAITING_BYTES;
        return raw < 0 && errno == EAGAIN ? LOOP_WAITING_NOTHING : LOOP_WAITING_END;
    }
    session->drained = false;
    ERR_clear_error();
    int returned = SSL_peek_ex(session->ssl, &byte, 1, &got);
    if (returned == 1)
        return LOOP_WAITING_BYTES;
    if (outcome_of(session, returned) == 0 || errno != EAGAIN)
        return LOOP_WAITING_END;
    /* A record that has come in part may be of any kind. */
    return SSL_has_pending(session->ssl) ? LOOP_WAITING_BYTES : LOOP_WAITING_NOTHING;
}

static void
filter_shutdown(struct loop_filter *filter)
{
    struct tls_session *session = session_of(filter);
    ERR_clear_error();
    session->more = true; /* the kernel's own end */
    if (session->over && !session->failed && !session->send_error)
        (void)SSL_shutdown(session->ssl); /* what the kernel does not take now is let go */
    ERR_clear_error();
}

static void
filter_close(struct loop_filter *filter, bool reset)
{
    struct tls_session *session = session_of(filter);
    if (reset)
        SSL_set_quiet_shutdown(session->ssl, 1);
    else
        filter_shutdown(filter);
    session->magic = 0;
    SSL_free(session->ssl);
    fr_buf_fini(&session->early);
    tls_server_unref(&session->server);
    tls_client_unref(&session->client);
    fr_free(session);
}

struct tls_session *
tls__session_new(SSL_CTX *ctx, const struct loop_sock *sock, tls_handshake_fn fn, void *fn_ctx)
{
    (void)pthread_once(&bio_once, make_bio_method);
    struct tls_session *session = fr_alloc(sizeof(*session));
    BIO *bio = bio_method ? BIO_new(bio_method) : NULL;
    SSL *ssl = SSL_new(ctx);
    if (!session || !bio || !ssl) {
        ERR_clear_error();
        SSL_free(ssl);
        BIO_free(bio);
        fr_free(session);
        return NULL;
    }
    session->filter = (struct loop_filter){.recv = filter_recv,
                                           .send = filter_send,
                                           .waiting = filter_waiting,
                                           .shutdown = filter_shutdown,
                                           .close = filter_close};
    session->magic = TLS_SESSION_MAGIC;
    fr_buf_init(&session->early, TLS_EARLY_BYTES_MAX);
    session->ssl = ssl;
    session->loop = sock->loop;
    session->fd = sock->fd;
    session->fn = fn;
    session->ctx = fn_ctx;
    BIO_set_data(bio, session);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    (void)SSL_set_app_data(ssl, session);
    return session;
}

/* ---- what it became ----------------------------------------------------------------------- */

bool
tls_session_ready(const struct tls_session *session)
{
    return session->over && SSL_is_init_finished(session->ssl);
}

const char *
tls_session_version(const struct tls_session *session)
{
    return SSL_get_version(session->ssl);
}

struct fr_view
tls_session_protocol(const struct tls_session *session)
{
    const unsigned char *name = NULL;
    unsigned int len = 0;
    SSL_get0_alpn_selected(session->ssl, &name, &len);
    return fr_view_make((const char *)name, len);
}

struct fr_view
tls_session_name(const struct tls_session *session)
{
    return fr_view_of(SSL_get_servername(session->ssl, TLSEXT_NAMETYPE_host_name));
}

static bool
print_subject(const X509 *certificate, char *out, size_t bytes)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL;
    bool ok = false;
    if (bio &&
        X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0) {
        long len = BIO_get_mem_data(bio, &data);
        ok = len >= 0 && fr_view_copy(fr_view_make(data, (size_t)len), out, bytes);
    }
    BIO_free(bio);
    return ok;
}

bool
tls_session_peer(const struct tls_session *session, char *subject, size_t subject_bytes,
                 char fingerprint[TLS_FINGERPRINT_BYTES])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    X509 *peer = SSL_get0_peer_certificate(session->ssl);
    if (!peer || SSL_get_verify_result(session->ssl) != X509_V_OK ||
        X509_digest(peer, EVP_sha256(), digest, &len) != 1 || len != 32)
        return false;
    *fr_put_hex(fingerprint, digest, len) = '\0';
    return print_subject(peer, subject, subject_bytes);
}

const char *
tls_session_why(const struct tls_session *session)
{
    return session->why;
}

static bool
print_names(const struct tls_session *session, unsigned kinds, char *out, size_t out_bytes)
{
    const X509 *peer = SSL_get0_peer_certificate(session->ssl);
    out[0] = '\0';
    return peer && SSL_get_verify_result(session->ssl) == X509_V_OK &&
           tls_pem_names(peer, kinds, out, out_bytes);
}

bool
tls_session_peer_names(const struct tls_session *session, char *out, size_t out_bytes)
{
    return print_names(session, TLS_PEM_NAMES, out, out_bytes);
}

bool
tls_session_peer_serial(const struct tls_session *session, char out[TLS_SERIAL_BYTES])
{
    const X509 *peer = SSL_get0_peer_certificate(session->ssl);
    out[0] = '\0';
    if (peer && SSL_get_verify_result(session->ssl) == X509_V_OK)
        tls_pem_serial(X509_get0_serialNumber(peer), out, TLS_SERIAL_BYTES);
    return out[0] != '\0';
}

bool
tls_session_peer_addresses(const struct tls_session *session, char *out, size_t out_bytes)
{
    return print_names(session, TLS_PEM_ADDRESSES, out, out_bytes);
}
