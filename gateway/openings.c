// SPDX-License-Identifier: MIT
/*
 * The user may be gone, or gone and back, when the answer comes: then its serial differs and the
 * answer, older than what the new one has begun to hear, is dropped.
 */
#include "gateway/openings.h"

#include "common/err.h"
#include "common/log.h"
#include "common/pb.h"
#include "gateway/calls.h"
#include "gateway/profiles.h"
#include "gateway/session.h"
#include "proto/group.pb-c.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ASK_MAX 500 /* users in one question */

struct opening {
    struct loop *loop;
    uint64_t user_id, serial;
    uint64_t after_group; /* where the next page begins */
    int pending;          /* profile, groups */
    int err;
    struct opening *next;
};

struct openings {
    struct loop_task task; /* first */
    struct opening *first, **tail;
    size_t count;
};

struct question {
    struct loop *loop;
    size_t count;
    struct opening *of[ASK_MAX];
};

static struct hub_user *user_of(const struct opening *o)
{
    struct hub_user *u = hub_find_user(o->loop->hub, o->user_id);
    return u != NULL && u->serial == o->serial ? u : NULL;
}

static void done(struct opening *o, int err)
{
    o->err = err != 0 ? err : o->err;
    if (--o->pending > 0) {
        return;
    }
    struct hub_user *u = user_of(o);
    if (u != NULL) {
        u->loading = false;
    }
    if (u != NULL && o->err == 0) {
        profile_release(u->profile);
        u->profile = profiles_get(o->loop->gw->profiles, u->id);
        o->err = u->profile == NULL ? ERR_UNAVAILABLE : 0;
    }
    if (u != NULL && o->err == 0) {
        hub_loaded(o->loop->hub, u);
        session_opened(u);
    } else if (u != NULL) {
        session_refused(u);
    }
    free(o);
}

static void on_profile(void *arg, int err)
{
    done(arg, err);
}

static void enqueue(struct opening *o)
{
    struct openings *os = o->loop->openings;
    o->next = NULL;
    *os->tail = o;
    os->tail = &o->next;
    os->count++;
    loop_later(o->loop, &os->task);
}

static void take_groups(struct opening *o, const Chat__MembershipLists__Of *of)
{
    if (user_of(o) == NULL) {
        done(o, ERR_UNAVAILABLE);
        return;
    }
    for (size_t i = 0; i < of->n_groups; i++) {
        const Chat__Membership *m = of->groups[i];
        hub_set_member(o->loop->hub, o->user_id, m->group_id, m->role != CHAT__ROLE__TYPE__NONE,
                       m->version);
        hub_set_history(o->loop->hub, o->user_id, m->group_id, m->version,
                        m->whole_history ? 0 : m->joined_at);
        o->after_group = m->group_id;
    }
    if (of->more) {
        enqueue(o);
    } else {
        done(o, 0);
    }
}

static void on_groups(void *arg, const struct rpc_reply *reply)
{
    struct question *q = arg;
    struct loop *loop = q->loop;
    struct arena *arena = loop_arena(loop);
    int err = reply->err;
    Chat__MembershipLists *lists = NULL;
    if (err == 0) {
        lists = pb_unpack(&chat__membership_lists__descriptor, arena, reply->body, reply->len);
        err = lists == NULL || lists->n_of != q->count ? ERR_INTERNAL : 0;
    }
    if (err != 0) {
        log_warn("groups of opening sockets are not known", "users=%zu code=%s", q->count,
                 err_code(err));
    }
    for (size_t i = 0; i < q->count; i++) {
        if (err != 0) {
            done(q->of[i], err);
        } else {
            take_groups(q->of[i], lists->of[i]);
        }
    }
    free(q);
    loop_arena_done(loop, arena);
}

static void ask(struct question *q)
{
    struct loop *loop = q->loop; /* q may be gone at the end */
    struct arena *arena = loop_arena(loop);
    Chat__ListMembershipsRequest input = CHAT__LIST_MEMBERSHIPS_REQUEST__INIT;
    input.n_of = q->count;
    input.of = arena_array(arena, q->count, sizeof(*input.of));
    for (size_t i = 0; i < q->count; i++) {
        input.of[i] = pb_new(&chat__list_memberships_request__of__descriptor, arena);
        input.of[i]->user_id = q->of[i]->user_id;
        input.of[i]->after_group = q->of[i]->after_group;
    }
    struct rpc_call call = {.topic = TOPIC_RPC_GROUP,
                            .method = "ListMemberships",
                            .key = q->of[0]->user_id,
                            .input = &input};
    int err = calls_ask(loop, &call, on_groups, q, NULL);
    if (err != 0) {
        struct rpc_reply refused = {.err = err};
        on_groups(q, &refused);
    }
    loop_arena_done(loop, arena);
}

static void ask_all(struct loop *loop, struct loop_task *task)
{
    struct openings *os = (struct openings *)task;
    struct opening *o = os->first;
    os->first = NULL;
    os->tail = &os->first;
    os->count = 0;
    while (o != NULL) {
        struct question *q = calloc(1, sizeof(*q));
        assert(q != NULL);
        q->loop = loop;
        for (; o != NULL && q->count < ASK_MAX; o = o->next) {
            q->of[q->count++] = o;
        }
        ask(q);
    }
}

void openings_add(struct loop *loop, struct hub_user *user)
{
    struct opening *o = calloc(1, sizeof(*o));
    assert(o != NULL);
    user->loading = true;
    *o = (struct opening){.loop = loop, .user_id = user->id, .serial = user->serial, .pending = 1};
    struct profiles_wait *unused;
    if (!profiles_want(loop, &user->id, 1, on_profile, o, &unused)) {
        o->pending++;
    }
    enqueue(o);
}

void openings_loop_init(struct loop *loop)
{
    struct openings *os = calloc(1, sizeof(*os));
    assert(os != NULL);
    os->task.run = ask_all;
    os->tail = &os->first;
    loop->openings = os;
}
