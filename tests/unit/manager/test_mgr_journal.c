/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_mgr_journal.c - the journal: epochs, rows, restarts, pruning, and files that are no journal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "manager/mgr_priv.h"

#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW_US 1700000000000000LL

struct place {
    char folder[64];
    char path[96];
};

static int
setup(void **state)
{
    struct place *place = calloc(1, sizeof(*place));

    strcpy(place->folder, "/tmp/mgr-journal-XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    snprintf(place->path, sizeof(place->path), "%s/journal.sqlite", place->folder);
    *state = place;
    return 0;
}

static int
teardown(void **state)
{
    struct place *place = *state;
    char command[128];

    snprintf(command, sizeof(command), "rm -rf -- %s", place->folder);
    int rc = system(command);
    free(place);
    return rc;
}

static struct mgr_journal *
open_journal(const char *path, uint32_t rows, uint64_t *out_epoch)
{
    struct mgr_journal *journal = NULL;

    mgr_journal_open(path, rows, NOW_US, &journal, out_epoch);
    assert_non_null(journal);
    return journal;
}

static int64_t
decide(struct mgr_journal *journal, const char *cluster, const char *sentence, uint64_t sequence)
{
    struct policy_decision numbers = {
        .mean = 0.5, .highest = 0.93, .after = (double)NAN, .ready = 3};
    struct mgr_journal_decision decision = {
        .cluster = cluster,
        .verdict = sequence ? "allocate" : "hold",
        .rule = "upper",
        .sentence = sentence,
        .numbers = &numbers,
        .upper = 0.8,
        .lower = 0.3,
        .wall_us = NOW_US,
        .request = {sequence ? 7 : 0, sequence},
    };
    return mgr_journal_decision(journal, &decision);
}

static void
request(struct mgr_journal *journal, uint64_t epoch, uint64_t sequence)
{
    struct mgr_request request = {
        .id = {epoch, sequence}, .operation = WIRE_ALLOCATE, .cluster = "web",
        .target = "edge-1", .count = 2, .upper = (double)NAN, .lower = (double)NAN,
        .reason = "web-3 at 0.93",
    };
    mgr_journal_request(journal, &request, NOW_US);
}

struct seen {
    size_t count;
    char last[MGR_SENTENCE_BYTES];
    char status[32], code[32], servers[64];
    uint64_t repeats;
    double highest;
    struct mgr_request request;
};

static void
see_why(void *ctx, const struct mgr_why *why)
{
    struct seen *seen = ctx;

    seen->count++;
    seen->repeats = why->repeats;
    seen->highest = why->highest;
    assert_true(fr_view_copy(why->sentence, seen->last, sizeof(seen->last)));
    assert_true(fr_view_copy(why->status, seen->status, sizeof(seen->status)));
    assert_true(fr_view_copy(why->code, seen->code, sizeof(seen->code)));
    assert_true(fr_view_copy(why->servers, seen->servers, sizeof(seen->servers)));
}

static void
see_request(void *ctx, const struct mgr_request *request_seen)
{
    struct seen *seen = ctx;

    seen->count++;
    seen->request = *request_seen;
}

static void
test_epoch_grows(void **state)
{
    struct place *place = *state;

    for (uint64_t expected = 1; expected <= 3; expected++) {
        uint64_t epoch = 0;
        struct mgr_journal *journal = open_journal(place->path, 1000, &epoch);
        assert_int_equal(epoch, expected);
        assert_true(mgr_journal_on_disk(journal));
        mgr_journal_close(&journal);
        assert_null(journal);
    }
    uint64_t epoch = 0;
    struct mgr_journal *journal = open_journal(place->path, 1000, &epoch);
    mgr_journal_epoch(journal, 90, NOW_US);
    mgr_journal_close(&journal);
    journal = open_journal(place->path, 1000, &epoch);
    assert_int_equal(epoch, 91);
    mgr_journal_close(&journal);
}

static void
test_why_tells_what_came_of_it(void **state)
{
    struct place *place = *state;
    uint64_t epoch = 0;
    struct mgr_journal *journal = open_journal(place->path, 1000, &epoch);
    struct seen seen = {0};

    assert_false(mgr_journal_why(journal, FR_VIEW("web"), 20, see_why, &seen));
    request(journal, 7, 1);
    assert_true(decide(journal, "web", "allocate 2: web-3 at 0.93", 1) > 0);
    assert_true(mgr_journal_why(journal, FR_VIEW("web"), 20, see_why, &seen));
    assert_string_equal(seen.status, "waiting");
    mgr_journal_answer(journal, (struct wire_request_id){7, 1}, "refused", FR_VIEW("pool-empty"),
                       FR_VIEW("nothing left"), "", NOW_US + 5);
    assert_true(mgr_journal_why(journal, FR_VIEW("web"), 20, see_why, &seen));
    assert_string_equal(seen.status, "refused");
    assert_string_equal(seen.code, "pool-empty");
    assert_string_equal(seen.last, "allocate 2: web-3 at 0.93");

    int64_t row = decide(journal, "web", "hold: within", 0);
    struct policy_decision numbers = {.mean = 0.4, .highest = 0.44, .after = (double)NAN};
    mgr_journal_repeat(journal, row, 17, NOW_US + 100, &numbers, "hold: within, later");
    seen = (struct seen){0};
    assert_true(mgr_journal_why(journal, FR_VIEW("web"), 20, see_why, &seen));
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.repeats, 17);
    assert_string_equal(seen.last, "hold: within, later");
    assert_true(fabs(seen.highest - 0.44) < 1e-9);

    seen = (struct seen){0};
    assert_true(mgr_journal_why(journal, FR_VIEW("web"), 1, see_why, &seen));
    assert_int_equal(seen.count, 1); /* the newest */
    assert_string_equal(seen.last, "hold: within, later");
    assert_false(mgr_journal_why(journal, FR_VIEW("we"), 20, see_why, &seen));
    assert_false(mgr_journal_why(journal, FR_VIEW("web' OR '1'='1"), 20, see_why, &seen));
    mgr_journal_close(&journal);
}

/* A request is on disk when the call returns: another connection sees it, nothing was committed by
 * hand, and the journal's end (here: a copy of the files as they are) loses nothing. */
static void
test_request_is_durable_before_it_is_sent(void **state)
{
    struct place *place = *state;
    uint64_t epoch = 0;
    struct mgr_journal *journal = open_journal(place->path, 1000, &epoch);
    struct seen seen = {0};
    sqlite3 *other = NULL;
    sqlite3_stmt *statement = NULL;

    (void)decide(journal, "web", "hold: before", 0);
    request(journal, epoch, 1);
    assert_int_equal(sqlite3_open(place->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(other, "SELECT count(*) FROM requests", -1, &statement,
                                        NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(statement, 0), 1);
    sqlite3_finalize(statement);
    sqlite3_close(other);
    mgr_journal_close(&journal);

    journal = open_journal(place->path, 1000, &epoch);
    mgr_journal_unanswered(journal, see_request, &seen);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.request.id.epoch, 1);
    assert_int_equal(seen.request.id.sequence, 1);
    assert_int_equal(seen.request.operation, WIRE_ALLOCATE);
    assert_int_equal(seen.request.count, 2);
    assert_string_equal(seen.request.cluster, "web");
    assert_string_equal(seen.request.target, "edge-1");
    assert_true(isnan(seen.request.upper));
    mgr_journal_answer(journal, seen.request.id, "done", FR_VIEW(""), FR_VIEW(""), "web-4", NOW_US);
    seen = (struct seen){0};
    mgr_journal_unanswered(journal, see_request, &seen);
    assert_int_equal(seen.count, 0);
    mgr_journal_close(&journal);
}

static void
test_observations_wait_for_the_commit(void **state)
{
    struct place *place = *state;
    uint64_t epoch = 0;
    struct mgr_journal *journal = open_journal(place->path, 1000, &epoch);
    sqlite3 *other = NULL;
    sqlite3_stmt *statement = NULL;

    assert_int_equal(sqlite3_open(place->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(other, "SELECT count(*) FROM decisions", -1, &statement,
                                        NULL),
                     SQLITE_OK);
    (void)decide(journal, "web", "hold: one", 0);
    (void)decide(journal, "web", "hold: two", 0);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(statement, 0), 0);
    sqlite3_reset(statement);
    mgr_journal_tick(journal);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(statement, 0), 2);
    sqlite3_finalize(statement);
    sqlite3_close(other);
    mgr_journal_close(&journal);
}

static void
test_pruning_keeps_the_newest(void **state)
{
    struct place *place = *state;
    uint64_t epoch = 0;
    struct mgr_journal *journal = open_journal(place->path, 100, &epoch);
    struct seen seen = {0};
    char sentence[32];

    request(journal, epoch, 1); /* unanswered: it must survive */
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(sentence, sizeof(sentence), "number %u", i);
        assert_true(decide(journal, "web", sentence, 0) > 0);
    }
    for (unsigned i = 2; i < 400; i++) {
        request(journal, epoch, i);
        mgr_journal_answer(journal, (struct wire_request_id){epoch, i}, "done", FR_VIEW(""),
                           FR_VIEW(""), "", NOW_US);
    }
    mgr_journal_commit(journal);
    assert_true(mgr_journal_rows(journal) <= 2 * (100 + 64) + 1);
    assert_true(mgr_journal_rows(journal) >= 200);
    assert_true(mgr_journal_why(journal, FR_VIEW("web"), 1000, see_why, &seen));
    assert_string_equal(seen.last, "number 999");
    assert_true(seen.count >= 100);
    seen = (struct seen){0};
    mgr_journal_unanswered(journal, see_request, &seen);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.request.id.sequence, 1);
    mgr_journal_close(&journal);
}

/* ---- files that are no journal --------------------------------------------------------------- */

static void
works_in_memory(struct mgr_journal *journal)
{
    struct seen seen = {0};

    assert_false(mgr_journal_on_disk(journal));
    assert_true(decide(journal, "web", "hold: in memory", 0) > 0);
    request(journal, 5, 1);
    assert_true(mgr_journal_why(journal, FR_VIEW("web"), 20, see_why, &seen));
    assert_string_equal(seen.last, "hold: in memory");
    mgr_journal_commit(journal);
}

static void
test_damaged_file_is_left_alone(void **state)
{
    struct place *place = *state;
    uint64_t epoch = 0;
    char junk[4096];
    char after[4096];

    memset(junk, 'x', sizeof(junk));
    FILE *file = fopen(place->path, "w");
    assert_int_equal(fwrite(junk, 1, sizeof(junk), file), sizeof(junk));
    fclose(file);
    struct mgr_journal *journal = open_journal(place->path, 100, &epoch);
    assert_true(epoch > 1000); /* beyond any count of starts */
    assert_true(mgr_journal_failures(journal) > 0);
    works_in_memory(journal);
    mgr_journal_close(&journal);
    file = fopen(place->path, "r");
    assert_int_equal(fread(after, 1, sizeof(after), file), sizeof(after));
    fclose(file);
    assert_memory_equal(junk, after, sizeof(junk));
}

/* Damage in the middle of a good file shows only when that page is read or written. */
static void
test_damage_inside_does_not_stop_it(void **state)
{
    struct place *place = *state;
    uint64_t epoch = 0;
    struct mgr_journal *journal = open_journal(place->path, 10000, &epoch);
    char junk[4096];

    for (unsigned i = 0; i < 500; i++)
        (void)decide(journal, "web", "a sentence to fill pages with", 0);
    mgr_journal_close(&journal); /* the last connection folds the WAL into the file */
    memset(junk, 0xa5, sizeof(junk));
    FILE *file = fopen(place->path, "r+");
    fseek(file, 0, SEEK_END);
    long end = ftell(file);
    for (long at = 4096; at + 4096 <= end; at += 8192) {
        fseek(file, at, SEEK_SET);
        assert_int_equal(fwrite(junk, 1, sizeof(junk), file), sizeof(junk));
    }
    fclose(file);
    journal = open_journal(place->path, 10000, &epoch);
    for (unsigned i = 0; i < 500; i++)
        (void)decide(journal, "web", "still here", 0);
    request(journal, epoch, 1);
    mgr_journal_commit(journal);
    struct seen seen = {0};
    (void)mgr_journal_why(journal, FR_VIEW("web"), 20, see_why, &seen);
    mgr_journal_close(&journal);
}

static void
test_locked_file_does_not_block(void **state)
{
    struct place *place = *state;
    uint64_t epoch = 0;
    sqlite3 *other = NULL;
    struct mgr_journal *journal = open_journal(place->path, 1000, &epoch);

    /* Locked while it is in use: what cannot be written is counted, and later it goes on. */
    assert_int_equal(sqlite3_open(place->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    int64_t start_us = fr_clock_mono_us();
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(decide(journal, "web", "lost", 0), 0);
    assert_true(fr_clock_mono_us() - start_us < 1500000); /* one wait of 20 ms, not a hundred */
    assert_true(mgr_journal_failures(journal) > 0);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    mgr_journal_tick(journal);
    assert_true(decide(journal, "web", "kept", 0) > 0);
    mgr_journal_close(&journal);

    /* Locked at the start: in memory. */
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    journal = open_journal(place->path, 1000, &epoch);
    works_in_memory(journal);
    mgr_journal_close(&journal);
    sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(other);
}

static void
test_folder_that_is_not_there(void **state)
{
    uint64_t epoch = 0;
    (void)state;

    struct mgr_journal *journal = open_journal("/nonexistent/folder/journal.sqlite", 100, &epoch);
    works_in_memory(journal);
    mgr_journal_close(&journal);
    journal = open_journal(NULL, 100, &epoch);
    works_in_memory(journal);
    mgr_journal_close(&journal);
    mgr_journal_close(&journal);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_epoch_grows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_why_tells_what_came_of_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_request_is_durable_before_it_is_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_observations_wait_for_the_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pruning_keeps_the_newest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_file_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_inside_does_not_stop_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_locked_file_does_not_block, setup, teardown),
        cmocka_unit_test(test_folder_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
