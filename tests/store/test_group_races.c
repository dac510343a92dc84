// SPDX-License-Identifier: MIT
/*
 * Changes at the same time: versions and the outbox stay in one order, a request makes one group.
 */
#include "tests/store/group_test.h"

#include "tests/store/group_calls.h"
#include "tests/store/group_outbox.h"

enum { THREADS = 4, ROUNDS = 40, GROUPS = 2 };

struct worker {
    pthread_t thread;
    uint64_t user;
    uint64_t groups[GROUPS];
    uint64_t made;
    int err;
};

static void join_all(struct worker *workers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pthread_join(workers[i].thread, NULL);
    }
}

/* Joins, leaves, and every third time renames, in both groups by turns. */
static void *change_often(void *arg)
{
    struct worker *w = arg;
    struct client c = client_new();
    char name[40];

    for (int i = 0; i < ROUNDS; i++) {
        uint64_t group = w->groups[i % GROUPS];
        CHECK_INT(add(&c, w->user, group, w->user), 0);
        if (i % 3 == 0) {
            snprintf(name, sizeof(name), "name %d by %d", i, (int)w->user);
            CHECK_INT(rename_group(&c, ALICE, group, name), 0);
        }
        CHECK_INT(remove_member(&c, w->user, group, w->user), 0);
        arena_reset(c.arena);
    }
    client_free(&c);
    return NULL;
}

/* In the outbox each group's versions count from 1 without a gap or a step back. */
TEST(versions_in_order)
{
    struct client c = client_anew();
    struct worker workers[THREADS];
    uint64_t groups[GROUPS];
    struct told *told;

    for (size_t i = 0; i < GROUPS; i++) {
        groups[i] = must_create(&c, ALICE, "G", true);
    }
    for (size_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.user = 1000 + i, .groups = {groups[0], groups[1]}};
        pthread_create(&workers[i].thread, NULL, change_often, &workers[i]);
    }
    join_all(workers, THREADS);
    size_t n = read_outbox(&c, &told);
    CHECK_INT(n, 2 * GROUPS + THREADS * (2 * ROUNDS + (ROUNDS + 2) / 3));
    for (size_t k = 0; k < GROUPS; k++) {
        uint64_t version = 0;
        for (size_t i = 0; i < n; i++) {
            const Chat__GroupEvent *event = told[i].event;
            if (told[i].key_a != groups[k]) {
                continue;
            }
            if (event->change != CHAT__CHANGE__TYPE__CREATED || event->member == NULL) {
                version++; /* a creation has two events */
            }
            CHECK_INT(event->group->version, version);
            CHECK(event->member == NULL || event->member->version == version);
        }
        struct group_row row = row_of(&c, groups[k]);
        CHECK_INT(row.version, version);
        CHECK_INT(row.member_count, 1);
    }
    client_free(&c);
}

static void *create_once(void *arg)
{
    struct worker *w = arg;
    struct client c = client_new();

    w->err = create(&c, w->user, "Once", false, "the-same-key", &w->made);
    client_free(&c);
    return NULL;
}

TEST(one_request_from_two_threads)
{
    struct client c = client_anew();
    struct told *told;
    size_t n = 0;

    for (uint64_t round = 0; round < 20; round++) {
        struct worker workers[2];
        for (size_t i = 0; i < 2; i++) {
            workers[i] = (struct worker){.user = 100 + round};
            pthread_create(&workers[i].thread, NULL, create_once, &workers[i]);
        }
        join_all(workers, 2);
        CHECK_INT(workers[0].err, 0);
        CHECK_INT(workers[1].err, 0);
        CHECK(workers[0].made > 0);
        CHECK_INT(workers[0].made, workers[1].made);
        n = read_outbox(&c, &told);
        CHECK_INT(n, 2 * (round + 1));
    }
    client_free(&c);
}

static void *join_once(void *arg)
{
    struct worker *w = arg;
    struct client c = client_new();

    w->err = add(&c, w->user, w->groups[0], w->user);
    client_free(&c);
    return NULL;
}

TEST(the_last_place)
{
    struct client c = client_anew();
    uint64_t id = must_create(&c, ALICE, "Small", true);
    struct worker workers[THREADS];
    int got = 0;

    settings.max_group_members = 3;
    for (size_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.user = 100 + i, .groups = {id}};
        pthread_create(&workers[i].thread, NULL, join_once, &workers[i]);
    }
    join_all(workers, THREADS);
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(workers[i].err == 0 || workers[i].err == ERR_CONFLICT);
        got += workers[i].err == 0;
    }
    CHECK_INT(got, 2);
    CHECK_INT(row_of(&c, id).member_count, 3);
    client_free(&c);
}

TEST(one_user_joins_once)
{
    struct client c = client_anew();
    uint64_t id = must_create(&c, ALICE, "Open", true);
    struct worker workers[THREADS];
    int got = 0;

    for (size_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.user = BOB, .groups = {id}};
        pthread_create(&workers[i].thread, NULL, join_once, &workers[i]);
    }
    join_all(workers, THREADS);
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(workers[i].err == 0 || workers[i].err == ERR_ALREADY_MEMBER);
        got += workers[i].err == 0;
    }
    CHECK_INT(got, 1);
    CHECK_INT(row_of(&c, id).member_count, 2);
    client_free(&c);
}
