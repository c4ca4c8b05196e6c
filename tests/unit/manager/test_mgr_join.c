/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_mgr_join.c - tokens made, used, guessed; certificates signed and renewed: what each answers,
 * and what it counts.
 */
#include "mgr_harness.h"

#include "pki/pki.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct bed {
    struct harness harness;
    struct fr_buf request; /* a certificate request, as JSON's text */
    char key[128];
};

static void
bed_open(struct bed *bed)
{
    char *why = NULL;
    struct fr_buf pem;
    harness_start(&bed->harness, "");
    bed->harness.config->manager.pki = fr_xprintf("%s/pki", bed->harness.folder);
    assert_int_equal(pki_init(bed->harness.config->manager.pki, "test", time(NULL), 30, &why),
                     FR_OK);
    (void)snprintf(bed->key, sizeof(bed->key), "%s/some.key", bed->harness.folder);
    fr_buf_init(&pem, PKI_PEM_BYTES_MAX);
    assert_int_equal(pki_request_make("whatever", bed->key, &pem, &why), FR_OK);
    fr_buf_init(&bed->request, PKI_PEM_BYTES_MAX);
    for (size_t i = 0; i < pem.len; i++)
        assert_int_equal(pem.data[i] == '\n' ? fr_buf_append(&bed->request, "\\n", 2)
                                             : fr_buf_append(&bed->request, pem.data + i, 1),
                         FR_OK);
    fr_buf_fini(&pem);
}

static void
bed_close(struct bed *bed)
{
    char command[300];
    fr_buf_fini(&bed->request);
    (void)snprintf(command, sizeof(command), "rm -r %s/pki %s", bed->harness.folder, bed->key);
    assert_int_equal(system(command), 0);
    harness_stop(&bed->harness);
}

static char *
join(struct bed *bed, const char *secret)
{
    char *body = fr_xprintf("{\"token\": \"%s\", \"request\": \"%.*s\"}", secret,
                            (int)bed->request.len, bed->request.data);
    char *answer = harness_http(&bed->harness, "POST", "/join", body);
    fr_free(body);
    return answer;
}

static void
expect(char *answer, const char *status, const char *words)
{
    if (strncmp(answer + 9, status, 3) != 0 || !strstr(answer, words))
        fail_msg("expected %s with \"%s\", got %s", status, words, answer);
    fr_free(answer);
}

/* The secret of a new token. */
static void
token_for(struct bed *bed, const char *query, char out[33])
{
    struct pki_token token;
    char *target = fr_xprintf("/tokens?%s", query);
    char *answer = harness_http(&bed->harness, "POST", target, "");
    fr_free(target);
    char *at = strstr(answer, "\"token\": \"");
    assert_non_null(at);
    at += strlen("\"token\": \"");
    *strchr(at, '"') = '\0';
    assert_true(pki_token_parse(at, &token));
    memcpy(out, token.secret, sizeof(token.secret));
    fr_free(answer);
}

static void
test_a_token_is_one_certificate_of_its_name(void **state)
{
    struct bed bed;
    char secret[33];
    json_error_t error;
    (void)state;
    bed_open(&bed);
    token_for(&bed, "name=edge-2", secret);
    char *answer = join(&bed, secret);
    json_t *root = json_loads(strstr(answer, "\r\n\r\n") + 4, 0, &error);
    assert_non_null(root);
    /* What the request called itself is nobody's business. */
    assert_string_equal(json_string_value(json_object_get(root, "name")), "edge-2");
    assert_non_null(
        strstr(json_string_value(json_object_get(root, "certificate")), "BEGIN CERTIFICATE"));
    assert_non_null(strstr(json_string_value(json_object_get(root, "ca")), "BEGIN CERTIFICATE"));
    json_decref(root);
    fr_free(answer);
    assert_int_equal(bed.harness.mgr->counters.joins, 1);
    expect(join(&bed, secret), "403", "no such token");
    assert_int_equal(bed.harness.mgr->counters.joins, 1);
    assert_int_equal(bed.harness.mgr->counters.joins_refused, 1);
    bed_close(&bed);
}

static void
test_what_is_no_join(void **state)
{
    static const char *const bodies[] = {"", "{}", "[]", "{\"token\": \"x\"}",
                                         "{\"token\": 7, \"request\": 8}"};
    struct bed bed;
    char secret[33];
    (void)state;
    bed_open(&bed);
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
        expect(harness_http(&bed.harness, "POST", "/join", bodies[i]), "400",
               "expected JSON with a certificate request");
    assert_int_equal(bed.harness.mgr->counters.joins_refused, 5);
    /* A token with a request that is none: nothing is signed. */
    token_for(&bed, "name=edge-2", secret);
    char *body = fr_xprintf("{\"token\": \"%s\", \"request\": \"nonsense\"}", secret);
    expect(harness_http(&bed.harness, "POST", "/join", body), "400", "error");
    fr_free(body);
    assert_int_equal(bed.harness.mgr->counters.joins, 0);
    assert_int_equal(bed.harness.mgr->guessers[0].guesses, 6);
    expect(join(&bed, secret), "200", "edge-2"); /* it was not used up */
    /* Renewal is for who shows a certificate: a socket has none. */
    expect(harness_http(&bed.harness, "POST", "/renew", "{}"), "401", "over TLS");
    expect(harness_http(&bed.harness, "GET", "/join", ""), "405", "");
    bed_close(&bed);
}

static void
test_without_an_authority(void **state)
{
    struct bed bed;
    (void)state;
    bed_open(&bed);
    char *kept = bed.harness.config->manager.pki;
    bed.harness.config->manager.pki = NULL;
    expect(join(&bed, "00000000000000000000000000000000"), "404", "no manager.pki here");
    expect(harness_http(&bed.harness, "POST", "/tokens?name=x", ""), "404", "no manager.pki");
    bed.harness.config->manager.pki = fr_xprintf("%s/nowhere", bed.harness.folder);
    expect(join(&bed, "00000000000000000000000000000000"), "500", "cannot be used");
    fr_free(bed.harness.config->manager.pki);
    bed.harness.config->manager.pki = kept;
    bed_close(&bed);
}

static void
test_tokens_that_are_asked_for_wrongly(void **state)
{
    static const char *const targets[] = {
        "/tokens",
        "/tokens?name=",
        "/tokens?name=a%2fb",
        "/tokens?name=ca",
        "/tokens?name=a&seconds=0",
        "/tokens?name=a&seconds=x",
        "/tokens?name=a&seconds=2592001",
    };
    struct bed bed;
    (void)state;
    bed_open(&bed);
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
        expect(harness_http(&bed.harness, "POST", targets[i], ""), "400", "error");
    bed_close(&bed);
}

/* Ten wrong ones, and a good one is not heard either; when the minute is over it is. */
static void
test_guesses_are_limited(void **state)
{
    struct bed bed;
    char secret[33], guess[33];
    (void)state;
    bed_open(&bed);
    struct mgr *mgr = bed.harness.mgr;
    token_for(&bed, "name=edge-2", secret);
    for (int i = 0; i < MGR_GUESSES_MAX; i++) {
        (void)snprintf(guess, sizeof(guess), "%032x", i);
        expect(join(&bed, guess), "403", "no such token");
    }
    assert_int_equal(mgr->counters.joins_limited, 0);
    for (int i = 0; i < 3; i++)
        expect(join(&bed, i ? guess : secret), "429", "limit of guesses");
    assert_int_equal(mgr->counters.joins_limited, 3);
    assert_int_equal(mgr->counters.joins_refused, MGR_GUESSES_MAX + 3);
    assert_int_equal(mgr->guessers[0].guesses, MGR_GUESSES_MAX); /* one row for all of them */
    assert_int_equal(mgr->guessers[1].guesses, 0);
    mgr->guessers[0].since_us -= MGR_GUESS_PERIOD_US;
    expect(join(&bed, secret), "200", "edge-2");
    /* A new period begins with one. */
    expect(join(&bed, guess), "403", "no such token");
    assert_int_equal(mgr->guessers[0].guesses, 1);
    bed_close(&bed);
}

/* Nobody has guessed when a token's file cannot be read. */
static void
test_a_folder_that_fails_is_no_guess(void **state)
{
    struct bed bed;
    char secret[33], command[300];
    (void)state;
    bed_open(&bed);
    token_for(&bed, "name=edge-2", secret);
    /* In the place of the file a folder. */
    (void)snprintf(command, sizeof(command),
                   "cd %s/pki/tokens && for one in *; do rm $one && mkdir $one; done",
                   bed.harness.folder);
    assert_int_equal(system(command), 0);
    expect(join(&bed, secret), "500", "tokens cannot be used");
    assert_int_equal(bed.harness.mgr->guessers[0].guesses, 0);
    assert_int_equal(bed.harness.mgr->counters.joins_refused, 0);
    bed_close(&bed);
}

/* As many networks as there are rows guess: whose period began first gives way, and another network
 * is heard all the same. */
static void
test_who_guesses_keeps_nobody_else_out(void **state)
{
    struct bed bed;
    char secret[33];
    (void)state;
    bed_open(&bed);
    struct mgr *mgr = bed.harness.mgr;
    int64_t now_us = loop_now_us(bed.harness.loop);
    for (int i = 0; i < MGR_GUESSERS_MAX; i++)
        mgr->guessers[i] = (struct mgr_guesser){.family = AF_INET,
                                                .network = {10, 0, 0, (uint8_t)i},
                                                .guesses = MGR_GUESSES_MAX,
                                                .since_us = now_us - (i == 9 ? 2 : 1)};
    token_for(&bed, "name=edge-2", secret);
    expect(join(&bed, "00000000000000000000000000000000"), "403", "no such token");
    assert_int_equal(mgr->guessers[9].family, AF_UNIX);
    assert_int_equal(mgr->guessers[9].guesses, 1);
    assert_int_equal(mgr->guessers[8].guesses, MGR_GUESSES_MAX);
    expect(join(&bed, secret), "200", "edge-2");
    bed_close(&bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_token_is_one_certificate_of_its_name),
        cmocka_unit_test(test_what_is_no_join),
        cmocka_unit_test(test_without_an_authority),
        cmocka_unit_test(test_tokens_that_are_asked_for_wrongly),
        cmocka_unit_test(test_guesses_are_limited),
        cmocka_unit_test(test_a_folder_that_fails_is_no_guess),
        cmocka_unit_test(test_who_guesses_keeps_nobody_else_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
