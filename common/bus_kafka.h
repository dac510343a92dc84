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
    bool refusing;                         /* sends: closing, or the producer is being made anew */
    atomic_int askers; /* threads that use rk without the lock: it is not exchanged meanwhile */

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
    char trouble[256];  /* what a broker, or the way to it, last failed with */
    int64_t refused_ms; /* since when it is password or certificate; 0: it is not */
    int refusal;        /* librdkafka's error of the last refusal, */
    int64_t told_ms;    /* and when that was logged */
    uint64_t given_up;  /* records, since the last tick; and why */
    rd_kafka_resp_err_t given_up_err;
    struct kafka_consumer *consumers;
    bool closing;
    int64_t close_by_ms;
    int open_handles;
    void (*done)(void *arg);
    void *done_arg;
};

struct kafka_consumer;

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
bool kafka_was_written(const rd_kafka_message_t *message); /* of a delivery report */
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
int kafka_offsets(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list, int timeout_ms,
                  rd_kafka_topic_partition_list_t **first_out,
                  rd_kafka_topic_partition_list_t **next_out);

/* ---- bus_kafka_txn.c ---- */

int kafka_txn_open(struct bus *bus, const char *name, struct bus_txn **txn_out);
int kafka_txn_publish(struct bus_txn *txn, const struct bus_message *messages, size_t n);
void kafka_txn_close(struct bus_txn *txn);

/* ---- Rows of the table behind bus.h ---- */

void kafka_pause(struct bus_consumer *consumer);
void kafka_resume(struct bus_consumer *consumer);
void kafka_leave(struct bus_consumer *consumer, void (*done)(void *arg), void *arg);
int64_t kafka_lag(const struct bus_consumer *consumer);
int64_t kafka_stalled_ms(const struct bus_consumer *consumer);
int kafka_join(const struct bus_consumer *base, const char *group,
               struct bus_consumer **consumer_out);
void kafka_commit(struct bus_consumer *consumer, enum topic topic, int32_t partition, int64_t next);
void kafka_release(struct bus_consumer *consumer, enum topic topic, int32_t partition);
int kafka_read(const struct bus_consumer *base, enum bus_from from,
               struct bus_consumer **consumer_out);
void kafka_consumers_force(struct kafka_bus *bus); /* for bus_close */
