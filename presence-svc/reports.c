// SPDX-License-Identifier: MIT
/*
 * A batch is sorted by gateway and incarnation; of each, first what it says of itself, then its
 * users in their order. (The order between gateways doesn't matter: a user is online while any has
 * them.) What cannot be read is logged and left out, since it would never become better.
 */
#include "presence-svc/reports.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/pb.h"
#include "proto/presence.pb-c.h"

#include <inttypes.h>
#include <string.h>

#define USER_MAX ((UINT64_C(1) << 53) - 1)

enum { MOST_NAME = 100, MOST_AT_ONCE = 10000 /* changes, within the store's time for a call */ };

struct part { /* of a batch: one gateway's */
    struct part *next;
    struct presence_report report;
    struct presence_change *changes;
    size_t n, cap;
};

struct sorter {
    struct arena *arena;
    struct part *first, **end;
    int64_t now_ms, lease_ms;
};

/* The name becomes a part of keys. */
static bool is_name(ProtobufCBinaryData name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] <= ' ' || name.data[i] > '~') {
            return false;
        }
    }
    return name.len > 0 && name.len <= MOST_NAME;
}

static struct part *part_of(struct sorter *s, const Chat__PresenceReport *in)
{
    for (struct part *p = s->first; p != NULL; p = p->next) {
        if (p->report.incarnation == in->incarnation && pb_equal(in->gateway, p->report.gateway)) {
            return p;
        }
    }
    struct part *p = arena_zalloc(s->arena, sizeof(*p));
    p->report.gateway = pb_cstr(s->arena, in->gateway);
    p->report.incarnation = in->incarnation;
    p->report.now_ms = s->now_ms;
    p->report.lease_ms = s->lease_ms;
    *s->end = p;
    s->end = &p->next;
    return p;
}

static void add_change(struct sorter *s, struct part *p, uint64_t user_id, bool present)
{
    if (user_id == 0 || user_id > USER_MAX) {
        log_warn("report of an impossible user", "gateway=%s", LOG_Q(p->report.gateway));
        return;
    }
    if (p->n == p->cap) {
        size_t cap = p->cap == 0 ? 16 : 2 * p->cap;
        struct presence_change *changes = arena_array(s->arena, cap, sizeof(*changes));
        if (p->n > 0) {
            memcpy(changes, p->changes, p->n * sizeof(*changes));
        }
        p->changes = changes;
        p->cap = cap;
    }
    p->changes[p->n++] = (struct presence_change){.user_id = user_id, .present = present};
}

static void sort_record(struct sorter *s, const struct bus_record *record)
{
    const Chat__PresenceReport *in =
        pb_unpack(&chat__presence_report__descriptor, s->arena, record->value, record->len);

    if (in == NULL || !is_name(in->gateway)) {
        log_warn("unreadable presence report", "partition=%d offset=%" PRId64, record->partition,
                 record->offset);
        return;
    }
    struct part *p = part_of(s, in);
    switch (in->what_case) {
    case CHAT__PRESENCE_REPORT__WHAT_CHANGE:
        add_change(s, p, in->change->user_id, in->change->present);
        break;
    case CHAT__PRESENCE_REPORT__WHAT_HEARTBEAT: /* the last of several */
        p->report.beat = true;
        p->report.leaving = in->heartbeat->leaving;
        p->report.connections = in->heartbeat->connections;
        p->report.users = in->heartbeat->users;
        break;
    case CHAT__PRESENCE_REPORT__WHAT_ALL:
        p->report.answered = true;
        for (size_t i = 0; i < in->all->n_user_ids; i++) {
            add_change(s, p, in->all->user_ids[i], true);
        }
        break;
    default: /* something that a later version says */
        break;
    }
}

static int apply(struct presence_worker *w, struct arena *arena, const struct part *p)
{
    int err = 0;

    for (size_t at = 0; at < p->n && err == 0; at += MOST_AT_ONCE) {
        struct presence_statuses changed;
        size_t n = p->n - at < MOST_AT_ONCE ? p->n - at : MOST_AT_ONCE;
        err = w->store->ops->apply(w->store, arena, &p->report, p->changes + at, n, &changed);
        if (err == 0) {
            metric_add(w->env->to_online, (int64_t)changed.n);
            presence_tell_statuses(w->env->teller, arena, &changed);
        }
    }
    return err;
}

static int run_part(struct presence_worker *w, struct arena *arena, const struct part *p)
{
    enum presence_standing standing;
    int err = w->store->ops->attend(w->store, arena, &p->report, &standing);

    if (err != 0) {
        return err;
    }
    if (standing == PRESENCE_OLDER) {
        log_debug("report of an older incarnation", "gateway=%s", LOG_Q(p->report.gateway));
        return 0;
    }
    err = apply(w, arena, p);
    if (err == 0 && standing == PRESENCE_INCOMPLETE) {
        presence_tell_resend(w->env->teller, arena, p->report.gateway, p->report.incarnation);
    }
    return err;
}

int presence_reports_run(struct presence_worker *worker, struct arena *arena,
                         struct bus_record *const *records, size_t n)
{
    struct sorter s = {
        .arena = arena,
        .now_ms = clock_now_ms(),
        .lease_ms = worker->env->settings->lease_seconds * 1000,
    };
    int err = 0;

    s.end = &s.first;
    for (size_t i = 0; i < n; i++) {
        sort_record(&s, records[i]);
    }
    for (const struct part *p = s.first; p != NULL && err == 0; p = p->next) {
        err = run_part(worker, arena, p);
    }
    return err;
}
