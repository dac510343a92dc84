// SPDX-License-Identifier: MIT
/*
 * Several instances at once, on both presence stores: each change is told by one of them.
 */
#include "tests/store/presence_test.h"

#include "tests/store/presence_calls.h"

struct sweeper {
    pthread_t thread;
    size_t changed, ended;
    unsigned char *seen; /* per user, of all threads */
};

static void *sweep_often(void *arg)
{
    struct sweeper *s = arg;
    struct presence_store *own = store_again();
    struct arena *a = arena_new(0);

    for (int i = 0; i < 20; i++) {
        struct presence_swept swept = sweep_with(own, a, T + LEASE + GRACE + i, true);
        s->changed += swept.changed.n;
        s->ended += swept.ended;
        for (size_t k = 0; k < swept.changed.n; k++) {
            __atomic_fetch_add(&s->seen[swept.changed.items[k].user_id], 1, __ATOMIC_RELAXED);
        }
        arena_reset(a);
    }
    arena_free(a);
    store_release(own);
    return NULL;
}

TEST(each_change_is_told_once)
{
    enum { N = 3000, THREADS = 4 };
    begin();
    struct sweeper sweepers[THREADS] = {0};
    unsigned char *seen = arena_zalloc(arena, N + 1);
    size_t changed = 0;
    for (uint64_t user = 1; user <= N; user++) {
        CHECK_INT(change("g", 1, T, user, true), 1);
        if (user > N / 2) {
            CHECK_INT(change("g", 1, T, user, false), 0);
        } /* the others go with their gateway */
    }
    struct presence_swept swept = sweep_with(store, arena, T + LEASE, true);
    CHECK_INT(swept.ended, 1);
    CHECK_INT(swept.changed.n, N / 2); /* who had left; the rest is for the threads */
    for (int i = 0; i < THREADS; i++) {
        sweepers[i].seen = seen;
        pthread_create(&sweepers[i].thread, NULL, sweep_often, &sweepers[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(sweepers[i].thread, NULL);
        changed += sweepers[i].changed;
    }
    CHECK_INT(changed, N / 2);
    for (uint64_t user = 1; user <= N; user++) {
        CHECK(seen[user] <= 1);
    }
    end();
}

struct coming {
    pthread_t thread;
    const char *gateway;
    size_t changed;
};

static void *come_in(void *arg)
{
    struct coming *c = arg;
    struct presence_store *own = store_again();
    struct arena *a = arena_new(0);
    struct presence_report report = report_of(c->gateway, 1, T);
    enum presence_standing standing;

    for (uint64_t user = 1; user <= 500; user++) {
        struct presence_change change = {.user_id = user, .present = true};
        struct presence_statuses changed;
        CHECK_INT(own->ops->attend(own, a, &report, &standing), 0);
        CHECK_INT(own->ops->apply(own, a, &report, &change, 1, &changed), 0);
        c->changed += changed.n;
        arena_reset(a);
    }
    arena_free(a);
    store_release(own);
    return NULL;
}

TEST(each_arrival_is_told_once)
{
    begin();
    struct coming comings[] = {{.gateway = "a"}, {.gateway = "b"}, {.gateway = "c"}};
    size_t changed = 0;
    for (int i = 0; i < 3; i++) {
        pthread_create(&comings[i].thread, NULL, come_in, &comings[i]);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(comings[i].thread, NULL);
        changed += comings[i].changed;
    }
    CHECK_INT(changed, 500);
    end();
}
