// SPDX-License-Identifier: MIT
/*
 * The cache is a map and a clock hand (second chance) over a fixed ring: what was looked at since
 * the hand last passed stays. A reply never replaces a later version, and an event for a user who
 * is being asked for is kept even if he was not there: else the older reply would stay for ever.
 */
#include "gateway/profiles.h"

#include "common/err.h"
#include "common/map.h"
#include "common/metrics.h"
#include "common/pb.h"
#include "gateway/calls.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_MAX 32768
#define ASK_MAX 500 /* ids in one question */

struct cached {
    struct profile *profile;
    bool used;
};

struct profiles {
    pthread_mutex_t lock;
    struct map by_id; /* of struct cached, in ring */
    struct cached ring[CACHE_MAX];
    size_t count, hand;
    int asking; /* questions under way */
    struct metric *hits, *misses;
};

struct profiles_wait {
    profiles_fn fn; /* NULL: forgotten */
    void *arg;
    int pending; /* questions that it still waits for */
    int err;
};

/* One question: ids, and who waits for it. */
struct question {
    struct loop *loop;
    uint64_t ids[ASK_MAX];
    size_t count;
    struct map has;
    struct profiles_wait **waits;
    size_t wait_count, wait_cap;
    struct question *next;
};

struct profiles_batch {
    struct loop_task task;
    struct question *first, *last; /* of this turn */
};

struct profile *profile_keep(struct profile *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void profile_release(struct profile *p)
{
    if (p != NULL && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1) {
        free(p);
    }
}

static ProtobufCBinaryData put_text(char **at, ProtobufCBinaryData text)
{
    char *start = *at;
    if (text.len > 0) {
        memcpy(start, text.data, text.len);
    }
    start[text.len] = '\0';
    *at += text.len + 1;
    return pb_bytes(start, text.len);
}

struct profile *profile_new(const Chat__User *u)
{
    size_t size = u->username.len + u->nickname.len + u->avatar.len + u->bio.len + 4;
    struct profile *p = malloc(sizeof(*p) + size);
    assert(p != NULL);
    *p = (struct profile){.id = u->id,
                          .version = u->version,
                          .created_at = u->created_at,
                          .updated_at = u->updated_at};
    atomic_init(&p->refs, 1);
    char *at = p->text;
    p->username = put_text(&at, u->username);
    p->nickname = put_text(&at, u->nickname);
    p->avatar = put_text(&at, u->avatar);
    p->bio = put_text(&at, u->bio);
    return p;
}

struct profiles *profiles_new(void)
{
    struct profiles *ps = calloc(1, sizeof(*ps));
    assert(ps != NULL);
    pthread_mutex_init(&ps->lock, NULL);
    map_init(&ps->by_id);
    ps->hits = metrics_counter("chat_gateway_profile_hits_total", "Profiles found cached.", NULL);
    ps->misses = metrics_counter("chat_gateway_profile_misses_total", "Profiles asked for.", NULL);
    return ps;
}

struct profile *profiles_get(struct profiles *ps, uint64_t id)
{
    struct profile *p = NULL;
    pthread_mutex_lock(&ps->lock);
    struct cached *c = map_get(&ps->by_id, id, 0);
    if (c != NULL) {
        c->used = true;
        p = profile_keep(c->profile);
    }
    pthread_mutex_unlock(&ps->lock);
    return p;
}

/* With the lock held: a slot for a new profile. */
static struct cached *make_room(struct profiles *ps)
{
    if (ps->count < CACHE_MAX) {
        return &ps->ring[ps->count++];
    }
    for (;;) {
        struct cached *c = &ps->ring[ps->hand];
        ps->hand = (ps->hand + 1) % CACHE_MAX;
        if (!c->used) {
            map_del(&ps->by_id, c->profile->id, 0);
            profile_release(c->profile);
            return c;
        }
        c->used = false;
    }
}

/* With the lock held; takes over the reference. */
static void put(struct profiles *ps, struct profile *p)
{
    struct cached *c = map_get(&ps->by_id, p->id, 0);
    if (c == NULL) {
        c = make_room(ps);
        c->profile = p;
        c->used = true;
        map_put(&ps->by_id, p->id, 0, c);
    } else if (p->version >= c->profile->version) {
        profile_release(c->profile);
        c->profile = p;
    } else {
        profile_release(p);
    }
}

/* With the lock held. */
static bool is_wanted(const struct profiles *ps, uint64_t id)
{
    return ps->asking > 0 || map_get(&ps->by_id, id, 0) != NULL;
}

bool profiles_wants(struct profiles *ps, uint64_t id)
{
    pthread_mutex_lock(&ps->lock);
    bool wanted = is_wanted(ps, id);
    pthread_mutex_unlock(&ps->lock);
    return wanted;
}

void profiles_changed(struct profiles *ps, const Chat__User *user)
{
    pthread_mutex_lock(&ps->lock);
    if (is_wanted(ps, user->id)) {
        put(ps, profile_new(user));
    }
    pthread_mutex_unlock(&ps->lock);
}

void profiles_clear(struct profiles *ps)
{
    pthread_mutex_lock(&ps->lock);
    for (size_t i = 0; i < ps->count; i++) {
        profile_release(ps->ring[i].profile);
    }
    map_done(&ps->by_id);
    map_init(&ps->by_id);
    ps->count = ps->hand = 0;
    pthread_mutex_unlock(&ps->lock);
}

/* ---- Questions ---- */

static void question_free(struct question *q)
{
    map_done(&q->has);
    free(q->waits);
    free(q);
}

static struct question *question_new(struct loop *loop)
{
    struct question *q = calloc(1, sizeof(*q));
    assert(q != NULL);
    q->loop = loop;
    map_init(&q->has);
    return q;
}

static void answer_waits(struct question *q, int err)
{
    for (size_t i = 0; i < q->wait_count; i++) {
        struct profiles_wait *w = q->waits[i];
        w->err = err != 0 ? err : w->err;
        if (--w->pending == 0) {
            if (w->fn != NULL) {
                w->fn(w->arg, w->err);
            }
            free(w);
        }
    }
}

/* Who was asked for and is not in the answer does not exist: remembered as such, so that whoever
 * waits finds something. */
static void keep_answer(struct profiles *ps, struct question *q, const Chat__Profiles *answer)
{
    pthread_mutex_lock(&ps->lock);
    ps->asking--;
    for (size_t i = 0; answer != NULL && i < answer->n_users; i++) {
        map_del(&q->has, answer->users[i]->id, 0);
        put(ps, profile_new(answer->users[i]));
    }
    for (size_t i = 0; answer != NULL && i < answer->n_left_out_ids; i++) {
        map_del(&q->has, answer->left_out_ids[i], 0);
    }
    size_t cursor = 0;
    struct map_slot *s;
    while (answer != NULL && (s = map_next(&q->has, &cursor)) != NULL) {
        Chat__User nobody = CHAT__USER__INIT;
        nobody.id = s->a;
        put(ps, profile_new(&nobody));
    }
    pthread_mutex_unlock(&ps->lock);
}

static void ask(struct question *q);

static void ask_again(struct question *q, const Chat__Profiles *answer)
{
    q->count = answer->n_left_out_ids < q->count ? answer->n_left_out_ids : q->count - 1;
    map_done(&q->has);
    for (size_t i = 0; i < q->count; i++) {
        q->ids[i] = answer->left_out_ids[i];
        map_put(&q->has, q->ids[i], 0, q);
    }
    ask(q);
}

static void on_profiles(void *arg, const struct rpc_reply *reply)
{
    struct question *q = arg;
    struct loop *loop = q->loop; /* q may be gone at the end */
    struct profiles *ps = loop->gw->profiles;
    struct arena *arena = loop_arena(loop);
    int err = reply->err;
    Chat__Profiles *answer = NULL;
    if (err == 0) {
        answer = pb_unpack(&chat__profiles__descriptor, arena, reply->body, reply->len);
        err = answer == NULL ? ERR_INTERNAL : 0;
    }
    keep_answer(ps, q, answer);
    if (answer != NULL && answer->n_left_out_ids > 0 && q->count > 1) {
        ask_again(q, answer);
    } else {
        answer_waits(q, err == ERR_TIMEOUT ? ERR_TIMEOUT : err != 0 ? ERR_UNAVAILABLE : 0);
        question_free(q);
    }
    loop_arena_done(loop, arena);
}

static void ask(struct question *q)
{
    struct profiles *ps = q->loop->gw->profiles;
    Chat__GetProfilesRequest input = CHAT__GET_PROFILES_REQUEST__INIT;
    input.ids = q->ids;
    input.n_ids = q->count;
    struct rpc_call question = {
        .topic = TOPIC_RPC_AUTH, .method = "GetProfiles", .key = q->ids[0], .input = &input};
    pthread_mutex_lock(&ps->lock);
    ps->asking++;
    pthread_mutex_unlock(&ps->lock);
    metric_add(ps->misses, (int64_t)q->count);
    int err = calls_ask(q->loop, &question, on_profiles, q, NULL);
    if (err != 0) {
        keep_answer(ps, q, NULL);
        answer_waits(q, ERR_UNAVAILABLE);
        question_free(q);
    }
}

static void ask_all(struct loop *loop, struct loop_task *task)
{
    (void)loop;
    struct profiles_batch *b = (struct profiles_batch *)task;
    struct question *q = b->first;
    b->first = b->last = NULL;
    while (q != NULL) {
        struct question *next = q->next;
        ask(q);
        q = next;
    }
}

static void add_wait(struct question *q, struct profiles_wait *w)
{
    if (q->wait_count > 0 && q->waits[q->wait_count - 1] == w) {
        return;
    }
    if (q->wait_count == q->wait_cap) {
        q->wait_cap = q->wait_cap == 0 ? 8 : q->wait_cap * 2;
        q->waits = realloc(q->waits, q->wait_cap * sizeof(struct profiles_wait *));
        assert(q->waits != NULL);
    }
    q->waits[q->wait_count++] = w;
    w->pending++;
}

/* Puts the id into this turn's questions. */
static void want_one(struct loop *loop, uint64_t id, struct profiles_wait *w)
{
    struct profiles_batch *b = loop->profiles;
    for (struct question *q = b->first; q != NULL; q = q->next) {
        if (map_get(&q->has, id, 0) != NULL) {
            add_wait(q, w);
            return;
        }
    }
    if (b->last == NULL || b->last->count == ASK_MAX) {
        struct question *q = question_new(loop);
        if (b->last != NULL) {
            b->last->next = q;
        } else {
            b->first = q;
        }
        b->last = q;
    }
    b->last->ids[b->last->count++] = id;
    map_put(&b->last->has, id, 0, b);
    add_wait(b->last, w);
    loop_later(loop, &b->task);
}

bool profiles_want(struct loop *loop, const uint64_t *ids, size_t n, profiles_fn fn, void *arg,
                   struct profiles_wait **wait_out)
{
    struct profiles *ps = loop->gw->profiles;
    struct profiles_wait *w = NULL;
    for (size_t i = 0; i < n; i++) {
        struct profile *p = ids[i] != 0 ? profiles_get(ps, ids[i]) : NULL;
        bool known = p != NULL && p->version > 0;
        profile_release(p);
        if (ids[i] == 0 || known) {
            continue;
        }
        if (w == NULL) {
            w = calloc(1, sizeof(*w));
            assert(w != NULL);
            w->fn = fn;
            w->arg = arg;
        }
        want_one(loop, ids[i], w);
    }
    metric_add(ps->hits, w == NULL ? (int64_t)n : 0);
    *wait_out = w;
    return w == NULL;
}

void profiles_forget(struct profiles_wait *w)
{
    w->fn = NULL;
}

void profiles_loop_init(struct loop *loop)
{
    loop->profiles = calloc(1, sizeof(*loop->profiles));
    assert(loop->profiles != NULL);
    loop->profiles->task.run = ask_all;
}
