// SPDX-License-Identifier: MIT
/*
 * Wires presence-svc: settings, which store, the stream, the methods, the sweep. No decisions.
 */
#include "presence-svc/service.h"

#include "common/err.h"
#include "common/log.h"
#include "presence-svc/handlers.h"
#include "presence-svc/presence.h"
#include "presence-svc/reports.h"
#include "presence-svc/sweep.h"
#include "proto/presence.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { START_TRIES = 60, START_PAUSE_MS = 500 };

static int send_on_bus(void *arg, const struct bus_message *message, bus_ack_fn ack, void *ack_arg)
{
    return bus_send(svc_bus(arg), message, ack, ack_arg);
}

static void *allocate(size_t size)
{
    void *p = calloc(1, size);

    if (p == NULL) {
        abort();
    }
    return p;
}

static int open_redis(const struct presence_settings *s, struct presence_store **store_out,
                      char *problem, size_t problem_size)
{
    return presence_store_redis_open(s->redis_addr, s->redis_password, s->redis_db, store_out,
                                     problem, problem_size);
}

static int check_settings(const void *own, bool standalone, char *problem, size_t problem_size)
{
    const struct presence_settings *s = own;

    if (s->redis_addr[0] == '\0' && !standalone) {
        snprintf(problem, problem_size, "REDIS_ADDR must be set (host:port[,host:port...])");
        return ERR_INVALID;
    }
    return 0;
}

/* Waits for servers that are still coming up. An instance that cannot reach them must not take
 * partitions from those that can. */
static int await_redis(struct presence_store *store, char *problem, size_t problem_size)
{
    struct arena *arena = arena_new(0);
    struct presence_gateway *gateways;
    size_t n;
    int err = store->ops->gateways(store, arena, &gateways, &n); /* asks each server */

    for (int again = 0; err == ERR_UNAVAILABLE && again < START_TRIES; again++) {
        usleep(START_PAUSE_MS * 1000);
        err = store->ops->gateways(store, arena, &gateways, &n);
    }
    arena_free(arena);
    if (err != 0) {
        snprintf(problem, problem_size, "Redis cannot be used, see the warning before.");
    }
    return err;
}

/* Each thread opens its own connections later; here it is seen that they will work. */
static int check_redis(struct svc_ctx *ctx, char *problem, size_t problem_size)
{
    const struct presence_settings *s = svc_settings(ctx);
    struct presence_store *store;

    int err = open_redis(s, &store, problem, problem_size);
    if (err == 0) {
        err = await_redis(store, problem, problem_size);
        store->ops->close(store);
    }
    return err;
}

static int start(struct svc_ctx *ctx, char *problem, size_t problem_size)
{
    const struct presence_settings *s = svc_settings(ctx);
    bool in_memory = svc_is_standalone(ctx) && s->redis_addr[0] == '\0';
    int err = in_memory ? 0 : check_redis(ctx, problem, problem_size);

    if (err != 0) {
        return err;
    }
    struct presence_env *env = allocate(sizeof(*env));
    env->settings = s;
    env->memory = in_memory ? presence_store_memory_new() : NULL;
    presence_env_init(env, send_on_bus, ctx);
    svc_set_state(ctx, env);
    return 0;
}

static void free_state(struct svc_ctx *ctx)
{
    struct presence_env *env = svc_state(ctx);

    if (env == NULL) {
        return;
    }
    presence_env_done(env);
    if (env->memory != NULL) {
        env->memory->ops->close(env->memory);
    }
    free(env);
}

static void *worker_start(struct svc_ctx *ctx)
{
    struct presence_worker *w = allocate(sizeof(*w));
    char problem[256];

    w->env = svc_state(ctx);
    w->store = w->env->memory;
    if (w->store == NULL &&
        open_redis(w->env->settings, &w->store, problem, sizeof(problem)) != 0) {
        log_error("redis store cannot be made", "problem=%s", LOG_Q(problem));
        abort(); /* start has seen the same address work: out of memory */
    }
    return w;
}

static void worker_stop(struct svc_ctx *ctx, void *worker)
{
    struct presence_worker *w = worker;

    (void)ctx;
    if (w->env->memory == NULL) {
        w->store->ops->close(w->store);
    }
    free(w);
}

static int run_reports(struct svc_batch *batch, struct bus_record *const *records, size_t n)
{
    return presence_reports_run(svc_batch_worker(batch), svc_batch_arena(batch), records, n);
}

static void run_sweep(struct svc_ctx *ctx, struct db *db, void *worker, void *arg)
{
    struct presence_env *env = arg;

    (void)ctx;
    (void)db;
    presence_sweep_run(worker);
    atomic_store(&env->sweeping, false);
}

/* The loop has the clock, a worker does the work. */
static void tick(struct svc_ctx *ctx)
{
    struct presence_env *env = svc_state(ctx);

    if (!atomic_exchange(&env->sweeping, true) && svc_work(ctx, RPC_FAST, run_sweep, env) != 0) {
        atomic_store(&env->sweeping, false);
    }
}

static void ready(struct svc_ctx *ctx, struct svc_causes *causes)
{
    struct presence_env *env = svc_state(ctx);

    if (env != NULL && atomic_load(&env->store_fails)) {
        svc_not_ready(causes, "redis", "Redis does not answer");
    }
}

#define ROW(setting, field) .name = (setting), .offset = offsetof(struct presence_settings, field)

static const struct config_row settings[] = {
    {ROW("REDIS_ADDR", redis_addr), .type = CONFIG_STRING, .fallback = "",
     .help = "Redis servers, host:port[,host:port…]; empty in standalone: memory"},
    {ROW("REDIS_PASSWORD", redis_password), .type = CONFIG_STRING, .fallback = "", .secret = true,
     .help = "Password of the Redis servers"},
    {ROW("REDIS_DB", redis_db), .type = CONFIG_INT, .fallback = "0", .min = 0, .max = 1000,
     .help = "Number of the database on the Redis servers"},
    {ROW("PRESENCE_LEASE_SECONDS", lease_seconds), .type = CONFIG_INT, .fallback = "15", .min = 1,
     .max = 3600,
     .help = "A gateway silent for so long has lost its sessions (it beats every 5 s)"},
    {ROW("PRESENCE_GRACE_SECONDS", grace_seconds), .type = CONFIG_INT, .fallback = "5", .min = 0,
     .max = 3600, .help = "A user without a session goes offline after so long"},
};

static const struct rpc_handler handlers[] = {
    {"GetPresence", presence_get, RPC_FAST},
    {"ListOnline", presence_list_online, RPC_FAST},
    {"ListGateways", presence_list_gateways, RPC_FAST},
    {0},
};

static const struct svc_stream streams[] = {
    {.topic = TOPIC_PRESENCE, .group = "presence-svc", .run = run_reports},
    {0},
};

const struct svc presence_svc = {
    .name = "presence-svc",
    .about = "who is online, and when users were last seen",
    .rpc = &chat__presence__descriptor,
    .rpc_topic = TOPIC_RPC_PRESENCE,
    .handlers = handlers,
    .settings = settings,
    .setting_count = sizeof(settings) / sizeof(settings[0]),
    .settings_size = sizeof(struct presence_settings),
    .streams = streams,
    .default_admin_port = 9184,
    .check = check_settings,
    .start = start,
    .free = free_state,
    .worker_start = worker_start,
    .worker_stop = worker_stop,
    .ready = ready,
    .alive_tick = tick,
};
