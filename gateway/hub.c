// SPDX-License-Identifier: MIT
#include "gateway/hub.h"

#include <assert.h>
#include <stdlib.h>

#define NOWHERE UINT32_MAX

struct hub *hub_new(struct interest *interest, unsigned loop)
{
    struct hub *h = calloc(1, sizeof(*h));
    assert(h != NULL);
    h->interest = interest;
    h->loop = loop;
    map_init(&h->users);
    map_init(&h->groups);
    map_init(&h->deleted);
    return h;
}

void hub_free(struct hub *h)
{
    if (h != NULL) {
        map_done(&h->users);
        map_done(&h->groups);
        map_done(&h->deleted);
        free(h);
    }
}

struct hub_user *hub_find_user(const struct hub *h, uint64_t user_id)
{
    return map_get(&h->users, user_id, 0);
}

struct hub_group *hub_find_group(const struct hub *h, uint64_t group_id)
{
    struct hub_group *g = map_get(&h->groups, group_id, 0);
    return g != NULL && g->count > 0 ? g : NULL;
}

/* ---- Facts ---- */

static struct hub_member *find_fact(const struct hub_user *u, uint64_t group_id)
{
    if (!u->loaded) {
        return map_get(&u->facts, group_id, 0);
    }
    for (struct hub_member *m = u->members; m != NULL; m = m->next) {
        if (m->group->id == group_id) {
            return m;
        }
    }
    return NULL;
}

bool hub_is_member(const struct hub *h, uint64_t user_id, uint64_t group_id)
{
    const struct hub_user *u = hub_find_user(h, user_id);
    const struct hub_member *m = u != NULL ? find_fact(u, group_id) : NULL;
    return m != NULL && m->at != NOWHERE;
}

uint64_t hub_member_version(const struct hub *h, uint64_t user_id, uint64_t group_id)
{
    const struct hub_user *u = hub_find_user(h, user_id);
    const struct hub_member *m = u != NULL ? find_fact(u, group_id) : NULL;
    return m != NULL ? m->version : 0;
}

static struct hub_member *add_fact(struct hub *h, struct hub_user *u, uint64_t group_id)
{
    struct hub_group *g = map_get(&h->groups, group_id, 0);
    if (g == NULL) {
        g = calloc(1, sizeof(*g));
        assert(g != NULL);
        g->id = group_id;
        map_put(&h->groups, group_id, 0, g);
    }
    struct hub_member *m = calloc(1, sizeof(*m));
    assert(m != NULL);
    *m = (struct hub_member){.user = u, .group = g, .next = u->members, .at = NOWHERE};
    m->link = &u->members;
    if (m->next != NULL) {
        m->next->link = &m->next;
    }
    u->members = m;
    if (!u->loaded) {
        map_put(&u->facts, group_id, 0, m);
    }
    g->facts++;
    return m;
}

static void enter(struct hub *h, struct hub_member *m)
{
    struct hub_group *g = m->group;
    if (g->count == g->cap) {
        g->cap = g->cap == 0 ? 4 : g->cap * 2;
        g->members = realloc(g->members, g->cap * sizeof(*g->members));
        assert(g->members != NULL);
    }
    if (g->count == 0) {
        interest_add(h->interest, 0, g->id, h->loop);
    }
    m->at = g->count;
    g->members[g->count++] = m;
    m->user->group_count++;
}

static void leave(struct hub *h, struct hub_member *m)
{
    struct hub_group *g = m->group;
    struct hub_member *last = g->members[--g->count];
    g->members[m->at] = last;
    last->at = m->at;
    m->at = NOWHERE;
    m->user->group_count--;
    if (g->count == 0) {
        interest_remove(h->interest, 0, g->id, h->loop);
    }
}

static void drop_fact(struct hub *h, struct hub_member *m)
{
    struct hub_group *g = m->group;
    if (m->at != NOWHERE) {
        leave(h, m);
    }
    *m->link = m->next;
    if (m->next != NULL) {
        m->next->link = m->link;
    }
    free(m);
    if (--g->facts == 0) {
        map_del(&h->groups, g->id, 0);
        free(g->members);
        free(g);
    }
}

static bool is_deleted(const struct hub *h, uint64_t group_id, uint64_t version)
{
    return (uintptr_t)map_get(&h->deleted, group_id, 0) > version;
}

bool hub_set_member(struct hub *h, uint64_t user_id, uint64_t group_id, bool member,
                    uint64_t version)
{
    struct hub_user *u = hub_find_user(h, user_id);
    if (u == NULL || (member && is_deleted(h, group_id, version))) {
        return false;
    }
    struct hub_member *m = find_fact(u, group_id);
    if (m == NULL) {
        if (!member && u->loaded) {
            return false;
        }
        m = add_fact(h, u, group_id);
    } else if (m->version > version) {
        return false;
    }
    m->version = version;
    bool was = m->at != NOWHERE;
    if (member && !was) {
        enter(h, m);
    } else if (!member && was) {
        leave(h, m);
    }
    if (!member && u->loaded) {
        drop_fact(h, m);
    }
    return was != member;
}

void hub_set_history(struct hub *h, uint64_t user_id, uint64_t group_id, uint64_t version,
                     int64_t sees_from_ms)
{
    const struct hub_user *u = hub_find_user(h, user_id);
    struct hub_member *m = u != NULL ? find_fact(u, group_id) : NULL;
    if (m != NULL && m->version == version) {
        m->sees_from_ms = sees_from_ms;
    }
}

void hub_drop_group(struct hub *h, uint64_t group_id, uint64_t version)
{
    if (h->unloaded > 0 && !is_deleted(h, group_id, version)) {
        map_put(&h->deleted, group_id, 0, (void *)(uintptr_t)(version + 1));
    }
    struct hub_group *g = map_get(&h->groups, group_id, 0);
    /* From the end: leaving moves the last one into the gap. */
    for (uint32_t i = g != NULL ? g->count : 0; i-- > 0;) {
        uint64_t user_id = g->members[i]->user->id;
        bool last = g->facts == 1;
        hub_set_member(h, user_id, group_id, false, version);
        if (last) {
            return; /* the group may be gone */
        }
    }
}

static void add_unloaded(struct hub *h)
{
    if (h->unloaded++ == 0) {
        interest_add(h->interest, 0, 0, h->loop);
    }
}

static void remove_unloaded(struct hub *h)
{
    if (--h->unloaded == 0) {
        interest_remove(h->interest, 0, 0, h->loop);
        map_done(&h->deleted);
        map_init(&h->deleted);
    }
}

void hub_forget(struct hub *h)
{
    size_t cursor = 0;
    struct map_slot *s;
    while ((s = map_next(&h->users, &cursor)) != NULL) {
        struct hub_user *u = s->value;
        while (u->members != NULL) {
            drop_fact(h, u->members);
        }
        map_done(&u->facts);
        if (u->loaded) {
            add_unloaded(h);
        }
        u->loaded = u->loading = false;
        u->serial = ++h->serial;
    }
}

void hub_loaded(struct hub *h, struct hub_user *u)
{
    if (!u->loaded) {
        remove_unloaded(h);
    }
    u->loaded = true;
    map_done(&u->facts);
    struct hub_member *next;
    for (struct hub_member *m = u->members; m != NULL; m = next) {
        next = m->next;
        if (m->at == NOWHERE) {
            drop_fact(h, m);
        }
    }
}

/* ---- Sessions ---- */

struct hub_user *hub_join(struct hub *h, struct hub_entry *e, uint64_t user_id)
{
    struct hub_user *u = hub_find_user(h, user_id);
    if (u == NULL) {
        u = calloc(1, sizeof(*u));
        assert(u != NULL);
        u->id = user_id;
        u->serial = ++h->serial;
        map_init(&u->facts);
        map_put(&h->users, user_id, 0, u);
        interest_add(h->interest, user_id, 0, h->loop);
        add_unloaded(h);
    }
    e->user = u;
    e->next = u->sessions;
    e->link = &u->sessions;
    if (e->next != NULL) {
        e->next->link = &e->next;
    }
    u->sessions = e;
    u->session_count++;
    return u;
}

void hub_leave(struct hub *h, struct hub_entry *e, void (*release)(struct profile *))
{
    struct hub_user *u = e->user;
    *e->link = e->next;
    if (e->next != NULL) {
        e->next->link = e->link;
    }
    *e = (struct hub_entry){0};
    if (--u->session_count > 0) {
        return;
    }
    while (u->members != NULL) {
        drop_fact(h, u->members);
    }
    map_done(&u->facts);
    if (!u->loaded) {
        remove_unloaded(h);
    }
    map_del(&h->users, u->id, 0);
    interest_remove(h->interest, u->id, 0, h->loop);
    if (release != NULL && u->profile != NULL) {
        release(u->profile);
    }
    free(u);
}
