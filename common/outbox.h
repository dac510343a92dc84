// SPDX-License-Identifier: MIT
/*
 * Events that cannot part from the change that they tell (architecture D8).
 *
 * A handler writes the event into its schema's `outbox` table in the transaction of the change;
 * one publisher per service at a time drains the table in order onto the bus and deletes what is
 * acknowledged. The publisher is the instance that owns partition 0 of the service's RPC topic;
 * a zombie is fenced by the transactional id. Age of the oldest row is a metric.
 *
 *   CREATE TABLE outbox (id BIGINT PRIMARY KEY AUTO_INCREMENT, topic SMALLINT NOT NULL,
 *     key_a BIGINT NOT NULL, key_b BIGINT NOT NULL, partition_a BIGINT NOT NULL,
 *     value MEDIUMBLOB, traceparent VARCHAR(60), request_id VARCHAR(64), created_at BIGINT NOT
 * NULL);
 */
#pragma once

#include "common/bus.h"
#include "common/db.h"

struct outbox;

struct outbox_event {
    enum topic topic;
    struct bus_key key;
    uint64_t partition_a; /* the record goes to the partition of (partition_a, 0) */
    const void *value;    /* NULL: a tombstone */
    size_t len;
    const char *traceparent, *request_id;
};

/* Inside the transaction of the change. Worker thread. Errors as db_exec. */
int outbox_add(struct db *db, const struct outbox_event *event) __attribute__((warn_unused_result));
/* After the commit: wakes the publisher if it is here. Any thread; o may be NULL. */
void outbox_wake(struct outbox *o);

/* For svc.c. database_url: the publisher opens a connection of its own in its thread. */
int outbox_new(struct bus *bus, const char *name, const char *database_url, struct outbox **out);
void outbox_lead(struct outbox *o, bool leader);  /* loop thread */
int64_t outbox_oldest_ms(const struct outbox *o); /* age of the oldest row, 0: empty. Any thread */
/* Where it leads, publishes what is there: for at most 2 s, and what is under way then to its end.
 * Takes NULL. */
void outbox_stop(struct outbox *o);
