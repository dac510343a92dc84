// SPDX-License-Identifier: MIT
/*
 * Services are asked when somebody looks: one "Ping" to each partition of each service, so that
 * every instance that holds one answers, for a second at most.
 */
#include "gateway/monitor.h"

#include "common/clock.h"
#include "common/config.h"
#include "common/metrics.h"
#include "common/pb.h"
#include "gateway/calls.h"
#include "gateway/deliver.h"
#include "gateway/online.h"
#include "gateway/pbjson.h"
#include "proto/envelope.pb-c.h"
#include "proto/presence.pb-c.h"

#include <assert.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROBE_MS 1000
#define PROBES_MAX 64 /* partitions asked of one service */
#define INSTANCES_MAX 32

bool monitor_is_admin(const struct gateway *gw, const char *username)
{
    const char *part;
    size_t len;
    for (size_t i = 0; config_list_part(gw->settings->admin_users, i, &part, &len); i++) {
        if (strlen(username) == len && memcmp(part, username, len) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- Probing the services ---- */

static const struct {
    const char *name;
    enum topic topic;
} services[] = {
    {"auth", TOPIC_RPC_AUTH},
    {"message", TOPIC_RPC_MESSAGE},
    {"group", TOPIC_RPC_GROUP},
    {"presence", TOPIC_RPC_PRESENCE},
};
#define SERVICES (sizeof(services) / sizeof(services[0]))

struct probed {
    double ms[PROBES_MAX];
    size_t count;
    const char *instances[INSTANCES_MAX];
    size_t instance_count;
};

struct system {
    struct rest *rest; /* lives: h2o reads nothing of a connection while a request is worked on */
    struct probed of[SERVICES];
    int pending;
};

struct probe {
    struct system *system;
    size_t service;
    int64_t began_us;
};

static void add_instance(struct probed *p, struct arena *arena, const char *name)
{
    for (size_t i = 0; i < p->instance_count; i++) {
        if (strcmp(p->instances[i], name) == 0) {
            return;
        }
    }
    if (p->instance_count < INSTANCES_MAX) {
        p->instances[p->instance_count++] = arena_strdup(arena, name);
    }
}

static int compare_ms(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return (x > y) - (x < y);
}

static double quantile(const struct probed *p, double share)
{
    size_t at = (size_t)(share * (double)p->count);
    return p->count == 0 ? 0 : p->ms[at < p->count ? at : p->count - 1];
}

static void print_services(struct buf *out, struct system *s)
{
    buf_add_str(out, "\"services\":{");
    for (size_t i = 0; i < SERVICES; i++) {
        struct probed *p = &s->of[i];
        qsort(p->ms, p->count, sizeof(p->ms[0]), compare_ms);
        buf_printf(out, "%s\"%s\":{\"up\":%s,\"instances\":%zu,\"p50_ms\":%.3f,\"p99_ms\":%.3f}",
                   i > 0 ? "," : "", services[i].name, p->count > 0 ? "true" : "false",
                   p->instance_count, quantile(p, 0.5), quantile(p, 0.99));
    }
    buf_add_char(out, '}');
}

/* ---- The process ---- */

static int64_t sum_of_topics(const char *name, const char *help)
{
    static const char *const topics[] = {
#define X(symbol, topic_name, retention) topic_name,
        TOPIC_LIST(X)
#undef X
    };
    int64_t sum = 0;
    for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
        char labels[64];
        snprintf(labels, sizeof(labels), "topic=\"%s\"", topics[i]);
        sum += metric_value(metrics_counter(name, help, labels));
    }
    return sum;
}

/* A number of /proc/self/status, by its line's name; 0: unknown. */
static long read_status(const char *name)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[128];
    long value = 0;
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            value = strtol(line + strlen(name), NULL, 10);
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return value;
}

static void print_process(struct buf *out, struct gateway *gw)
{
    struct mallinfo2 heap = mallinfo2();
    buf_printf(out, "\"connections\":%d,\"uptime_seconds\":%lld,\"version\":\"%s\",",
               atomic_load(&gw->sockets), (long long)((clock_now_ms() - gw->started_ms) / 1000),
               GATEWAY_VERSION);
    buf_printf(out, "\"memory\":{\"rss\":%.1f,\"alloc\":%.1f},\"threads\":%ld,",
               (double)read_status("VmRSS:") / 1024,
               (double)(heap.uordblks + heap.hblkhd) / 1048576, read_status("Threads:"));
    buf_printf(
        out,
        "\"kafka\":{\"messages_sent\":%lld,\"messages_received\":%lld,\"errors\":%lld,"
        "\"lag\":%lld},",
        (long long)sum_of_topics("chat_bus_sent_total", "Records queued for sending"),
        (long long)sum_of_topics("chat_bus_received_total", "Records handed to consumers"),
        (long long)sum_of_topics("chat_bus_errors_total", "Records that were refused or given up"),
        (long long)deliver_lag(gw->deliver));
}

/* ---- GET /api/monitor/system ---- */

static void answer_system(struct system *s)
{
    struct buf out;
    buf_init(&out);
    buf_add_char(&out, '{');
    print_process(&out, rest_http(s->rest)->loop->gw);
    print_services(&out, s);
    buf_add_char(&out, '}');
    rest_reply_json(s->rest, arena_strndup(rest_arena(s->rest), out.data, out.len), out.len);
    buf_done(&out);
}

static void one_done(struct system *s)
{
    if (--s->pending == 0) {
        answer_system(s);
    }
}

static void on_ping(void *arg, const struct rpc_reply *reply)
{
    struct probe *probe = arg;
    struct system *s = probe->system;
    struct probed *p = &s->of[probe->service];
    if (reply->err == 0 && p->count < PROBES_MAX) {
        p->ms[p->count++] = (double)(clock_mono_us() - probe->began_us) / 1000;
        add_instance(p, rest_arena(s->rest), reply->instance);
    }
    one_done(s);
}

static void ping(struct system *s, struct loop *loop, size_t service, int32_t partition)
{
    struct probe *probe = arena_zalloc(rest_arena(s->rest), sizeof(*probe));
    *probe = (struct probe){.system = s, .service = service, .began_us = clock_mono_us()};
    struct rpc_call call = {.topic = services[service].topic,
                            .method = "Ping",
                            .timeout_ms = PROBE_MS,
                            .partition = partition,
                            .use_partition = true};
    if (calls_ask(loop, &call, on_ping, probe, NULL) == 0) {
        s->pending++;
    }
}

void monitor_system(struct rest *rest)
{
    struct loop *loop = rest_http(rest)->loop;
    struct system *s = arena_zalloc(rest_arena(rest), sizeof(*s));
    s->rest = rest;
    s->pending = 1;
    for (size_t i = 0; i < SERVICES; i++) {
        int32_t n = bus_partitions(loop->gw->bus, services[i].topic);
        for (int32_t p = 0; p < n && p < PROBES_MAX; p++) {
            ping(s, loop, i, p);
        }
    }
    one_done(s);
}

/* ---- GET /api/monitor/connections ---- */

static void print_gateways(struct buf *out, const Chat__GatewayList *list)
{
    for (size_t i = 0; i < list->n_gateways; i++) {
        const Chat__GatewayStatus *g = list->gateways[i];
        buf_add_str(out, i > 0 ? "," : "");
        pbjson_print_string(out, (const char *)g->gateway.data, g->gateway.len);
        buf_printf(out, ":{\"connections\":%llu,\"users\":%llu}",
                   (unsigned long long)g->connections, (unsigned long long)g->users);
    }
}

static void on_gateways(void *arg, const struct rpc_reply *reply)
{
    struct rest *rest = arg;
    struct gateway *gw = rest_http(rest)->loop->gw;
    Chat__GatewayList *list = NULL;
    uint64_t connections = (uint64_t)atomic_load(&gw->sockets);
    if (reply->err == 0) {
        list =
            pb_unpack(&chat__gateway_list__descriptor, rest_arena(rest), reply->body, reply->len);
    }
    for (size_t i = 0; list != NULL && i < list->n_gateways; i++) {
        /* Our own number is fresher than our last heartbeat. */
        bool own = pb_equal(list->gateways[i]->gateway, gw->instance);
        connections += own ? 0 : list->gateways[i]->connections;
        if (own) {
            list->gateways[i]->connections = (uint64_t)atomic_load(&gw->sockets);
        }
    }
    struct buf out;
    buf_init(&out);
    buf_printf(&out,
               "{\"connections\":%llu,\"users\":%zu,\"max_connections\":%lld,\"by_gateway\":{",
               (unsigned long long)connections, online_count(gw->online),
               (long long)gw->settings->max_connections);
    if (list != NULL) {
        print_gateways(&out, list);
    }
    buf_add_str(&out, "}}");
    rest_reply_json(rest, arena_strndup(rest_arena(rest), out.data, out.len), out.len);
    buf_done(&out);
}

void monitor_connections(struct rest *rest)
{
    Chat__Empty input = CHAT__EMPTY__INIT;
    struct rpc_call call = {.topic = TOPIC_RPC_PRESENCE,
                            .method = "ListGateways",
                            .key = 1,
                            .input = &input,
                            .timeout_ms = PROBE_MS};
    if (calls_ask(rest_http(rest)->loop, &call, on_gateways, rest, NULL) != 0) {
        rest_fail(rest, ERR_UNAVAILABLE, NULL);
    }
}
