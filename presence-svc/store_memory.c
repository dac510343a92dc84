// SPDX-License-Identifier: MIT
/*
 * The store of standalone: one structure under one lock. It dies with the process, as do the only
 * gateway's sockets. The sweep walks all users, which a process of at most some 10,000 sockets can
 * afford.
 */
#include "presence-svc/store.h"

#include "common/map.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const int64_t seen_ms = INT64_C(90) * 24 * 3600 * 1000;

enum asked { NOT_ASKED, ASKED, COMPLETE };

struct user {
    uint64_t id;
    size_t gateways; /* that have sockets of theirs */
    bool online;
    int64_t leaving_since; /* 0: is not */
    int64_t untold_at;     /* last try; 0: told */
    int64_t seen_at;
    uint64_t version;
};

struct gateway {
    struct gateway *next;
    char *name;
    uint64_t incarnation; /* the newest */
    bool registered;
    enum asked asked;
    int64_t lease_until;
    uint64_t connections, users;
    struct map at; /* user -> struct user */
};

struct memory_store {
    struct presence_store base;
    pthread_mutex_t lock; /* guards all below */
    struct map users;
    struct gateway *gateways; /* never removed: their names are few */
};

static void *allocate(size_t size)
{
    void *p = calloc(1, size);

    if (p == NULL) {
        abort();
    }
    return p;
}

/* ---- With the lock held ---- */

static struct gateway *find_gateway(struct memory_store *m, const char *name)
{
    struct gateway *g = m->gateways;

    while (g != NULL && strcmp(g->name, name) != 0) {
        g = g->next;
    }
    if (g == NULL) {
        g = allocate(sizeof(*g));
        g->name = strdup(name);
        map_init(&g->at);
        g->next = m->gateways;
        m->gateways = g;
    }
    return g;
}

static struct user *find_user(struct memory_store *m, uint64_t id)
{
    struct user *u = map_get(&m->users, id, 0);

    if (u == NULL) {
        u = allocate(sizeof(*u));
        u->id = id;
        map_put(&m->users, id, 0, u);
    }
    return u;
}

static struct presence_status status_of(const struct user *u)
{
    return (struct presence_status){.user_id = u->id,
                                    .online = u->online,
                                    .seen_at = u->online ? 0 : u->seen_at,
                                    .version = u->version};
}

/* The user's status is another one now. */
static void turn(struct user *u, bool online, int64_t now_ms)
{
    u->online = online;
    u->version = (uint64_t)now_ms > u->version ? (uint64_t)now_ms : u->version + 1;
    u->untold_at = now_ms;
}

/* A gateway has let go of them. Of somebody never heard of it is told as well: it may have been
 * known to those who hear it. */
static void let_go(struct user *u, int64_t now_ms)
{
    if (u->gateways == 0 && u->leaving_since == 0 && (u->online || u->version == 0)) {
        u->leaving_since = now_ms;
    }
}

static void drop_users(struct gateway *g, int64_t now_ms)
{
    size_t cursor = 0;
    struct map_slot *slot;

    while ((slot = map_next(&g->at, &cursor)) != NULL) {
        struct user *u = slot->value;
        u->gateways--;
        let_go(u, now_ms);
    }
    map_done(&g->at);
    map_init(&g->at);
}

/* The gateway, if it is not of an older incarnation than known. */
static struct gateway *meet(struct memory_store *m, const struct presence_report *report)
{
    struct gateway *g = find_gateway(m, report->gateway);

    if (report->incarnation < g->incarnation) {
        return NULL;
    }
    if (report->incarnation > g->incarnation) {
        drop_users(g, report->now_ms);
        g->incarnation = report->incarnation;
        g->registered = false;
    }
    return g;
}

static enum presence_standing attend_locked(struct memory_store *m,
                                            const struct presence_report *report)
{
    struct gateway *g = meet(m, report);

    if (g == NULL) {
        return PRESENCE_OLDER;
    }
    if (!g->registered) {
        g->registered = true;
        g->asked = NOT_ASKED;
        g->lease_until = report->now_ms + report->lease_ms;
        g->connections = g->users = 0;
    } else if (report->answered && g->asked == ASKED) {
        g->asked = COMPLETE;
    }
    if (!report->beat) {
        return PRESENCE_KNOWN;
    }
    g->connections = report->connections;
    g->users = report->users;
    g->lease_until = report->leaving ? 0 : report->now_ms + report->lease_ms;
    if (report->leaving || g->asked == COMPLETE) {
        return PRESENCE_KNOWN;
    }
    g->asked = ASKED;
    return PRESENCE_INCOMPLETE;
}

static void apply_one(struct memory_store *m, struct gateway *g,
                      const struct presence_change *change, int64_t now_ms, struct arena *arena,
                      struct presence_statuses *changed)
{
    struct user *u = find_user(m, change->user_id);

    if (!change->present) {
        if (map_del(&g->at, u->id, 0) != NULL) {
            u->gateways--;
        }
        let_go(u, now_ms);
        return;
    }
    if (map_put(&g->at, u->id, 0, u) == NULL) {
        u->gateways++;
    }
    u->leaving_since = 0;
    if (!u->online) {
        turn(u, true, now_ms);
        presence_statuses_add(changed, arena, status_of(u));
    }
}

static void end_leases(struct memory_store *m, const struct presence_sweep *sweep,
                       struct presence_swept *swept)
{
    for (struct gateway *g = m->gateways; g != NULL; g = g->next) {
        if (g->registered && g->lease_until <= (sweep->expire ? sweep->now_ms : 0)) {
            drop_users(g, sweep->now_ms);
            g->registered = false;
            swept->ended++;
        }
    }
}

/* Returns whether the user is not worth to be remembered any more. */
static bool sweep_user(struct user *u, const struct presence_sweep *sweep, struct arena *arena,
                       struct presence_swept *swept)
{
    if (u->untold_at != 0 && u->untold_at <= sweep->now_ms - sweep->retell_ms) {
        u->untold_at = sweep->now_ms;
        presence_statuses_add(&swept->again, arena, status_of(u));
    }
    if (u->leaving_since != 0 && u->leaving_since <= sweep->now_ms - sweep->grace_ms) {
        u->seen_at = u->leaving_since;
        u->leaving_since = 0;
        turn(u, false, sweep->now_ms);
        presence_statuses_add(&swept->changed, arena, status_of(u));
    }
    swept->online += u->online;
    return !u->online && u->gateways == 0 && u->leaving_since == 0 &&
           u->seen_at < sweep->now_ms - seen_ms;
}

/* ---- The interface ---- */

static struct memory_store *lock(struct presence_store *store)
{
    struct memory_store *m = (struct memory_store *)store;

    pthread_mutex_lock(&m->lock);
    return m;
}

static void unlock(struct memory_store *m)
{
    pthread_mutex_unlock(&m->lock);
}

static int memory_attend(struct presence_store *store, struct arena *arena,
                         const struct presence_report *report, enum presence_standing *standing_out)
{
    struct memory_store *m = lock(store);

    (void)arena;
    *standing_out = attend_locked(m, report);
    unlock(m);
    return 0;
}

static int memory_apply(struct presence_store *store, struct arena *arena,
                        const struct presence_report *report, const struct presence_change *changes,
                        size_t n, struct presence_statuses *changed_out)
{
    struct memory_store *m = lock(store);
    struct gateway *g = meet(m, report);

    *changed_out = (struct presence_statuses){0};
    for (size_t i = 0; i < n && g != NULL; i++) {
        apply_one(m, g, &changes[i], report->now_ms, arena, changed_out);
    }
    unlock(m);
    return 0;
}

static int memory_sweep(struct presence_store *store, struct arena *arena,
                        const struct presence_sweep *sweep, struct presence_swept *swept_out)
{
    struct memory_store *m = lock(store);
    struct user *old = NULL;
    struct map_slot *slot;
    size_t cursor = 0;

    *swept_out = (struct presence_swept){0};
    end_leases(m, sweep, swept_out);
    while ((slot = map_next(&m->users, &cursor)) != NULL) {
        if (sweep_user(slot->value, sweep, arena, swept_out)) {
            old = slot->value; /* one a sweep is enough, and the map must not change here */
        }
    }
    if (old != NULL) {
        map_del(&m->users, old->id, 0);
        free(old);
    }
    unlock(m);
    return 0;
}

static int memory_told(struct presence_store *store, struct arena *arena,
                       const struct presence_status *statuses, size_t n)
{
    struct memory_store *m = lock(store);

    (void)arena;
    for (size_t i = 0; i < n; i++) {
        struct user *u = map_get(&m->users, statuses[i].user_id, 0);
        if (u != NULL && u->version == statuses[i].version) {
            u->untold_at = 0;
        }
    }
    unlock(m);
    return 0;
}

static int memory_get(struct presence_store *store, struct arena *arena,
                      struct presence_status *statuses, size_t n)
{
    struct memory_store *m = lock(store);

    (void)arena;
    for (size_t i = 0; i < n; i++) {
        const struct user *u = map_get(&m->users, statuses[i].user_id, 0);
        statuses[i] = u != NULL ? status_of(u)
                                : (struct presence_status){.user_id = statuses[i].user_id};
    }
    unlock(m);
    return 0;
}

static int by_user(const void *a, const void *b)
{
    uint64_t x = ((const struct presence_status *)a)->user_id;
    uint64_t y = ((const struct presence_status *)b)->user_id;

    return x < y ? -1 : x > y;
}

/* The cursor is the last user listed. */
static int memory_list(struct presence_store *store, struct arena *arena, uint64_t cursor,
                       size_t limit, struct presence_statuses *online_out, uint64_t *next_out)
{
    struct memory_store *m = lock(store);
    struct map_slot *slot;
    size_t at = 0;

    *online_out = (struct presence_statuses){0};
    while ((slot = map_next(&m->users, &at)) != NULL) {
        const struct user *u = slot->value;
        if (u->online && u->id > cursor) {
            presence_statuses_add(online_out, arena, status_of(u));
        }
    }
    unlock(m);
    if (online_out->n > 0) {
        qsort(online_out->items, online_out->n, sizeof(*online_out->items), by_user);
    }
    *next_out = 0;
    if (online_out->n > limit) {
        online_out->n = limit;
        *next_out = online_out->items[limit - 1].user_id;
    }
    return 0;
}

static int memory_gateways(struct presence_store *store, struct arena *arena,
                           struct presence_gateway **gateways_out, size_t *n_out)
{
    struct memory_store *m = lock(store);
    size_t n = 0;

    for (struct gateway *g = m->gateways; g != NULL; g = g->next) {
        n += g->registered;
    }
    *gateways_out = arena_array(arena, n, sizeof(**gateways_out));
    *n_out = 0;
    for (struct gateway *g = m->gateways; g != NULL; g = g->next) {
        if (g->registered) {
            (*gateways_out)[(*n_out)++] = (struct presence_gateway){
                .name = arena_strdup(arena, g->name),
                .incarnation = g->incarnation,
                .connections = g->connections,
                .users = g->users,
            };
        }
    }
    unlock(m);
    return 0;
}

static void memory_close(struct presence_store *store)
{
    struct memory_store *m = (struct memory_store *)store;
    struct map_slot *slot;
    size_t cursor = 0;

    if (m == NULL) {
        return;
    }
    while ((slot = map_next(&m->users, &cursor)) != NULL) {
        free(slot->value);
    }
    map_done(&m->users);
    while (m->gateways != NULL) {
        struct gateway *g = m->gateways;
        m->gateways = g->next;
        map_done(&g->at);
        free(g->name);
        free(g);
    }
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static const struct presence_store_ops memory_ops = {
    .attend = memory_attend,
    .apply = memory_apply,
    .sweep = memory_sweep,
    .told = memory_told,
    .get = memory_get,
    .list = memory_list,
    .gateways = memory_gateways,
    .close = memory_close,
};

struct presence_store *presence_store_memory_new(void)
{
    struct memory_store *m = allocate(sizeof(*m));

    m->base.ops = &memory_ops;
    pthread_mutex_init(&m->lock, NULL);
    map_init(&m->users);
    return &m->base;
}
