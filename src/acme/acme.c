/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acme.c - when: what is wanted, what is due, and the thread that gets it.
 *
 * A certificate is due when two thirds of its life are over, with a little jitter, so that many
 * that were begun together do not come back together. After a failure comes a pause that doubles.
 *
 * Threads:    the control loop; a job's thread has the job and nothing else of ours.
 *
 *     wanted --due--> job runs --posted back--> certified: due at 2/3 of the new life
 *       ^                                   \-> failed: due after the pause
 *       '---------------------------------------'
 */
#include "acme/acme_priv.h"

#include "base/fr_check.h"
#include "base/fr_file.h"
#include "base/fr_hash.h"
#include "base/fr_time.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define TICK_US 500000LL
#define JITTER 0.05 /* of a life, or of a pause, either way */

struct wish {
    struct acme__job order; /* its texts; the rest unused */
    int64_t due_us;         /* of loop_now_us */
    unsigned failures;      /* in a row */
};

struct acme {
    struct acme_options options;
    char *folder;
    struct wish *wishes;
    size_t wish_count;
    struct loop_timer tick;
    struct fr_rand rand;
    struct acme_counters counters;
    /* the job */
    bool running;
    pthread_t thread;
    struct acme__job *job; /* until its message is read, also when the thread has ended */
};

/* ---- orders as texts ------------------------------------------------------------------------ */

static void
job_clear(struct acme__job *job)
{
    for (char **domain = job->domains; domain && *domain; domain++)
        fr_free(*domain);
    fr_free(job->domains);
    fr_free(job->directory);
    fr_free(job->email);
    fr_free(job->ca);
    fr_free(job->key_id);
    fr_free(job->hmac_key);
    fr_free(job->certificate);
    fr_free(job->key);
    fr_free(job->account_path);
    memset(job, 0, sizeof(*job));
}

/* One account for each directory. */
static char *
account_path(const struct acme *acme, const char *directory)
{
    static const struct fr_hash_key key = {0x61636d65, 0x64697265};
    return fr_xprintf("%s/account-%016" PRIx64 ".key", acme->folder,
                      fr_hash64(&key, directory, strlen(directory)));
}

static void
job_copy(const struct acme *acme, const struct acme_order *from, struct acme__job *to)
{
    size_t count = 0;
    while (from->domains[count] && count < ACME_DOMAINS_MAX)
        count++;
    to->domains = fr_xalloc((count + 1) * sizeof(*to->domains));
    for (size_t i = 0; i < count; i++)
        to->domains[i] = fr_xstrdup(from->domains[i]);
    to->directory = fr_xstrdup(from->directory);
    to->email = fr_xstrdup(from->email);
    to->ca = fr_xstrdup(from->ca);
    to->key_id = fr_xstrdup(from->key_id);
    to->hmac_key = fr_xstrdup(from->hmac_key);
    to->challenge = from->challenge;
    to->certificate = fr_xstrdup(from->certificate);
    to->key = fr_xstrdup(from->key);
    to->account_path = account_path(acme, from->directory);
    to->challenges = acme->options.challenges;
    to->answers = acme->options.answers;
}

static struct acme_order
order_of(const struct acme__job *job)
{
    return (struct acme_order){.directory = job->directory,
                               .email = job->email,
                               .ca = job->ca,
                               .key_id = job->key_id,
                               .hmac_key = job->hmac_key,
                               .domains = job->domains,
                               .challenge = job->challenge,
                               .certificate = job->certificate,
                               .key = job->key};
}

/* ---- when ----------------------------------------------------------------------------------- */

static int64_t
jittered(struct acme *acme, int64_t us)
{
    return us + (int64_t)((double)us * JITTER * (2 * fr_rand_unit(&acme->rand) - 1));
}

/* From what the file holds now. */
static int64_t
due_of(struct acme *acme, const struct wish *wish)
{
    int64_t begins_s = 0, ends_s = 0;
    int64_t now_us = loop_now_us(acme->options.loop);
    const struct tls_pem_pair paths = {.certificate = wish->order.certificate,
                                       .key = wish->order.key};
    if (!acme__lifetime(&paths, wish->order.domains, &begins_s, &ends_s))
        return now_us;
    int64_t life_us = (ends_s - begins_s) * FR_US_PER_S;
    int64_t old_us = loop_wall_us(acme->options.loop) - begins_s * FR_US_PER_S;
    int64_t left_us = jittered(acme, life_us / 3 * 2) - old_us;
    return now_us + (left_us > 0 ? left_us : 0);
}

static int64_t
pause_of(struct acme *acme, const struct wish *wish, int64_t retry_after_s)
{
    int64_t pause_us = ACME_RETRY_MIN_US;
    for (unsigned i = 1; i < wish->failures && pause_us < ACME_RETRY_MAX_US; i++)
        pause_us *= 2;
    if (pause_us > ACME_RETRY_MAX_US)
        pause_us = ACME_RETRY_MAX_US;
    pause_us += (int64_t)((double)pause_us * JITTER * fr_rand_unit(&acme->rand));
    return retry_after_s * FR_US_PER_S > pause_us ? retry_after_s * FR_US_PER_S : pause_us;
}

/* ---- the job -------------------------------------------------------------------------------- */

static void on_tick(void *ctx);

static struct wish *
wish_of(struct acme *acme, const char *certificate)
{
    for (size_t i = 0; i < acme->wish_count; i++)
        if (strcmp(acme->wishes[i].order.certificate, certificate) == 0)
            return &acme->wishes[i];
    return NULL;
}

static void
job_end(struct acme *acme)
{
    fr_insist(pthread_join(acme->thread, NULL) == 0);
    acme->running = false;
}

static bool
same_names(char *const *left, char *const *right)
{
    for (; *left && *right; left++, right++)
        if (strcmp(*left, *right) != 0)
            return false;
    return !*left && !*right;
}

/* A certificate that leaves all as it was, again and again, is a failure like any other: it waits.
 * Not so when a reload asks for other names since. */
static void
judge(struct acme *acme, const struct wish *wish, struct acme__job *job)
{
    if (!same_names(job->domains, wish->order.domains) ||
        due_of(acme, wish) > loop_now_us(acme->options.loop))
        return;
    job->err = FR_ERR_BAD_PEER;
    (void)snprintf(job->why, sizeof(job->why),
                   "the certificate that came is to be renewed at once: it is not for all of the "
                   "domains, or too much of its life is over by this machine's clock");
}

static void
on_done(void *ctx)
{
    struct acme__job *job = ctx;
    struct acme *acme = job->owner;
    if (!acme) {
        job_clear(job);
        fr_free(job);
        return;
    }
    struct wish *wish = wish_of(acme, job->certificate);
    int64_t now_us = loop_now_us(acme->options.loop);
    int64_t next_us = 0;
    job_end(acme);
    acme->job = NULL;
    if (wish && job->err == FR_OK)
        judge(acme, wish, job);
    if (job->err == FR_OK)
        acme->counters.certified++;
    else
        acme->counters.failed++;
    if (wish) { /* else a reload has taken it away */
        wish->failures = job->err == FR_OK ? 0 : wish->failures + 1;
        wish->due_us = job->err == FR_OK ? due_of(acme, wish)
                                         : now_us + pause_of(acme, wish, job->retry_after_s);
        next_us = wish->due_us - now_us;
    }
    acme->options.fn(acme->options.ctx, job->err == FR_OK ? ACME_CERTIFIED : ACME_FAILED,
                     job->domains[0], job->why, next_us);
    job_clear(job);
    fr_free(job);
}

static void *
job_main(void *ctx)
{
    struct acme__job *job = ctx;
    struct loop *loop = job->owner->options.loop;
    acme__flow(job);
    loop_post(loop, &job->done, on_done, job);
    return NULL;
}

static void
job_begin(struct acme *acme, struct wish *wish)
{
    const struct acme_order order = order_of(&wish->order);
    struct acme__job *job = fr_xalloc(sizeof(*job));
    job_copy(acme, &order, job);
    job->owner = acme;
    job->now_s = loop_wall_us(acme->options.loop) / FR_US_PER_S;
    job->begun_us = loop_now_us(acme->options.loop);
    acme->job = job;
    acme->running = pthread_create(&acme->thread, NULL, job_main, job) == 0;
    if (acme->running)
        return;
    acme->counters.failed++;
    wish->failures++; /* no thread to be had: as any other failure */
    int64_t pause_us = pause_of(acme, wish, 0);
    wish->due_us = loop_now_us(acme->options.loop) + pause_us;
    acme->options.fn(acme->options.ctx, ACME_FAILED, job->domains[0], "no thread to be had",
                     pause_us);
    acme->job = NULL;
    job_clear(job);
    fr_free(job);
}

/* An order whose time is over ends as one that failed: its waits and calls are cut short. */
static void
watch_job(struct acme *acme)
{
    int64_t allowed_us = acme->options.order_us ? acme->options.order_us : ACME_ORDER_US;
    if (!acme->running || loop_now_us(acme->options.loop) - acme->job->begun_us <= allowed_us)
        return;
    atomic_store(&acme->job->late, true);
    atomic_store(&acme->job->cancelled, true);
}

static void
on_tick(void *ctx)
{
    struct acme *acme = ctx;
    struct wish *next = NULL;
    watch_job(acme);
    for (size_t i = 0; i < acme->wish_count; i++)
        if (acme->wishes[i].due_us <= loop_now_us(acme->options.loop) &&
            (!next || acme->wishes[i].due_us < next->due_us))
            next = &acme->wishes[i];
    if (next && !acme->running)
        job_begin(acme, next);
    loop_timer_start(acme->options.loop, &acme->tick, TICK_US, on_tick, acme);
}

/* ---- life ----------------------------------------------------------------------------------- */

struct acme *
acme_new(const struct acme_options *options)
{
    struct acme *acme = fr_xalloc(sizeof(*acme));
    int error = 0;
    acme->options = *options;
    acme->folder = fr_xstrdup(options->folder);
    fr_rand_init_random(&acme->rand);
    (void)curl_global_init(CURL_GLOBAL_DEFAULT); /* a failure shows in every call */
    enum fr_err err = fr_file_make_folder(acme->folder, &error);
    (void)err; /* likewise, in the files */
    return acme;
}

void
acme_set(struct acme *acme, const struct acme_order *orders, size_t count)
{
    struct wish *old = acme->wishes;
    size_t old_count = acme->wish_count;
    struct wish *fresh = count ? fr_xalloc(count * sizeof(*fresh)) : NULL;
    for (size_t i = 0; i < count; i++) {
        const struct wish *before = wish_of(acme, orders[i].certificate);
        job_copy(acme, &orders[i], &fresh[i].order);
        fresh[i].due_us = due_of(acme, &fresh[i]);
        /* What failed waits on, unless what is asked for is something else. */
        if (before && before->failures > 0 &&
            strcmp(before->order.directory, orders[i].directory) == 0 &&
            before->order.challenge == orders[i].challenge &&
            same_names(before->order.domains, orders[i].domains)) {
            fresh[i].failures = before->failures;
            fresh[i].due_us = before->due_us;
        }
    }
    acme->wishes = fresh;
    acme->wish_count = count;
    for (size_t i = 0; i < old_count; i++)
        job_clear(&old[i].order);
    fr_free(old);
    loop_timer_start(acme->options.loop, &acme->tick, 0, on_tick, acme);
}

void
acme_read_counters(const struct acme *acme, struct acme_counters *out)
{
    *out = acme->counters;
}

void
acme_free(struct acme **acme)
{
    struct acme *a = *acme;
    *acme = NULL;
    if (!a)
        return;
    loop_timer_stop(&a->tick);
    if (a->running) {
        atomic_store(&a->job->cancelled, true);
        job_end(a);
        a->job->owner = NULL; /* its message is the loop's, and frees it */
    }
    for (size_t i = 0; i < a->wish_count; i++)
        job_clear(&a->wishes[i].order);
    fr_free(a->wishes);
    fr_free(a->folder);
    fr_free(a);
}
