// SPDX-License-Identifier: MIT
/*
 * Wires the gateway: settings, the modules in the order in which they need each other, readiness,
 * the drain.
 */
#include "gateway/service.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/token.h"
#include "gateway/authn.h"
#include "gateway/conns.h"
#include "gateway/deliver.h"
#include "gateway/http.h"
#include "gateway/hub.h"
#include "gateway/interest.h"
#include "gateway/limits.h"
#include "gateway/loop.h"
#include "gateway/online.h"
#include "gateway/openings.h"
#include "gateway/origins.h"
#include "gateway/profiles.h"
#include "gateway/proxies.h"
#include "gateway/reports.h"
#include "gateway/rest.h"
#include "gateway/routes.h"
#include "gateway/ws.h"

#include <assert.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define DRAIN_POLL_MS 20
#define MAPPED_FROM_BYTES (256 * 1024)
#define DRAIN_RESERVE_MS 700 /* for the rest of the process to stop in */

struct service {
    struct gateway gw;
    uv_timer_t drain;
    int64_t drain_deadline_ms;
};

/* ---- Start ---- */

static int load_keys(struct gateway *gw, char *problem, size_t size)
{
    const struct svc_settings *c = gw->common;
    const char *secret = c->jwt_secret[0] != '\0' ? c->jwt_secret : NULL;
    if (secret != NULL) {
        return token_keys_load(secret, NULL, NULL, &gw->keys, problem, size);
    }
    /* The public keys are enough; standalone may have the private one alone. */
    const char *public = c->jwt_public_key_file;
    return token_keys_load(NULL, public[0] == '\0' ? c->jwt_private_key_file : NULL, public,
                           &gw->keys, problem, size);
}

static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static double read_backlog(void *arg)
{
    const struct gateway *gw = arg;
    size_t sum = 0;
    for (unsigned i = 0; i < gw->loop_count; i++) {
        sum += gw->loops[i] != NULL ? atomic_load(&gw->loops[i]->backlog) : 0;
    }
    return (double)sum;
}

static void make_metrics(struct gateway *gw)
{
    struct gateway_metrics *m = &gw->metrics;
    m->sockets = metrics_gauge("chat_gateway_sockets", "Open WebSockets.", NULL);
    m->frames_in = metrics_counter("chat_gateway_frames_in_total", "Frames from clients.", NULL);
    m->frames_out = metrics_counter("chat_gateway_frames_out_total", "Frames to clients.", NULL);
    m->queue_bytes =
        metrics_gauge("chat_gateway_queue_bytes", "Bytes that wait for sockets.", NULL);
    m->deliveries = metrics_counter("chat_gateway_deliveries_total",
                                    "Events given to sockets, one for each socket.", NULL);
    m->request_us =
        metrics_histogram_us("chat_gateway_request_seconds", "Time to answer a request.", NULL);
    metrics_gauge_fn("chat_gateway_backlog_bytes", "Bytes under way from the bus to the loops.",
                     NULL, read_backlog, gw);
    conns_metrics(gw);
    rest_metrics();
    ws_metrics(gw);
}

static void start_loops(struct gateway *gw)
{
    for (unsigned i = 0; i < gw->loop_count; i++) {
        struct loop *loop = loop_new(gw, i);
        loop->hub = hub_new(gw->interest, i);
        profiles_loop_init(loop);
        openings_loop_init(loop);
        ws_loop_init(loop);
        gw->loops[i] = loop;
    }
    for (unsigned i = 0; i < gw->loop_count; i++) {
        loop_start(gw->loops[i]);
    }
}

static int start_modules(struct gateway *gw, char *problem, size_t size)
{
    int err = load_keys(gw, problem, size);
    if (err == 0) {
        err = origins_new(gw->settings->allowed_origins, &gw->origins, problem, size);
    }
    if (err == 0) {
        err = proxies_new(gw->settings->trusted_proxies, &gw->proxies, problem, size);
    }
    if (err == 0) {
        err = http_new(gw, &gw->http, problem, size);
    }
    if (err != 0) {
        return err;
    }
    gw->authn = authn_new(gw->keys, gw->common->access_token_seconds);
    gw->limits = limits_new(gw->common->rate_auth, gw->common->rate_user);
    gw->profiles = profiles_new();
    gw->online = online_new(gw);
    gw->reports = reports_new(gw);
    gw->interest = interest_new(reports_change, gw);
    make_metrics(gw);
    return deliver_new(gw, &gw->deliver, problem, size);
}

static int start(struct svc_ctx *ctx, char *problem, size_t size)
{
    struct service *service = calloc(1, sizeof(*service));
    assert(service != NULL);
    struct gateway *gw = &service->gw;
    svc_set_state(ctx, service);
    gw->ctx = ctx;
    gw->common = svc_common(ctx);
    gw->settings = svc_settings(ctx);
    gw->bus = svc_bus(ctx);
    gw->rpc = svc_rpc(ctx);
    gw->instance = svc_instance(ctx);
    gw->started_ms = clock_now_ms();
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    gw->loop_count = (unsigned)(gw->settings->threads > 0   ? gw->settings->threads
                                : cores < GATEWAY_LOOPS_MAX ? cores
                                                            : GATEWAY_LOOPS_MAX);
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    /* A fixed threshold: the buffers of long requests go back to the kernel when they are freed. */
    mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES);
    const char *missing = routes_check();
    if (missing != NULL) {
        snprintf(problem, size, "the route table names an unknown method: %s", missing);
        return ERR_INVALID;
    }
    uv_timer_init(svc_loop(ctx), &service->drain);
    service->drain.data = service;
    int err = start_modules(gw, problem, size);
    if (err == 0) {
        start_loops(gw);
        online_start(gw->online);
        reports_tick(gw->reports);
    }
    return err;
}

static void announce(struct svc_ctx *ctx)
{
    struct service *service = svc_state(ctx);
    const char *scheme = service->gw.settings->tls_cert_file[0] != '\0' ? "https" : "http";
    const char *bind = service->gw.common->bind;
    int port = http_port(service->gw.http);
    log_info("listening", "url=%s://%s:%d/ threads=%u", scheme, bind, port, service->gw.loop_count);
    if (svc_is_standalone(ctx)) { /* for who started it by hand */
        printf("standalone: ready on %s://%s:%d\n", scheme,
               strcmp(bind, "127.0.0.1") == 0 ? "localhost" : bind, port);
        fflush(stdout);
    }
}

/* ---- Running ---- */

static void ready(struct svc_ctx *ctx, struct svc_causes *causes)
{
    struct service *service = svc_state(ctx);
    struct gateway *gw = &service->gw;
    if (!deliver_sessions_ready(gw->deliver)) {
        svc_not_ready(causes, "sessions", "ended sessions are still being read");
    }
    if (!deliver_is_ready(gw->deliver)) {
        svc_not_ready(causes, "events", "events are still being read");
    }
    if (!online_is_complete(gw->online)) {
        svc_not_ready(causes, "online", "who is online is not known yet");
    }
    if (atomic_load(&gw->draining)) {
        svc_not_ready(causes, "drain", "the gateway is stopping");
    }
}

static void tick(struct svc_ctx *ctx)
{
    struct service *service = svc_state(ctx);
    if (!atomic_load(&service->gw.draining)) {
        online_tick(service->gw.online);
        reports_tick(service->gw.reports);
    }
}

/* ---- Stop ---- */

static void on_everything_closed(uv_handle_t *handle)
{
    struct service *service = handle->data;
    svc_stopped(service->gw.ctx);
}

static void on_events_stopped(void *arg)
{
    struct service *service = arg;
    uv_close((uv_handle_t *)&service->drain, on_everything_closed);
}

static void on_drain_poll(uv_timer_t *timer)
{
    struct service *service = timer->data;
    struct gateway *gw = &service->gw;
    bool all = true;
    for (unsigned i = 0; i < gw->loop_count; i++) {
        all = http_is_drained(gw->loops[i]) && all;
    }
    if (!all) {
        return;
    }
    uv_timer_stop(timer);
    for (unsigned i = 0; i < gw->loop_count; i++) {
        loop_join(gw->loops[i]);
    }
    reports_leave(gw->reports);
    deliver_stop(gw->deliver, on_events_stopped, service);
}

static void stop(struct svc_ctx *ctx)
{
    struct service *service = svc_state(ctx);
    struct gateway *gw = &service->gw;
    atomic_store(&gw->draining, true);
    int64_t may_take_ms = gw->common->drain_seconds * 1000 - DRAIN_RESERVE_MS;
    int64_t deadline = clock_mono_ms() + (may_take_ms > 200 ? may_take_ms : 200);
    for (unsigned i = 0; i < gw->loop_count; i++) {
        http_drain(gw->loops[i], deadline);
    }
    uv_timer_start(&service->drain, on_drain_poll, DRAIN_POLL_MS, DRAIN_POLL_MS);
}

/* The loops' h2o contexts stay as they are: they cannot let go of open connections, and the process
 * ends now. What calls under way may still look at stays too. */
static void service_free(struct svc_ctx *ctx)
{
    static struct service *left;
    left = svc_state(ctx);
    if (left == NULL) {
        return;
    }
    struct gateway *gw = &left->gw;
    deliver_free(gw->deliver);
    authn_free(gw->authn);
    token_keys_free(gw->keys);
    limits_free(gw->limits);
    origins_free(gw->origins);
    proxies_free(gw->proxies);
    http_free(gw->http);
}

#define ROW(kind, variable, member, def, text)                                                     \
    .name = (variable), .type = CONFIG_##kind,                                                     \
    .offset = offsetof(struct gateway_settings, member), .fallback = (def), .help = (text)

static const struct config_row rows[] = {
    {ROW(INT, "PORT", port, "8080", "where clients connect; 0 takes a free port"), .min = 0,
     .max = 65535},
    {ROW(INT, "GATEWAY_THREADS", threads, "0", "event loops; 0: one for each core"), .min = 0,
     .max = GATEWAY_LOOPS_MAX},
    {ROW(INT, "MAX_CONNECTIONS", max_connections, "10000", "WebSockets of this gateway"), .min = 1,
     .max = 10000000},
    {ROW(INT, "MAX_SOCKETS_PER_USER", max_sockets_per_user, "20", "WebSockets of one user"),
     .min = 1, .max = 100000},
    {ROW(INT, "REQUEST_MEMORY_MIB", request_memory_mib, "64",
         "for requests that are still arriving; over it the oldest are closed"),
     .min = 4, .max = 1048576},
    {ROW(INT, "SOCKET_MEMORY_MIB", socket_memory_mib, "256",
         "for what waits for slow sockets; over it those that hold most of it are closed"),
     .min = 1, .max = 1048576},
    {ROW(STRING, "ALLOWED_ORIGINS", allowed_origins, "",
         "web pages that may call, comma-separated: https://example.com")},
    {ROW(STRING, "ADMIN_USERS", admin_users, "",
         "user names that may see /api/monitor, comma-separated")},
    {ROW(STRING, "TRUSTED_PROXIES", trusted_proxies, "",
         "networks whose X-Forwarded-For and -Proto are believed: 10.0.0.0/8")},
    {ROW(STRING, "TLS_CERT_FILE", tls_cert_file, "", "PEM chain: HTTPS on PORT")},
    {ROW(STRING, "TLS_KEY_FILE", tls_key_file, "", "PEM key of the certificate")},
};

const struct svc gateway_svc = {
    .name = "gateway",
    .about = "REST and WebSocket for clients; holds no data",
    .settings = rows,
    .setting_count = sizeof(rows) / sizeof(rows[0]),
    .settings_size = sizeof(struct gateway_settings),
    .tokens = true,
    .default_admin_port = 9180,
    .start = start,
    .stop = stop,
    .free = service_free,
    .ready = ready,
    .alive_tick = tick,
    .announce = announce,
};
