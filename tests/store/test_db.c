// SPDX-License-Identifier: MIT
/*
 * Values, keys, what statements report, many rows at once, URLs.
 */
#include "tests/store/db_test.h"

#include "common/random.h"

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

static const struct db_lookup pairs_by_key = {
    .columns = "p.b", .table = "pairs p", .on = "p.a = k.c1 AND p.b = k.c2", .width = 2};

static void query_list(struct db *db, size_t n)
{
    struct arena *arena = arena_new(0);
    struct db_value *list = calloc(2 * n + 1, sizeof(*list));
    struct db_rows rows = {0};

    for (size_t i = 0; i < n; i++) {
        list[i] = DB_I(i);
    }
    CHECK_INT(db_query_in(
                  db, arena, "SELECT b FROM pairs WHERE a < ? AND b IN (%s) AND b >= ? ORDER BY b",
                  (struct db_value[]){DB_I(7)}, 1, list, n, (struct db_value[]){DB_I(0)}, 1, &rows),
              0);
    CHECK_INT(rows.count, n);
    for (size_t i = 0; i < rows.count; i++) {
        CHECK_INT(db_at(&rows, i, 0)->i, i);
    }
    for (size_t i = 0; i < n; i++) { /* every second one is there */
        list[2 * i] = DB_I((i + i % 2) % 7);
        list[2 * i + 1] = DB_I(i);
    }
    CHECK_INT(db_query_keys(db, arena, &pairs_by_key, list, n, &rows), 0);
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

TEST(keys_that_end_in_a_text)
{
    static const struct db_lookup by_text = {
        .columns = "p.a, p.t, q.b",
        .table = "pairs p",
        .on = "p.a = k.c1 AND p.t = k.c2 JOIN pairs q ON q.a = p.a AND q.t <> p.t",
        .width = 2,
        .text_last = true,
    };
    struct db *db = open_db();
    struct arena *arena = arena_new(0);
    struct db_value pairs[] = {DB_I(1), DB_I(1), DB_S("one"), DB_I(1), DB_I(2), DB_S("two"),
                               DB_I(2), DB_I(3), DB_S(""),    DB_I(2), DB_I(4), DB_S("x")};
    struct db_value keys[] = {DB_I(1), DB_S("two"), DB_I(1), DB_S("none"), DB_I(2), DB_S("one")};
    struct db_rows rows = {0};

    make_pairs(db);
    CHECK_INT(db_insert(db, "INSERT INTO pairs (a, b, t) VALUES", 3, pairs, 4, NULL), 0);
    CHECK_INT(db_query_keys(db, arena, &by_text, keys, 3, &rows), 0);
    if (CHECK_INT(rows.count, 1)) { /* the keys that fill up the list match nothing */
        CHECK_INT(db_at(&rows, 0, 0)->i, 1);
        CHECK_STR(db_at(&rows, 0, 1)->p, "two");
        CHECK_INT(db_at(&rows, 0, 2)->i, 1);
    }
    must(db, "DROP TABLE pairs");
    arena_free(arena);
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
