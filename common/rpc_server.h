// SPDX-License-Identifier: MIT
/*
 * The answering side of RPC: finds the handler, runs it on a worker, replies. For svc.c.
 */
#pragma once

#include "common/rpc.h"

struct rpc_server;

struct rpc_server_config {
    const char *service;  /* "auth-svc": labels and log lines */
    const char *instance; /* "<daemon>-<instance>": stands in each reply */
    const ProtobufCServiceDescriptor *descriptor;
    const struct rpc_handler *handlers; /* ends with {0} */
    size_t fast_workers, slow_workers;  /* slow: only made when a handler is slow */
    const char *fast_name, *slow_name;  /* of the pools: metrics and threads */
    size_t queue;                       /* requests that may wait per lane */
    struct svc_ctx *svc;
    struct rpc_client *client; /* for rpc_ask */
    /* Sends a packed Reply; any thread. */
    int (*send)(void *arg, const char *reply_to, const uint8_t *data, size_t len,
                const char *traceparent, const char *request_id);
    void *send_arg;
    /* A worker's own database connection and state; on the worker's thread. */
    void (*worker_start)(struct svc_ctx *svc, struct db **db_out, void **worker_out);
    void (*worker_stop)(struct svc_ctx *svc, struct db *db, void *worker);
    void (*idle)(
        void *arg); /* rpc_server_drain: nothing runs or waits any more; a worker's thread */
};

/* ERR_INVALID with a sentence in problem: handlers and descriptor do not name the same methods. */
int rpc_server_new(const struct rpc_server_config *config, struct rpc_server **server_out,
                   char *problem, size_t problem_size);
/* A Request as it came. Loop thread; never blocks: a full queue is answered with unavailable. */
void rpc_server_received(struct rpc_server *server, const uint8_t *data, size_t len,
                         const char *traceparent, const char *request_id);
/* Runs fn on a worker of that lane, as svc_work (svc.h). ERR_UNAVAILABLE: the queue is full. */
int rpc_server_work(struct rpc_server *server, enum rpc_lane lane,
                    void (*fn)(struct svc_ctx *ctx, struct db *db, void *worker, void *arg),
                    void *arg);
/* No more requests will come: calls config.idle once (perhaps at once). Loop thread. */
void rpc_server_drain(struct rpc_server *server);
/* After idle. Joins the workers. Takes NULL. */
void rpc_server_free(struct rpc_server *server);

/* Packs a Reply envelope. output may be NULL. */
uint8_t *rpc_pack_reply(struct arena *arena, const char *instance, uint64_t call_id, int err,
                        const char *detail, const struct rpc_field_error *errors,
                        size_t error_count, uint32_t retry_after_s, const void *output,
                        size_t *len_out);
