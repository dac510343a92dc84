// SPDX-License-Identifier: MIT
#include "gateway/reports.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/pb.h"
#include "gateway/interest.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define HEARTBEAT_S 5
#define PART_MAX 5000 /* users in one record */

struct reports {
    struct gateway *gw;
    uint64_t incarnation; /* grows with every start: the clock's ms */
    uint64_t name_key;
    int seconds;
    int64_t resent_ms;
};

struct reports *reports_new(struct gateway *gw)
{
    struct reports *r = calloc(1, sizeof(*r));
    assert(r != NULL);
    r->gw = gw;
    r->incarnation = (uint64_t)clock_now_ms();
    /* Stable over restarts, so that a gateway's reports stay in one partition. */
    r->name_key = 14695981039346656037u;
    for (const char *c = gw->instance; *c != '\0'; c++) {
        r->name_key = (r->name_key ^ (unsigned char)*c) * 1099511628211u;
    }
    return r;
}

static void send_report(struct reports *r, struct bus_key key, Chat__PresenceReport *report)
{
    struct arena *arena = arena_new(256);
    report->gateway = pb_str(r->gw->instance);
    report->incarnation = r->incarnation;
    struct bus_message message = {.topic = TOPIC_PRESENCE, .key = key, .partition = -1};
    message.value = pb_pack(report, arena, &message.len);
    if (bus_send(r->gw->bus, &message, NULL, NULL) != 0) {
        log_warn("presence report lost", " "); /* the lease, or a resend, mends it */
    }
    arena_free(arena);
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
    send_report(gw->reports, (struct bus_key){.a = user_id}, &report);
}

static void heartbeat(struct reports *r, bool leaving)
{
    Chat__Heartbeat beat = CHAT__HEARTBEAT__INIT;
    beat.connections = (uint64_t)atomic_load(&r->gw->sockets);
    beat.users = interest_users(r->gw->interest);
    beat.leaving = leaving;
    Chat__PresenceReport report = CHAT__PRESENCE_REPORT__INIT;
    report.what_case = CHAT__PRESENCE_REPORT__WHAT_HEARTBEAT;
    report.heartbeat = &beat;
    send_report(r, (struct bus_key){.a = r->name_key}, &report);
}

void reports_tick(struct reports *r)
{
    if (r->seconds++ % HEARTBEAT_S == 0) {
        heartbeat(r, false);
    }
}

void reports_leave(struct reports *r)
{
    heartbeat(r, true);
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
    size_t n;
    uint64_t *users = interest_list_users(r->gw->interest, &n);
    if (n > 0) {
        log_info("presence resent", "users=%zu", n);
    }
    for (size_t at = 0; at < n || at == 0; at += PART_MAX) {
        Chat__UserSet set = CHAT__USER_SET__INIT;
        set.user_ids = users + at;
        set.n_user_ids = n - at < PART_MAX ? n - at : PART_MAX;
        Chat__PresenceReport report = CHAT__PRESENCE_REPORT__INIT;
        report.what_case = CHAT__PRESENCE_REPORT__WHAT_ALL;
        report.all = &set;
        send_report(r, (struct bus_key){.a = r->name_key}, &report);
    }
    free(users);
}
