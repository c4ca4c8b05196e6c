/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_loop_preface.c - PROXY headers: good ones whole and cut everywhere, and one rule broken at a
 * time.
 */
#include "loop/loop_preface.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define FOUR "\x0a\x00\x00\x01\x0a\x00\x00\x02\x1f\x90\x00\x50"
#define SIX                                                                                        \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x1f\x90" \
    "\x01\xbb"

static enum loop_preface_step
parse(struct fr_view in, struct loop_preface *out)
{
    const char *words = NULL;
    enum loop_preface_step step = loop_preface_parse(in, out, &words);
    assert_int_equal(step == LOOP_PREFACE_BAD, words != NULL);
    return step;
}

/* Whole, with bytes of the connection behind it, and cut at every offset. */
static void
good(struct fr_view in, struct loop_preface *out)
{
    char text[1024];
    assert_true(in.len + 3 < sizeof(text));
    memcpy(text, in.ptr, in.len);
    memcpy(text + in.len, "GET", 3);
    for (size_t len = 0; len < in.len; len++)
        if (parse(fr_view_make(in.ptr, len), out) != LOOP_PREFACE_MORE)
            fail_msg("no MORE at %zu", len);
    assert_int_equal(parse(in, out), LOOP_PREFACE_DONE);
    assert_int_equal(out->bytes, in.len);
    assert_int_equal(parse(fr_view_make(text, in.len + 3), out), LOOP_PREFACE_DONE);
    assert_int_equal(out->bytes, in.len);
}

static void
addresses(const struct loop_preface *preface, const char *source, const char *destination)
{
    char text[LOOP_ADDR_TEXT_BYTES];
    assert_int_equal(preface->kind, LOOP_PREFACE_ADDRESS);
    loop_addr_format(&preface->source, text);
    assert_string_equal(text, source);
    loop_addr_format(&preface->destination, text);
    assert_string_equal(text, destination);
}

static void
test_version_1(void **state)
{
    struct loop_preface preface;
    (void)state;
    good(FR_VIEW("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n"), &preface);
    assert_int_equal(preface.version, 1);
    addresses(&preface, "192.0.2.1:56324", "10.0.0.1:443");
    good(FR_VIEW("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n"), &preface);
    addresses(&preface, "[2001:db8::1]:0", "[::1]:65535");
    good(FR_VIEW("PROXY UNKNOWN\r\n"), &preface);
    assert_int_equal(preface.kind, LOOP_PREFACE_UNKNOWN);
    good(FR_VIEW("PROXY UNKNOWN ffff:f...f:ffff whatever 65535 65535\r\n"), &preface);
    assert_int_equal(preface.kind, LOOP_PREFACE_UNKNOWN);
    /* The longest the specification knows: 107 with its end. */
    good(FR_VIEW("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
         &preface);
    assert_int_equal(preface.bytes, 107);
}

static void
test_version_1_refused(void **state)
{
    static const char *const rows[] = {
        "GET / HTTP/1.1\r\n",
        "X",
        " PROXY",
        "proxy TCP4 192.0.2.1 10.0.0.1 1 2\r\n",
        "PROXYTCP4",
        "PROXY  TCP4 192.0.2.1 10.0.0.1 1 2\r\n",
        "PROXY \r\n",
        "PROXY TCP5 192.0.2.1 10.0.0.1 1 2\r\n",
        "PROXY tcp4 192.0.2.1 10.0.0.1 1 2\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 192.0.2.1\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 \r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1  10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.1\t10.0.0.1 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.01 10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 01 2\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\r\n",
        "PROXY TCP4 192.0.2.1 \r10.0.0.1 1 2\r\n",
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWNX\r\n",
        /* One past the longest. */
        ("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 655350\r\n"),
    };
    struct loop_preface preface;
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (parse(fr_view_of(rows[i]), &preface) != LOOP_PREFACE_BAD)
            fail_msg("taken: %s", rows[i]);
    assert_int_equal(parse(FR_VIEW("PROXY TCP4 1.1.1.1\0 10.0.0.1 1 2\r\n"), &preface),
                     LOOP_PREFACE_BAD);
    /* A client of ours that speaks HTTP is known by its first byte. */
    assert_int_equal(parse(FR_VIEW("G"), &preface), LOOP_PREFACE_BAD);
    assert_int_equal(parse(FR_VIEW("PO"), &preface), LOOP_PREFACE_BAD);
}

static void
test_version_2(void **state)
{
    struct loop_preface preface;
    (void)state;
    good(FR_VIEW(SIGNATURE "\x21\x11\0\x0c" FOUR), &preface);
    assert_int_equal(preface.version, 2);
    addresses(&preface, "10.0.0.1:8080", "10.0.0.2:80");
    assert_false(preface.tls);
    good(FR_VIEW(SIGNATURE "\x21\x21\0\x24" SIX), &preface);
    addresses(&preface, "[2001:db8::1]:8080", "[2001:db8::2]:443");
    good(FR_VIEW(SIGNATURE "\x20\0\0\0"), &preface);
    assert_int_equal(preface.kind, LOOP_PREFACE_LOCAL);
    /* What LOCAL and UNSPEC carry is skipped, whatever it is. */
    good(FR_VIEW(SIGNATURE "\x20\x11\0\x0c" FOUR), &preface);
    assert_int_equal(preface.kind, LOOP_PREFACE_LOCAL);
    good(FR_VIEW(SIGNATURE "\x20\xff\0\x03\xff\xff\xff"), &preface);
    assert_int_equal(preface.kind, LOOP_PREFACE_LOCAL);
    good(FR_VIEW(SIGNATURE "\x21\0\0\0"), &preface);
    assert_int_equal(preface.kind, LOOP_PREFACE_UNKNOWN);
    good(FR_VIEW(SIGNATURE "\x21\0\0\x05xxxxx"), &preface);
    assert_int_equal(preface.kind, LOOP_PREFACE_UNKNOWN);
    char local[16 + 216] = SIGNATURE "\x21\x31\0\xd8/a";
    good(fr_view_make(local, sizeof(local)), &preface);
    assert_int_equal(preface.kind, LOOP_PREFACE_UNKNOWN);
}

static void
test_parts(void **state)
{
    struct loop_preface preface;
    (void)state;
    /* NOOP, an authority, an unknown one without a value. */
    good(FR_VIEW(SIGNATURE "\x21\x11\0\x19" FOUR "\x04\0\x01x\x02\0\x03" "a.b\xee\0\0"), &preface);
    addresses(&preface, "10.0.0.1:8080", "10.0.0.2:80");
    /* TLS at its client's end, with the version as a part of the part. */
    good(FR_VIEW(SIGNATURE "\x21\x11\0\x1e" FOUR "\x20\0\x0f\x01\0\0\0\0\x21\0\x07" "TLSv1.3"),
         &preface);
    assert_true(preface.tls);
    good(FR_VIEW(SIGNATURE "\x21\x11\0\x14" FOUR "\x20\0\x05\0\0\0\0\0"), &preface);
    assert_false(preface.tls);
}

/* The sum is taken over the whole header, the sum itself as zeros. */
static void
test_checksum(void **state)
{
    char text[] = SIGNATURE "\x21\x11\0\x13" FOUR "\x03\0\x04" "\x13\x0d\x75\x6f";
    struct fr_view in = fr_view_make(text, sizeof(text) - 1);
    struct loop_preface preface;
    const char *words = NULL;
    (void)state;
    good(in, &preface);
    for (size_t i = 16; i < in.len; i++) { /* any bit of what it covers */
        if (i >= 28 && i < 31)
            continue; /* the type and length of the sum itself: then it is another part */
        text[i] ^= 1;
        if (loop_preface_parse(in, &preface, &words) != LOOP_PREFACE_BAD)
            fail_msg("byte %zu may differ", i);
        text[i] ^= 1;
    }
}

static void
test_version_2_refused(void **state)
{
#define ROW(text) {text, sizeof(text) - 1}
    static const struct fr_view rows[] = {
        ROW("\r\n\r\n\r"),
        ROW("\r\n\r\n\0\r\nQUIX"),
        ROW(SIGNATURE "\x11"),                         /* version 1 in binary */
        ROW(SIGNATURE "\x31"),                         /* version 3 */
        ROW(SIGNATURE "\x22"),                         /* a command there is not */
        ROW(SIGNATURE "\x21\x11\0\x0b" FOUR),          /* a byte short of its addresses */
        ROW(SIGNATURE "\x21\x21\0\x23" SIX),
        ROW(SIGNATURE "\x21\x12\0\x0c" FOUR),          /* datagrams carry no HTTP/1 */
        ROW(SIGNATURE "\x21\x10\0\x0c" FOUR),          /* unassigned combinations */
        ROW(SIGNATURE "\x21\x01\0\0"),
        ROW(SIGNATURE "\x21\x41\0\x0c" FOUR),
        ROW(SIGNATURE "\x21\x13\0\x0c" FOUR),
        ROW(SIGNATURE "\x21\x11\0\x0d" FOUR "\x04"),   /* parts that do not fill the space */
        ROW(SIGNATURE "\x21\x11\0\x0e" FOUR "\x04\0"),
        ROW(SIGNATURE "\x21\x11\0\x0f" FOUR "\x04\0\x01"),
        ROW(SIGNATURE "\x21\x11\0\x10" FOUR "\x04\0\x02x"),
        ROW(SIGNATURE "\x21\x11\0\x11" FOUR "\x03\0\x02xx"),          /* a sum of two octets */
        ROW(SIGNATURE "\x21\x11\0\x13" FOUR "\x03\0\x04\0\0\0\0"),    /* a wrong sum */
        ROW(SIGNATURE "\x21\x11\0\x13" FOUR "\x20\0\x04\x01\0\0\0"),  /* TLS without its head */
        ROW(SIGNATURE "\x21\x11\0\x15" FOUR "\x20\0\x06\x01\0\0\0\0x"),
        ROW(SIGNATURE "\x21\x11\x0f\xf1"),             /* longer than we take */
        ROW(SIGNATURE "\x20\0\xff\xff"),
    };
    struct loop_preface preface;
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (parse(rows[i], &preface) != LOOP_PREFACE_BAD)
            fail_msg("row %zu was taken", i);
    char id[16 + 12 + 3 + 129] = SIGNATURE "\x21\x11\0\x90" FOUR "\x05\0\x81";
    assert_int_equal(parse(fr_view_make(id, sizeof(id)), &preface), LOOP_PREFACE_BAD);
    id[15] = (char)(12 + 3 + 128);
    id[16 + 12 + 2] = (char)128;
    assert_int_equal(parse(fr_view_make(id, sizeof(id) - 1), &preface), LOOP_PREFACE_DONE);
}

static void
test_write(void **state)
{
    uint8_t out[LOOP_PREFACE_OUT_BYTES];
    struct loop_preface preface;
    struct loop_addr four, other, six, local;
    (void)state;
    assert_int_equal(loop_addr_parse(FR_VIEW("10.0.0.1:8080"), &four), FR_OK);
    assert_int_equal(loop_addr_parse(FR_VIEW("10.0.0.2:80"), &other), FR_OK);
    assert_int_equal(loop_addr_parse(FR_VIEW("[2001:db8::1]:99"), &six), FR_OK);
    assert_int_equal(loop_addr_parse(FR_VIEW("unix:/x"), &local), FR_OK);
    size_t len = loop_preface_write(false, &four, &other, out);
    assert_int_equal(len, 28);
    assert_memory_equal(out, SIGNATURE "\x21\x11\0\x0c" FOUR, 28);
    len = loop_preface_write(false, &six, &other, out);
    good(fr_view_make((const char *)out, len), &preface);
    addresses(&preface, "[2001:db8::1]:99", "[::ffff:10.0.0.2]:80");
    assert_int_equal(len, LOOP_PREFACE_OUT_BYTES);
    len = loop_preface_write(false, &local, &other, out);
    good(fr_view_make((const char *)out, len), &preface);
    assert_int_equal(preface.kind, LOOP_PREFACE_UNKNOWN);
    len = loop_preface_write(false, NULL, NULL, out);
    good(fr_view_make((const char *)out, len), &preface);
    assert_int_equal(preface.kind, LOOP_PREFACE_UNKNOWN);
    len = loop_preface_write(true, &four, &other, out);
    assert_int_equal(len, 16);
    good(fr_view_make((const char *)out, len), &preface);
    assert_int_equal(preface.kind, LOOP_PREFACE_LOCAL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_1),  cmocka_unit_test(test_version_1_refused),
        cmocka_unit_test(test_version_2),  cmocka_unit_test(test_parts),
        cmocka_unit_test(test_checksum),   cmocka_unit_test(test_version_2_refused),
        cmocka_unit_test(test_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
