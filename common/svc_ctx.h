// SPDX-License-Identifier: MIT
/*
 * What one running instance consists of: for svc.c (start and drain) and svc_ready.c (readiness).
 * Everything but the atomics and what stands below the lock belongs to the loop's thread.
 */
#pragma once

#include "common/buf.h"
#include "common/rpc_server.h"
#include "common/svc_impl.h"
#include "common/svc_stream.h"

#include <stdatomic.h>

#define STREAMS_MAX 4
#define QUEUE_MAX 2000 /* requests that may wait for a worker, per lane */

struct work_item { /* svc_work before the workers run */
    struct work_item *next;
    enum rpc_lane lane;
    svc_work_fn fn;
    void *arg;
};

struct svc_ctx {
    struct svc_instance_options options;
    const struct svc *svc;
    char instance[160];
    void *state;
    uv_loop_t loop;
    uv_thread_t thread;
    uv_async_t wake;
    uv_timer_t ready_timer, tick_timer;
    int open_handles;

    struct bus *bus;
    struct rpc_client *client;
    struct bus_consumer *reply_reader, *rpc_consumer;
    struct rpc_server *server;
    struct outbox *outbox;
    struct db *anchor; /* SQLite: kept open from start to end */
    struct stream *streams[STREAMS_MAX];
    size_t stream_count;
    struct work_item *early_work;
    int leaving; /* consumers that have not left yet */
    int64_t joined_ms;
    int assigned; /* partitions of the RPC topic, */
    bool leads;   /* the first one among them: the outbox is ours to publish */
    bool announced, up;
    atomic_llong probe_sent_ms, probe_answered_ms;

    atomic_bool stop_asked, service_stopped, server_idle, ended;
    bool stopping, draining_server, finishing; /* how far the drain has come; the loop's */

    uv_mutex_t lock; /* guards what follows */
    bool ready;
    struct buf causes;
};

void svc_lead(struct svc_ctx *ctx); /* svc.c: tells the outbox whether it publishes. Loop thread */
/* svc_ready.c. Loop thread. */
void svc_ready_start(struct svc_ctx *ctx); /* looks at all parts from now on */
void svc_ready_look(struct svc_ctx *ctx);  /* looks at once */
