/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_scan.h - runs of octets of one class, or of another text: sixteen octets a step where the
 * processor can.
 *
 * May touch:  base. Included by src/http only.
 * Shape:      a step takes sixteen octets while all of them are of the class, or of the common part
 *             of it, and stops before the first that is not; the table (http__class_of) decides
 *             from there. So the table alone says what a class is, and what no step can take, the
 *             end of the input above all, is read octet by octet.
 *             http__run_plain is the same without steps, for other processors and for the test.
 */
#ifndef HTTP_SCAN_H
#define HTTP_SCAN_H

#include "http/http_priv.h"

static inline const char *
http__run_plain(const char *at, const char *end, enum http__class class)
{
    while (at < end && http__is(*at, class))
        at++;
    return at;
}

static inline const char *
http__find_plain(const char *at, const char *end, char mark)
{
    while (at < end && *at != mark)
        at++;
    return at < end ? at : NULL;
}

/* How many octets in front of the two are the same. */
static inline size_t
http__same_plain(const char *a, const char *b, size_t bytes)
{
    size_t same = 0;
    while (same < bytes && a[same] == b[same])
        same++;
    return same;
}

#ifdef __SSE2__
#include <emmintrin.h>

/* Octets above `low` and below `high`, both less than 127: obs-text is negative here. */
static inline __m128i
http__between(__m128i x, char low, char high)
{
    return _mm_and_si128(_mm_cmpgt_epi8(x, _mm_set1_epi8(low)),
                         _mm_cmplt_epi8(x, _mm_set1_epi8(high)));
}

/* Letters, digits and two marks: what names of fields and of hosts are mostly made of. */
static inline __m128i
http__is_word(__m128i x, char mark, char other)
{
    __m128i lower = _mm_or_si128(x, _mm_set1_epi8(0x20));
    __m128i word =
        _mm_or_si128(http__between(lower, 'a' - 1, 'z' + 1), http__between(x, '0' - 1, '9' + 1));
    return _mm_or_si128(word, _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8(mark)),
                                           _mm_cmpeq_epi8(x, _mm_set1_epi8(other))));
}

static inline __m128i
http__is_common(__m128i x, enum http__class class)
{
    const __m128i space = _mm_set1_epi8(' ');
    switch (class) {
    case HTTP__TOKEN:
        return http__is_word(x, '-', '_');
    case HTTP__HOST:
        return http__is_word(x, '-', '.');
    case HTTP__TARGET:
        return _mm_andnot_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('#')), http__between(x, ' ', 0x7f));
    case HTTP__TEXT: /* all but controls */
        return _mm_andnot_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f)),
                                _mm_cmpeq_epi8(_mm_min_epu8(x, space), space));
    case HTTP__HEX:
    case HTTP__DIGIT:
        break;
    }
    return _mm_setzero_si128();
}

/* The first `mark` of the text at or behind `at`; NULL: there is none. */
static inline const char *
http__find(struct fr_view text, const char *at, char mark)
{
    const char *end = text.ptr + text.len;
    const __m128i marks = _mm_set1_epi8(mark);
    if (text.len < 16)
        return http__find_plain(at, end, mark);
    for (; end - at >= 16; at += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)at);
        int found = _mm_movemask_epi8(_mm_cmpeq_epi8(x, marks));
        if (found)
            return at + __builtin_ctz((unsigned)found);
    }
    /* The last sixteen: those in front of `at` do not count. */
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(end - 16));
    int found = _mm_movemask_epi8(_mm_cmpeq_epi8(x, marks)) >> (16 - (end - at));
    return found ? at + __builtin_ctz((unsigned)found) : NULL;
}

/* The end of the run of `class` that begins at `at`. */
static inline const char *
http__run(const char *at, const char *end, enum http__class class)
{
    while (end - at >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)at);
        unsigned other = 0xffffu & ~(unsigned)_mm_movemask_epi8(http__is_common(x, class));
        if (other == 0) {
            at += 16;
            continue;
        }
        at += __builtin_ctz(other);
        if (!http__is(*at, class))
            return at;
        at++; /* of the rarer ones */
    }
    return http__run_plain(at, end, class);
}

/* Sixteen octets: a bit for each that is another one. */
static inline unsigned
http__others(const char *a, const char *b)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)a);
    __m128i y = _mm_loadu_si128((const __m128i *)(const void *)b);
    return 0xffffu & ~(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, y));
}

static inline size_t
http__same(const char *a, const char *b, size_t bytes)
{
    size_t at = 0;
    unsigned others;
    if (bytes < 16)
        return http__same_plain(a, b, bytes);
    for (; bytes - at >= 16; at += 16)
        if ((others = http__others(a + at, b + at)))
            return at + (unsigned)__builtin_ctz(others);
    at = bytes - 16; /* the last sixteen: of those in front of them some were the same already */
    others = http__others(a + at, b + at);
    return others ? at + (unsigned)__builtin_ctz(others) : bytes;
}

#else

static inline size_t
http__same(const char *a, const char *b, size_t bytes)
{
    return http__same_plain(a, b, bytes);
}

static inline const char *
http__find(struct fr_view text, const char *at, char mark)
{
    return http__find_plain(at, text.ptr + text.len, mark);
}

static inline const char *
http__run(const char *at, const char *end, enum http__class class)
{
    return http__run_plain(at, end, class);
}

#endif

#endif
