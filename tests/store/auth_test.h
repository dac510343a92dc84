// SPDX-License-Identifier: MIT
/*
 * What the tests of auth-svc's handlers share: a schema made anew, the service's state, and clients
 * that call handlers directly with a request made by hand. On every database of db_test.h.
 */
#pragma once

#include "tests/store/db_test.h"

#include "auth-svc/handlers.h"
#include "auth-svc/password.h"
#include "auth-svc/schema.h"
#include "common/bus.h"
#include "common/pb.h"
#include "proto/auth.pb-c.h"

#define TEST_SECRET "a secret for tests, long enough for HS256"
#define TEST_NOW 1800000000000

static struct auth_state state;

struct client {
    struct db *db;
    struct arena *arena;
    struct rpc_request rq; /* of the last call */
    uint64_t user_id, session_id;
    const char *address, *device;
};

static inline void make_state(void)
{
    CHECK_INT(auth_password_init(), 0);
    CHECK_INT(token_keys_load(TEST_SECRET, NULL, NULL, &state.keys, problem, sizeof(problem)), 0);
    auth_refresh_derive_key(TEST_SECRET, strlen(TEST_SECRET), state.refresh_key);
    state.attempts = NULL;
    state.access_s = 900;
    state.refresh_s = 2592000;
}

static inline struct client *open_client(void)
{
    struct client *c = calloc(1, sizeof(*c));

    c->db = open_db();
    c->arena = arena_new(0);
    c->address = "192.0.2.1";
    c->device = "test/1.0";
    return c;
}

static inline void close_client(struct client *c)
{
    db_close(c->db);
    arena_free(c->arena);
    free(c);
}

/* An empty schema, made anew by schema.sql, and the first client. */
static inline struct client *begin(void)
{
    static const char *const tables[] = {
        "DROP TABLE IF EXISTS user", "DROP TABLE IF EXISTS session", "DROP TABLE IF EXISTS outbox",
        "DROP TABLE IF EXISTS schema_version"};
    struct client *c = open_client();

    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        must(c->db, tables[i]);
    }
    struct db_schema schema = {.name = "auth", .version = 1, .sql = auth_schema_sql};
    if (!CHECK_INT(db_migrate(c->db, &schema, problem, sizeof(problem)), 0)) {
        printf("    %s\n", problem);
    }
    make_state();
    return c;
}

static inline void end(struct client *c)
{
    close_client(c);
    token_keys_free(state.keys);
    auth_attempts_free(state.attempts);
    state = (struct auth_state){0};
}

/* Fresh request state; what earlier calls returned stays valid until the client is closed. */
static inline int call(struct client *c, rpc_handler_fn fn, const void *in, void *out)
{
    c->rq = (struct rpc_request){
        .arena = c->arena,
        .db = c->db,
        .worker = &state,
        .caller = {.user_id = c->user_id,
                   .session_id = c->session_id,
                   .username = "",
                   .address = c->address,
                   .device = c->device},
        .deadline_ms = INT64_MAX,
        .method = "test",
        .traceparent = "",
        .request_id = "r1",
    };
    return fn(&c->rq, in, out);
}

/* The one field that a 422 named; "" when it named none, or several. */
static inline const char *named(const struct client *c)
{
    return c->rq.error_count == 1 ? c->rq.errors[0].field : "";
}

static inline const char *text_of(struct client *c, ProtobufCBinaryData b)
{
    return pb_cstr(c->arena, b);
}

/* ---- Calls that most tests need ---- */

static inline int sign_up(struct client *c, const char *name, const char *password,
                          Chat__Grant *grant_out)
{
    Chat__SignUpRequest in = CHAT__SIGN_UP_REQUEST__INIT;

    in.username = pb_str(name);
    in.password = pb_str(password);
    *grant_out = (Chat__Grant)CHAT__GRANT__INIT;
    return call(c, auth_accounts_sign_up, &in, grant_out);
}

static inline int login(struct client *c, const char *name, const char *password,
                        Chat__Grant *grant_out)
{
    Chat__LoginRequest in = CHAT__LOGIN_REQUEST__INIT;

    in.username = pb_str(name);
    in.password = pb_str(password);
    *grant_out = (Chat__Grant)CHAT__GRANT__INIT;
    return call(c, auth_accounts_login, &in, grant_out);
}

static inline int refresh(struct client *c, ProtobufCBinaryData token, Chat__Grant *grant_out)
{
    Chat__RefreshRequest in = CHAT__REFRESH_REQUEST__INIT;

    in.refresh_token = token;
    *grant_out = (Chat__Grant)CHAT__GRANT__INIT;
    return call(c, auth_sessions_refresh, &in, grant_out);
}

static inline struct token_claims claims_of(const Chat__Grant *grant)
{
    struct token_claims claims = {0};

    CHECK_INT(token_verify(state.keys, (const char *)grant->token.data, grant->token.len,
                           clock_now_ms() / 1000, &claims),
              0);
    return claims;
}

/* From now on the client is who the grant says. */
static inline void become(struct client *c, const Chat__Grant *grant)
{
    struct token_claims claims = claims_of(grant);

    c->user_id = claims.user_id;
    c->session_id = claims.session_id;
}

/* Signs up and becomes that user. */
static inline uint64_t join(struct client *c, const char *name)
{
    Chat__Grant grant;

    if (CHECK_INT(sign_up(c, name, "correct horse", &grant), 0)) {
        become(c, &grant);
    }
    return c->user_id;
}

/* ---- Events ---- */

static inline int64_t events(struct client *c, enum topic topic)
{
    char sql[96];

    snprintf(sql, sizeof(sql), "SELECT COUNT(*) FROM outbox WHERE topic = %d", topic);
    return number(c->db, sql);
}

/* The newest event of a topic, unpacked, with its key checked. */
static inline void *last_event(struct client *c, enum topic topic,
                               const ProtobufCMessageDescriptor *type, uint64_t key)
{
    struct db_rows rows = {0};
    int rc = db_query(c->db, c->arena,
                      "SELECT value, key_a, key_b, partition_a, request_id FROM outbox "
                      "WHERE topic = ? ORDER BY id DESC LIMIT 1",
                      (struct db_value[]){DB_I(topic)}, 1, &rows);

    if (!CHECK_INT(rc, 0) || !CHECK_INT(rows.count, 1)) {
        return pb_new(type, c->arena);
    }
    CHECK_INT(db_at(&rows, 0, 1)->i, key);
    CHECK_INT(db_at(&rows, 0, 2)->i, 0);
    CHECK_INT(db_at(&rows, 0, 3)->i, key);
    CHECK_STR(db_at(&rows, 0, 4)->p, "r1");
    void *event = pb_unpack(type, c->arena, db_at(&rows, 0, 0)->p, db_at(&rows, 0, 0)->n);
    return CHECK(event != NULL) ? event : pb_new(type, c->arena);
}
