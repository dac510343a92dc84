// SPDX-License-Identifier: MIT
/*
 * Joining, leaving, and the questions about memberships.
 */
#include "tests/store/group_test.h"

#include "tests/store/group_calls.h"
#include "tests/store/group_outbox.h"

/* ---- AddMember ---- */

static int mute(struct client *c, uint64_t by, uint64_t group, uint64_t user, int64_t until)
{
    Chat__UpdateMemberRequest in = CHAT__UPDATE_MEMBER_REQUEST__INIT;
    Chat__MemberReply out = CHAT__MEMBER_REPLY__INIT;

    in.id = group;
    in.user_id = user;
    in.muted_until_given_case = CHAT__UPDATE_MEMBER_REQUEST__MUTED_UNTIL_GIVEN_MUTED_UNTIL;
    in.muted_until = until;
    int err = call(c, by, group_update_member, &in, &out);
    if (err == 0) {
        CHECK_INT(out.member->muted_until, until);
        CHECK_INT(out.member->user->id, user);
    }
    return err;
}

TEST(who_may_add)
{
    struct client c = client_anew();
    uint64_t open = must_create(&c, ALICE, "Open", true);
    uint64_t hidden = must_create(&c, ALICE, "Hidden", false);

    CHECK_INT(add(&c, BOB, hidden, BOB), ERR_NOT_FOUND);
    CHECK_INT(add(&c, BOB, hidden, CAROL), ERR_NOT_FOUND);
    CHECK_INT(add(&c, BOB, open, CAROL), ERR_FORBIDDEN);
    CHECK_INT(add(&c, BOB, open, BOB), 0);
    CHECK_INT(add(&c, BOB, open, BOB), ERR_ALREADY_MEMBER);
    CHECK_INT(add(&c, BOB, open, CAROL), ERR_FORBIDDEN);
    CHECK_INT(add(&c, ALICE, hidden, BOB), 0);
    CHECK_INT(add(&c, ALICE, hidden, BOB), ERR_ALREADY_MEMBER);
    CHECK_INT(add(&c, BOB, hidden, CAROL), ERR_FORBIDDEN);
    make_admin(&c, hidden, BOB);
    CHECK_INT(add(&c, BOB, hidden, CAROL), 0);
    CHECK_INT(add(&c, ALICE, hidden, NOBODY), ERR_INVALID);
    CHECK_STR(bad_field(&c), "user_id");
    CHECK_INT(add(&c, ALICE, hidden, 0), ERR_INVALID);
    CHECK_STR(bad_field(&c), "user_id");
    CHECK_INT(add(&c, ALICE, hidden, UINT64_C(1) << 53), ERR_INVALID);
    CHECK_INT(add(&c, BOB, 999, 0), ERR_NOT_FOUND);
    CHECK_INT(add(&c, ALICE, hidden, AUTH_IS_DOWN), ERR_UNAVAILABLE);
    CHECK_INT(add(&c, AUTH_IS_DOWN, open, AUTH_IS_DOWN), 0); /* oneself needs no question */
    CHECK_INT(row_of(&c, hidden).member_count, 3);
    CHECK_INT(row_of(&c, open).member_count, 3);
    client_free(&c);
}

TEST(bounds)
{
    struct client c = client_anew();
    uint64_t id = must_create(&c, ALICE, "A", true), other = must_create(&c, BOB, "B", true), got;

    settings.max_group_members = 2;
    CHECK_INT(add(&c, ALICE, id, BOB), 0);
    CHECK_INT(add(&c, ALICE, id, CAROL), ERR_CONFLICT);
    CHECK_INT(remove_member(&c, BOB, id, BOB), 0);
    CHECK_INT(add(&c, ALICE, id, CAROL), 0);
    settings.max_groups_per_user = 1;
    CHECK_INT(add(&c, BOB, other, CAROL), ERR_CONFLICT);
    CHECK_INT(create(&c, CAROL, "C", false, "k", &got), ERR_CONFLICT);
    CHECK_INT(delete_group(&c, ALICE, id), 0); /* deleted ones don't count */
    CHECK_INT(add(&c, BOB, other, CAROL), 0);
    client_free(&c);
}

TEST(history_begins_by_how_it_was_when_joining)
{
    struct client c = client_anew();
    uint64_t open = must_create(&c, ALICE, "Open", true);
    uint64_t hidden = must_create(&c, ALICE, "Hidden", false);

    CHECK_INT(add(&c, BOB, open, BOB), 0);
    CHECK_INT(add(&c, ALICE, hidden, BOB), 0);
    CHECK(check_one(&c, open, BOB)->whole_history);
    CHECK(!check_one(&c, hidden, BOB)->whole_history);
    CHECK(check_one(&c, hidden, ALICE)->whole_history); /* it began with her */
    client_free(&c);
}

/* ---- RemoveMember ---- */

TEST(leave_and_kick)
{
    struct client c = client_anew();
    uint64_t open = must_create(&c, ALICE, "Open", true);
    uint64_t hidden = must_create(&c, ALICE, "Hidden", false);

    CHECK_INT(remove_member(&c, ALICE, open, ALICE), ERR_CONFLICT);
    CHECK_INT(remove_member(&c, BOB, open, BOB), ERR_FORBIDDEN);
    CHECK_INT(remove_member(&c, BOB, open, ALICE), ERR_FORBIDDEN);
    CHECK_INT(remove_member(&c, BOB, hidden, BOB), ERR_NOT_FOUND);
    CHECK_INT(remove_member(&c, BOB, hidden, ALICE), ERR_NOT_FOUND);
    CHECK_INT(remove_member(&c, ALICE, open, BOB), ERR_NOT_FOUND);
    CHECK_INT(remove_member(&c, ALICE, open, UINT64_MAX), ERR_NOT_FOUND);
    for (uint64_t user = BOB; user <= DAVE; user++) {
        CHECK_INT(add(&c, user, open, user), 0);
    }
    CHECK_INT(remove_member(&c, BOB, open, CAROL), ERR_FORBIDDEN);
    CHECK_INT(remove_member(&c, BOB, open, NOBODY), ERR_FORBIDDEN);
    make_admin(&c, open, BOB);
    CHECK_INT(remove_member(&c, BOB, open, ALICE), ERR_FORBIDDEN);
    CHECK_INT(remove_member(&c, BOB, open, CAROL), 0);
    make_admin(&c, open, DAVE);
    CHECK_INT(remove_member(&c, BOB, open, DAVE), ERR_FORBIDDEN);
    CHECK_INT(remove_member(&c, ALICE, open, DAVE), 0);
    CHECK_INT(remove_member(&c, BOB, open, BOB), 0);
    CHECK_INT(row_of(&c, open).member_count, 1);
    client_free(&c);
}

TEST(a_removal_keeps_its_row)
{
    struct client c = client_anew();
    uint64_t id = must_create(&c, ALICE, "Hidden", false);
    struct told *told;

    CHECK_INT(add(&c, ALICE, id, BOB), 0);
    make_admin(&c, id, BOB);
    CHECK_INT(mute(&c, ALICE, id, BOB, 777), 0);
    CHECK_INT(remove_member(&c, ALICE, id, BOB), 0);
    Chat__Membership *m = check_one(&c, id, BOB);
    CHECK_INT(m->role, CHAT__ROLE__TYPE__NONE);
    CHECK_INT(m->version, 5);
    CHECK_INT(m->muted_until, 0);
    CHECK_INT(check_one(&c, id, CAROL)->version, 0);
    size_t n = read_outbox(&c, &told);
    CHECK_INT(n, 6);
    CHECK_INT(told[2].event->change, CHAT__CHANGE__TYPE__JOINED);
    CHECK_INT(told[2].event->by, ALICE);
    CHECK_INT(told[2].key_b, BOB);
    CHECK_INT(told[2].partition_a, id);
    CHECK_INT(told[2].event->group->member_count, 2);
    CHECK_INT(told[2].event->group->version, 2);
    CHECK_INT(told[2].event->member->version, 2);
    CHECK_INT(told[3].event->change, CHAT__CHANGE__TYPE__ROLE);
    CHECK_INT(told[3].event->member->role, CHAT__ROLE__TYPE__ADMIN);
    CHECK_INT(told[4].event->change, CHAT__CHANGE__TYPE__MUTED);
    CHECK_INT(told[4].event->member->muted_until, 777);
    CHECK_INT(told[5].event->change, CHAT__CHANGE__TYPE__REMOVED);
    CHECK_INT(told[5].event->group->member_count, 1);
    CHECK_INT(told[5].event->member->role, CHAT__ROLE__TYPE__NONE);
    CHECK_INT(told[5].event->member->version, 5);

    CHECK_INT(add(&c, ALICE, id, BOB), 0); /* as a member again, but still muted */
    m = check_one(&c, id, BOB);
    CHECK_INT(m->role, CHAT__ROLE__TYPE__MEMBER);
    CHECK_INT(m->version, 6);
    CHECK_INT(m->muted_until, 777);
    CHECK_INT(remove_member(&c, BOB, id, BOB), 0);
    n = read_outbox(&c, &told);
    CHECK_INT(told[n - 1].event->change, CHAT__CHANGE__TYPE__LEFT);
    CHECK_INT(told[n - 1].event->by, BOB);
    client_free(&c);
}

/* ---- UpdateMember ---- */

TEST(roles_are_the_owners_to_give)
{
    struct client c = client_anew();
    uint64_t id = must_create(&c, ALICE, "Hidden", false);
    uint64_t open = must_create(&c, ALICE, "Open", true);

    CHECK_INT(add(&c, ALICE, id, BOB), 0);
    CHECK_INT(add(&c, ALICE, id, CAROL), 0);
    CHECK_INT(set_role(&c, BOB, id, CAROL, CHAT__ROLE__TYPE__ADMIN), ERR_FORBIDDEN);
    CHECK_INT(set_role(&c, BOB, id, BOB, CHAT__ROLE__TYPE__ADMIN), ERR_FORBIDDEN);
    CHECK_INT(set_role(&c, DAVE, id, CAROL, CHAT__ROLE__TYPE__ADMIN), ERR_NOT_FOUND);
    CHECK_INT(set_role(&c, DAVE, open, ALICE, CHAT__ROLE__TYPE__MEMBER), ERR_FORBIDDEN);
    CHECK_INT(set_role(&c, ALICE, id, DAVE, CHAT__ROLE__TYPE__ADMIN), ERR_NOT_FOUND);
    CHECK_INT(set_role(&c, ALICE, id, BOB, CHAT__ROLE__TYPE__NONE), ERR_INVALID);
    CHECK_INT(set_role(&c, ALICE, id, ALICE, CHAT__ROLE__TYPE__MEMBER), ERR_CONFLICT);
    CHECK_INT(set_role(&c, ALICE, id, BOB, CHAT__ROLE__TYPE__ADMIN), 0);
    uint64_t version = row_of(&c, id).version;
    CHECK_INT(set_role(&c, ALICE, id, BOB, CHAT__ROLE__TYPE__ADMIN), 0); /* nothing to write */
    CHECK_INT(set_role(&c, ALICE, id, ALICE, CHAT__ROLE__TYPE__OWNER), 0);
    CHECK_INT(row_of(&c, id).version, version);
    CHECK_INT(set_role(&c, BOB, id, CAROL, CHAT__ROLE__TYPE__ADMIN), ERR_FORBIDDEN);
    CHECK_INT(set_role(&c, ALICE, id, BOB, CHAT__ROLE__TYPE__MEMBER), 0);
    CHECK_INT(check_one(&c, id, BOB)->role, CHAT__ROLE__TYPE__MEMBER);
    client_free(&c);
}

TEST(a_group_is_given_away)
{
    struct client c = client_anew();
    uint64_t id = must_create(&c, ALICE, "Hidden", false);
    struct told *told;

    CHECK_INT(add(&c, ALICE, id, BOB), 0);
    CHECK_INT(mute(&c, ALICE, id, BOB, 777), 0);
    CHECK_INT(set_role(&c, ALICE, id, BOB, CHAT__ROLE__TYPE__OWNER), 0);
    CHECK_INT(row_of(&c, id).owner_id, BOB);
    CHECK_INT(check_one(&c, id, BOB)->role, CHAT__ROLE__TYPE__OWNER);
    CHECK_INT(check_one(&c, id, BOB)->muted_until, 0);
    CHECK_INT(check_one(&c, id, ALICE)->role, CHAT__ROLE__TYPE__ADMIN);
    size_t n = read_outbox(&c, &told);
    for (size_t i = n - 2; i < n; i++) {
        CHECK_INT(told[i].event->change, CHAT__CHANGE__TYPE__ROLE);
        CHECK_INT(told[i].event->by, ALICE);
        CHECK_INT(told[i].event->group->owner_id, BOB);
        CHECK_INT(told[i].event->member->version, 4);
    }
    CHECK_INT(told[n - 2].key_b, BOB);
    CHECK_INT(told[n - 1].key_b, ALICE);
    CHECK_INT(set_role(&c, ALICE, id, ALICE, CHAT__ROLE__TYPE__OWNER), ERR_FORBIDDEN);
    CHECK_INT(remove_member(&c, ALICE, id, ALICE), 0); /* the former owner may go */
    client_free(&c);
}

TEST(mutes_reach_those_below)
{
    struct client c = client_anew();
    uint64_t id = must_create(&c, ALICE, "Hidden", false);

    for (uint64_t user = BOB; user <= DAVE; user++) {
        CHECK_INT(add(&c, ALICE, id, user), 0);
    }
    make_admin(&c, id, BOB);
    make_admin(&c, id, CAROL);
    CHECK_INT(mute(&c, DAVE, id, BOB, 777), ERR_FORBIDDEN);
    CHECK_INT(mute(&c, BOB, id, CAROL, 777), ERR_FORBIDDEN);
    CHECK_INT(mute(&c, BOB, id, ALICE, 777), ERR_FORBIDDEN);
    CHECK_INT(mute(&c, BOB, id, BOB, 777), ERR_FORBIDDEN);
    CHECK_INT(mute(&c, BOB, id, DAVE, 777), 0);
    CHECK_INT(mute(&c, ALICE, id, CAROL, 888), 0);
    CHECK_INT(check_one(&c, id, DAVE)->muted_until, 777);
    CHECK_INT(check_one(&c, id, CAROL)->muted_until, 888);
    CHECK_INT(mute(&c, BOB, id, DAVE, 0), 0);
    CHECK_INT(check_one(&c, id, DAVE)->muted_until, 0);
    CHECK_INT(check_one(&c, id, DAVE)->role, CHAT__ROLE__TYPE__MEMBER);
    client_free(&c);
}

/* ---- CheckMembers, ListMemberships ---- */

TEST(check_many)
{
    struct client c = client_anew();
    uint64_t id = must_create(&c, ALICE, "A", false);
    Chat__CheckMembersRequest in = CHAT__CHECK_MEMBERS_REQUEST__INIT;
    Chat__CheckMembersReply out = CHAT__CHECK_MEMBERS_REPLY__INIT;
    Chat__Membership *pairs[1001];

    uint64_t shown = must_create(&c, ALICE, "B", true);
    CHECK_INT(add(&c, ALICE, id, BOB), 0);
    for (size_t i = 0; i < 1001; i++) {
        pairs[i] = pb_new(&chat__membership__descriptor, c.arena);
        pairs[i]->group_id = i == 7 ? UINT64_MAX : i == 9 ? shown : id;
        pairs[i]->user_id = i % 2 == 0 ? BOB : CAROL;
    }
    in.pairs = pairs;
    CHECK_INT(call(&c, 0, group_check_members, &in, &out), 0);
    CHECK_INT(out.n_members, 0);
    in.n_pairs = 1001;
    CHECK_INT(call(&c, 0, group_check_members, &in, &out), ERR_INVALID);
    in.n_pairs = 1000;
    CHECK_INT(call(&c, 0, group_check_members, &in, &out), 0);
    CHECK_INT(out.n_members, 1000);
    for (size_t i = 0; i < out.n_members; i++) {
        CHECK_INT(out.members[i]->role,
                  i % 2 == 0 ? CHAT__ROLE__TYPE__MEMBER : CHAT__ROLE__TYPE__NONE);
        CHECK(out.members[i]->group_id == pairs[i]->group_id);
        CHECK_INT(out.members[i]->user_id, pairs[i]->user_id);
        CHECK(out.members[i]->group_is_public == (i == 9));
    }
    client_free(&c);
}

static int memberships(struct client *c, const uint64_t (*of)[2], size_t n,
                       Chat__MembershipLists *out)
{
    Chat__ListMembershipsRequest in = CHAT__LIST_MEMBERSHIPS_REQUEST__INIT;

    in.n_of = n;
    in.of = arena_array(c->arena, n, sizeof(*in.of));
    for (size_t i = 0; i < n; i++) {
        in.of[i] = pb_new(&chat__list_memberships_request__of__descriptor, c->arena);
        in.of[i]->user_id = of[i][0];
        in.of[i]->after_group = of[i][1];
    }
    *out = (Chat__MembershipLists)CHAT__MEMBERSHIP_LISTS__INIT;
    return call(c, 0, group_list_memberships, &in, out);
}

TEST(memberships_of_several)
{
    struct client c = client_anew();
    uint64_t one = must_create(&c, ALICE, "1", true), two = must_create(&c, ALICE, "2", true);
    uint64_t three = must_create(&c, BOB, "3", true);
    Chat__MembershipLists out;

    CHECK_INT(add(&c, ALICE, three, ALICE), 0);
    CHECK_INT(add(&c, CAROL, three, CAROL), 0);
    CHECK_INT(remove_member(&c, CAROL, three, CAROL), 0);
    CHECK_INT(memberships(&c,
                          (const uint64_t[][2]){{CAROL, 0},
                                                {BOB, 0},
                                                {ALICE, 0},
                                                {ALICE, one},
                                                {ALICE, three},
                                                {ALICE, 0},
                                                {UINT64_MAX, 0}},
                          7, &out),
              0);
    CHECK_INT(out.n_of, 7);
    static const size_t counts[] = {0, 1, 3, 2, 0, 3, 0};
    for (size_t i = 0; i < out.n_of; i++) {
        CHECK_INT(out.of[i]->n_groups, counts[i]);
        CHECK(!out.of[i]->more);
    }
    CHECK_INT(out.of[2]->user_id, ALICE);
    CHECK_INT(out.of[2]->groups[1]->group_id, two);
    CHECK_INT(out.of[2]->groups[1]->role, CHAT__ROLE__TYPE__OWNER);
    CHECK_INT(out.of[2]->groups[2]->role, CHAT__ROLE__TYPE__MEMBER);
    CHECK_INT(out.of[2]->groups[2]->version, 2);
    CHECK_INT(out.of[3]->groups[0]->group_id, two);
    CHECK_INT(delete_group(&c, ALICE, two), 0);
    CHECK_INT(memberships(&c, (const uint64_t[][2]){{ALICE, 0}}, 1, &out), 0);
    CHECK_INT(out.of[0]->n_groups, 2);
    uint64_t many[501][2] = {0};
    CHECK_INT(memberships(&c, (const uint64_t(*)[2])many, 501, &out), ERR_INVALID);
    client_free(&c);
}

/* 30 users in 500 groups each do not fit into one reply: asking on brings all of them. */
TEST(memberships_by_pages)
{
    enum { USERS = 30, GROUPS = 500 };
    struct client c = client_anew();
    struct db_value *rows = calloc((size_t)USERS * GROUPS * 8, sizeof(*rows)), *at = rows;
    struct db_value *groups = calloc(GROUPS * 14, sizeof(*groups)), *g = groups;
    const int64_t big = (int64_t)GROUP_ID_MAX - 1000; /* ids as long as they get */

    for (int i = 0; i < GROUPS; i++) {
        struct db_value row[14] = {DB_I(big + i), DB_S("n"), DB_S("n"), DB_S(""),  DB_S(""),
                                   DB_I(0),       DB_I(1),   DB_I(i),   DB_S("k"), DB_I(USERS),
                                   DB_I(1),       DB_I(1),   DB_I(0),   DB_I(big)};
        memcpy(g, row, sizeof(row));
        g += 14;
        for (int u = 0; u < USERS; u++) {
            struct db_value member[8] = {
                DB_I(big + i),          DB_I(big + u),          DB_I(1), DB_I(1),
                DB_I(INT64_C(1) << 41), DB_I(INT64_C(1) << 41), DB_I(1), DB_I(big)};
            memcpy(at, member, sizeof(member));
            at += 8;
        }
    }
    CHECK_INT(db_begin(c.db), 0);
    CHECK_INT(db_insert(c.db,
                        "INSERT INTO chat_group (id, name, name_key, description, avatar, "
                        "visibility, owner_id, creator_id, request_key, member_count, created_at, "
                        "updated_at, deleted_at, version) VALUES",
                        14, groups, GROUPS, NULL),
              0);
    CHECK_INT(db_insert(c.db,
                        "INSERT INTO member (group_id, user_id, state, role, muted_until, "
                        "joined_at, whole_history, version) VALUES",
                        8, rows, (size_t)USERS * GROUPS, NULL),
              0);
    CHECK_INT(db_commit(c.db), 0);
    free(rows);
    free(groups);

    uint64_t of[USERS][2];
    size_t got[USERS] = {0}, left = USERS, asked = 0;
    for (size_t u = 0; u < USERS; u++) { /* in another order than theirs */
        of[u][0] = (uint64_t)big + (u * 7) % USERS;
        of[u][1] = 0;
    }
    for (; left > 0 && asked < 20; asked++) {
        Chat__MembershipLists out;
        CHECK_INT(memberships(&c, (const uint64_t(*)[2])of, left, &out), 0);
        CHECK(protobuf_c_message_get_packed_size(&out.base) < RPC_REPLY_MAX - 1024);
        size_t n = 0;
        for (size_t i = 0; i < out.n_of; i++) {
            const Chat__MembershipLists__Of *list = out.of[i];
            size_t user = list->user_id - (uint64_t)big;
            for (size_t k = 0; k < list->n_groups; k++) { /* each once, in order */
                CHECK_INT(list->groups[k]->group_id, (uint64_t)big + got[user] + k);
            }
            got[user] += list->n_groups;
            if (list->more) {
                of[n][0] = list->user_id;
                of[n][1] = list->n_groups > 0 ? list->groups[list->n_groups - 1]->group_id
                                              : of[i][1];
                n++;
            }
        }
        left = n;
    }
    CHECK_INT(asked, 2);
    for (size_t u = 0; u < USERS; u++) {
        CHECK_INT(got[u], GROUPS);
    }
    client_free(&c);
}
