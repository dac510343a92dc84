// SPDX-License-Identifier: MIT
/*
 * What the two implementations of the bus share: the table of functions behind bus.h, the base of
 * each object, records, names and metrics. Included by bus*.c only.
 *
 * An implementation embeds the base structs as its first member. bus.c fills in a base before it
 * calls the implementation, checks arguments, counts, and dispatches.
 */
#pragma once

#include "common/bus.h"
#include "common/metrics.h"

#include <stdatomic.h>

#define BUS_HEADER_MAX 255      /* bytes of a traceparent or request id; longer ones are left out */
#define BUS_TURN_MAX 1000       /* records handed to one consumer before the loop goes on */
#define BUS_BATCH_MAX 256       /* records fetched at once */
#define BUS_WAIT_MS 5000        /* deadline of everything that blocks after the start */
#define BUS_COMMIT_RETRY_MS 500 /* pause before a failed commit of offsets is tried again */

struct bus {
    const struct bus_impl *impl;
    uv_loop_t *loop;
    char *prefix, *instance;
    int32_t partitions;
    int64_t session_retention_ms;
    char log_id[64];
    struct metric *queue_records; /* chat_bus_queue_records of this instance */
};

struct bus_consumer {
    const struct bus_impl *impl;
    struct bus *bus;
    const struct bus_consumer_ops *ops; /* borrowed: callers have static tables */
    void *arg;
    bool topics[TOPIC_COUNT];
    struct metric *lag_records; /* chat_bus_lag_records of this group or reader */
};

struct bus_txn {
    const struct bus_impl *impl;
    struct bus *bus;
    char *name;
};

struct bus_impl {
    bool durable;
    void (*close)(struct bus *bus, int flush_ms, void (*done)(void *arg), void *arg);
    bool (*is_connected)(const struct bus *bus);
    int (*watermarks)(struct bus *bus, enum topic topic, int32_t partition, int64_t *first_out,
                      int64_t *next_out);
    /* The partition is settled, the size checked. */
    int (*send)(struct bus *bus, const struct bus_message *message, int32_t partition,
                bus_ack_fn ack, void *arg);

    int (*txn_open)(struct bus *bus, const char *name, struct bus_txn **txn_out);
    int (*txn_publish)(struct bus_txn *txn, const struct bus_message *messages, size_t n);
    void (*txn_close)(struct bus_txn *txn);

    int (*join)(const struct bus_consumer *base, const char *group,
                struct bus_consumer **consumer_out);
    int (*read)(const struct bus_consumer *base, enum bus_from from,
                struct bus_consumer **consumer_out);
    void (*pause)(struct bus_consumer *consumer);
    void (*resume)(struct bus_consumer *consumer);
    void (*commit)(struct bus_consumer *consumer, enum topic topic, int32_t partition,
                   int64_t next);
    void (*release)(struct bus_consumer *consumer, enum topic topic, int32_t partition);
    void (*leave)(struct bus_consumer *consumer, void (*done)(void *arg), void *arg);
    int64_t (*lag)(const struct bus_consumer *consumer);
    int64_t (*stalled_ms)(const struct bus_consumer *consumer);
};

/* The two ways to open one; base is copied, its strings too by bus_base_init. */
int bus_kafka_open(uv_loop_t *loop, const struct bus_options *options, struct bus **bus_out,
                   char *problem, size_t problem_size);
int bus_local_open(uv_loop_t *loop, const struct bus_options *options, struct bus **bus_out,
                   char *problem, size_t problem_size);
void bus_base_init(struct bus *bus, const struct bus_impl *impl, uv_loop_t *loop,
                   const struct bus_options *options);
void bus_base_done(struct bus *bus);

/* Zeroed; out of memory aborts. Freed with free(). */
void *bus_zalloc(size_t size);
char *bus_strdup(const char *s);

/* ---- Topics ---- */

const char *bus_topic_name(enum topic topic); /* without the prefix */
/* 0: compacted. session_retention_ms: of TOPIC_EVENTS_SESSION; 0: what topics.h says. */
int64_t bus_topic_retention_ms(enum topic topic, int64_t session_retention_ms);

/* The sentence of a start that finds another count. */
void bus_partitions_differ(char *problem, size_t problem_size, bool reply, int32_t wanted,
                           const char *name, int32_t found);

/* ---- Records ---- */

/* A record with one reference, its value and strings copied into the same allocation. */
struct bus_record *bus_record_make(const struct bus_record *from, size_t traceparent_len,
                                   size_t request_id_len);
/* The record of a message that is sent now; the offset is filled in later. */
struct bus_record *bus_record_of(const struct bus_message *message, int32_t partition);
size_t bus_record_size(const struct bus_record *record); /* bytes of memory */

/* ---- Metrics, by topic; any thread ---- */

void bus_count_sent(enum topic topic, int64_t n);
void bus_count_received(enum topic topic, int64_t n);
void bus_count_error(enum topic topic);

/* A burst's records per topic, added to the counter at its end. */
struct bus_burst {
    int64_t received[TOPIC_COUNT];
    int64_t total;
};
/* Hands over one record and drops the reference. */
void bus_deliver(struct bus_consumer *consumer, struct bus_burst *burst, struct bus_record *record);
/* Counts, and calls on_turn if there was a record. */
void bus_burst_end(struct bus_consumer *consumer, const struct bus_burst *burst);
