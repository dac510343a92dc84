// SPDX-License-Identifier: MIT
/*
 * What is last in a user's partition is the truth: all that is said of a user, in `change` or in
 * `all`, goes there, and is sent with interest's lock held, under which the user comes and goes.
 * (A new incarnation for each `all` would not spare that: it would have to come before every
 * later change in each partition, too.)
 *
 * Of whom a report was refused or given up, it is said again once a second how it is then: that of
 * a part of `all` is all of them again.
 */
#include "gateway/reports.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/map.h"
#include "common/pb.h"
#include "gateway/interest.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define HEARTBEAT_S 5
#define PART_MAX 5000 /* users in one record */
#define ALL_USERS 0   /* no user has this number */

struct reports {
    struct gateway *gw;
    uint64_t incarnation; /* grows with every start: the clock's ms */
    uint64_t name_key;
    int seconds;
    int64_t resent_ms;
    pthread_mutex_t lock; /* taken within interest's */
    struct map lost;      /* users of whom a report was lost, or ALL_USERS */
};

struct sent { /* a report under way */
    struct reports *reports;
    uint64_t user_id; /* or ALL_USERS: a part of all */
};

struct reports *reports_new(struct gateway *gw)
{
    struct reports *r = calloc(1, sizeof(*r));
    assert(r != NULL);
    r->gw = gw;
    pthread_mutex_init(&r->lock, NULL);
    map_init(&r->lost);
    r->incarnation = (uint64_t)clock_now_ms();
    /* Stable over restarts, so that a gateway's reports stay in one partition. */
    r->name_key = 14695981039346656037u;
    for (const char *c = gw->instance; *c != '\0'; c++) {
        r->name_key = (r->name_key ^ (unsigned char)*c) * 1099511628211u;
    }
    return r;
}

void reports_free(struct reports *r)
{
    if (r != NULL) {
        map_done(&r->lost);
        pthread_mutex_destroy(&r->lock);
        free(r);
    }
}

/* ---- Sending ---- */

static int send_report(struct reports *r, int32_t partition, uint64_t key,
                       Chat__PresenceReport *report, struct sent *sent, bus_ack_fn ack)
{
    struct arena *arena = arena_new(256);
    report->gateway = pb_str(r->gw->instance);
    report->incarnation = r->incarnation;
    struct bus_message message = {
        .topic = TOPIC_PRESENCE, .key = {.a = key}, .partition = partition};
    message.value = pb_pack(report, arena, &message.len);
    int err = bus_send(r->gw->bus, &message, ack, sent);
    arena_free(arena);
    return err;
}

static void on_ack(void *arg, int err)
{
    struct sent *sent = arg;
    struct reports *r = sent->reports;
    if (err != 0) {
        pthread_mutex_lock(&r->lock);
        map_put(&r->lost, sent->user_id, 0, r);
        pthread_mutex_unlock(&r->lock);
    }
    free(sent);
}

/* A report that is repeated until the bus has it. With interest's lock held. */
static void send_surely(struct reports *r, int32_t partition, uint64_t key,
                        Chat__PresenceReport *report, uint64_t user_id)
{
    struct sent *sent = malloc(sizeof(*sent));
    assert(sent != NULL);
    *sent = (struct sent){.reports = r, .user_id = user_id};
    int err = send_report(r, partition, key, report, sent, on_ack);
    if (err != 0) {
        on_ack(sent, err);
    }
}

void reports_change(void *arg, uint64_t user_id, bool present)
{
    struct gateway *gw = arg;
    Chat__UserPresent change = CHAT__USER_PRESENT__INIT;
    change.user_id = user_id;
    change.present = present;
    Chat__PresenceReport report = CHAT__PRESENCE_REPORT__INIT;
    report.what_case = CHAT__PRESENCE_REPORT__WHAT_CHANGE;
    report.change = &change;
    send_surely(gw->reports, -1, user_id, &report, user_id);
}

/* ---- All users ---- */

static void send_part(struct reports *r, int32_t partition, uint64_t *users, size_t n)
{
    Chat__UserSet set = CHAT__USER_SET__INIT;
    set.user_ids = users;
    set.n_user_ids = n;
    Chat__PresenceReport report = CHAT__PRESENCE_REPORT__INIT;
    report.what_case = CHAT__PRESENCE_REPORT__WHAT_ALL;
    report.all = &set;
    send_surely(r, partition, r->name_key, &report, ALL_USERS);
}

static void send_users(void *arg, const uint64_t *users, size_t n)
{
    struct reports *r = arg;
    size_t partitions = (size_t)bus_partitions(r->gw->bus, TOPIC_PRESENCE);
    uint64_t(*parts)[PART_MAX] = calloc(partitions, sizeof(*parts));
    size_t *fill = calloc(partitions, sizeof(*fill));
    assert(parts != NULL && fill != NULL);
    for (size_t i = 0; i < n; i++) {
        struct bus_key key = {.a = users[i]};
        int32_t p = bus_partition_of(r->gw->bus, TOPIC_PRESENCE, key);
        parts[p][fill[p]++] = users[i];
        if (fill[p] == PART_MAX) {
            send_part(r, p, parts[p], PART_MAX);
            fill[p] = 0;
        }
    }
    for (size_t p = 0; p < partitions; p++) {
        if (fill[p] > 0) {
            send_part(r, (int32_t)p, parts[p], fill[p]);
        }
    }
    if (n == 0) { /* an answer all the same */
        send_part(r, -1, NULL, 0);
    } else {
        log_info("presence resent", "users=%zu", n);
    }
    free(fill);
    free(parts);
}

void reports_resend(struct reports *r, const Chat__ResendRequest *request)
{
    size_t len = strlen(r->gw->instance);
    int64_t now = clock_mono_ms();
    bool mine = request->gateway.len == len &&
                memcmp(request->gateway.data, r->gw->instance, len) == 0 &&
                request->incarnation == r->incarnation;
    if (!mine || now - r->resent_ms < 1000) { /* every shard may ask at once */
        return;
    }
    r->resent_ms = now;
    interest_show_users(r->gw->interest, send_users, r);
}

static void tell_lost(struct reports *r)
{
    pthread_mutex_lock(&r->lock);
    struct map lost = r->lost;
    map_init(&r->lost);
    pthread_mutex_unlock(&r->lock);
    if (lost.count > 0) {
        log_warn("presence reports were lost, and are sent again", "reports=%zu", lost.count);
    }
    size_t cursor = 0;
    struct map_slot *s;
    while ((s = map_next(&lost, &cursor)) != NULL) {
        if (s->a == ALL_USERS) {
            interest_show_users(r->gw->interest, send_users, r);
        } else {
            interest_repeat(r->gw->interest, s->a);
        }
    }
    map_done(&lost);
}

/* ---- The gateway itself ---- */

static void heartbeat(struct reports *r, bool leaving)
{
    Chat__Heartbeat beat = CHAT__HEARTBEAT__INIT;
    beat.connections = (uint64_t)atomic_load(&r->gw->sockets);
    beat.users = interest_users(r->gw->interest);
    beat.leaving = leaving;
    Chat__PresenceReport report = CHAT__PRESENCE_REPORT__INIT;
    report.what_case = CHAT__PRESENCE_REPORT__WHAT_HEARTBEAT;
    report.heartbeat = &beat;
    if (send_report(r, -1, r->name_key, &report, NULL, NULL) != 0) {
        log_warn("heartbeat lost", " "); /* the next one comes, or the lease ends */
    }
}

void reports_tick(struct reports *r)
{
    tell_lost(r);
    if (r->seconds++ % HEARTBEAT_S == 0) {
        heartbeat(r, false);
    }
}

void reports_leave(struct reports *r)
{
    heartbeat(r, true);
}
