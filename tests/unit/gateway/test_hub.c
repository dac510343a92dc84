// SPDX-License-Identifier: MIT
/* The hub against a model: random joins, leaves, memberships and removals of all versions. */
#include "gateway/hub.h"

#include "common/err.h"
#include "tests/unit/test.h"

#define USERS 12
#define GROUPS 6
#define SESSIONS 40

/* xorshift64: the same steps each time. */
static uint64_t random_state;

static unsigned next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state >> 8);
}

static void presence(void *arg, uint64_t user_id, bool present)
{
    ((int *)arg)[user_id] += present ? 1 : -1;
}

struct fact {
    bool known, member;
    uint64_t version;
};

struct model {
    struct hub_entry entries[SESSIONS];
    uint64_t user_of[SESSIONS]; /* 0: not there */
    int sessions[USERS + 1];
    bool loaded[USERS + 1];
    struct fact facts[USERS + 1][GROUPS + 1];
    uint64_t deleted[GROUPS + 1]; /* version + 1, while a user is not loaded */
};

static void model_set(struct model *m, uint64_t user, uint64_t group, bool member, uint64_t version)
{
    struct fact *f = &m->facts[user][group];
    if (m->sessions[user] == 0 || (member && m->deleted[group] > version) ||
        (f->known && f->version > version) || (!f->known && !member && m->loaded[user])) {
        return;
    }
    *f = (struct fact){.known = member || !m->loaded[user], .member = member, .version = version};
}

static bool all_loaded(const struct model *m)
{
    for (uint64_t u = 1; u <= USERS; u++) {
        if (m->sessions[u] > 0 && !m->loaded[u]) {
            return false;
        }
    }
    return true;
}

static void compare(const struct model *m, const struct hub *h, struct interest *in)
{
    CHECK_INT(interest_of(in, 0, 0), all_loaded(m) ? 0 : 8);
    for (uint64_t g = 1; g <= GROUPS; g++) {
        uint32_t count = 0;
        for (uint64_t u = 1; u <= USERS; u++) {
            bool member = m->facts[u][g].known && m->facts[u][g].member;
            count += member;
            CHECK_INT(hub_is_member(h, u, g), member);
        }
        const struct hub_group *group = hub_find_group(h, g);
        CHECK_INT(group != NULL ? group->count : 0, count);
        CHECK_INT(interest_of(in, 0, g), count > 0 ? 8 : 0);
        for (uint32_t i = 0; i < count; i++) {
            CHECK_INT(group->members[i]->at, i);
        }
    }
    for (uint64_t u = 1; u <= USERS; u++) {
        const struct hub_user *user = hub_find_user(h, u);
        CHECK_INT(user != NULL ? user->session_count : 0, m->sessions[u]);
        CHECK_INT(interest_of(in, u, 0), m->sessions[u] > 0 ? 8 : 0);
        int listed = 0;
        for (const struct hub_entry *e = user != NULL ? user->sessions : NULL; e; e = e->next) {
            listed++;
        }
        CHECK_INT(listed, m->sessions[u]);
    }
}

static void step_session(struct model *m, struct hub *h, unsigned r)
{
    size_t s = r % SESSIONS;
    uint64_t u = m->user_of[s];
    if (u != 0) {
        hub_leave(h, &m->entries[s], NULL);
        m->user_of[s] = 0;
        if (--m->sessions[u] == 0) {
            memset(m->facts[u], 0, sizeof(m->facts[u]));
            m->loaded[u] = false;
        }
        return;
    }
    u = 1 + r / SESSIONS % USERS;
    hub_join(h, &m->entries[s], u);
    m->user_of[s] = u;
    m->sessions[u]++;
}

static void step(struct model *m, struct hub *h, unsigned kind, unsigned r)
{
    uint64_t u = 1 + r % USERS, g = 1 + r / USERS % GROUPS, version = 1 + r / 100 % 50;
    if (kind < 40) {
        step_session(m, h, r);
    } else if (kind < 90) {
        bool member = r / 7 % 3 != 0;
        model_set(m, u, g, member, version);
        hub_set_member(h, u, g, member, version);
    } else if (kind < 95) {
        struct hub_user *user = hub_find_user(h, u);
        if (user != NULL) {
            hub_loaded(h, user);
            m->loaded[u] = true;
            for (uint64_t i = 1; i <= GROUPS; i++) {
                m->facts[u][i].known = m->facts[u][i].known && m->facts[u][i].member;
            }
        }
    } else if (kind < 96 && r % 8 == 0) {
        memset(m->facts, 0, sizeof(m->facts));
        memset(m->loaded, 0, sizeof(m->loaded));
        hub_forget(h);
    } else {
        if (!all_loaded(m) && m->deleted[g] <= version) {
            m->deleted[g] = version + 1;
        }
        for (uint64_t i = 1; i <= USERS; i++) {
            if (m->facts[i][g].known && m->facts[i][g].member) {
                model_set(m, i, g, false, version);
            }
        }
        hub_drop_group(h, g, version);
    }
    if (all_loaded(m)) {
        memset(m->deleted, 0, sizeof(m->deleted));
    }
}

TEST(random_steps_against_a_model)
{
    int present[USERS + 1] = {0};
    for (unsigned seed = 1; seed <= 20; seed++) {
        struct interest *in = interest_new(presence, present);
        struct hub *h = hub_new(in, 3);
        struct model m = {0};
        random_state = seed;
        for (int i = 0; i < 2000; i++) {
            unsigned kind = next_random() % 100, r = next_random();
            step(&m, h, kind, r);
            if (i % 20 == 0) {
                compare(&m, h, in);
            }
        }
        for (size_t s = 0; s < SESSIONS; s++) {
            if (m.user_of[s] != 0) {
                step_session(&m, h, (unsigned)s);
            }
        }
        compare(&m, h, in);
        CHECK_INT(h->users.count, 0);
        CHECK_INT(h->groups.count, 0);
        hub_free(h);
        interest_free(in);
    }
}

TEST(a_removal_that_came_before_the_snapshot_stays)
{
    int present[3] = {0};
    struct interest *in = interest_new(presence, present);
    struct hub *h = hub_new(in, 0);
    struct hub_entry e;
    struct hub_user *u = hub_join(h, &e, 1);
    hub_set_member(h, 1, 5, false, 9); /* the event */
    hub_set_member(h, 1, 5, true, 7);  /* the older snapshot */
    hub_set_member(h, 1, 6, true, 3);
    CHECK(!hub_is_member(h, 1, 5));
    hub_loaded(h, u);
    CHECK(!hub_is_member(h, 1, 5));
    CHECK(hub_is_member(h, 1, 6));
    CHECK_INT(hub_member_version(h, 1, 6), 3);
    CHECK_INT(hub_member_version(h, 1, 5), 0);
    CHECK(hub_set_member(h, 1, 5, true, 10));
    CHECK(!hub_set_member(h, 2, 5, true, 10)); /* nobody here */
    hub_leave(h, &e, NULL);
    hub_free(h);
    interest_free(in);
}

TEST(a_deletion_that_came_before_the_snapshot_stays)
{
    int present[3] = {0};
    struct interest *in = interest_new(presence, present);
    struct hub *h = hub_new(in, 0);
    struct hub_entry e;
    struct hub_user *u = hub_join(h, &e, 1);
    CHECK_INT(interest_of(in, 0, 0), 1);
    hub_drop_group(h, 5, 9);
    CHECK(!hub_set_member(h, 1, 5, true, 7));
    CHECK(hub_set_member(h, 1, 6, true, 3));
    hub_loaded(h, u);
    CHECK_INT(interest_of(in, 0, 0), 0);
    CHECK(!hub_is_member(h, 1, 5));
    uint64_t serial = u->serial;
    hub_forget(h);
    CHECK(!u->loaded && u->serial != serial && !hub_is_member(h, 1, 6));
    hub_leave(h, &e, NULL);
    hub_free(h);
    interest_free(in);
}

static void is_one_and_two(void *arg, const uint64_t *users, size_t n)
{
    (void)arg;
    CHECK_INT(n, 2);
    CHECK_INT(users[0] + users[1], 3);
}

TEST(sockets_of_a_user_are_counted)
{
    int present[4] = {0};
    struct interest *in = interest_new(presence, present);
    CHECK_INT(interest_socket_opened(in, 1, 2), 0);
    CHECK_INT(present[1], 1);
    CHECK_INT(interest_socket_opened(in, 1, 2), 0);
    CHECK_INT(interest_socket_opened(in, 1, 2), ERR_RATE_LIMITED);
    CHECK_INT(interest_socket_opened(in, 2, 2), 0);
    CHECK_INT(present[1], 1);
    interest_show_users(in, is_one_and_two, in);
    interest_repeat(in, 1);
    CHECK_INT(present[1], 2);
    interest_repeat(in, 3);
    CHECK_INT(present[3], -1);
    present[1] = 1;
    interest_socket_closed(in, 1);
    CHECK_INT(present[1], 1);
    interest_socket_closed(in, 1);
    CHECK_INT(present[1], 0);
    CHECK_INT(interest_users(in), 1);
    interest_socket_closed(in, 2);
    interest_free(in);
}

TEST(conversations_and_pins)
{
    int present[3] = {0};
    bool pinned;
    struct interest *in = interest_new(presence, present);
    interest_add(in, 1, 0, 0);
    interest_add(in, 2, 0, 5);
    interest_add(in, 0, 1, 7); /* a group with a user's number */
    CHECK_INT(interest_of_conversation(in, 1, 2, &pinned), 1 | 32);
    CHECK(!pinned);
    CHECK_INT(interest_of_conversation(in, 1, 3, NULL), 1);
    CHECK_INT(interest_of_conversation(in, 0, 1, NULL), 128);
    CHECK_INT(interest_of_conversation(in, 3, 4, &pinned), 0);
    interest_pin(in, 3, 4);
    interest_pin(in, 3, 4);
    interest_unpin(in, 3, 4);
    CHECK_INT(interest_of_conversation(in, 3, 4, &pinned), 0);
    CHECK(pinned);
    interest_unpin(in, 3, 4);
    interest_of_conversation(in, 3, 4, &pinned);
    CHECK(!pinned);
    interest_free(in);
}

TEST(where_a_history_begins_follows_the_version)
{
    int present[3] = {0};
    struct interest *in = interest_new(presence, present);
    struct hub *h = hub_new(in, 0);
    struct hub_entry e;
    struct hub_user *u = hub_join(h, &e, 1);
    hub_set_member(h, 1, 5, true, 9);
    hub_set_history(h, 1, 5, 9, 1000);
    hub_loaded(h, u);
    const struct hub_group *g = hub_find_group(h, 5);
    CHECK_INT(g->members[0]->sees_from_ms, 1000);
    hub_set_member(h, 1, 5, true, 7);
    hub_set_history(h, 1, 5, 7, 500); /* older */
    CHECK_INT(g->members[0]->sees_from_ms, 1000);
    hub_set_member(h, 1, 5, true, 10);
    hub_set_history(h, 1, 5, 10, 0);
    CHECK_INT(g->members[0]->sees_from_ms, 0);
    hub_set_history(h, 1, 6, 10, 7); /* no member */
    hub_set_history(h, 2, 5, 10, 7); /* nobody */
    hub_leave(h, &e, NULL);
    hub_free(h);
    interest_free(in);
}
