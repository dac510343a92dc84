// SPDX-License-Identifier: MIT
/*
 * What the tests of group-svc's handlers share: they are called directly, with requests made by
 * hand, on a SQLite file, on a SQLite memory database and, when DATABASE_URL is set, on that server
 * too; or only on the database whose URL is the first argument. Further arguments choose tests by
 * name. The tables are dropped and made anew. Included once by each test.
 */
#pragma once

#include "common/db.h"
#include "common/err.h"
#include "common/pb.h"
#include "group-svc/handlers.h"
#include "group-svc/schema.h"
#include "group-svc/store.h"
#include "proto/group.pb-c.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int test_frame_main(int argc, char **argv);
#define main test_frame_main
#include "tests/unit/test.h"
#undef main

enum { ALICE = 11, BOB = 12, CAROL = 13, DAVE = 14, NOBODY = 404, AUTH_IS_DOWN = 503 };

static const char *url;
static struct group_settings settings;

/* auth-svc, as the tests want it. */
static inline int fake_user_exists(struct rpc_request *rq, uint64_t user_id, bool *exists_out)
{
    (void)rq;
    if (user_id == AUTH_IS_DOWN) {
        return ERR_UNAVAILABLE;
    }
    *exists_out = user_id != NOBODY;
    return 0;
}

static struct group_env env = {.settings = &settings, .user_exists = fake_user_exists};

struct client { /* of one thread */
    struct db *db;
    struct arena *arena;
    struct rpc_request rq; /* as the last call left it */
};

static inline struct client client_new(void)
{
    struct client c = {.arena = arena_new(0)};
    char problem[256];

    if (!CHECK_INT(db_open(url, &c.db, problem, sizeof(problem)), 0)) {
        printf("%s\n", problem);
        exit(EXIT_FAILURE);
    }
    return c;
}

static inline void client_free(struct client *c)
{
    db_close(c->db);
    arena_free(c->arena);
}

/* A client on empty tables. */
static inline struct client client_anew(void)
{
    static const char *const drops[] = {
        "DROP TABLE IF EXISTS chat_group", "DROP TABLE IF EXISTS member",
        "DROP TABLE IF EXISTS outbox", "DROP TABLE IF EXISTS schema_version"};
    struct client c = client_new();
    char problem[256] = "";

    settings = (struct group_settings){.max_group_members = 100, .max_groups_per_user = 100};
    for (size_t i = 0; i < sizeof(drops) / sizeof(drops[0]); i++) {
        CHECK_INT(db_exec(c.db, drops[i], NULL, 0, NULL), 0);
    }
    struct db_schema schema = {"groups", GROUP_SCHEMA_VERSION, group_schema_sql};
    if (!CHECK_INT(db_migrate(c.db, &schema, problem, sizeof(problem)), 0)) {
        printf("%s\n", problem);
        exit(EXIT_FAILURE);
    }
    return c;
}

static inline int call(struct client *c, uint64_t user, rpc_handler_fn fn, const void *in,
                       void *out)
{
    c->rq = (struct rpc_request){
        .arena = c->arena,
        .db = c->db,
        .worker = &env,
        .caller = {.user_id = user, .username = "", .address = "", .device = ""},
        .method = "",
        .traceparent = "00-trace",
        .request_id = "request",
    };
    return fn(&c->rq, in, out);
}

/* The only field of a 422; "" when there is none or more. */
static inline const char *bad_field(const struct client *c)
{
    return c->rq.error_count == 1 ? c->rq.errors[0].field : "";
}

static inline struct group_row row_of(struct client *c, uint64_t id)
{
    struct group_row group = {0};
    struct group_member member;

    CHECK_INT(group_store_get(c->db, c->arena, id, 0, &group, &member), 0);
    return group;
}

/* ---- The usual questions ---- */

static inline int create(struct client *c, uint64_t user, const char *name, bool is_public,
                         const char *key, uint64_t *id_out)
{
    Chat__CreateGroupRequest in = CHAT__CREATE_GROUP_REQUEST__INIT;
    Chat__GroupReply out = CHAT__GROUP_REPLY__INIT;

    in.name = pb_str(name);
    in.visibility = is_public ? CHAT__VISIBILITY__TYPE__PUBLIC : CHAT__VISIBILITY__TYPE__PRIVATE;
    in.request_key = pb_str(key);
    int err = call(c, user, group_create, &in, &out);
    if (err == 0) {
        CHECK(pb_equal(out.group->name, name));
        *id_out = out.group->id;
    }
    return err;
}

static inline uint64_t must_create(struct client *c, uint64_t user, const char *name,
                                   bool is_public)
{
    uint64_t id = 0;
    CHECK_INT(create(c, user, name, is_public, "", &id), 0);
    CHECK(id > 0);
    return id;
}

static inline int add(struct client *c, uint64_t user, uint64_t group, uint64_t whom)
{
    Chat__AddMemberRequest in = CHAT__ADD_MEMBER_REQUEST__INIT;
    Chat__AddMemberReply out = CHAT__ADD_MEMBER_REPLY__INIT;

    in.id = group;
    in.user_id = whom;
    int err = call(c, user, group_add_member, &in, &out);
    if (err == 0) {
        CHECK_INT(out.member->user->id, whom);
        CHECK_INT(out.member->role, CHAT__ROLE__TYPE__MEMBER);
        CHECK(out.member->joined_at > 0);
    }
    return err;
}

static inline int remove_member(struct client *c, uint64_t user, uint64_t group, uint64_t whom)
{
    Chat__RemoveMemberRequest in = CHAT__REMOVE_MEMBER_REQUEST__INIT;
    Chat__Empty out = CHAT__EMPTY__INIT;

    in.id = group;
    in.user_id = whom;
    return call(c, user, group_remove_member, &in, &out);
}

static inline int delete_group(struct client *c, uint64_t user, uint64_t group)
{
    Chat__DeleteGroupRequest in = CHAT__DELETE_GROUP_REQUEST__INIT;
    Chat__Empty out = CHAT__EMPTY__INIT;

    in.id = group;
    return call(c, user, group_delete, &in, &out);
}

static inline int get(struct client *c, uint64_t user, uint64_t group, Chat__Group **group_out)
{
    Chat__GetGroupRequest in = CHAT__GET_GROUP_REQUEST__INIT;
    Chat__GroupReply out = CHAT__GROUP_REPLY__INIT;

    in.id = group;
    in.include_members = true;
    int err = call(c, user, group_get, &in, &out);
    if (err == 0) {
        *group_out = out.group;
    }
    return err;
}

static inline int rename_group(struct client *c, uint64_t user, uint64_t group, const char *name)
{
    Chat__UpdateGroupRequest in = CHAT__UPDATE_GROUP_REQUEST__INIT;
    Chat__GroupReply out = CHAT__GROUP_REPLY__INIT;

    in.id = group;
    in.name_given_case = CHAT__UPDATE_GROUP_REQUEST__NAME_GIVEN_NAME;
    in.name = pb_str(name);
    return call(c, user, group_update, &in, &out);
}

static inline Chat__Membership *check_one(struct client *c, uint64_t group, uint64_t user)
{
    Chat__CheckMembersRequest in = CHAT__CHECK_MEMBERS_REQUEST__INIT;
    Chat__CheckMembersReply out = CHAT__CHECK_MEMBERS_REPLY__INIT;
    Chat__Membership pair = CHAT__MEMBERSHIP__INIT, *pairs[] = {&pair};

    pair.group_id = group;
    pair.user_id = user;
    in.n_pairs = 1;
    in.pairs = pairs;
    CHECK_INT(call(c, 0, group_check_members, &in, &out), 0);
    CHECK_INT(out.n_members, 1);
    return out.members[0];
}

/* Makes somebody an admin, which no method does yet. */
static inline void make_admin(struct client *c, uint64_t group, uint64_t user)
{
    CHECK_INT(db_exec(c->db, "UPDATE member SET role = 2 WHERE group_id = ? AND user_id = ?",
                      (struct db_value[]){DB_I(group), DB_I(user)}, 2, NULL),
              0);
}

/* ---- The outbox ---- */

struct told {
    uint64_t key_a, key_b, partition_a;
    Chat__GroupEvent *event;
};

static inline size_t read_outbox(struct client *c, struct told **told_out)
{
    struct db_rows rows = {0};

    CHECK_INT(db_query(c->db, c->arena,
                       "SELECT topic, key_a, key_b, partition_a, value FROM outbox ORDER BY id",
                       NULL, 0, &rows),
              0);
    *told_out = arena_array(c->arena, rows.count, sizeof(**told_out));
    for (size_t i = 0; i < rows.count; i++) {
        struct told *t = &(*told_out)[i];
        const struct db_value *value = db_at(&rows, i, 4);
        CHECK_INT(db_at(&rows, i, 0)->i, TOPIC_EVENTS_GROUP);
        t->key_a = (uint64_t)db_at(&rows, i, 1)->i;
        t->key_b = (uint64_t)db_at(&rows, i, 2)->i;
        t->partition_a = (uint64_t)db_at(&rows, i, 3)->i;
        t->event = pb_unpack(&chat__group_event__descriptor, c->arena, value->p, value->n);
        if (!CHECK(t->event != NULL)) {
            exit(EXIT_FAILURE);
        }
    }
    return rows.count;
}

static inline int run_on(const char *database, int argc, char **argv)
{
    url = database;
    printf("on %.7s%s\n", url, strstr(url, ":memory:") != NULL ? ":memory:" : "…");
    return test_frame_main(argc, argv);
}

int main(int argc, char **argv)
{
    log_set_level(LOG_WARN);
    if (argc > 1 && (strncmp(argv[1], "mysql:", 6) == 0 || strncmp(argv[1], "sqlite:", 7) == 0)) {
        char *own = argv[1];

        argv[1] = argv[0];
        return run_on(own, argc - 1, argv + 1);
    }
    char dir[] = "/tmp/test_group.XXXXXX", file[64], sqlite_url[80];
    if (mkdtemp(dir) == NULL) {
        return EXIT_FAILURE;
    }
    snprintf(file, sizeof(file), "%s/groups.db", dir);
    snprintf(sqlite_url, sizeof(sqlite_url), "sqlite:%s", file);
    int failed = run_on(sqlite_url, argc, argv);
    unlink(file);
    rmdir(dir);
    failed |= run_on("sqlite::memory:groups", argc, argv);
    if (getenv("DATABASE_URL") != NULL) {
        failed |= run_on(getenv("DATABASE_URL"), argc, argv);
    }
    return failed;
}
