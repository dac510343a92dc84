// SPDX-License-Identifier: MIT
/* Users: profiles, changes and their versions, search and pages. */
#include "tests/store/auth_calls.h"

static int get_user(struct client *c, uint64_t id, Chat__UserReply *out)
{
    Chat__GetUserRequest in = CHAT__GET_USER_REQUEST__INIT;

    in.id = id;
    *out = (Chat__UserReply)CHAT__USER_REPLY__INIT;
    return call(c, auth_users_get, &in, out);
}

static Chat__UpdateUserRequest update_of(uint64_t id, const char *nickname)
{
    Chat__UpdateUserRequest in = CHAT__UPDATE_USER_REQUEST__INIT;

    in.id = id;
    if (nickname != NULL) {
        in.nickname_given_case = CHAT__UPDATE_USER_REQUEST__NICKNAME_GIVEN_NICKNAME;
        in.nickname = pb_str(nickname);
    }
    return in;
}

static int update(struct client *c, const Chat__UpdateUserRequest *in, Chat__UserReply *out)
{
    *out = (Chat__UserReply)CHAT__USER_REPLY__INIT;
    return call(c, auth_users_update, in, out);
}

static int list(struct client *c, const char *q, int64_t limit, const char *cursor,
                Chat__UserList *out)
{
    Chat__ListUsersRequest in = CHAT__LIST_USERS_REQUEST__INIT;

    in.q = pb_str(q);
    in.limit = limit;
    in.cursor = pb_str(cursor);
    *out = (Chat__UserList)CHAT__USER_LIST__INIT;
    return call(c, auth_users_list, &in, out);
}

/* Rows without the cost of hashing. */
static void insert_users(struct client *c, size_t n, const char *prefix, const char *bio)
{
    for (size_t i = 0; i < n; i++) {
        const char *name = arena_printf(c->arena, "%s%04zu", prefix, i);
        struct auth_store_user user = {
            .username = name,
            .username_key = name,
            .password_hash = "",
            .nickname = "",
            .avatar = "",
            .bio = bio,
            .email = "hidden@example.com",
            .search_text = auth_users_make_search_text(c->arena, name, ""),
            .version = 1,
        };
        uint64_t id;
        CHECK_INT(auth_store_insert_user(c->db, &user, &id), 0);
    }
}

/* ---- One user ---- */

TEST(email_is_shown_to_its_owner_only)
{
    struct client *c = begin();
    Chat__UserReply out;

    CHECK_INT(get_user(c, 0, &out), ERR_UNAUTHENTICATED);
    uint64_t bob = join(c, "bob");
    uint64_t alice = join(c, "alice");
    CHECK_INT(get_user(c, 0, &out), 0); /* me */
    CHECK(out.user->id == alice);
    CHECK_INT(out.user->email_shown_case, CHAT__USER__EMAIL_SHOWN_EMAIL);
    CHECK_INT(get_user(c, alice, &out), 0);
    CHECK_INT(out.user->email_shown_case, CHAT__USER__EMAIL_SHOWN_EMAIL);
    CHECK_INT(get_user(c, bob, &out), 0);
    CHECK_STR(text_of(c, out.user->username), "bob");
    CHECK_INT(out.user->email_shown_case, 0);
    CHECK_INT(get_user(c, 4711, &out), ERR_NOT_FOUND);
    c->user_id = 0; /* another daemon asks */
    CHECK_INT(get_user(c, bob, &out), 0);
    CHECK_INT(out.user->email_shown_case, 0);
    end(c);
}

TEST(update_changes_what_is_given)
{
    struct client *c = begin();
    Chat__UserReply out;

    clock_freeze(TEST_NOW, 1000000000);
    uint64_t alice = join(c, "alice");
    clock_freeze(TEST_NOW + 5, 1000005000);
    Chat__UpdateUserRequest in = update_of(alice, "Alice L.");
    in.bio_given_case = CHAT__UPDATE_USER_REQUEST__BIO_GIVEN_BIO;
    in.bio = pb_str("down the\nrabbit hole");
    CHECK_INT(update(c, &in, &out), 0);
    CHECK_STR(text_of(c, out.user->nickname), "Alice L.");
    CHECK_STR(text_of(c, out.user->bio), "down the\nrabbit hole");
    CHECK_INT(out.user->version, 2);
    CHECK_INT(out.user->created_at, TEST_NOW);
    CHECK_INT(out.user->updated_at, TEST_NOW + 5);

    in = update_of(0, NULL); /* 0: me; the rest stays */
    in.avatar_given_case = CHAT__UPDATE_USER_REQUEST__AVATAR_GIVEN_AVATAR;
    in.avatar = pb_str("/a.png");
    in.email_given_case = CHAT__UPDATE_USER_REQUEST__EMAIL_GIVEN_EMAIL;
    in.email = pb_str("alice@example.com");
    CHECK_INT(update(c, &in, &out), 0);
    CHECK_STR(text_of(c, out.user->nickname), "Alice L.");
    CHECK_STR(text_of(c, out.user->avatar), "/a.png");
    CHECK_STR(text_of(c, out.user->email), "alice@example.com");
    CHECK_INT(events(c, TOPIC_EVENTS_USER), 3);
    Chat__UserEvent *event = last_event(c, TOPIC_EVENTS_USER, &chat__user_event__descriptor, alice);
    if (CHECK(event->user != NULL)) {
        CHECK_INT(event->user->version, 3);
        CHECK_STR(text_of(c, event->user->avatar), "/a.png");
        CHECK_INT(event->user->email_shown_case, 0);
    }
    in = update_of(alice, ""); /* given and empty is not absent */
    CHECK_INT(update(c, &in, &out), 0);
    CHECK_STR(text_of(c, out.user->nickname), "");
    CHECK_INT(update(c, &in, &out), 0); /* no change: no version, no event */
    CHECK_INT(out.user->version, 4);
    in = update_of(alice, NULL);
    CHECK_INT(update(c, &in, &out), 0);
    CHECK_INT(out.user->version, 4);
    CHECK_INT(events(c, TOPIC_EVENTS_USER), 4);
    end(c);
}

TEST(update_refuses)
{
    struct client *c = begin();
    Chat__UserReply out;
    Chat__UpdateUserRequest in = update_of(1, "x");

    CHECK_INT(update(c, &in, &out), ERR_UNAUTHENTICATED);
    uint64_t bob = join(c, "bob");
    uint64_t alice = join(c, "alice");
    in = update_of(bob, "x");
    CHECK_INT(update(c, &in, &out), ERR_FORBIDDEN);
    in = update_of(4711, "x");
    CHECK_INT(update(c, &in, &out), ERR_NOT_FOUND);
    in = update_of(alice, "two\nlines");
    CHECK_INT(update(c, &in, &out), ERR_INVALID);
    CHECK_STR(named(c), "nickname");
    in = update_of(alice, NULL);
    in.avatar_given_case = CHAT__UPDATE_USER_REQUEST__AVATAR_GIVEN_AVATAR;
    in.avatar = pb_str("data:x");
    CHECK_INT(update(c, &in, &out), ERR_INVALID);
    CHECK_STR(named(c), "avatar");
    in.email_given_case = CHAT__UPDATE_USER_REQUEST__EMAIL_GIVEN_EMAIL;
    in.email = pb_str("x");
    in.bio_given_case = CHAT__UPDATE_USER_REQUEST__BIO_GIVEN_BIO;
    in.bio = pb_str("\a");
    CHECK_INT(update(c, &in, &out), ERR_INVALID);
    CHECK_INT(c->rq.error_count, 3);
    CHECK_INT(events(c, TOPIC_EVENTS_USER), 2); /* of the sign-ups */
    end(c);
}

TEST(update_if_match)
{
    struct client *c = begin();
    Chat__UserReply out;
    uint64_t alice = join(c, "alice");
    Chat__UpdateUserRequest in = update_of(alice, "A");

    in.if_version_given_case = CHAT__UPDATE_USER_REQUEST__IF_VERSION_GIVEN_IF_VERSION;
    in.if_version = 2;
    CHECK_INT(update(c, &in, &out), ERR_PRECONDITION_FAILED);
    in.if_version = 0;
    CHECK_INT(update(c, &in, &out), ERR_PRECONDITION_FAILED);
    in.if_version = 1;
    CHECK_INT(update(c, &in, &out), 0);
    CHECK_INT(out.user->version, 2);
    in.nickname = pb_str("B");
    CHECK_INT(update(c, &in, &out), ERR_PRECONDITION_FAILED);
    CHECK_INT(get_user(c, alice, &out), 0);
    CHECK_STR(text_of(c, out.user->nickname), "A");
    end(c);
}

struct updater {
    pthread_t thread;
    struct client *client;
    int won;
};

static void *race_update(void *arg)
{
    struct updater *u = arg;

    for (uint64_t version = 1; version <= 10; version++) {
        Chat__UserReply out;
        Chat__UpdateUserRequest in =
            update_of(0, arena_printf(u->client->arena, "%p %d", (void *)u, (int)version));
        in.if_version_given_case = CHAT__UPDATE_USER_REQUEST__IF_VERSION_GIVEN_IF_VERSION;
        in.if_version = version;
        int rc = update(u->client, &in, &out);
        u->won += rc == 0;
        CHECK(rc == 0 || rc == ERR_PRECONDITION_FAILED);
    }
    return NULL;
}

/* Every version is made at most once: nobody overwrites what they have not seen. */
TEST(updates_at_once)
{
    struct client *c = begin();
    struct updater u[2];
    Chat__UserReply out;
    uint64_t alice = join(c, "alice");

    for (int i = 0; i < 2; i++) {
        u[i] = (struct updater){.client = open_client()};
        u[i].client->user_id = alice;
        pthread_create(&u[i].thread, NULL, race_update, &u[i]);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(u[i].thread, NULL);
        close_client(u[i].client);
    }
    CHECK_INT(get_user(c, alice, &out), 0);
    CHECK_INT(out.user->version, 1 + u[0].won + u[1].won);
    CHECK_INT(events(c, TOPIC_EVENTS_USER), 1 + u[0].won + u[1].won);
    end(c);
}

/* ---- Lists ---- */

TEST(pages_hold_every_user_once)
{
    struct client *c = begin();
    Chat__UserList out;
    const char *cursor = "";
    size_t seen = 0, pages = 0;
    uint64_t last = 0;

    insert_users(c, 120, "user", "");
    do {
        CHECK_INT(list(c, "", 0, cursor, &out), 0);
        for (size_t i = 0; i < out.n_users; i++) {
            CHECK(out.users[i]->id > last);
            CHECK_INT(out.users[i]->email_shown_case, 0);
            last = out.users[i]->id;
        }
        seen += out.n_users;
        cursor = text_of(c, out.next_cursor);
    } while (++pages < 10 && cursor[0] != '\0');
    CHECK_INT(seen, 120);
    CHECK_INT(pages, 3);
    CHECK_INT(list(c, "", 120, "", &out), 0);
    CHECK_INT(out.n_users, 120);
    CHECK_INT(out.next_cursor.len, 0); /* exactly all: no empty page follows */
    CHECK_INT(list(c, "", 100000, "", &out), 0);
    CHECK_INT(out.n_users, 120);
    end(c);
}

TEST(search_finds_in_names_and_nicknames)
{
    static const struct {
        const char *q;
        size_t hits;
    } rows[] = {
        {"anna", 2}, {"ANN", 2},    {"nna", 2}, {"karenin", 1},     {"\uff21nna", 2},
        {"%", 0},    {"_", 0},      {"\\", 0},  {"'", 1},           {"bob", 1},
        {"zzz", 0},  {"\u200d", 3}, {"o'b", 1}, {"stra\u00dfe", 1}, {"STRASSE", 1},
    };
    struct client *c = begin();
    Chat__UserReply reply;
    Chat__UserList out;
    Chat__UpdateUserRequest in;

    join(c, "Anna");
    in = update_of(0, "Karenina");
    CHECK_INT(update(c, &in, &reply), 0);
    join(c, "joanna");
    in = update_of(0, "Stra\u00dfe 7");
    CHECK_INT(update(c, &in, &reply), 0);
    join(c, "bob");
    in = update_of(0, "O'Brien");
    CHECK_INT(update(c, &in, &reply), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CHECK_INT(list(c, rows[i].q, 0, "", &out), 0);
        if (!CHECK_INT(out.n_users, rows[i].hits)) {
            printf("    q=%s\n", rows[i].q);
        }
        CHECK_INT(out.next_cursor.len, 0);
    }
    end(c);
}

TEST(a_search_goes_on_where_its_span_ended)
{
    struct client *c = begin();
    Chat__UserList out;

    insert_users(c, 2, "near", "");
    must(c->db, "UPDATE user SET id = id + 250000 WHERE username = 'near0001'");
    CHECK_INT(list(c, "near", 0, "", &out), 0);
    CHECK_INT(out.n_users, 1);
    CHECK_STR(text_of(c, out.next_cursor), "100000");
    CHECK_INT(list(c, "near", 0, "100000", &out), 0);
    CHECK_INT(out.n_users, 0); /* an empty page, but not the end */
    CHECK_STR(text_of(c, out.next_cursor), "200000");
    CHECK_INT(list(c, "near", 0, "200000", &out), 0);
    CHECK_INT(out.n_users, 1);
    CHECK_INT(out.next_cursor.len, 0);
    CHECK_INT(list(c, "", 0, "", &out), 0); /* without q there is no span */
    CHECK_INT(out.n_users, 2);
    end(c);
}

TEST(lists_refuse_bad_queries)
{
    static const char *const cursors[] = {"x", "-1", " 1", "1 ", "0x10", "9999999999999999999"};
    struct client *c = begin();
    Chat__UserList out;
    char q[66];

    for (size_t i = 0; i < sizeof(cursors) / sizeof(cursors[0]); i++) {
        CHECK_INT(list(c, "", 0, cursors[i], &out), ERR_BAD_QUERY);
    }
    CHECK_INT(list(c, "", -1, "", &out), ERR_BAD_QUERY);
    CHECK_INT(list(c, "\xff", 0, "", &out), ERR_BAD_QUERY);
    memset(q, 'x', 65);
    q[65] = '\0';
    CHECK_INT(list(c, q, 0, "", &out), ERR_BAD_QUERY);
    q[64] = '\0';
    CHECK_INT(list(c, q, 0, "", &out), 0);
    end(c);
}

/* Rows as large as they can be: a page ends early and says that there is more. */
TEST(replies_stay_within_their_bound)
{
    struct client *c = begin();
    Chat__GetProfilesRequest in = CHAT__GET_PROFILES_REQUEST__INIT;
    Chat__Profiles profiles = CHAT__PROFILES__INIT;
    uint64_t ids[500];
    Chat__UserList out;
    char bio[2001] = "";

    for (int i = 0; i < 500; i++) {
        memcpy(bio + 4 * i, "\U0001f600", 5);
    }
    insert_users(c, 300, "user", bio);
    CHECK_INT(list(c, "", 200, "", &out), 0);
    CHECK_INT(out.n_users, 200); /* 400 KiB: fits */
    for (size_t i = 0; i < 500; i++) {
        ids[i] = 1 + i;
    }
    in.ids = ids;
    in.n_ids = 500;
    CHECK_INT(call(c, auth_users_get_profiles, &in, &profiles), 0);
    CHECK_INT(profiles.n_users + profiles.n_left_out_ids, 300);
    CHECK(profiles.n_left_out_ids > 0 && profiles.n_users > 200);
    CHECK(chat__profiles__get_packed_size(&profiles) < RPC_REPLY_MAX);
    end(c);
}

TEST(profiles_of_known_ids)
{
    struct client *c = begin();
    Chat__GetProfilesRequest in = CHAT__GET_PROFILES_REQUEST__INIT;
    Chat__Profiles out = CHAT__PROFILES__INIT;
    uint64_t ids[501] = {0};

    uint64_t bob = join(c, "bob");
    uint64_t alice = join(c, "alice");
    ids[0] = alice;
    ids[1] = 4711;
    ids[2] = bob;
    ids[3] = alice;
    in.ids = ids;
    in.n_ids = 4;
    CHECK_INT(call(c, auth_users_get_profiles, &in, &out), 0);
    if (CHECK_INT(out.n_users, 2)) {
        CHECK_INT(out.users[0]->version, 1);
        CHECK_INT(out.users[0]->email_shown_case, 0); /* not even one's own: it is for caches */
        CHECK_INT(out.users[1]->email_shown_case, 0);
        CHECK(out.users[0]->id + out.users[1]->id == alice + bob);
    }
    in.n_ids = 0;
    out = (Chat__Profiles)CHAT__PROFILES__INIT;
    CHECK_INT(call(c, auth_users_get_profiles, &in, &out), 0);
    CHECK_INT(out.n_users, 0);
    in.n_ids = 501;
    CHECK_INT(call(c, auth_users_get_profiles, &in, &out), ERR_INVALID);
    CHECK_STR(named(c), "ids");
    end(c);
}
