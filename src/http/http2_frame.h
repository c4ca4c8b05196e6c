/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_frame.h - HTTP/2's frames on the wire: their heads, types, flags, settings, error codes.
 *
 * May touch:  base.
 * Follows:    RFC 9113 sections 4.1, 6 and 7, RFC 8441, RFC 9218.
 */
#ifndef HTTP2_FRAME_H
#define HTTP2_FRAME_H

#include "base/fr_be.h"

#define HTTP2_FRAME_HEAD_BYTES 9
#define HTTP2_FRAME_BYTES_MAX 16384 /* SETTINGS_MAX_FRAME_SIZE as long as nobody says otherwise */
#define HTTP2_WINDOW_BYTES 65535    /* of the connection and of each stream, to begin with */
#define HTTP2_WINDOW_BYTES_MAX 0x7fffffff
#define HTTP2_ID_MAX 0x7fffffff

enum http2_type {
    HTTP2_DATA = 0,
    HTTP2_HEADERS = 1,
    HTTP2_PRIORITY = 2,
    HTTP2_RST_STREAM = 3,
    HTTP2_SETTINGS = 4,
    HTTP2_PUSH_PROMISE = 5,
    HTTP2_PING = 6,
    HTTP2_GOAWAY = 7,
    HTTP2_WINDOW_UPDATE = 8,
    HTTP2_CONTINUATION = 9,
    HTTP2_PRIORITY_UPDATE = 16,
};

enum http2_flag {
    HTTP2_FLAG_ACK = 0x1,
    HTTP2_FLAG_END_STREAM = 0x1,
    HTTP2_FLAG_END_HEADERS = 0x4,
    HTTP2_FLAG_PADDED = 0x8,
    HTTP2_FLAG_PRIORITY = 0x20,
};

enum http2_setting {
    HTTP2_SETTINGS_HEADER_TABLE_SIZE = 1,
    HTTP2_SETTINGS_ENABLE_PUSH = 2,
    HTTP2_SETTINGS_MAX_CONCURRENT_STREAMS = 3,
    HTTP2_SETTINGS_INITIAL_WINDOW_SIZE = 4,
    HTTP2_SETTINGS_MAX_FRAME_SIZE = 5,
    HTTP2_SETTINGS_MAX_HEADER_LIST_SIZE = 6,
    HTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL = 8,
    HTTP2_SETTINGS_NO_RFC7540_PRIORITIES = 9,
};

enum http2_code {
    HTTP2_NO_ERROR = 0,
    HTTP2_PROTOCOL_ERROR = 1,
    HTTP2_INTERNAL_ERROR = 2,
    HTTP2_FLOW_CONTROL_ERROR = 3,
    HTTP2_STREAM_CLOSED = 5,
    HTTP2_FRAME_SIZE_ERROR = 6,
    HTTP2_REFUSED_STREAM = 7,
    HTTP2_CANCEL = 8,
    HTTP2_COMPRESSION_ERROR = 9,
    HTTP2_ENHANCE_YOUR_CALM = 11,
};

struct http2_frame {
    uint32_t length; /* of the payload */
    uint8_t type, flags;
    int32_t stream_id;
};

static inline uint32_t
http2_u32_read(const char *at)
{
    return (uint32_t)fr_be_get(at, 4);
}

static inline char *
http2_u32_put(char *at, uint32_t number)
{
    fr_be_put(at, number, 4);
    return at + 4;
}

/* A number of 31 bits: the first one is reserved, and ignored. */
static inline int32_t
http2_u31_read(const char *at)
{
    return (int32_t)(http2_u32_read(at) & 0x7fffffff);
}

static inline struct http2_frame
http2_frame_read(const char *at)
{
    return (struct http2_frame){http2_u32_read(at) >> 8, (uint8_t)at[3], (uint8_t)at[4],
                                http2_u31_read(at + 5)};
}

static inline char *
http2_frame_put(char *at, struct http2_frame frame)
{
    (void)http2_u32_put(at, frame.length << 8 | frame.type);
    at[4] = (char)frame.flags;
    return http2_u32_put(at + 5, (uint32_t)frame.stream_id);
}

#endif
