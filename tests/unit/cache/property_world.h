/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property_world.h - what the property test has: an origin, clients, two clocks, a store, a disk,
 * and what the model remembers of every response.
 *
 *     property_cache.c   what happens, step by step
 *     property_model.c   the model: whether an answer is right
 *     property_text.c    heads and bodies
 *     property_disk.c    a file in memory, its writer, kills and damage
 */
#ifndef PROPERTY_WORLD_H
#define PROPERTY_WORLD_H

#include "cache/cache_disk_priv.h"
#include "cache_help.h"

#define PATHS 400
#define PATHS_HOT 24
#define LANGUAGES 3
#define GROUPS 2
#define USERS 3 /* 0: nobody */
#define PENDING 6
#define RECORDS 4096 /* of the newest responses; older ones are not stored any more, see trim */
#define SEGMENTS 8
#define NONE INT64_C(-1)

struct said {                                 /* by a response */
    int64_t max_age_s, s_maxage_s, expires_s; /* expires: after Date */
    int64_t while_revalidate_s, if_error_s, age_s;
    int64_t skew_s; /* how far Date lies behind; below 0: ahead */
    bool no_store, no_cache, is_private, is_public, must_revalidate;
};

/* A representation: every octet tells its id and its place. */
struct body {
    uint64_t id, bytes;
    int path, language, group, user; /* whose it is; -1: everybody's */
    uint64_t whole_step;             /* when it was last asked for, and came whole, for everybody */
};

struct record { /* a response */
    uint64_t id;
    uint64_t body_id;
    uint64_t first, bytes; /* which part of the body it brought; a 304 brought none */
    uint64_t asked_step;
    int path, language, group, user;
    int64_t request_us, response_us; /* by the clock of the cache */
    int64_t date_s;                  /* what the clock of the day said when it came */
    int64_t steady_us;               /* when it came, by a clock that nobody sets */
    bool lost;                       /* nobody can know any more how old it is */
    struct said said;
};

struct wish { /* of a request */
    int path, language, group, user;
    int64_t max_age_s, min_fresh_s, max_stale_s, if_error_s;
    int64_t relief_s; /* the edge's own wish to serve stale */
    bool no_cache, no_store, only_if_cached;
    bool ranged;
    uint64_t first, last; /* first above last: the last `last` bytes */
};

struct pending {
    bool used;
    struct wish wish;
    struct record record;
    struct cache_filler *filler;
    struct cache_entry *stale; /* to be validated: the reader's */
    struct cache_entry *part;  /* to be completed: likewise */
    char text[512];
    uint64_t serial;
    size_t sent;
};

struct medium { /* nothing of it is used without a disk */
    char *file;
    struct cache_disk_layout layout;
    struct cache_disk *disk;
    struct cache_disk_loading *loading; /* what comes from there, and is not in memory yet */
    uint32_t segment;                   /* being written; SEGMENTS: none */
    uint64_t offset, sequence;
    uint64_t sequences[SEGMENTS];
    bool in_use[SEGMENTS];
};

struct world {
    struct cache_store *store;
    struct cache_reader *reader;
    struct medium medium;
    struct fr_rand rand;
    int64_t wall_us;   /* the clock of the day, which is set now and then */
    int64_t steady_us; /* the time that really passed */
    int64_t now_us;    /* cache_clock_us of both */
    uint64_t step, next_id;
    struct record records[RECORDS];
    struct body bodies[RECORDS];
    uint64_t current[PATHS][LANGUAGES][GROUPS][USERS]; /* ids of bodies; 0: to be made */
    struct pending pending[PENDING];
    /* What was asked for before is purged, changed by a POST, made stale. */
    uint64_t purged_step[PATHS], changed_step[PATHS], soft_step[PATHS];
    uint64_t hits, stale, validated, not_modified, errors_served, stored, ranges, joined, completed;
    uint64_t restarts, kills, from_disk, written, heads, moved, damaged, clocks_set;
    char head[1024], text[512];
    struct http_head request, response;
};

static inline bool
chance(struct world *w, uint32_t of)
{
    return fr_rand_below(&w->rand, of) == 0;
}

/* ---- property_text.c ------------------------------------------------------------------------- */

struct wish wish_random(struct world *w);
struct said said_random(struct world *w);
/* Into text and w->request. */
struct cache_request request_make(struct world *w, const struct wish *wish, const char *method,
                                  char *text, size_t bytes);
/* Into w->head and w->response. */
void response_make(struct world *w, const struct record *record, const struct body *body,
                   int status);
bool is_partial(int path); /* it is asked for in parts, and is given so */
/* What the path varies by. */
bool varies_by_language(int path);
bool varies_by_group(int path);
/* The octets of a body from a place on. */
void octets_make(uint64_t body_id, uint64_t at, char *out, size_t bytes);
/* What the origin has for a request now. */
const struct body *body_current(struct world *w, const struct wish *wish);
void body_renew(struct world *w, int path);

/* ---- property_model.c ------------------------------------------------------------------------ */

const struct record *record_of(const struct world *w, const struct cache_entry *entry);
const struct body *body_of(const struct world *w, uint64_t id);
/* Fails the test where the answer is not one that may be. */
void check(const struct world *w, const struct wish *wish, const struct cache_entry *entry,
           enum cache_answer answer);
/* asked_step: when the request came that is answered with it. */
void check_error(const struct world *w, const struct wish *wish, uint64_t asked_step,
                 const struct cache_entry *entry, bool answered);
/* What the clock says after a restart is all there is to know an age by. */
void model_restarts(struct world *w);

/* ---- property_disk.c ------------------------------------------------------------------------- */

#define PROPERTY_MEMORY ((uint64_t)16 * 1024 * 1024) /* the least with a disk */
void medium_new(struct world *w);
void medium_start(struct world *w); /* before the store */
void medium_scan(struct world *w);  /* after it */
void medium_write(struct world *w, size_t jobs_max);
/* The process is killed while it writes, or ends; the store still stands. */
void medium_tear(struct world *w);
void medium_damage(struct world *w);
void medium_stop(struct world *w, bool killed);
void medium_free(struct world *w);
/* What is asked for is read, and comes into memory later, with medium_arrive. */
void medium_read(struct world *w, const struct cache_request *ask);
void medium_arrive(struct world *w);

#endif
