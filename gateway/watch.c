// SPDX-License-Identifier: MIT
#include "gateway/watch.h"

#include "common/map.h"
#include "gateway/interest.h"
#include "gateway/session.h"

#include <assert.h>
#include <stdlib.h>

/* Of a session: whom it follows. */
struct session_watch {
    uint64_t *ids;
    size_t count;
};

/* Of a user: who follows it here. */
struct followers {
    struct session **sessions;
    size_t count, cap;
};

bool watch_has(const struct session *s, uint64_t user_id)
{
    for (size_t i = 0; s->watch != NULL && i < s->watch->count; i++) {
        if (s->watch->ids[i] == user_id) {
            return true;
        }
    }
    return false;
}

static void follow(struct session *s, uint64_t id)
{
    struct loop *loop = s->loop;
    struct followers *f = map_get(&loop->watched, id, 0);
    if (f == NULL) {
        f = calloc(1, sizeof(*f));
        assert(f != NULL);
        map_put(&loop->watched, id, 0, f);
        interest_add(loop->gw->interest, id, INTEREST_WATCHED, loop->index);
    }
    if (f->count == f->cap) {
        f->cap = f->cap == 0 ? 2 : f->cap * 2;
        f->sessions = realloc(f->sessions, f->cap * sizeof(struct session *));
        assert(f->sessions != NULL);
    }
    f->sessions[f->count++] = s;
}

static void unfollow(struct session *s, uint64_t id)
{
    struct loop *loop = s->loop;
    struct followers *f = map_get(&loop->watched, id, 0);
    for (size_t i = 0; i < f->count; i++) {
        if (f->sessions[i] == s) {
            f->sessions[i] = f->sessions[--f->count];
            break;
        }
    }
    if (f->count == 0) {
        map_del(&loop->watched, id, 0);
        interest_remove(loop->gw->interest, id, INTEREST_WATCHED, loop->index);
        free(f->sessions);
        free(f);
    }
}

bool watch_add(struct session *s, const uint64_t *ids, size_t n)
{
    size_t have = s->watch != NULL ? s->watch->count : 0, fresh = 0;
    for (size_t i = 0; i < n; i++) {
        fresh += !watch_has(s, ids[i]);
    }
    if (have + fresh > WATCH_MAX) {
        return false;
    }
    if (fresh == 0) {
        return true;
    }
    if (s->watch == NULL) {
        s->watch = calloc(1, sizeof(*s->watch));
        assert(s->watch != NULL);
    }
    s->watch->ids = realloc(s->watch->ids, (have + fresh) * sizeof(uint64_t));
    assert(s->watch->ids != NULL);
    for (size_t i = 0; i < n; i++) {
        if (!watch_has(s, ids[i])) {
            s->watch->ids[s->watch->count++] = ids[i];
            follow(s, ids[i]);
        }
    }
    return true;
}

void watch_drop(struct session *s)
{
    if (s->watch == NULL) {
        return;
    }
    for (size_t i = 0; i < s->watch->count; i++) {
        unfollow(s, s->watch->ids[i]);
    }
    free(s->watch->ids);
    free(s->watch);
    s->watch = NULL;
}

void watch_each(struct loop *loop, uint64_t user_id, void (*fn)(void *, struct session *),
                void *arg)
{
    const struct followers *f = map_get(&loop->watched, user_id, 0);
    for (size_t i = 0; f != NULL && i < f->count; i++) {
        fn(arg, f->sessions[i]);
    }
}
