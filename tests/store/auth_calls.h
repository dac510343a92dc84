// SPDX-License-Identifier: MIT
/*
 * Calls and looks at events that most tests of auth-svc need. Over auth_test.h.
 */
#pragma once

#include "tests/store/auth_test.h"

#include "common/topics.h"

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
