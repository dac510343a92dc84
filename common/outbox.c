// SPDX-License-Identifier: MIT
/*
 * One thread: waits to be woken (or looks by itself, since other instances write rows too),
 * publishes what the table holds, oldest first, and deletes exactly the rows it published: a row
 * of a lower id may be committed later than one of a higher id. Per key the order of ids is the
 * order of commits, because the change that writes the event holds its entity's row lock.
 */
#include "common/outbox.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/metrics.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define BATCH 200
#define LOOK_MS 100        /* when other instances may write rows */
#define LOOK_ALONE_MS 1000 /* when all writers are in this process and wake us */
#define RETRY_MS 500
#define STOP_MS 2000

struct outbox {
    struct bus *bus;
    struct bus_txn *txn; /* the thread's; NULL: not opened, or fenced */
    struct db *db;       /* the thread's */
    struct arena *arena; /* the thread's */
    char name[64];
    int64_t look_ms;
    uv_thread_t thread;
    struct metric *published, *failures, *oldest;
    atomic_llong oldest_ms; /* created_at of the oldest row seen; 0: none */

    uv_mutex_t lock; /* guards what follows */
    uv_cond_t changed;
    bool leader, woken, stopping;
};

int outbox_add(struct db *db, const struct outbox_event *event)
{
    struct db_value row[] = {
        DB_I(event->topic),
        DB_I(event->key.a),
        DB_I(event->key.b),
        DB_I(event->partition_a),
        event->value == NULL ? DB_N() : DB_B(event->value, event->len),
        DB_S(event->traceparent),
        DB_S(event->request_id),
        DB_I(clock_now_ms()),
    };
    return db_exec(db,
                   "INSERT INTO outbox (topic, key_a, key_b, partition_a, value, traceparent, "
                   "request_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                   row, 8, NULL);
}

void outbox_wake(struct outbox *o)
{
    if (o == NULL) {
        return;
    }
    uv_mutex_lock(&o->lock);
    o->woken = true;
    uv_cond_signal(&o->changed);
    uv_mutex_unlock(&o->lock);
}

void outbox_lead(struct outbox *o, bool leader)
{
    uv_mutex_lock(&o->lock);
    o->leader = leader;
    o->woken = true;
    uv_cond_signal(&o->changed);
    uv_mutex_unlock(&o->lock);
}

int64_t outbox_oldest_ms(const struct outbox *o)
{
    int64_t created = atomic_load(&o->oldest_ms);
    return created == 0 ? 0 : clock_now_ms() - created;
}

/* ---- The thread ---- */

static struct bus_message message_of(const struct outbox *o, const struct db_rows *rows, size_t i)
{
    enum topic topic = (enum topic)db_at(rows, i, 1)->i;
    const struct db_value *value = db_at(rows, i, 5);
    struct bus_key by = {.a = (uint64_t)db_at(rows, i, 4)->i};
    return (struct bus_message){
        .topic = topic,
        .key = {(uint64_t)db_at(rows, i, 2)->i, (uint64_t)db_at(rows, i, 3)->i},
        .partition = bus_partition_of(o->bus, topic, by),
        .value = value->p,
        .len = value->n,
        .traceparent = db_at(rows, i, 6)->p,
        .request_id = db_at(rows, i, 7)->p,
    };
}

static int delete_rows(struct outbox *o, const struct db_rows *rows)
{
    int err = db_begin(o->db);
    for (size_t i = 0; i < rows->count && err == 0; i++) {
        err = db_exec(o->db, "DELETE FROM outbox WHERE id = ?", db_at(rows, i, 0), 1, NULL);
    }
    if (err == 0) {
        err = db_commit(o->db);
    }
    if (err != 0) {
        db_rollback(o->db);
    }
    return err;
}

static int publish_rows(struct outbox *o, const struct db_rows *rows)
{
    if (o->txn == NULL) {
        int err = bus_txn_open(o->bus, o->name, &o->txn);
        if (err != 0) {
            return err;
        }
    }
    struct bus_message *messages = arena_array(o->arena, rows->count, sizeof(*messages));
    for (size_t i = 0; i < rows->count; i++) {
        messages[i] = message_of(o, rows, i);
    }
    int err = bus_txn_publish(o->txn, messages, rows->count);
    if (err == ERR_FENCED) {
        log_info("outbox publisher was fenced by another instance", "name=%s", o->name);
        bus_txn_close(o->txn);
        o->txn = NULL;
    }
    return err;
}

static void note_oldest(struct outbox *o, int64_t created_ms)
{
    atomic_store(&o->oldest_ms, created_ms);
    metric_set(o->oldest, outbox_oldest_ms(o));
}

/* Publishes at most BATCH rows. more_out: there may be further ones. */
static int drain_once(struct outbox *o, bool *more_out)
{
    struct db_rows rows;
    arena_reset(o->arena);
    int err = db_query(o->db, o->arena,
                       "SELECT id, topic, key_a, key_b, partition_a, value, traceparent, "
                       "request_id, created_at FROM outbox ORDER BY id LIMIT 200",
                       NULL, 0, &rows);
    if (err != 0) {
        return err;
    }
    *more_out = rows.count == BATCH;
    note_oldest(o, rows.count == 0 ? 0 : db_at(&rows, 0, 8)->i);
    if (rows.count == 0) {
        return 0;
    }
    err = publish_rows(o, &rows);
    if (err == 0) {
        err = delete_rows(o, &rows);
    }
    if (err == 0) {
        metric_add(o->published, (int64_t)rows.count);
        if (!*more_out) {
            note_oldest(o, 0);
        }
    }
    return err;
}

/* Waits for work. Returns false when the thread should end. */
static bool wait_for_work(struct outbox *o, int64_t wait_ms, bool *leader_out)
{
    uv_mutex_lock(&o->lock);
    while (!o->woken && !o->stopping) {
        if (!o->leader) {
            uv_cond_wait(&o->changed, &o->lock);
        } else if (uv_cond_timedwait(&o->changed, &o->lock, (uint64_t)wait_ms * 1000000) != 0) {
            break;
        }
    }
    o->woken = false;
    bool stopping = o->stopping;
    *leader_out = o->leader;
    uv_mutex_unlock(&o->lock);
    return !stopping;
}

static int drain_all(struct outbox *o, int64_t until_ms)
{
    bool more = true;
    int err = 0;
    while (more && err == 0 && clock_mono_ms() < until_ms) {
        err = drain_once(o, &more);
    }
    if (err != 0) {
        metric_inc(o->failures);
    }
    return err;
}

static void run(void *arg)
{
    struct outbox *o = arg;
    bool leader = false, was_leader = false;
    int64_t wait_ms = o->look_ms;
    log_set_service(o->name);
    while (wait_for_work(o, wait_ms, &leader)) {
        wait_ms = o->look_ms;
        if (leader && drain_all(o, INT64_MAX) != 0) {
            wait_ms = RETRY_MS;
        }
        if (!leader && was_leader) {
            bus_txn_close(o->txn);
            o->txn = NULL;
            note_oldest(o, 0);
        }
        was_leader = leader;
    }
    if (leader) {
        drain_all(o, clock_mono_ms() + STOP_MS);
    }
    bus_txn_close(o->txn);
}

/* ---- Life ---- */

int outbox_new(struct bus *bus, const char *name, const char *database_url, struct outbox **out)
{
    struct outbox *o = calloc(1, sizeof(*o));
    assert(o != NULL);
    char problem[256], labels[100];
    int err = db_open(database_url, &o->db, problem, sizeof(problem));
    if (err != 0) {
        free(o);
        return err;
    }
    snprintf(o->name, sizeof(o->name), "%s", name);
    snprintf(labels, sizeof(labels), "service=\"%s\"", name);
    o->published =
        metrics_counter("chat_outbox_published_total", "Events published from the outbox.", labels);
    o->failures =
        metrics_counter("chat_outbox_failures_total", "Attempts to publish that failed.", labels);
    o->oldest = metrics_gauge("chat_outbox_oldest_ms",
                              "Age of the oldest event, when the publisher last looked.", labels);
    o->bus = bus;
    o->arena = arena_new(0);
    o->look_ms = bus_is_durable(bus) ? LOOK_MS : LOOK_ALONE_MS;
    uv_mutex_init(&o->lock);
    uv_cond_init(&o->changed);
    uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE, .stack_size = 256 * 1024};
    if (uv_thread_create_ex(&o->thread, &options, run, o) != 0) {
        abort();
    }
    *out = o;
    return 0;
}

void outbox_stop(struct outbox *o)
{
    if (o == NULL) {
        return;
    }
    uv_mutex_lock(&o->lock);
    o->stopping = true;
    uv_cond_signal(&o->changed);
    uv_mutex_unlock(&o->lock);
    uv_thread_join(&o->thread);
    db_close(o->db);
    arena_free(o->arena);
    uv_cond_destroy(&o->changed);
    uv_mutex_destroy(&o->lock);
    free(o);
}
