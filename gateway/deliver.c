// SPDX-License-Identifier: MIT
/*
 * One reader for events and signals, one for ended sessions, which are read from the first record
 * kept. What goes to a loop is a push (push.h); while some loop has too much of it under way,
 * the reader pauses, since a loop's list has no bound of its own.
 */
#include "gateway/deliver.h"

#include "common/err.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/pb.h"
#include "gateway/authn.h"
#include "gateway/envelope.h"
#include "gateway/interest.h"
#include "gateway/loop.h"
#include "gateway/online.h"
#include "gateway/pbjson.h"
#include "gateway/profiles.h"
#include "gateway/push.h"
#include "gateway/reports.h"
#include "proto/group.pb-c.h"
#include "proto/message.pb-c.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BACKLOG_MAX (32 * 1024 * 1024) /* bytes under way to one loop */
#define BACKLOG_LOW (8 * 1024 * 1024)
#define POLL_MS 2

struct deliver {
    struct gateway *gw;
    struct bus_consumer *events, *sessions;
    struct arena *arena; /* of the record at hand */
    int64_t *highest;    /* command_offset by partition; -1: none yet */
    uv_timer_t poll;     /* while paused */
    bool paused, stopping;
    int open; /* consumers and the timer */
    void (*done)(void *arg);
    void *done_arg;
    atomic_bool events_ready, sessions_ready;
    struct metric *dropped, *read;
};

/* ---- Messages ---- */

/* The asker, if it is here, gets its answer before anybody gets the message. */
static void answer(struct deliver *d, const Chat__MessageEvent *e)
{
    if (!pb_equal(e->reply_to, d->gw->instance)) {
        return;
    }
    Chat__SendReply body = CHAT__SEND_REPLY__INIT;
    body.message = e->stored;
    body.msg_id = e->stored->id;
    struct rpc_reply reply = {.detail = "", .instance = ""};
    reply.body = pb_pack(&body, d->arena, &reply.len);
    rpc_resolve(d->gw->rpc, e->call_id, &reply);
}

static void note(const struct bus_record *r, const Chat__Message *message)
{
    if (log_get_level() <= LOG_DEBUG) {
        log_set_context(&(struct log_context){.traceparent = r->traceparent,
                                              .request_id = r->request_id,
                                              .user_id = message->sender_id});
        log_debug("message delivered", "id=%llu seq=%llu partition=%d offset=%lld",
                  (unsigned long long)message->id, (unsigned long long)message->seq, r->partition,
                  (long long)r->offset);
        log_set_context(NULL);
    }
}

static void on_message(struct deliver *d, const struct bus_record *r)
{
    bool pinned;
    uint64_t loops = interest_of_conversation(d->gw->interest, r->key.a, r->key.b, &pinned);
    if (loops == 0 && !pinned) {
        metric_inc(d->dropped);
        return;
    }
    Chat__MessageEvent *e = pb_unpack(&chat__message_event__descriptor, d->arena, r->value, r->len);
    if (e == NULL) {
        log_warn("malformed event dropped", "topic=events.message offset=%lld",
                 (long long)r->offset);
        return;
    }
    if (e->what_case != CHAT__MESSAGE_EVENT__WHAT_STORED ||
        (int64_t)e->command_offset <= d->highest[r->partition]) {
        return; /* of a later version, or published again after a crash */
    }
    d->highest[r->partition] = (int64_t)e->command_offset;
    answer(d, e);
    note(r, e->stored);
    if (loops == 0) {
        return;
    }
    if (e->stored->sender == NULL) { /* published again from the row: nobody knew the name */
        e->stored->sender = pb_new(&chat__sender__descriptor, d->arena);
        e->stored->sender->id = e->stored->sender_id;
    }
    push_message(d->gw, loops, r->key, e->stored, d->arena);
}

/* ---- The other events ---- */

static void on_group(struct deliver *d, const struct bus_record *r)
{
    struct interest *in = d->gw->interest;
    uint64_t loops = interest_of(in, 0, r->key.a);
    loops |= r->key.b != 0 ? interest_of(in, r->key.b, 0) : 0;
    if (loops == 0 || r->value == NULL) {
        return;
    }
    Chat__GroupEvent *e = pb_unpack(&chat__group_event__descriptor, d->arena, r->value, r->len);
    if (e != NULL) {
        push_group(d->gw, loops, r->key.a, e);
    }
}

static void on_user(struct deliver *d, const struct bus_record *r)
{
    if (r->value == NULL) {
        return;
    }
    Chat__UserEvent *e = pb_unpack(&chat__user_event__descriptor, d->arena, r->value, r->len);
    if (e == NULL || e->user == NULL) {
        return;
    }
    profiles_changed(d->gw->profiles, e->user);
    uint64_t loops = interest_of(d->gw->interest, e->user->id, 0);
    if (loops != 0) {
        push_profile(d->gw, loops, e->user);
    }
}

static void on_presence(struct deliver *d, const struct bus_record *r)
{
    struct gateway *gw = d->gw;
    Chat__PresenceEvent *e =
        pb_unpack(&chat__presence_event__descriptor, d->arena, r->value, r->len);
    if (e == NULL) {
        return;
    }
    if (e->what_case == CHAT__PRESENCE_EVENT__WHAT_RESEND) {
        reports_resend(gw->reports, e->resend);
        return;
    }
    if (e->what_case != CHAT__PRESENCE_EVENT__WHAT_STATUS || !online_merge(gw->online, e->status)) {
        return;
    }
    bool all = atomic_load(&gw->bare) > 0 && online_count(gw->online) < GATEWAY_STATUS_MAX;
    uint64_t loops = all ? UINT64_MAX
                         : interest_of(gw->interest, e->status->user_id, INTEREST_WATCHED);
    if (loops != 0) {
        push_status(gw, loops, e->status, all);
    }
}

static void on_signal(struct deliver *d, const struct bus_record *r)
{
    uint64_t loops = interest_of_conversation(d->gw->interest, r->key.a, r->key.b, NULL);
    if (loops == 0) {
        return;
    }
    Chat__Signal *s = pb_unpack(&chat__signal__descriptor, d->arena, r->value, r->len);
    if (s != NULL) {
        push_typing(d->gw, loops, s);
    }
}

/* ---- Readers ---- */

static bool is_backed_up(const struct gateway *gw, size_t bound)
{
    for (unsigned i = 0; i < gw->loop_count; i++) {
        if (gw->loops[i] != NULL && atomic_load(&gw->loops[i]->backlog) > bound) {
            return true;
        }
    }
    return false;
}

static void on_poll(uv_timer_t *timer)
{
    struct deliver *d = timer->data;
    if (!is_backed_up(d->gw, BACKLOG_LOW)) {
        d->paused = false;
        uv_timer_stop(timer);
        bus_consumer_resume(d->events);
    }
}

static void on_event(void *arg, struct bus_record *r)
{
    struct deliver *d = arg;
    metric_inc(d->read);
    switch (r->topic) {
    case TOPIC_EVENTS_MESSAGE:
        on_message(d, r);
        break;
    case TOPIC_EVENTS_GROUP:
        on_group(d, r);
        break;
    case TOPIC_EVENTS_USER:
        on_user(d, r);
        break;
    case TOPIC_EVENTS_PRESENCE:
        on_presence(d, r);
        break;
    case TOPIC_SIGNALS:
        on_signal(d, r);
        break;
    default:
        break;
    }
    if (arena_used(d->arena) > 0) {
        arena_reset(d->arena);
    }
    if (!d->paused && !d->stopping && is_backed_up(d->gw, BACKLOG_MAX)) {
        d->paused = true;
        bus_consumer_pause(d->events);
        uv_timer_start(&d->poll, on_poll, POLL_MS, POLL_MS);
    }
}

static void on_events_caught_up(void *arg)
{
    struct deliver *d = arg;
    atomic_store(&d->events_ready, true);
}

/* Records were deleted before we saw them: nobody may believe that nothing was missed. */
static void on_gap(void *arg, enum topic topic, int32_t partition)
{
    struct deliver *d = arg;
    if (topic == TOPIC_EVENTS_MESSAGE || topic == TOPIC_EVENTS_GROUP) {
        log_error("events were missed, sockets are closed", "topic=%d partition=%d", (int)topic,
                  (int)partition);
        push_close_all(d->gw);
    }
}

static void on_session(void *arg, struct bus_record *r)
{
    struct deliver *d = arg;
    Chat__SessionEnded *e = pb_unpack(&chat__session_ended__descriptor, d->arena, r->value, r->len);
    if (e != NULL) {
        authn_end_session(d->gw->authn, e->session_id, e->ended_at);
        uint64_t loops = interest_of(d->gw->interest, e->user_id, 0);
        if (loops != 0) {
            push_session_end(d->gw, loops, e->user_id, e->session_id);
        }
    }
    arena_reset(d->arena);
}

static void on_sessions_caught_up(void *arg)
{
    struct deliver *d = arg;
    atomic_store(&d->sessions_ready, true);
}

bool deliver_is_ready(struct deliver *d)
{
    return atomic_load(&d->events_ready) && atomic_load(&d->sessions_ready);
}

bool deliver_sessions_ready(struct deliver *d)
{
    return atomic_load(&d->sessions_ready);
}

int64_t deliver_lag(const struct deliver *d)
{
    return bus_consumer_lag(d->events);
}

/* ---- Beginning and end ---- */

static int read_topics(struct deliver *d)
{
    static const enum topic events[] = {TOPIC_EVENTS_MESSAGE, TOPIC_EVENTS_GROUP, TOPIC_EVENTS_USER,
                                        TOPIC_EVENTS_PRESENCE, TOPIC_SIGNALS};
    static const enum topic sessions[] = {TOPIC_EVENTS_SESSION};
    static const struct bus_consumer_ops event_ops = {
        .on_record = on_event, .on_caught_up = on_events_caught_up, .on_gap = on_gap};
    static const struct bus_consumer_ops session_ops = {.on_record = on_session,
                                                        .on_caught_up = on_sessions_caught_up};
    int err = bus_read(d->gw->bus, events, sizeof(events) / sizeof(events[0]), BUS_FROM_END,
                       &event_ops, d, &d->events);
    if (err == 0) {
        err = bus_read(d->gw->bus, sessions, 1, BUS_FROM_FIRST, &session_ops, d, &d->sessions);
    }
    return err;
}

int deliver_new(struct gateway *gw, struct deliver **deliver_out, char *problem,
                size_t problem_size)
{
    struct deliver *d = calloc(1, sizeof(*d));
    int32_t partitions = bus_partitions(gw->bus, TOPIC_EVENTS_MESSAGE);
    assert(d != NULL);
    d->gw = gw;
    d->arena = arena_new(16384);
    d->highest = malloc((size_t)partitions * sizeof(*d->highest));
    assert(d->highest != NULL);
    for (int32_t i = 0; i < partitions; i++) {
        d->highest[i] = -1;
    }
    d->dropped = metrics_counter("chat_gateway_events_dropped_total",
                                 "Message events that no socket here wanted.", NULL);
    d->read = metrics_counter("chat_gateway_events_read_total", "Events and signals read.", NULL);
    uv_timer_init(svc_loop(gw->ctx), &d->poll);
    d->poll.data = d;
    d->open = 3;
    gw->deliver = d; /* records may come at once */
    int err = read_topics(d);
    if (err != 0) {
        snprintf(problem, problem_size, "the event topics cannot be read");
        return err;
    }
    *deliver_out = d;
    return 0;
}

static void one_closed(struct deliver *d)
{
    if (--d->open == 0) {
        d->done(d->done_arg);
    }
}

static void on_left(void *arg)
{
    one_closed(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    one_closed(handle->data);
}

void deliver_stop(struct deliver *d, void (*done)(void *arg), void *arg)
{
    d->stopping = true;
    d->done = done;
    d->done_arg = arg;
    uv_timer_stop(&d->poll);
    uv_close((uv_handle_t *)&d->poll, on_timer_closed);
    bus_consumer_leave(d->events, on_left, d);
    bus_consumer_leave(d->sessions, on_left, d);
}

void deliver_free(struct deliver *d)
{
    if (d != NULL) {
        arena_free(d->arena);
        free(d->highest);
        free(d);
    }
}
