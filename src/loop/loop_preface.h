/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_preface.h - the PROXY protocol: what a proxy says about a connection before its first byte.
 *
 * Shape:      bytes in, values out; holds nothing.
 * Trusts:     nothing. Whether the speaker may be believed is the caller's to know.
 * Follows:    "The PROXY protocol, versions 1 & 2" (HAProxy, doc/proxy-protocol.txt).
 */
#ifndef LOOP_PREFACE_H
#define LOOP_PREFACE_H

#include "loop/loop_addr.h"

#define LOOP_PREFACE_BYTES_MAX 4096 /* longest taken; TLVs of version 2 may ask for 64 KiB */
#define LOOP_PREFACE_OUT_BYTES 52   /* longest written */

enum loop_preface_step { LOOP_PREFACE_DONE, LOOP_PREFACE_MORE, LOOP_PREFACE_BAD };

enum loop_preface_kind {
    LOOP_PREFACE_LOCAL,   /* the proxy speaks for itself: the connection's own addresses count */
    LOOP_PREFACE_UNKNOWN, /* it speaks for somebody, but does not say for whom */
    LOOP_PREFACE_ADDRESS, /* source and destination are set; both of one family */
};

struct loop_preface {
    int version;
    enum loop_preface_kind kind;
    struct loop_addr source, destination;
    bool tls;     /* its client came over TLS (PP2_TYPE_SSL) */
    size_t bytes; /* of the input; what follows is the connection's */
};

/* Reads a preface from the start of `in`, all bytes received so far. However they are cut, the same
 * comes out. MORE: never at LOOP_PREFACE_BYTES_MAX bytes. BAD: *out_words says why. */
FR_MUST_USE enum loop_preface_step loop_preface_parse(struct fr_view in, struct loop_preface *out,
                                                      const char **out_words);
/* Version 2 of it; returns its length. Without both addresses, or where they are no Internet
 * addresses, it says that they are unknown; `local` says that we speak for ourselves. */
size_t loop_preface_write(bool local, const struct loop_addr *source,
                          const struct loop_addr *destination,
                          uint8_t out[LOOP_PREFACE_OUT_BYTES]);

#endif
