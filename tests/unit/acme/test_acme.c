/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_acme.c - when an order is made again: with an authority of the test's own in the place of
 * the thread's work.
 */
#include "acme/acme_priv.h"

#include "loop/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>
#include <unistd.h>

#include <cmocka.h>

static atomic_uint orders;

/* Says that a certificate came, and leaves no file: what was due stays due. Or, for an authority
 * that never says that it is done: comes back when it is told to, and only then. */
void
acme__flow(struct acme__job *job)
{
    const struct timespec step = {.tv_nsec = 10000000L};
    atomic_fetch_add(&orders, 1);
    job->err = FR_OK;
    if (strcmp(job->directory, "https://never") != 0)
        return;
    while (!atomic_load(&job->cancelled))
        (void)thrd_sleep(&step, NULL);
    job->err = atomic_load(&job->late) ? FR_ERR_TIMEOUT : FR_ERR_CANCELLED;
}

struct bed {
    struct loop *loop;
    struct acme *acme;
    struct loop_timer timer;
    unsigned certified, failed;
    char words[ACME_WHY_BYTES];
    int64_t next_us;
};

static void
on_news(void *ctx, enum acme_news news, const char *domain, const char *words, int64_t next_us)
{
    struct bed *bed = ctx;
    assert_string_equal(domain, "one.example");
    *(news == ACME_CERTIFIED ? &bed->certified : &bed->failed) += 1;
    (void)snprintf(bed->words, sizeof(bed->words), "%s", words);
    bed->next_us = next_us;
}

static void
on_time(void *ctx)
{
    struct bed *bed = ctx;
    loop_stop(bed->loop);
}

static void
test_a_success_that_changes_nothing_waits(void **state)
{
    char folder[] = "/tmp/freshet-acme-XXXXXX", pem[64], key[64];
    char one[] = "one.example", *names[] = {one, NULL};
    struct bed bed = {.certified = 0};
    struct acme_counters counters;
    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(pem, sizeof(pem), "%s/one.pem", folder);
    (void)snprintf(key, sizeof(key), "%s/one.key", folder);
    assert_int_equal(loop_new(NULL, &bed.loop), FR_OK);
    const struct acme_options options = {
        .loop = bed.loop, .folder = folder, .fn = on_news, .ctx = &bed};
    const struct acme_order order = {
        .directory = "https://nowhere", .domains = names, .certificate = pem, .key = key};
    bed.acme = acme_new(&options);
    acme_set(bed.acme, &order, 1);
    /* Orders that are due are looked for twice a second. */
    loop_timer_start(bed.loop, &bed.timer, 1800000, on_time, &bed);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(atomic_load(&orders), 1);
    assert_int_equal(bed.certified, 0);
    assert_int_equal(bed.failed, 1);
    assert_true(bed.next_us >= ACME_RETRY_MIN_US);
    assert_non_null(strstr(bed.words, "to be renewed at once"));
    acme_read_counters(bed.acme, &counters);
    assert_int_equal(counters.certified, 0);
    assert_int_equal(counters.failed, 1);
    acme_free(&bed.acme);
    loop_free(&bed.loop);
    assert_int_equal(rmdir(folder), 0);
}

static void
test_an_order_has_one_deadline(void **state)
{
    char folder[] = "/tmp/freshet-acme-XXXXXX", pem[64], key[64];
    char one[] = "one.example", *names[] = {one, NULL};
    struct bed bed = {.certified = 0};
    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(pem, sizeof(pem), "%s/one.pem", folder);
    (void)snprintf(key, sizeof(key), "%s/one.key", folder);
    assert_int_equal(loop_new(NULL, &bed.loop), FR_OK);
    const struct acme_options options = {
        .loop = bed.loop, .folder = folder, .fn = on_news, .ctx = &bed, .order_us = 600000};
    const struct acme_order order = {
        .directory = "https://never", .domains = names, .certificate = pem, .key = key};
    bed.acme = acme_new(&options);
    acme_set(bed.acme, &order, 1);
    loop_timer_start(bed.loop, &bed.timer, 2000000, on_time, &bed);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(bed.failed, 1);
    assert_true(bed.next_us >= ACME_RETRY_MIN_US);
    acme_free(&bed.acme);
    loop_free(&bed.loop);
    assert_int_equal(rmdir(folder), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_success_that_changes_nothing_waits),
        cmocka_unit_test(test_an_order_has_one_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
