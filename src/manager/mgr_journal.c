/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr_journal.c - every decision, every decision not to act, every request and what came of it.
 *
 * May touch:  base, SQLite (one file, WAL).
 * Threads:    the manager's loop.
 * Durability: a request is on disk before it is sent (synchronous FULL). Observations and answers
 *             wait in one transaction that is committed every MGR_TICK_US (synchronous NORMAL): a
 *             crash of the machine may lose that much of what was seen, never what was asked for.
 *             An answer that is lost so is asked for again, and answered from memory.
 * Memory:     consecutive holds with the same rule are one row that counts; rows_max rows of
 *             decisions and as many requests are kept, the oldest go first.
 * When broken: a file that is damaged, locked or not writable is reported once and left as it is;
 *             the journal goes on in memory. A lock that comes later is waited for BUSY_MS a tick
 *             at most; what cannot be written then is counted and left out.
 */
#include "manager/mgr_priv.h"

#include "base/fr_check.h"

#include <math.h>
#include <sqlite3.h>

#define BUSY_MS 20
#define PRUNE_EVERY 64 /* inserted rows between two prunings: the excess is at most so much */

enum statement {
    ST_BEGIN,
    ST_COMMIT,
    ST_EPOCH,
    ST_DECISION,
    ST_REPEAT,
    ST_REQUEST,
    ST_SENT,
    ST_ANSWER,
    ST_PRUNE_DECISIONS,
    ST_PRUNE_REQUESTS,
    ST_UNANSWERED,
    ST_WHY,
    ST_ROWS,
    ST_COUNT
};

struct mgr_journal {
    sqlite3 *db; /* NULL: not even memory could be had */
    sqlite3_stmt *statements[ST_COUNT];
    char *path; /* NULL: in memory */
    uint32_t rows_max;
    unsigned inserted; /* since the last pruning */
    bool is_open_transaction;
    bool is_suspended; /* a lock stood in the way: not again before the next tick */
    bool is_failure_logged;
    uint64_t failures;
};

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS epochs("
    " epoch INTEGER PRIMARY KEY, started_at INTEGER NOT NULL, version TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS decisions("
    " id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, last_at INTEGER NOT NULL,"
    " repeats INTEGER NOT NULL DEFAULT 1, cluster TEXT NOT NULL, verdict TEXT NOT NULL,"
    " rule TEXT NOT NULL, sentence TEXT NOT NULL, member TEXT, weight INTEGER, count INTEGER,"
    " mean REAL, highest REAL, highest_id TEXT, after REAL, upper REAL, lower REAL,"
    " ready INTEGER, starting INTEGER, draining INTEGER, stale INTEGER, needed INTEGER,"
    " wait_us INTEGER, epoch INTEGER, sequence INTEGER);"
    "CREATE INDEX IF NOT EXISTS decisions_by_cluster ON decisions(cluster, id);"
    "CREATE TABLE IF NOT EXISTS requests("
    " id INTEGER PRIMARY KEY AUTOINCREMENT, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,"
    " at INTEGER NOT NULL, sent_at INTEGER, sends INTEGER NOT NULL DEFAULT 0,"
    " cluster TEXT NOT NULL, operation INTEGER NOT NULL, operation_name TEXT NOT NULL,"
    " target TEXT NOT NULL, server TEXT, address TEXT, pool TEXT, count INTEGER, weight INTEGER,"
    " upper REAL, lower REAL, step INTEGER, reason TEXT,"
    " status TEXT NOT NULL DEFAULT 'waiting', answered_at INTEGER, code TEXT, words TEXT,"
    " servers TEXT, UNIQUE(epoch, sequence));"
    "CREATE INDEX IF NOT EXISTS requests_waiting ON requests(id) WHERE status = 'waiting';";

static const char *const statement_text[ST_COUNT] = {
    [ST_BEGIN] = "BEGIN IMMEDIATE",
    [ST_COMMIT] = "COMMIT",
    [ST_EPOCH] = "INSERT OR IGNORE INTO epochs(epoch, started_at, version) VALUES(?1, ?2, ?3)",
    [ST_DECISION] =
        "INSERT INTO decisions(at, last_at, cluster, verdict, rule, sentence, member, weight,"
        " count, mean, highest, highest_id, after, upper, lower, ready, starting, draining, stale,"
        " needed, wait_us, epoch, sequence)"
        " VALUES(?1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,"
        " ?18, ?19, ?20, ?21, ?22)",
    [ST_REPEAT] = "UPDATE decisions SET repeats = ?2, last_at = ?3, mean = ?4, highest = ?5,"
                  " highest_id = ?6, ready = ?7, starting = ?8, draining = ?9, stale = ?10,"
                  " needed = ?11, wait_us = ?12, sentence = ?13 WHERE id = ?1",
    [ST_REQUEST] =
        "INSERT INTO requests(epoch, sequence, at, cluster, operation, operation_name, target,"
        " server, address, pool, count, weight, upper, lower, step, reason)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    [ST_SENT] = "UPDATE requests SET sends = ?3, sent_at = ?4 WHERE epoch = ?1 AND sequence = ?2",
    [ST_ANSWER] = "UPDATE requests SET status = ?3, code = ?4, words = ?5, servers = ?6,"
                  " answered_at = ?7 WHERE epoch = ?1 AND sequence = ?2",
    [ST_PRUNE_DECISIONS] =
        "DELETE FROM decisions WHERE id <= (SELECT max(id) FROM decisions) - ?1",
    [ST_PRUNE_REQUESTS] = "DELETE FROM requests WHERE id <= (SELECT max(id) FROM requests) - ?1"
                          " AND status <> 'waiting'",
    [ST_UNANSWERED] =
        "SELECT epoch, sequence, cluster, operation, target, server, address, pool, count, weight,"
        " upper, lower, step, reason FROM requests WHERE status = 'waiting' ORDER BY id",
    [ST_WHY] =
        "SELECT * FROM (SELECT d.id, d.at, d.last_at, d.repeats, d.verdict, d.rule, d.sentence,"
        " d.mean, d.highest, d.ready, d.starting, d.draining, d.stale, d.epoch, d.sequence,"
        " r.status, r.code, r.words, r.servers, r.answered_at"
        " FROM decisions d LEFT JOIN requests r ON r.epoch = d.epoch AND r.sequence = d.sequence"
        " WHERE d.cluster = ?1 ORDER BY d.id DESC LIMIT ?2) ORDER BY 1",
    [ST_ROWS] = "SELECT (SELECT count(*) FROM decisions) + (SELECT count(*) FROM requests)",
};

/* ---- failing quietly ------------------------------------------------------------------------ */

static void
journal_failed(struct mgr_journal *journal, const char *what)
{
    journal->failures++;
    if (journal->is_failure_logged)
        return;
    journal->is_failure_logged = true;
    fr_log(FR_LOG_WARN, "manager", "journal cannot be written: deciding goes on without it",
           FR_S("path", journal->path ? journal->path : "memory"), FR_S("doing", what),
           FR_S("error", journal->db ? sqlite3_errmsg(journal->db) : "out of memory"));
}

static void
statements_free(struct mgr_journal *journal)
{
    for (unsigned i = 0; i < ST_COUNT; i++) {
        (void)sqlite3_finalize(journal->statements[i]); /* repeats the last step's error */
        journal->statements[i] = NULL;
    }
}

static bool
db_open(struct mgr_journal *journal, const char *path)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;

    if (sqlite3_open_v2(path ? path : ":memory:", &journal->db, flags, NULL) != SQLITE_OK)
        return false;
    (void)sqlite3_busy_timeout(journal->db, BUSY_MS); /* fails for no reason of ours */
    (void)sqlite3_extended_result_codes(journal->db, 1);
    if (sqlite3_exec(journal->db,
                     "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                     "PRAGMA wal_autocheckpoint=1000; PRAGMA journal_size_limit=16777216;",
                     NULL, NULL, NULL) != SQLITE_OK)
        return false;
    if (sqlite3_exec(journal->db, schema, NULL, NULL, NULL) != SQLITE_OK)
        return false;
    for (unsigned i = 0; i < ST_COUNT; i++)
        if (sqlite3_prepare_v3(journal->db, statement_text[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &journal->statements[i], NULL) != SQLITE_OK)
            return false;
    return true;
}

static void
db_close(struct mgr_journal *journal)
{
    statements_free(journal);
    (void)sqlite3_close(journal->db); /* nothing of it is in use any more */
    journal->db = NULL;
    journal->is_open_transaction = false;
    journal->is_suspended = false;
}

/* From a file that turned out broken to memory. */
static void
fall_back(struct mgr_journal *journal)
{
    db_close(journal);
    fr_free(journal->path);
    journal->path = NULL;
    if (!db_open(journal, NULL))
        db_close(journal);
}

/* Runs a statement that gives no rows; its bindings are used up. */
static bool
step(struct mgr_journal *journal, enum statement which)
{
    sqlite3_stmt *statement = journal->statements[which];
    int rc = sqlite3_step(statement);

    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        journal_failed(journal, statement_text[which]);
    (void)sqlite3_reset(statement); /* repeats the step's error */
    (void)sqlite3_clear_bindings(statement);
    int primary = rc & 0xff;
    if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB || primary == SQLITE_IOERR) {
        fr_log(FR_LOG_ERROR, "manager", "journal is damaged: going on in memory",
               FR_S("path", journal->path ? journal->path : "memory"));
        fall_back(journal);
    }
    return rc == SQLITE_DONE || rc == SQLITE_ROW;
}

static bool
begin(struct mgr_journal *journal)
{
    if (!journal->db || journal->is_suspended)
        return false;
    if (!journal->is_open_transaction) {
        journal->is_open_transaction = step(journal, ST_BEGIN);
        journal->is_suspended = !journal->is_open_transaction;
    }
    return journal->is_open_transaction;
}

/* ---- binding -------------------------------------------------------------------------------- */
/* A bind fails only for want of memory; the step that follows then fails on NOT NULL, or stores
 * NULL for a number: the row is poorer, nothing else. */

static void
bind_int(sqlite3_stmt *statement, int at, uint64_t value)
{
    (void)sqlite3_bind_int64(statement, at, (sqlite3_int64)(value & INT64_MAX));
}

static void
bind_time(sqlite3_stmt *statement, int at, int64_t value)
{
    (void)sqlite3_bind_int64(statement, at, value);
}

static void
bind_float(sqlite3_stmt *statement, int at, double value)
{
    if (isfinite(value))
        (void)sqlite3_bind_double(statement, at, value);
    else
        (void)sqlite3_bind_null(statement, at);
}

static void
bind_view(sqlite3_stmt *statement, int at, struct fr_view text)
{
    if (text.len > 0 && text.len < INT32_MAX)
        (void)sqlite3_bind_text(statement, at, text.ptr, (int)text.len, SQLITE_TRANSIENT);
    else
        (void)sqlite3_bind_text(statement, at, "", 0, SQLITE_STATIC);
}

static void
bind_text(sqlite3_stmt *statement, int at, const char *text)
{
    bind_view(statement, at, fr_view_of(text));
}

static struct fr_view
column_view(sqlite3_stmt *statement, int at)
{
    const unsigned char *text = sqlite3_column_text(statement, at);
    int bytes = sqlite3_column_bytes(statement, at);

    return text && bytes > 0 ? fr_view_make((const char *)text, (size_t)bytes)
                             : (struct fr_view){"", 0};
}

static double
column_float(sqlite3_stmt *statement, int at)
{
    return sqlite3_column_type(statement, at) == SQLITE_NULL ? (double)NAN
                                                             : sqlite3_column_double(statement, at);
}

static uint64_t
column_int(sqlite3_stmt *statement, int at)
{
    sqlite3_int64 value = sqlite3_column_int64(statement, at);
    return value > 0 ? (uint64_t)value : 0;
}

/* ---- opening -------------------------------------------------------------------------------- */

static uint64_t
epoch_newest(struct mgr_journal *journal)
{
    sqlite3_stmt *statement = NULL;
    uint64_t newest = 0;

    if (sqlite3_prepare_v2(journal->db,
                           "SELECT max((SELECT ifnull(max(epoch), 0) FROM epochs),"
                           " (SELECT ifnull(max(epoch), 0) FROM requests))",
                           -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        newest = column_int(statement, 0);
    (void)sqlite3_finalize(statement); /* repeats the step's error */
    return newest;
}

/* The epoch must be on disk before it is used: two lives with one epoch could repeat an id. */
static bool
epoch_begin(struct mgr_journal *journal, uint64_t epoch, int64_t wall_us)
{
    uint64_t failures = journal->failures;

    (void)sqlite3_exec(journal->db, "PRAGMA synchronous=FULL", NULL, NULL, NULL);
    mgr_journal_epoch(journal, epoch, wall_us);
    mgr_journal_commit(journal);
    if (journal->db)
        (void)sqlite3_exec(journal->db, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
    return journal->failures == failures;
}

void
mgr_journal_open(const char *path, uint32_t rows_max, int64_t wall_us, struct mgr_journal **out,
                 uint64_t *out_epoch)
{
    struct mgr_journal *journal = fr_xalloc(sizeof(*journal));

    journal->rows_max = rows_max ? rows_max : 1;
    journal->path = fr_xstrdup(path);
    bool is_ok = path && db_open(journal, path);
    if (is_ok) {
        *out_epoch = epoch_newest(journal) + 1;
        is_ok = epoch_begin(journal, *out_epoch, wall_us);
    }
    if (!is_ok) {
        if (path)
            fr_log(FR_LOG_WARN, "manager", "journal cannot be opened: going on in memory",
                   FR_S("path", path),
                   FR_S("error", journal->is_failure_logged ? "see above"
                                 : journal->db              ? sqlite3_errmsg(journal->db)
                                                            : "out of memory"));
        journal->failures += path != NULL;
        fall_back(journal);
        /* Without a memory of earlier epochs the wall clock stands in: it is beyond any count of
         * starts, and peers raise it (mgr_session.c) where even that is not enough. */
        *out_epoch = wall_us > 0 ? (uint64_t)(wall_us / FR_US_PER_S) + 1 : 1;
        if (journal->db)
            mgr_journal_epoch(journal, *out_epoch, wall_us);
    }
    journal->is_failure_logged = false;
    *out = journal;
}

void
mgr_journal_close(struct mgr_journal **journal)
{
    struct mgr_journal *old = *journal;

    if (!old)
        return;
    mgr_journal_commit(old);
    db_close(old);
    fr_free(old->path);
    fr_free(old);
    *journal = NULL;
}

bool
mgr_journal_on_disk(const struct mgr_journal *journal)
{
    return journal->db && journal->path;
}

uint64_t
mgr_journal_failures(const struct mgr_journal *journal)
{
    return journal->failures;
}

void
mgr_journal_epoch(struct mgr_journal *journal, uint64_t epoch, int64_t wall_us)
{
    if (!begin(journal))
        return;
    sqlite3_stmt *statement = journal->statements[ST_EPOCH];
    bind_int(statement, 1, epoch);
    bind_time(statement, 2, wall_us);
    bind_text(statement, 3, FRESHET_VERSION);
    (void)step(journal, ST_EPOCH); /* a failure is counted */
}

/* ---- writing -------------------------------------------------------------------------------- */

static void
prune(struct mgr_journal *journal)
{
    if (++journal->inserted < PRUNE_EVERY && journal->inserted < journal->rows_max)
        return;
    journal->inserted = 0;
    for (enum statement which = ST_PRUNE_DECISIONS; which <= ST_PRUNE_REQUESTS; which++) {
        if (!begin(journal))
            return;
        bind_int(journal->statements[which], 1, journal->rows_max);
        (void)step(journal, which); /* a failure is counted; the next pruning takes more */
    }
}

int64_t
mgr_journal_decision(struct mgr_journal *journal, const struct mgr_journal_decision *decision)
{
    const struct policy_decision *numbers = decision->numbers;

    if (!begin(journal))
        return 0;
    sqlite3_stmt *statement = journal->statements[ST_DECISION];
    bind_time(statement, 1, decision->wall_us);
    bind_text(statement, 2, decision->cluster);
    bind_text(statement, 3, decision->verdict);
    bind_text(statement, 4, decision->rule);
    bind_text(statement, 5, decision->sentence);
    bind_text(statement, 6, numbers->member);
    bind_int(statement, 7, numbers->weight);
    bind_int(statement, 8, numbers->count);
    bind_float(statement, 9, numbers->mean);
    bind_float(statement, 10, numbers->highest);
    bind_text(statement, 11, numbers->highest_id);
    bind_float(statement, 12, numbers->after);
    bind_float(statement, 13, decision->upper);
    bind_float(statement, 14, decision->lower);
    bind_int(statement, 15, numbers->ready);
    bind_int(statement, 16, numbers->starting);
    bind_int(statement, 17, numbers->draining);
    bind_int(statement, 18, numbers->stale);
    bind_int(statement, 19, numbers->needed);
    bind_time(statement, 20, numbers->wait_us);
    if (decision->request.sequence) {
        bind_int(statement, 21, decision->request.epoch);
        bind_int(statement, 22, decision->request.sequence);
    }
    if (!step(journal, ST_DECISION) || !journal->db)
        return 0;
    int64_t row = sqlite3_last_insert_rowid(journal->db);
    prune(journal);
    return row;
}

void
mgr_journal_repeat(struct mgr_journal *journal, int64_t row, uint64_t repeats, int64_t wall_us,
                   const struct policy_decision *numbers, const char *sentence)
{
    if (row == 0 || !begin(journal))
        return;
    sqlite3_stmt *statement = journal->statements[ST_REPEAT];
    bind_time(statement, 1, row);
    bind_int(statement, 2, repeats);
    bind_time(statement, 3, wall_us);
    bind_float(statement, 4, numbers->mean);
    bind_float(statement, 5, numbers->highest);
    bind_text(statement, 6, numbers->highest_id);
    bind_int(statement, 7, numbers->ready);
    bind_int(statement, 8, numbers->starting);
    bind_int(statement, 9, numbers->draining);
    bind_int(statement, 10, numbers->stale);
    bind_int(statement, 11, numbers->needed);
    bind_time(statement, 12, numbers->wait_us);
    bind_text(statement, 13, sentence);
    (void)step(journal, ST_REPEAT); /* a failure is counted */
}

void
mgr_journal_request(struct mgr_journal *journal, const struct mgr_request *request, int64_t wall_us)
{
    /* synchronous cannot change inside a transaction, so observations go first, cheaply. */
    mgr_journal_commit(journal);
    if (journal->db)
        (void)sqlite3_exec(journal->db, "PRAGMA synchronous=FULL", NULL, NULL, NULL);
    if (!begin(journal))
        return;
    sqlite3_stmt *statement = journal->statements[ST_REQUEST];
    bind_int(statement, 1, request->id.epoch);
    bind_int(statement, 2, request->id.sequence);
    bind_time(statement, 3, wall_us);
    bind_text(statement, 4, request->cluster);
    bind_int(statement, 5, request->operation);
    bind_text(statement, 6, wire_operation_name(request->operation));
    bind_text(statement, 7, request->target);
    bind_text(statement, 8, request->server);
    bind_text(statement, 9, request->address);
    bind_text(statement, 10, request->pool);
    bind_int(statement, 11, request->count);
    bind_int(statement, 12, request->weight);
    bind_float(statement, 13, request->upper);
    bind_float(statement, 14, request->lower);
    bind_int(statement, 15, request->step);
    bind_text(statement, 16, request->reason);
    (void)step(journal, ST_REQUEST); /* counted; the request is sent all the same */
    mgr_journal_commit(journal);
    if (journal->db)
        (void)sqlite3_exec(journal->db, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
    prune(journal);
}

void
mgr_journal_sent(struct mgr_journal *journal, struct wire_request_id id, uint32_t sends,
                 int64_t wall_us)
{
    if (!begin(journal))
        return;
    sqlite3_stmt *statement = journal->statements[ST_SENT];
    bind_int(statement, 1, id.epoch);
    bind_int(statement, 2, id.sequence);
    bind_int(statement, 3, sends);
    bind_time(statement, 4, wall_us);
    (void)step(journal, ST_SENT); /* a failure is counted */
}

void
mgr_journal_answer(struct mgr_journal *journal, struct wire_request_id id, const char *status,
                   struct fr_view code, struct fr_view reason, const char *servers, int64_t wall_us)
{
    if (!begin(journal))
        return;
    sqlite3_stmt *statement = journal->statements[ST_ANSWER];
    bind_int(statement, 1, id.epoch);
    bind_int(statement, 2, id.sequence);
    bind_text(statement, 3, status);
    bind_view(statement, 4, code);
    bind_view(statement, 5, reason);
    bind_text(statement, 6, servers);
    bind_time(statement, 7, wall_us);
    (void)step(journal, ST_ANSWER); /* counted: then it is asked for again, and answered so again */
}

void
mgr_journal_commit(struct mgr_journal *journal)
{
    if (!journal->db || !journal->is_open_transaction)
        return;
    journal->is_open_transaction = false;
    if (step(journal, ST_COMMIT))
        journal->is_failure_logged = false; /* it can be written again: say so if that ends */
    else if (journal->db)
        (void)sqlite3_exec(journal->db, "ROLLBACK", NULL, NULL, NULL);
}

void
mgr_journal_tick(struct mgr_journal *journal)
{
    journal->is_suspended = false;
    mgr_journal_commit(journal);
}

/* ---- reading -------------------------------------------------------------------------------- */

void
mgr_journal_unanswered(struct mgr_journal *journal,
                       void (*visit)(void *ctx, const struct mgr_request *request), void *ctx)
{
    if (!journal->db)
        return;
    sqlite3_stmt *statement = journal->statements[ST_UNANSWERED];
    while (sqlite3_step(statement) == SQLITE_ROW) {
        struct mgr_request request = {0};
        uint64_t operation = column_int(statement, 3);
        bool fits = operation < WIRE_OPERATION_COUNT;
        request.id.epoch = column_int(statement, 0);
        request.id.sequence = column_int(statement, 1);
        request.operation = (enum wire_operation)operation;
        fits &= fr_view_copy(column_view(statement, 2), request.cluster, sizeof(request.cluster));
        fits &= fr_view_copy(column_view(statement, 4), request.target, sizeof(request.target));
        fits &= fr_view_copy(column_view(statement, 5), request.server, sizeof(request.server));
        fits &= fr_view_copy(column_view(statement, 6), request.address, sizeof(request.address));
        fits &= fr_view_copy(column_view(statement, 7), request.pool, sizeof(request.pool));
        request.count = (uint32_t)column_int(statement, 8);
        request.weight = (uint32_t)column_int(statement, 9);
        request.upper = column_float(statement, 10);
        request.lower = column_float(statement, 11);
        request.step = column_int(statement, 12);
        fits &= fr_view_copy(column_view(statement, 13), request.reason, sizeof(request.reason));
        if (fits && request.id.epoch && request.id.sequence) /* the file may be anybody's work */
            visit(ctx, &request);
    }
    (void)sqlite3_reset(statement); /* what could be read was visited */
}

bool
mgr_journal_why(struct mgr_journal *journal, struct fr_view cluster, unsigned rows,
                void (*visit)(void *ctx, const struct mgr_why *why), void *ctx)
{
    bool any = false;

    if (!journal->db)
        return false;
    sqlite3_stmt *statement = journal->statements[ST_WHY];
    bind_view(statement, 1, cluster);
    bind_int(statement, 2, rows);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        struct mgr_why why = {
            .at_us = sqlite3_column_int64(statement, 1),
            .last_at_us = sqlite3_column_int64(statement, 2),
            .repeats = column_int(statement, 3),
            .verdict = column_view(statement, 4),
            .rule = column_view(statement, 5),
            .sentence = column_view(statement, 6),
            .mean = column_float(statement, 7),
            .highest = column_float(statement, 8),
            .ready = column_int(statement, 9),
            .starting = column_int(statement, 10),
            .draining = column_int(statement, 11),
            .stale = column_int(statement, 12),
            .request = {column_int(statement, 13), column_int(statement, 14)},
            .status = column_view(statement, 15),
            .code = column_view(statement, 16),
            .reason = column_view(statement, 17),
            .servers = column_view(statement, 18),
            .answered_at_us = sqlite3_column_int64(statement, 19),
        };
        any = true;
        visit(ctx, &why);
    }
    (void)sqlite3_reset(statement); /* what could be read was visited */
    (void)sqlite3_clear_bindings(statement);
    return any;
}

uint64_t
mgr_journal_rows(struct mgr_journal *journal)
{
    uint64_t rows = 0;

    if (!journal->db)
        return 0;
    if (sqlite3_step(journal->statements[ST_ROWS]) == SQLITE_ROW)
        rows = column_int(journal->statements[ST_ROWS], 0);
    (void)sqlite3_reset(journal->statements[ST_ROWS]); /* repeats the step's error */
    return rows;
}
