// SPDX-License-Identifier: MIT
/*
 * A push is one allocation per loop; the frame in it is shared by all loops and all their sockets,
 * but for that of the sockets without the subprotocol: there are few, each loop makes its own.
 * Typing and presence are dropped when a loop has much under way; messages never are.
 */
#include "gateway/push.h"

#include "common/metrics.h"
#include "common/pb.h"
#include "gateway/compose.h"
#include "gateway/envelope.h"
#include "gateway/hub.h"
#include "gateway/loop.h"
#include "gateway/online.h"
#include "gateway/pbjson.h"
#include "gateway/profiles.h"
#include "gateway/session.h"
#include "gateway/watch.h"
#include "gateway/ws.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE "message"
#define SHED_AT (4 * 1024 * 1024) /* bytes under way to a loop: the unimportant is dropped */

struct push {
    struct loop_post post;   /* first */
    struct frame *v1, *bare; /* bare: made when the first socket needs it */
    uint32_t bare_len;       /* of the content in v1 that bare is; 0: v1 is for all */
    uint64_t a, b;           /* key of the conversation, or group and user, or user and session */
    uint64_t version;
    uint64_t except; /* a user who does not get it */
    uint64_t only;   /* the one user who gets it; 0: all */
    /* Of a changed message, when it was written: who joined later never saw it. Of a membership,
     * from when on its messages are seen. 0: no matter. */
    int64_t since_ms;
    bool member, deleted, all;
    struct profile *profile;
    int64_t last_seen_ms;
    bool online;
};

static struct push *push_new(void (*run)(struct loop *, struct loop_post *), struct frame *v1)
{
    struct push *p = calloc(1, sizeof(*p));
    assert(p != NULL);
    p->post.run = run;
    p->post.weight = sizeof(*p) + (v1 != NULL ? v1->len : 0);
    p->v1 = v1;
    return p;
}

static void push_free(struct push *p)
{
    frame_release(p->v1);
    frame_release(p->bare);
    profile_release(p->profile);
    free(p);
}

/* A copy for each loop; takes the push over. */
static void push_send(struct gateway *gw, uint64_t loops, struct push *p, bool may_drop)
{
    for (unsigned i = 0; i < gw->loop_count; i++) {
        struct loop *loop = gw->loops[i];
        if ((loops >> i & 1) == 0 || loop == NULL ||
            (may_drop && atomic_load(&loop->backlog) > SHED_AT)) {
            continue;
        }
        struct push *copy = malloc(sizeof(*copy));
        assert(copy != NULL);
        *copy = *p;
        if (copy->v1 != NULL) {
            frame_keep(copy->v1);
        }
        if (copy->profile != NULL) {
            profile_keep(copy->profile);
        }
        loop_post(loop, &copy->post);
    }
    push_free(p);
}

/* ---- On the loop ---- */

static int64_t to_user(const struct hub_user *u, struct push *p)
{
    int64_t n = 0;
    for (struct hub_entry *e = u != NULL ? u->sessions : NULL; e != NULL; e = e->next) {
        if (!session_of(e)->v1 && p->bare == NULL && p->bare_len > 0) {
            p->bare = envelope_content(p->v1, MESSAGE, p->bare_len);
        }
        n += session_push(session_of(e), p->v1, p->bare);
    }
    return n;
}

static int64_t to_group(const struct hub_group *g, struct push *p)
{
    int64_t n = 0;
    for (uint32_t i = 0; g != NULL && i < g->count; i++) {
        bool unseen = p->a == 0 && p->since_ms != 0 && p->since_ms < g->members[i]->sees_from_ms;
        if (g->members[i]->user->id != p->except && !unseen) {
            n += to_user(g->members[i]->user, p);
        }
    }
    return n;
}

static void run_conversation(struct loop *loop, struct loop_post *post)
{
    struct push *p = (struct push *)post;
    int64_t n = 0;
    if (p->only != 0) {
        n = to_user(hub_find_user(loop->hub, p->only), p);
    } else if (p->a == 0) {
        n = to_group(hub_find_group(loop->hub, p->b), p);
    } else {
        n += p->a != p->except ? to_user(hub_find_user(loop->hub, p->a), p) : 0;
        n += p->b != p->except && p->b != p->a ? to_user(hub_find_user(loop->hub, p->b), p) : 0;
    }
    metric_add(loop->gw->metrics.deliveries, n);
    push_free(p);
}

static void run_group(struct loop *loop, struct loop_post *post)
{
    struct push *p = (struct push *)post;
    int64_t n = 0;
    /* Who learned of it with the groups at the opening is not told again. */
    bool known = p->b != 0 && hub_member_version(loop->hub, p->b, p->a) >= p->version;
    p->except = known ? p->b : 0;
    if (p->b != 0 && p->member) {
        hub_set_member(loop->hub, p->b, p->a, true, p->version);
        hub_set_history(loop->hub, p->b, p->a, p->version, p->since_ms);
    }
    if (p->v1 != NULL) {
        n += to_group(hub_find_group(loop->hub, p->a), p);
        if (p->b != 0 && !known && !hub_is_member(loop->hub, p->b, p->a)) {
            n += to_user(hub_find_user(loop->hub, p->b), p); /* who was told "no" hears of it */
        }
    }
    if (p->b != 0 && !p->member) {
        hub_set_member(loop->hub, p->b, p->a, false, p->version);
    }
    if (p->deleted) {
        hub_drop_group(loop->hub, p->a, p->version);
    }
    metric_add(loop->gw->metrics.deliveries, n);
    push_free(p);
}

static void run_profile(struct loop *loop, struct loop_post *post)
{
    struct push *p = (struct push *)post;
    struct hub_user *u = hub_find_user(loop->hub, p->a);
    if (u != NULL && u->profile != NULL && u->profile->version <= p->profile->version) {
        profile_release(u->profile);
        u->profile = profile_keep(p->profile);
    }
    push_free(p);
}

static void run_session_end(struct loop *loop, struct loop_post *post)
{
    struct push *p = (struct push *)post;
    const struct hub_user *u = hub_find_user(loop->hub, p->a);
    for (struct hub_entry *e = u != NULL ? u->sessions : NULL; e != NULL; e = e->next) {
        if (session_of(e)->session_id == p->b) {
            ws_close(session_of(e), WSCLOSE_SESSION_ENDED, "session ended");
        }
    }
    push_free(p);
}

static void close_one(void *arg, struct session *s)
{
    (void)arg;
    ws_close(s, WSCLOSE_AGAIN_LATER, "events were missed");
}

static void run_close_all(struct loop *loop, struct loop_post *post)
{
    ws_each(loop, close_one, NULL);
    hub_forget(loop->hub);
    push_free((struct push *)post);
}

/* ---- Presence: the name is looked up on the loop, then the frame is made, unless the status has
 * changed again meanwhile: that one's frame may be out already ---- */

struct status {
    struct loop *loop;
    struct push *push;
};

static void tell_follower(void *arg, struct session *s)
{
    session_push(s, ((struct push *)arg)->v1, NULL);
}

static void tell_bare(void *arg, struct session *s)
{
    const struct push *p = arg;
    if (!s->v1 && !watch_has(s, p->a)) {
        session_push(s, p->v1, NULL);
    }
}

static void tell_status(struct loop *loop, struct push *p)
{
    struct profile *profile = profiles_get(loop->gw->profiles, p->a);
    struct buf text;
    buf_init(&text);
    buf_printf(&text, "{\"user_id\":%llu,\"username\":", (unsigned long long)p->a);
    pbjson_print_string(&text, profile != NULL ? (const char *)profile->username.data : "",
                        profile != NULL ? profile->username.len : 0);
    buf_printf(&text, ",\"status\":\"%s\",\"last_seen_at\":", p->online ? "online" : "offline");
    envelope_add_time(&text, p->last_seen_ms);
    buf_add_char(&text, '}');
    p->v1 = envelope_frame("user_status", text.data, text.len, NULL);
    buf_done(&text);
    profile_release(profile);
    watch_each(loop, p->a, tell_follower, p);
    if (p->all) {
        ws_each(loop, tell_bare, p);
    }
}

static void status_now(struct status *st)
{
    if (online_has(st->loop->gw->online, st->push->a) == st->push->online) {
        tell_status(st->loop, st->push);
    }
    push_free(st->push);
    free(st);
}

static void on_status_profile(void *arg, int err)
{
    (void)err; /* without a name then */
    status_now(arg);
}

static void run_status(struct loop *loop, struct loop_post *post)
{
    struct status *st = malloc(sizeof(*st));
    assert(st != NULL);
    *st = (struct status){.loop = loop, .push = (struct push *)post};
    struct profiles_wait *unused;
    if (profiles_want(loop, &st->push->a, 1, on_status_profile, st, &unused)) {
        status_now(st);
    }
}

/* ---- On the bus thread ---- */

void push_message(struct gateway *gw, uint64_t loops, struct bus_key key, Chat__Message *m,
                  bool edited, struct arena *arena)
{
    if (m->sender->username.len == 0) {
        struct profile *p = profiles_get(gw->profiles, m->sender_id);
        if (p != NULL) {
            compose_sender(m->sender, p, false, arena);
            profile_release(p);
        }
    }
    m->sender->online = online_has(gw->online, m->sender_id);
    struct push *p;
    if (edited) {
        Chat__MessageReply content = CHAT__MESSAGE_REPLY__INIT;
        content.message = m;
        p = push_new(run_conversation, envelope_frame_message("message_edited", &content));
        p->since_ms = m->created_at;
    } else {
        struct buf text;
        buf_init(&text);
        pbjson_print(m, &text);
        p = push_new(run_conversation, envelope_frame(MESSAGE, text.data, text.len, NULL));
        p->bare_len = (uint32_t)text.len;
        buf_done(&text);
    }
    p->a = key.a;
    p->b = key.b;
    push_send(gw, loops, p, false);
}

/* other: whom the receiver names the conversation by; 0: the group. */
static void send_recalled(struct gateway *gw, uint64_t loops, struct bus_key key, uint64_t only,
                          uint64_t other, int64_t written_ms, const Chat__MessageRecalled *recalled)
{
    Chat__MessageRecalled content = *recalled;
    char name[32];
    snprintf(name, sizeof(name), "%c:%llu", other != 0 ? 'u' : 'g',
             (unsigned long long)(other != 0 ? other : key.b));
    content.key = pb_str(name);
    struct push *p =
        push_new(run_conversation, envelope_frame_message("message_recalled", &content));
    p->a = key.a;
    p->b = key.b;
    p->only = only;
    p->since_ms = written_ms;
    push_send(gw, loops, p, false);
}

void push_recalled(struct gateway *gw, uint64_t loops, struct bus_key key, const Chat__Message *m,
                   uint64_t by)
{
    Chat__MessageRecalled content = CHAT__MESSAGE_RECALLED__INIT;
    content.message_id = m->id;
    content.seq = m->seq;
    content.rev = m->rev;
    content.by = by;
    if (key.a == 0) {
        send_recalled(gw, loops, key, 0, 0, m->created_at, &content);
        return;
    }
    send_recalled(gw, loops, key, key.a, key.b, 0, &content);
    if (key.b != key.a) {
        send_recalled(gw, loops, key, key.b, key.a, 0, &content);
    }
}

static struct frame *group_frame(uint64_t user_id, const Chat__GroupEvent *e)
{
    if (e->change == CHAT__CHANGE__TYPE__NONE) {
        return NULL;
    }
    Chat__GroupChange told = CHAT__GROUP_CHANGE__INIT;
    told.change = e->change;
    told.group = e->group;
    told.user_id = user_id;
    told.by = e->by;
    if (e->member != NULL) {
        told.role = e->member->role;
        told.muted_until = e->member->muted_until;
    }
    return envelope_frame_message("group", &told);
}

void push_group(struct gateway *gw, uint64_t loops, uint64_t group_id, const Chat__GroupEvent *e)
{
    uint64_t user_id = e->member != NULL ? e->member->user_id : 0;
    struct push *p = push_new(run_group, group_frame(user_id, e));
    p->a = group_id;
    p->b = user_id;
    p->version = e->member != NULL ? e->member->version : e->group != NULL ? e->group->version : 0;
    p->member = e->member != NULL && e->member->role != CHAT__ROLE__TYPE__NONE;
    p->deleted = e->deleted;
    p->since_ms = e->member != NULL && !e->member->whole_history ? e->member->joined_at : 0;
    push_send(gw, loops, p, false);
}

void push_profile(struct gateway *gw, uint64_t loops, const Chat__User *user)
{
    struct push *p = push_new(run_profile, NULL);
    p->a = user->id;
    p->profile = profile_new(user);
    push_send(gw, loops, p, false);
}

void push_status(struct gateway *gw, uint64_t loops, const Chat__UserStatus *s, bool all)
{
    struct push *p = push_new(run_status, NULL);
    p->a = s->user_id;
    p->online = s->online;
    p->last_seen_ms = s->last_seen_at;
    p->all = all;
    push_send(gw, loops, p, true);
}

void push_typing(struct gateway *gw, uint64_t loops, const Chat__Signal *s)
{
    struct push *p = push_new(run_conversation, envelope_frame_message("typing", s));
    bool group = s->group_id != 0;
    uint64_t low = s->user_id < s->receiver_id ? s->user_id : s->receiver_id;
    p->a = group ? 0 : low;
    p->b = group ? s->group_id : s->user_id + s->receiver_id - low;
    p->except = s->user_id;
    push_send(gw, loops, p, true);
}

void push_session_end(struct gateway *gw, uint64_t loops, uint64_t user_id, uint64_t session_id)
{
    struct push *p = push_new(run_session_end, NULL);
    p->a = user_id;
    p->b = session_id;
    push_send(gw, loops, p, false);
}

void push_close_all(struct gateway *gw)
{
    push_send(gw, UINT64_MAX, push_new(run_close_all, NULL), false);
}
