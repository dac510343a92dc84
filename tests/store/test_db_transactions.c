// SPDX-License-Identifier: MIT
/*
 * Transactions of several connections, and connections that break: killed, or by a server that
 * starts again. DATABASE_RESTART: a program that restarts the server; without it that test is left
 * out.
 */
#include "tests/store/db_test.h"

#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

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
