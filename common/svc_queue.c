// SPDX-License-Identifier: MIT
/* The ring behind svc_queue.h: its capacity is a power of two. */
#include "common/svc_queue.h"

#include <assert.h>
#include <stdlib.h>

struct svc_item *svc_queue_at(struct svc_queue *q, size_t i)
{
    return &q->items[(q->head + i) & (q->cap - 1)];
}

static void grow(struct svc_queue *q)
{
    size_t cap = q->cap == 0 ? 64 : q->cap * 2;
    struct svc_item *items = malloc(cap * sizeof(*items));
    assert(items != NULL);
    for (size_t i = 0; i < q->count; i++) {
        items[i] = *svc_queue_at(q, i);
    }
    free(q->items);
    q->items = items;
    q->cap = cap;
    q->head = 0;
}

void svc_queue_add(struct svc_queue *q, struct svc_item item)
{
    if (q->count == q->cap) {
        grow(q);
    }
    *svc_queue_at(q, q->count) = item;
    q->count++;
}

void svc_queue_add_front(struct svc_queue *q, struct svc_item item)
{
    if (q->count == q->cap) {
        grow(q);
    }
    q->head = (q->head - 1) & (q->cap - 1);
    q->count++;
    *svc_queue_at(q, 0) = item;
}

struct svc_item svc_queue_take(struct svc_queue *q)
{
    assert(q->count > 0);
    struct svc_item item = *svc_queue_at(q, 0);
    q->head = (q->head + 1) & (q->cap - 1);
    q->count--;
    return item;
}

void svc_queue_drop_partition(struct svc_queue *q, int32_t partition)
{
    size_t kept = 0;
    for (size_t i = 0; i < q->count; i++) {
        struct svc_item item = *svc_queue_at(q, i);
        if (item.kind == SVC_ITEM_RECORD && item.partition == partition) {
            bus_record_release(item.record);
        } else {
            *svc_queue_at(q, kept++) = item;
        }
    }
    q->count = kept;
}

void svc_queue_done(struct svc_queue *q)
{
    for (size_t i = 0; i < q->count; i++) {
        struct svc_item *item = svc_queue_at(q, i);
        if (item->kind == SVC_ITEM_RECORD) {
            bus_record_release(item->record);
        }
    }
    free(q->items);
    *q = (struct svc_queue){0};
}
