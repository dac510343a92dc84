// SPDX-License-Identifier: MIT
/*
 * The bus over Kafka: settings, wake-ups, opening, turns of the loop, closing, and the table behind
 * bus.h. It sends nothing itself (bus_kafka_send.c) and receives nothing (bus_kafka_consumer.c).
 *
 * Runs on the bus's loop; probes and the end of the producer, which block, in the thread pool.
 */
#include "common/bus_kafka.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PROBE_MS 5000      /* how often the brokers are asked whether they are there */
#define PROBE_LOST_MS 1000 /* the same when they were not */
#define PROBE_WAIT_MS 2000
#define CLOSE_TICK_MS 20
#define DELETE_MS 3000 /* for the own reply topic */

static struct kafka_bus *kafka(const struct bus *bus)
{
    return (struct kafka_bus *)bus;
}

/* ---- Settings ---- */

int kafka_conf_set(rd_kafka_conf_t *conf, char *problem, size_t problem_size,
                   const struct kafka_setting *settings)
{
    char text[256];

    for (const struct kafka_setting *s = settings; s->name != NULL; s++) {
        if (s->value != NULL && s->value[0] != '\0' &&
            rd_kafka_conf_set(conf, s->name, s->value, text, sizeof(text)) != RD_KAFKA_CONF_OK) {
            snprintf(problem, problem_size, "Kafka's client refuses a setting: %s", text);
            return ERR_INVALID;
        }
    }
    return 0;
}

/* Comes as an error too, and is logged where that is dealt with; or is tried again in silence. */
static bool is_told_elsewhere(const char *facility)
{
    static const char *const words[] = {"FAIL", "ERROR", "GETPID", "SSL"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(facility, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* On librdkafka's threads, which serve no service: the client's name says whose it is. */
static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    if (level <= 4 && !is_told_elsewhere(facility)) { /* syslog's LOG_WARNING */
        log_info("kafka", "client=%s facility=%s text=%s", rd_kafka_name(rk), facility,
                 LOG_Q(text));
    } else {
        log_debug("kafka", "client=%s facility=%s text=%s", rd_kafka_name(rk), facility,
                  LOG_Q(text));
    }
}

static int check_ca_file(const struct kafka_bus *bus, char *problem, size_t problem_size)
{
    if (bus->ssl_ca_file != NULL && access(bus->ssl_ca_file, R_OK) != 0) {
        snprintf(problem, problem_size, "KAFKA_SSL_CA_FILE \"%s\" cannot be read: %s",
                 bus->ssl_ca_file, strerror(errno));
        return ERR_INVALID;
    }
    return 0;
}

rd_kafka_conf_t *kafka_conf_new(const struct kafka_bus *bus, char *problem, size_t problem_size)
{
    const struct kafka_setting settings[] = {
        {"bootstrap.servers", bus->bootstrap},
        {"client.id", bus->base.instance},
        {"security.protocol", bus->security_protocol},
        {"sasl.mechanism", bus->sasl_mechanism},
        {"sasl.username", bus->sasl_username},
        {"sasl.password", bus->sasl_password},
        {"ssl.ca.location", bus->ssl_ca_file},
        {"socket.nagle.disable", "true"}, /* 40 ms on real networks otherwise */
        {"socket.keepalive.enable", "true"},
        {"socket.connection.setup.timeout.ms", "5000"},
        {"reconnect.backoff.ms", "50"},
        {"reconnect.backoff.max.ms", "1000"},
        {"log.connection.close", "false"}, /* brokers close idle connections */
        {NULL, NULL},
    };
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    rd_kafka_conf_set_log_cb(conf, on_log);
    if (kafka_conf_set(conf, problem, problem_size, settings) != 0) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    return conf;
}

int kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **rk_out,
                     char *problem, size_t problem_size)
{
    char text[256];
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof(text));

    if (rk == NULL) {
        rd_kafka_conf_destroy(conf);
        snprintf(problem, problem_size, "Kafka's client cannot be made: %s", text);
        return ERR_INVALID;
    }
    *rk_out = rk;
    return 0;
}

void kafka_topic_name(const struct kafka_bus *bus, enum topic topic, const char *reply_to,
                      char out[KAFKA_NAME_MAX])
{
    if (topic == TOPIC_REPLY) {
        snprintf(out, KAFKA_NAME_MAX, "%s%s.%s", bus->base.prefix, bus_topic_name(topic), reply_to);
    } else {
        snprintf(out, KAFKA_NAME_MAX, "%s%s", bus->base.prefix, bus_topic_name(topic));
    }
}

/* ---- Waking the loop ---- */

int kafka_wake_open(struct kafka_wake *wake, uv_loop_t *loop, rd_kafka_queue_t *queue,
                    uv_poll_cb served, void *data)
{
    static const uint64_t one = 1;

    wake->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wake->fd < 0) {
        return ERR_UNAVAILABLE;
    }
    wake->poll.data = data;
    if (uv_poll_init(loop, &wake->poll, wake->fd) != 0) {
        close(wake->fd);
        return ERR_UNAVAILABLE;
    }
    rd_kafka_queue_io_event_enable(queue, wake->fd, &one, sizeof(one));
    uv_poll_start(&wake->poll, UV_READABLE, served);
    kafka_wake_again(wake); /* what came before is not signalled */
    return 0;
}

void kafka_wake_clear(struct kafka_wake *wake)
{
    uint64_t count;

    if (read(wake->fd, &count, sizeof(count)) < 0) {
        assert(errno == EAGAIN || errno == EINTR);
    }
}

void kafka_wake_again(struct kafka_wake *wake)
{
    uint64_t one = 1;

    if (write(wake->fd, &one, sizeof(one)) < 0) {
        assert(errno == EAGAIN || errno == EINTR);
    }
}

/* ---- Turns of the loop ---- */

/* Asks for all topics that the client knows: says whether a broker is there, and finds reply topics
 * that were missing when they were first asked for. */
static void probe_run(uv_work_t *job)
{
    struct kafka_bus *bus = job->data;
    const struct rd_kafka_metadata *metadata;

    rd_kafka_resp_err_t err = rd_kafka_metadata(bus->rk, 0, NULL, &metadata, PROBE_WAIT_MS);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_metadata_destroy(metadata);
    }
    atomic_store(&bus->connected, err == RD_KAFKA_RESP_ERR_NO_ERROR);
}

static void probe_after(uv_work_t *job, int status)
{
    struct kafka_bus *bus = job->data;

    (void)status;
    bus->job_runs = false;
    if (atomic_load(&bus->connected)) {
        bus->refusal = 0;
    }
}

static void probe(struct kafka_bus *bus, int64_t now)
{
    int64_t every = atomic_load(&bus->connected) ? PROBE_MS : PROBE_LOST_MS;

    if (bus->job_runs || (!atomic_load(&bus->refresh) && now - bus->probed_ms < every)) {
        return;
    }
    atomic_store(&bus->refresh, false);
    bus->probed_ms = now;
    bus->job_runs = uv_queue_work(bus->base.loop, &bus->job, probe_run, probe_after) == 0;
}

static void serve(struct kafka_bus *bus)
{
    while (rd_kafka_poll(bus->rk, 0) > 0) {
    }
    if (bus->closing) {
        return;
    }
    if (atomic_load(&bus->fatal) && !bus->job_runs) {
        kafka_producer_renew(bus);
    }
    if (atomic_load(&bus->refresh) && clock_mono_ms() - bus->probed_ms >= 100) {
        probe(bus, clock_mono_ms());
    }
}

static void on_events(uv_poll_t *poll, int status, int events)
{
    struct kafka_bus *bus = poll->data;

    (void)status;
    (void)events;
    kafka_wake_clear(&bus->wake);
    serve(bus);
}

static void on_tick(uv_timer_t *timer)
{
    struct kafka_bus *bus = timer->data;

    serve(bus);
    if (bus->given_up > 0) {
        log_warn("records given up", "count=%" PRIu64 " error=%s", bus->given_up,
                 LOG_Q(rd_kafka_err2str(bus->given_up_err)));
        bus->given_up = 0;
    }
    probe(bus, clock_mono_ms());
    metric_set(bus->base.queue_records, rd_kafka_outq_len(bus->rk));
}

/* ---- Closing ---- */

static bool kafka_is_connected(const struct bus *bus)
{
    return atomic_load_explicit(&kafka(bus)->connected, memory_order_relaxed);
}

static void bus_free(struct kafka_bus *bus)
{
    pthread_rwlock_destroy(&bus->lock);
    map_done(&bus->replies);
    free(bus->bootstrap);
    free(bus->security_protocol);
    free(bus->sasl_mechanism);
    free(bus->sasl_username);
    free(bus->sasl_password);
    free(bus->ssl_ca_file);
    bus_base_done(&bus->base);
    free(bus);
}

static void on_closed(uv_handle_t *handle)
{
    struct kafka_bus *bus = handle->data;

    if (--bus->open_handles > 0) {
        return;
    }
    void (*done)(void *arg) = bus->done;
    void *arg = bus->done_arg;
    close(bus->wake.fd);
    bus_free(bus);
    if (done != NULL) {
        done(arg);
    }
}

static void end_run(uv_work_t *job)
{
    struct kafka_bus *bus = job->data;

    if (bus->owns_reply &&
        kafka_is_connected(&bus->base)) { /* else a script of deploy/ deletes it */
        char name[KAFKA_NAME_MAX];

        kafka_topic_name(bus, TOPIC_REPLY, bus->base.instance, name);
        kafka_topic_delete(bus, name, DELETE_MS);
    }
    rd_kafka_queue_destroy(bus->queue);
    kafka_handles_destroy(bus);
    rd_kafka_destroy(bus->rk);
}

static void end_after(uv_work_t *job, int status)
{
    struct kafka_bus *bus = job->data;

    (void)status;
    bus->open_handles = 2;
    uv_close((uv_handle_t *)&bus->wake.poll, on_closed);
    uv_close((uv_handle_t *)&bus->tick, on_closed);
}

/* Until all is sent or time is up, and nobody uses the producer any more. */
static void on_close_tick(uv_timer_t *timer)
{
    struct kafka_bus *bus = timer->data;

    serve(bus);
    if (bus->job_runs || atomic_load(&bus->askers) > 0 || bus->consumers != NULL) {
        return;
    }
    if (rd_kafka_outq_len(bus->rk) > 0) {
        if (clock_mono_ms() < bus->close_by_ms) {
            return;
        }
        kafka_purge(bus->rk);
    }
    uv_timer_stop(&bus->tick);
    uv_poll_stop(&bus->wake.poll);
    rd_kafka_queue_io_event_enable(bus->queue, -1, NULL, 0);
    metric_set(bus->base.queue_records, 0);
    int err = uv_queue_work(bus->base.loop, &bus->job, end_run, end_after);
    assert(err == 0);
}

static void kafka_close(struct bus *base, int flush_ms, void (*done)(void *arg), void *arg)
{
    struct kafka_bus *bus = kafka(base);

    pthread_rwlock_wrlock(&bus->lock);
    bus->refusing = true;
    pthread_rwlock_unlock(&bus->lock);
    bus->closing = true;
    bus->close_by_ms = clock_mono_ms() + flush_ms;
    bus->done = done;
    bus->done_arg = arg;
    kafka_consumers_force(bus);
    uv_timer_start(&bus->tick, on_close_tick, 0, CLOSE_TICK_MS);
    uv_ref((uv_handle_t *)&bus->tick);
}

/* ---- Opening ---- */

/* Of those who ask on other threads than the loop. False: not now. */
static bool note_asker(struct kafka_bus *bus, int by)
{
    pthread_rwlock_wrlock(&bus->lock);
    bool may = by < 0 || !bus->refusing;
    atomic_fetch_add(&bus->askers, may ? by : 0);
    pthread_rwlock_unlock(&bus->lock);
    return may;
}

static int kafka_watermarks(struct bus *base, enum topic topic, int32_t partition,
                            int64_t *first_out, int64_t *next_out)
{
    struct kafka_bus *bus = kafka(base);
    char name[KAFKA_NAME_MAX];

    kafka_topic_name(bus, topic, base->instance, name);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1), *first, *next;
    rd_kafka_topic_partition_list_add(list, name, partition);
    int err = ERR_UNAVAILABLE;
    if (note_asker(bus, 1)) {
        err = kafka_offsets(bus->rk, list, BUS_WAIT_MS, &first, &next);
        note_asker(bus, -1);
    }
    rd_kafka_topic_partition_list_destroy(list);
    if (err == 0) {
        *first_out = first->elems[0].offset;
        *next_out = next->elems[0].offset;
        rd_kafka_topic_partition_list_destroy(first);
        rd_kafka_topic_partition_list_destroy(next);
    }
    return err;
}

static const struct bus_impl kafka_impl = {
    .durable = true,
    .close = kafka_close,
    .is_connected = kafka_is_connected,
    .watermarks = kafka_watermarks,
    .send = kafka_send,
    .txn_open = kafka_txn_open,
    .txn_publish = kafka_txn_publish,
    .txn_close = kafka_txn_close,
    .join = kafka_join,
    .read = kafka_read,
    .pause = kafka_pause,
    .resume = kafka_resume,
    .commit = kafka_commit,
    .release = kafka_release,
    .leave = kafka_leave,
    .lag = kafka_lag,
    .stalled_ms = kafka_stalled_ms,
};

static char *copy_of(const char *s)
{
    return s == NULL || s[0] == '\0' ? NULL : bus_strdup(s);
}

static struct kafka_bus *bus_new(uv_loop_t *loop, const struct bus_options *options)
{
    struct kafka_bus *bus = bus_zalloc(sizeof(*bus));

    bus_base_init(&bus->base, &kafka_impl, loop, options);
    bus->bootstrap = copy_of(options->bootstrap);
    bus->security_protocol = copy_of(options->security_protocol);
    bus->sasl_mechanism = copy_of(options->sasl_mechanism);
    bus->sasl_username = copy_of(options->sasl_username);
    bus->sasl_password = copy_of(options->sasl_password);
    bus->ssl_ca_file = copy_of(options->ssl_ca_file);
    bus->replication = options->replication;
    bus->owns_reply = options->reply_topic;
    pthread_rwlock_init(&bus->lock, NULL);
    map_init(&bus->replies);
    bus->wake.fd = -1;
    bus->job.data = bus->tick.data = bus;
    return bus;
}

int bus_kafka_open(uv_loop_t *loop, const struct bus_options *options, struct bus **bus_out,
                   char *problem, size_t problem_size)
{
    struct kafka_bus *bus = bus_new(loop, options);
    int err = check_ca_file(bus, problem, problem_size);

    if (err == 0) {
        err = kafka_producer_new(bus, &bus->rk, problem, problem_size);
    }
    if (err != 0) {
        bus_free(bus);
        return err;
    }
    bus->queue = rd_kafka_queue_get_main(bus->rk);
    err = kafka_topics_make(bus, problem, problem_size);
    if (err == 0) {
        err = kafka_wake_open(&bus->wake, loop, bus->queue, on_events, bus);
    }
    if (err != 0) {
        rd_kafka_queue_destroy(bus->queue);
        rd_kafka_destroy(bus->rk);
        bus_free(bus);
        return err;
    }
    kafka_handles_make(bus);
    atomic_store(&bus->connected, true);
    bus->probed_ms = clock_mono_ms();
    uv_timer_init(loop, &bus->tick);
    uv_timer_start(&bus->tick, on_tick, KAFKA_TICK_MS, KAFKA_TICK_MS);
    uv_unref((uv_handle_t *)&bus->tick);
    *bus_out = &bus->base;
    return 0;
}
