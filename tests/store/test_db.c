// SPDX-License-Identifier: MIT
/*
 * The database client against real databases: a SQLite file, a SQLite memory database and, when
 * DATABASE_URL is set, that server too; or only the database whose URL is the first argument.
 * Further arguments choose tests by name. Tables are made in the given schema and dropped.
 *
 * DATABASE_RESTART: a program that restarts the server; without it that test is left out.
 */
#include "common/db.h"

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/random.h"

#include <errno.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int test_frame_main(int argc, char **argv);
#define main test_frame_main
#include "tests/unit/test.h"
#undef main

extern char **environ;

static const char *url;
static char problem[256];

static bool on_sqlite(void)
{
    return strncmp(url, "sqlite:", 7) == 0;
}

static struct db *open_db(void)
{
    struct db *db = NULL;

    if (!CHECK_INT(db_open(url, &db, problem, sizeof(problem)), 0)) {
        printf("%s\n", problem);
        exit(EXIT_FAILURE);
    }
    return db;
}

static void must(struct db *db, const char *sql)
{
    if (!CHECK_INT(db_exec(db, sql, NULL, 0, NULL), 0)) {
        printf("    %s\n", sql);
    }
}

static int64_t number(struct db *db, const char *sql)
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

static bool equal(const struct db_value *v, const void *p, size_t n)
{
    return v->type == DB_BYTES && v->n == n && memcmp(v->p, p, n) == 0 &&
           ((const char *)v->p)[n] == '\0';
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void make_pairs(struct db *db)
{
    must(db, "DROP TABLE IF EXISTS pairs");
    must(db, db_sql(db,
                    "CREATE TABLE pairs (a BIGINT, b BIGINT, t VARCHAR(300), PRIMARY KEY (a, b))"
                    " CHARSET utf8mb4 COLLATE utf8mb4_bin",
                    "CREATE TABLE pairs (a BIGINT, b BIGINT, t VARCHAR(300), PRIMARY KEY (a, b))"));
}

/* ---- Values ---- */

static void make_things(struct db *db)
{
    must(db, "DROP TABLE IF EXISTS things");
    must(db, db_sql(db,
                    "CREATE TABLE things (id BIGINT PRIMARY KEY, small TINYINT, n BIGINT,"
                    " name VARCHAR(200), body LONGBLOB, UNIQUE KEY by_name (name))"
                    " CHARSET utf8mb4 COLLATE utf8mb4_bin",
                    "CREATE TABLE things (id INTEGER PRIMARY KEY, small TINYINT, n BIGINT,"
                    " name VARCHAR(200) UNIQUE, body LONGBLOB)"));
}

static void put_thing(struct db *db, int64_t id, int64_t n, struct db_value name,
                      struct db_value body)
{
    struct db_value row[] = {DB_I(id), DB_I(-7), DB_I(n), name, body};
    int64_t affected = 0;

    CHECK_INT(db_exec(db, "INSERT INTO things (id, small, n, name, body) VALUES (?,?,?,?,?)", row,
                      5, &affected),
              0);
    CHECK_INT(affected, 1);
}

TEST(types)
{
    static const char smile[] = "\xf0\x9f\x98\x80 \xe4\xbd\xa0\xe5\xa5\xbd \xc3\xa9 A";
    struct db *db = open_db();
    struct arena *arena = arena_new(0);
    struct db_rows rows = {0};

    make_things(db);
    put_thing(db, 1, INT64_MAX, DB_S(smile), DB_B("a\0b", 3));
    put_thing(db, 2, INT64_MIN, DB_S(""), DB_B("", 0));
    put_thing(db, 3, 0, DB_S(NULL), DB_N());
    CHECK_INT(db_query(db, arena, "SELECT id, small, n, name, body FROM things ORDER BY id", NULL,
                       0, &rows),
              0);
    CHECK_INT(rows.count, 3);
    CHECK_INT(rows.columns, 5);
    CHECK_INT(db_at(&rows, 0, 0)->i, 1);
    CHECK(db_at(&rows, 0, 1)->type == DB_INT && db_at(&rows, 0, 1)->i == -7);
    CHECK(db_at(&rows, 0, 2)->i == INT64_MAX);
    CHECK(db_at(&rows, 1, 2)->i == INT64_MIN);
    CHECK(equal(db_at(&rows, 0, 3), smile, sizeof(smile) - 1));
    CHECK(equal(db_at(&rows, 0, 4), "a\0b", 3));
    CHECK(equal(db_at(&rows, 1, 3), "", 0));
    CHECK(equal(db_at(&rows, 1, 4), "", 0));
    CHECK(db_at(&rows, 2, 3)->type == DB_NULL);
    CHECK(db_at(&rows, 2, 4)->type == DB_NULL);

    struct db_value found[] = {DB_S(smile), DB_B("a\0b", 3)};
    CHECK_INT(
        db_query(db, arena, "SELECT id FROM things WHERE name = ? AND body = ?", found, 2, &rows),
        0);
    CHECK_INT(rows.count, 1);
    CHECK_INT(db_query(db, arena, "SELECT id FROM things WHERE name = 'nobody'", NULL, 0, &rows),
              0);
    CHECK_INT(rows.count, 0);
    CHECK_INT(number(db, "SELECT COUNT(*) FROM things"), 3);
    CHECK_INT(number(db, "SELECT SUM(small) FROM things"), -21);
    CHECK_INT(number(db, "SELECT MAX(id) FROM things"), 3);
    CHECK_INT(db_query(db, arena, "SELECT 1.5", NULL, 0, &rows), 0);
    CHECK(equal(db_at(&rows, 0, 0), "1.5", 3));
    arena_free(arena);
    must(db, "DROP TABLE things");
    db_close(db);
}

TEST(case_matters)
{
    struct db *db = open_db();

    make_things(db);
    put_thing(db, 1, 0, DB_S("alice"), DB_N());
    put_thing(db, 2, 0, DB_S("Alice"), DB_N());
    put_thing(db, 3, 0, DB_S("\xc3\xa1lice"), DB_N());
    CHECK_INT(number(db, "SELECT id FROM things WHERE name = 'Alice'"), 2);
    must(db, "DROP TABLE things");
    db_close(db);
}

TEST(long_values)
{
    static const size_t sizes[] = {1, 255, 256, 4095, 65535, 65536, 16384, 1 << 20, 3};
    enum { N = sizeof(sizes) / sizeof(sizes[0]) };
    struct db *db = open_db();
    struct arena *arena = arena_new(0);
    struct db_rows rows = {0};
    char *data = malloc(1 << 20);

    make_things(db);
    random_bytes(data, 1 << 20);
    for (size_t i = 0; i < N; i++) {
        put_thing(db, (int64_t)i, 0, DB_N(), DB_B(data, sizes[i]));
    }
    CHECK_INT(db_query(db, arena, "SELECT body, id, body FROM things ORDER BY id", NULL, 0, &rows),
              0);
    CHECK_INT(rows.count, N);
    for (size_t i = 0; i < rows.count; i++) {
        CHECK(equal(db_at(&rows, i, 0), data, sizes[i]));
        CHECK(equal(db_at(&rows, i, 2), data, sizes[i]));
        CHECK_INT(db_at(&rows, i, 1)->i, i);
    }
    free(data);
    arena_free(arena);
    must(db, "DROP TABLE things");
    db_close(db);
}

/* ---- What statements report ---- */

TEST(duplicate_key)
{
    struct db *db = open_db();
    struct db_value again[] = {DB_I(2), DB_S("alice")};

    make_things(db);
    put_thing(db, 1, 0, DB_S("alice"), DB_N());
    CHECK_INT(db_exec(db, "INSERT INTO things (id, name) VALUES (?,?)", again, 2, NULL),
              ERR_DUPLICATE);
    again[0].i = 1;
    again[1] = DB_S("bob");
    CHECK_INT(db_exec(db, "INSERT INTO things (id, name) VALUES (?,?)", again, 2, NULL),
              ERR_DUPLICATE);
    /* The transaction around it goes on. */
    CHECK_INT(db_begin(db), 0);
    CHECK_INT(db_exec(db, "INSERT INTO things (id, name) VALUES (?,?)", again, 2, NULL),
              ERR_DUPLICATE);
    put_thing(db, 7, 0, DB_S("carol"), DB_N());
    CHECK_INT(db_commit(db), 0);
    CHECK_INT(number(db, "SELECT COUNT(*) FROM things"), 2);
    must(db, "DROP TABLE things");
    db_close(db);
}

TEST(affected_counts_matches)
{
    struct db *db = open_db();
    struct arena *arena = arena_new(0);
    struct db_rows rows;
    int64_t affected = -1;

    make_pairs(db);
    must(db, "INSERT INTO pairs (a, b, t) VALUES (1, 1, 'x'), (1, 2, 'x'), (2, 1, 'y')");
    CHECK_INT(db_exec(db, "UPDATE pairs SET t = 'x' WHERE a = 1", NULL, 0, &affected), 0);
    CHECK_INT(affected, 2);
    CHECK_INT(db_exec(db, "UPDATE pairs SET t = 'x' WHERE a = 9", NULL, 0, &affected), 0);
    CHECK_INT(affected, 0);
    CHECK_INT(db_query(db, arena, "SELECT a FROM pairs", NULL, 0, &rows), 0);
    CHECK_INT(db_exec(db, "DELETE FROM pairs WHERE a < 9", NULL, 0, &affected), 0);
    CHECK_INT(affected, 3);
    CHECK_INT(db_exec(db, "DROP TABLE pairs", NULL, 0, &affected), 0);
    CHECK_INT(affected, 0);
    arena_free(arena);
    db_close(db);
}

TEST(last_id)
{
    struct db *db = open_db();

    must(db, "DROP TABLE IF EXISTS counted");
    must(db, db_sql(db, "CREATE TABLE counted (id BIGINT AUTO_INCREMENT PRIMARY KEY, n BIGINT)",
                    "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, n BIGINT)"));
    must(db, "INSERT INTO counted (n) VALUES (5)");
    int64_t first = db_last_id(db);
    CHECK(first > 0);
    must(db, "INSERT INTO counted (n) VALUES (6)");
    CHECK(db_last_id(db) > first);
    must(db, "UPDATE counted SET n = 7");
    must(db, "DROP TABLE counted");
    db_close(db);
}

TEST(refused_statement)
{
    struct db *db = open_db();
    struct arena *arena = arena_new(0);
    struct db_rows rows = {.count = 77};

    EXPECT_WARNINGS(2);
    CHECK_INT(db_exec(db, "SELEKT 1", NULL, 0, NULL), ERR_INTERNAL);
    CHECK_INT(db_query(db, arena, "SELECT nothing FROM nowhere", NULL, 0, &rows), ERR_INTERNAL);
    CHECK_INT(rows.count, 77); /* untouched */
    CHECK_INT(number(db, "SELECT 5"), 5);
    arena_free(arena);
    db_close(db);
}

TEST(more_texts_than_the_cache_holds)
{
    struct db *db = open_db();

    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 600; i++) {
            char sql[40];

            snprintf(sql, sizeof(sql), "SELECT %d", i);
            CHECK_INT(number(db, sql), i);
            CHECK_INT(number(db, "SELECT 12345"), 12345);
        }
    }
    db_close(db);
}

/* ---- Many rows, many keys ---- */

static void insert_rows(struct db *db, size_t n)
{
    struct db_value *values = calloc(n > 0 ? n : 1, 3 * sizeof(*values));

    for (size_t i = 0; i < n; i++) {
        values[3 * i] = DB_I(i % 7);
        values[3 * i + 1] = DB_I(i);
        values[3 * i + 2] = i % 3 == 0 ? DB_N() : DB_S("text");
    }
    CHECK_INT(db_begin(db), 0);
    must(db, "DELETE FROM pairs");
    CHECK_INT(db_insert(db, "INSERT INTO pairs (a, b, t) VALUES", 3, values, n, NULL), 0);
    CHECK_INT(db_commit(db), 0);
    CHECK_INT(number(db, "SELECT COUNT(*) FROM pairs"), n);
    CHECK_INT(number(db, "SELECT COALESCE(SUM(b), 0) FROM pairs"),
              n > 0 ? (int64_t)(n * (n - 1) / 2) : 0);
    free(values);
}

TEST(insert_of_any_size)
{
    struct db *db = open_db();

    make_pairs(db);
    for (size_t n = 0; n <= 70; n++) {
        insert_rows(db, n);
    }
    for (size_t n = 71; n < 1000; n += 73) {
        insert_rows(db, n);
    }
    insert_rows(db, 1000);

    struct db_value twice[] = {DB_I(500), DB_I(1), DB_S("a"), DB_I(500), DB_I(1), DB_S("b")};
    CHECK_INT(db_insert(db, "INSERT INTO pairs (a, b, t) VALUES", 3, twice, 1, NULL), 0);
    CHECK_INT(db_insert(db, "INSERT INTO pairs (a, b, t) VALUES", 3, twice + 3, 1, NULL),
              ERR_DUPLICATE);
    CHECK_INT(db_insert(db, "INSERT INTO pairs (a, b, t) VALUES", 3, twice + 3, 1,
                        db_sql(db, "ON DUPLICATE KEY UPDATE t = VALUES(t)",
                               "ON CONFLICT (a, b) DO UPDATE SET t = excluded.t")),
              0);
    CHECK_INT(number(db, "SELECT COUNT(*) FROM pairs WHERE a = 500 AND t = 'b'"), 1);
    must(db, "DROP TABLE pairs");
    db_close(db);
}

static void query_list(struct db *db, size_t n)
{
    struct arena *arena = arena_new(0);
    struct db_value *list = calloc(2 * n + 1, sizeof(*list));
    struct db_rows rows = {0};

    for (size_t i = 0; i < n; i++) {
        list[i] = DB_I(i);
    }
    CHECK_INT(db_query_in(db, arena,
                          "SELECT b FROM pairs WHERE a < ? AND b IN (%s) AND b >= ? ORDER BY b",
                          (struct db_value[]){DB_I(7)}, 1, list, n, 1, (struct db_value[]){DB_I(0)},
                          1, &rows),
              0);
    CHECK_INT(rows.count, n);
    for (size_t i = 0; i < rows.count; i++) {
        CHECK_INT(db_at(&rows, i, 0)->i, i);
    }
    for (size_t i = 0; i < n; i++) { /* every second one is there */
        list[2 * i] = DB_I((i + i % 2) % 7);
        list[2 * i + 1] = DB_I(i);
    }
    CHECK_INT(db_query_in(db, arena, "SELECT b FROM pairs WHERE (a, b) IN (%s) ORDER BY b", NULL, 0,
                          list, 2 * n, 2, NULL, 0, &rows),
              0);
    CHECK_INT(rows.count, (n + 1) / 2);
    free(list);
    arena_free(arena);
}

TEST(query_in_lists)
{
    struct db *db = open_db();

    make_pairs(db);
    insert_rows(db, 1100);
    for (size_t n = 0; n <= 1024; n += n < 40 ? 1 : 41) {
        query_list(db, n);
    }
    query_list(db, 1023);
    query_list(db, 1024);
    must(db, "DROP TABLE pairs");
    db_close(db);
}

/* ---- Transactions ---- */

TEST(transactions)
{
    struct db *db = open_db();
    struct db *other = open_db();

    make_pairs(db);
    db_rollback(db); /* nothing */
    CHECK_INT(db_begin(db), 0);
    must(db, "INSERT INTO pairs (a, b) VALUES (1, 1)");
    db_rollback(db);
    CHECK_INT(number(db, "SELECT COUNT(*) FROM pairs"), 0);
    CHECK_INT(db_begin(db), 0);
    must(db, "INSERT INTO pairs (a, b) VALUES (1, 1)");
    CHECK_INT(number(db, "SELECT COUNT(*) FROM pairs"), 1);
    CHECK_INT(db_commit(db), 0);
    CHECK_INT(number(other, "SELECT COUNT(*) FROM pairs"), 1);
    CHECK_INT(db_begin(db), 0);
    must(db, "INSERT INTO pairs (a, b) VALUES (2, 2)");
    db_close(db); /* rolls back */
    CHECK_INT(number(other, "SELECT COUNT(*) FROM pairs"), 1);
    must(other, "DROP TABLE pairs");
    db_close(other);
}

struct worker {
    pthread_t thread;
    struct db *db;
    int64_t key;
    int rc;
};

/* Locks its own row, then the other's. */
static void *lock_both(void *arg)
{
    struct worker *w = arg;
    struct db_value first[] = {DB_I(w->key)}, second[] = {DB_I(3 - w->key)};

    w->rc = db_begin(w->db);
    if (w->rc == 0) {
        w->rc = db_exec(w->db, "UPDATE pairs SET t = 'x' WHERE a = ?", first, 1, NULL);
    }
    sleep_ms(300);
    if (w->rc == 0) {
        w->rc = db_exec(w->db, "UPDATE pairs SET t = 'x' WHERE a = ?", second, 1, NULL);
    }
    if (w->rc == 0) {
        w->rc = db_commit(w->db);
        return NULL;
    }
    /* The transaction is over; whoever does not notice must not write outside of it. */
    CHECK_INT(db_exec(w->db, "UPDATE pairs SET t = 'wrong'", NULL, 0, NULL), w->rc);
    CHECK_INT(db_commit(w->db), w->rc);
    return NULL;
}

TEST(deadlock_is_stale)
{
    struct worker w[2] = {{.db = open_db(), .key = 1}, {.db = open_db(), .key = 2}};

    make_pairs(w[0].db);
    must(w[0].db, "INSERT INTO pairs (a, b, t) VALUES (1, 1, 'a'), (2, 2, 'b')");
    for (int i = 0; i < 2; i++) {
        pthread_create(&w[i].thread, NULL, lock_both, &w[i]);
    }
    pthread_join(w[0].thread, NULL);
    pthread_join(w[1].thread, NULL);
    if (on_sqlite()) { /* one writer at a time: no deadlock */
        CHECK_INT(w[0].rc, 0);
        CHECK_INT(w[1].rc, 0);
    } else {
        CHECK((w[0].rc == 0) != (w[1].rc == 0));
        CHECK_INT(w[0].rc + w[1].rc, ERR_STALE);
    }
    CHECK_INT(number(w[1].db, "SELECT COUNT(*) FROM pairs WHERE t = 'x'"), 2);
    must(w[0].db, "DROP TABLE pairs");
    db_close(w[0].db);
    db_close(w[1].db);
}

TEST(lock_timeout_is_stale)
{
    struct db *db = open_db(), *other = open_db();

    make_pairs(db);
    must(db, "INSERT INTO pairs (a, b, t) VALUES (1, 1, 'a')");
    CHECK_INT(number(other, "SELECT a FROM pairs"), 1);
    CHECK_INT(db_begin(db), 0);
    must(db, "UPDATE pairs SET t = 'b'");
    int64_t start_ms = clock_mono_ms();
    CHECK_INT(db_exec(other, "UPDATE pairs SET t = 'c'", NULL, 0, NULL), ERR_STALE);
    int64_t took_ms = clock_mono_ms() - start_ms;
    CHECK(took_ms >= 4000 && took_ms < 8000);
    CHECK_INT(db_commit(db), 0);
    must(other, "UPDATE pairs SET t = 'c'");
    must(db, "DROP TABLE pairs");
    db_close(db);
    db_close(other);
}

static void *count_up(void *arg)
{
    struct worker *w = arg;
    struct arena *arena = arena_new(0);

    for (int i = 0; i < 100 && w->rc == 0; i++) {
        struct db_rows rows;
        struct db_value row[] = {DB_I(w->key), DB_I(i)};

        do {
            w->rc = db_begin(w->db);
            if (w->rc == 0) {
                w->rc = db_exec(w->db, "UPDATE pairs SET b = b + 1 WHERE a = 0", NULL, 0, NULL);
            }
            if (w->rc == 0) {
                w->rc = db_insert(w->db, "INSERT INTO pairs (a, b) VALUES", 2, row, 1, NULL);
            }
            if (w->rc == 0) {
                w->rc = db_commit(w->db);
            } else {
                db_rollback(w->db);
            }
        } while (w->rc == ERR_STALE && !on_sqlite());
        for (int k = 0; k < 5 && w->rc == 0; k++) {
            w->rc = db_query(w->db, arena, "SELECT a, b, t FROM pairs", NULL, 0, &rows);
        }
        arena_reset(arena);
    }
    arena_free(arena);
    return NULL;
}

TEST(threads_read_and_write_at_once)
{
    enum { THREADS = 4 };
    struct worker w[THREADS];
    struct db *db = open_db();

    make_pairs(db);
    must(db, "INSERT INTO pairs (a, b) VALUES (0, 0)");
    for (int i = 0; i < THREADS; i++) {
        w[i] = (struct worker){.db = open_db(), .key = i + 1};
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&w[i].thread, NULL, count_up, &w[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(w[i].thread, NULL);
        CHECK_INT(w[i].rc, 0);
        db_close(w[i].db);
    }
    CHECK_INT(number(db, "SELECT b FROM pairs WHERE a = 0"), THREADS * 100);
    CHECK_INT(number(db, "SELECT COUNT(*) FROM pairs"), THREADS * 100 + 1);
    must(db, "DROP TABLE pairs");
    db_close(db);
}

/* ---- Migrations ---- */

static const char step_1[] = "-- A schema for the test; this is no statement;\n"
                             "-- version 1\n"
                             "-- mysql\n"
                             "CREATE TABLE IF NOT EXISTS person (\n"
                             "    id BIGINT AUTO_INCREMENT PRIMARY KEY, -- a number\n"
                             "    name VARCHAR(40)\n"
                             ") CHARSET utf8mb4 COLLATE utf8mb4_bin;\n"
                             "-- sqlite\n"
                             "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT);\n"
                             "\n"
                             "-- both\n"
                             "INSERT INTO person (name)\n"
                             "\n"
                             "    VALUES ('first; of all'); \r\n";
static const char step_2[] = "-- version 2\n"
                             "ALTER TABLE person ADD COLUMN age BIGINT NOT NULL DEFAULT 30;\n"
                             "INSERT INTO person (name) VALUES ('second');\n";

static void forget_schema(struct db *db)
{
    must(db, "DROP TABLE IF EXISTS schema_version");
    must(db, "DROP TABLE IF EXISTS person");
}

static int migrate(struct db *db, int64_t version, const char *sql)
{
    struct db_schema schema = {.name = "people", .version = version, .sql = sql};

    problem[0] = '\0';
    return db_migrate(db, &schema, problem, sizeof(problem));
}

static int migrate_two(struct db *db)
{
    char both[2000];

    snprintf(both, sizeof(both), "%s%s", step_1, step_2);
    return migrate(db, 2, both);
}

TEST(migration)
{
    struct db *db = open_db();

    forget_schema(db);
    CHECK_INT(migrate(db, 1, step_1), 0);
    CHECK_INT(number(db, "SELECT COUNT(*) FROM person"), 1);
    CHECK_INT(migrate(db, 1, step_1), 0); /* nothing to do */
    CHECK_INT(number(db, "SELECT COUNT(*) FROM person"), 1);
    CHECK_INT(migrate_two(db), 0); /* from the version before */
    CHECK_INT(number(db, "SELECT COUNT(*) FROM person"), 2);
    CHECK_INT(number(db, "SELECT SUM(age) FROM person"), 60);
    CHECK_INT(number(db, "SELECT MAX(version) FROM schema_version"), 2);
    CHECK_INT(migrate(db, 1, step_1), ERR_INVALID); /* newer than this program */
    CHECK_STR(problem, "The schema of people is at version 2, newer than this program's 1.");
    forget_schema(db);
    CHECK_INT(migrate_two(db), 0); /* fresh */
    CHECK_INT(number(db, "SELECT SUM(age) FROM person"), 60);
    forget_schema(db);
    db_close(db);
}

TEST(migration_of_wrong_texts)
{
    static const char *const wrong[] = {
        "",
        "CREATE TABLE person (id BIGINT);\n-- version 1\n",
        "-- version 1\nCREATE TABLE person (id BIGINT)\n",
        "-- version 1\nCREATE TABLE person (id BIGINT)\n-- both\n;\n",
        "-- version 2\nCREATE TABLE person (id BIGINT);\n-- version 1\n",
        "-- version one\n",
        "-- version 1x\n",
        "-- version 2\n",
        "-- version 1\n-- version 99999999999999999999\n",
    };
    struct db *db = open_db();

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CHECK_INT(migrate(db, 1, wrong[i]), ERR_INVALID);
        CHECK(problem[0] != '\0');
    }
    EXPECT_WARNINGS(1);
    forget_schema(db);
    CHECK_INT(migrate(db, 1, "-- version 1\nCREATE TABLE person (id BIGINT);\nNONSENSE;\n"),
              ERR_INTERNAL);
    CHECK_STR(problem, "The schema of people could not be brought to version 1.");
    CHECK_INT(number(db, "SELECT 1"), 1);
    forget_schema(db);
    db_close(db);
}

static void *migrate_thread(void *arg)
{
    struct worker *w = arg;
    char text[2000], sentence[256];
    struct db_schema schema = {.name = "people", .version = 2, .sql = text};

    snprintf(text, sizeof(text), "%s%s", step_1, step_2);
    w->rc = db_migrate(w->db, &schema, sentence, sizeof(sentence));
    return NULL;
}

TEST(migrators_at_once)
{
    enum { THREADS = 4 };
    struct worker w[THREADS];
    struct db *db = open_db();

    for (int round = 0; round < 5; round++) {
        forget_schema(db);
        for (int i = 0; i < THREADS; i++) {
            w[i] = (struct worker){.db = open_db()};
            pthread_create(&w[i].thread, NULL, migrate_thread, &w[i]);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(w[i].thread, NULL);
            CHECK_INT(w[i].rc, 0);
            db_close(w[i].db);
        }
        CHECK_INT(number(db, "SELECT COUNT(*) FROM person"), 2);
    }
    forget_schema(db);
    db_close(db);
}

/* ---- URLs ---- */

TEST(wrong_urls)
{
    static const char *const wrong[] = {
        "",
        "postgres://x",
        "sqlite:",
        "sqlite:/nowhere/at/all.db",
        "mysql:",
        "mysql://",
        "mysql://host",
        "mysql://host:99999/schema",
        "mysql://host:/schema",
        "mysql://u:p@host:1/",
        "mysql://u:p@host:1/s?tls=maybe",
        "mysql://u:p@host:1/s?colour=red",
        "mysql://u:%zz@host/s",
        "mysql://u:p@:1/s",
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct db *db = NULL;

        problem[0] = '\0';
        if (!CHECK_INT(db_open(wrong[i], &db, problem, sizeof(problem)), ERR_INVALID)) {
            printf("    %s\n", wrong[i]);
        }
        CHECK(problem[0] != '\0' && db == NULL);
    }
    db_close(NULL);
}

/* ---- Lost connections ---- */

TEST(nobody_listens)
{
    struct db *db = NULL;

    EXPECT_WARNINGS(1);
    if (!CHECK_INT(db_open("mysql://u:p@127.0.0.1:1/s", &db, problem, sizeof(problem)), 0)) {
        return;
    }
    CHECK_INT(db_exec(db, "SELECT 1", NULL, 0, NULL), ERR_UNAVAILABLE);
    CHECK_INT(db_begin(db), ERR_UNAVAILABLE); /* the backoff: no further try, no further line */
    db_close(db);
}

static void kill_connection(struct db *killer, struct db *victim)
{
    char sql[60];

    snprintf(sql, sizeof(sql), "KILL %lld", (long long)number(victim, "SELECT CONNECTION_ID()"));
    must(killer, sql);
    sleep_ms(50);
}

TEST(killed_connection)
{
    if (on_sqlite()) {
        return;
    }
    struct db *db = open_db(), *killer = open_db();
    make_pairs(db);

    kill_connection(killer, db); /* an idle one is noticed before the next statement */
    CHECK_INT(number(db, "SELECT 1"), 1);
    kill_connection(killer, db);
    CHECK_INT(db_begin(db), 0);
    must(db, "INSERT INTO pairs (a, b) VALUES (1, 1)");
    kill_connection(killer, db); /* inside a transaction it is an error to the transaction's end */
    EXPECT_WARNINGS(1);
    CHECK_INT(db_exec(db, "INSERT INTO pairs (a, b) VALUES (2, 2)", NULL, 0, NULL),
              ERR_UNAVAILABLE);
    CHECK_INT(db_exec(db, "INSERT INTO pairs (a, b) VALUES (3, 3)", NULL, 0, NULL),
              ERR_UNAVAILABLE);
    CHECK_INT(db_commit(db), ERR_UNAVAILABLE);
    CHECK_INT(number(db, "SELECT COUNT(*) FROM pairs"), 0);
    must(db, "DROP TABLE pairs");
    db_close(db);
    db_close(killer);
}

static void *sleep_in_server(void *arg)
{
    struct worker *w = arg;
    struct arena *arena = arena_new(0);
    struct db_rows rows;

    w->rc = db_query(w->db, arena, "SELECT SLEEP(5)", NULL, 0, &rows);
    arena_free(arena);
    return NULL;
}

TEST(killed_while_it_works)
{
    if (on_sqlite()) {
        return;
    }
    struct worker w = {.db = open_db()};
    struct db *killer = open_db();
    char sql[60];

    EXPECT_WARNINGS(1);
    snprintf(sql, sizeof(sql), "KILL %lld", (long long)number(w.db, "SELECT CONNECTION_ID()"));
    pthread_create(&w.thread, NULL, sleep_in_server, &w);
    sleep_ms(300);
    must(killer, sql);
    pthread_join(w.thread, NULL);
    CHECK_INT(w.rc, ERR_UNAVAILABLE);
    CHECK_INT(number(w.db, "SELECT 1"), 1);
    db_close(w.db);
    db_close(killer);
}

TEST(server_restarted)
{
    char *program = getenv("DATABASE_RESTART");
    struct db *db = NULL;
    pid_t pid;
    int status = -1;

    if (on_sqlite() || program == NULL) {
        return;
    }
    db = open_db();
    make_pairs(db);
    must(db, "INSERT INTO pairs (a, b) VALUES (1, 1)");
    CHECK_INT(posix_spawn(&pid, program, NULL, NULL, (char *[]){program, NULL}, environ), 0);
    waitpid(pid, &status, 0);
    CHECK_INT(status, 0);
    CHECK_INT(number(db, "SELECT COUNT(*) FROM pairs"), 1);
    must(db, "DROP TABLE pairs");
    db_close(db);
}

static int run_on(const char *database, int argc, char **argv)
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
