// SPDX-License-Identifier: MIT
/*
 * A request's way: unpacked on the loop, run by a worker of its lane, answered from there. A
 * request whose deadline has passed is dropped, nobody listens any more. "Ping" is answered on the
 * loop. Every method is timed and counted here, at one place.
 */
#include "common/rpc_server.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/pb.h"
#include "common/pool.h"
#include "proto/envelope.pb-c.h"

#include <assert.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct method {
    const ProtobufCMethodDescriptor *type;
    const struct rpc_handler *handler;
    struct metric *seconds;
    struct metric *ok, *refused, *failed; /* by who is at fault: nobody, the caller, the world */
};

struct rpc_server {
    struct rpc_server_config config;
    struct method *methods;
    size_t method_count;
    struct pool *lanes[2];
    atomic_int asking; /* workers that wait in rpc_ask */
    int asking_max;
    atomic_long jobs; /* queued or running, and one more until the drain */
    struct metric *expired;
};

struct worker {
    struct rpc_server *server;
    struct db *db;
    void *state;
};

struct job {
    struct rpc_server *server;
    const struct method *method;
    struct arena *arena;
    Chat__Request *request;
    struct rpc_request rq;
    int64_t received_us;
};

/* ---- What handlers call ---- */

int rpc_fail(struct rpc_request *rq, int err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    rq->detail = arena_vprintf(rq->arena, format, args);
    va_end(args);
    return err;
}

int rpc_invalid(struct rpc_request *rq, const char *field, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *reason = arena_vprintf(rq->arena, format, args);
    va_end(args);
    if (rq->error_count < sizeof(rq->errors) / sizeof(rq->errors[0])) {
        rq->errors[rq->error_count++] =
            (struct rpc_field_error){.field = arena_strdup(rq->arena, field), .reason = reason};
    }
    if (rq->detail == NULL) {
        rq->detail = arena_printf(rq->arena, "%s %s", field, reason);
    }
    return ERR_INVALID;
}

struct asked {
    struct rpc_request *rq;
    const ProtobufCMessageDescriptor *output;
    void *result;
    int err;
    uv_sem_t answered;
};

/* On the loop, while the worker waits: it may use the worker's arena. */
static void on_asked_reply(void *arg, const struct rpc_reply *reply)
{
    struct asked *asked = arg;
    asked->err = reply->err;
    if (reply->err == 0) {
        asked->result = pb_unpack(asked->output, asked->rq->arena, reply->body, reply->len);
        if (asked->result == NULL) {
            log_error("malformed answer", "from=%s", reply->instance);
            asked->err = ERR_INTERNAL;
        }
    } else {
        asked->rq->detail = arena_strdup(asked->rq->arena, reply->detail);
        asked->rq->retry_after_s = reply->retry_after_s;
    }
    uv_sem_post(&asked->answered);
}

int rpc_ask(struct rpc_request *rq, const struct rpc_call *call,
            const ProtobufCMessageDescriptor *output, void **output_out)
{
    struct rpc_server *server = rq->server;
    if (server == NULL) {
        return ERR_UNAVAILABLE;
    }
    if (atomic_fetch_add(&server->asking, 1) >= server->asking_max) {
        atomic_fetch_sub(&server->asking, 1);
        return rpc_fail(rq, ERR_UNAVAILABLE, "too many questions wait for another service");
    }
    struct asked asked = {.rq = rq, .output = output};
    uv_sem_init(&asked.answered, 0);
    int err = rpc_call(server->config.client, call, on_asked_reply, &asked);
    if (err == 0) {
        uv_sem_wait(&asked.answered);
        err = asked.err;
    }
    uv_sem_destroy(&asked.answered);
    atomic_fetch_sub(&server->asking, 1);
    if (err == 0) {
        *output_out = asked.result;
    }
    return err;
}

/* ---- Replies ---- */

uint8_t *rpc_pack_reply(struct arena *arena, const char *instance, uint64_t call_id, int err,
                        const char *detail, const struct rpc_field_error *errors,
                        size_t error_count, uint32_t retry_after_s, const void *output,
                        size_t *len_out)
{
    Chat__Reply reply = CHAT__REPLY__INIT;
    reply.id = call_id;
    reply.status = (uint32_t)-err;
    reply.detail = pb_str(detail);
    reply.retry_after = retry_after_s;
    reply.instance = pb_str(instance);
    reply.n_errors = error_count;
    reply.errors = arena_array(arena, error_count, sizeof(*reply.errors));
    for (size_t i = 0; i < error_count; i++) {
        reply.errors[i] = pb_new(&chat__field_error__descriptor, arena);
        reply.errors[i]->field = pb_str(errors[i].field);
        reply.errors[i]->reason = pb_str(errors[i].reason);
    }
    if (output != NULL) {
        reply.body.data = pb_pack(output, arena, &reply.body.len);
    }
    return pb_pack(&reply, arena, len_out);
}

/* What a client may see of an error: our own bugs look alike and tell nothing. */
static int outward(struct job *job, int err)
{
    if (err ==
        ERR_STALE) { /* a deadlock or a lock that did not come: the same may work next time */
        return ERR_UNAVAILABLE;
    }
    if (err == ERR_DUPLICATE || err == ERR_FENCED || err > 0) {
        log_error("handler let an internal error through", "code=%s", err_code(err));
        err = ERR_INTERNAL;
    }
    if (err == ERR_INTERNAL) {
        job->rq.detail = NULL;
    }
    return err;
}

static void send_reply(struct job *job, int err, const void *output)
{
    struct rpc_server *server = job->server;
    struct rpc_request *rq = &job->rq;
    const char *detail = rq->detail;
    if (err != 0 && detail == NULL) {
        detail = err_title(err);
    }
    size_t len;
    uint8_t *data = rpc_pack_reply(job->arena, server->config.instance, job->request->id, err,
                                   detail, rq->errors, err == ERR_INVALID ? rq->error_count : 0,
                                   rq->retry_after_s, err == 0 ? output : NULL, &len);
    if (len > RPC_REPLY_MAX && err == 0) {
        log_error("reply is too large", "bytes=%zu", len);
        send_reply(job, ERR_INTERNAL, NULL);
        return;
    }
    const char *reply_to = pb_cstr(job->arena, job->request->reply_to);
    if (server->config.send(server->config.send_arg, reply_to, data, len, rq->traceparent,
                            rq->request_id) != 0) {
        log_warn("reply could not be sent", "to=%s", LOG_Q(reply_to));
    }
}

/* The last job of a drained server says so; after that the server may be gone. */
static void jobs_less(struct rpc_server *server)
{
    if (atomic_fetch_sub(&server->jobs, 1) == 1) {
        server->config.idle(server->config.send_arg);
    }
}

static void job_free(struct job *job)
{
    struct rpc_server *server = job->server;
    arena_free(job->arena);
    free(job);
    jobs_less(server);
}

/* ---- Running ---- */

static void count(const struct method *m, int err, int64_t since_us)
{
    metric_observe(m->seconds, clock_mono_us() - since_us);
    int status = err == 0 ? 200 : err_http_status(err);
    metric_inc(status < 400 ? m->ok : status < 500 ? m->refused : m->failed);
}

static void run_handler(struct job *job)
{
    const struct method *m = job->method;
    const void *in =
        pb_unpack(m->type->input, job->arena, job->request->body.data, job->request->body.len);
    if (in == NULL) {
        log_warn("malformed request", "bytes=%zu", job->request->body.len);
        send_reply(job, ERR_INTERNAL, NULL);
        count(m, ERR_INTERNAL, job->received_us);
        return;
    }
    void *out = pb_new(m->type->output, job->arena);
    int err = m->handler->fn(&job->rq, in, out);
    if (err != 0) {
        err = outward(job, err);
    }
    send_reply(job, err, out);
    log_debug("handled", "code=%s us=%lld%s%s", err == 0 ? "ok" : err_code(err),
              (long long)(clock_mono_us() - job->received_us),
              err == 0 ? "" : " detail=", err == 0 ? "" : LOG_Q(job->rq.detail));
    count(m, err, job->received_us);
}

static void run_job(void *thread_state, void *arg)
{
    struct worker *worker = thread_state;
    struct job *job = arg;
    job->rq.db = worker->db;
    job->rq.worker = worker->state;
    log_set_context(&(struct log_context){
        .method = job->rq.method,
        .traceparent = job->rq.traceparent,
        .request_id = job->rq.request_id,
        .user_id = job->rq.caller.user_id,
    });
    if (clock_now_ms() >= job->request->deadline_at) {
        metric_inc(job->server->expired);
        log_debug("request expired while it waited", " ");
    } else {
        run_handler(job);
    }
    log_set_context(NULL);
    job_free(job);
}

static const struct method *find_method(const struct rpc_server *server, ProtobufCBinaryData name)
{
    for (size_t i = 0; i < server->method_count; i++) {
        if (pb_equal(name, server->methods[i].handler->method)) {
            return &server->methods[i];
        }
    }
    return NULL;
}

static void fill_rq(struct job *job, const char *traceparent, const char *request_id)
{
    struct arena *arena = job->arena;
    const Chat__Caller *caller = job->request->caller;
    job->rq = (struct rpc_request){
        .svc = job->server->config.svc,
        .server = job->server,
        .arena = arena,
        .deadline_ms = job->request->deadline_at,
        .method = pb_cstr(arena, job->request->method),
        .traceparent = arena_strdup(arena, traceparent),
        .request_id = arena_strdup(arena, request_id),
        .caller = {.username = "", .address = "", .device = ""},
    };
    if (caller != NULL) {
        job->rq.caller = (struct rpc_caller){
            .user_id = caller->user_id,
            .session_id = caller->session_id,
            .username = pb_cstr(arena, caller->username),
            .address = pb_cstr(arena, caller->address),
            .device = pb_cstr(arena, caller->device),
        };
    }
}

/* Answers at once, or gives the job to its lane. */
static void dispatch(struct job *job)
{
    struct rpc_server *server = job->server;
    job->method = find_method(server, job->request->method);
    if (job->method != NULL) {
        struct pool *lane = server->lanes[job->method->handler->lane];
        if (pool_submit(lane, run_job, job) == 0) {
            return;
        }
        job->rq.retry_after_s = 1;
        send_reply(job, rpc_fail(&job->rq, ERR_UNAVAILABLE, "the service is overloaded"), NULL);
        metric_inc(job->method->failed);
    } else if (pb_equal(job->request->method, "Ping")) {
        send_reply(job, 0, NULL);
    } else {
        log_warn("unknown method", "method=%s", LOG_Q(job->rq.method));
        send_reply(job, ERR_INTERNAL, NULL);
    }
    job_free(job);
}

void rpc_server_received(struct rpc_server *server, const uint8_t *data, size_t len,
                         const char *traceparent, const char *request_id)
{
    struct job *job = calloc(1, sizeof(*job));
    assert(job != NULL);
    job->server = server;
    job->received_us = clock_mono_us();
    job->arena = arena_new(len + 2048);
    job->request = pb_unpack(&chat__request__descriptor, job->arena, data, len);
    atomic_fetch_add(&server->jobs, 1);
    if (job->request == NULL) {
        log_warn("malformed request dropped", "bytes=%zu", len);
        job_free(job);
    } else if (clock_now_ms() >= job->request->deadline_at) {
        metric_inc(server->expired);
        job_free(job);
    } else {
        fill_rq(job, traceparent, request_id);
        dispatch(job);
    }
}

struct work {
    struct rpc_server *server;
    void (*fn)(struct svc_ctx *ctx, struct db *db, void *worker, void *arg);
    void *arg;
};

static void run_work(void *thread_state, void *arg)
{
    struct worker *worker = thread_state;
    struct work *work = arg;
    work->fn(work->server->config.svc, worker->db, worker->state, work->arg);
    struct rpc_server *server = work->server;
    free(work);
    jobs_less(server);
}

int rpc_server_work(struct rpc_server *server, enum rpc_lane lane,
                    void (*fn)(struct svc_ctx *ctx, struct db *db, void *worker, void *arg),
                    void *arg)
{
    if (server->lanes[lane] == NULL) {
        lane = RPC_FAST;
    }
    struct work *work = malloc(sizeof(*work));
    assert(work != NULL);
    *work = (struct work){.server = server, .fn = fn, .arg = arg};
    atomic_fetch_add(&server->jobs, 1);
    int err = pool_submit(server->lanes[lane], run_work, work);
    if (err != 0) {
        jobs_less(server);
        free(work);
    }
    return err;
}

/* ---- Life ---- */

static void *lane_thread_start(void *arg)
{
    struct rpc_server *server = arg;
    struct worker *worker = calloc(1, sizeof(*worker));
    assert(worker != NULL);
    worker->server = server;
    server->config.worker_start(server->config.svc, &worker->db, &worker->state);
    return worker;
}

static void lane_thread_end(void *state)
{
    struct worker *worker = state;
    worker->server->config.worker_stop(worker->server->config.svc, worker->db, worker->state);
    free(worker);
}

static struct pool *lane_new(struct rpc_server *server, const char *name, size_t threads)
{
    return pool_new(&(struct pool_config){
        .name = name,
        .svc = server->config.service,
        .threads = threads,
        .queue = server->config.queue,
        .thread_start = lane_thread_start,
        .thread_end = lane_thread_end,
        .arg = server,
    });
}

static int method_init(struct rpc_server *server, struct method *m,
                       const ProtobufCMethodDescriptor *type, char *problem, size_t problem_size)
{
    const char *service = server->config.service;
    m->type = type;
    for (const struct rpc_handler *h = server->config.handlers; h->method != NULL; h++) {
        if (strcmp(h->method, type->name) == 0) {
            m->handler = h;
        }
    }
    if (m->handler == NULL) {
        snprintf(problem, problem_size, "%s has no handler for the method %s", service, type->name);
        return ERR_INVALID;
    }
    char labels[160];
    snprintf(labels, sizeof(labels), "service=\"%s\",method=\"%s\"", service, type->name);
    m->seconds =
        metrics_histogram_us("chat_rpc_seconds", "From receiving a request to its reply.", labels);
    static const char *const results[] = {"ok", "refused", "failed"};
    struct metric **counters[] = {&m->ok, &m->refused, &m->failed};
    for (size_t i = 0; i < 3; i++) {
        snprintf(labels, sizeof(labels), "service=\"%s\",method=\"%s\",result=\"%s\"", service,
                 type->name, results[i]);
        *counters[i] = metrics_counter("chat_rpc_requests_total",
                                       "Requests by result: refused is the caller's fault.",
                                       labels);
    }
    return 0;
}

static int methods_init(struct rpc_server *server, char *problem, size_t problem_size)
{
    const ProtobufCServiceDescriptor *d = server->config.descriptor;
    server->method_count = d->n_methods;
    server->methods = calloc(d->n_methods, sizeof(*server->methods));
    assert(server->methods != NULL);
    for (unsigned i = 0; i < d->n_methods; i++) {
        int err = method_init(server, &server->methods[i], &d->methods[i], problem, problem_size);
        if (err != 0) {
            return err;
        }
    }
    size_t rows = 0;
    bool slow = false;
    for (const struct rpc_handler *h = server->config.handlers; h->method != NULL; h++) {
        rows++;
        slow = slow || h->lane == RPC_SLOW;
    }
    if (rows != server->method_count) {
        snprintf(problem, problem_size, "%s has %zu handlers for %zu methods",
                 server->config.service, rows, server->method_count);
        return ERR_INVALID;
    }
    if (!slow) {
        server->config.slow_workers = 0;
    }
    return 0;
}

int rpc_server_new(const struct rpc_server_config *config, struct rpc_server **server_out,
                   char *problem, size_t problem_size)
{
    struct rpc_server *server = calloc(1, sizeof(*server));
    assert(server != NULL);
    server->config = *config;
    int err = methods_init(server, problem, problem_size);
    if (err != 0) {
        free(server->methods);
        free(server);
        return err;
    }
    char labels[64];
    snprintf(labels, sizeof(labels), "service=\"%s\"", config->service);
    server->expired = metrics_counter("chat_rpc_expired_total",
                                      "Requests whose deadline passed unserved.", labels);
    atomic_init(&server->jobs, 1);
    server->asking_max = (int)(config->fast_workers + 1) / 2;
    server->lanes[RPC_FAST] = lane_new(server, config->fast_name, config->fast_workers);
    if (server->config.slow_workers > 0) {
        server->lanes[RPC_SLOW] = lane_new(server, config->slow_name, server->config.slow_workers);
    }
    *server_out = server;
    return 0;
}

void rpc_server_drain(struct rpc_server *server)
{
    jobs_less(server);
}

void rpc_server_free(struct rpc_server *server)
{
    if (server == NULL) {
        return;
    }
    pool_free(server->lanes[RPC_FAST]);
    pool_free(server->lanes[RPC_SLOW]);
    free(server->methods);
    free(server);
}
