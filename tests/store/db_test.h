// SPDX-License-Identifier: MIT
/*
 * What the tests of the database client share. A program runs its tests on a SQLite file, on a
 * SQLite memory database and, when DATABASE_URL is set, on that server too; or only on the database
 * whose URL is the first argument. Further arguments choose tests by name. Tables are made in the
 * given schema and dropped. Included once by each test, before anything else.
 */
#pragma once

#include "common/db.h"

#include "common/arena.h"
#include "common/err.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int test_frame_main(int argc, char **argv);
#define main test_frame_main
#include "tests/unit/test.h"
#undef main

static const char *url;
static char problem[256];

static inline bool on_sqlite(void)
{
    return strncmp(url, "sqlite:", 7) == 0;
}

static inline struct db *open_db(void)
{
    struct db *db = NULL;

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

    if (CHECK_INT(db_query(db, arena, sql, NULL, 0, &rows), 0) && CHECK_INT(rows.count, 1)) {
        value = db_at(&rows, 0, 0)->i;
    }
    arena_free(arena);
    return value;
}

static inline bool equal(const struct db_value *v, const void *p, size_t n)
{
    return v->type == DB_BYTES && v->n == n && memcmp(v->p, p, n) == 0 &&
           ((const char *)v->p)[n] == '\0';
}

static inline void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static inline void make_pairs(struct db *db)
{
    must(db, "DROP TABLE IF EXISTS pairs");
    must(db, db_sql(db,
                    "CREATE TABLE pairs (a BIGINT, b BIGINT, t VARCHAR(300), PRIMARY KEY (a, b))"
                    " CHARSET utf8mb4 COLLATE utf8mb4_bin",
                    "CREATE TABLE pairs (a BIGINT, b BIGINT, t VARCHAR(300), PRIMARY KEY (a, b))"));
}

struct worker {
    pthread_t thread;
    struct db *db;
    int64_t key;
    int rc;
};

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
    char dir[] = "/tmp/test_db.XXXXXX", file[64], sqlite_url[80];
    if (mkdtemp(dir) == NULL) {
        return EXIT_FAILURE;
    }
    snprintf(file, sizeof(file), "%s/people.db", dir);
    snprintf(sqlite_url, sizeof(sqlite_url), "sqlite:%s", file);
    int failed = run_on(sqlite_url, argc, argv);
    unlink(file);
    rmdir(dir);
    failed |= run_on("sqlite::memory:people", argc, argv);
    if (getenv("DATABASE_URL") != NULL) {
        failed |= run_on(getenv("DATABASE_URL"), argc, argv);
    }
    return failed;
}
