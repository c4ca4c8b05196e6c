/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tls_control.c - the control stream's TLS: whom each end takes, what it asks for, and what
 * happens when the files change under it.
 */
#include "pki/pki.h"
#include "tls/tls_priv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define WATCHDOG_US 20000000LL
#define DAY_S 86400

/* ---- two authorities in two folders --------------------------------------------------------- */

struct bed {
    char folder[64], strangers[64];
    struct loop *loop;
    struct loop_timer watchdog;
    int changed;
};

static struct bed *the_bed; /* of the test under way; what its helpers make files in */

static const char *
path(const char *folder, const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *out = paths[next++ % 8];
    (void)snprintf(out, sizeof(paths[0]), "%s/%s", folder, name);
    return out;
}

static void
issue(const char *folder, const char *name, const char *also, int64_t at_s)
{
    struct pki *pki = NULL;
    char *why = NULL;
    const struct pki_terms terms = {
        .name = name, .also = &also, .also_count = also ? 1 : 0, .days = 30};
    assert_int_equal(pki_open(folder, &pki, &why), FR_OK);
    assert_int_equal(pki_issue(pki, &terms, at_s, &why), FR_OK);
    pki_close(&pki);
}

static void
on_watchdog(void *ctx)
{
    (void)ctx;
    fail_msg("the loop waited in vain");
}

static int
bed_open(void **state)
{
    struct bed *bed = fr_xalloc(sizeof(*bed));
    char *why = NULL;
    int64_t now_s = time(NULL);
    (void)snprintf(bed->folder, sizeof(bed->folder), "/tmp/freshet-control-XXXXXX");
    (void)snprintf(bed->strangers, sizeof(bed->strangers), "/tmp/freshet-strangers-XXXXXX");
    assert_non_null(mkdtemp(bed->folder));
    assert_non_null(mkdtemp(bed->strangers));
    assert_int_equal(pki_init(bed->folder, "ours", now_s - 60 * DAY_S, 365, &why), FR_OK);
    assert_int_equal(pki_init(bed->strangers, "theirs", now_s - DAY_S, 365, &why), FR_OK);
    issue(bed->folder, "manager", "manager.test", now_s);
    issue(bed->folder, "edge-1", NULL, now_s);
    issue(bed->folder, "late", NULL, now_s - 40 * DAY_S);
    issue(bed->strangers, "edge-1", NULL, now_s);
    assert_int_equal(loop_new(NULL, &bed->loop), FR_OK);
    loop_timer_start(bed->loop, &bed->watchdog, WATCHDOG_US, on_watchdog, NULL);
    *state = the_bed = bed;
    return 0;
}

static int
bed_close(void **state)
{
    struct bed *bed = *state;
    char command[256];
    loop_timer_stop(&bed->watchdog);
    loop_free(&bed->loop);
    (void)snprintf(command, sizeof(command), "rm -r %s %s", bed->folder, bed->strangers);
    assert_int_equal(system(command), 0);
    fr_free(bed);
    the_bed = NULL;
    return 0;
}

static struct tls_control_options
options_of(const char *folder, const char *name, const char *ca_folder, const char *asks)
{
    char pem[64], key[64];
    (void)snprintf(pem, sizeof(pem), "%s.pem", name);
    (void)snprintf(key, sizeof(key), "%s.key", name);
    return (struct tls_control_options){
        .certificate = path(folder, pem),
        .key = path(folder, key),
        .ca = ca_folder ? path(ca_folder, "ca.pem") : NULL,
        .name = asks,
    };
}

static void
on_changed(void *ctx)
{
    struct bed *bed = ctx;
    bed->changed++;
}

static void
identity_of(struct bed *bed, struct tls_identity *identity, bool serves,
            struct tls_control_options options)
{
    char *why = NULL;
    memset(identity, 0, sizeof(*identity));
    assert_int_equal(
        tls_identity_init(identity, bed->loop, "test", &options, serves, on_changed, bed, &why),
        FR_OK);
}

/* ---- one connection ------------------------------------------------------------------------- */

struct end {
    struct loop_sock sock;
    struct tls_session *session;
    enum tls_outcome outcome;
    char words[160];
    int left; /* bytes to come */
    struct meeting *meeting;
};

struct meeting { /* what became of it, and of what the server was shown */
    struct end client, server;
    int ended;
    char names[256], version[16];
    bool shown;
};

static void
on_handshake(void *ctx, enum tls_outcome outcome, const char *words)
{
    struct end *end = ctx;
    end->outcome = outcome;
    (void)snprintf(end->words, sizeof(end->words), "%s", words);
}

static void
on_sent(void *ctx, int status)
{
    (void)ctx;
    (void)status; /* the other end's receive tells */
}

static void
on_recv(void *ctx, struct loop_buf *buf, int status)
{
    static char byte = 'y';
    struct end *end = ctx;
    struct meeting *meeting = end->meeting;
    if (status > 0)
        loop_buf_give_back(buf);
    if (status > 0 && end == &meeting->server) {
        struct iovec part = {&byte, 1};
        loop_send(&end->sock, &part, 1, on_sent, end);
    }
    if (++meeting->ended == 2)
        loop_stop(end->sock.loop);
}

static void
on_closed(void *ctx)
{
    struct meeting *meeting = ctx;
    if (++meeting->ended == 2)
        loop_stop(the_bed->loop);
}

static void
meet(struct bed *bed, struct tls_server *server, struct tls_client *client,
     struct tls_resume *resume, struct meeting *meeting)
{
    static char byte = 'x';
    struct iovec part = {&byte, 1};
    int fds[2];
    memset(meeting, 0, sizeof(*meeting));
    meeting->client.meeting = meeting->server.meeting = meeting;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    loop_sock_open(&meeting->client.sock, bed->loop, fds[0]);
    loop_sock_open(&meeting->server.sock, bed->loop, fds[1]);
    assert_int_equal(tls_accept(server, &meeting->server.sock, fr_view_of(""), on_handshake,
                                &meeting->server, &meeting->server.session),
                     FR_OK);
    assert_int_equal(tls_connect(client, &meeting->client.sock, "manager", resume, on_handshake,
                                 &meeting->client, &meeting->client.session),
                     FR_OK);
    loop_recv(&meeting->server.sock, on_recv, &meeting->server);
    loop_recv(&meeting->client.sock, on_recv, &meeting->client);
    loop_send(&meeting->client.sock, &part, 1, on_sent, &meeting->client);
    assert_int_equal(loop_run(bed->loop), FR_OK);
    meeting->shown =
        tls_session_peer_names(meeting->server.session, meeting->names, sizeof(meeting->names));
    (void)snprintf(meeting->version, sizeof(meeting->version), "%s",
                   tls_session_version(meeting->server.session));
    meeting->ended = 0;
    loop_close(&meeting->client.sock, on_closed, meeting);
    loop_close(&meeting->server.sock, on_closed, meeting);
    assert_int_equal(loop_run(bed->loop), FR_OK);
}

/* ---- whom each end takes -------------------------------------------------------------------- */

static void
test_mutual_and_new_each_time(void **state)
{
    struct bed *bed = *state;
    struct tls_identity manager, edge;
    struct meeting meeting;
    struct tls_resume resume = {0};
    identity_of(bed, &manager, true, options_of(bed->folder, "manager", bed->folder, NULL));
    identity_of(bed, &edge, false, options_of(bed->folder, "edge-1", bed->folder, "manager"));
    assert_null(manager.client); /* who serves does not connect */
    for (int i = 0; i < 2; i++) {
        meet(bed, manager.server, edge.client, &resume, &meeting);
        /* Not resumed: whose certificate has ended meanwhile must not come back by a ticket. */
        assert_int_equal(meeting.server.outcome, TLS_DONE);
        assert_int_equal(meeting.client.outcome, TLS_DONE);
        assert_string_equal(meeting.version, "TLSv1.3");
        assert_true(meeting.shown);
        assert_string_equal(meeting.names, "edge-1");
    }
    tls_resume_clear(&resume);
    tls_identity_fini(&manager);
    tls_identity_fini(&edge);
}

/* The client's certificate is asked for, not demanded: admin and join go on without. */
static void
test_without_a_certificate_nobody_is_named(void **state)
{
    struct bed *bed = *state;
    struct tls_identity manager;
    struct meeting meeting;
    struct tls_client *client = NULL;
    char *why = NULL;
    const struct tls_client_options bare = {
        .verify = true, .ca = path(bed->folder, "ca.pem"), .name = "manager"};
    identity_of(bed, &manager, true, options_of(bed->folder, "manager", bed->folder, NULL));
    assert_int_equal(tls_client_new(&bare, &client, &why), FR_OK);
    meet(bed, manager.server, client, NULL, &meeting);
    assert_int_equal(meeting.server.outcome, TLS_DONE);
    assert_false(meeting.shown);
    tls_client_unref(&client);
    /* Nothing older than TLS 1.3, on either side. */
    assert_int_equal(tls_client_new(&bare, &client, &why), FR_OK);
    (void)SSL_CTX_set_max_proto_version(client->ctx, TLS1_2_VERSION);
    meet(bed, manager.server, client, NULL, &meeting);
    assert_int_equal(meeting.server.outcome, TLS_FAILED);
    tls_client_unref(&client);
    tls_identity_fini(&manager);
}

static void
test_certificates_that_are_not_good(void **state)
{
    struct bed *bed = *state;
    struct tls_identity manager, edge;
    struct meeting meeting;
    const struct {
        const char *folder, *name, *words;
    } rows[] = {
        {bed->strangers, "edge-1",
         "self-signed certificate in"}, /* of another authority, by the same name */
        {bed->folder, "late", "expired"},
    };
    identity_of(bed, &manager, true, options_of(bed->folder, "manager", bed->folder, NULL));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        identity_of(bed, &edge, false,
                    options_of(rows[i].folder, rows[i].name, bed->folder, "manager"));
        meet(bed, manager.server, edge.client, NULL, &meeting);
        assert_int_equal(meeting.server.outcome, TLS_FAILED);
        assert_false(meeting.shown);
        if (!strstr(meeting.server.words, rows[i].words))
            fail_msg("%s: \"%s\"", rows[i].name, meeting.server.words);
        tls_identity_fini(&edge);
    }
    tls_identity_fini(&manager);
}

static void
test_managers_that_are_not_the_one(void **state)
{
    struct bed *bed = *state;
    struct tls_identity manager, edge;
    struct meeting meeting;
    identity_of(bed, &manager, true, options_of(bed->folder, "manager", bed->folder, NULL));
    const struct {
        const char *ca, *asks;
        enum tls_outcome outcome;
    } rows[] = {
        {bed->folder, "manager", TLS_DONE},
        {bed->folder, "manager.test", TLS_DONE},
        {bed->folder, "edge-1", TLS_FAILED},     /* a name that the certificate does not have */
        {bed->strangers, "manager", TLS_FAILED}, /* an authority that we do not know */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        identity_of(bed, &edge, false, options_of(bed->folder, "edge-1", rows[i].ca, rows[i].asks));
        meet(bed, manager.server, edge.client, NULL, &meeting);
        assert_int_equal(meeting.client.outcome, rows[i].outcome);
        tls_identity_fini(&edge);
    }
    /* Another holder of one of our certificates does not pass for the manager. */
    struct tls_identity impostor;
    identity_of(bed, &impostor, true, options_of(bed->folder, "edge-1", bed->folder, NULL));
    identity_of(bed, &edge, false, options_of(bed->folder, "edge-1", bed->folder, "manager"));
    meet(bed, impostor.server, edge.client, NULL, &meeting);
    assert_int_equal(meeting.client.outcome, TLS_FAILED);
    assert_non_null(strstr(meeting.client.words, "mismatch"));
    tls_identity_fini(&edge);
    tls_identity_fini(&impostor);
    tls_identity_fini(&manager);
}

static void
test_without_an_authority_no_certificate_is_asked_for(void **state)
{
    struct bed *bed = *state;
    struct tls_identity admin, edge;
    struct meeting meeting;
    identity_of(bed, &admin, true, options_of(bed->folder, "manager", NULL, NULL));
    identity_of(bed, &edge, false, options_of(bed->folder, "edge-1", bed->folder, "manager"));
    meet(bed, admin.server, edge.client, NULL, &meeting);
    assert_int_equal(meeting.server.outcome, TLS_DONE);
    assert_false(meeting.shown); /* tokens alone are who one is */
    tls_identity_fini(&edge);
    tls_identity_fini(&admin);
}

/* ---- files that change ---------------------------------------------------------------------- */

static void
spoil(const char *file)
{
    FILE *out = fopen(file, "w");
    assert_non_null(out);
    (void)fputs("nonsense\n", out);
    (void)fclose(out);
}

static void
test_replacement_and_what_is_refused(void **state)
{
    struct bed *bed = *state;
    struct tls_identity manager;
    struct tls_control_options options = options_of(bed->folder, "manager", bed->folder, NULL);
    identity_of(bed, &manager, true, options);
    assert_true(manager.ends_s > time(NULL) + 29 * DAY_S);
    struct tls_server *first = tls_server_ref(manager.server);
    issue(bed->folder, "manager", "manager.test", time(NULL) - 10 * DAY_S);
    assert_int_equal(tls_identity_reload(&manager, &options, NULL), FR_OK);
    assert_ptr_not_equal(manager.server, first);
    assert_int_equal(manager.reloads, 1);
    assert_int_equal(bed->changed, 1);
    assert_true(manager.ends_s < time(NULL) + 21 * DAY_S);
    tls_server_unref(&first); /* as the last stream that used it does */
    /* A key that is no key: what there was goes on, and nobody is told of a change. */
    first = manager.server;
    spoil(options.key);
    char *why = NULL;
    assert_int_equal(tls_identity_reload(&manager, &options, &why), FR_ERR_CONFIG);
    assert_non_null(strstr(why, options.key));
    fr_free(why);
    assert_ptr_equal(manager.server, first);
    assert_int_equal(manager.reloads, 1);
    assert_int_equal(manager.reloads_failed, 1);
    assert_int_equal(bed->changed, 1);
    /* Another name is another file. */
    options = options_of(bed->folder, "edge-1", bed->folder, NULL);
    assert_int_equal(tls_identity_reload(&manager, &options, NULL), FR_OK);
    assert_int_equal(manager.reloads, 2);
    assert_string_equal(manager.certificate, path(bed->folder, "edge-1.pem"));
    /* Of none: the file has it no more, which takes a restart. What stands stays, and is watched.
     */
    const struct tls_control_options none = {.ca = NULL};
    assert_int_equal(tls_identity_reload(&manager, &none, NULL), FR_OK);
    assert_string_equal(manager.certificate, path(bed->folder, "edge-1.pem"));
    assert_non_null(manager.ca);
    tls_identity_fini(&manager);
    assert_int_equal(tls_identity_reload(&manager, &options, NULL),
                     FR_OK); /* of none: nothing happens */
    assert_null(manager.server);
}

static void
stop_loop(void *ctx)
{
    on_changed(ctx);
    loop_stop(the_bed->loop);
}

/* Nobody says a word: the files are looked at. */
static void
test_changes_are_seen_without_being_told(void **state)
{
    struct bed *bed = *state;
    struct tls_identity edge;
    struct tls_control_options options = options_of(bed->folder, "edge-1", bed->folder, "manager");
    char *why = NULL;
    memset(&edge, 0, sizeof(edge));
    assert_int_equal(
        tls_identity_init(&edge, bed->loop, "test", &options, false, stop_loop, bed, &why), FR_OK);
    struct tls_client *first = tls_client_ref(edge.client);
    issue(bed->folder, "edge-1", NULL, time(NULL));
    assert_int_equal(loop_run(bed->loop), FR_OK);
    assert_int_equal(bed->changed, 1);
    assert_int_equal(edge.reloads, 1);
    assert_ptr_not_equal(edge.client, first);
    tls_client_unref(&first);
    tls_identity_fini(&edge);
}

static void
test_files_that_are_not_there_or_do_not_fit(void **state)
{
    struct bed *bed = *state;
    struct tls_identity identity = {0};
    struct tls_control_options options = options_of(bed->folder, "nobody", bed->folder, NULL);
    char *why = NULL;
    assert_int_equal(
        tls_identity_init(&identity, bed->loop, "test", &options, true, NULL, NULL, &why),
        FR_ERR_NOT_FOUND);
    assert_non_null(strstr(why, "nobody.pem"));
    fr_free(why);
    why = NULL;
    options = options_of(bed->folder, "manager", bed->folder, NULL);
    options.key = path(bed->folder, "edge-1.key");
    assert_int_equal(
        tls_identity_init(&identity, bed->loop, "test", &options, true, NULL, NULL, &why),
        FR_ERR_CONFIG);
    assert_non_null(strstr(why, "is not that of the certificate"));
    fr_free(why);
    assert_null(identity.server);
    tls_identity_fini(&identity);
}

static void
test_what_a_file_looks_like(void **state)
{
    struct bed *bed = *state;
    const char *file = path(bed->folder, "edge-1.pem"), *link = path(bed->folder, "link");
    uint64_t before = tls_files_look(0, file);
    assert_int_equal(tls_files_look(0, file), before);
    assert_int_equal(tls_files_look(7, NULL), 7);
    assert_int_not_equal(tls_files_look(1, file), before); /* the sum goes on */
    uint64_t missing = tls_files_look(0, path(bed->folder, "nobody.pem"));
    assert_int_not_equal(missing, before);
    assert_int_not_equal(missing, 0); /* a file that comes or goes is a change */
    /* A link that points elsewhere, as tools that renew certificates leave it. */
    assert_int_equal(symlink("edge-1.pem", link), 0);
    assert_int_equal(tls_files_look(0, link), before);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(symlink("manager.pem", link), 0);
    assert_int_not_equal(tls_files_look(0, link), before);
    /* A file that was not to be read is looked at again when it is. */
    struct timespec pause = {.tv_nsec = 20000000}; /* more than a tick of the file system's clock */
    (void)nanosleep(&pause, NULL);
    assert_int_equal(chmod(file, 0644), 0);
    assert_int_not_equal(tls_files_look(0, file), before);
    spoil(file);
    assert_int_not_equal(tls_files_look(0, file), before);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, bed_open, bed_close)
    const struct CMUnitTest tests[] = {
        TEST(test_mutual_and_new_each_time),
        TEST(test_without_a_certificate_nobody_is_named),
        TEST(test_certificates_that_are_not_good),
        TEST(test_managers_that_are_not_the_one),
        TEST(test_without_an_authority_no_certificate_is_asked_for),
        TEST(test_replacement_and_what_is_refused),
        TEST(test_changes_are_seen_without_being_told),
        TEST(test_files_that_are_not_there_or_do_not_fit),
        TEST(test_what_a_file_looks_like),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
