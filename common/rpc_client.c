// SPDX-License-Identifier: MIT
/*
 * The asking side of RPC: numbers calls, keeps them until a reply or their deadline, hands the
 * reply to whoever asked. Does not send by itself (rpc_wire) and does not retry.
 *
 * Calls are made on any thread; replies and deadlines run on the loop. Waiting calls stand in a
 * map by id and in a wheel of 20 ms slots by deadline, both guarded by one lock.
 */
#include "common/rpc.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/map.h"
#include "common/metrics.h"
#include "common/pb.h"
#include "common/random.h"
#include "proto/envelope.pb-c.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define WAITING_MAX 100000
#define TICK_MS 20
#define SLOTS 512 /* covers 10 s: the longest timeout */
#define TIMEOUT_MAX_MS ((SLOTS - 2) * TICK_MS)

struct waiting {
    uint64_t id;
    rpc_reply_fn reply;
    void *arg;
    size_t slot;
    struct waiting *next, **link; /* in its slot; link: what points here */
};

struct rpc_client {
    uv_loop_t *loop;
    uv_timer_t timer;
    uv_async_t wake; /* starts the timer from other threads */
    int open_handles;
    char *name;
    struct rpc_wire wire;
    struct metric *waiting_gauge, *timeouts;

    uv_mutex_t lock;
    struct map by_id; /* of struct waiting; key (id, 0) */
    struct waiting *slots[SLOTS];
    int64_t swept_tick; /* slots up to this tick have been swept */
    uint64_t next_id;
    bool closed;
};

static void slot_insert(struct rpc_client *c, struct waiting *w, int64_t deadline_ms)
{
    w->slot = (size_t)((deadline_ms / TICK_MS + 1) % SLOTS);
    w->next = c->slots[w->slot];
    w->link = &c->slots[w->slot];
    if (w->next != NULL) {
        w->next->link = &w->next;
    }
    c->slots[w->slot] = w;
}

static void slot_remove(struct waiting *w)
{
    *w->link = w->next;
    if (w->next != NULL) {
        w->next->link = w->link;
    }
}

/* With the lock held: takes the call out, or NULL. */
static struct waiting *take(struct rpc_client *c, uint64_t id)
{
    struct waiting *w = map_del(&c->by_id, id, 0);
    if (w != NULL) {
        slot_remove(w);
        metric_add(c->waiting_gauge, -1);
    }
    return w;
}

static void answer_error(struct waiting *w, int err, const char *detail)
{
    struct rpc_reply reply = {.err = err, .detail = detail, .instance = ""};
    w->reply(w->arg, &reply);
    free(w);
}

/* Everything whose slot has passed by now, as one list. */
static struct waiting *take_expired(struct rpc_client *c, int64_t now_tick)
{
    struct waiting *expired = NULL;
    int64_t from = c->swept_tick + 1;
    if (now_tick - from >= SLOTS) {
        from = now_tick - SLOTS + 1;
    }
    for (int64_t tick = from; tick <= now_tick; tick++) {
        struct waiting *w;
        while ((w = c->slots[tick % SLOTS]) != NULL) {
            take(c, w->id);
            w->next = expired;
            expired = w;
        }
    }
    c->swept_tick = now_tick;
    return expired;
}

static void on_timer(uv_timer_t *timer)
{
    struct rpc_client *c = timer->data;
    uv_mutex_lock(&c->lock);
    struct waiting *expired = take_expired(c, clock_mono_ms() / TICK_MS);
    bool idle = c->by_id.count == 0;
    uv_mutex_unlock(&c->lock);
    if (idle) {
        uv_timer_stop(timer);
    }
    while (expired != NULL) {
        struct waiting *w = expired;
        expired = w->next;
        metric_inc(c->timeouts);
        answer_error(w, ERR_TIMEOUT, "no answer came in time");
    }
}

static void on_wake(uv_async_t *async)
{
    struct rpc_client *c = async->data;
    if (!uv_is_active((uv_handle_t *)&c->timer)) {
        uv_timer_start(&c->timer, on_timer, TICK_MS, TICK_MS);
    }
}

struct rpc_client *rpc_client_new(uv_loop_t *loop, const char *name, const struct rpc_wire *wire)
{
    struct rpc_client *c = calloc(1, sizeof(*c));
    assert(c != NULL);
    c->loop = loop;
    c->name = strdup(name);
    c->wire = *wire;
    c->next_id = random_u64(); /* replies to an earlier life of this name then find no call */
    c->swept_tick = clock_mono_ms() / TICK_MS;
    c->waiting_gauge =
        metrics_gauge("chat_rpc_waiting_calls", "Calls that wait for a reply.", NULL);
    c->timeouts = metrics_counter("chat_rpc_timeouts_total", "Calls that got no reply.", NULL);
    map_init(&c->by_id);
    uv_mutex_init(&c->lock);
    uv_timer_init(loop, &c->timer);
    uv_async_init(loop, &c->wake, on_wake);
    c->timer.data = c->wake.data = c;
    c->open_handles = 2;
    return c;
}

int rpc_expect(struct rpc_client *c, int64_t timeout_ms, rpc_reply_fn reply, void *arg,
               uint64_t *id_out)
{
    struct waiting *w = malloc(sizeof(*w));
    assert(w != NULL);
    *w = (struct waiting){.reply = reply, .arg = arg};
    if (timeout_ms <= 0 || timeout_ms > TIMEOUT_MAX_MS) {
        timeout_ms = timeout_ms <= 0 ? RPC_DEADLINE_MS : TIMEOUT_MAX_MS;
    }

    uv_mutex_lock(&c->lock);
    if (c->closed || c->by_id.count >= WAITING_MAX) {
        uv_mutex_unlock(&c->lock);
        free(w);
        return ERR_UNAVAILABLE;
    }
    int64_t now = clock_mono_ms();
    bool first = c->by_id.count == 0;
    if (first) {
        c->swept_tick = now / TICK_MS;
    }
    w->id = ++c->next_id;
    if (w->id == 0) { /* no call has the number 0 */
        w->id = ++c->next_id;
    }
    map_put(&c->by_id, w->id, 0, w);
    slot_insert(c, w, now + timeout_ms);
    *id_out = w->id;
    uv_mutex_unlock(&c->lock);

    metric_add(c->waiting_gauge, 1);
    if (first) {
        uv_async_send(&c->wake);
    }
    return 0;
}

bool rpc_cancel(struct rpc_client *c, uint64_t id)
{
    uv_mutex_lock(&c->lock);
    struct waiting *w = take(c, id);
    uv_mutex_unlock(&c->lock);
    free(w);
    return w != NULL;
}

void rpc_resolve(struct rpc_client *c, uint64_t id, const struct rpc_reply *reply)
{
    uv_mutex_lock(&c->lock);
    struct waiting *w = take(c, id);
    uv_mutex_unlock(&c->lock);
    if (w != NULL) {
        w->reply(w->arg, reply);
        free(w);
    }
}

static Chat__Caller *pack_caller(const struct rpc_caller *caller, struct arena *arena)
{
    Chat__Caller *c = pb_new(&chat__caller__descriptor, arena);
    c->user_id = caller->user_id;
    c->session_id = caller->session_id;
    c->username = pb_str(caller->username);
    c->address = pb_str(caller->address);
    c->device = pb_str(caller->device);
    return c;
}

static uint8_t *pack_request(const struct rpc_client *c, const struct rpc_call *call, uint64_t id,
                             struct arena *arena, size_t *len_out)
{
    Chat__Request request = CHAT__REQUEST__INIT;
    request.id = id;
    request.method = pb_str(call->method);
    request.reply_to = pb_str(c->name);
    request.deadline_at = clock_now_ms() +
                          (call->timeout_ms > 0 ? call->timeout_ms : RPC_DEADLINE_MS);
    if (call->caller != NULL) {
        request.caller = pack_caller(call->caller, arena);
    }
    if (call->input != NULL) {
        request.body.data = pb_pack(call->input, arena, &request.body.len);
    } else {
        request.body = pb_bytes(call->body, call->len);
    }
    return pb_pack(&request, arena, len_out);
}

int rpc_call(struct rpc_client *c, const struct rpc_call *call, rpc_reply_fn reply, void *arg)
{
    uint64_t id;
    int err = rpc_expect(c, call->timeout_ms, reply, arg, &id);
    if (err != 0) {
        return err;
    }
    struct arena *arena = arena_new(0);
    size_t len;
    uint8_t *data = pack_request(c, call, id, arena, &len);
    err = c->wire.send(c->wire.arg, call, data, len);
    arena_free(arena);
    /* When it was answered (a deadline) before the cancel, the callback has run: no error then. */
    if (err != 0 && rpc_cancel(c, id)) {
        return err;
    }
    return 0;
}

void rpc_client_received(struct rpc_client *c, const uint8_t *data, size_t len)
{
    struct arena *arena = arena_new(0);
    Chat__Reply *r = pb_unpack(&chat__reply__descriptor, arena, data, len);
    if (r == NULL) {
        log_warn("malformed reply dropped", "bytes=%zu", len);
        arena_free(arena);
        return;
    }
    struct rpc_field_error *errors = arena_array(arena, r->n_errors, sizeof(*errors));
    for (size_t i = 0; i < r->n_errors; i++) {
        errors[i].field = pb_cstr(arena, r->errors[i]->field);
        errors[i].reason = pb_cstr(arena, r->errors[i]->reason);
    }
    struct rpc_reply reply = {
        .err = -(int)r->status,
        .detail = pb_cstr(arena, r->detail),
        .errors = errors,
        .error_count = r->n_errors,
        .retry_after_s = r->retry_after,
        .body = r->body.data,
        .len = r->body.len,
        .instance = pb_cstr(arena, r->instance),
    };
    rpc_resolve(c, r->id, &reply);
    arena_free(arena);
}

const char *rpc_client_name(const struct rpc_client *c)
{
    return c->name;
}

size_t rpc_client_waiting(struct rpc_client *c)
{
    uv_mutex_lock(&c->lock);
    size_t n = c->by_id.count;
    uv_mutex_unlock(&c->lock);
    return n;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct rpc_client *c = handle->data;
    if (--c->open_handles == 0) {
        uv_mutex_destroy(&c->lock);
        map_done(&c->by_id);
        free(c->name);
        free(c);
    }
}

void rpc_client_close(struct rpc_client *c)
{
    if (c == NULL) {
        return;
    }
    uv_mutex_lock(&c->lock);
    c->closed = true;
    struct waiting *all = NULL;
    for (size_t i = 0; i < SLOTS; i++) {
        while (c->slots[i] != NULL) {
            struct waiting *w = c->slots[i];
            take(c, w->id);
            w->next = all;
            all = w;
        }
    }
    uv_mutex_unlock(&c->lock);
    while (all != NULL) {
        struct waiting *w = all;
        all = w->next;
        answer_error(w, ERR_UNAVAILABLE, "the daemon is stopping");
    }
    uv_timer_stop(&c->timer);
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
    uv_close((uv_handle_t *)&c->wake, on_handle_closed);
}
