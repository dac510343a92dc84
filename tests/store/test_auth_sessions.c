// SPDX-License-Identifier: MIT
/* Sessions and users: refresh, logout, lists, profiles, and the chores that clean up. */
#include "tests/store/auth_calls.h"

#include "auth-svc/chores.h"

static const char *grant_token(struct client *c, const Chat__Grant *grant)
{
    return text_of(c, grant->refresh_token);
}

static int logout(struct client *c, ProtobufCBinaryData token)
{
    Chat__LogoutRequest in = CHAT__LOGOUT_REQUEST__INIT;
    Chat__Empty out = CHAT__EMPTY__INIT;

    in.refresh_token = token;
    return call(c, auth_sessions_logout, &in, &out);
}

static int end_session(struct client *c, uint64_t id)
{
    Chat__EndSessionRequest in = CHAT__END_SESSION_REQUEST__INIT;
    Chat__Empty out = CHAT__EMPTY__INIT;

    in.id = id;
    return call(c, auth_sessions_end, &in, &out);
}

static Chat__SessionList list_sessions(struct client *c)
{
    Chat__Empty in = CHAT__EMPTY__INIT;
    Chat__SessionList out = CHAT__SESSION_LIST__INIT;

    CHECK_INT(call(c, auth_sessions_list, &in, &out), 0);
    return out;
}

static void at_ms(int64_t ms)
{
    clock_freeze(TEST_NOW + ms, (1000000 + ms) * 1000);
}

/* ---- Refresh ---- */

TEST(refresh_rotates)
{
    struct client *c = begin();
    Chat__Grant first, second, third;

    at_ms(0);
    CHECK_INT(sign_up(c, "alice", "correct horse", &first), 0);
    at_ms(600000);
    c->address = "192.0.2.9";
    CHECK_INT(refresh(c, first.refresh_token, &second), 0);
    CHECK(strcmp(grant_token(c, &first), grant_token(c, &second)) != 0);
    CHECK(claims_of(&second).session_id == claims_of(&first).session_id);
    CHECK_INT(claims_of(&second).expires_at, (TEST_NOW + 600000) / 1000 + 900);
    CHECK_STR(text_of(c, second.user->username), "alice");
    CHECK_INT(refresh(c, second.refresh_token, &third), 0);
    become(c, &third);
    Chat__SessionList list = list_sessions(c);
    if (CHECK_INT(list.n_sessions, 1)) {
        CHECK_INT(list.sessions[0]->created_at, TEST_NOW);
        CHECK_INT(list.sessions[0]->seen_at, TEST_NOW + 600000);
        CHECK_STR(text_of(c, list.sessions[0]->address), "192.0.2.9");
    }
    end(c);
}

TEST(the_token_before_gets_the_same_answer_for_a_while)
{
    struct client *c = begin();
    Chat__Grant first, second, again;

    at_ms(0);
    CHECK_INT(sign_up(c, "alice", "correct horse", &first), 0);
    CHECK_INT(refresh(c, first.refresh_token, &second), 0);
    at_ms(1000);
    CHECK_INT(refresh(c, first.refresh_token, &again), 0);
    CHECK_STR(grant_token(c, &again), grant_token(c, &second));
    at_ms(30000);
    CHECK_INT(refresh(c, first.refresh_token, &again), 0);
    CHECK_STR(grant_token(c, &again), grant_token(c, &second));
    CHECK_INT(events(c, TOPIC_EVENTS_SESSION), 0);
    at_ms(30001); /* late: somebody has a copy */
    CHECK_INT(refresh(c, first.refresh_token, &again), ERR_UNAUTHENTICATED);
    CHECK_INT(events(c, TOPIC_EVENTS_SESSION), 1);
    CHECK_INT(refresh(c, second.refresh_token, &again), ERR_UNAUTHENTICATED);
    end(c);
}

TEST(an_older_token_ends_the_session)
{
    struct client *c = begin();
    Chat__Grant first, second, third, other, grant;

    at_ms(0);
    CHECK_INT(sign_up(c, "alice", "correct horse", &first), 0);
    CHECK_INT(login(c, "alice", "correct horse", &other), 0);
    CHECK_INT(refresh(c, first.refresh_token, &second), 0);
    CHECK_INT(refresh(c, second.refresh_token, &third), 0); /* the new one is used */
    CHECK_INT(refresh(c, first.refresh_token, &grant), ERR_UNAUTHENTICATED);
    CHECK_INT(events(c, TOPIC_EVENTS_SESSION), 1);
    Chat__SessionEnded *event =
        last_event(c, TOPIC_EVENTS_SESSION, &chat__session_ended__descriptor, first.user->id);
    CHECK(event->session_id == claims_of(&first).session_id);
    CHECK_INT(event->ended_at, TEST_NOW);
    CHECK_INT(refresh(c, third.refresh_token, &grant), ERR_UNAUTHENTICATED);
    CHECK_INT(refresh(c, first.refresh_token, &grant), ERR_UNAUTHENTICATED);
    CHECK_INT(events(c, TOPIC_EVENTS_SESSION), 1);         /* told once */
    CHECK_INT(refresh(c, other.refresh_token, &grant), 0); /* the other session lives */
    end(c);
}

TEST(refresh_refuses)
{
    struct client *c = begin();
    Chat__Grant first, grant;
    struct auth_refresh_token future = {.generation = 9};
    char text[AUTH_REFRESH_TEXT_SIZE];

    at_ms(0);
    CHECK_INT(sign_up(c, "alice", "correct horse", &first), 0);
    CHECK_INT(refresh(c, pb_str(""), &grant), ERR_INVALID);
    CHECK_STR(named(c), "refresh_token");
    CHECK_INT(refresh(c, pb_str("nonsense"), &grant), ERR_UNAUTHENTICATED);
    CHECK_INT(refresh(c, first.token, &grant), ERR_UNAUTHENTICATED);
    future.session_id = claims_of(&first).session_id;
    auth_refresh_write_text(&state.refresh_keys, &future, text);
    CHECK_INT(refresh(c, pb_str(text), &grant), ERR_UNAUTHENTICATED);
    future.session_id = 999;
    auth_refresh_write_text(&state.refresh_keys, &future, text);
    CHECK_INT(refresh(c, pb_str(text), &grant), ERR_UNAUTHENTICATED);
    CHECK_INT(events(c, TOPIC_EVENTS_SESSION), 0);
    at_ms(2592000LL * 1000); /* expired */
    CHECK_INT(refresh(c, first.refresh_token, &grant), ERR_UNAUTHENTICATED);
    end(c);
}

/* ---- Ending ---- */

TEST(logout_ends_the_callers_session)
{
    struct client *c = begin();
    Chat__Grant first, second, grant;

    CHECK_INT(logout(c, pb_str("")), ERR_UNAUTHENTICATED);
    CHECK_INT(logout(c, pb_str("nonsense")), ERR_UNAUTHENTICATED);
    CHECK_INT(sign_up(c, "alice", "correct horse", &first), 0);
    CHECK_INT(login(c, "alice", "correct horse", &second), 0);
    become(c, &first);
    CHECK_INT(logout(c, pb_str("")), 0);
    CHECK_INT(refresh(c, first.refresh_token, &grant), ERR_UNAUTHENTICATED);
    CHECK_INT(logout(c, pb_str("")), 0); /* once more is no harm */
    CHECK_INT(events(c, TOPIC_EVENTS_SESSION), 1);
    c->user_id = c->session_id = 0;
    CHECK_INT(logout(c, second.refresh_token), 0); /* the token alone is proof */
    CHECK_INT(events(c, TOPIC_EVENTS_SESSION), 2);
    CHECK_INT(refresh(c, second.refresh_token, &grant), ERR_UNAUTHENTICATED);
    end(c);
}

TEST(sessions_are_listed_and_ended)
{
    struct client *c = begin();
    Chat__Grant first, second, bob;
    Chat__Empty in = CHAT__EMPTY__INIT;
    Chat__SessionList out = CHAT__SESSION_LIST__INIT;

    CHECK_INT(call(c, auth_sessions_list, &in, &out), ERR_UNAUTHENTICATED);
    CHECK_INT(end_session(c, 1), ERR_UNAUTHENTICATED);
    CHECK_INT(sign_up(c, "bob", "correct horse", &bob), 0);
    CHECK_INT(sign_up(c, "alice", "correct horse", &first), 0);
    c->device = "second";
    CHECK_INT(login(c, "alice", "correct horse", &second), 0);
    become(c, &first);
    Chat__SessionList list = list_sessions(c);
    if (CHECK_INT(list.n_sessions, 2)) {
        CHECK(list.sessions[0]->id == claims_of(&second).session_id); /* the newest first */
        CHECK(!list.sessions[0]->current && list.sessions[1]->current);
        CHECK_STR(text_of(c, list.sessions[0]->device), "second");
    }
    CHECK_INT(end_session(c, claims_of(&bob).session_id), ERR_NOT_FOUND); /* not one's own */
    CHECK_INT(end_session(c, 12345), ERR_NOT_FOUND);
    CHECK_INT(events(c, TOPIC_EVENTS_SESSION), 0);
    CHECK_INT(end_session(c, claims_of(&second).session_id), 0);
    CHECK_INT(events(c, TOPIC_EVENTS_SESSION), 1);
    CHECK_INT(end_session(c, claims_of(&second).session_id), ERR_NOT_FOUND);
    CHECK_INT(list_sessions(c).n_sessions, 1);
    end(c);
}

/* ---- Chores ---- */

static int count_ended(void *arg, const struct auth_store_session *session)
{
    int *count = arg;

    CHECK(session->ended_at > 0 && session->user_id > 0);
    (*count)++;
    return 0;
}

static int refuse(void *arg, const struct auth_store_session *session)
{
    (void)arg;
    (void)session;
    return ERR_UNAVAILABLE;
}

TEST(ended_sessions_are_told_again_and_then_deleted)
{
    struct client *c = begin();
    Chat__Grant grant;
    bool more = true;
    int told = 0;

    at_ms(0);
    CHECK_INT(sign_up(c, "alice", "correct horse", &grant), 0);
    become(c, &grant);
    CHECK_INT(logout(c, pb_str("")), 0);
    at_ms(60000);
    CHECK_INT(login(c, "alice", "correct horse", &grant), 0); /* lives */
    CHECK_INT(auth_chores_tell_ended(c->db, 900, count_ended, &told), 0);
    CHECK_INT(told, 1);
    CHECK_INT(auth_chores_tell_ended(c->db, 900, refuse, NULL), ERR_UNAVAILABLE);
    CHECK_INT(auth_chores_clean_sessions(c->db, c->arena, 900, &more), 0);
    CHECK(!more);
    CHECK_INT(number(c->db, "SELECT COUNT(*) FROM session"), 2);
    at_ms(2 * 900000 + 1); /* two lives later */
    told = 0;
    CHECK_INT(auth_chores_tell_ended(c->db, 900, count_ended, &told), 0);
    CHECK_INT(told, 0);
    CHECK_INT(auth_chores_clean_sessions(c->db, c->arena, 900, &more), 0);
    CHECK_INT(number(c->db, "SELECT COUNT(*) FROM session"), 1);
    CHECK_INT(refresh(c, grant.refresh_token, &grant), 0);
    at_ms(2 * 900000 + 2592000LL * 1000 + 2); /* expired */
    CHECK_INT(auth_chores_clean_sessions(c->db, c->arena, 900, &more), 0);
    CHECK_INT(number(c->db, "SELECT COUNT(*) FROM session"), 0);
    end(c);
}

TEST(chores_go_in_bounded_steps)
{
    struct client *c = begin();
    struct db_value values[600 * 9];
    bool more = false;
    int told = 0;

    at_ms(0);
    for (size_t i = 0; i < 600; i++) {
        struct db_value row[9] = {DB_I(1),        DB_I(1),        DB_I(TEST_NOW),
                                  DB_S(""),       DB_S(""),       DB_I(TEST_NOW),
                                  DB_I(TEST_NOW), DB_I(TEST_NOW), DB_I(TEST_NOW)};
        memcpy(&values[i * 9], row, sizeof(row));
    }
    CHECK_INT(db_insert(c->db,
                        "INSERT INTO session (user_id, generation, rotated_at, device, address, "
                        "created_at, seen_at, expires_at, ended_at) VALUES",
                        9, values, 600, NULL),
              0);
    CHECK_INT(auth_chores_tell_ended(c->db, 900, count_ended, &told), 0);
    CHECK_INT(told, 600);
    at_ms(2 * 900000 + 1);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(auth_chores_clean_sessions(c->db, c->arena, 900, &more), 0);
    }
    CHECK(!more);
    CHECK_INT(number(c->db, "SELECT COUNT(*) FROM session"), 0);
    end(c);
}
