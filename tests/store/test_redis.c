// SPDX-License-Identifier: MIT
/*
 * Commands, answers, scripts, several servers, threads.
 */
#include "tests/store/redis_test.h"

REDIS_TEST(values)
{
    struct server s = {0};
    start_server(&s, NULL);
    struct redis *r = open_redis(address_of(&s), "", 0);
    struct redis_value *a = NULL;
    size_t n = 10;

    CHECK_INT(redis_run(r, arena, &a, &n), 0); /* nothing to do */
    CHECK_INT(n, 0);
    ADD(r, 0, "SET", "a", "x");
    ADD(r, 0, "GET", "a");
    ADD(r, 0, "GET", "nobody");
    ADD(r, 0, "INCRBY", "n", "9223372036854775807");
    ADD(r, 0, "RPUSH", "list", "1", "", "3");
    ADD(r, 0, "LRANGE", "list", "0", "-1");
    ADD(r, 0, "LRANGE", "nobody", "0", "-1");
    ADD(r, 0, "GET", "list");
    ADD(r, 0, "EVAL", "return {1, {'two', {3, {}}}, false, 'five'}", "0");
    const char *const set[] = {"SET", "b", "\0\r\n\xff"};
    redis_add(r, 0, set, (const size_t[]){3, 1, 4}, 3);
    ADD(r, 0, "GET", "b");
    CHECK_INT(redis_run(r, arena, &a, &n), 0);
    if (CHECK_INT(n, 11)) {
        CHECK_STR(a[0].s, "OK");
        CHECK(a[1].type == REDIS_STR && a[1].n == 1 && strcmp(a[1].s, "x") == 0);
        CHECK(a[2].type == REDIS_NIL);
        CHECK(a[3].type == REDIS_INT && a[3].i == INT64_MAX);
        CHECK_INT(a[4].i, 3);
        CHECK(a[5].type == REDIS_ARRAY && a[5].n == 3 && a[5].items[1].n == 0);
        CHECK_STR(a[5].items[1].s, "");
        CHECK_STR(a[5].items[2].s, "3");
        CHECK(a[6].type == REDIS_ARRAY && a[6].n == 0);
        CHECK(a[7].type == REDIS_ERROR && strncmp(a[7].s, "WRONGTYPE", 9) == 0);
        CHECK_INT(a[8].items[0].i, 1);
        CHECK_STR(a[8].items[1].items[0].s, "two");
        CHECK_INT(a[8].items[1].items[1].items[1].n, 0);
        CHECK(a[8].items[2].type == REDIS_NIL);
        CHECK_STR(a[8].items[3].s, "five");
        CHECK(a[10].n == 4 && memcmp(a[10].s, "\0\r\n\xff", 5) == 0);
    }
    redis_close(r);
    end_server(&s, SIGTERM);
}

/* The reader looks for more at the end of the last answer of a run; what it then puts aside must
 * not belong to that run. */
REDIS_TEST(each_run_has_its_own_arena)
{
    struct server s = {0};
    start_server(&s, NULL);
    struct redis *r = open_redis(address_of(&s), "", 0);

    ADD(r, 0, "RPUSH", "list", "1", "2");
    struct redis_value *a;
    CHECK_INT(run(r, &a), 0);
    for (int i = 0; i < 100; i++) {
        struct arena *own = arena_new(64);
        size_t n;
        ADD(r, 0, "LRANGE", "list", "0", i % 2 == 0 ? "-1" : "-3");
        CHECK_INT(redis_run(r, own, &a, &n), 0);
        CHECK_INT(a[0].n, i % 2 == 0 ? 2 : 0);
        CHECK(arena_used(own) > 0);
        arena_free(own);
    }
    redis_close(r);
    end_server(&s, SIGTERM);
}

REDIS_TEST(several_servers)
{
    struct server s[2] = {{0}, {0}};
    start_server(&s[0], NULL);
    start_server(&s[1], NULL);
    struct redis *r = open_redis(
        arena_printf(arena, "%s, redis://%s", address_of(&s[0]), address_of(&s[1])), NULL, 3);
    struct redis_value *a;
    enum { N = 5000 };

    CHECK_INT(redis_servers(r), 2);
    for (uint32_t i = 0; i < N; i++) {
        ADD(r, i * 7, "SET", arena_printf(arena, "key%u", i), arena_printf(arena, "%u", i));
        ADD(r, i * 7, "GET", arena_printf(arena, "key%u", i));
    }
    CHECK_INT(run(r, &a), 0);
    for (uint32_t i = 0; i < N; i++) {
        CHECK_STR(a[2 * i + 1].s, arena_printf(arena, "%u", i));
    }
    ADD(r, 1, "DBSIZE");
    ADD(r, 0, "DBSIZE");
    ADD(r, 256, "INFO", "keyspace");
    CHECK_INT(run(r, &a), 0);
    CHECK_INT(a[0].i, N / 2);
    CHECK_INT(a[1].i, N / 2);
    CHECK(strstr(a[2].s, "db3:keys=2500") != NULL); /* the database that was asked for */
    redis_close(r);
    end_server(&s[0], SIGTERM);
    end_server(&s[1], SIGTERM);
}

REDIS_TEST(large_values)
{
    struct server s = {0};
    start_server(&s, NULL);
    struct redis *r = open_redis(address_of(&s), NULL, 0);
    struct redis_value *a;
    size_t n = 8 << 20;
    char *data = arena_alloc(arena, n);

    random_bytes(data, n);
    const char *const set[] = {"SET", "k", data};
    for (int i = 0; i < 3; i++) { /* both directions are full at once */
        redis_add(r, 0, set, (const size_t[]){3, 1, n}, 3);
        ADD(r, 0, "GET", "k");
    }
    CHECK_INT(run(r, &a), 0);
    for (int i = 1; i < 6; i += 2) {
        CHECK(a[i].n == n && memcmp(a[i].s, data, n) == 0);
    }
    CHECK_INT(ping(r), 0);
    redis_close(r);
    end_server(&s, SIGTERM);
}

REDIS_TEST(scripts)
{
    struct server s[2] = {{0}, {0}};
    start_server(&s[0], NULL);
    start_server(&s[1], NULL);
    struct redis *r =
        open_redis(arena_printf(arena, "%s,%s", address_of(&s[0]), address_of(&s[1])), NULL, 0);
    struct redis_value *a;

    CHECK_INT(run_script(r, 0), 32);
    CHECK_INT(run_script(r, 0), 62);
    CHECK_INT(run_script(r, 1), 32); /* loaded there too */
    ADD(r, 0, "SCRIPT", "FLUSH");
    ADD(r, 0, "INFO", "commandstats");
    CHECK_INT(run(r, &a), 0);
    CHECK(strstr(a[1].s, "cmdstat_script|load:calls=1,") != NULL); /* once, not each time */
    CHECK_INT(run_script(r, 0), 92); /* NOSCRIPT is not seen, and nothing ran twice */
    redis_add_script(r, 0, "return redis.error_reply('OH no')", NULL, 0, NULL, NULL, 0);
    redis_add_script(r, 1, "return #KEYS + #ARGV", (const char *const[]){"a", "b"}, 2,
                     (const char *const[]){"c"}, NULL, 1);
    CHECK_INT(run(r, &a), 0);
    CHECK(a[0].type == REDIS_ERROR && strstr(a[0].s, "OH no") != NULL);
    CHECK_INT(a[1].i, 3);
    end_server(&s[0], SIGKILL);
    start_server(&s[0], NULL);
    CHECK_INT(run_script(r, 0), 32); /* a fresh server: connected and loaded anew */
    redis_close(r);
    end_server(&s[0], SIGTERM);
    end_server(&s[1], SIGTERM);
}

/* ---- Threads ---- */

static void *count_up(void *arg)
{
    struct arena *own = arena_new(0);
    struct redis *r = NULL;
    char sentence[200];

    CHECK_INT(redis_open(arg, NULL, 0, &r, sentence, sizeof(sentence)), 0);
    for (int i = 0; i < 500; i++) {
        struct redis_value *a;
        size_t n;

        redis_add_script(r, 0, add_script, (const char *const[]){"sum"}, 1,
                         (const char *const[]){"1", ""}, NULL, 2);
        CHECK_INT(redis_run(r, own, &a, &n), 0);
        CHECK(a[0].type == REDIS_INT);
        arena_reset(own);
    }
    redis_close(r);
    arena_free(own);
    return NULL;
}

REDIS_TEST(threads)
{
    struct server s = {0};
    pthread_t threads[4];
    start_server(&s, NULL);
    struct redis *r = open_redis(address_of(&s), NULL, 0);
    struct redis_value *a;

    for (size_t i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, count_up, (void *)address_of(&s));
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    ADD(r, 0, "GET", "sum");
    CHECK_INT(run(r, &a), 0);
    CHECK_STR(a[0].s, "2000");
    redis_close(r);
    end_server(&s, SIGTERM);
}
