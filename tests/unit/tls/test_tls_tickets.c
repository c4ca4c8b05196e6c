/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tls_tickets.c - keys that seal tickets: how long each opens what it sealed, and workers that
 * shake hands while they are rotated (built with -Db_sanitize=thread this is where a race shows).
 */
#include "pki/pki.h"
#include "tls/tls_priv.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW_S 1800000000
#define WORKERS 3
#define SHAKES 60
#define SHAKES_A_KEY 5 /* of all workers: some can resume in between */

struct bed {
    char folder[64];
    struct tls_tickets *tickets;
    struct tls_server *server;
    SSL_CTX *client;
};

static struct tls_server *
server_of(const struct bed *bed, struct tls_tickets *tickets)
{
    struct tls_server *server = NULL;
    char *why = NULL;
    char *certificate = fr_xprintf("%s/one.pem", bed->folder);
    char *key = fr_xprintf("%s/one.key", bed->folder);
    const struct tls_pair pair = {.certificate = certificate, .key = key};
    const struct tls_server_options options = {.pairs = &pair, .pair_count = 1, .tickets = tickets};
    assert_int_equal(tls_server_new(&options, &server, &why), FR_OK);
    fr_free(certificate);
    fr_free(key);
    return server;
}

static int
bed_open(void **state)
{
    struct bed *bed = fr_xalloc(sizeof(*bed));
    struct pki *pki = NULL;
    char *why = NULL;
    const struct pki_terms terms = {.name = "one", .days = 9};
    (void)snprintf(bed->folder, sizeof(bed->folder), "/tmp/freshet-tickets-XXXXXX");
    assert_non_null(mkdtemp(bed->folder));
    assert_int_equal(pki_init(bed->folder, "test", NOW_S, 10, &why), FR_OK);
    assert_int_equal(pki_open(bed->folder, &pki, &why), FR_OK);
    assert_int_equal(pki_issue(pki, &terms, NOW_S, &why), FR_OK);
    pki_close(&pki);
    bed->tickets = tls_tickets_new();
    bed->server = server_of(bed, bed->tickets);
    bed->client = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(bed->client, SSL_SESS_CACHE_CLIENT);
    *state = bed;
    return 0;
}

static int
bed_close(void **state)
{
    struct bed *bed = *state;
    char command[128];
    SSL_CTX_free(bed->client);
    tls_server_unref(&bed->server);
    tls_tickets_free(&bed->tickets);
    assert_null(bed->tickets);
    (void)snprintf(command, sizeof(command), "rm -r %s", bed->folder);
    assert_int_equal(system(command), 0);
    fr_free(bed);
    return 0;
}

/* One connection over memory; -1: it failed, else whether it was resumed. *session is what the
 * client keeps for the next, and is replaced. */
static int
shake(const struct bed *bed, struct tls_server *server, int version, SSL_SESSION **session)
{
    BIO *near = NULL, *far = NULL;
    SSL *client = SSL_new(bed->client), *worker = SSL_new(server->ctx);
    char byte = 'x';
    int resumed = -1;
    if (!client || !worker || BIO_new_bio_pair(&near, 65536, &far, 65536) != 1)
        goto out;
    SSL_set_bio(client, near, near);
    SSL_set_bio(worker, far, far);
    SSL_set_connect_state(client);
    SSL_set_accept_state(worker);
    (void)SSL_set_max_proto_version(client, version);
    if (*session)
        (void)SSL_set_session(client, *session);
    for (int turn = 0; turn < 10; turn++) {
        (void)SSL_do_handshake(client);
        (void)SSL_do_handshake(worker);
    }
    if (!SSL_is_init_finished(client) || !SSL_is_init_finished(worker))
        goto out;
    /* A byte down, so that the client reads the tickets in front of it. */
    if (SSL_write(worker, &byte, 1) != 1 || SSL_read(client, &byte, 1) != 1)
        goto out;
    resumed = SSL_session_reused(worker);
    SSL_SESSION_free(*session);
    *session = SSL_get1_session(client);
    (void)SSL_shutdown(client); /* a session of one that was cut is not resumed */
out:
    SSL_free(client);
    SSL_free(worker);
    return resumed;
}

static void
test_a_key_opens_for_two_periods(void **state)
{
    struct bed *bed = *state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (int i = 0; i < 2; i++) {
        SSL_SESSION *session = NULL;
        assert_int_equal(shake(bed, bed->server, versions[i], &session), 0);
        assert_int_equal(shake(bed, bed->server, versions[i], &session), 1);
        tls_tickets_rotate(bed->tickets);
        /* The older key opens, and the client is given a ticket of the newer one ... */
        assert_int_equal(shake(bed, bed->server, versions[i], &session), 1);
        tls_tickets_rotate(bed->tickets);
        /* ... so that who comes in every period is never asked to begin anew. */
        assert_int_equal(shake(bed, bed->server, versions[i], &session), 1);
        tls_tickets_rotate(bed->tickets);
        tls_tickets_rotate(bed->tickets);
        assert_int_equal(shake(bed, bed->server, versions[i], &session), 0);
        SSL_SESSION_free(session);
    }
}

static void
test_tickets_are_good_at_every_server_of_the_keys_and_no_other(void **state)
{
    struct bed *bed = *state;
    struct tls_tickets *others = tls_tickets_new();
    struct tls_server *again = server_of(bed, bed->tickets), *other = server_of(bed, others);
    struct tls_server *without = server_of(bed, NULL);
    SSL_SESSION *session = NULL;
    assert_int_equal(shake(bed, bed->server, TLS1_3_VERSION, &session), 0);
    assert_int_equal(shake(bed, again, TLS1_3_VERSION, &session), 1);
    assert_int_equal(shake(bed, other, TLS1_3_VERSION, &session), 0);
    assert_int_equal(shake(bed, other, TLS1_3_VERSION, &session), 1);
    assert_int_equal(shake(bed, bed->server, TLS1_3_VERSION, &session), 0);
    assert_int_equal(shake(bed, without, TLS1_2_VERSION, &session), 0);
    SSL_SESSION_free(session);
    tls_server_unref(&again);
    tls_server_unref(&other);
    tls_server_unref(&without);
    tls_tickets_free(&others);
}

struct pace { /* both atomic */
    int done, rotations;
};

struct worker {
    const struct bed *bed;
    struct pace *pace;
    pthread_t thread;
    int version;
    int failed, resumed;
};

/* So many keys have been used up; one more is due. */
static bool
is_due(const struct pace *pace, int ahead)
{
    int rotations = __atomic_load_n(&pace->rotations, __ATOMIC_RELAXED);
    return __atomic_load_n(&pace->done, __ATOMIC_RELAXED) >= SHAKES_A_KEY * (rotations + 1 + ahead);
}

static void *
work(void *ctx)
{
    struct worker *worker = ctx;
    SSL_SESSION *session = NULL;
    for (int i = 0; i < SHAKES; i++) {
        while (is_due(worker->pace, 1))
            (void)usleep(100); /* whoever rotates is not run by a busy machine */
        int outcome = shake(worker->bed, worker->bed->server, worker->version, &session);
        worker->failed += outcome < 0;
        worker->resumed += outcome > 0;
        (void)__atomic_add_fetch(&worker->pace->done, 1, __ATOMIC_RELAXED);
    }
    SSL_SESSION_free(session);
    return NULL;
}

static void
test_workers_shake_hands_while_keys_are_rotated(void **state)
{
    struct bed *bed = *state;
    struct worker workers[WORKERS];
    struct pace pace = {0};
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){
            .bed = bed, .pace = &pace, .version = i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    while (pace.rotations < WORKERS * SHAKES / SHAKES_A_KEY) {
        if (is_due(&pace, 0)) {
            tls_tickets_rotate(bed->tickets);
            (void)__atomic_add_fetch(&pace.rotations, 1, __ATOMIC_RELAXED);
        } else {
            (void)usleep(100); /* leaves the processor to them */
        }
    }
    int resumed = 0;
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_int_equal(workers[i].failed, 0);
        resumed += workers[i].resumed;
    }
    assert_true(resumed > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_key_opens_for_two_periods, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(
            test_tickets_are_good_at_every_server_of_the_keys_and_no_other, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_workers_shake_hands_while_keys_are_rotated, bed_open,
                                        bed_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
