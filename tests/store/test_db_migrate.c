// SPDX-License-Identifier: MIT
/*
 * Schemas: fresh, from the version before, newer than the program, several daemons at once, texts
 * that are wrong.
 */
#include "tests/store/db_test.h"

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
