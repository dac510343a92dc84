// SPDX-License-Identifier: MIT
/*
 * The producer of the bus over Kafka: idempotent, one per bus, made anew after a fatal error.
 *
 * Senders on any thread hand records over under a read lock, whose write side is taken only to
 * exchange the producer or to add a reply topic's handle. Delivery reports are served on the loop
 * (bus_kafka.c). A partition is always said, never chosen by librdkafka.
 */
#include "common/bus_kafka.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLIES_MAX 1024 /* handles of reply topics */
#define PURGE_POLLS 100  /* of POLL_MS each */
#define POLL_MS 10
#define TELL_MS 30000 /* between two lines about the same refusal */

static struct kafka_bus *kafka(const struct bus *bus)
{
    return (struct kafka_bus *)bus;
}

/* ---- What librdkafka tells ---- */

struct kafka_ack {
    bus_ack_fn fn;
    void *arg;
};

static bool is_unknown_topic(rd_kafka_resp_err_t err)
{
    return err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
           err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

static enum topic topic_of(const struct kafka_bus *bus, const rd_kafka_topic_t *topic)
{
    const char *name = rd_kafka_topic_name(topic) + strlen(bus->base.prefix);

    for (int t = 0; t < TOPIC_COUNT; t++) {
        if (strcmp(bus_topic_name((enum topic)t), name) == 0) {
            return (enum topic)t;
        }
    }
    return TOPIC_REPLY;
}

/*
 * A success without an offset is none. When a broker that is just becoming a partition's leader
 * refuses this producer's first batches there but takes a later one of those under way, it cannot
 * see the gap (it knows no sequence number yet), and librdkafka takes the later batch's
 * acknowledgement for that of the earlier ones, which are nowhere. Seen with topics just made.
 */
bool kafka_was_written(const rd_kafka_message_t *message)
{
    return message->err == RD_KAFKA_RESP_ERR_NO_ERROR && message->offset >= 0;
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct kafka_bus *bus = opaque;
    struct kafka_ack *ack = message->_private;
    int err = ERR_UNAVAILABLE;

    (void)rk;
    if (kafka_was_written(message)) {
        atomic_store_explicit(&bus->connected, true, memory_order_relaxed);
        err = 0;
    } else {
        enum topic topic = topic_of(bus, message->rkt);

        bus_count_error(topic);
        if (is_unknown_topic(message->err)) {
            atomic_store(&bus->refresh, true);
        } else if (topic != TOPIC_REPLY) { /* that: who asked is gone */
            bus->given_up++;
            bus->given_up_err = message->err;
        }
    }
    if (ack != NULL) {
        ack->fn(ack->arg, err);
        free(ack);
    }
}

/* librdkafka tries again by itself, several times a second. */
static void note_refusal(struct kafka_bus *bus, int err, const char *reason)
{
    int64_t now = clock_mono_ms();

    if (strstr(reason, "certificate verify failed") != NULL) {
        snprintf(bus->trouble, sizeof(bus->trouble),
                 "the certificate of %.*s is not accepted: not signed by KAFKA_SSL_CA_FILE, or "
                 "expired, or made for another name",
                 (int)strcspn(reason, " ") - 1, reason);
    } else {
        snprintf(bus->trouble, sizeof(bus->trouble), "%s", reason);
    }
    if (err != bus->refusal || now - bus->told_ms >= TELL_MS) {
        log_warn("no way into kafka", "error=%s", LOG_Q(bus->trouble));
        bus->refusal = err;
        bus->told_ms = now;
    }
    bus->refused_ms = bus->refused_ms == 0 ? now : bus->refused_ms;
}

static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    struct kafka_bus *bus = opaque;
    char text[256];

    switch (err) {
    case RD_KAFKA_RESP_ERR__FATAL:
        rd_kafka_fatal_error(rk, text, sizeof(text));
        log_warn("kafka producer is made anew", "error=%s", LOG_Q(text));
        atomic_store(&bus->fatal, true);
        break;
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
        atomic_store(&bus->connected, false);
        if (bus->refusal == 0) { /* else it is known why */
            log_warn("kafka is out of reach", "error=%s", LOG_Q(reason));
        }
        break;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
        note_refusal(bus, err, reason);
        break;
    default: /* it is retried */
        snprintf(bus->trouble, sizeof(bus->trouble), "%s", reason);
        log_debug("kafka error", "error=%s", LOG_Q(reason));
    }
}

/* ---- Making and unmaking ---- */

int kafka_producer_new(struct kafka_bus *bus, rd_kafka_t **rk_out, char *problem,
                       size_t problem_size)
{
    static const struct kafka_setting settings[] = {
        {"acks", "all"},
        {"enable.idempotence", "true"},
        {"linger.ms", "0"}, /* batches form by themselves when there is much at once */
        {"queue.buffering.max.messages", "100000"},
        {"queue.buffering.max.kbytes", "65536"},
        {"message.max.bytes", "2097152"}, /* BUS_RECORD_MAX, key and headers */
        {"message.timeout.ms", "5000"},
        {"retry.backoff.ms", "50"},
        {NULL, NULL},
    };
    rd_kafka_conf_t *conf = kafka_conf_new(bus, problem, problem_size);

    if (conf == NULL) {
        return ERR_INVALID;
    }
    int err = kafka_conf_set(conf, problem, problem_size, settings);
    if (err != 0) {
        rd_kafka_conf_destroy(conf);
        return err;
    }
    rd_kafka_conf_set_opaque(conf, bus);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_error_cb(conf, on_error);
    return kafka_client_new(RD_KAFKA_PRODUCER, conf, rk_out, problem, problem_size);
}

/* An event of a conversation is never given up: it would leave a hole before later ones that went
 * through, and readers that keep the highest offset would drop it when it is sent again. */
static rd_kafka_topic_conf_t *topic_conf(rd_kafka_t *rk, enum topic topic)
{
    rd_kafka_topic_conf_t *conf = NULL;
    char text[128];

    if (topic == TOPIC_EVENTS_MESSAGE) {
        conf = rd_kafka_default_topic_conf_dup(rk);
        if (rd_kafka_topic_conf_set(conf, "message.timeout.ms", "0", text, sizeof(text)) !=
            RD_KAFKA_CONF_OK) {
            log_warn("setting refused", "error=%s", LOG_Q(text));
        }
    }
    return conf;
}

void kafka_handles_make(struct kafka_bus *bus)
{
    for (int t = 0; t < TOPIC_COUNT; t++) {
        char name[KAFKA_NAME_MAX];

        if (t != TOPIC_REPLY) {
            kafka_topic_name(bus, (enum topic)t, NULL, name);
            bus->topics[t] = rd_kafka_topic_new(bus->rk, name, topic_conf(bus->rk, (enum topic)t));
        }
    }
}

void kafka_handles_destroy(struct kafka_bus *bus)
{
    size_t cursor = 0;

    for (int t = 0; t < TOPIC_COUNT; t++) {
        if (bus->topics[t] != NULL) {
            rd_kafka_topic_destroy(bus->topics[t]);
            bus->topics[t] = NULL;
        }
    }
    for (struct map_slot *s = map_next(&bus->replies, &cursor); s != NULL;
         s = map_next(&bus->replies, &cursor)) {
        rd_kafka_topic_destroy(s->value);
    }
    map_done(&bus->replies);
    map_init(&bus->replies);
}

/* Gives up what is queued: its reports come with the next polls. */
void kafka_purge(rd_kafka_t *rk)
{
    rd_kafka_purge(rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    for (int i = 0; i < PURGE_POLLS && rd_kafka_outq_len(rk) > 0; i++) {
        rd_kafka_poll(rk, POLL_MS);
    }
}

/* What the old one holds is given up, and its senders told, before the new one takes anything:
 * else a later record would go out before it is known that an earlier one is lost. */
void kafka_producer_renew(struct kafka_bus *bus)
{
    static const uint64_t one = 1;
    char problem[256];
    rd_kafka_t *fresh, *old = bus->rk;

    pthread_rwlock_wrlock(&bus->lock);
    bool busy = atomic_load(&bus->askers) > 0;
    bus->refusing = !busy;
    pthread_rwlock_unlock(&bus->lock);
    if (busy) {
        return; /* tried again with the next tick */
    }
    if (kafka_producer_new(bus, &fresh, problem, sizeof(problem)) != 0) {
        log_error("no new kafka producer", "problem=%s", LOG_Q(problem));
        return; /* so is this */
    }
    kafka_purge(old);
    atomic_store(&bus->fatal, false);
    rd_kafka_queue_io_event_enable(bus->queue, -1, NULL, 0);
    rd_kafka_queue_destroy(bus->queue);
    pthread_rwlock_wrlock(&bus->lock);
    kafka_handles_destroy(bus);
    bus->rk = fresh;
    kafka_handles_make(bus);
    bus->refusing = false;
    pthread_rwlock_unlock(&bus->lock);
    bus->queue = rd_kafka_queue_get_main(fresh);
    rd_kafka_queue_io_event_enable(bus->queue, bus->wake.fd, &one, sizeof(one));
    kafka_wake_again(&bus->wake);
    rd_kafka_destroy(old);
}

/* ---- Sending ---- */

static void put_u64(uint8_t *at, uint64_t value)
{
    for (int i = 7; i >= 0; i--) {
        at[i] = (uint8_t)value;
        value >>= 8;
    }
}

static void add_header(rd_kafka_vu_t *out, size_t *n, const char *name, const char *value)
{
    size_t len = value == NULL ? 0 : strlen(value);

    if (len > 0 && len <= BUS_HEADER_MAX) {
        rd_kafka_vu_t *field = &out[(*n)++];

        field->vtype = RD_KAFKA_VTYPE_HEADER;
        field->u.header.name = name;
        field->u.header.val = value;
        field->u.header.size = (ssize_t)len;
    }
}

size_t kafka_fields(rd_kafka_vu_t out[KAFKA_FIELDS_MAX], uint8_t key[16],
                    const struct bus_message *message, rd_kafka_topic_t *topic, int32_t partition,
                    void *opaque)
{
    size_t n = 0;

    out[n].vtype = RD_KAFKA_VTYPE_RKT;
    out[n++].u.rkt = topic;
    out[n].vtype = RD_KAFKA_VTYPE_PARTITION;
    out[n++].u.i32 = partition;
    out[n].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
    out[n++].u.i = RD_KAFKA_MSG_F_COPY;
    out[n].vtype = RD_KAFKA_VTYPE_VALUE;
    out[n].u.mem.ptr = (void *)message->value;
    out[n++].u.mem.size = message->len;
    if (message->topic != TOPIC_REPLY) { /* compacted topics take no record without one */
        put_u64(key, message->key.a);
        put_u64(key + 8, message->key.b);
        out[n].vtype = RD_KAFKA_VTYPE_KEY;
        out[n].u.mem.ptr = key;
        out[n++].u.mem.size = 16;
    }
    if (opaque != NULL) {
        out[n].vtype = RD_KAFKA_VTYPE_OPAQUE;
        out[n++].u.ptr = opaque;
    }
    add_header(out, &n, "traceparent", message->traceparent);
    add_header(out, &n, "request-id", message->request_id);
    return n;
}

static rd_kafka_topic_t *reply_make(struct kafka_bus *bus, const char *instance, uint64_t a,
                                    uint64_t b)
{
    char name[KAFKA_NAME_MAX];

    kafka_topic_name(bus, TOPIC_REPLY, instance, name);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(bus->rk, name, NULL);
    if (topic == NULL) {
        return NULL;
    }
    if (bus->replies.count >= REPLIES_MAX) { /* any: it is made again when it is needed */
        size_t cursor = 0;
        struct map_slot *victim = map_next(&bus->replies, &cursor);

        rd_kafka_topic_destroy(map_del(&bus->replies, victim->a, victim->b));
    }
    map_put(&bus->replies, a, b, topic);
    return topic;
}

/* With the lock held for reading; comes back with it held, perhaps for writing. */
static rd_kafka_topic_t *handle_of(struct kafka_bus *bus, const struct bus_message *m)
{
    uint64_t a, b;

    if (m->topic != TOPIC_REPLY) {
        return bus->topics[m->topic];
    }
    map_hash_bytes(m->reply_to, strlen(m->reply_to), &a, &b);
    rd_kafka_topic_t *topic = map_get(&bus->replies, a, b);
    if (topic == NULL) {
        pthread_rwlock_unlock(&bus->lock);
        pthread_rwlock_wrlock(&bus->lock);
        topic = map_get(&bus->replies, a, b);
        if (topic == NULL && !bus->refusing) {
            topic = reply_make(bus, m->reply_to, a, b);
        }
    }
    return topic;
}

static int send_result(struct kafka_bus *bus, enum topic topic, rd_kafka_error_t *error)
{
    if (error == NULL) {
        return 0;
    }
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    if (is_unknown_topic(code)) {
        atomic_store(&bus->refresh, true);
        kafka_wake_again(&bus->wake);
    } else if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        log_warn("record refused", "topic=%s error=%s", bus_topic_name(topic),
                 LOG_Q(rd_kafka_error_string(error)));
    }
    rd_kafka_error_destroy(error);
    return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ? ERR_TOO_LARGE : ERR_UNAVAILABLE;
}

int kafka_send(struct bus *base, const struct bus_message *m, int32_t partition, bus_ack_fn fn,
               void *arg)
{
    struct kafka_bus *bus = kafka(base);
    struct kafka_ack *ack = NULL;
    rd_kafka_vu_t fields[KAFKA_FIELDS_MAX];
    uint8_t key[16];
    int err = ERR_UNAVAILABLE;

    if (fn != NULL) {
        ack = bus_zalloc(sizeof(*ack));
        *ack = (struct kafka_ack){fn, arg};
    }
    pthread_rwlock_rdlock(&bus->lock);
    rd_kafka_topic_t *topic = bus->refusing ? NULL : handle_of(bus, m);
    if (topic != NULL) {
        size_t n = kafka_fields(fields, key, m, topic, partition, ack);

        err = send_result(bus, m->topic, rd_kafka_produceva(bus->rk, fields, n));
    }
    pthread_rwlock_unlock(&bus->lock);
    if (err != 0) {
        free(ack);
    }
    return err;
}
