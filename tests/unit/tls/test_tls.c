/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tls.c - both ends of TLS on one loop: handshakes, bytes, names, resumption, refusals.
 */
#include "tls/tls.h"

#include "base/fr_mem.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define WATCHDOG_US 20000000LL
#define TWO_RECORDS_BYTES 20000
#define PAYLOAD_BYTES 300000

/* ---- certificates ------------------------------------------------------------------------- */

static char folder[] = "/tmp/test-tls-XXXXXX";

static char *
path_of(const char *name)
{
    return fr_xprintf("%s/%s", folder, name);
}

static void
write_pair(const char *name, const char *host)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    char *alternative = fr_xprintf("DNS:%s", host);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, alternative);
    (void)X509_set_version(certificate, 2);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    (void)X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    (void)X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    (void)X509_set_pubkey(certificate, key);
    X509_NAME *subject = X509_get_subject_name(certificate);
    (void)X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)host, -1,
                                     -1, 0);
    (void)X509_set_issuer_name(certificate, subject);
    (void)X509_add_ext(certificate, names, -1);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    char *file = fr_xprintf("%s/%s.pem", folder, name);
    FILE *out = fopen(file, "w");
    assert_non_null(out);
    assert_int_equal(PEM_write_X509(out, certificate), 1);
    (void)fclose(out);
    fr_free(file);
    file = fr_xprintf("%s/%s.key", folder, name);
    out = fopen(file, "w");
    assert_non_null(out);
    assert_int_equal(PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
    (void)fclose(out);
    fr_free(file);
    X509_EXTENSION_free(names);
    fr_free(alternative);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static int
make_pairs(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    write_pair("one", "one.test");
    write_pair("two", "two.test");
    return 0;
}

static int
remove_pairs(void **state)
{
    static const char *const names[] = {"one.pem", "one.key", "two.pem", "two.key", "bad.pem"};
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = path_of(names[i]);
        (void)unlink(path);
        fr_free(path);
    }
    return rmdir(folder);
}

/* ---- two ends ------------------------------------------------------------------------------ */

struct end {
    struct loop_sock sock;
    struct tls_session *session;
    int outcomes;
    enum tls_outcome outcome;
    char words[128];
    char *received; /* PAYLOAD_BYTES */
    size_t received_bytes;
    int last; /* status of the receive that brought no bytes; 1: none yet */
    bool closed;
};

struct pair {
    struct loop *loop;
    struct loop_timer watchdog;
    struct end client, server;
    char *payload;
};

static void
on_watchdog(void *ctx)
{
    (void)ctx;
    fail_msg("the loop waited in vain");
}

static void
on_handshake(void *ctx, enum tls_outcome outcome, const char *words)
{
    struct end *end = ctx;
    end->outcomes++;
    end->outcome = outcome;
    (void)snprintf(end->words, sizeof(end->words), "%s", words);
}

static void
maybe_stop(struct end *end)
{
    /* Both ends live in one pair; it is over when neither waits for anything. */
    struct loop *loop = end->sock.loop;
    end->closed = true;
    loop_stop(loop);
}

static void
on_recv(void *ctx, struct loop_buf *buf, int status)
{
    struct end *end = ctx;
    if (status <= 0) {
        end->last = status;
        maybe_stop(end);
        return;
    }
    size_t room = PAYLOAD_BYTES - end->received_bytes;
    assert_true((size_t)status <= room);
    memcpy(end->received + end->received_bytes, buf->data, (size_t)status);
    end->received_bytes += (size_t)status;
    loop_buf_give_back(buf);
    if (end->received_bytes == PAYLOAD_BYTES)
        loop_stop(end->sock.loop);
    else
        loop_recv(&end->sock, on_recv, end);
}

static void
on_sent(void *ctx, int status)
{
    (void)ctx;
    (void)status;
}

static void
pair_open_over(struct pair *pair, const int fds[2])
{
    memset(pair, 0, sizeof(*pair));
    assert_int_equal(loop_new(NULL, &pair->loop), FR_OK);
    loop_timer_start(pair->loop, &pair->watchdog, WATCHDOG_US, on_watchdog, NULL);
    loop_sock_open(&pair->client.sock, pair->loop, fds[0]);
    loop_sock_open(&pair->server.sock, pair->loop, fds[1]);
    pair->client.last = pair->server.last = 1;
    pair->client.received = fr_xalloc(PAYLOAD_BYTES);
    pair->server.received = fr_xalloc(PAYLOAD_BYTES);
    pair->payload = fr_xalloc(PAYLOAD_BYTES);
    for (size_t i = 0; i < PAYLOAD_BYTES; i++)
        pair->payload[i] = (char)(i * 7 + i / 251);
}

static void
pair_open(struct pair *pair)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    pair_open_over(pair, fds);
}

static void
pair_open_tcp(struct pair *pair)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(address);
    int one = 1, fds[2], listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&address, bytes), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &bytes), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[0], (struct sockaddr *)&address, bytes), 0);
    fds[1] = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    (void)close(listening);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fcntl(fds[i], F_SETFL, O_NONBLOCK), 0);
        assert_int_equal(setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
    }
    pair_open_over(pair, fds);
}

static void
pair_close(struct pair *pair)
{
    loop_close(&pair->client.sock, NULL, NULL);
    loop_close(&pair->server.sock, NULL, NULL);
    loop_timer_stop(&pair->watchdog);
    loop_free(&pair->loop);
    fr_free(pair->client.received);
    fr_free(pair->server.received);
    fr_free(pair->payload);
}

static void
pair_secure(struct pair *pair, struct tls_server *server, struct tls_client *client,
            const char *host, struct tls_resume *resume)
{
    assert_int_equal(tls_accept(server, &pair->server.sock, fr_view_of(""), on_handshake,
                                &pair->server, &pair->server.session),
                     FR_OK);
    assert_int_equal(tls_connect(client, &pair->client.sock, host, resume, on_handshake,
                                 &pair->client, &pair->client.session),
                     FR_OK);
}

/* The client sends everything, in parts of odd sizes; the server receives. */
static void
send_up(struct pair *pair)
{
    struct iovec parts[3] = {{pair->payload, 1},
                             {pair->payload + 1, 17000},
                             {pair->payload + 17001, PAYLOAD_BYTES - 17001}};
    loop_recv(&pair->server.sock, on_recv, &pair->server);
    loop_send(&pair->client.sock, parts, 3, on_sent, pair);
    assert_int_equal(loop_run(pair->loop), FR_OK);
}

static void
send_down(struct pair *pair)
{
    struct iovec part = {pair->payload, PAYLOAD_BYTES};
    if (!loop_recv_pending(&pair->client.sock))
        loop_recv(&pair->client.sock, on_recv, &pair->client);
    loop_send(&pair->server.sock, &part, 1, on_sent, pair);
    assert_int_equal(loop_run(pair->loop), FR_OK);
}

static struct tls_server *
server_of(const char *name, struct tls_tickets *tickets)
{
    struct tls_server *server = NULL;
    char *why = NULL;
    char *certificate = fr_xprintf("%s/%s.pem", folder, name);
    char *key = fr_xprintf("%s/%s.key", folder, name);
    const struct tls_pair pair = {.certificate = certificate, .key = key};
    const struct tls_server_options options = {.pairs = &pair, .pair_count = 1, .tickets = tickets};
    assert_int_equal(tls_server_new(&options, &server, &why), FR_OK);
    fr_free(certificate);
    fr_free(key);
    return server;
}

static struct tls_client *
client_of(const char *authority, const char *name)
{
    struct tls_client *client = NULL;
    char *why = NULL;
    char *ca = authority ? fr_xprintf("%s/%s.pem", folder, authority) : NULL;
    const struct tls_client_options options = {.verify = authority != NULL, .ca = ca, .name = name};
    assert_int_equal(tls_client_new(&options, &client, &why), FR_OK);
    fr_free(ca);
    return client;
}

/* ---- what goes out -------------------------------------------------------------------------- */

static struct {
    int fd; /* whose sends are counted */
    int sends, more, last_flags;
} counted;

/* In place of libc's. */
ssize_t
send(int fd, const void *data, size_t bytes, int flags)
{
    if (fd == counted.fd) {
        counted.sends++;
        counted.more += (flags & MSG_MORE) != 0;
        counted.last_flags = flags;
    }
    return sendto(fd, data, bytes, flags, NULL, 0);
}

/* ---- tests --------------------------------------------------------------------------------- */

static void
test_bytes_both_ways(void **state)
{
    struct pair pair;
    (void)state;
    struct tls_server *server = server_of("one", NULL);
    struct tls_client *client = client_of("one", NULL);
    pair_open(&pair);
    pair_secure(&pair, server, client, "one.test", NULL);
    tls_server_unref(&server); /* the session holds its own */
    tls_client_unref(&client);
    send_up(&pair);
    assert_int_equal(pair.server.received_bytes, PAYLOAD_BYTES);
    assert_memory_equal(pair.server.received, pair.payload, PAYLOAD_BYTES);
    send_down(&pair);
    assert_int_equal(pair.client.received_bytes, PAYLOAD_BYTES);
    assert_memory_equal(pair.client.received, pair.payload, PAYLOAD_BYTES);
    assert_int_equal(pair.client.outcomes, 1);
    assert_int_equal(pair.server.outcomes, 1);
    assert_int_equal(pair.server.outcome, TLS_DONE);
    assert_true(tls_session_ready(pair.server.session));
    assert_string_equal(tls_session_version(pair.server.session), "TLSv1.3");
    assert_true(fr_view_is(tls_session_protocol(pair.server.session), "http/1.1"));
    assert_true(fr_view_is(tls_session_name(pair.server.session), "one.test"));
    pair_close(&pair);
}

/* A ticket goes out with the first answer, the last word with the connection's end. */
static void
test_segments_are_shared(void **state)
{
    struct pair pair;
    struct tls_tickets *tickets = tls_tickets_new();
    struct tls_server *server = server_of("one", tickets);
    struct tls_client *client = client_of(NULL, NULL);
    (void)state;
    pair_open(&pair);
    pair_secure(&pair, server, client, "one.test", NULL);
    counted.fd = pair.server.sock.fd;
    counted.sends = counted.more = 0;
    send_up(&pair);
    assert_int_equal(counted.sends, 2); /* the handshake's, and the ticket */
    assert_int_equal(counted.more, 1);
    assert_true(counted.last_flags & MSG_MORE);
    send_down(&pair); /* in several records: behind the last nothing follows */
    assert_false(counted.last_flags & MSG_MORE);
    counted.more = 0;
    pair_close(&pair);
    assert_int_equal(counted.more, 1);
    assert_true(counted.last_flags & MSG_MORE);
    counted.fd = -1;
    tls_server_unref(&server);
    tls_client_unref(&client);
    tls_tickets_free(&tickets);
}

static void
test_proper_end_and_reset(void **state)
{
    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        struct pair pair;
        struct tls_server *server = server_of("one", NULL);
        struct tls_client *client = client_of("one", NULL);
        pair_open(&pair);
        pair_secure(&pair, server, client, "one.test", NULL);
        send_up(&pair);
        loop_recv(&pair.client.sock, on_recv, &pair.client);
        if (reset)
            loop_abort(&pair.server.sock, NULL, NULL);
        else
            loop_close(&pair.server.sock, NULL, NULL);
        assert_int_equal(loop_run(pair.loop), FR_OK);
        if (reset)
            assert_true(pair.client.last < 0);
        else
            assert_int_equal(pair.client.last, 0);
        loop_close(&pair.client.sock, NULL, NULL);
        loop_timer_stop(&pair.watchdog);
        loop_free(&pair.loop);
        fr_free(pair.client.received);
        fr_free(pair.server.received);
        fr_free(pair.payload);
        tls_server_unref(&server);
        tls_client_unref(&client);
    }
}

static void
refuses(const char *authority, const char *host, const char *words)
{
    struct pair pair;
    struct tls_server *server = server_of("one", NULL);
    struct tls_client *client = client_of(authority, NULL);
    pair_open(&pair);
    pair_secure(&pair, server, client, host, NULL);
    send_up(&pair);
    assert_int_equal(pair.server.received_bytes, 0);
    assert_int_equal(pair.client.outcomes, 1);
    assert_int_equal(pair.client.outcome, TLS_FAILED);
    assert_non_null(strstr(pair.client.words, words));
    pair_close(&pair);
    tls_server_unref(&server);
    tls_client_unref(&client);
}

static void
test_members_are_verified(void **state)
{
    (void)state;
    refuses("one", "two.test", "hostname mismatch");
    refuses("one", "127.0.0.1", "IP address mismatch");
    refuses("two", "one.test", "self-signed certificate");
}

static void
test_verification_can_be_off(void **state)
{
    struct pair pair;
    (void)state;
    struct tls_server *server = server_of("one", NULL);
    struct tls_client *client = client_of(NULL, NULL);
    pair_open(&pair);
    pair_secure(&pair, server, client, "whatever.test", NULL);
    send_up(&pair);
    assert_int_equal(pair.server.received_bytes, PAYLOAD_BYTES);
    pair_close(&pair);
    tls_server_unref(&server);
    tls_client_unref(&client);
}

/* What is verified is the name that the settings give, whatever the member's address. */
static void
test_name_of_the_settings(void **state)
{
    struct pair pair;
    (void)state;
    struct tls_server *server = server_of("one", NULL);
    struct tls_client *client = client_of("one", "one.test");
    pair_open(&pair);
    pair_secure(&pair, server, client, "127.0.0.1", NULL);
    send_up(&pair);
    assert_int_equal(pair.server.received_bytes, PAYLOAD_BYTES);
    assert_true(fr_view_is(tls_session_name(pair.server.session), "one.test"));
    pair_close(&pair);
    tls_server_unref(&server);
    tls_client_unref(&client);
}

static enum tls_outcome
connect_once(struct tls_server *server, struct tls_client *client, struct tls_resume *resume)
{
    struct pair pair;
    pair_open(&pair);
    pair_secure(&pair, server, client, "one.test", resume);
    send_up(&pair);
    send_down(&pair); /* brings the ticket */
    enum tls_outcome outcome = pair.server.outcome;
    assert_int_equal(pair.client.outcome, outcome);
    pair_close(&pair);
    return outcome;
}

static void
test_resumption_until_the_key_is_gone(void **state)
{
    (void)state;
    struct tls_tickets *tickets = tls_tickets_new();
    struct tls_server *server = server_of("one", tickets);
    struct tls_server *again = server_of("one", tickets); /* as after a replacement */
    struct tls_client *client = client_of("one", NULL);
    struct tls_resume resume = {0};
    assert_int_equal(connect_once(server, client, &resume), TLS_DONE);
    assert_int_equal(connect_once(server, client, &resume), TLS_RESUMED);
    assert_int_equal(connect_once(again, client, &resume), TLS_RESUMED);
    tls_tickets_rotate(tickets);
    assert_int_equal(connect_once(server, client, &resume), TLS_RESUMED); /* the key before */
    tls_tickets_rotate(tickets);
    tls_tickets_rotate(tickets);
    assert_int_equal(connect_once(server, client, &resume), TLS_DONE);
    tls_resume_clear(&resume);
    tls_client_unref(&client);
    tls_server_unref(&server);
    tls_server_unref(&again);
    tls_tickets_free(&tickets);
}

struct send_later {
    struct pair *pair;
    struct iovec part;
};

static void
send_rest(void *ctx, int status)
{
    struct send_later *rest = ctx;
    assert_int_equal(status, 0);
    loop_send(&rest->pair->server.sock, &rest->part, 1, on_sent, rest->pair);
}

/* What one client found good enough is no session for another, which may ask more. */
static void
test_sessions_are_resumed_by_who_made_them(void **state)
{
    (void)state;
    struct tls_tickets *tickets = tls_tickets_new();
    struct tls_server *server = server_of("one", tickets);
    struct tls_client *lax = client_of(NULL, NULL), *strict = client_of("one", NULL);
    struct tls_resume resume = {0};
    assert_int_equal(connect_once(server, lax, &resume), TLS_DONE);
    assert_int_equal(connect_once(server, strict, &resume), TLS_DONE);
    assert_int_equal(connect_once(server, strict, &resume), TLS_RESUMED);
    assert_int_equal(connect_once(server, lax, &resume), TLS_DONE);
    tls_resume_clear(&resume);
    tls_client_unref(&lax);
    tls_client_unref(&strict);
    tls_server_unref(&server);
    tls_tickets_free(&tickets);
}

/* Tickets wait for nobody; a byte of the other side's does, and stays to be received. */
static void
test_what_waits_is_for_the_owner(void **state)
{
    struct pair pair;
    char byte;
    (void)state;
    struct tls_server *server = server_of("one", NULL);
    struct tls_client *client = client_of("one", NULL);
    pair_open(&pair);
    pair_secure(&pair, server, client, "one.test", NULL);
    send_up(&pair);
    assert_int_equal(recv(pair.client.sock.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT), 1);
    assert_int_equal(loop_sock_waiting(&pair.client.sock), LOOP_WAITING_NOTHING);
    assert_int_equal(recv(pair.client.sock.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT), -1);
    struct iovec first = {pair.payload, 1};
    struct send_later rest = {&pair, {pair.payload + 1, PAYLOAD_BYTES - 1}};
    loop_send(&pair.server.sock, &first, 1, send_rest, &rest);
    assert_int_equal(loop_sock_waiting(&pair.client.sock), LOOP_WAITING_BYTES);
    assert_int_equal(loop_sock_waiting(&pair.client.sock), LOOP_WAITING_BYTES);
    loop_recv(&pair.client.sock, on_recv, &pair.client);
    assert_int_equal(loop_run(pair.loop), FR_OK);
    assert_memory_equal(pair.client.received, pair.payload, PAYLOAD_BYTES);
    loop_close(&pair.server.sock, NULL, NULL);
    assert_int_equal(loop_sock_waiting(&pair.client.sock), LOOP_WAITING_END);
    loop_close(&pair.client.sock, NULL, NULL);
    loop_timer_stop(&pair.watchdog);
    loop_free(&pair.loop);
    fr_free(pair.client.received);
    fr_free(pair.server.received);
    fr_free(pair.payload);
    tls_server_unref(&server);
    tls_client_unref(&client);
}

static struct tcp_info
tcp_of(const struct loop_sock *sock)
{
    struct tcp_info info = {0};
    socklen_t bytes = sizeof(info);
    assert_int_equal(getsockopt(sock->fd, IPPROTO_TCP, TCP_INFO, &info, &bytes), 0);
    return info;
}

/* The kernel sends what two records hold in one go: only the last of them is pushed. */
static void
test_records_of_one_send_go_together(void **state)
{
    struct pair pair;
    (void)state;
    struct tls_server *server = server_of("one", NULL);
    struct tls_client *client = client_of("one", NULL);
    pair_open_tcp(&pair);
    pair_secure(&pair, server, client, "one.test", NULL);
    send_up(&pair);
    struct tcp_info before = tcp_of(&pair.server.sock);
    assert_true(before.tcpi_snd_mss > TWO_RECORDS_BYTES + 100); /* as 127.0.0.1 has it */
    struct iovec part = {pair.payload, TWO_RECORDS_BYTES};
    loop_send(&pair.server.sock, &part, 1, on_sent, &pair);
    assert_int_equal(tcp_of(&pair.server.sock).tcpi_data_segs_out, before.tcpi_data_segs_out + 1);
    pair_close(&pair);
    tls_server_unref(&server);
    tls_client_unref(&client);
}

static void
bad(const char *certificate, const char *key, enum fr_err expected, const char *words)
{
    struct tls_server *server = NULL;
    char *why = NULL;
    char *certificate_path = path_of(certificate), *key_path = path_of(key);
    const struct tls_pair pair = {.certificate = certificate_path, .key = key_path};
    const struct tls_server_options options = {.pairs = &pair, .pair_count = 1};
    assert_int_equal(tls_server_new(&options, &server, &why), expected);
    assert_null(server);
    assert_non_null(strstr(why, words));
    fr_free(why);
    fr_free(certificate_path);
    fr_free(key_path);
}

static void
test_bad_files(void **state)
{
    (void)state;
    char *path = path_of("bad.pem");
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    (void)fputs("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", out);
    (void)fclose(out);
    fr_free(path);
    bad("none.pem", "one.key", FR_ERR_NOT_FOUND, "none.pem: No such file");
    bad("one.pem", "none.key", FR_ERR_NOT_FOUND, "none.key: No such file");
    bad("one.pem", "two.key", FR_ERR_CONFIG, "is not that of the certificate");
    bad("one.key", "one.key", FR_ERR_CONFIG, "no certificate in");
    bad("bad.pem", "one.key", FR_ERR_CONFIG, "no certificate in");
    bad("one.pem", "one.pem", FR_ERR_CONFIG, "no key without a pass phrase in");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_both_ways),
        cmocka_unit_test(test_segments_are_shared),
        cmocka_unit_test(test_proper_end_and_reset),
        cmocka_unit_test(test_members_are_verified),
        cmocka_unit_test(test_verification_can_be_off),
        cmocka_unit_test(test_name_of_the_settings),
        cmocka_unit_test(test_resumption_until_the_key_is_gone),
        cmocka_unit_test(test_sessions_are_resumed_by_who_made_them),
        cmocka_unit_test(test_what_waits_is_for_the_owner),
        cmocka_unit_test(test_records_of_one_send_go_together),
        cmocka_unit_test(test_bad_files),
    };
    return cmocka_run_group_tests(tests, make_pairs, remove_pairs);
}
