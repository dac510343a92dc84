// SPDX-License-Identifier: MIT
/*
 * Each event under way is a small piece of its own; the acknowledged ones wait in a bounded list
 * for the next sweep. What is beyond the bound is told once more, which readers bear.
 */
#include "presence-svc/tell.h"

#include "common/log.h"
#include "common/metrics.h"
#include "common/pb.h"
#include "proto/presence.pb-c.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TOLD = 100000 };

struct presence_teller {
    presence_send_fn send;
    void *arg;
    struct metric *resends, *untaken;
    pthread_mutex_t lock; /* guards what follows */
    struct presence_status *told;
    size_t n, cap;
};

struct sent {
    struct presence_teller *teller;
    struct presence_status status;
};

static void *must(void *p)
{
    if (p == NULL) {
        abort();
    }
    return p;
}

static void on_ack(void *arg, int err)
{
    struct sent *sent = arg;
    struct presence_teller *t = sent->teller;

    if (err == 0) {
        pthread_mutex_lock(&t->lock);
        if (t->n == t->cap && t->cap < MOST_TOLD) {
            t->cap = t->cap == 0 ? 64 : 2 * t->cap;
            t->told = must(realloc(t->told, t->cap * sizeof(*t->told)));
        }
        if (t->n < t->cap) {
            t->told[t->n++] = sent->status;
        }
        pthread_mutex_unlock(&t->lock);
    }
    free(sent);
}

static int send_event(struct presence_teller *t, struct arena *arena,
                      const Chat__PresenceEvent *event, uint64_t key, bus_ack_fn ack, void *ack_arg)
{
    struct bus_message message = {
        .topic = TOPIC_EVENTS_PRESENCE, .key = {.a = key}, .partition = -1};

    message.value = pb_pack(event, arena, &message.len);
    return t->send(t->arg, &message, ack, ack_arg);
}

void presence_tell_statuses(struct presence_teller *t, struct arena *arena,
                            const struct presence_statuses *statuses)
{
    for (size_t i = 0; i < statuses->n; i++) {
        const struct presence_status *status = &statuses->items[i];
        Chat__PresenceEvent event = CHAT__PRESENCE_EVENT__INIT;
        Chat__UserStatus body = CHAT__USER_STATUS__INIT;
        struct sent *sent = must(malloc(sizeof(*sent)));

        body.user_id = status->user_id;
        body.online = status->online;
        body.last_seen_at = status->seen_at;
        body.version = status->version;
        event.what_case = CHAT__PRESENCE_EVENT__WHAT_STATUS;
        event.status = &body;
        *sent = (struct sent){.teller = t, .status = *status};
        if (send_event(t, arena, &event, status->user_id, on_ack, sent) != 0) {
            free(sent);
            metric_add(t->untaken, (int64_t)(statuses->n - i));
            log_warn("the bus takes no more presence events", "left=%zu", statuses->n - i);
            return;
        }
    }
}

void presence_tell_resend(struct presence_teller *t, struct arena *arena, const char *gateway,
                          uint64_t incarnation)
{
    Chat__PresenceEvent event = CHAT__PRESENCE_EVENT__INIT;
    Chat__ResendRequest body = CHAT__RESEND_REQUEST__INIT;

    body.gateway = pb_str(gateway);
    body.incarnation = incarnation;
    event.what_case = CHAT__PRESENCE_EVENT__WHAT_RESEND;
    event.resend = &body;
    if (send_event(t, arena, &event, 0, NULL, NULL) == 0) {
        metric_inc(t->resends);
        log_info("gateway is asked for all its users", "gateway=%s", LOG_Q(gateway));
    } else {
        metric_inc(t->untaken);
    }
}

void presence_teller_take_told(struct presence_teller *t, struct arena *arena,
                               struct presence_statuses *told_out)
{
    *told_out = (struct presence_statuses){0};
    pthread_mutex_lock(&t->lock);
    if (t->n > 0) {
        told_out->items = arena_memdup(arena, t->told, t->n * sizeof(*t->told));
        told_out->n = told_out->cap = t->n;
        t->n = 0;
    }
    pthread_mutex_unlock(&t->lock);
}

struct presence_teller *presence_teller_new(presence_send_fn send, void *arg)
{
    struct presence_teller *t = must(calloc(1, sizeof(*t)));

    t->send = send;
    t->arg = arg;
    t->resends = metrics_counter("chat_presence_resends_total",
                                 "Gateways asked to report all their users again.", NULL);
    t->untaken = metrics_counter("chat_presence_untaken_total",
                                 "Events that the bus did not take at once.", NULL);
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void presence_teller_free(struct presence_teller *t)
{
    if (t != NULL) {
        pthread_mutex_destroy(&t->lock);
        free(t->told);
        free(t);
    }
}
