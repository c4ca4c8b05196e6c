/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_wire_decode.c - limits and errors of the decoder: one byte below, one above, and the same
 * however the bytes are cut.
 */
#include "wire_case.h"

#include "base/fr_hash.h"

#include <malloc.h>

#define OPEN WIRE_CASE_OPEN

/* ---- the same, however cut ------------------------------------------------------------------ */

/* The error, checked at every cut of the text into two and into single bytes. */
static enum wire_error
run_all_cuts(const struct wire_limits *limits, struct fr_view text, struct wire_case *out)
{
    enum wire_error error = wire_case_whole(out, WIRE_STREAM, limits, text);
    size_t stride = text.len > 1500 ? text.len / 13 : 1; /* long ones: not at every byte */
    size_t single = text.len > 4000 ? 61 : 1; /* tags are read again from their beginning */
    for (size_t first = 0; first < text.len; first += stride) {
        struct wire_case one;
        wire_case_init(&one);
        /* first == 0: single bytes, or small pieces. */
        enum wire_error again =
            wire_case_run(&one, WIRE_STREAM, limits, text, first, first == 0 ? single : text.len);
        if (again != error || !fr_view_eq(fr_buf_view(&one.again), fr_buf_view(&out->again)) ||
            one.stanzas != out->stanzas)
            fail_msg("cut at %zu: %s (%s) and %s (%s) of %.200s", first, wire_error_code(again),
                     one.words, wire_error_code(error), out->words, text.ptr);
        wire_case_fini(&one);
    }
    return error;
}

static void
expect(const char *text, enum wire_error expected, const char *words)
{
    struct wire_case one;
    wire_case_init(&one);
    enum wire_error error = run_all_cuts(NULL, fr_view_of(text), &one);
    if (error != expected)
        fail_msg("%s (%s), expected %s: %s", wire_error_code(error), one.words,
                 wire_error_code(expected), text);
    if (strstr(one.words, words) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", words, one.words);
    if (expected != WIRE_OK) {
        assert_non_null(strstr(one.words, "line "));
        assert_non_null(strstr(one.words, ", column "));
    }
    wire_case_fini(&one);
}

static void
test_a_proper_stream(void **state)
{
    (void)state;
    expect("<?xml version='1.0' encoding='utf-8'?>\n" OPEN
           " <alive/> <!-- here -->\n<report seq='1'/></stream>\n",
           WIRE_OK, "");
    expect("\xef\xbb\xbf" OPEN "</stream>", WIRE_OK, "");
    expect("<f:stream xmlns:f='urn:freshet:stream:1' version='1' role='edge' id='e'><f:alive/>"
           "</f:stream>",
           WIRE_OK, "");
}

static void
test_what_is_not_xml(void **state)
{
    (void)state;
    expect("hello", WIRE_NOT_WELL_FORMED, "line 1, column 1");
    expect(OPEN "\n <report></cluster>", WIRE_NOT_WELL_FORMED, "line 2");
    expect(OPEN "<report seq='1' seq='2'/>", WIRE_NOT_WELL_FORMED, "");
    expect(OPEN "<report seq=1/>", WIRE_NOT_WELL_FORMED, "");
    expect(OPEN "<x:report/>", WIRE_NOT_WELL_FORMED, "");
    expect(OPEN "\xff", WIRE_NOT_WELL_FORMED, "");
    expect(OPEN "<report at='\x01'/>", WIRE_NOT_WELL_FORMED, "");
    expect(OPEN "&#0;", WIRE_NOT_WELL_FORMED, "");
    expect(OPEN "</stream><alive/>", WIRE_NOT_WELL_FORMED, "");
    expect(OPEN "</stream>x", WIRE_NOT_WELL_FORMED, "");
    expect("", WIRE_NOT_WELL_FORMED, "");
}

static void
test_a_cut_stream(void **state)
{
    (void)state;
    expect(OPEN, WIRE_NOT_WELL_FORMED, "");
    expect(OPEN "<report", WIRE_NOT_WELL_FORMED, "");
    expect(OPEN "<report>", WIRE_NOT_WELL_FORMED, "");
    expect(OPEN "<alive/></stream", WIRE_NOT_WELL_FORMED, "");
}

static void
test_document_types_and_entities(void **state)
{
    (void)state;
    expect("<!DOCTYPE stream>" OPEN, WIRE_DOCTYPE, "document type");
    expect("<!DOCTYPE stream SYSTEM 'file:///etc/passwd'>" OPEN, WIRE_DOCTYPE, "");
    expect("<!DOCTYPE x [<!ENTITY a 'b'>]>" OPEN "&a;", WIRE_DOCTYPE, "");
    expect(OPEN "<report><x>&lol;</x></report>", WIRE_DOCTYPE, "entity");
    expect(OPEN "<report seq='&lol;'/>", WIRE_DOCTYPE, "entity");
    expect(OPEN "<x y='&lt;&gt;&amp;&quot;&apos;&#65;'/></stream>", WIRE_OK, "");
}

static void
test_instructions(void **state)
{
    (void)state;
    expect("<?php echo 1 ?>" OPEN, WIRE_INSTRUCTION, "php");
    expect(OPEN "<?x?>", WIRE_INSTRUCTION, "\"x\"");
    expect(OPEN "<unknown><?x?></unknown>", WIRE_INSTRUCTION, "");
    expect(OPEN "<?xml version='1.0'?>", WIRE_INSTRUCTION, "");
}

static void
test_encodings(void **state)
{
    (void)state;
    expect("<?xml version='1.0' encoding='ISO-8859-1'?>" OPEN, WIRE_INVALID, "UTF-8");
    static const char utf16[] = "\xff\xfe<\0s\0";
    struct wire_case one;
    wire_case_init(&one);
    assert_int_equal(run_all_cuts(NULL, fr_view_make(utf16, sizeof(utf16) - 1), &one),
                     WIRE_NOT_WELL_FORMED);
    wire_case_fini(&one);
}

static void
test_roots_and_versions(void **state)
{
    (void)state;
    expect("<stream/>", WIRE_NAMESPACE_BAD, "stream");
    expect("<stream xmlns='urn:freshet:stream:2' version='2'/>", WIRE_NAMESPACE_BAD, "");
    expect("<report xmlns='urn:freshet:stream:1'/>", WIRE_NAMESPACE_BAD, "");
    expect("<html/>", WIRE_NAMESPACE_BAD, "html");
    expect("<stream xmlns='urn:freshet:stream:1' role='edge' id='e'/>", WIRE_VERSION_BAD, "");
    expect("<stream xmlns='urn:freshet:stream:1' version='2' role='tree'/>", WIRE_VERSION_BAD,
           "\"2\"");
    expect("<stream xmlns='urn:freshet:stream:1' version='1.0' role='edge' id='e'/>",
           WIRE_VERSION_BAD, "");
    expect("<stream xmlns='urn:freshet:stream:1' version='1' role='tree' id='e'/>", WIRE_INVALID,
           "role");
    expect("<stream xmlns='urn:freshet:stream:1' version='1' role='edge'/>", WIRE_INVALID, "id");
    expect("<stream xmlns='urn:freshet:stream:1' version='1' role='edge' id=''/>", WIRE_INVALID,
           "id");
}

static void
test_words_are_harmless(void **state)
{
    (void)state;
    expect(OPEN "<report seq='\xc3\xa9&#x9b;&#10;[31m'/>", WIRE_INVALID, "seq=\"????\?[31m\"");
}

/* ---- limits, one below and one above -------------------------------------------------------- */

struct limit_case {
    struct fr_buf text;
    struct wire_limits limits;
};

static void
limit_case_init(struct limit_case *one)
{
    fr_buf_init(&one->text, (size_t)64 << 20);
    one->limits = wire_limits_default;
    assert_int_equal(fr_buf_append(&one->text, OPEN, strlen(OPEN)), FR_OK);
}

static void
add(struct limit_case *one, size_t times, const char *text)
{
    for (size_t i = 0; i < times; i++)
        assert_int_equal(fr_buf_append(&one->text, text, strlen(text)), FR_OK);
}

static void
expect_limit(struct limit_case *one, enum wire_error expected)
{
    struct wire_case run;
    wire_case_init(&run);
    enum wire_error error = run_all_cuts(&one->limits, fr_buf_view(&one->text), &run);
    if (error != expected)
        fail_msg("%s (%s), expected %s", wire_error_code(error), run.words,
                 wire_error_code(expected));
    wire_case_fini(&run);
    fr_buf_fini(&one->text);
}

static void
test_depth(void **state)
{
    (void)state;
    for (size_t above = 0; above < 2; above++) {
        struct limit_case one;
        limit_case_init(&one);
        one.limits.depth = 7;
        add(&one, 6 + above, "<x>"); /* the root is the first */
        add(&one, 6 + above, "</x>");
        add(&one, 1, "</stream>");
        expect_limit(&one, above ? WIRE_TOO_DEEP : WIRE_OK);
    }
}

static void
test_stanza_bytes(void **state)
{
    (void)state;
    for (size_t above = 0; above < 2; above++) {
        struct limit_case one;
        limit_case_init(&one);
        one.limits.stanza_bytes = 1000;
        for (size_t stanza = 0; stanza < 3; stanza++) { /* each has its own limit */
            add(&one, 1, "\n<report><!--");
            add(&one, 1000 - strlen("<report><!----></report>") + above, "x");
            add(&one, 1, "--></report>");
        }
        add(&one, 1, "</stream>");
        expect_limit(&one, above ? WIRE_TOO_LARGE : WIRE_OK);
    }
}

static void
test_text_between_stanzas_has_the_same_limit(void **state)
{
    struct limit_case one;
    (void)state;
    limit_case_init(&one);
    one.limits.stanza_bytes = 1000;
    add(&one, 1002, "x");
    expect_limit(&one, WIRE_TOO_LARGE);
    limit_case_init(&one);
    one.limits.stanza_bytes = 1000;
    add(&one, 1200, " \n"); /* white space may go on for ever: some keep alive by it */
    add(&one, 1, "</stream>");
    expect_limit(&one, WIRE_OK);
    for (size_t above = 0; above < 2; above++) {
        limit_case_init(&one);
        one.limits.stanza_bytes = 1000;
        add(&one, 100, "                    x"); /* the end of a piece is not always white space */
        add(&one, 990 + above, "x"); /* with one before and the end tag: 1000, or one more */
        add(&one, 1, "</stream>");
        expect_limit(&one, above ? WIRE_TOO_LARGE : WIRE_OK);
    }
}

static void
test_a_long_setting_is_judged_at_its_end(void **state)
{
    static const char *const ends[] = {"</a></cluster></reconfigure></stream>", "<b/>", "]]>", ""};
    static const enum wire_error expected[] = {WIRE_INVALID, WIRE_INVALID, WIRE_NOT_WELL_FORMED,
                                               WIRE_NOT_WELL_FORMED};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct limit_case one;
        limit_case_init(&one);
        add(&one, 1, "<reconfigure id='1:1' cluster='c'><cluster name='c'><a>");
        add(&one, 5000, "y");
        add(&one, 1, ends[i]);
        expect_limit(&one, expected[i]);
    }
}

static void
test_tag_bytes(void **state)
{
    (void)state;
    for (size_t above = 0; above < 2; above++) {
        struct limit_case one;
        limit_case_init(&one);
        add(&one, 1, "<alive x='");
        add(&one, WIRE_TAG_BYTES - strlen("<alive x=''/>") + above, "-");
        add(&one, 1, "'/></stream>");
        expect_limit(&one, above ? WIRE_TOO_LARGE : WIRE_OK);
    }
}

static void
test_endless_prolog(void **state)
{
    struct limit_case one;
    (void)state;
    limit_case_init(&one);
    fr_buf_clear(&one.text);
    add(&one, WIRE_TAG_BYTES + 1, " ");
    expect_limit(&one, WIRE_TOO_LARGE);
}

static void
test_attributes(void **state)
{
    (void)state;
    for (size_t above = 0; above < 2; above++) {
        struct limit_case one;
        char text[32];
        limit_case_init(&one);
        one.limits.attributes = 9;
        add(&one, 1, "<alive ");
        for (size_t i = 0; i < 9 + above; i++) {
            (void)snprintf(text, sizeof(text), "a%zu='' ", i);
            add(&one, 1, text);
        }
        add(&one, 1, "/></stream>");
        expect_limit(&one, above ? WIRE_TOO_MANY : WIRE_OK);
    }
}

static void
test_servers(void **state)
{
    static const char *const shapes[][3] = {
        {"<report><cluster name='a'>", "<server id='x'/>", "</cluster></report>"},
        {"<report><server id='e'>", "<worker index='0'/>", "</server></report>"},
        {"<report>", "<cluster name='c'/>", "</report>"},
        {"<report>", "<pool name='c'/>", "</report>"},
        {"<result id='1:1' status='done'>", "<server id='x'/>", "</result>"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        for (size_t above = 0; above < 2; above++) {
            struct limit_case one;
            limit_case_init(&one);
            one.limits.servers = 40;
            for (size_t stanza = 0; stanza < 2; stanza++) { /* each has its own limit */
                add(&one, 1, shapes[i][0]);
                add(&one, 40 + above, shapes[i][1]);
                add(&one, 1, shapes[i][2]);
            }
            add(&one, 1, "</stream>");
            expect_limit(&one, above ? WIRE_TOO_MANY : WIRE_OK);
        }
    }
}

static void
test_servers_count_over_all_clusters(void **state)
{
    struct limit_case one;
    (void)state;
    limit_case_init(&one);
    one.limits.servers = 3;
    add(&one, 1, "<report>");
    add(&one, 2, "<cluster name='a'><server id='x'/><server id='y'/></cluster>");
    add(&one, 1, "</report></stream>");
    expect_limit(&one, WIRE_TOO_MANY);
}

static void
test_settings_count(void **state)
{
    (void)state;
    for (size_t above = 0; above < 2; above++) {
        struct limit_case one;
        limit_case_init(&one);
        add(&one, 1, "<reconfigure id='1:1'><pool name='p'>");
        add(&one, WIRE_SETTINGS_MAX - 1 + above, "<item/>");
        add(&one, 1, "</pool></reconfigure></stream>");
        expect_limit(&one, above ? WIRE_TOO_MANY : WIRE_OK);
    }
}

static void
test_setting_bytes(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < 2; kind++) {
        for (size_t above = 0; above < 2; above++) {
            struct limit_case one;
            limit_case_init(&one);
            add(&one, 1, "<reconfigure id='1:1'><pool name='p' ");
            add(&one, 1, kind ? "x='" : "><x>");
            add(&one, 4096 + above, "y");
            add(&one, 1, kind ? "'>" : "</x>");
            add(&one, 1, "</pool></reconfigure></stream>");
            expect_limit(&one, above ? WIRE_INVALID : WIRE_OK);
        }
    }
}

/* Expat keeps every name for ever, so names that are not known are counted over the whole stream.
 */
static void
test_strange_names(void **state)
{
    (void)state;
    for (size_t above = 0; above < 2; above++) {
        struct limit_case one;
        char text[64];
        limit_case_init(&one);
        for (size_t i = 0; i < WIRE_STRANGE_NAMES_MAX / 2 + above; i++) {
            (void)snprintf(text, sizeof(text), "<n%zu a%zu=''/>", i, i);
            add(&one, 3, text); /* again is not another */
        }
        add(&one, 1, "</stream>");
        expect_limit(&one, above ? WIRE_TOO_MANY : WIRE_OK);
    }
}

static void
test_prefixes(void **state)
{
    (void)state;
    for (size_t above = 0; above < 2; above++) {
        struct limit_case one;
        char text[64];
        limit_case_init(&one);
        for (size_t i = 0; i < WIRE_PREFIXES_MAX + above; i++) {
            (void)snprintf(text, sizeof(text), "<p%zu:x xmlns:p%zu='urn:x'/>", i, i);
            add(&one, 2, text);
        }
        add(&one, 1, "</stream>");
        expect_limit(&one, above ? WIRE_TOO_MANY : WIRE_OK);
    }
}

static void
test_strange_name_bytes(void **state)
{
    (void)state;
    for (size_t above = 0; above < 2; above++) {
        struct limit_case one;
        limit_case_init(&one);
        add(&one, 1, "<");
        add(&one, 128 + above, "n");
        add(&one, 1, "/></stream>");
        expect_limit(&one, above ? WIRE_TOO_LARGE : WIRE_OK);
    }
}

/* ---- stopping, memory ----------------------------------------------------------------------- */

static void
test_the_callback_stops(void **state)
{
    (void)state;
    for (unsigned stop = 1; stop <= 4; stop++) {
        struct wire_case one;
        wire_case_init(&one);
        one.stop_at = stop;
        assert_int_equal(
            wire_case_whole(&one, WIRE_STREAM, NULL, FR_VIEW(OPEN "<alive/><report/></stream>")),
            WIRE_STOPPED);
        assert_int_equal(one.events, stop);
        wire_case_fini(&one);
    }
}

static void
test_memory_that_is_out(void **state)
{
    static const char text[] =
        OPEN "<report seq='1'><server id='e'><worker index='0'/></server><cluster name='c'>"
             "<server id='s' state='ready'/></cluster><pool name='p'/></report>"
             "<reconfigure id='1:1'><route name='r' a='b'><x>text</x></route></reconfigure>"
             "</stream>";
    struct wire_decoder *decoder;
    bool through = false;
    (void)state;
    for (uint64_t countdown = 1; !through && countdown < 1000; countdown++) {
        struct wire_case one;
        wire_case_init(&one);
        assert_int_equal(fr_buf_reserve(&one.again, 65536), FR_OK);
        fr_mem_fail_after(countdown);
        enum fr_err err = wire_decoder_new(WIRE_STREAM, NULL, wire_case_event, &one, &decoder);
        if (err == FR_OK) {
            enum wire_error error = wire_decoder_feed(decoder, FR_VIEW(text));
            through = error == WIRE_OK;
            assert_true(through || error == WIRE_NO_MEMORY);
            wire_decoder_free(&decoder);
        } else {
            assert_int_equal(err, FR_ERR_NOMEM);
        }
        fr_mem_fail_after(0);
        wire_case_fini(&one);
    }
    assert_true(through);
}

static bool
ignore(void *ctx, const struct wire_event *event)
{
    (void)ctx;
    (void)event;
    return true;
}

/* Endless streams do not grow: Expat, the arena, the lists. */
static void
test_an_endless_stream_does_not_grow(void **state)
{
    struct wire_decoder *decoder;
    struct fr_buf report;
    (void)state;
    fr_buf_init(&report, 1 << 20);
    assert_int_equal(fr_buf_printf(&report, "<report seq='1' novelty='x'><cluster name='web'>"),
                     FR_OK);
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(fr_buf_printf(&report, "<server id='s-%u' address='a' new='b'/>", i),
                         FR_OK);
    assert_int_equal(fr_buf_printf(&report, "</cluster><strange/></report>"
                                            "<reconfigure id='1:1'><pool name='p'><item>x</item>"
                                            "<deep a='b'/></pool></reconfigure><alive/>"),
                     FR_OK);
    assert_int_equal(wire_decoder_new(WIRE_STREAM, NULL, ignore, NULL, &decoder), FR_OK);
    assert_int_equal(wire_decoder_feed(decoder, FR_VIEW(OPEN)), WIRE_OK);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(wire_decoder_feed(decoder, fr_buf_view(&report)), WIRE_OK);
    /* From here on a single allocation that is not given back before the next fails the test:
     * whatever allocates at all in the second half must be the same each time. */
    struct mallinfo2 before = mallinfo2();
    for (unsigned i = 0; i < 2000; i++)
        assert_int_equal(wire_decoder_feed(decoder, fr_buf_view(&report)), WIRE_OK);
    struct mallinfo2 after = mallinfo2();
    /* Under a sanitizer mallinfo says nothing and both are 0; the plain build measures. */
    assert_true(after.uordblks <= before.uordblks + 4096);
    assert_int_equal(wire_decoder_stanzas(decoder), 2020 * 3);
    wire_decoder_free(&decoder);
    fr_buf_fini(&report);
}

/* Bytes that are nothing in particular: any end is good, but the same however cut. */
static void
test_mutilated_streams(void **state)
{
    static const char text[] =
        "<?xml version='1.0'?>" OPEN "<report seq='1' at='2026-01-01T00:00:00Z'><cluster name='c'>"
        "<server id='s' utilization='0.5'/></cluster></report><!-- c --><alive/>"
        "<reconfigure id='1:2' cluster='c'><weight server='s' weight='5'/></reconfigure></stream>";
    static const char bits[] = "<>/'\"=&;!?-[]xmlns:1 \n\xc3\xa9\x01";
    const uint64_t seed = 4711;
    struct fr_rand rand;
    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    fr_rand_init(&rand, seed);
    for (unsigned round = 0; round < 60; round++) {
        char copy[sizeof(text)];
        struct wire_case one;
        memcpy(copy, text, sizeof(text));
        unsigned changes = 1 + fr_rand_below(&rand, 3);
        for (unsigned i = 0; i < changes; i++)
            copy[fr_rand_below(&rand, sizeof(text) - 1)] =
                bits[fr_rand_below(&rand, sizeof(bits) - 1)];
        wire_case_init(&one);
        (void)run_all_cuts(NULL, fr_view_make(copy, sizeof(text) - 1), &one); /* fails by itself */
        wire_case_fini(&one);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_proper_stream),
        cmocka_unit_test(test_what_is_not_xml),
        cmocka_unit_test(test_a_cut_stream),
        cmocka_unit_test(test_document_types_and_entities),
        cmocka_unit_test(test_instructions),
        cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_roots_and_versions),
        cmocka_unit_test(test_words_are_harmless),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_stanza_bytes),
        cmocka_unit_test(test_text_between_stanzas_has_the_same_limit),
        cmocka_unit_test(test_a_long_setting_is_judged_at_its_end),
        cmocka_unit_test(test_tag_bytes),
        cmocka_unit_test(test_endless_prolog),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_servers),
        cmocka_unit_test(test_servers_count_over_all_clusters),
        cmocka_unit_test(test_settings_count),
        cmocka_unit_test(test_setting_bytes),
        cmocka_unit_test(test_strange_names),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_strange_name_bytes),
        cmocka_unit_test(test_the_callback_stops),
        cmocka_unit_test(test_memory_that_is_out),
        cmocka_unit_test(test_an_endless_stream_does_not_grow),
        cmocka_unit_test(test_mutilated_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
