// SPDX-License-Identifier: MIT
/*
 * The bus over Kafka, inside. bus_kafka.c has the bus, bus_kafka_send.c its producer,
 * bus_kafka_admin.c topics and offsets, bus_kafka_consumer.c what groups and readers share,
 * bus_kafka_group.c and bus_kafka_reader.c what is theirs, bus_kafka_txn.c publishers. These are
 * the only files that know librdkafka.
 *
 * librdkafka's own threads never call us: its events wait in queues that are served on the loop,
 * woken by an eventfd. What blocks runs in libuv's thread pool or, at the start, in bus_open.
 */
#pragma once

#include "common/bus_impl.h"
#include "common/map.h"

#include <librdkafka/rdkafka.h>
#include <pthread.h>

#define KAFKA_NAME_MAX 250
#define KAFKA_TICK_MS 1000

/* The eventfd that a librdkafka queue writes to when it is no longer empty. */
struct kafka_wake {
    int fd;
    uv_poll_t poll;
};

struct kafka_bus {
    struct bus base;
    char *bootstrap, *security_protocol, *sasl_mechanism, *sasl_username, *sasl_password;
    char *ssl_ca_file; /* NULL when not set, like the four before */
    int16_t replication;
    bool owns_reply;

    pthread_rwlock_t lock; /* the producer may be made anew while other threads send */
    rd_kafka_t *rk;
    rd_kafka_topic_t *topics[TOPIC_COUNT]; /* but TOPIC_REPLY */
    struct map replies;                    /* rd_kafka_topic_t by the hash of the instance */
    bool refusing;

    atomic_bool connected; /* some broker answered, and not all are down since */
    atomic_bool fatal;     /* the producer must be made anew */
    atomic_bool refresh;   /* a topic was unknown: ask again */

    /* of the loop: */
    rd_kafka_queue_t *queue; /* of the producer's events */
    struct kafka_wake wake;
    uv_timer_t tick;
    uv_work_t job; /* one at a time */
    bool job_runs;
    int64_t probed_ms;
    struct kafka_consumer *consumers;
    bool closing;
    int64_t close_by_ms;
    int open_handles;
    void (*done)(void *arg);
    void *done_arg;
};

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

/* ---- bus_kafka.c ---- */

/* Settings that all clients of a bus share. NULL with a sentence in problem. */
rd_kafka_conf_t *kafka_conf_new(const struct kafka_bus *bus, char *problem, size_t problem_size);
struct kafka_setting {
    const char *name, *value; /* value NULL or "": not set */
};
/* Ends with a row without name. ERR_INVALID with a sentence in problem. */
int kafka_conf_set(rd_kafka_conf_t *conf, char *problem, size_t problem_size,
                   const struct kafka_setting *settings);
/* Takes conf in any case. */
int kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **rk_out,
                     char *problem, size_t problem_size);
void kafka_topic_name(const struct kafka_bus *bus, enum topic topic, const char *reply_to,
                      char out[KAFKA_NAME_MAX]);
int kafka_wake_open(struct kafka_wake *wake, uv_loop_t *loop, rd_kafka_queue_t *queue,
                    uv_poll_cb served, void *data);
void kafka_wake_clear(struct kafka_wake *wake); /* before the queue is served */
void kafka_wake_again(struct kafka_wake *wake); /* serve the queue in the next turn */

/* ---- bus_kafka_send.c ---- */

int kafka_producer_new(struct kafka_bus *bus, rd_kafka_t **rk_out, char *problem,
                       size_t problem_size);
void kafka_producer_renew(struct kafka_bus *bus); /* loop, after a fatal error, while no job runs */
void kafka_handles_make(struct kafka_bus *bus);
void kafka_handles_destroy(struct kafka_bus *bus);
void kafka_purge(rd_kafka_t *rk); /* gives up what is queued, serves the reports */
int kafka_send(struct bus *bus, const struct bus_message *message, int32_t partition,
               bus_ack_fn ack, void *arg);
/* The fields of a record that are to be sent: count of `out`, at most 8. */
#define KAFKA_FIELDS_MAX 8
size_t kafka_fields(rd_kafka_vu_t out[KAFKA_FIELDS_MAX], uint8_t key[16],
                    const struct bus_message *message, rd_kafka_topic_t *topic, int32_t partition,
                    void *opaque);

/* ---- bus_kafka_admin.c ---- */

/* Makes what is missing, checks what is there, waits until all have leaders; fills in the log's
 * id. Blocks; errors as bus_open. */
int kafka_topics_make(struct kafka_bus *bus, char *problem, size_t problem_size);
void kafka_topic_delete(struct kafka_bus *bus, const char *name, int timeout_ms); /* blocks */
/* First and next offsets of all partitions in `list`: into `offset` of two copies. Blocks. */
int kafka_offsets(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list,
                  rd_kafka_topic_partition_list_t **first_out,
                  rd_kafka_topic_partition_list_t **next_out);

/* ---- bus_kafka_consumer.c ---- */

int kafka_consumer_new(const struct bus_consumer *base, const char *group, const char *offset_reset,
                       struct kafka_consumer **consumer_out);
rd_kafka_topic_partition_list_t *kafka_held(const struct kafka_consumer *c);
/* The part of a topic's name; NULL when it is not ours. */
struct kafka_part *kafka_part_of(const struct kafka_consumer *c, const char *name,
                                 int32_t partition, enum topic *topic_out);
/* Ends librdkafka's consumer in the thread pool, then frees. */
void kafka_consumer_close(struct kafka_consumer *c);

void kafka_pause(struct bus_consumer *consumer);
void kafka_resume(struct bus_consumer *consumer);
void kafka_leave(struct bus_consumer *consumer, void (*done)(void *arg), void *arg);
int64_t kafka_lag(const struct bus_consumer *consumer);
int64_t kafka_stalled_ms(const struct bus_consumer *consumer);
void kafka_consumers_force(struct kafka_bus *bus); /* for bus_close */

/* ---- bus_kafka_group.c ---- */

int kafka_join(const struct bus_consumer *base, const char *group,
               struct bus_consumer **consumer_out);
void kafka_group_conf(rd_kafka_conf_t *conf);
void kafka_group_serve(struct kafka_consumer *c); /* tells what the callbacks noted */
void kafka_group_tick(struct kafka_consumer *c);
void kafka_group_leave(struct kafka_consumer *c);
void kafka_commit(struct bus_consumer *consumer, enum topic topic, int32_t partition, int64_t next);
void kafka_commit_flush(uv_prepare_t *flush);
void kafka_release(struct bus_consumer *consumer, enum topic topic, int32_t partition);

/* ---- bus_kafka_reader.c ---- */

int kafka_read(const struct bus_consumer *base, enum bus_from from,
               struct bus_consumer **consumer_out);
void kafka_reader_gap(struct kafka_consumer *c, enum topic topic, int32_t partition);
void kafka_reader_check(struct kafka_consumer *c); /* caught up? */

/* ---- bus_kafka_txn.c ---- */

int kafka_txn_open(struct bus *bus, const char *name, struct bus_txn **txn_out);
int kafka_txn_publish(struct bus_txn *txn, const struct bus_message *messages, size_t n);
void kafka_txn_close(struct bus_txn *txn);
