// SPDX-License-Identifier: MIT
#include "gateway/frame.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define REASON_MAX 123 /* a control frame's 125 bytes less the code */

struct frame *frame_new(enum wsframe_op op, const void *payload, size_t len)
{
    uint8_t head[WSFRAME_HEAD_MAX];
    size_t n = wsframe_head(head, op, len);
    assert(len < UINT32_MAX - WSFRAME_HEAD_MAX);
    struct frame *f = malloc(sizeof(*f) + n + len);
    assert(f != NULL);
    atomic_init(&f->refs, 1);
    f->len = (uint32_t)(n + len);
    memcpy(f->data, head, n);
    if (len > 0) {
        memcpy(f->data + n, payload, len);
    }
    return f;
}

struct frame *frame_new_close(int code, const char *reason)
{
    uint8_t payload[2 + REASON_MAX] = {(uint8_t)(code >> 8), (uint8_t)code};
    size_t len = strlen(reason) < REASON_MAX ? strlen(reason) : REASON_MAX;
    memcpy(payload + 2, reason, len);
    return frame_new(WSFRAME_CLOSE, payload, 2 + len);
}

void frame_release(struct frame *f)
{
    if (f != NULL && atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) == 1) {
        free(f);
    }
}
