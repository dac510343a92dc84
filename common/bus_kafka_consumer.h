// SPDX-License-Identifier: MIT
/*
 * Consumers of the bus over Kafka, inside: groups and readers are one struct, told apart by a flag.
 * Everything belongs to the bus's loop, but for what is atomic.
 */
#pragma once

#include "common/bus_kafka.h"

enum kafka_part_state {
    KAFKA_NONE,
    KAFKA_HELD, /* assigned */
    KAFKA_TOLD, /* revoked, not released yet */
};

struct kafka_part {
    enum kafka_part_state state;
    bool caught_up;
    int64_t position; /* next offset to hand over; -1: not known yet */
    int64_t target;   /* readers: where it is caught up */
    int64_t commit;   /* to be committed; -1: nothing */
};

struct kafka_consumer {
    struct bus_consumer base;
    struct kafka_bus *bus;
    struct kafka_consumer *next;
    bool group;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    struct kafka_wake wake;
    uv_timer_t tick;
    uv_prepare_t flush; /* sends the commits of a turn */
    uv_work_t job;
    rd_kafka_topic_t *topics[TOPIC_COUNT];
    struct kafka_part *parts[TOPIC_COUNT];

    /* A short pause leaves records in librdkafka's queue; a long one stops fetching as well, and
     * the queue is served again, for it brings rebalances too. */
    bool paused, stopped;
    bool reassign;  /* a reader met a gap */
    bool caught_up; /* on_caught_up was called, or is not wanted */

    rd_kafka_topic_partition_list_t *assign; /* noted by the callback, to be told */
    bool revoke, lost;                       /* the same */
    bool revoking, telling;                  /* told; acknowledged when all is released */
    int unreleased;
    int64_t revoke_by_ms; /* after this a commit under way is waited for no longer */
    bool commit_wanted, commit_flies;
    int64_t commit_after_ms; /* after a failure */

    /* closed: nothing more is handed over; once the turn is over librdkafka's objects belong to the
     * closing job. */
    bool leaving, closed, in_turn;
    int open_handles;
    void (*done)(void *arg);
    void *done_arg;

    atomic_int_least64_t lag, last_ms, behind_ms; /* behind_ms: since when there is lag; 0: none */
};

/* ---- bus_kafka_consumer.c ---- */

int kafka_consumer_new(const struct bus_consumer *base, const char *group, const char *offset_reset,
                       struct kafka_consumer **consumer_out);
rd_kafka_topic_partition_list_t *kafka_held(const struct kafka_consumer *c);
/* The part of a topic's name; NULL when it is not ours. */
struct kafka_part *kafka_part_of(const struct kafka_consumer *c, const char *name,
                                 int32_t partition, enum topic *topic_out);
/* Ends librdkafka's consumer in the thread pool, then frees. */
void kafka_consumer_close(struct kafka_consumer *c);

/* ---- bus_kafka_group.c ---- */

void kafka_group_conf(rd_kafka_conf_t *conf);
void kafka_group_serve(struct kafka_consumer *c); /* tells what the callbacks noted */
void kafka_group_tick(struct kafka_consumer *c);
void kafka_group_leave(struct kafka_consumer *c);

/* ---- bus_kafka_reader.c ---- */

void kafka_reader_gap(struct kafka_consumer *c, enum topic topic, int32_t partition);
void kafka_reader_serve(struct kafka_consumer *c); /* goes on after gaps */
void kafka_reader_check(struct kafka_consumer *c); /* caught up? */
