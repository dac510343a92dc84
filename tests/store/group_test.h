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
#include "common/topics.h"
#include "group-svc/handlers.h"
#include "group-svc/schema.h"
#include "group-svc/store.h"

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

static inline void fake_changed(struct rpc_request *rq)
{
    (void)rq;
}

static struct group_env env = {
    .settings = &settings, .changed = fake_changed, .user_exists = fake_user_exists};

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
