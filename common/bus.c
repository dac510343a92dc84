// SPDX-License-Identifier: MIT
/*
 * The front of the bus: checks arguments, counts, and hands over to the implementation's table.
 * Holds what both implementations share: topic names, records, metrics.
 *
 * Called by rpc, svc, outbox and the daemons; threads as in bus.h.
 */
#include "common/bus.h"

#include "common/bus_impl.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/map.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Memory ---- */

static void *checked(void *p)
{
    if (p == NULL) {
        abort();
    }
    return p;
}

void *bus_zalloc(size_t size)
{
    return checked(calloc(1, size));
}

char *bus_strdup(const char *s)
{
    return checked(strdup(s));
}

/* ---- Topics ---- */

static const struct {
    const char *name;
    int64_t retention_ms;
} topic_rows[TOPIC_COUNT] = {
#define X(symbol, name, retention) {name, retention},
    TOPIC_LIST(X)
#undef X
};

const char *bus_topic_name(enum topic topic)
{
    assert(topic < TOPIC_COUNT);
    return topic_rows[topic].name;
}

int64_t bus_topic_retention_ms(enum topic topic, int64_t session_retention_ms)
{
    if (topic == TOPIC_EVENTS_SESSION && session_retention_ms > 0) {
        return session_retention_ms;
    }
    return topic_rows[topic].retention_ms;
}

int32_t bus_partitions(const struct bus *bus, enum topic topic)
{
    return topic == TOPIC_REPLY ? 1 : bus->partitions;
}

int32_t bus_partition_of(const struct bus *bus, enum topic topic, struct bus_key key)
{
    uint64_t count = (uint64_t)bus_partitions(bus, topic);

    return count == 1 ? 0 : (int32_t)(map_hash_stable(key.a, key.b) % count);
}

void bus_partitions_differ(char *problem, size_t problem_size, bool reply, int32_t wanted,
                           const char *name, int32_t found)
{
    snprintf(problem, problem_size,
             "%s is %" PRId32 ", but the topic \"%s\" has %" PRId32
             " partitions; the count is fixed for a topic's life",
             reply ? "a reply topic's count" : "KAFKA_PARTITIONS", wanted, name, found);
}

/* ---- Records ---- */

struct counted_record {
    struct bus_record pub;
    atomic_uint refs;
    size_t size;
    uint8_t data[]; /* value, then both strings with their NULs */
};

static struct counted_record *counted(struct bus_record *record)
{
    return (struct counted_record *)record;
}

static char *put_string(uint8_t **at, const char *s, size_t len)
{
    char *copy = (char *)*at;

    if (len > 0) {
        memcpy(copy, s, len);
    }
    copy[len] = '\0';
    *at += len + 1;
    return copy;
}

struct bus_record *bus_record_make(const struct bus_record *from, size_t traceparent_len,
                                   size_t request_id_len)
{
    size_t size = sizeof(struct counted_record) + from->len + traceparent_len + request_id_len + 2;
    struct counted_record *r = checked(malloc(size));
    uint8_t *at = r->data;

    r->pub = *from;
    r->size = size;
    atomic_init(&r->refs, 1);
    if (from->value != NULL) {
        if (from->len > 0) {
            memcpy(at, from->value, from->len);
        }
        r->pub.value = at;
        at += from->len;
    }
    r->pub.traceparent = put_string(&at, from->traceparent, traceparent_len);
    r->pub.request_id = put_string(&at, from->request_id, request_id_len);
    return &r->pub;
}

static size_t header_len(const char *s)
{
    size_t len = s == NULL ? 0 : strlen(s);

    return len <= BUS_HEADER_MAX ? len : 0;
}

struct bus_record *bus_record_of(const struct bus_message *message, int32_t partition)
{
    struct bus_record fields = {
        .topic = message->topic,
        .partition = partition,
        .time_ms = clock_now_ms(),
        .key = message->key,
        .value = message->value,
        .len = message->len,
        .traceparent = message->traceparent,
        .request_id = message->request_id,
    };

    return bus_record_make(&fields, header_len(message->traceparent),
                           header_len(message->request_id));
}

size_t bus_record_size(const struct bus_record *record)
{
    return ((const struct counted_record *)record)->size;
}

struct bus_record *bus_record_keep(struct bus_record *record)
{
    atomic_fetch_add_explicit(&counted(record)->refs, 1, memory_order_relaxed);
    return record;
}

void bus_record_release(struct bus_record *record)
{
    if (atomic_fetch_sub_explicit(&counted(record)->refs, 1, memory_order_acq_rel) == 1) {
        free(counted(record));
    }
}

/* ---- Metrics ---- */

static struct metric *sent_total[TOPIC_COUNT], *received_total[TOPIC_COUNT],
    *errors_total[TOPIC_COUNT];

static void make_metrics(void)
{
    for (int t = 0; t < TOPIC_COUNT; t++) {
        char labels[64];

        snprintf(labels, sizeof(labels), "topic=\"%s\"", topic_rows[t].name);
        sent_total[t] =
            metrics_counter("chat_bus_sent_total", "Records queued for sending", labels);
        received_total[t] =
            metrics_counter("chat_bus_received_total", "Records handed to consumers", labels);
        errors_total[t] = metrics_counter("chat_bus_errors_total",
                                          "Records that were refused or given up", labels);
    }
}

void bus_count_sent(enum topic topic, int64_t n)
{
    metric_add(sent_total[topic], n);
}

void bus_count_received(enum topic topic, int64_t n)
{
    metric_add(received_total[topic], n);
}

void bus_count_error(enum topic topic)
{
    metric_inc(errors_total[topic]);
}

void bus_deliver(struct bus_consumer *consumer, struct bus_burst *burst, struct bus_record *record)
{
    burst->received[record->topic]++;
    burst->total++;
    consumer->ops->on_record(consumer->arg, record);
    bus_record_release(record);
}

void bus_burst_end(struct bus_consumer *consumer, const struct bus_burst *burst)
{
    if (burst->total == 0) {
        return;
    }
    for (int t = 0; t < TOPIC_COUNT; t++) {
        if (burst->received[t] > 0) {
            bus_count_received((enum topic)t, burst->received[t]);
        }
    }
    if (consumer->ops->on_turn != NULL) {
        consumer->ops->on_turn(consumer->arg);
    }
}

/* ---- Opening and closing ---- */

void bus_base_init(struct bus *bus, const struct bus_impl *impl, uv_loop_t *loop,
                   const struct bus_options *options)
{
    char labels[128];

    snprintf(labels, sizeof(labels), "instance=\"%s\"", options->instance);
    bus->impl = impl;
    bus->loop = loop;
    bus->prefix = bus_strdup(options->prefix == NULL ? "" : options->prefix);
    bus->instance = bus_strdup(options->instance);
    bus->partitions = options->partitions;
    bus->session_retention_ms = options->session_retention_ms;
    bus->queue_records =
        metrics_gauge("chat_bus_queue_records", "Records sent and not yet acknowledged", labels);
}

void bus_base_done(struct bus *bus)
{
    free(bus->prefix);
    free(bus->instance);
}

int bus_open(uv_loop_t *loop, const struct bus_options *options, struct bus **bus_out,
             char *problem, size_t problem_size)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    assert(options->instance != NULL && options->instance[0] != '\0');
    pthread_once(&once, make_metrics);
    if (options->partitions < 1) {
        snprintf(problem, problem_size, "KAFKA_PARTITIONS must be at least 1");
        return ERR_INVALID;
    }
    if (options->bootstrap == NULL || options->bootstrap[0] == '\0') {
        return bus_local_open(loop, options, bus_out, problem, problem_size);
    }
    return bus_kafka_open(loop, options, bus_out, problem, problem_size);
}

void bus_close(struct bus *bus, int flush_ms, void (*done)(void *arg), void *arg)
{
    bus->impl->close(bus, flush_ms, done, arg);
}

const char *bus_log_id(const struct bus *bus)
{
    return bus->log_id;
}

bool bus_is_durable(const struct bus *bus)
{
    return bus->impl->durable;
}

bool bus_is_connected(const struct bus *bus)
{
    return bus->impl->is_connected(bus);
}

int bus_watermarks(struct bus *bus, enum topic topic, int32_t partition, int64_t *first_out,
                   int64_t *next_out)
{
    assert(partition >= 0 && partition < bus_partitions(bus, topic));
    return bus->impl->watermarks(bus, topic, partition, first_out, next_out);
}

/* ---- Sending ---- */

static int32_t settle_partition(const struct bus *bus, const struct bus_message *m)
{
    if (m->topic == TOPIC_REPLY) {
        assert(m->reply_to != NULL);
        return 0;
    }
    assert(m->partition < bus_partitions(bus, m->topic));
    return m->partition >= 0 ? m->partition : bus_partition_of(bus, m->topic, m->key);
}

int bus_send(struct bus *bus, const struct bus_message *message, bus_ack_fn ack, void *arg)
{
    int err = ERR_TOO_LARGE;

    if (message->len <= BUS_RECORD_MAX) {
        err = bus->impl->send(bus, message, settle_partition(bus, message), ack, arg);
    }
    if (err == 0) {
        bus_count_sent(message->topic, 1);
    } else {
        bus_count_error(message->topic);
    }
    return err;
}

int bus_txn_open(struct bus *bus, const char *name, struct bus_txn **txn_out)
{
    return bus->impl->txn_open(bus, name, txn_out);
}

int bus_txn_publish(struct bus_txn *txn, const struct bus_message *messages, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert(messages[i].topic != TOPIC_REPLY);
        if (messages[i].len > BUS_RECORD_MAX) {
            return ERR_TOO_LARGE;
        }
    }
    int err = n == 0 ? 0 : txn->impl->txn_publish(txn, messages, n);
    for (size_t i = 0; i < n; i++) {
        if (err == 0) {
            bus_count_sent(messages[i].topic, 1);
        } else {
            bus_count_error(messages[i].topic);
        }
    }
    return err;
}

void bus_txn_close(struct bus_txn *txn)
{
    if (txn != NULL) {
        txn->impl->txn_close(txn);
    }
}

/* ---- Receiving ---- */

static struct bus_consumer base_of(struct bus *bus, const enum topic *wanted, size_t n,
                                   const struct bus_consumer_ops *ops, void *arg,
                                   const char *lag_name)
{
    struct bus_consumer base = {.impl = bus->impl, .bus = bus, .ops = ops, .arg = arg};
    char labels[160];

    assert(n > 0 && ops->on_record != NULL);
    for (size_t i = 0; i < n; i++) {
        base.topics[wanted[i]] = true;
    }
    snprintf(labels, sizeof(labels), "consumer=\"%s\"", lag_name);
    base.lag_records = metrics_gauge(
        "chat_bus_lag_records", "Records in the log that the consumer was not handed yet", labels);
    return base;
}

int bus_join(struct bus *bus, const char *group, const enum topic *topics, size_t n,
             const struct bus_consumer_ops *ops, void *arg, struct bus_consumer **consumer_out)
{
    struct bus_consumer base = base_of(bus, topics, n, ops, arg, group);

    assert(!base.topics[TOPIC_REPLY]);
    return bus->impl->join(&base, group, consumer_out);
}

int bus_read(struct bus *bus, const enum topic *topics, size_t n, enum bus_from from,
             const struct bus_consumer_ops *ops, void *arg, struct bus_consumer **consumer_out)
{
    char name[120];

    snprintf(name, sizeof(name), "%s:%s", bus->instance, bus_topic_name(topics[0]));
    struct bus_consumer base = base_of(bus, topics, n, ops, arg, name);
    return bus->impl->read(&base, from, consumer_out);
}

void bus_consumer_pause(struct bus_consumer *consumer)
{
    consumer->impl->pause(consumer);
}

void bus_consumer_resume(struct bus_consumer *consumer)
{
    consumer->impl->resume(consumer);
}

void bus_consumer_commit(struct bus_consumer *consumer, enum topic topic, int32_t partition,
                         int64_t next)
{
    consumer->impl->commit(consumer, topic, partition, next);
}

void bus_consumer_release(struct bus_consumer *consumer, enum topic topic, int32_t partition)
{
    consumer->impl->release(consumer, topic, partition);
}

void bus_consumer_leave(struct bus_consumer *consumer, void (*done)(void *arg), void *arg)
{
    consumer->impl->leave(consumer, done, arg);
}

int64_t bus_consumer_lag(const struct bus_consumer *consumer)
{
    return consumer->impl->lag(consumer);
}

int64_t bus_consumer_stalled_ms(const struct bus_consumer *consumer)
{
    return consumer->impl->stalled_ms(consumer);
}
