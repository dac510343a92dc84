// SPDX-License-Identifier: MIT
/*
 * A server's WebSocket frame, ready to be written: made once, shared by all sockets that get it.
 * Immutable; counted references, from any thread.
 */
#pragma once

#include "gateway/wsframe.h"

#include <stdatomic.h>

struct frame {
    atomic_uint refs;
    uint32_t len;
    uint8_t data[]; /* header and payload */
};

struct frame *frame_new(enum wsframe_op op, const void *payload, size_t len);
struct frame *frame_new_close(int code, const char *reason);

static inline struct frame *frame_keep(struct frame *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}
static inline const uint8_t *frame_payload(const struct frame *f)
{
    return f->data + (f->data[1] < 126 ? 2 : f->data[1] == 126 ? 4 : 10); /* RFC 6455 section 5.2 */
}
void frame_release(struct frame *frame); /* takes NULL */
