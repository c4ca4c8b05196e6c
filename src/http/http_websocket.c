/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_websocket.c - see http_websocket.h.
 *
 * May touch:  base.
 */
#include "http/http_websocket.h"

#include "base/fr_be.h"

#define BLOCK_BYTES 64
#define DIGEST_BYTES 20

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

static uint32_t
rotate(uint32_t word, unsigned by)
{
    return word << by | word >> (32 - by);
}

static void
sha1_block(uint32_t hash[5], const uint8_t block[BLOCK_BYTES])
{
    static const uint32_t constants[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t words[80], a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4];
    for (size_t i = 0; i < 16; i++)
        words[i] = (uint32_t)fr_be_get(block + 4 * i, 4);
    for (size_t i = 16; i < 80; i++)
        words[i] = rotate(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
    for (size_t i = 0; i < 80; i++) {
        uint32_t f = b ^ c ^ d;
        if (i < 20)
            f = (b & c) | (~b & d);
        else if (i >= 40 && i < 60)
            f = (b & c) | (b & d) | (c & d);
        uint32_t next = rotate(a, 5) + f + e + constants[i / 20] + words[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    hash[0] += a;
    hash[1] += b;
    hash[2] += c;
    hash[3] += d;
    hash[4] += e;
}

/* Of one block or two: len < 2 * BLOCK_BYTES - 8. */
static void
sha1_short(const uint8_t *bytes, size_t len, uint8_t out[DIGEST_BYTES])
{
    uint32_t hash[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t blocks[2 * BLOCK_BYTES] = {0};
    size_t total = len < BLOCK_BYTES - 8 ? BLOCK_BYTES : 2 * BLOCK_BYTES;
    memcpy(blocks, bytes, len);
    blocks[len] = 0x80;
    fr_be_put(blocks + total - 8, 8 * (uint64_t)len, 8);
    for (size_t at = 0; at < total; at += BLOCK_BYTES)
        sha1_block(hash, blocks + at);
    for (size_t i = 0; i < 5; i++)
        fr_be_put(out + 4 * i, hash[i], 4);
}

void
http_websocket_accept(struct fr_view key, char out[32])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t text[HTTP_WEBSOCKET_KEY_BYTES_MAX + sizeof(guid)], digest[DIGEST_BYTES + 1] = {0};
    size_t len = key.len < HTTP_WEBSOCKET_KEY_BYTES_MAX ? key.len : HTTP_WEBSOCKET_KEY_BYTES_MAX;
    size_t at = 0;
    if (len > 0)
        memcpy(text, key.ptr, len);
    memcpy(text + len, guid, sizeof(guid) - 1);
    sha1_short(text, len + sizeof(guid) - 1, digest);
    for (size_t i = 0; i <= DIGEST_BYTES - 2; i += 3) {
        uint32_t three = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8 | digest[i + 2];
        for (unsigned k = 0; k < 4; k++)
            out[at++] = digits[three >> (18 - 6 * k) & 63];
    }
    out[at - 1] = '='; /* 20 bytes: one short of a full group */
    out[at] = '\0';
}

struct fr_view
http_websocket_key(struct fr_view head)
{
    struct fr_view line, name;
    while (fr_view_split(&head, '\n', &line))
        if (fr_view_split(&line, ':', &name) && fr_view_ieq(name, FR_VIEW("Sec-WebSocket-Key")))
            return fr_view_trim(fr_view_make(line.ptr, line.len > 0 ? line.len - 1 : 0));
    return (struct fr_view){0};
}
