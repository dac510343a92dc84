// SPDX-License-Identifier: MIT
/* Accounts: sign-up, login, failed logins, change of password, and two at once. */
#include "tests/store/auth_calls.h"

#include "auth-svc/demo.h"

/* Of "old password", argon2id with 8 MiB and one pass: weaker than today's, and cheap. */
#define WEAKER                                                                                     \
    "$argon2id$v=19$m=8192,t=1,p=1$8PLgRDuk917POo9tplhIhg$"                                        \
    "JugLi6dtLsw1THCbx6fYgi4ftmdQ/n+PrUfKxE4NNeI"

/* ---- Sign-up ---- */

TEST(sign_up_makes_user_session_and_event)
{
    struct client *c = begin();
    Chat__SignUpRequest in = CHAT__SIGN_UP_REQUEST__INIT;
    Chat__Grant out = CHAT__GRANT__INIT;

    in.username = pb_str("Alice");
    in.password = pb_str("correct horse");
    in.email = pb_str("alice@example.com");
    in.nickname = pb_str("Alice W.");
    in.avatar = pb_str("https://example.com/a.png");
    in.device = pb_str("phone");
    CHECK_INT(call(c, auth_accounts_sign_up, &in, &out), 0);
    CHECK_STR(text_of(c, out.user->username), "Alice");
    CHECK_STR(text_of(c, out.user->nickname), "Alice W.");
    CHECK_STR(text_of(c, out.user->email), "alice@example.com");
    CHECK_INT(out.user->email_shown_case, CHAT__USER__EMAIL_SHOWN_EMAIL);
    CHECK_INT(out.user->version, 1);
    CHECK(out.user->created_at > 0 && out.user->updated_at == out.user->created_at);
    CHECK_INT(out.expires_in, 900);
    CHECK(out.message.len > 0 && out.refresh_token.len > 0);
    struct token_claims claims = claims_of(&out);
    CHECK(claims.user_id == out.user->id && claims.session_id > 0);
    CHECK_STR(claims.username, "Alice");
    CHECK_INT(claims.expires_at - claims.issued_at, 900);

    CHECK_INT(events(c, TOPIC_EVENTS_USER), 1);
    Chat__UserEvent *event =
        last_event(c, TOPIC_EVENTS_USER, &chat__user_event__descriptor, out.user->id);
    if (CHECK(event->user != NULL)) {
        CHECK_STR(text_of(c, event->user->username), "Alice");
        CHECK_INT(event->user->version, 1);
        CHECK_INT(event->user->email_shown_case, 0); /* nobody else's business */
    }
    CHECK_INT(number(c->db, "SELECT COUNT(*) FROM session WHERE device = 'phone'"), 1);
    end(c);
}

TEST(sign_up_names_what_is_wrong)
{
    static const struct {
        const char *username, *password, *email, *nickname, *avatar, *field;
    } rows[] = {
        {"", "correct horse", "", "", "", "username"},
        {"two words", "correct horse", "", "", "", "username"},
        {"alice", "short", "", "", "", "password"},
        {"alice", "", "", "", "", "password"},
        {"alice", "correct horse", "no address", "", "", "email"},
        {"alice", "correct horse", "", "two\nlines", "", "nickname"},
        {"alice", "correct horse", "", "", "javascript:alert(1)", "avatar"},
    };
    struct client *c = begin();

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Chat__SignUpRequest in = CHAT__SIGN_UP_REQUEST__INIT;
        Chat__Grant out = CHAT__GRANT__INIT;
        in.username = pb_str(rows[i].username);
        in.password = pb_str(rows[i].password);
        in.email = pb_str(rows[i].email);
        in.nickname = pb_str(rows[i].nickname);
        in.avatar = pb_str(rows[i].avatar);
        CHECK_INT(call(c, auth_accounts_sign_up, &in, &out), ERR_INVALID);
        CHECK_STR(named(c), rows[i].field);
    }
    Chat__SignUpRequest nothing = CHAT__SIGN_UP_REQUEST__INIT;
    Chat__Grant out = CHAT__GRANT__INIT;
    CHECK_INT(call(c, auth_accounts_sign_up, &nothing, &out), ERR_INVALID);
    CHECK_INT(c->rq.error_count, 2); /* both at once */
    CHECK_INT(number(c->db, "SELECT COUNT(*) FROM user"), 0);
    CHECK_INT(number(c->db, "SELECT COUNT(*) FROM outbox"), 0);
    end(c);
}

TEST(names_are_unique_without_regard_to_case_and_form)
{
    struct client *c = begin();
    Chat__Grant grant;

    CHECK_INT(sign_up(c, "Stra\u00dfe", "correct horse", &grant), 0);
    CHECK_INT(sign_up(c, "STRASSE", "correct horse", &grant), ERR_USERNAME_TAKEN);
    CHECK_INT(sign_up(c, "\uff53trasse", "correct horse", &grant), ERR_USERNAME_TAKEN);
    CHECK_INT(login(c, "strASSE", "correct horse", &grant), 0);
    CHECK_STR(text_of(c, grant.user->username), "Stra\u00dfe"); /* as it was written */
    CHECK_INT(sign_up(c, "\u00e9", "correct horse", &grant), 0);
    CHECK_INT(sign_up(c, "e\u0301", "correct horse", &grant), ERR_USERNAME_TAKEN);
    CHECK_INT(sign_up(c, "e", "correct horse", &grant), 0); /* an accent is not case */
    CHECK_INT(sign_up(c, "\U0001f600", "correct horse", &grant), 0);
    CHECK_INT(sign_up(c, "\U0001f601", "correct horse", &grant), 0);
    end(c);
}

/* ---- Login ---- */

TEST(login_grants)
{
    struct client *c = begin();
    Chat__Grant first, second;

    CHECK_INT(sign_up(c, "alice", "correct horse", &first), 0);
    c->device = "Mozilla/5.0";
    CHECK_INT(login(c, "ALICE", "correct horse", &second), 0);
    CHECK(claims_of(&second).user_id == claims_of(&first).user_id);
    CHECK(claims_of(&second).session_id != claims_of(&first).session_id);
    CHECK_INT(second.user->email_shown_case, CHAT__USER__EMAIL_SHOWN_EMAIL);
    CHECK_INT(number(c->db, "SELECT COUNT(*) FROM session WHERE device = 'Mozilla/5.0' AND "
                            "address = '192.0.2.1'"),
              1);
    CHECK_INT(events(c, TOPIC_EVENTS_USER), 1); /* of the sign-up */
    end(c);
}

TEST(login_says_the_same_for_unknown_and_wrong)
{
    struct client *c = begin();
    Chat__Grant grant;

    CHECK_INT(sign_up(c, "alice", "correct horse", &grant), 0);
    CHECK_INT(login(c, "alice", "wrong horse", &grant), ERR_BAD_CREDENTIALS);
    const char *wrong = c->rq.detail;
    CHECK_INT(login(c, "nobody", "correct horse", &grant), ERR_BAD_CREDENTIALS);
    CHECK_STR(c->rq.detail, wrong);
    CHECK_INT(login(c, "no such name", "correct horse", &grant), ERR_BAD_CREDENTIALS);
    CHECK_STR(c->rq.detail, wrong);
    CHECK_INT(login(c, "", "correct horse", &grant), ERR_INVALID);
    CHECK_STR(named(c), "username");
    CHECK_INT(login(c, "alice", "", &grant), ERR_INVALID);
    CHECK_STR(named(c), "password");
    end(c);
}

TEST(failed_logins_are_bounded)
{
    struct client *c = begin();
    Chat__Grant grant;

    clock_freeze(TEST_NOW, 1000000000);
    state.attempts = auth_attempts_new(0);
    CHECK_INT(sign_up(c, "alice", "correct horse", &grant), 0);
    for (int i = 0; i < 3; i++) { /* right ones are not counted, and forgive */
        CHECK_INT(login(c, "alice", "wrong horse", &grant), ERR_BAD_CREDENTIALS);
        CHECK_INT(login(c, "alice", "wrong horse", &grant), ERR_BAD_CREDENTIALS);
        CHECK_INT(login(c, "alice", "correct horse", &grant), 0);
    }
    for (int i = 0; i < 5; i++) {
        CHECK_INT(login(c, "Alice", "wrong horse", &grant), ERR_BAD_CREDENTIALS);
    }
    CHECK_INT(login(c, "ALICE", "correct horse", &grant), ERR_RATE_LIMITED);
    CHECK_INT(c->rq.retry_after_s, 60);
    c->address = "192.0.2.2";
    CHECK_INT(login(c, "alice", "correct horse", &grant), 0);
    for (int i = 0; i < 5; i++) { /* unknown ones are bounded just so */
        CHECK_INT(login(c, "nobody", "wrong horse", &grant), ERR_BAD_CREDENTIALS);
    }
    CHECK_INT(login(c, "nobody", "wrong horse", &grant), ERR_RATE_LIMITED);
    c->address = "192.0.2.1";
    clock_freeze(TEST_NOW + 60000, 1060000000);
    CHECK_INT(login(c, "alice", "correct horse", &grant), 0);
    end(c);
}

TEST(old_hashes_are_made_anew)
{
    struct client *c = begin();
    Chat__Grant grant;

    CHECK_INT(sign_up(c, "alice", "correct horse", &grant), 0);
    must(c->db, "UPDATE user SET password_hash = '" WEAKER "'");
    CHECK_INT(login(c, "alice", "old password", &grant), 0);
    CHECK_INT(number(c->db, "SELECT COUNT(*) FROM user WHERE password_hash LIKE "
                            "'$argon2id$v=19$m=19456,t=2,p=1$%'"),
              1);
    CHECK_INT(login(c, "alice", "old password", &grant), 0);
    end(c);
}

TEST(the_oldest_session_makes_room)
{
    struct client *c = begin();
    Chat__Grant grant, first;

    CHECK_INT(sign_up(c, "alice", "correct horse", &first), 0);
    must(c->db, "UPDATE user SET password_hash = '" WEAKER "'");
    for (int i = 1; i < AUTH_SESSIONS_MOST; i++) {
        must(c->db, "INSERT INTO session (user_id, generation, rotated_at, device, address, "
                    "created_at, seen_at, expires_at, ended_at) SELECT user_id, 1, rotated_at, '', "
                    "'', created_at, seen_at, expires_at, 0 FROM session ORDER BY id LIMIT 1");
    }
    CHECK_INT(number(c->db, "SELECT COUNT(*) FROM session WHERE ended_at = 0"), AUTH_SESSIONS_MOST);
    CHECK_INT(login(c, "alice", "old password", &grant), 0);
    CHECK_INT(number(c->db, "SELECT COUNT(*) FROM session WHERE ended_at = 0"), AUTH_SESSIONS_MOST);
    Chat__SessionEnded *event =
        last_event(c, TOPIC_EVENTS_SESSION, &chat__session_ended__descriptor, grant.user->id);
    CHECK(event->session_id == claims_of(&first).session_id);
    CHECK_INT(refresh(c, first.refresh_token, &first), ERR_UNAUTHENTICATED);
    end(c);
}

/* ---- Change of password ---- */

static int change(struct client *c, const char *old, const char *new)
{
    Chat__ChangePasswordRequest in = CHAT__CHANGE_PASSWORD_REQUEST__INIT;
    Chat__Empty out = CHAT__EMPTY__INIT;

    in.old_password = pb_str(old);
    in.new_password = pb_str(new);
    return call(c, auth_accounts_change_password, &in, &out);
}

TEST(change_of_password_ends_all_other_sessions)
{
    struct client *c = begin();
    Chat__Grant first, second, bob, grant;

    CHECK_INT(sign_up(c, "bob", "correct horse", &bob), 0);
    CHECK_INT(sign_up(c, "alice", "correct horse", &first), 0);
    CHECK_INT(login(c, "alice", "correct horse", &second), 0);
    become(c, &first);
    CHECK_INT(change(c, "correct horse", "battery staple"), 0);
    CHECK_INT(events(c, TOPIC_EVENTS_SESSION), 1);
    Chat__SessionEnded *event =
        last_event(c, TOPIC_EVENTS_SESSION, &chat__session_ended__descriptor, c->user_id);
    CHECK(event->session_id == claims_of(&second).session_id && event->user_id == c->user_id);
    CHECK(event->ended_at > 0);
    CHECK_INT(refresh(c, second.refresh_token, &grant), ERR_UNAUTHENTICATED);
    CHECK_INT(refresh(c, first.refresh_token, &grant), 0);
    CHECK_INT(refresh(c, bob.refresh_token, &grant), 0);
    CHECK_INT(login(c, "alice", "correct horse", &grant), ERR_BAD_CREDENTIALS);
    CHECK_INT(login(c, "alice", "battery staple", &grant), 0);
    end(c);
}

TEST(change_of_password_refuses)
{
    struct client *c = begin();

    CHECK_INT(change(c, "correct horse", "battery staple"), ERR_UNAUTHENTICATED);
    join(c, "alice");
    CHECK_INT(change(c, "wrong horse", "battery staple"), ERR_INVALID);
    CHECK_STR(named(c), "old_password");
    CHECK_INT(change(c, "", "battery staple"), ERR_INVALID);
    CHECK_STR(named(c), "old_password");
    CHECK_INT(change(c, "correct horse", "short"), ERR_INVALID);
    CHECK_STR(named(c), "new_password");
    state.attempts = auth_attempts_new(0);
    for (int i = 0; i < 5; i++) {
        CHECK_INT(change(c, "wrong horse", "battery staple"), ERR_INVALID);
    }
    CHECK_INT(change(c, "correct horse", "battery staple"), ERR_RATE_LIMITED);
    CHECK(c->rq.retry_after_s > 0 && c->rq.retry_after_s <= 60);
    end(c);
}

/* ---- Two at once ---- */

struct racer {
    pthread_t thread;
    struct client *client;
    const char *name;
    ProtobufCBinaryData token;
    Chat__Grant grant;
    int rc;
};

static void *race_sign_up(void *arg)
{
    struct racer *r = arg;

    r->rc = sign_up(r->client, r->name, "correct horse", &r->grant);
    return NULL;
}

static void race(struct racer *racers, size_t n, void *(*run)(void *))
{
    for (size_t i = 0; i < n; i++) {
        pthread_create(&racers[i].thread, NULL, run, &racers[i]);
    }
    for (size_t i = 0; i < n; i++) {
        pthread_join(racers[i].thread, NULL);
    }
}

TEST(of_sign_ups_at_once_one_wins)
{
    static const char *const names[] = {"alice", "Alice", "ALICE", "aLiCe"};
    struct client *c = begin();
    struct racer racers[4];

    for (int round = 0; round < 5; round++) {
        int won = 0, taken = 0;
        for (int i = 0; i < 4; i++) {
            char name[32];
            snprintf(name, sizeof(name), "%s%d", names[i], round);
            racers[i] = (struct racer){.client = open_client()};
            racers[i].name = arena_strdup(racers[i].client->arena, name);
        }
        race(racers, 4, race_sign_up);
        for (int i = 0; i < 4; i++) {
            won += racers[i].rc == 0;
            taken += racers[i].rc == ERR_USERNAME_TAKEN;
            close_client(racers[i].client);
        }
        CHECK_INT(won, 1);
        CHECK_INT(taken, 3);
    }
    CHECK_INT(number(c->db, "SELECT COUNT(*) FROM user"), 5);
    CHECK_INT(number(c->db, "SELECT COUNT(*) FROM session"), 5);
    CHECK_INT(events(c, TOPIC_EVENTS_USER), 5);
    end(c);
}

static void *race_refresh(void *arg)
{
    struct racer *r = arg;

    r->rc = refresh(r->client, r->token, &r->grant);
    return NULL;
}

TEST(refreshes_at_once_get_one_answer)
{
    struct client *c = begin();
    struct racer racers[4];
    Chat__Grant grant;

    CHECK_INT(sign_up(c, "alice", "correct horse", &grant), 0);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 4; i++) {
            racers[i] = (struct racer){.client = open_client(), .token = grant.refresh_token};
        }
        race(racers, 4, race_refresh);
        char *next =
            arena_strdup(c->arena, text_of(racers[0].client, racers[0].grant.refresh_token));
        for (int i = 0; i < 4; i++) {
            CHECK_INT(racers[i].rc, 0);
            CHECK_STR(text_of(racers[i].client, racers[i].grant.refresh_token), next);
            close_client(racers[i].client);
        }
        CHECK(strcmp(next, text_of(c, grant.refresh_token)) != 0);
        grant.refresh_token = pb_str(next);
    }
    CHECK_INT(number(c->db, "SELECT generation FROM session"), 11);
    CHECK_INT(events(c, TOPIC_EVENTS_SESSION), 0);
    end(c);
}

/* What a second connection writes, and commits while the racer waits for the row. */
static void write_while(struct client *c, struct racer *r, void *(*run)(void *), const char *sql)
{
    CHECK_INT(db_begin(c->db), 0);
    must(c->db, sql);
    pthread_create(&r->thread, NULL, run, r);
    sleep_ms(300); /* enough for the racer's hash and its way to the lock */
    CHECK_INT(db_commit(c->db), 0);
    pthread_join(r->thread, NULL);
}

static void *race_login(void *arg)
{
    struct racer *r = arg;

    r->rc = login(r->client, "alice", "correct horse", &r->grant);
    return NULL;
}

/* The password was right when it was checked, and is not any more. */
TEST(no_login_slips_past_a_change_of_password)
{
    struct client *c = begin();
    struct racer r = {.client = open_client()};

    join(c, "alice");
    write_while(c, &r, race_login, "UPDATE user SET password_hash = '" WEAKER "'");
    CHECK_INT(r.rc, ERR_BAD_CREDENTIALS);
    CHECK_INT(number(c->db, "SELECT COUNT(*) FROM session"), 1);
    close_client(r.client);
    end(c);
}

static void *race_old_login(void *arg)
{
    struct racer *r = arg;

    r->rc = login(r->client, "alice", "old password", &r->grant);
    return NULL;
}

/* The one that comes second finds a hash that it has not checked, of the same password. */
TEST(logins_while_a_hash_is_made_anew_are_right)
{
    struct client *c = begin();
    struct racer racers[4];

    join(c, "alice");
    state.attempts = auth_attempts_new(0);
    for (int round = 0; round < 5; round++) {
        must(c->db, "UPDATE user SET password_hash = '" WEAKER "'");
        for (int i = 0; i < 4; i++) {
            racers[i] = (struct racer){.client = open_client()};
        }
        race(racers, 4, race_old_login);
        for (int i = 0; i < 4; i++) {
            CHECK_INT(racers[i].rc, 0);
            close_client(racers[i].client);
        }
    }
    end(c);
}

static void *race_change(void *arg)
{
    struct racer *r = arg;

    r->rc = change(r->client, "correct horse", "battery staple");
    return NULL;
}

/* The old password was right when it was checked, and is not any more. */
TEST(no_change_slips_past_a_change_of_password)
{
    struct client *c = begin();
    struct racer r = {.client = open_client()};

    join(c, "alice");
    r.client->user_id = c->user_id;
    r.client->session_id = c->session_id;
    write_while(c, &r, race_change, "UPDATE user SET password_hash = '" WEAKER "'");
    CHECK_INT(r.rc, ERR_INVALID);
    CHECK_STR(named(r.client), "old_password");
    CHECK_INT(number(c->db, "SELECT COUNT(*) FROM user WHERE password_hash = '" WEAKER "'"), 1);
    close_client(r.client);
    end(c);
}

/* Two others have refreshed meanwhile: what was current when this one was asked is old now. */
TEST(a_refresh_sees_what_others_did)
{
    struct client *c = begin();
    struct racer r = {.client = open_client()};
    Chat__Grant grant;

    CHECK_INT(sign_up(c, "alice", "correct horse", &grant), 0);
    r.token = grant.refresh_token;
    write_while(c, &r, race_refresh, "UPDATE session SET generation = 3");
    CHECK_INT(r.rc, ERR_UNAUTHENTICATED);
    CHECK_INT(number(c->db, "SELECT generation FROM session WHERE ended_at > 0"), 3);
    close_client(r.client);
    end(c);
}

/* ---- Demo accounts ---- */

TEST(demo_accounts_work_once)
{
    struct client *c = begin();
    char line[160], alice[32] = "", bob[32] = "";
    Chat__GetProfilesRequest in = CHAT__GET_PROFILES_REQUEST__INIT;
    Chat__Profiles out = CHAT__PROFILES__INIT;
    Chat__Grant grant;

    CHECK_INT(call(c, auth_users_get_profiles, &in, &out), 0); /* makes c->rq */
    CHECK_INT(auth_demo_fill_database(&c->rq, line, sizeof(line)), 0);
    CHECK_INT(sscanf(line, "demo accounts: alice / %31s bob / %31s", alice, bob), 2);
    CHECK(strcmp(alice, bob) != 0);
    CHECK_INT(login(c, "alice", alice, &grant), 0);
    CHECK_STR(text_of(c, grant.user->nickname), "Alice");
    CHECK_INT(login(c, "bob", bob, &grant), 0);
    CHECK_INT(login(c, "bob", alice, &grant), ERR_BAD_CREDENTIALS);
    CHECK_INT(events(c, TOPIC_EVENTS_USER), 2);
    CHECK_INT(auth_demo_fill_database(&c->rq, line, sizeof(line)), 0);
    CHECK_STR(line, "");
    CHECK_INT(number(c->db, "SELECT COUNT(*) FROM user"), 2);
    end(c);
}
