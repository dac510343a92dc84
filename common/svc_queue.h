// SPDX-License-Identifier: MIT
/*
 * What a stream has received and not begun: records, and between them the assignments and
 * revocations of partitions, in the order of the log. A ring that grows; its owner bounds it (a
 * stream pauses its consumer) and locks it.
 */
#pragma once

#include "common/bus.h"

enum svc_item_kind { SVC_ITEM_RECORD, SVC_ITEM_ASSIGN, SVC_ITEM_REVOKE };

struct svc_item {
    enum svc_item_kind kind;
    int32_t partition;
    struct bus_record *record; /* kept; SVC_ITEM_RECORD */
};

struct svc_queue { /* zeroed: empty */
    struct svc_item *items;
    size_t head, count, cap;
};

void svc_queue_done(struct svc_queue *q); /* releases the records that are left */
struct svc_item *svc_queue_at(struct svc_queue *q, size_t i); /* i < count */
void svc_queue_add(struct svc_queue *q, struct svc_item item);
void svc_queue_add_front(struct svc_queue *q, struct svc_item item);
struct svc_item svc_queue_take(struct svc_queue *q); /* count > 0 */
/* Releases the records of a partition: its next owner gets them again. */
void svc_queue_drop_partition(struct svc_queue *q, int32_t partition);
