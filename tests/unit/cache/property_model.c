/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property_model.c - a small model of RFC 9111 that judges answers: never stale where fresh was
 * demanded, never another user's, never a mixed body, never what was invalidated or purged before.
 *
 * It judges answers only: that nothing is stored would satisfy it, so that hits are counted.
 * Written from the RFC, section by section; nothing of src/cache is used for a verdict.
 */
#include "property_world.h"

#include <inttypes.h>

#define GRACE_S (24 * 3600) /* of the default policy: when no member can be reached */

/* ---- what is known of an answer -------------------------------------------------------------- */

const struct record *
record_of(const struct world *w, const struct cache_entry *entry)
{
    struct fr_view rest = cache_entry_head(entry), line;
    uint64_t id = 0;
    while (fr_view_split(&rest, '\n', &line))
        if (fr_view_istarts(line, FR_VIEW("x-id: ")))
            (void)fr_view_u64(fr_view_trim(fr_view_make(line.ptr + 6, line.len - 7)), &id);
    const struct record *record = &w->records[id % RECORDS];
    return id != 0 && record->id == id ? record : NULL;
}

const struct body *
body_of(const struct world *w, uint64_t id)
{
    const struct body *body = &w->bodies[id % RECORDS];
    return body->id == id ? body : NULL;
}

void
model_restarts(struct world *w)
{
    for (size_t i = 0; i < RECORDS; i++) {
        struct record *record = &w->records[i];
        int64_t passed_us = w->now_us - record->response_us;
        record->lost |= passed_us < 0;
        record->steady_us = w->steady_us - (passed_us > 0 ? passed_us : 0);
    }
}

/* ---- freshness ------------------------------------------------------------------------------- */

/* Section 4.2.3. */
static int64_t
model_age_us(const struct record *record, int64_t steady_us)
{
    const struct said *said = &record->said;
    int64_t apparent_us = said->skew_s > 0 ? said->skew_s * S : 0;
    int64_t delay_us = record->response_us - record->request_us;
    int64_t corrected_us = (said->age_s == NONE ? 0 : said->age_s) * S;
    corrected_us += delay_us > 0 ? delay_us : 0;
    int64_t initial_us = apparent_us > corrected_us ? apparent_us : corrected_us;
    return initial_us + (steady_us - record->steady_us);
}

/* Section 4.2.1; NONE: it says nothing, and no Last-Modified is there to guess from. */
static int64_t
model_lifetime_s(const struct said *said)
{
    if (said->s_maxage_s != NONE)
        return said->s_maxage_s;
    if (said->max_age_s != NONE)
        return said->max_age_s;
    if (said->expires_s != NONE)
        return said->expires_s > 0 ? said->expires_s : 0;
    return NONE;
}

static int64_t
model_left_us(const struct world *w, const struct record *record)
{
    int64_t lifetime_s = model_lifetime_s(&record->said);
    return (lifetime_s == NONE ? 0 : lifetime_s) * S - model_age_us(record, w->steady_us);
}

/* Sections 3 and 3.5. */
static bool
model_shared(const struct record *record)
{
    const struct said *said = &record->said;
    if (said->no_store || said->is_private)
        return false;
    return record->user == 0 || said->is_public || said->must_revalidate ||
           said->s_maxage_s != NONE;
}

static bool
is_soft(const struct world *w, const struct record *record)
{
    return record->asked_step < w->soft_step[record->path];
}

/* ---- verdicts: words for what is wrong, or NULL ---------------------------------------------- */

/* Whether it is for this request at all. */
static const char *
wrong_one(const struct world *w, const struct wish *wish, const struct record *record)
{
    if (record->path != wish->path)
        return "of another target";
    if (varies_by_language(wish->path) && record->language != wish->language)
        return "of another language";
    if (varies_by_group(wish->path) && record->group != wish->group)
        return "of another group";
    if (!model_shared(record))
        return "of somebody alone";
    if (wish->no_store)
        return "where nothing is to be stored or taken";
    if (record->asked_step < w->purged_step[record->path])
        return "what was purged";
    if (record->lost)
        return "what has no known age";
    return NULL;
}

/* Sections 5.2.1.1, 5.2.1.3, 5.2.1.4 and 5.2.2.4. */
static const char *
unasked(const struct world *w, const struct wish *wish, const struct record *record)
{
    if (record->said.no_cache)
        return "without asking, although it said no-cache";
    if (wish->no_cache)
        return "without asking, although the request said no-cache";
    if (wish->max_age_s != NONE && model_age_us(record, w->steady_us) > wish->max_age_s * S)
        return "older than the request allows";
    if (wish->min_fresh_s != NONE && model_left_us(w, record) < wish->min_fresh_s * S)
        return "not fresh for as long as the request wants";
    return NULL;
}

/* Section 4.2.4; RFC 5861 section 3; the edge's relief. Softly purged, it may have been stale since
 * the purge only. */
static const char *
too_stale(const struct world *w, const struct wish *wish, const struct record *record)
{
    const struct said *said = &record->said;
    bool bounded = wish->max_age_s != NONE || wish->min_fresh_s != NONE;
    int64_t allowed_s = wish->max_stale_s;
    if (said->must_revalidate || said->s_maxage_s != NONE)
        return "stale, although it must be validated";
    if (!bounded && said->while_revalidate_s > allowed_s)
        allowed_s = said->while_revalidate_s;
    if (!bounded && wish->relief_s > allowed_s)
        allowed_s = wish->relief_s;
    if (allowed_s == NONE)
        return "stale, and nobody allowed it";
    return !is_soft(w, record) && -model_left_us(w, record) > allowed_s * S ? "staler than allowed"
                                                                            : NULL;
}

static const char *
wrong_answer(const struct world *w, const struct wish *wish, const struct record *record,
             enum cache_answer answer)
{
    const char *wrong = wrong_one(w, wish, record);
    if (wrong)
        return wrong;
    if (record->asked_step < w->changed_step[record->path])
        return "what was changed";
    if (answer == CACHE_VALIDATE) /* which does not answer yet */
        return NULL;
    wrong = unasked(w, wish, record);
    if (wrong)
        return wrong;
    if (answer == CACHE_STALE_ALLOWED)
        return too_stale(w, wish, record);
    if (is_soft(w, record))
        return "as fresh what was made stale";
    return model_left_us(w, record) <= 0 ? "as fresh what is stale" : NULL;
}

/* RFC 5861 section 4. */
static const char *
wrong_on_error(const struct world *w, const struct wish *wish, uint64_t asked_step,
               const struct record *record, bool answered)
{
    const struct said *said = &record->said;
    const char *wrong = wrong_one(w, wish, record);
    uint64_t changed_step = w->changed_step[record->path];
    if (!wrong && record->asked_step < changed_step && changed_step < asked_step)
        wrong = "what was changed before";
    if (!wrong)
        wrong = unasked(w, wish, record);
    if (wrong)
        return wrong;
    if (said->must_revalidate || said->s_maxage_s != NONE)
        return "for an error, although it must be validated";
    int64_t window_s = said->if_error_s;
    if (wish->if_error_s != NONE && (window_s == NONE || wish->if_error_s < window_s))
        window_s = wish->if_error_s;
    if (is_soft(w, record) || model_left_us(w, record) > 0)
        return NULL;
    if (window_s == NONE && answered)
        return "in the place of an error that the member gave";
    if (window_s == NONE)
        window_s = GRACE_S;
    return -model_left_us(w, record) > window_s * S ? "staler than allowed on errors" : NULL;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

/* Whether all of these bytes came with responses that may still be used. */
static bool
covered(const struct world *w, const struct body *body, const struct record *by, uint64_t first,
        uint64_t end)
{
    uint64_t gone_step = w->purged_step[by->path];
    if (gone_step < w->changed_step[by->path] && w->changed_step[by->path] <= by->asked_step)
        gone_step = w->changed_step[by->path];
    if (body->whole_step > 0 && body->whole_step >= gone_step)
        return true;
    while (first < end) {
        uint64_t reach = first;
        for (size_t i = 0; i < RECORDS; i++) {
            const struct record *other = &w->records[i];
            if (other->body_id == by->body_id && other->first <= first &&
                other->first + other->bytes > reach && model_shared(other) &&
                other->asked_step >= gone_step)
                reach = other->first + other->bytes;
        }
        if (reach == first)
            return false;
        first = reach;
    }
    return true;
}

static const char *
wrong_octets(const struct cache_entry *entry, const struct body *body, uint64_t at)
{
    char want[4096];
    struct fr_view part;
    for (size_t i = 0; cache_entry_body(entry, i, &part); i++)
        for (size_t done = 0; done < part.len;) {
            size_t now = part.len - done < sizeof(want) ? part.len - done : sizeof(want);
            octets_make(body->id, at, want, now);
            if (memcmp(part.ptr + done, want, now) != 0)
                return "a mixed body";
            done += now;
            at += now;
        }
    return NULL;
}

static const char *
wrong_body(const struct world *w, const struct cache_entry *entry, const struct record *record)
{
    const struct cache__part_of *part_of = cache__entry_part_of(entry);
    const struct body *body = body_of(w, record->body_id);
    uint64_t held = cache_entry_body_bytes(entry);
    uint64_t first = part_of ? part_of->piece.first : 0;
    if (!body)
        return "a body that nobody gave";
    if (body->user >= 0 && body->user != record->user)
        return "another user's body";
    if ((part_of ? part_of->piece.total : held) != body->bytes)
        return "a body that is not whole";
    if (part_of && held != part_of->piece.last - first + 1)
        return "a part that is not whole";
    if (!covered(w, body, record, first, first + held))
        return "bytes that were taken back";
    return wrong_octets(entry, body, first);
}

/* Which bytes of it go out; RFC 9110 section 14.1.2. */
static const char *
wrong_selection(const struct world *w, const struct wish *wish, const struct cache_entry *entry)
{
    const struct cache__part_of *part_of = cache__entry_part_of(entry);
    uint64_t held = cache_entry_body_bytes(entry), at = part_of ? part_of->piece.first : 0;
    uint64_t total = part_of ? part_of->piece.total : held;
    struct cache_selection what;
    if (!cache_entry_select(entry, &w->request, w->now_us, &what))
        return "what it does not hold";
    if (!wish->ranged)
        return part_of || what.status != 200 || what.bytes != total ? "a part as the whole" : NULL;
    uint64_t first = wish->first, last = wish->last;
    if (wish->first > wish->last) {
        first = wish->last < total ? total - wish->last : 0;
        last = wish->last == 0 ? 0 : total - 1;
    }
    if (first >= total || (wish->first > wish->last && wish->last == 0))
        return what.status != 416 ? "a range that is not there" : NULL;
    if (last >= total)
        last = total - 1;
    if (what.status != 206 || what.range_first != first || what.bytes != last - first + 1 ||
        what.first + at != first || what.total != total)
        return "another range";
    return NULL;
}

/* ---- looking at answers ---------------------------------------------------------------------- */

static void
complain(const struct world *w, const char *wrong, const struct record *record, const char *how)
{
    if (record)
        print_error("response %" PRIu64 " of step %" PRIu64 " has %" PRId64 " us left of %" PRId64
                    " s; softly purged in step %" PRIu64 ", purged in %" PRIu64
                    ", changed in %" PRIu64 "%s\n",
                    record->id, record->asked_step, model_left_us(w, record),
                    model_lifetime_s(&record->said), w->soft_step[record->path],
                    w->purged_step[record->path], w->changed_step[record->path],
                    record->lost ? ", of unknown age" : "");
    fail_msg("step %" PRIu64 ": answers %s with %s\nrequest: %s", w->step, how, wrong, w->text);
}

void
check(const struct world *w, const struct wish *wish, const struct cache_entry *entry,
      enum cache_answer answer)
{
    const struct record *record = record_of(w, entry);
    const char *wrong = record ? wrong_answer(w, wish, record, answer) : "what nobody gave";
    if (!wrong)
        wrong = wrong_body(w, entry, record);
    if (!wrong && answer != CACHE_VALIDATE)
        wrong = wrong_selection(w, wish, entry);
    if (wrong)
        complain(w, wrong, record,
                 answer == CACHE_FRESH      ? "freshly"
                 : answer == CACHE_VALIDATE ? "for validation"
                                            : "stale");
}

void
check_error(const struct world *w, const struct wish *wish, uint64_t asked_step,
            const struct cache_entry *entry, bool answered)
{
    const struct record *record = record_of(w, entry);
    const char *wrong =
        record ? wrong_on_error(w, wish, asked_step, record, answered) : "what nobody gave";
    if (!wrong)
        wrong = wrong_body(w, entry, record);
    if (wrong)
        complain(w, wrong, record, answered ? "an error" : "silence");
}
