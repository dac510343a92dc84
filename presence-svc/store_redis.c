// SPDX-License-Identifier: MIT
/*
 * The store of the suite. Users are spread over 256 shards by their number, a shard lives on one
 * server, and every change is one script on one shard. What the gateways say of themselves stands
 * on every server, so that one which has lost its data is noticed by the next heartbeat.
 *
 * No step reaches over two shards, so a crash may leave some undone: each is harmless to repeat,
 * and each is repeated, by the batch that is run again or by the next sweep.
 */
#include "presence-svc/store.h"

#include "common/err.h"
#include "common/log.h"
#include "common/redis.h"
#include "presence-svc/keys.h"
#include "presence-svc/store_scripts.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS_AT_ONCE 32 /* divides PRESENCE_SHARDS */
#define CURSOR_USER_BITS 53
#define CURSOR_USER_MASK ((UINT64_C(1) << CURSOR_USER_BITS) - 1)

struct redis_store {
    struct presence_store base;
    struct redis *redis;
    uint32_t servers; /* shards 0 to servers - 1 are one on each server */
};

struct answers {
    struct redis_value *values;
    size_t n;
};

/* ---- Talking to Redis ---- */

static const char *number(struct arena *arena, uint64_t n)
{
    return arena_printf(arena, "%" PRIu64, n);
}

static const char *incarnation_text(struct arena *arena, uint64_t incarnation)
{
    return arena_printf(arena, "%020" PRIu64, incarnation);
}

static uint32_t shard_of(uint64_t user_id)
{
    return (uint32_t)(user_id % PRESENCE_SHARDS);
}

static void add(struct redis_store *s, uint32_t shard, const char *script, const char *const *args,
                size_t n)
{
    char prefix[sizeof(PRESENCE_KEY_FORMAT) + 8];

    snprintf(prefix, sizeof(prefix), PRESENCE_KEY_FORMAT, shard);
    redis_add_script(s->redis, shard, script, (const char *const[]){prefix}, 1, args, NULL, n);
}

/* An error of a single script is the server's state (loading, read-only, out of memory) as well. */
static int run(struct redis_store *s, struct arena *arena, struct answers *out)
{
    int err = redis_run(s->redis, arena, &out->values, &out->n);

    for (size_t i = 0; err == 0 && i < out->n; i++) {
        if (out->values[i].type == REDIS_ERROR) {
            log_warn("redis refuses a script", "error=%s", LOG_Q(out->values[i].s));
            err = ERR_UNAVAILABLE;
        }
    }
    return err;
}

/* Integers come as such or as text. */
static int64_t integer(const struct redis_value *v)
{
    return v->type == REDIS_INT ? v->i : v->type == REDIS_STR ? strtoll(v->s, NULL, 10) : 0;
}

static uint64_t unsigned_of(const struct redis_value *v)
{
    return v->type == REDIS_STR ? strtoull(v->s, NULL, 10) : (uint64_t)integer(v);
}

static const struct redis_value *item(const struct redis_value *v, size_t i)
{
    static const struct redis_value nil = {.type = REDIS_NIL};

    return v->type == REDIS_ARRAY && i < v->n ? &v->items[i] : &nil;
}

static size_t items(const struct redis_value *v)
{
    return v->type == REDIS_ARRAY ? v->n : 0;
}

/* ---- Gateways ---- */

enum { ATTEND_OLDER = -1, ATTEND_UNKNOWN = 0, ATTEND_ASKED = 1, ATTEND_WELL = 2 };

/* The lowest of the servers' answers. */
static int attend(struct redis_store *s, struct arena *arena, const struct presence_report *report,
                  bool may_register, int *result_out)
{
    char flags[8];
    struct answers answers;

    snprintf(flags, sizeof(flags), "-%s%s%s%s", may_register ? "r" : "", report->beat ? "b" : "",
             report->leaving ? "l" : "", report->answered ? "a" : "");
    const char *args[] = {
        report->gateway,
        incarnation_text(arena, report->incarnation),
        number(arena, (uint64_t)(report->now_ms + report->lease_ms)),
        number(arena, report->connections),
        number(arena, report->users),
        flags,
    };
    for (uint32_t shard = 0; shard < s->servers; shard++) {
        add(s, shard, presence_lua_attend, args, sizeof(args) / sizeof(args[0]));
    }
    int err = run(s, arena, &answers);
    if (err != 0) {
        return err;
    }
    int result = ATTEND_WELL;
    for (size_t i = 0; i < answers.n; i++) {
        int one = (int)integer(&answers.values[i]);
        result = one < result ? one : result;
    }
    *result_out = result;
    return 0;
}

/* The same three words to all shards, some at a time: each may have to let many users go. */
static int tell_all_shards(struct redis_store *s, struct arena *arena, const char *script,
                           int64_t now_ms, const char *gateway, const char *incarnation)
{
    struct answers answers;
    const char *args[] = {number(arena, (uint64_t)now_ms), gateway, incarnation};

    for (uint32_t shard = 0; shard < PRESENCE_SHARDS; shard++) {
        add(s, shard, script, args, 3);
        int err = (shard + 1) % SHARDS_AT_ONCE == 0 ? run(s, arena, &answers) : 0;
        if (err != 0) {
            return err;
        }
    }
    return 0;
}

/* A new incarnation takes over every shard before it is registered: otherwise a crash in between
 * would leave users of the one before online for ever. */
static int redis_attend(struct presence_store *store, struct arena *arena,
                        const struct presence_report *report, enum presence_standing *standing_out)
{
    struct redis_store *s = (struct redis_store *)store;
    int result = ATTEND_OLDER;
    int err = attend(s, arena, report, false, &result);

    if (err == 0 && result == ATTEND_UNKNOWN) {
        err = tell_all_shards(s, arena, presence_lua_apply, report->now_ms, report->gateway,
                              incarnation_text(arena, report->incarnation));
        if (err == 0) {
            err = attend(s, arena, report, true, &result);
        }
    }
    if (err == 0) {
        *standing_out = result == ATTEND_OLDER   ? PRESENCE_OLDER
                        : result == ATTEND_ASKED ? PRESENCE_INCOMPLETE
                                                 : PRESENCE_KNOWN;
    }
    return err;
}

static int redis_gateways(struct presence_store *store, struct arena *arena,
                          struct presence_gateway **gateways_out, size_t *n_out)
{
    struct redis_store *s = (struct redis_store *)store;
    struct presence_gateway *gateways = NULL;
    struct answers answers;
    size_t most = 0, n = 0;
    char key[sizeof(PRESENCE_KEY_FORMAT) + 24];

    for (uint32_t shard = 0; shard < s->servers; shard++) {
        snprintf(key, sizeof(key), PRESENCE_KEY_FORMAT "gateways", shard);
        redis_add(s->redis, shard, (const char *const[]){"HGETALL", key}, NULL, 2);
    }
    int err = run(s, arena, &answers);
    if (err != 0) {
        return err;
    }
    for (size_t i = 0; i < answers.n; i++) {
        most += items(&answers.values[i]) / 2;
    }
    gateways = arena_array(arena, most, sizeof(*gateways));
    for (size_t i = 0; i < answers.n; i++) {
        for (size_t k = 0; k + 1 < items(&answers.values[i]); k += 2) {
            struct presence_gateway g = {.name = item(&answers.values[i], k)->s};
            size_t at = 0;
            if (sscanf(item(&answers.values[i], k + 1)->s, "%" SCNu64 " %" SCNu64 " %" SCNu64,
                       &g.incarnation, &g.connections, &g.users) != 3) {
                continue;
            }
            while (at < n && strcmp(gateways[at].name, g.name) != 0) {
                at++;
            }
            if (at == n || gateways[at].incarnation < g.incarnation) {
                gateways[at] = g; /* the servers differ only while one is being filled */
                n += at == n;
            }
        }
    }
    *gateways_out = gateways;
    *n_out = n;
    return 0;
}

/* ---- Users ---- */

/* Adds one call of the script for each shard that has users: head, then the users' texts (`width`
 * for each), in their order. shards_out: the shard of each call. */
static size_t add_by_shard(struct redis_store *s, struct arena *arena, const char *script,
                           const char *const head[3], size_t head_n, const uint64_t *users,
                           const char *const *texts, size_t width, size_t n,
                           uint32_t shards_out[PRESENCE_SHARDS])
{
    size_t starts[PRESENCE_SHARDS + 1] = {0}, fill[PRESENCE_SHARDS], calls = 0;
    const char **sorted = arena_array(arena, n * width, sizeof(*sorted));
    const char **args = arena_array(arena, head_n + n * width, sizeof(*args));

    for (size_t i = 0; i < n; i++) {
        starts[shard_of(users[i]) + 1] += width;
    }
    for (size_t i = 0; i < PRESENCE_SHARDS; i++) {
        starts[i + 1] += starts[i];
        fill[i] = starts[i];
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < width; k++) {
            sorted[fill[shard_of(users[i])]++] = texts[i * width + k];
        }
    }
    for (size_t i = 0; i < head_n; i++) {
        args[i] = head[i];
    }
    for (uint32_t shard = 0; shard < PRESENCE_SHARDS; shard++) {
        size_t count = starts[shard + 1] - starts[shard];
        if (count > 0) {
            memcpy(args + head_n, sorted + starts[shard], count * sizeof(*args));
            add(s, shard, script, args, head_n + count);
            shards_out[calls++] = shard;
        }
    }
    return calls;
}

static int redis_apply(struct presence_store *store, struct arena *arena,
                       const struct presence_report *report, const struct presence_change *changes,
                       size_t n, struct presence_statuses *changed_out)
{
    struct redis_store *s = (struct redis_store *)store;
    uint64_t *users = arena_array(arena, n, sizeof(*users));
    const char **texts = arena_array(arena, n, sizeof(*texts));
    uint32_t shards[PRESENCE_SHARDS];
    struct answers answers;
    const char *head[] = {number(arena, (uint64_t)report->now_ms), report->gateway,
                          incarnation_text(arena, report->incarnation)};

    *changed_out = (struct presence_statuses){0};
    for (size_t i = 0; i < n; i++) {
        users[i] = changes[i].user_id;
        texts[i] =
            arena_printf(arena, "%c%" PRIu64, changes[i].present ? '+' : '-', changes[i].user_id);
    }
    if (add_by_shard(s, arena, presence_lua_apply, head, 3, users, texts, 1, n, shards) == 0) {
        return 0;
    }
    int err = run(s, arena, &answers);
    for (size_t i = 0; err == 0 && i < answers.n; i++) {
        for (size_t k = 0; k + 1 < items(&answers.values[i]); k += 2) {
            presence_statuses_add(
                changed_out, arena,
                (struct presence_status){.user_id = unsigned_of(item(&answers.values[i], k)),
                                         .online = true,
                                         .version = unsigned_of(item(&answers.values[i], k + 1))});
        }
    }
    return err;
}

static int redis_told(struct presence_store *store, struct arena *arena,
                      const struct presence_status *statuses, size_t n)
{
    struct redis_store *s = (struct redis_store *)store;
    uint64_t *users = arena_array(arena, n, sizeof(*users));
    const char **texts = arena_array(arena, 2 * n, sizeof(*texts));
    uint32_t shards[PRESENCE_SHARDS];
    struct answers answers;

    for (size_t i = 0; i < n; i++) {
        users[i] = statuses[i].user_id;
        texts[2 * i] = number(arena, statuses[i].user_id);
        texts[2 * i + 1] = number(arena, statuses[i].version);
    }
    return add_by_shard(s, arena, presence_lua_told, NULL, 0, users, texts, 2, n, shards) == 0
               ? 0
               : run(s, arena, &answers);
}

static int redis_get(struct presence_store *store, struct arena *arena,
                     struct presence_status *statuses, size_t n)
{
    struct redis_store *s = (struct redis_store *)store;
    uint64_t *users = arena_array(arena, n, sizeof(*users));
    const char **texts = arena_array(arena, n, sizeof(*texts));
    uint32_t shards[PRESENCE_SHARDS];
    size_t call_of[PRESENCE_SHARDS], used[PRESENCE_SHARDS] = {0};
    struct answers answers;

    for (size_t i = 0; i < n; i++) {
        users[i] = statuses[i].user_id;
        texts[i] = number(arena, statuses[i].user_id);
    }
    size_t calls = add_by_shard(s, arena, presence_lua_get, NULL, 0, users, texts, 1, n, shards);
    int err = calls == 0 ? 0 : run(s, arena, &answers);
    if (err != 0) {
        return err;
    }
    for (size_t i = 0; i < calls; i++) {
        call_of[shards[i]] = i;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t shard = shard_of(users[i]);
        const struct redis_value *v = &answers.values[call_of[shard]];
        size_t at = 3 * used[shard]++;
        bool online = integer(item(v, at + 2)) != 0;
        statuses[i] = (struct presence_status){
            .user_id = users[i],
            .online = online,
            .seen_at = online ? 0 : integer(item(v, at + 1)),
            .version = unsigned_of(item(v, at)),
        };
    }
    return 0;
}

/* ---- Sweeping ---- */

/* Ends one gateway's sessions in all shards, then forgets it, unless it beats again meanwhile. */
static int end_lease(struct redis_store *s, struct arena *arena, const struct presence_sweep *sweep,
                     const char *until, const char *gateway, const char *incarnation,
                     size_t *ended_out)
{
    struct answers answers;
    const char *args[] = {gateway, incarnation, until};
    int64_t forgotten = 0;
    int err = tell_all_shards(s, arena, presence_lua_drop, sweep->now_ms, gateway, incarnation);

    if (err != 0) {
        return err;
    }
    for (uint32_t shard = 0; shard < s->servers; shard++) {
        add(s, shard, presence_lua_forget, args, 3);
    }
    err = run(s, arena, &answers);
    for (size_t i = 0; err == 0 && i < answers.n; i++) {
        forgotten += integer(&answers.values[i]);
    }
    *ended_out += forgotten > 0;
    return err;
}

static int end_leases(struct redis_store *s, struct arena *arena,
                      const struct presence_sweep *sweep, size_t *ended_out)
{
    struct answers answers;
    const char *until = number(arena, sweep->expire ? (uint64_t)sweep->now_ms : 0);

    for (uint32_t shard = 0; shard < s->servers; shard++) {
        add(s, shard, presence_lua_over, (const char *const[]){until}, 1);
    }
    int err = run(s, arena, &answers);
    for (size_t i = 0; err == 0 && i < answers.n; i++) { /* on most servers the same: harmless */
        for (size_t k = 0; err == 0 && k + 1 < items(&answers.values[i]); k += 2) {
            err = end_lease(s, arena, sweep, until, item(&answers.values[i], k)->s,
                            item(&answers.values[i], k + 1)->s, ended_out);
        }
    }
    return err;
}

static void read_swept(const struct redis_value *v, struct arena *arena,
                       struct presence_swept *swept)
{
    const struct redis_value *changed = item(v, 1), *again = item(v, 2);

    swept->online += (size_t)integer(item(v, 0));
    for (size_t i = 0; i + 2 < items(changed); i += 3) {
        presence_statuses_add(&swept->changed, arena,
                              (struct presence_status){
                                  .user_id = unsigned_of(item(changed, i)),
                                  .version = unsigned_of(item(changed, i + 1)),
                                  .seen_at = integer(item(changed, i + 2)),
                              });
    }
    for (size_t i = 0; i + 3 < items(again); i += 4) {
        bool online = integer(item(again, i + 3)) != 0;
        presence_statuses_add(&swept->again, arena,
                              (struct presence_status){
                                  .user_id = unsigned_of(item(again, i)),
                                  .version = unsigned_of(item(again, i + 1)),
                                  .seen_at = online ? 0 : integer(item(again, i + 2)),
                                  .online = online,
                              });
    }
}

static int redis_sweep(struct presence_store *store, struct arena *arena,
                       const struct presence_sweep *sweep, struct presence_swept *swept_out)
{
    struct redis_store *s = (struct redis_store *)store;
    struct answers answers;
    const char *args[] = {
        number(arena, (uint64_t)sweep->now_ms),
        number(arena, (uint64_t)(sweep->now_ms - sweep->grace_ms)),
        number(arena, (uint64_t)(sweep->now_ms - sweep->retell_ms)),
    };

    *swept_out = (struct presence_swept){0};
    int err = end_leases(s, arena, sweep, &swept_out->ended);
    if (err != 0) {
        return err;
    }
    for (uint32_t shard = 0; shard < PRESENCE_SHARDS; shard++) {
        add(s, shard, presence_lua_sweep, args, 3);
    }
    err = run(s, arena, &answers);
    for (size_t i = 0; err == 0 && i < answers.n; i++) {
        read_swept(&answers.values[i], arena, swept_out);
    }
    return err;
}

/* ---- The list of all ---- */

/* How many are online in each shard from `first` on. */
static int count_shards(struct redis_store *s, struct arena *arena, uint32_t first,
                        struct answers *out)
{
    char key[sizeof(PRESENCE_KEY_FORMAT) + 24];

    for (uint32_t shard = first; shard < PRESENCE_SHARDS; shard++) {
        snprintf(key, sizeof(key), PRESENCE_KEY_FORMAT "online", shard);
        redis_add(s->redis, shard, (const char *const[]){"ZCARD", key}, NULL, 2);
    }
    return run(s, arena, out);
}

/* The cursor is (shard, last user): by shards, and by number within one. As many shards are asked
 * as fill the page. */
static int redis_list(struct presence_store *store, struct arena *arena, uint64_t cursor,
                      size_t limit, struct presence_statuses *online_out, uint64_t *next_out)
{
    struct redis_store *s = (struct redis_store *)store;
    uint32_t first = (uint32_t)(cursor >> CURSOR_USER_BITS), end;
    struct answers answers;
    size_t total = 0;

    *online_out = (struct presence_statuses){0};
    *next_out = 0;
    if (first >= PRESENCE_SHARDS) {
        return 0;
    }
    int err = count_shards(s, arena, first, &answers);
    if (err != 0) {
        return err;
    }
    for (end = first; end < PRESENCE_SHARDS && (total < limit || end == first); end++) {
        const char *args[] = {number(arena, end == first ? cursor & CURSOR_USER_MASK : 0),
                              number(arena, limit)};
        total += (size_t)integer(&answers.values[end - first]);
        add(s, end, presence_lua_list, args, 2);
    }
    err = run(s, arena, &answers);
    for (size_t i = 0; err == 0 && i < answers.n; i++) {
        const struct redis_value *v = &answers.values[i];
        size_t k = 0;
        for (; k + 1 < items(v) && online_out->n < limit; k += 2) {
            struct presence_status status = {.user_id = unsigned_of(item(v, k)),
                                             .version = unsigned_of(item(v, k + 1)),
                                             .online = true};
            presence_statuses_add(online_out, arena, status);
        }
        if (online_out->n == limit) { /* there may be more in this very shard */
            *next_out = ((uint64_t)(first + i) << CURSOR_USER_BITS) |
                        online_out->items[limit - 1].user_id;
            return 0;
        }
    }
    if (err == 0 && end < PRESENCE_SHARDS) {
        *next_out = (uint64_t)end << CURSOR_USER_BITS;
    }
    return err;
}

/* ---- Life ---- */

static void redis_store_close(struct presence_store *store)
{
    struct redis_store *s = (struct redis_store *)store;

    if (s != NULL) {
        redis_close(s->redis);
        free(s);
    }
}

static const struct presence_store_ops redis_ops = {
    .attend = redis_attend,
    .apply = redis_apply,
    .sweep = redis_sweep,
    .told = redis_told,
    .get = redis_get,
    .list = redis_list,
    .gateways = redis_gateways,
    .close = redis_store_close,
};

int presence_store_redis_open(const char *addr, const char *password, int64_t db,
                              struct presence_store **store_out, char *problem, size_t problem_size)
{
    struct redis_store *s = calloc(1, sizeof(*s));

    assert(s != NULL);
    int err = redis_open(addr, password, db, &s->redis, problem, problem_size);
    if (err == 0 && redis_servers(s->redis) > PRESENCE_SHARDS) {
        snprintf(problem, problem_size, "REDIS_ADDR names more than %d servers.", PRESENCE_SHARDS);
        redis_close(s->redis);
        err = ERR_INVALID;
    }
    if (err != 0) {
        free(s);
        return err;
    }
    s->base.ops = &redis_ops;
    s->servers = (uint32_t)redis_servers(s->redis);
    *store_out = &s->base;
    return 0;
}
