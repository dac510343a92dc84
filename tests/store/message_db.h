// SPDX-License-Identifier: MIT
/*
 * The frame of message-svc's tests on databases: a SQLite file, a SQLite memory database and, when
 * DATABASE_URL is set, that server too; or only the database whose URL is the first argument.
 * Further arguments choose tests by name. The tables are dropped and made anew. Included once.
 */
#pragma once

#include "common/db.h"
#include "common/err.h"
#include "message-svc/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int test_frame_main(int argc, char **argv);
#define main test_frame_main
#include "tests/unit/test.h"
#undef main

static const char *url;

/* ---- Databases ---- */

static inline struct db *open_db(void)
{
    struct db *db = NULL;
    char problem[256];
    if (!CHECK_INT(db_open(url, &db, problem, sizeof(problem)), 0)) {
        printf("%s\n", problem);
        exit(EXIT_FAILURE);
    }
    return db;
}

static inline void must(struct db *db, const char *sql)
{
    if (!CHECK_INT(db_exec(db, sql, NULL, 0, NULL), 0)) {
        printf("    %s\n", sql);
    }
}

static inline int64_t number(struct db *db, const char *sql)
{
    struct arena *arena = arena_new(0);
    struct db_rows rows = {0};
    int64_t value = -1;
    if (CHECK_INT(db_query(db, arena, sql, NULL, 0, &rows), 0) && CHECK(rows.count > 0)) {
        value = db_at(&rows, 0, 0)->i;
    }
    arena_free(arena);
    return value;
}

static inline struct db *make_tables(void)
{
    static const char *const tables[] = {"message",  "conversation",  "participant",
                                         "member",   "group_copy",    "send_position",
                                         "id_block", "schema_version"};
    struct db *db = open_db();
    char problem[256] = "", sql[80];
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        snprintf(sql, sizeof(sql), "DROP TABLE IF EXISTS %s", tables[i]);
        must(db, sql);
    }
    if (!CHECK_INT(db_migrate(db, &(struct db_schema){"message", 1, message_schema_sql}, problem,
                              sizeof(problem)),
                   0)) {
        printf("%s\n", problem);
        exit(EXIT_FAILURE);
    }
    return db;
}

/* ---- Programs ---- */

static inline int run_on(const char *database, int argc, char **argv)
{
    url = database;
    printf("on %.7s%s\n", url, strstr(url, ":memory:") != NULL ? ":memory:" : "…");
    return test_frame_main(argc, argv);
}

int main(int argc, char **argv)
{
    if (argc > 1 && (strncmp(argv[1], "mysql:", 6) == 0 || strncmp(argv[1], "sqlite:", 7) == 0)) {
        char *own = argv[1];
        argv[1] = argv[0];
        return run_on(own, argc - 1, argv + 1);
    }
    char dir[] = "/tmp/test_message.XXXXXX", sqlite_url[80];
    if (mkdtemp(dir) == NULL) {
        return EXIT_FAILURE;
    }
    snprintf(sqlite_url, sizeof(sqlite_url), "sqlite:%s/message.db", dir);
    int failed = run_on(sqlite_url, argc, argv);
    unlink(sqlite_url + strlen("sqlite:"));
    rmdir(dir);
    failed |= run_on("sqlite::memory:message", argc, argv);
    if (getenv("DATABASE_URL") != NULL) {
        failed |= run_on(getenv("DATABASE_URL"), argc, argv);
    }
    return failed;
}
