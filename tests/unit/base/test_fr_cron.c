/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_cron.c - crontab's five fields, and when they were last the case, beside a look at every
 * minute.
 */
#include "base/fr_cron.h"

#include "base/fr_hash.h"
#include "zone_case.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
what_cannot_be_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *word;
    } rows[] = {
        {"60 * * * *", "60"},     {"* 24 * * *", "24"}, {"* * 0 * *", "0"},
        {"* * * 13 *", "13"},     {"* * * * 8", "8"},   {"5-1 * * * *", "5-1"},
        {"*/0 * * * *", "*/0"},   {"1, * * * *", "1,"}, {"* * * * mon-", "mon-"},
        {"* * * * * *", "*"},     {"a * * * *", "a"},   {"* * * * monday", "monday"},
        {"1--2 * * * *", "1--2"}, {"0 8 * *", ""},      {"", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fr_cron cron;
        struct fr_view word = {NULL, 0};
        assert_false(fr_cron_parse(fr_view_of(rows[i].text), &cron, &word));
        if (!fr_view_is(word, rows[i].word))
            fail_msg("%s: %.*s", rows[i].text, FR_VIEW_ARG(word));
    }
}

static struct fr_cron
cron_of(const char *text)
{
    struct fr_cron cron;
    struct fr_view word;
    if (!fr_cron_parse(fr_view_of(text), &cron, &word))
        fail_msg("%s: %.*s", text, FR_VIEW_ARG(word));
    return cron;
}

static void
fields(void **state)
{
    (void)state;
    struct fr_cron cron = cron_of("0,30 8-18/2 1 jan,dec MON-fri");
    assert_int_equal(cron.minutes, 1ULL << 0 | 1ULL << 30);
    assert_int_equal(cron.hours, 1u << 8 | 1u << 10 | 1u << 12 | 1u << 14 | 1u << 16 | 1u << 18);
    assert_int_equal(cron.months, 1u << 1 | 1u << 12);
    assert_int_equal(cron.weekdays, 0x3e);
    assert_int_equal(cron_of("* * * * 7").weekdays, 1);
}

#define WEEK_S (7 * 86400)

/* The same by trying every minute of the clocks. */
static bool
slow_last(const struct fr_cron *cron, const struct fr_zone *zone, int64_t now_s, int64_t span_s,
          int64_t *out_s)
{
    bool found = false;
    int64_t first = (now_s - span_s) / 60 * 60 - 2 * 86400;
    for (int64_t local = first; local < now_s + 2 * 86400; local += 60) {
        int64_t year;
        unsigned month, day;
        fr_zone_date(local / 86400, &year, &month, &day);
        bool by_day = cron->days >> day & 1;
        bool by_weekday = cron->weekdays >> ((local / 86400 + 4) % 7) & 1;
        bool fits =
            cron->any_day || cron->any_weekday ? by_day && by_weekday : by_day || by_weekday;
        if (!fits || !(cron->months >> month & 1) || !(cron->hours >> (local % 86400 / 3600) & 1) ||
            !(cron->minutes >> (local % 3600 / 60) & 1))
            continue;
        int64_t utc = fr_zone_to_utc_s(zone, local);
        if (utc <= now_s && utc > now_s - span_s) {
            *out_s = utc;
            found = true;
        }
    }
    return found;
}

static void
last_as_by_trying(void **state)
{
    (void)state;
    static const char *const texts[] = {"0 8 * * mon-fri", "30 2 * * *",  "*/15 2,3 * * sun",
                                        "0 0 1,15 * fri",  "5 23 29 2 *", "* * * * *"};
    static struct fr_zone zones[2];
    uint64_t random = 11;
    zone_case_make(ZONE_CASE_BERLIN, &zones[1]);
    for (int i = 0; i < 600; i++) {
        random = random * 6364136223846793005ULL + 1442695040888963407ULL;
        const char *text = texts[(random >> 33) % 6];
        struct fr_cron cron = cron_of(text);
        /* Half of them within two days of a change of clocks. */
        int64_t now_s = i % 2 ? fr_zone_days(2026, i % 4 == 1 ? 3 : 10, 28) * 86400 - 3 * 86400 +
                                    (int64_t)((random >> 20) % (5 * 86400))
                              : (int64_t)((random >> 16) % 2000000000u);
        int64_t span_s = (int64_t)((random >> 40) % WEEK_S) + 60;
        int64_t fast = 0, slow = 0;
        bool has_fast = fr_cron_last(&cron, &zones[i / 2 % 2], now_s, span_s, &fast);
        bool has_slow = slow_last(&cron, &zones[i / 2 % 2], now_s, span_s, &slow);
        if (has_fast != has_slow || fast != slow)
            fail_msg("%s at %lld, span %lld: %lld, expected %lld", text, (long long)now_s,
                     (long long)span_s, (long long)fast, (long long)slow);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_is_named),
        cmocka_unit_test(fields),
        cmocka_unit_test(last_as_by_trying),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
