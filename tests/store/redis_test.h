// SPDX-License-Identifier: MIT
/*
 * What the tests of the Redis client share. Included once by each test.
 */
#pragma once

#include "common/redis.h"

#include "common/err.h"
#include "tests/store/redis_server.h"

#include <pthread.h>

static char problem[256];

static inline struct redis *open_redis(const char *addr, const char *password, int64_t db)
{
    struct redis *r = NULL;

    if (!CHECK_INT(redis_open(addr, password, db, &r, problem, sizeof(problem)), 0)) {
        printf("%s\n", problem);
        exit(EXIT_FAILURE);
    }
    return r;
}

static inline const char *address_of(const struct server *s)
{
    return arena_printf(arena, "127.0.0.1:%d", s->port);
}

/* ---- Commands ---- */

#define ADD(r, shard, ...)                                                                         \
    do {                                                                                           \
        const char *const words[] = {__VA_ARGS__};                                                 \
        redis_add((r), (shard), words, NULL, sizeof(words) / sizeof(words[0]));                    \
    } while (0)

static inline int run(struct redis *r, struct redis_value **answers_out)
{
    size_t n = 0;

    return redis_run(r, arena, answers_out, &n);
}

static inline int ping(struct redis *r)
{
    struct redis_value *answers;

    ADD(r, 0, "PING");
    int rc = run(r, &answers);
    if (rc == 0) {
        CHECK_STR(answers[0].s, "PONG");
    }
    return rc;
}

/* As long as the backoff may last. */
static inline int ping_patiently(struct redis *r)
{
    int rc = ERR_UNAVAILABLE;

    for (int i = 0; i < 200 && rc != 0; i++) {
        rc = ping(r);
        if (rc != 0) {
            sleep_ms(10);
        }
    }
    return rc;
}

/* ---- Scripts ---- */

static const char add_script[] = "return redis.call('INCRBY', KEYS[1], ARGV[1]) + #ARGV[2]";

static inline int64_t run_script(struct redis *r, uint32_t shard)
{
    struct redis_value *a;
    int64_t sum = 0;

    for (int i = 0; i < 3; i++) {
        redis_add_script(r, shard, add_script, (const char *const[]){"sum"}, 1,
                         (const char *const[]){"10", "\0\0"}, (const size_t[]){2, 2}, 2);
        ADD(r, shard, "GET", "sum");
    }
    if (!CHECK_INT(run(r, &a), 0)) {
        return -1;
    }
    for (int i = 0; i < 6; i += 2) {
        CHECK(a[i].type == REDIS_INT);
        CHECK(a[i + 1].type == REDIS_STR);
        sum = a[i].i;
    }
    return sum;
}

#define REDIS_TEST(name)                                                                           \
    static void name##_body(void);                                                                 \
    TEST(name)                                                                                     \
    {                                                                                              \
        arena = arena_new(0);                                                                      \
        name##_body();                                                                             \
        arena_free(arena);                                                                         \
    }                                                                                              \
    static void name##_body(void)
