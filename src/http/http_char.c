/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_char.c - which octets may stand where.
 *
 * May touch:  base. Never: anything else.
 * Follows:    RFC 9110 sections 5.5 and 5.6.2, RFC 9112 section 3.2, RFC 3986 section 3.2.2.
 */
#include "http/http_scan.h"

#define TOK HTTP__TOKEN
#define TXT HTTP__TEXT
#define TGT HTTP__TARGET
#define HST HTTP__HOST

/* The combinations that occur. */
#define DELIM (TXT | TGT)                                       /* ( ) , / : and so on */
#define HOSTD (TXT | TGT | HST)                                 /* sub-delims, no tchar */
#define NAMEC (TOK | TXT | TGT)                                 /* tchar, not in a host */
#define HOSTC (TOK | TXT | TGT | HST)                           /* both */
#define NUMBR (TOK | TXT | TGT | HST | HTTP__HEX | HTTP__DIGIT) /* 0-9 */
#define LETTX (TOK | TXT | TGT | HST | HTTP__HEX)               /* a-f A-F */

/* Runs of octets; ISO C has no ranges in an initialiser. */
#define RUN2(c, v) [(c)] = (v), [(c) + 1] = (v)
#define RUN4(c, v) RUN2(c, v), RUN2((c) + 2, v)
#define RUN8(c, v) RUN4(c, v), RUN4((c) + 4, v)
#define RUN16(c, v) RUN8(c, v), RUN8((c) + 8, v)
#define RUN64(c, v) RUN16(c, v), RUN16((c) + 16, v), RUN16((c) + 32, v), RUN16((c) + 48, v)

const uint8_t http__class_of[256] = {
    ['\t'] = TXT,      [' '] = TXT,       ['!'] = HOSTC,    ['"'] = DELIM,
    ['#'] = TOK | TXT,                /* starts a fragment, which no request target holds */
    ['$'] = HOSTC,     ['%'] = NAMEC, /* in a host only as a triplet, see http_is_authority */
    ['&'] = HOSTC,     ['\''] = HOSTC,    ['('] = HOSTD,    [')'] = HOSTD,
    ['*'] = HOSTC,     ['+'] = HOSTC,     [','] = HOSTD,    ['-'] = HOSTC,
    ['.'] = HOSTC,     ['/'] = DELIM,     RUN8('0', NUMBR), RUN2('8', NUMBR),
    [':'] = DELIM,     [';'] = HOSTD,     ['<'] = DELIM,    ['='] = HOSTD,
    ['>'] = DELIM,     ['?'] = DELIM,     ['@'] = DELIM,    RUN4('A', LETTX),
    RUN2('E', LETTX),  RUN16('G', HOSTC), RUN4('W', HOSTC), ['['] = DELIM,
    ['\\'] = DELIM,    [']'] = DELIM,     ['^'] = NAMEC,    ['_'] = HOSTC,
    ['`'] = NAMEC,     RUN4('a', LETTX),  RUN2('e', LETTX), RUN16('g', HOSTC),
    RUN4('w', HOSTC),  ['{'] = DELIM,     ['|'] = NAMEC,    ['}'] = DELIM,
    ['~'] = HOSTC,     RUN64(0x80, TXT),  RUN64(0xc0, TXT), /* obs-text: opaque data in a value,
                                                               nothing anywhere else */
};

bool
http_is_token(struct fr_view text)
{
    const char *end = text.ptr + text.len;
    return text.len > 0 && http__run(text.ptr, end, HTTP__TOKEN) == end;
}
