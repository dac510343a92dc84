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
    auth_refresh_add_key(&state.refresh_keys, TEST_SECRET, strlen(TEST_SECRET));
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
