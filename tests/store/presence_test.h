// SPDX-License-Identifier: MIT
/*
 * The frame of the tests of presence stores: runs them on the store in memory, then on the store in
 * Redis with two private servers, which it starts on free ports and ends by their pids. Arguments
 * choose tests by name.
 */
#pragma once

#include "tests/store/presence_servers.h"

#include "common/err.h"
#include "common/redis.h"
#include "presence-svc/store.h"

#include <pthread.h>
#include <stdlib.h>

int test_frame_main(int argc, char **argv);
#define main test_frame_main
#include "tests/unit/test.h"
#undef main

static struct presence_store *memory;

static inline bool on_redis(void)
{
    return redis_addr[0] != '\0';
}

/* Another handle on the same store: each thread of Redis needs its own. */
static inline struct presence_store *store_again(void)
{
    struct presence_store *store = memory;
    char problem[256];

    if (on_redis() &&
        !CHECK_INT(presence_store_redis_open(redis_addr, "", 0, &store, problem, sizeof(problem)),
                   0)) {
        printf("%s\n", problem);
        exit(EXIT_FAILURE);
    }
    return store;
}

static inline void store_release(struct presence_store *store)
{
    if (on_redis()) {
        store->ops->close(store);
    }
}

/* What a server that lost its memory has left. */
static inline void lose_server(uint32_t server)
{
    struct arena *arena = arena_new(0);
    struct redis *redis = NULL;
    struct redis_value *answers;
    char problem[256];
    size_t n;

    CHECK_INT(redis_open(redis_addr, "", 0, &redis, problem, sizeof(problem)), 0);
    redis_add(redis, server, (const char *const[]){"FLUSHALL"}, NULL, 1);
    CHECK_INT(redis_run(redis, arena, &answers, &n), 0);
    redis_close(redis);
    arena_free(arena);
}

/* An empty store. */
static inline struct presence_store *store_anew(void)
{
    if (on_redis()) {
        for (uint32_t i = 0; i < SERVERS; i++) {
            lose_server(i);
        }
    } else {
        if (memory != NULL) {
            memory->ops->close(memory);
        }
        memory = presence_store_memory_new();
    }
    return store_again();
}

int main(int argc, char **argv)
{
    log_set_level(LOG_WARN);
    printf("on memory\n");
    int failed = test_frame_main(argc, argv);
    memory->ops->close(memory);
    memory = NULL;
    if (start_servers()) {
        printf("on Redis\n");
        failed |= test_frame_main(argc, argv);
    } else {
        printf("redis-server could not be started\n0 passed, 1 failed\n");
        failed = 1;
    }
    for (int i = 0; i < SERVERS; i++) {
        stop_server(i);
    }
    return failed;
}
