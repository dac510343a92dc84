// SPDX-License-Identifier: MIT
/*
 * The log that connects the daemons: topics of ordered records, consumer groups, readers.
 *
 * Two implementations with the same behaviour (tests/bus runs one program on both): bus_kafka.c
 * over librdkafka, bus_local.c in the memory of one process. Which one is chosen by
 * bus_options.bootstrap. It knows no payload and no RPC.
 *
 * Threads: a bus belongs to the libuv loop it was opened on; every callback runs there, and every
 * function is called there, but for bus_send, bus_txn_publish and the questions marked so.
 */
#pragma once

#include "common/topics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define BUS_RECORD_MAX 1048576 /* bytes of one value */

struct bus;
struct bus_consumer;
struct bus_txn;

struct bus_key {
    uint64_t a, b;
};

struct bus_options {
    const char *bootstrap; /* Kafka's servers; NULL or "": the in-process bus */
    const char *prefix;    /* of topic names */
    const char *instance;  /* "<daemon>-<instance>": names the reply topic and the client */
    int32_t partitions;
    int16_t replication;
    const char *security_protocol, *sasl_mechanism, *sasl_username, *sasl_password, *ssl_ca_file;
    int64_t session_retention_ms; /* TOPIC_EVENTS_SESSION: raised to it. 0: another's to make */
    bool reply_topic;             /* make and own TOPIC_REPLY for this instance */
};

/* Connects, makes missing topics, and checks the partition counts of those that are there.
 * Blocks up to 30 s while the servers cannot be reached. Errors: ERR_UNAVAILABLE, ERR_INVALID
 * (another partition count, a setting that is refused), each with one sentence in problem. */
int bus_open(uv_loop_t *loop, const struct bus_options *options, struct bus **bus_out,
             char *problem, size_t problem_size);
/* Ends consumers that have not left, without a word to them, sends what is queued for at most
 * flush_ms, deletes the own reply topic, frees. Publishers are closed before. done: all is gone. */
void bus_close(struct bus *bus, int flush_ms, void (*done)(void *arg), void *arg);

/* Names the log: the cluster's id; for the in-process bus a number made at process start. */
const char *bus_log_id(const struct bus *bus);
bool bus_is_durable(const struct bus *bus);   /* false: the in-process bus, empty at each start */
bool bus_is_connected(const struct bus *bus); /* some broker is up; any thread */
int32_t bus_partitions(const struct bus *bus, enum topic topic);
/* The partition of a key (map_hash_stable modulo count; equal on both implementations). */
int32_t bus_partition_of(const struct bus *bus, enum topic topic, struct bus_key key);
/* First and next offset of a partition. Waits up to 5 s: ERR_UNAVAILABLE. Any thread. */
int bus_watermarks(struct bus *bus, enum topic topic, int32_t partition, int64_t *first_out,
                   int64_t *next_out);

/* ---- Sending ---- */

struct bus_message {
    enum topic topic;
    const char *reply_to; /* TOPIC_REPLY: the instance that asked */
    struct bus_key key;
    int32_t partition; /* -1: by the hash of `key` */
    const void *value; /* copied; NULL with len 0: a tombstone (compacted topics) */
    size_t len;
    const char *traceparent; /* headers of the record; NULL or "": none */
    const char *request_id;
};

/* Queues a record; never blocks. ack (may be NULL) runs on the loop once every in-sync replica has
 * it (err 0) or it is given up (ERR_UNAVAILABLE; it may be in the log nevertheless). Errors at
 * once, ack is then not called: ERR_UNAVAILABLE (the queue is full, or closing), ERR_TOO_LARGE.
 * Records of one topic and partition keep the order of their calls. Any thread. */
typedef void (*bus_ack_fn)(void *arg, int err);
int bus_send(struct bus *bus, const struct bus_message *message, bus_ack_fn ack, void *arg)
    __attribute__((warn_unused_result));

/* A publisher of which one is alive at a time: opening a second with the same name fences the
 * first. For outboxes; used by one thread (any), blocking. Without servers it is opened all the
 * same, and comes to life with a publication. */
int bus_txn_open(struct bus *bus, const char *name, struct bus_txn **txn_out);
/* All of them or none, in order; at most 5 s. 0: committed (in-process: by every group that ever
 * joined a topic of theirs, so that nothing is lost with the process). ERR_FENCED: another has
 * taken over, close this one. ERR_UNAVAILABLE: not known to be published; publish it again. */
int bus_txn_publish(struct bus_txn *txn, const struct bus_message *messages, size_t n);
void bus_txn_close(struct bus_txn *txn); /* takes NULL */

/* ---- Receiving ---- */

struct bus_record {
    enum topic topic;
    int32_t partition;
    int64_t offset;
    int64_t time_ms;      /* when it was sent */
    struct bus_key key;   /* 0,0 when the record has none */
    const uint8_t *value; /* NULL: a tombstone */
    size_t len;
    const char *traceparent, *request_id; /* "" when absent */
};

/* A record lives until its callback returns, or as long as it is kept. Any thread, atomic. */
struct bus_record *bus_record_keep(struct bus_record *record);
void bus_record_release(struct bus_record *record);

struct bus_consumer_ops {
    void (*on_record)(void *arg, struct bus_record *record);
    /* A burst of on_record (at most 1,000) is over; the loop goes on. May be NULL. */
    void (*on_turn)(void *arg);
    /* Groups only. on_assign: the partition is ours, its records follow, from the committed offset
     * (or the first kept). on_revoke: no more records come; finish or drop what is held, then call
     * bus_consumer_release (NULL: at once); the others wait for it. A partition that is revoked may
     * be assigned again. lost: it was taken already, a commit would fail. */
    void (*on_assign)(void *arg, enum topic topic, int32_t partition);
    void (*on_revoke)(void *arg, enum topic topic, int32_t partition, bool lost);
    /* Readers only: everything that was in the log when the reader was made has been delivered. */
    void (*on_caught_up)(void *arg);
    /* Readers only: records were deleted before this reader saw them. */
    void (*on_gap)(void *arg, enum topic topic, int32_t partition);
};

/* Joins a consumer group: each partition goes to one member. Offsets are committed by
 * bus_consumer_commit only. Uncommitted transactions are not seen. */
int bus_join(struct bus *bus, const char *group, const enum topic *topics, size_t n,
             const struct bus_consumer_ops *ops, void *arg, struct bus_consumer **consumer_out);

enum bus_from { BUS_FROM_FIRST, BUS_FROM_END };
/* Reads all partitions of the topics by itself, without a group, from queried watermarks. One
 * on_caught_up for all. ERR_UNAVAILABLE when the watermarks cannot be had within 5 s. */
int bus_read(struct bus *bus, const enum topic *topics, size_t n, enum bus_from from,
             const struct bus_consumer_ops *ops, void *arg, struct bus_consumer **consumer_out);

/* No records until resume; those under way may still come (bounded, at most 1,000). */
void bus_consumer_pause(struct bus_consumer *consumer);
void bus_consumer_resume(struct bus_consumer *consumer);
/* `next` is the offset to begin at after a restart. Asynchronous; coalesced per turn. */
void bus_consumer_commit(struct bus_consumer *consumer, enum topic topic, int32_t partition,
                         int64_t next);
void bus_consumer_release(struct bus_consumer *consumer, enum topic topic, int32_t partition);
/* Every assigned partition gets its on_revoke, commits are sent; once all is released: done. */
void bus_consumer_leave(struct bus_consumer *consumer, void (*done)(void *arg), void *arg);
/* Records in the log that were not handed over yet, as of the last second; -1: unknown. A metric
 * too: chat_bus_lag_records. Any thread. */
int64_t bus_consumer_lag(const struct bus_consumer *consumer);
/* How long a consumer that has lag was handed no record; 0: it is at the end. Any thread. */
int64_t bus_consumer_stalled_ms(const struct bus_consumer *consumer);
