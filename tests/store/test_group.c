// SPDX-License-Identifier: MIT
/*
 * Every method of group-svc: what it gives, what it refuses, and what it tells.
 */
#include "tests/store/group_test.h"

#include "tests/store/group_calls.h"
#include "tests/store/group_outbox.h"

/* ---- CreateGroup ---- */

TEST(create_and_get)
{
    struct client c = client_anew();
    Chat__Group *g = NULL;
    uint64_t id = must_create(&c, ALICE, "Friends", false);

    CHECK_INT(get(&c, ALICE, id, &g), 0);
    CHECK(pb_equal(g->name, "Friends"));
    CHECK_INT(g->owner_id, ALICE);
    CHECK_INT(g->creator_id, ALICE);
    CHECK_INT(g->member_count, 1);
    CHECK_INT(g->my_role, CHAT__ROLE__TYPE__OWNER);
    CHECK_INT(g->visibility, CHAT__VISIBILITY__TYPE__PRIVATE);
    CHECK_INT(g->version, 1);
    CHECK(g->created_at > 0 && g->updated_at == g->created_at);
    CHECK_INT(g->n_members, 1);
    CHECK_INT(g->members[0]->role, CHAT__ROLE__TYPE__OWNER);
    CHECK_INT(g->members[0]->user->id, ALICE);

    struct told *told;
    CHECK_INT(read_outbox(&c, &told), 2); /* the group first: then nobody is in it yet */
    CHECK_INT(told[0].key_a, id);
    CHECK_INT(told[0].key_b, 0);
    CHECK_INT(told[0].partition_a, id);
    CHECK_INT(told[0].event->change, CHAT__CHANGE__TYPE__CREATED);
    CHECK(told[0].event->member == NULL);
    CHECK_INT(told[1].key_b, ALICE);
    CHECK_INT(told[1].event->change, CHAT__CHANGE__TYPE__CREATED);
    CHECK_INT(told[1].event->by, ALICE);
    CHECK_INT(told[1].event->member->role, CHAT__ROLE__TYPE__OWNER);
    CHECK(told[1].event->member->whole_history);
    CHECK_INT(told[1].event->member->version, 1);
    CHECK_INT(told[1].event->group->my_role, CHAT__ROLE__TYPE__NONE);
    client_free(&c);
}

TEST(create_again_with_the_same_key)
{
    struct client c = client_anew();
    uint64_t first = 0, again = 0, other = 0;
    struct told *told;

    CHECK_INT(create(&c, ALICE, "A", false, "key-1", &first), 0);
    CHECK_INT(create(&c, ALICE, "A", false, "key-1", &again), 0);
    CHECK_INT(again, first);
    CHECK_INT(create(&c, BOB, "A", false, "key-1", &other), 0); /* keys are each user's own */
    CHECK(other != first);
    CHECK_INT(create(&c, ALICE, "A", false, "KEY-1", &other), 0);
    CHECK(other != first);
    CHECK_INT(read_outbox(&c, &told), 6);
    CHECK_INT(delete_group(&c, ALICE, first), 0);
    CHECK_INT(create(&c, ALICE, "A", false, "key-1", &again), ERR_CONFLICT);
    client_free(&c);
}

TEST(create_refuses_bad_values)
{
    struct client c = client_anew();
    Chat__GroupReply out = CHAT__GROUP_REPLY__INIT;
    Chat__CreateGroupRequest in = CHAT__CREATE_GROUP_REQUEST__INIT;

    CHECK_INT(call(&c, ALICE, group_create, &in, &out), ERR_INVALID);
    CHECK_STR(bad_field(&c), "name");
    in.name = pb_str("a");
    in.description = pb_str("\x01");
    CHECK_INT(call(&c, ALICE, group_create, &in, &out), ERR_INVALID);
    CHECK_STR(bad_field(&c), "description");
    in.description = pb_str("two\nlines");
    in.avatar = pb_str("javascript:alert(1)");
    CHECK_INT(call(&c, ALICE, group_create, &in, &out), ERR_INVALID);
    CHECK_STR(bad_field(&c), "avatar");
    in.avatar = pb_str("");
    in.visibility = (Chat__Visibility__Type)7;
    CHECK_INT(call(&c, ALICE, group_create, &in, &out), ERR_INVALID);
    CHECK_STR(bad_field(&c), "visibility");
    in.visibility = CHAT__VISIBILITY__TYPE__PUBLIC;
    in.request_key = pb_str("a b");
    CHECK_INT(call(&c, ALICE, group_create, &in, &out), ERR_INVALID);
    CHECK_STR(bad_field(&c), "request_key");
    in.request_key = pb_str("");
    in.name = pb_str("");
    in.avatar = pb_str("\n");
    CHECK_INT(call(&c, ALICE, group_create, &in, &out), ERR_INVALID);
    CHECK_INT(c.rq.error_count, 2); /* all at once */
    in.name = pb_str("\xf0\x9f\x98\x80 \xe4\xbd\xa0\xe5\xa5\xbd");
    in.avatar = pb_str("");
    CHECK_INT(call(&c, 0, group_create, &in, &out), ERR_UNAUTHENTICATED);
    CHECK_INT(call(&c, ALICE, group_create, &in, &out), 0);
    CHECK_STR(row_of(&c, out.group->id).name, "\xf0\x9f\x98\x80 \xe4\xbd\xa0\xe5\xa5\xbd");
    client_free(&c);
}

/* ---- Seeing ---- */

TEST(who_sees_a_group)
{
    struct client c = client_anew();
    uint64_t hidden = must_create(&c, ALICE, "Hidden", false);
    uint64_t open = must_create(&c, ALICE, "Open", true);
    Chat__Group *g = NULL;

    CHECK_INT(get(&c, BOB, hidden, &g), ERR_NOT_FOUND);
    CHECK_INT(get(&c, BOB, 999, &g), ERR_NOT_FOUND);
    CHECK_INT(get(&c, BOB, UINT64_MAX, &g), ERR_NOT_FOUND);
    CHECK_INT(get(&c, BOB, open, &g), 0);
    CHECK_INT(g->my_role, CHAT__ROLE__TYPE__NONE);
    CHECK_INT(g->n_members, 0); /* who is in it only members see */
    CHECK_INT(add(&c, ALICE, hidden, BOB), 0);
    CHECK_INT(get(&c, BOB, hidden, &g), 0);
    CHECK_INT(g->my_role, CHAT__ROLE__TYPE__MEMBER);
    CHECK_INT(g->n_members, 2);
    client_free(&c);
}

static int list_members(struct client *c, uint64_t user, uint64_t id, int64_t limit,
                        const char *cursor, Chat__MemberList *out)
{
    Chat__ListMembersRequest in = CHAT__LIST_MEMBERS_REQUEST__INIT;

    in.id = id;
    in.limit = limit;
    in.cursor = pb_str(cursor);
    *out = (Chat__MemberList)CHAT__MEMBER_LIST__INIT;
    return call(c, user, group_list_members, &in, out);
}

TEST(members_by_pages)
{
    struct client c = client_anew();
    uint64_t id = must_create(&c, ALICE, "Open", true);
    Chat__MemberList page;

    for (uint64_t user = 101; user <= 109; user++) {
        CHECK_INT(add(&c, user, id, user), 0);
    }
    CHECK_INT(remove_member(&c, 105, id, 105), 0);
    CHECK_INT(list_members(&c, ALICE, id, 4, "", &page), 0);
    CHECK_INT(page.n_members, 4);
    CHECK_INT(page.members[3]->user->id, 103);
    CHECK_INT(list_members(&c, ALICE, id, 4, pb_cstr(c.arena, page.next_cursor), &page), 0);
    CHECK_INT(page.n_members, 4);
    CHECK_INT(page.members[0]->user->id, 104);
    CHECK_INT(page.members[1]->user->id, 106);
    CHECK_INT(list_members(&c, ALICE, id, 4, pb_cstr(c.arena, page.next_cursor), &page), 0);
    CHECK_INT(page.n_members, 1);
    CHECK_INT(page.next_cursor.len, 0);
    CHECK_INT(list_members(&c, ALICE, id, 9, "", &page), 0); /* exactly all */
    CHECK_INT(page.n_members, 9);
    CHECK_INT(page.next_cursor.len, 0);
    CHECK_INT(list_members(&c, ALICE, id, -1, "", &page), ERR_BAD_QUERY);
    CHECK_INT(list_members(&c, ALICE, id, 1, "x", &page), ERR_BAD_QUERY);
    CHECK_INT(list_members(&c, ALICE, id, 1, "99999999999999999999", &page), ERR_BAD_QUERY);
    CHECK_INT(list_members(&c, BOB, id, 1, "", &page), ERR_FORBIDDEN);
    CHECK_INT(list_members(&c, BOB, 999, 1, "", &page), ERR_NOT_FOUND);
    client_free(&c);
}

static int list(struct client *c, uint64_t user, int scope, const char *q, int64_t limit,
                const char *cursor, Chat__GroupList *out)
{
    Chat__ListGroupsRequest in = CHAT__LIST_GROUPS_REQUEST__INIT;

    in.scope = (Chat__Scope__Type)scope;
    in.q = pb_str(q);
    in.limit = limit;
    in.cursor = pb_str(cursor);
    *out = (Chat__GroupList)CHAT__GROUP_LIST__INIT;
    return call(c, user, group_list, &in, out);
}

TEST(groups_by_pages)
{
    enum { MINE = CHAT__SCOPE__TYPE__MINE, PUBLIC = CHAT__SCOPE__TYPE__PUBLIC };
    struct client c = client_anew();
    uint64_t red = must_create(&c, ALICE, "Red", true);
    uint64_t green = must_create(&c, ALICE, "Gr\xc3\xbcn", true);
    uint64_t dark = must_create(&c, BOB, "Dark red", false);
    Chat__GroupList page;

    CHECK_INT(list(&c, BOB, PUBLIC, "", 0, "", &page), 0);
    CHECK_INT(page.n_groups, 2); /* the newest first */
    CHECK_INT(page.groups[0]->id, green);
    CHECK_INT(page.groups[0]->my_role, CHAT__ROLE__TYPE__NONE);
    CHECK_INT(page.next_cursor.len, 0);
    CHECK_INT(list(&c, BOB, MINE, "", 0, "", &page), 0);
    CHECK_INT(page.n_groups, 1);
    CHECK_INT(page.groups[0]->id, dark);
    CHECK_INT(page.groups[0]->my_role, CHAT__ROLE__TYPE__OWNER);
    CHECK_INT(add(&c, BOB, red, BOB), 0);
    CHECK_INT(list(&c, BOB, MINE, "", 1, "", &page), 0);
    CHECK_INT(page.n_groups, 1);
    CHECK_INT(page.groups[0]->id, dark);
    CHECK_INT(list(&c, BOB, MINE, "", 1, pb_cstr(c.arena, page.next_cursor), &page), 0);
    CHECK_INT(page.groups[0]->id, red);
    CHECK_INT(page.groups[0]->my_role, CHAT__ROLE__TYPE__MEMBER);
    CHECK_INT(page.next_cursor.len, 0);

    CHECK_INT(list(&c, BOB, MINE, "RED", 0, "", &page), 0); /* anywhere, in any case */
    CHECK_INT(page.n_groups, 2);
    CHECK_INT(list(&c, BOB, PUBLIC, "GR\xc3\x9cN", 0, "", &page), 0);
    CHECK_INT(page.n_groups, 1);
    CHECK_INT(list(&c, BOB, PUBLIC, "dark", 0, "", &page), 0);
    CHECK_INT(page.n_groups, 0);
    CHECK_INT(list(&c, BOB, PUBLIC, "%", 0, "", &page), 0);
    CHECK_INT(page.n_groups, 0);
    CHECK_INT(list(&c, BOB, PUBLIC, "re", 1, "", &page), 0);
    CHECK_INT(page.n_groups, 1);
    CHECK_INT(page.next_cursor.len, 0);
    CHECK_INT(list(&c, BOB, 9, "", 0, "", &page), ERR_BAD_QUERY);
    CHECK_INT(list(&c, BOB, MINE, "\xff", 0, "", &page), ERR_BAD_QUERY);
    CHECK_INT(list(&c, BOB, MINE, "", -5, "", &page), ERR_BAD_QUERY);
    CHECK_INT(delete_group(&c, ALICE, red), 0);
    CHECK_INT(list(&c, BOB, MINE, "", 0, "", &page), 0);
    CHECK_INT(page.n_groups, 1);
    client_free(&c);
}

/* Pages end at 512 KiB, whatever the limit. */
TEST(groups_with_long_texts)
{
    struct client c = client_anew();
    char text[4001];
    size_t seen = 0, pages = 0;
    Chat__GroupList page;

    for (size_t i = 0; i < 4000; i += 4) {
        memcpy(text + i, "\xf0\x9f\x98\x80", 4);
    }
    text[4000] = '\0';
    settings.max_groups_per_user = 1000;
    for (int i = 0; i < 150; i++) {
        Chat__CreateGroupRequest in = CHAT__CREATE_GROUP_REQUEST__INIT;
        Chat__GroupReply out = CHAT__GROUP_REPLY__INIT;
        in.name = pb_str("long");
        in.description = pb_str(text);
        CHECK_INT(call(&c, ALICE, group_create, &in, &out), 0);
    }
    const char *cursor = "";
    do {
        CHECK_INT(list(&c, ALICE, CHAT__SCOPE__TYPE__MINE, "", 200, cursor, &page), 0);
        CHECK(protobuf_c_message_get_packed_size(&page.base) < RPC_REPLY_MAX - 8192);
        seen += page.n_groups;
        pages++;
        cursor = pb_cstr(c.arena, page.next_cursor);
    } while (cursor[0] != '\0' && pages < 10);
    CHECK_INT(seen, 150);
    CHECK_INT(pages, 2);
    client_free(&c);
}

/* ---- UpdateGroup, DeleteGroup ---- */

TEST(update)
{
    struct client c = client_anew();
    uint64_t id = must_create(&c, ALICE, "Old", true);
    Chat__UpdateGroupRequest in = CHAT__UPDATE_GROUP_REQUEST__INIT;
    Chat__GroupReply out = CHAT__GROUP_REPLY__INIT;
    struct told *told;

    in.id = id;
    CHECK_INT(call(&c, ALICE, group_update, &in, &out), 0); /* nothing given */
    CHECK_INT(out.group->version, 1);
    CHECK_INT(read_outbox(&c, &told), 2);
    in.name_given_case = CHAT__UPDATE_GROUP_REQUEST__NAME_GIVEN_NAME;
    in.name = pb_str("New");
    in.visibility_given_case = CHAT__UPDATE_GROUP_REQUEST__VISIBILITY_GIVEN_VISIBILITY;
    in.visibility = CHAT__VISIBILITY__TYPE__PRIVATE;
    CHECK_INT(call(&c, ALICE, group_update, &in, &out), 0);
    CHECK(pb_equal(out.group->name, "New"));
    CHECK_INT(out.group->visibility, CHAT__VISIBILITY__TYPE__PRIVATE);
    CHECK_INT(out.group->version, 2);
    CHECK_INT(out.group->my_role, CHAT__ROLE__TYPE__OWNER);
    CHECK_STR(row_of(&c, id).name_key, "new");
    CHECK_INT(read_outbox(&c, &told), 3);
    CHECK_INT(told[2].key_b, 0);
    CHECK_INT(told[2].event->change, CHAT__CHANGE__TYPE__UPDATED);
    CHECK_INT(told[2].event->group->version, 2);
    CHECK(!told[2].event->deleted);

    in.if_version_given_case = CHAT__UPDATE_GROUP_REQUEST__IF_VERSION_GIVEN_IF_VERSION;
    in.if_version = 1;
    in.name = pb_str("Late");
    CHECK_INT(call(&c, ALICE, group_update, &in, &out), ERR_PRECONDITION_FAILED);
    in.if_version = 2;
    in.description_given_case = CHAT__UPDATE_GROUP_REQUEST__DESCRIPTION_GIVEN_DESCRIPTION;
    in.description = pb_str("what it is");
    in.avatar_given_case = CHAT__UPDATE_GROUP_REQUEST__AVATAR_GIVEN_AVATAR;
    in.avatar = pb_str("https://example.com/a.png");
    CHECK_INT(call(&c, ALICE, group_update, &in, &out), 0);
    CHECK_STR(row_of(&c, id).description, "what it is");
    CHECK_STR(row_of(&c, id).avatar, "https://example.com/a.png");
    in.if_version = 3;
    in.name = pb_str("");
    CHECK_INT(call(&c, ALICE, group_update, &in, &out), ERR_INVALID);
    CHECK_STR(bad_field(&c), "name");
    in.name = pb_str("Late");
    in.visibility = (Chat__Visibility__Type)-1;
    CHECK_INT(call(&c, ALICE, group_update, &in, &out), ERR_INVALID);
    CHECK_STR(bad_field(&c), "visibility");
    CHECK_INT(row_of(&c, id).version, 3);
    client_free(&c);
}

TEST(who_may_update_and_delete)
{
    struct client c = client_anew();
    uint64_t open = must_create(&c, ALICE, "Open", true);
    uint64_t hidden = must_create(&c, ALICE, "Hidden", false);
    Chat__Group *g;

    CHECK_INT(rename_group(&c, BOB, open, "x"), ERR_FORBIDDEN);
    CHECK_INT(rename_group(&c, BOB, hidden, "x"), ERR_NOT_FOUND);
    CHECK_INT(rename_group(&c, BOB, hidden, ""), ERR_NOT_FOUND); /* not 422: it would tell */
    CHECK_INT(delete_group(&c, BOB, open), ERR_FORBIDDEN);
    CHECK_INT(delete_group(&c, BOB, hidden), ERR_NOT_FOUND);
    CHECK_INT(add(&c, ALICE, hidden, BOB), 0);
    CHECK_INT(rename_group(&c, BOB, hidden, "x"), ERR_FORBIDDEN);
    make_admin(&c, hidden, BOB);
    CHECK_INT(rename_group(&c, BOB, hidden, "x"), 0);
    CHECK_INT(delete_group(&c, BOB, hidden), ERR_FORBIDDEN);

    struct told *told;
    uint64_t version = row_of(&c, hidden).version;
    CHECK_INT(delete_group(&c, ALICE, hidden), 0);
    CHECK_INT(delete_group(&c, ALICE, hidden), ERR_NOT_FOUND);
    size_t n = read_outbox(&c, &told);
    CHECK_INT(told[n - 1].event->change, CHAT__CHANGE__TYPE__DELETED);
    CHECK(told[n - 1].event->deleted);
    CHECK_INT(told[n - 1].key_b, 0);
    CHECK_INT(told[n - 1].event->group->version, version + 1);
    CHECK_INT(get(&c, ALICE, hidden, &g), ERR_NOT_FOUND);
    CHECK_INT(rename_group(&c, ALICE, hidden, "x"), ERR_NOT_FOUND);
    CHECK_INT(add(&c, ALICE, hidden, CAROL), ERR_NOT_FOUND);
    CHECK_INT(remove_member(&c, BOB, hidden, BOB), ERR_NOT_FOUND);
    Chat__Membership *m = check_one(&c, hidden, BOB);
    CHECK_INT(m->role, CHAT__ROLE__TYPE__NONE);
    CHECK_INT(m->version, version + 1);
    client_free(&c);
}
