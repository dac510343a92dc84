// SPDX-License-Identifier: MIT
/*
 * Parses answers with hiredis' reader, whose callbacks build the values straight into an arena: no
 * tree of replies to copy and to free. privdata is the place where the current arena stands, not
 * the arena: the reader copies privdata when it begins to look for an answer, which may be at the
 * end of the answers before, for another caller.
 */
#include "common/redis_impl.h"

#include "common/arena.h"
#include "common/redis.h"

enum { ITEMS_MAX = 4 << 20 }; /* of one array in an answer */

static void *put_value(const redisReadTask *task, struct redis_value value)
{
    struct arena *arena = *(struct arena **)task->privdata;
    struct redis_value *at;

    if (task->parent != NULL) {
        struct redis_value *array = task->parent->obj;
        at = (struct redis_value *)&array->items[task->idx];
    } else {
        at = arena_alloc(arena, sizeof(*at));
    }
    *at = value;
    return at;
}

static void *on_string(const redisReadTask *task, char *s, size_t n)
{
    struct arena *arena = *(struct arena **)task->privdata;

    return put_value(task, (struct redis_value){
                               .type = task->type == REDIS_REPLY_ERROR ? REDIS_ERROR : REDIS_STR,
                               .s = arena_memdup(arena, s, n),
                               .n = n});
}

static void *on_array(const redisReadTask *task, int n)
{
    struct arena *arena = *(struct arena **)task->privdata;

    if (n < 0 || n > ITEMS_MAX) {
        return NULL; /* the reader gives up */
    }
    return put_value(task, (struct redis_value){
                               .type = REDIS_ARRAY,
                               .n = (size_t)n,
                               .items = arena_array(arena, (size_t)n, sizeof(struct redis_value))});
}

static void *on_integer(const redisReadTask *task, long long value)
{
    return put_value(task, (struct redis_value){.type = REDIS_INT, .i = value});
}

static void *on_nil(const redisReadTask *task)
{
    return put_value(task, (struct redis_value){.type = REDIS_NIL});
}

static void on_free(void *value)
{
    (void)value; /* the arena's */
}

static redisReplyObjectFunctions callbacks = {
    .createString = on_string,
    .createArray = on_array,
    .createInteger = on_integer,
    .createNil = on_nil,
    .freeObject = on_free,
};

redisReader *redis_reader_new(struct arena **arena)
{
    redisReader *reader = redisReaderCreateWithFunctions(&callbacks);
    if (reader != NULL) {
        reader->privdata = arena;
    }
    return reader;
}
