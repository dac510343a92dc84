// SPDX-License-Identifier: MIT
/*
 * One running instance of one service: its loop's thread from bus to drain. What comes from
 * outside the loop (the process, workers) arrives as flags and one wake-up.
 *
 * Start: bus, reply topic, schema, svc.start, workers, outbox, RPC consumer, streams. The drain
 * goes the same way back, step by step, because most steps take turns of the loop.
 */
#include "common/svc_ctx.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/pb.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FAST_WORKERS 4

/* ---- Questions ---- */

const struct svc *svc_table(const struct svc_ctx *ctx)
{
    return ctx->svc;
}

const struct svc_settings *svc_common(const struct svc_ctx *ctx)
{
    return &ctx->options.settings;
}

const void *svc_settings(const struct svc_ctx *ctx)
{
    return ctx->options.own_settings;
}

bool svc_is_standalone(const struct svc_ctx *ctx)
{
    return ctx->options.standalone;
}

void *svc_state(const struct svc_ctx *ctx)
{
    return ctx->state;
}

void svc_set_state(struct svc_ctx *ctx, void *state)
{
    ctx->state = state;
}

uv_loop_t *svc_loop(const struct svc_ctx *ctx)
{
    return (uv_loop_t *)&ctx->loop;
}

struct bus *svc_bus(const struct svc_ctx *ctx)
{
    return ctx->bus;
}

struct rpc_client *svc_rpc(const struct svc_ctx *ctx)
{
    return ctx->client;
}

struct outbox *svc_outbox(const struct svc_ctx *ctx)
{
    return ctx->outbox;
}

const char *svc_instance(const struct svc_ctx *ctx)
{
    return ctx->instance;
}

void svc_shutdown(struct svc_ctx *ctx, int status)
{
    ctx->options.exit(status);
}

/* ---- Sending for RPC ---- */

static int send_request(void *arg, const struct rpc_call *call, const uint8_t *data, size_t len)
{
    struct svc_ctx *ctx = arg;
    struct bus_message message = {
        .topic = (enum topic)call->topic,
        .key = {.a = call->key},
        .partition = call->use_partition ? call->partition : -1,
        .value = data,
        .len = len,
        .traceparent = call->traceparent,
        .request_id = call->request_id,
    };
    return bus_send(ctx->bus, &message, NULL, NULL);
}

static int send_reply(void *arg, const char *reply_to, const uint8_t *data, size_t len,
                      const char *traceparent, const char *request_id)
{
    struct svc_ctx *ctx = arg;
    struct bus_message message = {
        .topic = TOPIC_REPLY,
        .reply_to = reply_to,
        .partition = 0,
        .value = data,
        .len = len,
        .traceparent = traceparent,
        .request_id = request_id,
    };
    return bus_send(ctx->bus, &message, NULL, NULL);
}

int svc_reply(struct svc_ctx *ctx, const char *reply_to, uint64_t call_id, int err,
              const char *detail, const struct rpc_field_error *errors, size_t error_count,
              const void *output, const char *traceparent, const char *request_id)
{
    struct arena *arena = arena_new(0);
    size_t len;
    uint8_t *data = rpc_pack_reply(arena, ctx->instance, call_id, err,
                                   err != 0 && detail == NULL ? err_title(err) : detail, errors,
                                   error_count, 0, output, &len);
    int sent = send_reply(ctx, reply_to, data, len, traceparent, request_id);
    arena_free(arena);
    return sent;
}

/* ---- Consumers ---- */

static void on_reply_record(void *arg, struct bus_record *record)
{
    struct svc_ctx *ctx = arg;
    rpc_client_received(ctx->client, record->value, record->len);
}

/* Committed before the handler runs, but asynchronously: after a crash a request may come again. */
static void on_request_record(void *arg, struct bus_record *record)
{
    struct svc_ctx *ctx = arg;
    bus_consumer_commit(ctx->rpc_consumer, record->topic, record->partition, record->offset + 1);
    rpc_server_received(ctx->server, record->value, record->len, record->traceparent,
                        record->request_id);
}

/* On the in-process bus not before everybody has joined: what no group waits for counts as read. At
 * a stop the outbox still publishes the events of the last requests; a successor fences it. */
void svc_lead(struct svc_ctx *ctx)
{
    if (ctx->outbox != NULL && !ctx->stopping) {
        outbox_lead(ctx->outbox, ctx->leads && (bus_is_durable(ctx->bus) || ctx->announced));
    }
}

static void on_request_assign(void *arg, enum topic topic, int32_t partition)
{
    struct svc_ctx *ctx = arg;
    (void)topic;
    ctx->assigned++;
    if (partition == 0) {
        ctx->leads = true;
        svc_lead(ctx);
    }
}

static void on_request_revoke(void *arg, enum topic topic, int32_t partition, bool lost)
{
    struct svc_ctx *ctx = arg;
    (void)lost;
    ctx->assigned--;
    if (partition == 0) {
        ctx->leads = false;
        svc_lead(ctx);
    }
    bus_consumer_release(ctx->rpc_consumer, topic, partition);
}

/* ---- Workers ---- */

static struct db *open_database(struct svc_ctx *ctx)
{
    struct db *db = NULL;
    char problem[256];
    if (ctx->svc->schema_name != NULL &&
        db_open(ctx->options.settings.database_url, &db, problem, sizeof(problem)) != 0) {
        log_error("database cannot be opened", "problem=%s", LOG_Q(problem));
        abort(); /* the same URL was opened for the schema: out of memory or descriptors */
    }
    return db;
}

static void worker_start(struct svc_ctx *ctx, struct db **db_out, void **worker_out)
{
    *db_out = open_database(ctx);
    *worker_out = ctx->svc->worker_start == NULL ? NULL : ctx->svc->worker_start(ctx);
}

static void worker_stop(struct svc_ctx *ctx, struct db *db, void *worker)
{
    if (ctx->svc->worker_stop != NULL && worker != NULL) {
        ctx->svc->worker_stop(ctx, worker);
    }
    db_close(db);
}

static void on_server_idle(void *arg)
{
    struct svc_ctx *ctx = arg;
    atomic_store(&ctx->server_idle, true);
    uv_async_send(&ctx->wake);
}

int svc_work(struct svc_ctx *ctx, enum rpc_lane lane, svc_work_fn fn, void *arg)
{
    if (ctx->server != NULL) {
        return rpc_server_work(ctx->server, lane, fn, arg);
    }
    if (ctx->up) {
        return ERR_UNAVAILABLE;
    }
    struct work_item *item = malloc(sizeof(*item));
    assert(item != NULL);
    *item = (struct work_item){.next = ctx->early_work, .lane = lane, .fn = fn, .arg = arg};
    ctx->early_work = item;
    return 0;
}

/* ---- Start ---- */

static int start_bus(struct svc_ctx *ctx, char *problem, size_t size)
{
    const struct svc_settings *s = &ctx->options.settings;
    int64_t two_lives_ms = s->access_token_seconds * 2000;
    struct bus_options options = {
        .bootstrap = s->kafka_bootstrap,
        .prefix = s->kafka_prefix,
        .instance = ctx->instance,
        .partitions = (int32_t)s->kafka_partitions,
        .replication = (int16_t)s->kafka_replication,
        .security_protocol = s->kafka_security_protocol,
        .sasl_mechanism = s->kafka_sasl_mechanism,
        .sasl_username = s->kafka_sasl_username,
        .sasl_password = s->kafka_sasl_password,
        .ssl_ca_file = s->kafka_ssl_ca_file,
        .session_retention_ms = !ctx->svc->tokens           ? 0
                                : two_lives_ms > TOPIC_HOUR ? two_lives_ms
                                                            : TOPIC_HOUR,
        .reply_topic = true,
    };
    static const struct bus_consumer_ops reply_ops = {.on_record = on_reply_record};
    int err = bus_open(&ctx->loop, &options, &ctx->bus, problem, size);
    if (err != 0) {
        return err;
    }
    struct rpc_wire wire = {.send = send_request, .arg = ctx};
    ctx->client = rpc_client_new(&ctx->loop, ctx->instance, &wire);
    enum topic topic = TOPIC_REPLY;
    err = bus_read(ctx->bus, &topic, 1, BUS_FROM_END, &reply_ops, ctx, &ctx->reply_reader);
    if (err != 0) {
        snprintf(problem, size, "the reply topic of %s cannot be read", ctx->instance);
    }
    return err;
}

/* Waits for a database that is still coming up, as in a fresh compose project. */
static int start_schema(struct svc_ctx *ctx, char *problem, size_t size)
{
    const struct svc *svc = ctx->svc;
    if (svc->schema_name == NULL) {
        return 0;
    }
    struct db_schema schema = {
        .name = svc->schema_name, .version = svc->schema_version, .sql = svc->schema_sql};
    struct db *db;
    int err = db_open(ctx->options.settings.database_url, &db, problem, size);
    if (err != 0) {
        return err;
    }
    for (int attempt = 0; attempt < 60; attempt++) {
        err = db_migrate(db, &schema, problem, size);
        if (err != ERR_UNAVAILABLE || atomic_load(&ctx->stop_asked)) {
            break;
        }
        usleep(500 * 1000);
    }
    atomic_store(&ctx->probe_answered_ms, clock_mono_ms());
    if (err == 0 && db_is_sqlite(db)) {
        ctx->anchor = db; /* a database in memory lives as long as a connection to it */
    } else {
        db_close(db);
    }
    return err;
}

static int start_server(struct svc_ctx *ctx, char *problem, size_t size)
{
    const struct svc *svc = ctx->svc;
    if (svc->rpc == NULL) {
        return 0;
    }
    int cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    char fast[32], slow[32];
    snprintf(fast, sizeof(fast), "%.7s-fast", svc->name);
    snprintf(slow, sizeof(slow), "%.7s-slow", svc->name);
    struct rpc_server_config config = {
        .service = svc->name,
        .instance = ctx->instance,
        .descriptor = svc->rpc,
        .handlers = svc->handlers,
        .fast_workers = svc->fast_workers > 0 ? (size_t)svc->fast_workers : FAST_WORKERS,
        .slow_workers = cores > 1 ? (size_t)cores - 1 : 1,
        .fast_name = fast,
        .slow_name = slow,
        .queue = QUEUE_MAX,
        .svc = ctx,
        .client = ctx->client,
        .send = send_reply,
        .send_arg = ctx,
        .worker_start = worker_start,
        .worker_stop = worker_stop,
        .idle = on_server_idle,
    };
    int err = rpc_server_new(&config, &ctx->server, problem, size);
    while (err == 0 && ctx->early_work != NULL) {
        struct work_item *item = ctx->early_work;
        ctx->early_work = item->next;
        err = rpc_server_work(ctx->server, item->lane, item->fn, item->arg);
        free(item);
    }
    return err;
}

static int start_consumers(struct svc_ctx *ctx, char *problem, size_t size)
{
    static const struct bus_consumer_ops rpc_ops = {
        .on_record = on_request_record,
        .on_assign = on_request_assign,
        .on_revoke = on_request_revoke,
    };
    const struct svc *svc = ctx->svc;
    const char *url = svc->schema_name == NULL ? NULL : ctx->options.settings.database_url;
    int err = 0;
    ctx->joined_ms = clock_mono_ms();
    if (svc->outbox) {
        err = outbox_new(ctx->bus, svc->name, url, &ctx->outbox);
    }
    for (const struct svc_stream *row = svc->streams; err == 0 && row != NULL && row->group != NULL;
         row++) {
        assert(ctx->stream_count < STREAMS_MAX);
        err = stream_start(ctx, row, url, &ctx->streams[ctx->stream_count++]);
    }
    if (err == 0 && svc->rpc != NULL) {
        /* A group of its own: a stream that gives back partitions slowly must not stop calls. */
        char group[64];
        snprintf(group, sizeof(group), "%s-rpc", svc->name);
        err = bus_join(ctx->bus, group, &svc->rpc_topic, 1, &rpc_ops, ctx, &ctx->rpc_consumer);
    }
    if (err != 0) {
        snprintf(problem, size, "%s cannot join its consumer groups", svc->name);
    }
    return err;
}

static int start_all(struct svc_ctx *ctx, char *problem, size_t size)
{
    int err = start_bus(ctx, problem, size);
    if (err == 0) {
        err = start_schema(ctx, problem, size);
    }
    if (err == 0 && ctx->svc->start != NULL) {
        err = ctx->svc->start(ctx, problem, size);
    }
    if (err == 0) {
        err = start_server(ctx, problem, size);
    }
    return err == 0 ? start_consumers(ctx, problem, size) : err;
}

/* ---- Drain ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct svc_ctx *ctx = handle->data;
    ctx->open_handles--;
}

static void on_bus_closed(void *arg)
{
    struct svc_ctx *ctx = arg;
    ctx->bus = NULL;
    uv_close((uv_handle_t *)&ctx->wake, on_handle_closed);
    uv_close((uv_handle_t *)&ctx->ready_timer, on_handle_closed);
    uv_close((uv_handle_t *)&ctx->tick_timer, on_handle_closed);
}

static void on_replies_left(void *arg)
{
    struct svc_ctx *ctx = arg;
    rpc_client_close(ctx->client);
    bus_close(ctx->bus, 2000, on_bus_closed, ctx);
}

/* The last steps: nothing of ours runs any more. */
static void finish(struct svc_ctx *ctx)
{
    ctx->finishing = true;
    struct rpc_server *server = ctx->server;
    ctx->server = NULL;
    rpc_server_free(server);
    outbox_stop(ctx->outbox);
    ctx->outbox = NULL;
    db_close(ctx->anchor);
    bus_consumer_leave(ctx->reply_reader, on_replies_left, ctx);
}

static void drain_server(struct svc_ctx *ctx)
{
    ctx->draining_server = true;
    if (ctx->server != NULL) {
        rpc_server_drain(ctx->server);
    } else {
        on_server_idle(ctx);
    }
}

static void on_consumer_left(void *arg)
{
    struct svc_ctx *ctx = arg;
    if (--ctx->leaving == 0) {
        drain_server(ctx);
    }
}

static void leave_consumers(struct svc_ctx *ctx)
{
    ctx->leaving = 1;
    if (ctx->rpc_consumer != NULL) {
        ctx->leaving++;
        bus_consumer_leave(ctx->rpc_consumer, on_consumer_left, ctx);
    }
    ctx->leaving += (int)ctx->stream_count;
    size_t n = ctx->stream_count;
    ctx->stream_count = 0;
    for (size_t i = 0; i < n; i++) {
        stream_stop(ctx->streams[i], on_consumer_left, ctx);
    }
    on_consumer_left(ctx);
}

void svc_stopped(struct svc_ctx *ctx)
{
    atomic_store(&ctx->service_stopped, true);
    uv_async_send(&ctx->wake);
}

/* Goes as far as it can; every step that takes time wakes the loop again when it is done. */
static void on_wake(uv_async_t *async)
{
    struct svc_ctx *ctx = async->data;
    if (atomic_load(&ctx->stop_asked) && !ctx->stopping) {
        ctx->stopping = true;
        svc_ready_look(ctx);
        log_info("stopping", "instance=%s", ctx->instance);
        if (ctx->svc->stop != NULL) {
            ctx->svc->stop(ctx);
        } else {
            svc_stopped(ctx);
        }
    }
    if (ctx->stopping && atomic_exchange(&ctx->service_stopped, false)) {
        leave_consumers(ctx);
    }
    if (ctx->draining_server && !ctx->finishing && atomic_load(&ctx->server_idle)) {
        finish(ctx);
    }
}

/* ---- The thread ---- */

static void on_tick_timer(uv_timer_t *timer)
{
    struct svc_ctx *ctx = timer->data;
    if (!ctx->stopping) {
        ctx->svc->alive_tick(ctx);
    }
}

static void start_timers(struct svc_ctx *ctx)
{
    svc_ready_start(ctx);
    if (ctx->svc->alive_tick != NULL) {
        uv_timer_start(&ctx->tick_timer, on_tick_timer, 1000, 1000);
    }
}

static void run(void *arg)
{
    struct svc_ctx *ctx = arg;
    char problem[512] = "";
    log_set_service(ctx->svc->name);
    int err = start_all(ctx, problem, sizeof(problem));
    if (err != 0) {
        /* Nothing is served yet and the process ends: what was opened ends with it. In standalone
         * several services may fail for one reason: the first one tells it. */
        static atomic_flag told = ATOMIC_FLAG_INIT;
        while (atomic_flag_test_and_set(&told)) {
            pause();
        }
        log_error("cannot start", "problem=%s",
                  LOG_Q(problem[0] == '\0' ? err_title(err) : problem));
        fprintf(stderr, "%s: %s\n", ctx->svc->name, problem[0] == '\0' ? err_title(err) : problem);
        _exit(1);
    }
    ctx->up = true;
    start_timers(ctx);
    while (uv_run(&ctx->loop, UV_RUN_DEFAULT) != 0) {
    }
    if (ctx->svc->free != NULL) {
        ctx->svc->free(ctx);
    }
    uv_loop_close(&ctx->loop);
    log_info("stopped", "instance=%s", ctx->instance);
    atomic_store(&ctx->ended, true);
    ctx->options.exit(-1); /* only wakes the process up */
}

struct svc_ctx *svc_instance_new(const struct svc_instance_options *options)
{
    struct svc_ctx *ctx = calloc(1, sizeof(*ctx));
    assert(ctx != NULL);
    ctx->options = *options;
    ctx->svc = options->svc;
    snprintf(ctx->instance, sizeof(ctx->instance), "%s-%s", ctx->svc->name,
             options->settings.instance_id);
    uv_mutex_init(&ctx->lock);
    buf_init(&ctx->causes);
    uv_loop_init(&ctx->loop);
    uv_async_init(&ctx->loop, &ctx->wake, on_wake);
    uv_timer_init(&ctx->loop, &ctx->ready_timer);
    uv_timer_init(&ctx->loop, &ctx->tick_timer);
    ctx->wake.data = ctx->ready_timer.data = ctx->tick_timer.data = ctx;
    ctx->open_handles = 3;
    if (uv_thread_create(&ctx->thread, run, ctx) != 0) {
        abort();
    }
    return ctx;
}

void svc_instance_stop(struct svc_ctx *ctx)
{
    if (!atomic_exchange(&ctx->stop_asked, true)) {
        uv_async_send(&ctx->wake);
    }
}

bool svc_instance_ended(struct svc_ctx *ctx)
{
    return atomic_load(&ctx->ended);
}

void svc_instance_free(struct svc_ctx *ctx)
{
    uv_thread_join(&ctx->thread);
    buf_done(&ctx->causes);
    uv_mutex_destroy(&ctx->lock);
    free(ctx);
}
