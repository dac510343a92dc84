// SPDX-License-Identifier: MIT
/*
 * The in-process bus: buses, their loops and wake-ups, sending, and the table behind bus.h.
 *
 * One world per topic prefix lives as long as the process; each service opens a bus of its own on
 * its own loop. Logs and groups stand in bus_local_log.c and bus_local_group.c. There is nothing
 * to lose with a connection, so what Kafka would retry cannot happen here.
 */
#include "common/bus_local_group.h"

#include "common/clock.h"
#include "common/err.h"

#include <assert.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS 1000
#define TURN_BATCHES 4 /* of BUS_BATCH_MAX: about BUS_TURN_MAX records */

static struct local_bus *local(const struct bus *bus)
{
    return (struct local_bus *)bus;
}

static struct local_consumer *local_of(const struct bus_consumer *consumer)
{
    return (struct local_consumer *)consumer;
}

/* ---- Waking ---- */

void local_wake(struct local_wakes *wakes, struct local_bus *bus)
{
    if (bus->signalled) {
        return;
    }
    bus->signalled = true;
    if (wakes->n == sizeof(wakes->buses) / sizeof(wakes->buses[0])) {
        uv_async_send(&bus->wake); /* with the lock held a bus cannot close */
        return;
    }
    atomic_fetch_add(&bus->signalers, 1); /* keeps it until wakes_send */
    wakes->buses[wakes->n++] = bus;
}

static void wakes_send(struct local_wakes *wakes)
{
    for (size_t i = 0; i < wakes->n; i++) {
        uv_async_send(&wakes->buses[i]->wake);
        atomic_fetch_sub(&wakes->buses[i]->signalers, 1);
    }
}

void local_lock(struct local_bus *bus)
{
    pthread_mutex_lock(&bus->world->lock);
}

void local_unlock(struct local_bus *bus, struct local_wakes *wakes)
{
    pthread_mutex_unlock(&bus->world->lock);
    wakes_send(wakes);
}

/* The loop's own reminder to go on. */
static void wake_self(struct local_bus *bus)
{
    struct local_wakes wakes = {.n = 0};

    local_lock(bus);
    local_wake(&wakes, bus);
    local_unlock(bus, &wakes);
}

/* ---- Sending ---- */

static bool ack_push(struct local_acks *acks, bus_ack_fn fn, void *arg)
{
    if (acks->n >= LOCAL_ACKS_MAX) {
        return false;
    }
    if (acks->n == acks->cap) {
        acks->cap = acks->cap == 0 ? 64 : acks->cap * 2;
        acks->list = realloc(acks->list, acks->cap * sizeof(acks->list[0]));
        if (acks->list == NULL) {
            abort();
        }
    }
    acks->list[acks->n++] = (struct local_ack){fn, arg};
    return true;
}

/* With the lock held. */
static int send_locked(struct local_bus *bus, const struct bus_message *m,
                       struct bus_record *record, const struct local_ack *ack,
                       struct local_wakes *wakes)
{
    struct local_topic *topic = m->topic == TOPIC_REPLY ? local_reply_find(bus->world, m->reply_to)
                                                        : &bus->world->topics[m->topic];

    if (bus->closed || topic == NULL || bus->acks.n >= LOCAL_ACKS_MAX ||
        local_log_append(bus->world, topic, record) != 0) {
        return ERR_UNAVAILABLE;
    }
    if (ack->fn != NULL) {
        ack_push(&bus->acks, ack->fn, ack->arg);
        local_wake(wakes, bus);
    }
    local_notify(topic, record->partition, wakes);
    return 0;
}

static int local_send(struct bus *base, const struct bus_message *m, int32_t partition,
                      bus_ack_fn ack, void *arg)
{
    struct local_bus *bus = local(base);
    struct bus_record *record = bus_record_of(m, partition);
    struct local_wakes wakes = {.n = 0};

    local_lock(bus);
    int err = send_locked(bus, m, record, &(struct local_ack){ack, arg}, &wakes);
    local_unlock(bus, &wakes);
    if (err != 0) {
        bus_record_release(record);
    }
    return err;
}

/* ---- A turn of the loop ---- */

static void run_acks(struct local_bus *bus)
{
    local_lock(bus);
    bus->signalled = false; /* what comes from here on wakes again */
    struct local_acks acks = bus->acks;
    bus->acks = bus->spare;
    bus->spare = (struct local_acks){0};
    pthread_mutex_unlock(&bus->world->lock);
    for (size_t i = 0; i < acks.n; i++) {
        acks.list[i].fn(acks.list[i].arg, 0);
    }
    acks.n = 0;
    bus->spare = acks; /* only this thread takes it */
}

static void tell(struct local_consumer *c, const struct local_item *item, struct bus_burst *burst)
{
    const struct bus_consumer_ops *ops = c->base.ops;

    switch (item->kind) {
    case ITEM_RECORD:
        if (c->leaving && c->group == NULL) {
            bus_record_release(item->record);
        } else {
            bus_deliver(&c->base, burst, item->record);
        }
        break;
    case ITEM_ASSIGN:
        if (ops->on_assign != NULL) {
            ops->on_assign(c->base.arg, item->topic, item->partition);
        }
        break;
    case ITEM_REVOKE:
        if (ops->on_revoke != NULL) {
            ops->on_revoke(c->base.arg, item->topic, item->partition, false);
        } else {
            bus_consumer_release(&c->base, item->topic, item->partition);
        }
        break;
    case ITEM_GAP:
        if (ops->on_gap != NULL && !c->leaving) {
            ops->on_gap(c->base.arg, item->topic, item->partition);
        }
        break;
    }
}

static void consumer_turn(struct local_consumer *c)
{
    struct local_item items[BUS_BATCH_MAX];
    struct bus_burst burst = {.total = 0};
    bool more = true, caught_up = false;

    for (int batch = 0; batch < TURN_BATCHES && more; batch++) {
        local_lock(c->bus);
        size_t n = local_collect(c, items, BUS_BATCH_MAX, &more);
        caught_up = !c->caught_up && local_reader_caught_up(c);
        pthread_mutex_unlock(&c->bus->world->lock);
        for (size_t i = 0; i < n; i++) {
            tell(c, &items[i], &burst);
        }
    }
    bus_burst_end(&c->base, &burst);
    if (caught_up && !c->leaving) {
        c->caught_up = true;
        if (c->base.ops->on_caught_up != NULL) {
            c->base.ops->on_caught_up(c->base.arg);
        }
    }
    if (more) {
        wake_self(c->bus);
    }
}

/* It has left, and nothing is with it any more. */
static bool consumer_has_left(struct local_consumer *c)
{
    local_lock(c->bus);
    bool finished = c->leaving && !local_consumer_holds(c);
    if (finished && c->group == NULL) {
        local_reader_stop(c);
    }
    pthread_mutex_unlock(&c->bus->world->lock);
    return finished;
}

static void consumer_free(struct local_consumer *c)
{
    metric_set(c->base.lag_records, 0);
    if (c->done != NULL) {
        c->done(c->done_arg);
    }
    free(c);
}

static void on_closed(uv_handle_t *handle)
{
    struct local_bus *bus = handle->data;

    if (--bus->open_handles > 0) {
        return;
    }
    free(bus->acks.list);
    free(bus->spare.list);
    bus_base_done(&bus->base);
    void (*done)(void *arg) = bus->done;
    void *arg = bus->done_arg;
    free(bus);
    if (done != NULL) {
        done(arg);
    }
}

static void finish_close(struct local_bus *bus)
{
    local_lock(bus);
    local_reply_disown(bus->world, bus->reply);
    bus->reply = NULL;
    bus->signalled = true; /* nobody signals any more */
    pthread_mutex_unlock(&bus->world->lock);
    while (atomic_load(&bus->signalers) > 0) {
        sched_yield(); /* between its two instructions in wakes_send */
    }
    uv_close((uv_handle_t *)&bus->wake, on_closed);
    uv_close((uv_handle_t *)&bus->tick, on_closed);
}

static void on_wake(uv_async_t *handle)
{
    struct local_bus *bus = handle->data;

    run_acks(bus);
    for (struct local_consumer *c = bus->consumers; c != NULL; c = c->next_in_bus) {
        consumer_turn(c);
    }
    struct local_consumer **link = &bus->consumers;
    while (*link != NULL) {
        struct local_consumer *c = *link;

        if (consumer_has_left(c)) {
            *link = c->next_in_bus; /* first: its callback may add another */
            consumer_free(c);
        } else {
            link = &c->next_in_bus;
        }
    }
    local_lock(bus);
    bool idle = bus->acks.n == 0;
    pthread_mutex_unlock(&bus->world->lock);
    if (bus->closing && bus->consumers == NULL && idle && !uv_is_closing((uv_handle_t *)handle)) {
        finish_close(bus);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct local_bus *bus = timer->data;

    for (struct local_consumer *c = bus->consumers; c != NULL; c = c->next_in_bus) {
        metric_set(c->base.lag_records, bus_consumer_lag(&c->base));
    }
    local_lock(bus);
    local_world_expire(bus->world);
    size_t acks = bus->acks.n;
    pthread_mutex_unlock(&bus->world->lock);
    metric_set(bus->base.queue_records, (int64_t)acks);
}

/* ---- Consumers ---- */

static struct local_consumer *consumer_new(const struct bus_consumer *base)
{
    struct local_consumer *c = bus_zalloc(sizeof(*c));

    c->base = *base;
    c->bus = local(base->bus);
    c->next_in_bus = c->bus->consumers;
    c->bus->consumers = c;
    return c;
}

static int local_join(const struct bus_consumer *base, const char *group,
                      struct bus_consumer **consumer_out)
{
    struct local_consumer *c = consumer_new(base);
    struct local_wakes wakes = {.n = 0};

    c->caught_up = true; /* only readers are told */
    local_lock(c->bus);
    local_group_join(c, group, &wakes);
    local_unlock(c->bus, &wakes);
    *consumer_out = &c->base;
    return 0;
}

static int local_read(const struct bus_consumer *base, enum bus_from from,
                      struct bus_consumer **consumer_out)
{
    assert(!base->topics[TOPIC_REPLY] || local(base->bus)->reply != NULL);
    struct local_consumer *c = consumer_new(base);
    struct local_wakes wakes = {.n = 0};

    local_lock(c->bus);
    local_reader_start(c, from);
    c->ready = true;
    local_wake(&wakes, c->bus); /* an empty log is caught up at once */
    local_unlock(c->bus, &wakes);
    *consumer_out = &c->base;
    return 0;
}

static void set_paused(struct bus_consumer *consumer, bool paused)
{
    struct local_consumer *c = local_of(consumer);
    struct local_wakes wakes = {.n = 0};

    local_lock(c->bus);
    if (c->paused && !paused) {
        c->ready = true;
        local_wake(&wakes, c->bus);
    }
    c->paused = paused;
    local_unlock(c->bus, &wakes);
}

static void local_pause(struct bus_consumer *consumer)
{
    set_paused(consumer, true);
}

static void local_resume(struct bus_consumer *consumer)
{
    set_paused(consumer, false);
}

static void local_commit(struct bus_consumer *consumer, enum topic topic, int32_t partition,
                         int64_t next)
{
    struct local_consumer *c = local_of(consumer);

    local_lock(c->bus);
    struct local_part *part = &c->shares[topic]->parts[partition];
    if (c->group != NULL && part->owner == c) {
        part->committed = next;
        if (c->bus->world->waiting > 0) {
            pthread_cond_broadcast(&c->bus->world->committed);
        }
    }
    pthread_mutex_unlock(&c->bus->world->lock);
}

static void local_release(struct bus_consumer *consumer, enum topic topic, int32_t partition)
{
    struct local_consumer *c = local_of(consumer);
    struct local_wakes wakes = {.n = 0};

    local_lock(c->bus);
    local_part_release(c, c->shares[topic], partition, &wakes);
    local_unlock(c->bus, &wakes);
}

static void leave(struct local_consumer *c, bool force)
{
    struct local_wakes wakes = {.n = 0};

    c->leaving = true;
    local_lock(c->bus);
    if (c->group != NULL) {
        local_consumer_detach(c, force, &wakes);
    }
    local_wake(&wakes, c->bus); /* the turn finishes it */
    local_unlock(c->bus, &wakes);
}

static void local_leave(struct bus_consumer *consumer, void (*done)(void *arg), void *arg)
{
    struct local_consumer *c = local_of(consumer);

    c->done = done;
    c->done_arg = arg;
    leave(c, false);
}

static int64_t local_consumer_lag(const struct bus_consumer *consumer)
{
    const struct local_consumer *c = local_of(consumer);
    int64_t oldest;

    local_lock(c->bus);
    int64_t lag = local_lag(c, &oldest);
    pthread_mutex_unlock(&c->bus->world->lock);
    return lag;
}

static int64_t local_stalled_ms(const struct bus_consumer *consumer)
{
    const struct local_consumer *c = local_of(consumer);
    int64_t oldest;

    local_lock(c->bus);
    int64_t lag = local_lag(c, &oldest);
    int64_t since = c->last_ms > oldest ? c->last_ms : oldest;
    pthread_mutex_unlock(&c->bus->world->lock);
    int64_t stalled = clock_now_ms() - since;
    return lag == 0 || stalled < 0 ? 0 : stalled;
}

/* ---- Opening and closing ---- */

static bool local_is_connected(const struct bus *bus)
{
    (void)bus;
    return true;
}

static int local_watermarks(struct bus *base, enum topic topic, int32_t partition,
                            int64_t *first_out, int64_t *next_out)
{
    struct local_bus *bus = local(base);
    int err = ERR_UNAVAILABLE;

    local_lock(bus);
    const struct local_topic *t = topic == TOPIC_REPLY ? bus->reply : &bus->world->topics[topic];
    if (t != NULL) {
        *first_out = t->logs[partition].first;
        *next_out = t->logs[partition].next;
        err = 0;
    }
    pthread_mutex_unlock(&bus->world->lock);
    return err;
}

static void local_close(struct bus *base, int flush_ms, void (*done)(void *arg), void *arg)
{
    struct local_bus *bus = local(base);

    (void)flush_ms; /* what was sent is in the log */
    bus->closing = true;
    bus->done = done;
    bus->done_arg = arg;
    local_lock(bus);
    bus->closed = true;
    pthread_mutex_unlock(&bus->world->lock);
    for (struct local_consumer *c = bus->consumers; c != NULL; c = c->next_in_bus) {
        leave(c, true);
    }
    uv_timer_stop(&bus->tick);
    wake_self(bus);
}

static const struct bus_impl local_impl = {
    .durable = false,
    .close = local_close,
    .is_connected = local_is_connected,
    .watermarks = local_watermarks,
    .send = local_send,
    .txn_open = local_txn_open,
    .txn_publish = local_txn_publish,
    .txn_close = local_txn_close,
    .join = local_join,
    .read = local_read,
    .pause = local_pause,
    .resume = local_resume,
    .commit = local_commit,
    .release = local_release,
    .leave = local_leave,
    .lag = local_consumer_lag,
    .stalled_ms = local_stalled_ms,
};

int bus_local_open(uv_loop_t *loop, const struct bus_options *options, struct bus **bus_out,
                   char *problem, size_t problem_size)
{
    struct local_bus *bus = bus_zalloc(sizeof(*bus));
    int32_t partitions;

    bus_base_init(&bus->base, &local_impl, loop, options);
    snprintf(bus->base.log_id, sizeof(bus->base.log_id), "local-%016" PRIx64, local_log_id());
    bus->world = local_world_get(&bus->base, &partitions);
    if (bus->world == NULL) {
        char name[256];

        snprintf(name, sizeof(name), "%s%s", bus->base.prefix, bus_topic_name(TOPIC_COMMANDS));
        bus_partitions_differ(problem, problem_size, false, options->partitions, name, partitions);
        bus_base_done(&bus->base);
        free(bus);
        return ERR_INVALID;
    }
    bus->wake.data = bus->tick.data = bus;
    uv_async_init(loop, &bus->wake, on_wake);
    uv_timer_init(loop, &bus->tick);
    uv_timer_start(&bus->tick, on_tick, TICK_MS, TICK_MS);
    uv_unref((uv_handle_t *)&bus->tick);
    bus->open_handles = 2;
    if (options->reply_topic) {
        local_lock(bus);
        bus->reply = local_reply_own(bus->world, bus->base.instance);
        pthread_mutex_unlock(&bus->world->lock);
    }
    *bus_out = &bus->base;
    return 0;
}
