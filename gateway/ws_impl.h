// SPDX-License-Identifier: MIT
/*
 * What the parts of ws share: the socket and the loop's set of them. ws.c reads, closes and sweeps,
 * ws_write.c queues and writes. Loop thread.
 */
#pragma once

#include "gateway/loop_engine.h"
#include "gateway/ws.h"

#define READ_BUFFER 65536
#define QUEUE_FEW 2

struct later {
    struct later *next;
    struct frame *frame;
};

struct ws {
    struct session session; /* first */
    h2o_socket_t *socket;   /* NULL: closed */
    struct wsframe parser;
    struct ws *next, **link; /* all of the loop */
    struct ws *next_dirty;
    struct frame **queue; /* few, or allocated */
    struct frame *few[QUEUE_FEW];
    uint32_t count, cap;
    uint32_t sent;   /* bytes of the first frame that are written */
    uint32_t queued; /* bytes in the queue, and TLS's under way */
    uint32_t tls_bytes;
    struct later *later, **later_tail;
    uint32_t later_bytes;
    uint32_t held; /* of all these at the end of the last turn: part of gw->socket_bytes */
    uint32_t heard_s, pinged_s, close_s; /* of the monotonic clock */
    struct limits_bucket bucket;
    int16_t close_code; /* 0: open */
    bool dirty, waiting /* for the socket to take more */, reading, finished;
};

struct ws_set {
    struct loop_task flush; /* first */
    struct ws *all;
    size_t count;
    struct ws *dirty;
    struct frame *ping;
    uint8_t buffer[READ_BUFFER];
};

static inline struct ws *ws_of(struct session *s)
{
    return (struct ws *)s;
}

/* The socket is gone, with all that waits for it. */
void ws_destroy(struct ws *w);

/* Into the queue, beyond its bound too (a close frame); takes a reference of its own. */
void ws_write_append(struct ws *w, struct frame *f);
void ws_write_drop_queue(struct ws *w, uint32_t from);
void ws_write_drop_later(struct ws *w);
/* Counts what waits for the socket now; nothing when it is gone. */
void ws_write_settle(struct ws *w);
/* What one socket may hold: all sockets together share a budget, and over it everyone gets an even
 * part. INT64_MAX: they are within it. */
int64_t ws_write_share(const struct gateway *gw);
/* Drops what waits and closes with 4008. */
void ws_write_too_slow(struct ws *w);
void ws_write_flush_all(struct loop *loop, struct loop_task *task);
