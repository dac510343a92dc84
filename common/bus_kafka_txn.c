// SPDX-License-Identifier: MIT
/*
 * Publishers over Kafka: a transactional producer each, fenced by its name.
 *
 * Everything blocks, on the publisher's own thread. A transaction that fails is aborted with the
 * same producer, which keeps its epoch: making it anew would fence whoever took over meanwhile. It
 * is made anew only after a fatal error that is not the fence. A commit or abort that ran out of
 * time is still under way in librdkafka, which takes no other call until it is finished: the next
 * publication finishes it first.
 */
#include "common/bus_kafka.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define STEP_PAUSE_MS 50
#define CLOSE_MS 1000

struct kafka_txn {
    struct bus_txn base;
    rd_kafka_t *rk; /* NULL: to be made */
    rd_kafka_topic_t *topics[TOPIC_COUNT];
    bool ready;  /* init_transactions is through */
    bool fenced; /* for good */
    bool hole;   /* a record of the open transaction is not in the log; why */
    rd_kafka_resp_err_t hole_err;
    enum { STEP_NONE, STEP_ABORT, STEP_COMMIT } step; /* how the open transaction is to end */
};

static struct kafka_bus *kafka(const struct kafka_txn *txn)
{
    return (struct kafka_bus *)txn->base.bus;
}

/* ---- The producer ---- */

static void unmake(struct kafka_txn *txn)
{
    if (txn->rk == NULL) {
        return;
    }
    rd_kafka_purge(txn->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    for (int t = 0; t < TOPIC_COUNT; t++) {
        if (txn->topics[t] != NULL) {
            rd_kafka_topic_destroy(txn->topics[t]);
            txn->topics[t] = NULL;
        }
    }
    rd_kafka_destroy(txn->rk);
    txn->rk = NULL;
    txn->ready = false;
    txn->step = STEP_NONE;
}

static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    (void)rk;
    (void)err;
    (void)opaque;
    log_debug("kafka publisher", "error=%s", LOG_Q(reason)); /* calls say what matters */
}

/* While a transaction is flushed, on the publisher's thread. */
static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct kafka_txn *txn = opaque;

    (void)rk;
    if (!txn->hole && !kafka_was_written(message)) {
        txn->hole = true;
        txn->hole_err = message->err;
    }
}

static int make(struct kafka_txn *txn, char *problem, size_t problem_size)
{
    char id[KAFKA_NAME_MAX];
    const struct kafka_setting settings[] = {
        {"transactional.id", id},
        {"acks", "all"},
        {"linger.ms", "0"},
        {"queue.buffering.max.messages", "100000"},
        {"queue.buffering.max.kbytes", "65536"},
        {"message.max.bytes", "2097152"},
        {"message.timeout.ms", "5000"},
        {"transaction.timeout.ms", "10000"},
        {"retry.backoff.ms", "50"},
        {NULL, NULL},
    };

    snprintf(id, sizeof(id), "%s%s", kafka(txn)->base.prefix, txn->base.name);
    rd_kafka_conf_t *conf = kafka_conf_new(kafka(txn), problem, problem_size);
    if (conf == NULL) {
        return ERR_INVALID;
    }
    if (kafka_conf_set(conf, problem, problem_size, settings) != 0) {
        rd_kafka_conf_destroy(conf);
        return ERR_INVALID;
    }
    rd_kafka_conf_set_opaque(conf, txn);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_error_cb(conf, on_error);
    return kafka_client_new(RD_KAFKA_PRODUCER, conf, &txn->rk, problem, problem_size);
}

/* ---- Errors ---- */

static bool is_fence(rd_kafka_resp_err_t err)
{
    return err == RD_KAFKA_RESP_ERR__FENCED || err == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
           err == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
}

/* Takes the error; 0 for NULL. */
static int judge(struct kafka_txn *txn, rd_kafka_error_t *error, const char *what)
{
    if (error == NULL) {
        return 0;
    }
    bool fatal = rd_kafka_error_is_fatal(error) != 0;
    bool fenced = is_fence(rd_kafka_error_code(error));
    if (fatal && !fenced) {
        char text[256];
        fenced = is_fence(rd_kafka_fatal_error(txn->rk, text, sizeof(text)));
    }
    if (fenced) {
        log_info("publisher fenced", "name=%s", txn->base.name);
    } else {
        log_warn("publishing failed", "name=%s step=%s error=%s", txn->base.name, what,
                 LOG_Q(rd_kafka_error_string(error)));
    }
    rd_kafka_error_destroy(error);
    txn->fenced = fenced;
    if (fatal || fenced) {
        unmake(txn);
    }
    return fenced ? ERR_FENCED : ERR_UNAVAILABLE;
}

/* One call of the step that is due. */
static rd_kafka_error_t *step_once(struct kafka_txn *txn, int64_t end_ms)
{
    int64_t left = end_ms - clock_mono_ms();
    int timeout = left > 0 ? (int)left : 1;

    return txn->step == STEP_COMMIT ? rd_kafka_commit_transaction(txn->rk, timeout)
                                    : rd_kafka_abort_transaction(txn->rk, timeout);
}

/* Ends the open transaction, if there is one. 0: it is ended, *committed_out says how. */
static int settle(struct kafka_txn *txn, int64_t end_ms, bool *committed_out)
{
    const struct timespec pause = {.tv_nsec = STEP_PAUSE_MS * 1000000L};

    *committed_out = false;
    while (txn->rk != NULL && txn->step != STEP_NONE) {
        rd_kafka_error_t *error = step_once(txn, end_ms);

        if (error == NULL) {
            *committed_out = txn->step == STEP_COMMIT;
            txn->step = STEP_NONE;
        } else if (rd_kafka_error_txn_requires_abort(error)) {
            txn->step = STEP_ABORT;
            (void)judge(txn, error, "commit");
        } else if (rd_kafka_error_is_retriable(error) && clock_mono_ms() < end_ms) {
            rd_kafka_error_destroy(error);
            nanosleep(&pause, NULL);
        } else {
            return judge(txn, error, "end");
        }
    }
    return txn->fenced ? ERR_FENCED : 0;
}

static int prepare(struct kafka_txn *txn, int64_t end_ms)
{
    char problem[256];

    if (txn->rk == NULL && make(txn, problem, sizeof(problem)) != 0) {
        log_error("no kafka publisher", "problem=%s", LOG_Q(problem));
        return ERR_UNAVAILABLE;
    }
    while (!txn->ready) {
        int64_t left = end_ms - clock_mono_ms();
        if (left <= 0) {
            return ERR_UNAVAILABLE;
        }
        rd_kafka_error_t *error = rd_kafka_init_transactions(txn->rk, (int)left);

        txn->ready = error == NULL;
        if (error != NULL && rd_kafka_error_is_retriable(error) && clock_mono_ms() < end_ms) {
            rd_kafka_error_destroy(error);
        } else if (error != NULL) {
            return judge(txn, error, "init");
        }
    }
    bool committed; /* the one before; published again it is there twice */
    return settle(txn, end_ms, &committed);
}

/* ---- Publishing ---- */

static rd_kafka_topic_t *handle_of(struct kafka_txn *txn, enum topic topic)
{
    if (txn->topics[topic] == NULL) {
        char name[KAFKA_NAME_MAX];

        kafka_topic_name(kafka(txn), topic, NULL, name);
        txn->topics[topic] = rd_kafka_topic_new(txn->rk, name, NULL);
    }
    return txn->topics[topic];
}

static int put(struct kafka_txn *txn, const struct bus_message *m, int64_t end_ms)
{
    rd_kafka_vu_t fields[KAFKA_FIELDS_MAX];
    uint8_t key[16];
    int32_t partition = m->partition;

    if (partition < 0) {
        partition = bus_partition_of(txn->base.bus, m->topic, m->key);
    }
    size_t n = kafka_fields(fields, key, m, handle_of(txn, m->topic), partition, NULL);
    rd_kafka_error_t *error = rd_kafka_produceva(txn->rk, fields, n);
    while (error != NULL && rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__QUEUE_FULL &&
           clock_mono_ms() < end_ms) {
        rd_kafka_error_destroy(error);
        rd_kafka_poll(txn->rk, 10);
        error = rd_kafka_produceva(txn->rk, fields, n);
    }
    return judge(txn, error, "produce");
}

/* Before the commit, which would not notice a hole. */
static int flush(struct kafka_txn *txn, int64_t end_ms)
{
    int64_t left = end_ms - clock_mono_ms();
    rd_kafka_resp_err_t err = rd_kafka_flush(txn->rk, left > 0 ? (int)left : 1);

    if (err != RD_KAFKA_RESP_ERR_NO_ERROR && !txn->hole) {
        txn->hole = true;
        txn->hole_err = err;
    }
    return txn->hole ? ERR_UNAVAILABLE : 0;
}

static int attempt(struct kafka_txn *txn, const struct bus_message *messages, size_t n,
                   int64_t end_ms)
{
    bool committed;
    int err = judge(txn, rd_kafka_begin_transaction(txn->rk), "begin");

    if (err != 0) {
        return err;
    }
    txn->step = STEP_COMMIT;
    txn->hole = false;
    for (size_t i = 0; i < n && err == 0; i++) {
        err = put(txn, &messages[i], end_ms);
    }
    if (err == 0) {
        err = flush(txn, end_ms);
    }
    if (err != 0 && txn->rk != NULL) {
        txn->step = STEP_ABORT;
    }
    int settled = settle(txn, end_ms, &committed);
    if (txn->hole && !txn->fenced) { /* else the fence has told */
        log_warn("publishing failed", "name=%s step=flush error=%s", txn->base.name,
                 LOG_Q(rd_kafka_err2str(txn->hole_err)));
    }
    if (err == 0) {
        err = settled;
    }
    return err == 0 && !committed ? ERR_UNAVAILABLE : err;
}

int kafka_txn_publish(struct bus_txn *base, const struct bus_message *messages, size_t n)
{
    struct kafka_txn *txn = (struct kafka_txn *)base;
    int64_t end = clock_mono_ms() + BUS_WAIT_MS;

    if (txn->fenced) {
        return ERR_FENCED;
    }
    int err = prepare(txn, end);
    if (err == 0) {
        err = attempt(txn, messages, n, end);
    }
    return txn->fenced ? ERR_FENCED : err;
}

int kafka_txn_open(struct bus *bus, const char *name, struct bus_txn **txn_out)
{
    struct kafka_txn *txn = bus_zalloc(sizeof(*txn));
    char problem[256];

    txn->base = (struct bus_txn){.impl = bus->impl, .bus = bus, .name = bus_strdup(name)};
    if (make(txn, problem, sizeof(problem)) != 0) {
        log_error("no kafka publisher", "problem=%s", LOG_Q(problem));
        kafka_txn_close(&txn->base);
        return ERR_INVALID;
    }
    (void)prepare(txn, clock_mono_ms() + BUS_WAIT_MS); /* else with the first publication */
    *txn_out = &txn->base;
    return 0;
}

void kafka_txn_close(struct bus_txn *base)
{
    struct kafka_txn *txn = (struct kafka_txn *)base;

    bool committed;

    /* Else readers of committed records would wait for the broker to give up on it. */
    (void)settle(txn, clock_mono_ms() + CLOSE_MS, &committed);
    unmake(txn);
    free(txn->base.name);
    free(txn);
}
