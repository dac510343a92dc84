// SPDX-License-Identifier: MIT
/*
 * One stream: the loop queues records, and between them the assignments and revocations of
 * partitions, into one queue; the batch thread takes from its head, so that it sees everything in
 * the order of the log. A batch is a unit: its records, and the sends that must be acknowledged
 * before its offsets are committed. Units are settled on the loop, oldest first.
 *
 * A unit whose send was given up by the bus is run again, together with all that ran after it; from
 * the moment it is known until then nothing is sent, so that no later event overtakes the lost one.
 */
#include "common/svc_stream.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/svc_impl.h"
#include "common/svc_queue.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MAX 500
#define UNITS_MAX 8
#define QUEUE_HIGH 1000
#define QUEUE_LOW 500
#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 2000

struct unit { /* one batch */
    struct unit *next;
    struct stream *stream;
    struct bus_record **records; /* kept: first those to run, then the dropped ones, which hold */
    size_t n, dropped;           /* their partitions until the unit is settled */
    size_t pending;              /* sends not acknowledged, and one while it runs */
    bool failed;                 /* a send was given up */
};

struct svc_batch {
    struct svc_ctx *ctx;
    struct arena *arena;
    struct db *db;
    void *worker;
    struct unit *unit; /* what runs now */
};

struct partition {
    bool revoking; /* no more records are taken; released when nothing of it is unfinished */
    bool told;     /* the batch thread has seen the revocation */
};

struct stream {
    struct svc_ctx *ctx;
    const struct svc_stream *row;
    struct bus_consumer *consumer;
    struct svc_batch batch; /* the thread's */
    uv_thread_t thread;
    uv_async_t settle; /* the thread, and acks, wake the loop */
    struct partition *partitions;
    int32_t partition_count;
    void (*done)(void *arg);
    void *done_arg;
    atomic_llong failing_since; /* clock_mono_ms, 0: healthy */
    struct metric *batch_records, *batch_seconds, *retries, *queue_length;

    uv_mutex_t lock; /* guards what follows, and units and partitions */
    uv_cond_t changed;
    struct svc_queue queue;
    struct unit *units, *last_unit; /* unfinished, oldest first */
    size_t unit_count;
    bool paused, stopping;
    bool rewinding; /* a send was lost: nothing is begun or sent until all is back in the queue */
};

/* ---- Units; with the lock held ---- */

static void unit_free(struct unit *u)
{
    for (size_t i = 0; i < u->n + u->dropped; i++) {
        bus_record_release(u->records[i]);
    }
    free(u->records);
    free(u);
}

static bool unit_has_partition(const struct unit *u, int32_t partition)
{
    for (size_t i = 0; i < u->n + u->dropped; i++) {
        if (u->records[i]->partition == partition) {
            return true;
        }
    }
    return false;
}

static bool partition_unfinished(const struct stream *s, int32_t partition)
{
    for (const struct unit *u = s->units; u != NULL; u = u->next) {
        if (unit_has_partition(u, partition)) {
            return true;
        }
    }
    return false;
}

static void unit_unlink_first(struct stream *s)
{
    struct unit *u = s->units;
    s->units = u->next;
    if (s->units == NULL) {
        s->last_unit = NULL;
    }
    s->unit_count--;
}

/* A send was lost: its unit and all later ones go back to the head of the queue, in order, once
 * none of them waits for anything. */
static void requeue_all(struct stream *s)
{
    for (const struct unit *u = s->units; u != NULL; u = u->next) {
        if (u->pending > 0) {
            return;
        }
    }
    s->rewinding = false;
    size_t total = 0;
    for (const struct unit *u = s->units; u != NULL; u = u->next) {
        total += u->n;
    }
    struct bus_record **records = malloc((total + 1) * sizeof(*records));
    assert(records != NULL);
    size_t n = 0;
    while (s->units != NULL) {
        struct unit *u = s->units;
        unit_unlink_first(s);
        for (size_t i = 0; i < u->n; i++) {
            records[n++] = bus_record_keep(u->records[i]);
        }
        unit_free(u);
    }
    while (n > 0) {
        struct bus_record *r = records[--n];
        if (s->partitions[r->partition].revoking) {
            bus_record_release(r);
        } else {
            svc_queue_add_front(&s->queue, (struct svc_item){SVC_ITEM_RECORD, r->partition, r});
        }
    }
    free(records);
    metric_inc(s->retries);
}

/* ---- The loop's side ---- */

static void commit_unit(struct stream *s, const struct unit *u)
{
    /* Records of a partition are in order: the last one of each counts; committing is coalesced. */
    for (size_t i = 0; i < u->n; i++) {
        bool last = i + 1 == u->n || u->records[i + 1]->partition != u->records[i]->partition;
        if (last) {
            bus_consumer_commit(s->consumer, s->row->topic, u->records[i]->partition,
                                u->records[i]->offset + 1);
        }
    }
}

static void release_partitions(struct stream *s)
{
    for (int32_t p = 0; p < s->partition_count; p++) {
        struct partition *partition = &s->partitions[p];
        if (partition->told && !partition_unfinished(s, p)) {
            *partition = (struct partition){0};
            bus_consumer_release(s->consumer, s->row->topic, p);
        }
    }
}

static void flow(struct stream *s)
{
    bool full = s->queue.count > (s->paused ? QUEUE_LOW : QUEUE_HIGH) || s->unit_count >= UNITS_MAX;
    if (full != s->paused) {
        s->paused = full;
        (full ? bus_consumer_pause : bus_consumer_resume)(s->consumer);
    }
}

static void on_settle(uv_async_t *async)
{
    struct stream *s = async->data;
    uv_mutex_lock(&s->lock);
    while (s->units != NULL && s->units->pending == 0 && !s->units->failed) {
        struct unit *u = s->units;
        commit_unit(s, u);
        unit_unlink_first(s);
        unit_free(u);
    }
    if (s->rewinding) {
        requeue_all(s);
    }
    if (s->consumer != NULL) {
        release_partitions(s);
        flow(s);
    }
    metric_set(s->queue_length, (int64_t)s->queue.count);
    uv_cond_signal(&s->changed);
    uv_mutex_unlock(&s->lock);
}

static void on_record(void *arg, struct bus_record *record)
{
    struct stream *s = arg;
    uv_mutex_lock(&s->lock);
    if (!s->partitions[record->partition].revoking) {
        svc_queue_add(&s->queue, (struct svc_item){SVC_ITEM_RECORD, record->partition,
                                                   bus_record_keep(record)});
    }
    uv_mutex_unlock(&s->lock);
}

static void on_turn(void *arg)
{
    struct stream *s = arg;
    uv_mutex_lock(&s->lock);
    flow(s);
    uv_cond_signal(&s->changed);
    uv_mutex_unlock(&s->lock);
}

static void on_assign(void *arg, enum topic topic, int32_t partition)
{
    struct stream *s = arg;
    (void)topic;
    uv_mutex_lock(&s->lock);
    svc_queue_add(&s->queue, (struct svc_item){.kind = SVC_ITEM_ASSIGN, .partition = partition});
    uv_cond_signal(&s->changed);
    uv_mutex_unlock(&s->lock);
}

static void on_revoke(void *arg, enum topic topic, int32_t partition, bool lost)
{
    struct stream *s = arg;
    (void)topic;
    (void)lost;
    uv_mutex_lock(&s->lock);
    s->partitions[partition].revoking = true;
    svc_queue_drop_partition(&s->queue, partition);
    svc_queue_add(&s->queue, (struct svc_item){.kind = SVC_ITEM_REVOKE, .partition = partition});
    uv_cond_signal(&s->changed);
    uv_mutex_unlock(&s->lock);
}

/* ---- The batch thread ---- */

struct svc_ctx *svc_batch_ctx(struct svc_batch *b)
{
    return b->ctx;
}

struct arena *svc_batch_arena(struct svc_batch *b)
{
    return b->arena;
}

struct db *svc_batch_db(struct svc_batch *b)
{
    return b->db;
}

void *svc_batch_worker(struct svc_batch *b)
{
    return b->worker;
}

static void unit_less(struct unit *u, int err)
{
    struct stream *s = u->stream;
    uv_mutex_lock(&s->lock);
    if (err != 0) {
        u->failed = s->rewinding = true;
        uv_cond_signal(&s->changed);
    }
    bool settled = --u->pending == 0;
    uv_mutex_unlock(&s->lock);
    if (settled) {
        uv_async_send(&s->settle);
    }
}

static void on_ack(void *arg, int err)
{
    unit_less(arg, err);
}

int svc_batch_send(struct svc_batch *b, const struct bus_message *message)
{
    struct unit *u = b->unit;
    struct stream *s = u->stream;
    uv_mutex_lock(&s->lock); /* over the send: a loss is seen before it or comes after it */
    int err = s->rewinding ? ERR_UNAVAILABLE : bus_send(svc_bus(b->ctx), message, on_ack, u);
    if (err == 0) {
        u->pending++;
    }
    uv_mutex_unlock(&s->lock);
    return err;
}

/* Takes the records at the head of the queue, up to the next assignment or revocation. */
static struct unit *unit_take(struct stream *s)
{
    size_t n = 0;
    while (n < s->queue.count && n < BATCH_MAX &&
           svc_queue_at(&s->queue, n)->kind == SVC_ITEM_RECORD) {
        n++;
    }
    struct unit *u = calloc(1, sizeof(*u));
    struct bus_record **records = malloc((n + 1) * sizeof(struct bus_record *));
    assert(u != NULL && records != NULL);
    *u = (struct unit){.stream = s, .records = records, .n = n, .pending = 1};
    for (size_t i = 0; i < n; i++) {
        records[i] = svc_queue_take(&s->queue).record;
    }
    if (s->last_unit == NULL) {
        s->units = u;
    } else {
        s->last_unit->next = u;
    }
    s->last_unit = u;
    s->unit_count++;
    return u;
}

static void set_failing(struct stream *s, bool failing)
{
    if (!failing) {
        atomic_store(&s->failing_since, 0);
    } else if (atomic_load(&s->failing_since) == 0) {
        atomic_store(&s->failing_since, clock_mono_ms());
    }
}

/* With the lock: drops the records of partitions that are being taken away. False: none is left. */
static bool drop_revoked(struct stream *s, struct unit *u)
{
    size_t kept = 0;
    for (size_t i = 0; i < u->n; i++) {
        struct bus_record *r = u->records[i];
        if (!s->partitions[r->partition].revoking) {
            u->records[i] = u->records[kept];
            u->records[kept++] = r;
        }
    }
    u->dropped += u->n - kept;
    u->n = kept;
    return kept > 0;
}

static bool has_revoked(const struct stream *s, const struct unit *u)
{
    for (size_t i = 0; i < u->n; i++) {
        if (s->partitions[u->records[i]->partition].revoking) {
            return true;
        }
    }
    return false;
}

/* With the lock: the pause before a unit is run again, ended early by what makes it pointless. */
static void pause_unit(struct stream *s, const struct unit *u, int64_t wait_ms)
{
    int64_t end = clock_mono_ms() + wait_ms, left = wait_ms;
    while (left > 0 && !s->stopping && !s->rewinding && !has_revoked(s, u)) {
        uv_cond_timedwait(&s->changed, &s->lock, (uint64_t)left * 1000000);
        left = end - clock_mono_ms();
    }
}

/* Runs the unit until it succeeds, or nothing of it is ours any more, or an earlier send was lost
 * (then it goes back into the queue with that one's unit). */
static void unit_run(struct stream *s, struct unit *u)
{
    int64_t wait_ms = RETRY_MIN_MS;
    bool ours = true;
    int last = 0;
    s->batch.unit = u;
    while (ours) {
        int64_t start = clock_mono_us();
        arena_reset(s->batch.arena);
        int err = s->row->run(&s->batch, u->records, u->n);
        metric_observe(s->batch_seconds, clock_mono_us() - start);
        set_failing(s, err != 0 && err != ERR_STALE);
        if (err == 0) {
            metric_observe(s->batch_records, (int64_t)u->n);
            break;
        }
        metric_inc(s->retries);
        LOG_AT(err == last        ? LOG_DEBUG
               : err == ERR_STALE ? LOG_INFO
                                  : LOG_WARN,
               "batch failed, it is run again until it succeeds", "stream=%s records=%zu code=%s",
               s->row->group, u->n, err_code(err));
        last = err;
        uv_mutex_lock(&s->lock);
        pause_unit(s, u, wait_ms);
        ours = drop_revoked(s, u) && !s->rewinding;
        uv_mutex_unlock(&s->lock);
        wait_ms = wait_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : wait_ms * 2;
    }
    s->batch.unit = NULL;
    unit_less(u, 0);
}

static void run_control(struct stream *s, struct svc_item item)
{
    if (item.kind == SVC_ITEM_ASSIGN) {
        if (s->row->assigned != NULL) {
            arena_reset(s->batch.arena);
            s->row->assigned(&s->batch, item.partition);
        }
        return;
    }
    if (s->row->revoked != NULL) {
        arena_reset(s->batch.arena);
        s->row->revoked(&s->batch, item.partition);
    }
    uv_mutex_lock(&s->lock);
    s->partitions[item.partition].told = true;
    uv_mutex_unlock(&s->lock);
    uv_async_send(&s->settle);
}

static bool has_work(const struct stream *s, const struct svc_item *first)
{
    return s->queue.count > 0 &&
           (first->kind != SVC_ITEM_RECORD || (s->unit_count < UNITS_MAX && !s->rewinding));
}

static void run(void *arg)
{
    struct stream *s = arg;
    const struct svc *svc = svc_table(s->ctx);
    log_set_service(svc->name);
    s->batch.worker = svc->worker_start == NULL ? NULL : svc->worker_start(s->ctx);
    uv_mutex_lock(&s->lock);
    while (true) {
        while (!has_work(s, s->queue.count > 0 ? svc_queue_at(&s->queue, 0) : NULL) &&
               !s->stopping) {
            uv_cond_wait(&s->changed, &s->lock);
        }
        if (s->stopping) {
            break;
        }
        if (svc_queue_at(&s->queue, 0)->kind == SVC_ITEM_RECORD) {
            struct unit *u = unit_take(s);
            uv_mutex_unlock(&s->lock);
            unit_run(s, u);
        } else {
            struct svc_item item = svc_queue_take(&s->queue);
            uv_mutex_unlock(&s->lock);
            run_control(s, item);
        }
        uv_mutex_lock(&s->lock);
    }
    uv_mutex_unlock(&s->lock);
    if (svc->worker_stop != NULL && s->batch.worker != NULL) {
        svc->worker_stop(s->ctx, s->batch.worker);
    }
}

/* ---- Life ---- */

static void stream_metrics(struct stream *s)
{
    char labels[120];
    snprintf(labels, sizeof(labels), "stream=\"%s\"", s->row->group);
    s->batch_records =
        metrics_histogram_count("chat_stream_batch_records", "Records in one batch.", labels);
    s->batch_seconds =
        metrics_histogram_us("chat_stream_batch_seconds", "Time of one batch.", labels);
    s->retries = metrics_counter("chat_stream_retries_total", "Batches run again.", labels);
    s->queue_length =
        metrics_gauge("chat_stream_queue_records", "Records that wait for a batch.", labels);
}

static void stream_free(struct stream *s)
{
    db_close(s->batch.db);
    arena_free(s->batch.arena);
    uv_cond_destroy(&s->changed);
    uv_mutex_destroy(&s->lock);
    svc_queue_done(&s->queue);
    free(s->partitions);
    free(s);
}

static void on_settle_closed(uv_handle_t *handle)
{
    struct stream *s = handle->data;
    void (*done)(void *) = s->done;
    void *arg = s->done_arg;
    stream_free(s);
    if (done != NULL) {
        done(arg);
    }
}

int stream_start(struct svc_ctx *ctx, const struct svc_stream *row, const char *database_url,
                 struct stream **stream_out)
{
    static const struct bus_consumer_ops ops = {
        .on_record = on_record,
        .on_turn = on_turn,
        .on_assign = on_assign,
        .on_revoke = on_revoke,
    };
    struct stream *s = calloc(1, sizeof(*s));
    assert(s != NULL);
    s->ctx = s->batch.ctx = ctx;
    s->row = row;
    s->batch.arena = arena_new(64 * 1024);
    char problem[256];
    if (database_url != NULL &&
        db_open(database_url, &s->batch.db, problem, sizeof(problem)) != 0) {
        log_error("stream has no database", "problem=%s", LOG_Q(problem));
        arena_free(s->batch.arena);
        free(s);
        return ERR_INVALID;
    }
    s->partition_count = bus_partitions(svc_bus(ctx), row->topic);
    s->partitions = calloc((size_t)s->partition_count, sizeof(*s->partitions));
    assert(s->partitions != NULL);
    stream_metrics(s);
    uv_mutex_init(&s->lock);
    uv_cond_init(&s->changed);
    uv_async_init(svc_loop(ctx), &s->settle, on_settle);
    s->settle.data = s;
    uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = 512 * 1024};
    if (uv_thread_create_ex(&s->thread, &options, run, s) != 0) {
        abort();
    }
    *stream_out = s;
    return bus_join(svc_bus(ctx), row->group, &row->topic, 1, &ops, s, &s->consumer);
}

static void on_left(void *arg)
{
    struct stream *s = arg;
    uv_mutex_lock(&s->lock);
    s->consumer = NULL;
    s->stopping = true;
    uv_cond_signal(&s->changed);
    uv_mutex_unlock(&s->lock);
    uv_thread_join(&s->thread);
    uv_close((uv_handle_t *)&s->settle, on_settle_closed);
}

void stream_stop(struct stream *s, void (*done)(void *arg), void *arg)
{
    s->done = done;
    s->done_arg = arg;
    if (s->consumer == NULL) {
        on_left(s);
        return;
    }
    bus_consumer_leave(s->consumer, on_left, s);
}

int64_t stream_failing_ms(struct stream *s)
{
    int64_t since = atomic_load(&s->failing_since);
    int64_t failing = since == 0 ? 0 : clock_mono_ms() - since;
    int64_t stalled = s->consumer == NULL ? 0 : bus_consumer_stalled_ms(s->consumer);
    return failing > stalled ? failing : stalled;
}

const char *stream_name(const struct stream *s)
{
    return s->row->group;
}
