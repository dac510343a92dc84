// SPDX-License-Identifier: MIT
/*
 * What groups and readers of the bus over Kafka share: the client, serving its queue on the loop,
 * pause and resume, lag, the end.
 *
 * One turn hands over at most BUS_TURN_MAX records, then the loop goes on. A record is copied out
 * of librdkafka's message, whose buffer (a whole answer of the broker) would otherwise live as
 * long as the record is kept.
 */
#include "common/bus_kafka_consumer.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct kafka_consumer *kafka_of(const struct bus_consumer *consumer)
{
    return (struct kafka_consumer *)consumer;
}

/* ---- Partitions ---- */

struct kafka_part *kafka_part_of(const struct kafka_consumer *c, const char *name,
                                 int32_t partition, enum topic *topic_out)
{
    for (int t = 0; t < TOPIC_COUNT; t++) {
        if (c->parts[t] != NULL && strcmp(rd_kafka_topic_name(c->topics[t]), name) == 0) {
            if (partition < 0 || partition >= bus_partitions(c->base.bus, (enum topic)t)) {
                return NULL;
            }
            *topic_out = (enum topic)t;
            return &c->parts[t][partition];
        }
    }
    return NULL;
}

static struct kafka_part *part_of_message(const struct kafka_consumer *c,
                                          const rd_kafka_message_t *m, enum topic *topic_out)
{
    if (m->rkt == NULL) {
        return NULL;
    }
    for (int t = 0; t < TOPIC_COUNT; t++) {
        if (c->topics[t] == m->rkt && m->partition >= 0 &&
            m->partition < bus_partitions(c->base.bus, (enum topic)t)) {
            *topic_out = (enum topic)t;
            return &c->parts[t][m->partition];
        }
    }
    return kafka_part_of(c, rd_kafka_topic_name(m->rkt), m->partition, topic_out);
}

rd_kafka_topic_partition_list_t *kafka_held(const struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);

    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; c->parts[t] != NULL && p < bus_partitions(c->base.bus, (enum topic)t);
             p++) {
            if (c->parts[t][p].state == KAFKA_HELD) {
                rd_kafka_topic_partition_list_add(list, rd_kafka_topic_name(c->topics[t]), p);
            }
        }
    }
    return list;
}

/* ---- Handing over ---- */

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t value = 0;

    for (int i = 0; i < 8; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

struct header {
    const void *value;
    size_t len;
};

static void find_header(const rd_kafka_headers_t *headers, const char *name, struct header *out)
{
    if (rd_kafka_header_get_last(headers, name, &out->value, &out->len) !=
            RD_KAFKA_RESP_ERR_NO_ERROR ||
        out->value == NULL || out->len > BUS_HEADER_MAX) {
        *out = (struct header){"", 0};
    }
}

static struct bus_record *record_of(const rd_kafka_message_t *m, enum topic topic)
{
    struct header traceparent = {"", 0}, request_id = {"", 0};
    rd_kafka_timestamp_type_t type;
    rd_kafka_headers_t *headers;
    struct bus_record fields = {
        .topic = topic,
        .partition = m->partition,
        .offset = m->offset,
        .time_ms = rd_kafka_message_timestamp(m, &type),
        .value = m->payload,
        .len = m->len,
    };

    if (m->key != NULL && m->key_len == 16) {
        fields.key.a = get_u64(m->key);
        fields.key.b = get_u64((const uint8_t *)m->key + 8);
    }
    if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        find_header(headers, "traceparent", &traceparent);
        find_header(headers, "request-id", &request_id);
    }
    fields.traceparent = traceparent.value;
    fields.request_id = request_id.value;
    return bus_record_make(&fields, traceparent.len, request_id.len);
}

static void on_problem(struct kafka_consumer *c, const rd_kafka_message_t *m,
                       struct kafka_part *part, enum topic topic)
{
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && part != NULL) {
        part->position = m->offset;
        part->caught_up = part->caught_up || m->offset >= part->target;
    } else if (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET && part != NULL && !c->group) {
        kafka_reader_gap(c, topic, m->partition);
    } else {
        log_warn("kafka consumer", "consumer=%s error=%s", c->group ? "group" : "reader",
                 LOG_Q(rd_kafka_message_errstr(m)));
    }
}

static void on_message(struct kafka_consumer *c, const rd_kafka_message_t *m,
                       struct bus_burst *burst)
{
    enum topic topic = TOPIC_COUNT;
    struct kafka_part *part = part_of_message(c, m, &topic);

    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        on_problem(c, m, part, topic);
    } else if (part != NULL && part->state == KAFKA_HELD && !(c->leaving && !c->group)) {
        part->position = m->offset + 1;
        bus_deliver(&c->base, burst, record_of(m, topic));
    }
}

static void end_burst(struct kafka_consumer *c, const struct bus_burst *burst)
{
    if (burst->total > 0) {
        atomic_store_explicit(&c->last_ms, clock_mono_ms(), memory_order_relaxed);
        atomic_store_explicit(&c->bus->connected, true, memory_order_relaxed);
        bus_burst_end(&c->base, burst);
    }
}

/* In a short pause everything stays in librdkafka's queue. While partitions are given back no
 * records come, but the results of commits do. */
static bool may_serve(const struct kafka_consumer *c)
{
    return !c->closed && (!c->paused || c->stopped || c->revoking);
}

static void turn(struct kafka_consumer *c)
{
    rd_kafka_message_t *batch[BUS_BATCH_MAX];
    struct bus_burst burst = {.total = 0};
    ssize_t n = 1;

    while (n > 0 && burst.total + BUS_BATCH_MAX <= BUS_TURN_MAX && may_serve(c)) {
        n = rd_kafka_consume_batch_queue(c->queue, 0, batch, BUS_BATCH_MAX);
        for (ssize_t i = 0; i < n; i++) {
            on_message(c, batch[i], &burst);
            rd_kafka_message_destroy(batch[i]);
        }
        kafka_group_serve(c);
        kafka_reader_serve(c);
    }
    if (n > 0 && may_serve(c)) {
        kafka_wake_again(&c->wake);
    }
    end_burst(c, &burst);
    if (!c->caught_up && !c->leaving) {
        kafka_reader_check(c);
    }
}

static void close_begin(struct kafka_consumer *c);

static void turn_begin(struct kafka_consumer *c)
{
    c->in_turn = true;
}

/* A callback may have ended the consumer. */
static void turn_end(struct kafka_consumer *c)
{
    c->in_turn = false;
    if (c->closed) {
        close_begin(c);
    }
}

static void on_events(uv_poll_t *poll, int status, int events)
{
    struct kafka_consumer *c = poll->data;

    (void)status;
    (void)events;
    kafka_wake_clear(&c->wake);
    turn_begin(c);
    turn(c);
    turn_end(c);
}

/* ---- Every second ---- */

static void measure(struct kafka_consumer *c, int64_t now)
{
    int64_t lag = 0;

    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; c->parts[t] != NULL && p < bus_partitions(c->base.bus, (enum topic)t);
             p++) {
            const struct kafka_part *part = &c->parts[t][p];
            int64_t low, high;

            if (part->state != KAFKA_HELD || lag < 0) {
                continue;
            }
            if (part->position < 0 ||
                rd_kafka_get_watermark_offsets(c->rk, rd_kafka_topic_name(c->topics[t]), p, &low,
                                               &high) != RD_KAFKA_RESP_ERR_NO_ERROR ||
                high < 0) {
                lag = -1;
            } else if (high > part->position) {
                lag += high - part->position;
            }
        }
    }
    atomic_store(&c->lag, lag);
    if (lag <= 0) {
        atomic_store(&c->behind_ms, 0);
    } else if (atomic_load(&c->behind_ms) == 0) {
        atomic_store(&c->behind_ms, now);
    }
    metric_set(c->base.lag_records, lag < 0 ? 0 : lag);
}

static void stop_fetching(struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = kafka_held(c);

    rd_kafka_pause_partitions(c->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    c->stopped = true;
}

/* Only this call keeps an idle member in its group. */
static void poll_once(struct kafka_consumer *c)
{
    rd_kafka_message_t *m = rd_kafka_consumer_poll(c->rk, 0);
    struct bus_burst burst = {.total = 0};

    if (m != NULL) {
        on_message(c, m, &burst);
        rd_kafka_message_destroy(m);
    }
    kafka_group_serve(c);
    kafka_reader_serve(c);
    end_burst(c, &burst);
}

static void on_tick(uv_timer_t *timer)
{
    struct kafka_consumer *c = timer->data;
    int64_t now = clock_mono_ms();

    turn_begin(c);
    if (c->paused && !c->stopped) {
        stop_fetching(c);
    }
    poll_once(c);
    turn(c);
    if (!c->closed) {
        measure(c, now);
        kafka_group_tick(c);
    }
    turn_end(c);
}

void kafka_pause(struct bus_consumer *consumer)
{
    kafka_of(consumer)->paused = true;
}

void kafka_resume(struct bus_consumer *consumer)
{
    struct kafka_consumer *c = kafka_of(consumer);

    if (!c->paused || c->closed) {
        return;
    }
    c->paused = false;
    if (c->stopped) {
        rd_kafka_topic_partition_list_t *list = kafka_held(c);

        rd_kafka_resume_partitions(c->rk, list);
        rd_kafka_topic_partition_list_destroy(list);
        c->stopped = false;
    }
    kafka_wake_again(&c->wake);
}

int64_t kafka_lag(const struct bus_consumer *consumer)
{
    return atomic_load(&kafka_of(consumer)->lag);
}

int64_t kafka_stalled_ms(const struct bus_consumer *consumer)
{
    struct kafka_consumer *c = kafka_of(consumer);
    int64_t behind = atomic_load(&c->behind_ms), last = atomic_load(&c->last_ms);

    return behind == 0 ? 0 : clock_mono_ms() - (last > behind ? last : behind);
}

/* ---- Making ---- */

static rd_kafka_conf_t *consumer_conf(struct kafka_consumer *c, const char *group,
                                      const char *offset_reset, char *problem, size_t problem_size)
{
    const struct kafka_setting settings[] = {
        {"group.id", group},
        {"auto.offset.reset", offset_reset},
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"isolation.level", "read_committed"},
        {"enable.partition.eof", "true"}, /* says where the end is, past transactions' markers */
        {"partition.assignment.strategy", "range,roundrobin"}, /* cooperative crashes in 2.0.2 */
        {"session.timeout.ms", "6000"},
        {"max.poll.interval.ms", "60000"}, /* also how long a rebalance waits for a release */
        {"fetch.min.bytes", "1"},

        {"fetch.wait.max.ms", "500"},
        {"fetch.error.backoff.ms", "50"},
        {NULL, NULL},
    };
    rd_kafka_conf_t *conf = kafka_conf_new(c->bus, problem, problem_size);

    if (conf == NULL) {
        return NULL;
    }
    if (kafka_conf_set(conf, problem, problem_size, settings) != 0) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    rd_kafka_conf_set_opaque(conf, c);
    kafka_group_conf(conf);
    return conf;
}

static void make_parts(struct kafka_consumer *c)
{
    for (int t = 0; t < TOPIC_COUNT; t++) {
        char name[KAFKA_NAME_MAX];
        int32_t count = bus_partitions(c->base.bus, (enum topic)t);

        if (!c->base.topics[t]) {
            continue;
        }
        kafka_topic_name(c->bus, (enum topic)t, c->bus->base.instance, name);
        c->topics[t] = rd_kafka_topic_new(c->rk, name, NULL);
        c->parts[t] = bus_zalloc((size_t)count * sizeof(*c->parts[t]));
        for (int32_t p = 0; p < count; p++) {
            c->parts[t][p].position = c->parts[t][p].commit = -1;
        }
    }
}

int kafka_consumer_new(const struct bus_consumer *base, const char *group, const char *offset_reset,
                       struct kafka_consumer **consumer_out)
{
    struct kafka_consumer *c = bus_zalloc(sizeof(*c));
    char problem[256];

    c->base = *base;
    c->bus = (struct kafka_bus *)base->bus;
    rd_kafka_conf_t *conf = consumer_conf(c, group, offset_reset, problem, sizeof(problem));
    if (conf == NULL ||
        kafka_client_new(RD_KAFKA_CONSUMER, conf, &c->rk, problem, sizeof(problem)) != 0) {
        log_error("no kafka consumer", "problem=%s", LOG_Q(problem));
        free(c);
        return ERR_UNAVAILABLE;
    }
    rd_kafka_poll_set_consumer(c->rk);
    c->queue = rd_kafka_queue_get_consumer(c->rk);
    make_parts(c);
    if (kafka_wake_open(&c->wake, base->bus->loop, c->queue, on_events, c) != 0) {
        abort(); /* no descriptors at the start */
    }
    c->flush.data = c->tick.data = c->job.data = c;
    uv_prepare_init(base->bus->loop, &c->flush);
    uv_timer_init(base->bus->loop, &c->tick);
    uv_timer_start(&c->tick, on_tick, KAFKA_TICK_MS, KAFKA_TICK_MS);
    atomic_store(&c->lag, -1);
    atomic_store(&c->last_ms, clock_mono_ms());
    c->next = c->bus->consumers;
    c->bus->consumers = c;
    *consumer_out = c;
    return 0;
}

/* ---- The end ---- */

static void on_closed(uv_handle_t *handle)
{
    struct kafka_consumer *c = handle->data;

    if (--c->open_handles > 0) {
        return;
    }
    struct kafka_consumer **link = &c->bus->consumers;
    while (*link != c) {
        link = &(*link)->next;
    }
    *link = c->next;
    metric_set(c->base.lag_records, 0);
    close(c->wake.fd);
    for (int t = 0; t < TOPIC_COUNT; t++) {
        free(c->parts[t]);
    }
    void (*done)(void *arg) = c->done;
    void *arg = c->done_arg;
    free(c);
    if (done != NULL) {
        done(arg);
    }
}

static void close_run(uv_work_t *job)
{
    struct kafka_consumer *c = job->data;

    rd_kafka_queue_destroy(c->queue);
    for (int t = 0; t < TOPIC_COUNT; t++) {
        if (c->topics[t] != NULL) {
            rd_kafka_topic_destroy(c->topics[t]);
        }
    }
    rd_kafka_consumer_close(c->rk); /* leaves the group */
    rd_kafka_destroy(c->rk);
}

static void close_after(uv_work_t *job, int status)
{
    struct kafka_consumer *c = job->data;

    (void)status;
    c->open_handles = 3;
    uv_close((uv_handle_t *)&c->wake.poll, on_closed);
    uv_close((uv_handle_t *)&c->tick, on_closed);
    uv_close((uv_handle_t *)&c->flush, on_closed);
}

/* From here on librdkafka's objects belong to the job. */
static void close_begin(struct kafka_consumer *c)
{
    rd_kafka_queue_io_event_enable(c->queue, -1, NULL, 0);
    uv_poll_stop(&c->wake.poll);
    uv_timer_stop(&c->tick);
    uv_prepare_stop(&c->flush);
    if (c->assign != NULL) {
        rd_kafka_topic_partition_list_destroy(c->assign);
        c->assign = NULL;
    }
    int err = uv_queue_work(c->base.bus->loop, &c->job, close_run, close_after);
    assert(err == 0);
}

void kafka_consumer_close(struct kafka_consumer *c)
{
    if (c->closed) {
        return;
    }
    c->closed = true;
    if (!c->in_turn) {
        close_begin(c);
    }
}

void kafka_leave(struct bus_consumer *consumer, void (*done)(void *arg), void *arg)
{
    struct kafka_consumer *c = kafka_of(consumer);

    c->leaving = true;
    c->done = done;
    c->done_arg = arg;
    if (c->group) {
        kafka_group_leave(c);
    } else {
        kafka_consumer_close(c);
    }
}

void kafka_consumers_force(struct kafka_bus *bus)
{
    for (struct kafka_consumer *c = bus->consumers; c != NULL; c = c->next) {
        c->leaving = true;
        kafka_consumer_close(c);
    }
}
