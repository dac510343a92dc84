// SPDX-License-Identifier: MIT
/*
 * Reads a client's WebSocket frames (RFC 6455) from bytes as they come: masks, fragments, control
 * frames, UTF-8 checked as it arrives. No sockets, no limits of rate. An idle parser holds no
 * memory. One thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wsframe_op {
    WSFRAME_TEXT = 1,
    WSFRAME_BINARY = 2,
    WSFRAME_CLOSE = 8,
    WSFRAME_PING,
    WSFRAME_PONG
};

/* Close codes of RFC 6455 section 7.4.1, and the suite's own. */
enum wsframe_close {
    WSCLOSE_NORMAL = 1000,
    WSCLOSE_GOING_AWAY = 1001,
    WSCLOSE_PROTOCOL = 1002,
    WSCLOSE_UNSUPPORTED = 1003,
    WSCLOSE_ABNORMAL = 1006, /* never sent: there was no close frame */
    WSCLOSE_BAD_TEXT = 1007,
    WSCLOSE_POLICY = 1008,
    WSCLOSE_TOO_BIG = 1009,
    WSCLOSE_AGAIN_LATER = 1013,
    WSCLOSE_EXPIRED = 4001,
    WSCLOSE_SESSION_ENDED = 4003,
    WSCLOSE_TOO_SLOW = 4008,
};

struct wsframe {
    size_t max;                      /* bytes of one message */
    struct wsframe_partial *partial; /* what has begun and is not complete; NULL: nothing */
};

/* One complete message (text, unmasked, valid UTF-8) or control frame; the payload may be changed
 * and is gone after the call. False: stop, the parser may be gone too. */
typedef bool (*wsframe_fn)(void *arg, enum wsframe_op op, uint8_t *payload, size_t len);

void wsframe_init(struct wsframe *p, size_t max);
void wsframe_done(struct wsframe *p);
/* Unmasks data in place. 0, or the close code that the client has earned; after one, and after fn
 * said stop (0 is returned then), nothing may be fed any more. */
int wsframe_feed(struct wsframe *p, uint8_t *data, size_t len, wsframe_fn fn, void *arg);

/* The header of a server's frame; at most 10 bytes. Returns its length. */
#define WSFRAME_HEAD_MAX 10
size_t wsframe_head(uint8_t head[WSFRAME_HEAD_MAX], enum wsframe_op op, size_t len);
/* May this code stand in a close frame (section 7.4)? */
bool wsframe_code_is_valid(unsigned code);

/* UTF-8 (RFC 3629) byte by byte. */
struct wsframe_utf8 {
    uint8_t need;      /* continuation bytes to come */
    uint8_t low, high; /* bounds of the next one */
};
bool wsframe_utf8_feed(struct wsframe_utf8 *u, const uint8_t *data, size_t len);
