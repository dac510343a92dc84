// SPDX-License-Identifier: MIT
/*
 * Questions and answers between daemons, as bytes: numbers calls, matches replies, keeps
 * deadlines, runs handlers. Knows no Kafka: svc.c gives it a way to send and hands it what comes.
 *
 * A request may be lost, and may be delivered again after a crash; the asker retries. So every
 * writing handler must be safe to repeat. Handlers run on worker threads, one at a time per worker,
 * and may block on their database; callers' callbacks run on the loop.
 */
#pragma once

#include "common/arena.h"
#include "common/err.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RPC_DEADLINE_MS 5000
#define RPC_REPLY_MAX (512 * 1024)

struct db;
struct rpc_server;
struct svc_ctx;

/* ---- Server side: handlers ---- */

struct rpc_caller { /* who asks; strings NUL-terminated, "" when unknown */
    uint64_t user_id, session_id;
    const char *username, *address, *device;
};

struct rpc_field_error {
    const char *field, *reason;
};

/* What a handler works with; lives until the reply is sent. All memory comes from the arena. */
struct rpc_request {
    struct svc_ctx *svc;
    struct arena *arena;
    struct db *db; /* this worker's connection; NULL in services without a database */
    void *worker;  /* what svc.worker_start returned for this worker */
    struct rpc_caller caller;
    int64_t deadline_ms; /* since 1970 */
    const char *method, *traceparent, *request_id;
    struct rpc_server *server; /* NULL in tests: rpc_ask then says ERR_UNAVAILABLE */
    /* Set by rpc_fail and friends: */
    const char *detail;
    struct rpc_field_error errors[8];
    size_t error_count;
    uint32_t retry_after_s;
};

/* in and out are messages of the method's types; out is initialised, filled from the arena.
 * Returns 0, or a negative ERR_* (out is then not sent). ERR_STALE (a deadlock, a lock that
 * did not come) becomes ERR_UNAVAILABLE; ERR_DUPLICATE here is our own bug, ERR_INTERNAL. */
typedef int (*rpc_handler_fn)(struct rpc_request *rq, const void *in, void *out);

enum rpc_lane {
    RPC_FAST, /* reads and small writes */
    RPC_SLOW, /* password hashing: at most cores-1 at once, the rest queue up to their deadline */
};

struct rpc_handler {
    const char *method; /* as in the .proto */
    rpc_handler_fn fn;
    enum rpc_lane lane;
};

/* Notes why, for the client, and returns err:
 *   return rpc_fail(rq, ERR_FORBIDDEN, "only the owner may delete group %llu", …); */
int rpc_fail(struct rpc_request *rq, int err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A 422 that names the field; call again for more fields; always returns ERR_INVALID. */
int rpc_invalid(struct rpc_request *rq, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- Caller's side ---- */

struct rpc_client;

struct rpc_reply {
    int err;            /* 0 or a negative ERR_*; ERR_TIMEOUT when nothing came */
    const char *detail; /* "" when none */
    const struct rpc_field_error *errors;
    size_t error_count;
    uint32_t retry_after_s;
    const uint8_t *body; /* the packed output; valid during the callback only */
    size_t len;
    const char *instance; /* who answered; "" on a timeout */
};
typedef void (*rpc_reply_fn)(void *arg, const struct rpc_reply *reply);

struct rpc_call {
    int topic; /* enum topic: which service */
    const char *method;
    uint64_t key;                    /* the entity asked about: picks the partition */
    const struct rpc_caller *caller; /* NULL: the daemon itself */
    const void *input;               /* a message, packed here; or NULL and body/len */
    const uint8_t *body;
    size_t len;
    int64_t timeout_ms; /* 0: RPC_DEADLINE_MS */
    const char *traceparent, *request_id;
    int32_t partition; /* with use_partition: exactly this one */
    bool use_partition;
};

/* Sends; reply runs exactly once, on the client's loop, unless an error is returned at once
 * (ERR_UNAVAILABLE: queue full or too many calls wait, bound 100,000). Any thread. */
int rpc_call(struct rpc_client *client, const struct rpc_call *call, rpc_reply_fn reply, void *arg)
    __attribute__((warn_unused_result));

/* The same, waiting for the answer: worker threads only, never a loop. At most half of a service's
 * workers wait at once (else ERR_UNAVAILABLE). output_out: unpacked into the arena. The reply's
 * detail is put into rq. */
int rpc_ask(struct rpc_request *rq, const struct rpc_call *call,
            const ProtobufCMessageDescriptor *output, void **output_out)
    __attribute__((warn_unused_result));

/* A call whose question travels by other means (a Command): reserves an id that a Reply, or
 * rpc_resolve, answers. The deadline runs from now. Any thread. */
int rpc_expect(struct rpc_client *client, int64_t timeout_ms, rpc_reply_fn reply, void *arg,
               uint64_t *id_out) __attribute__((warn_unused_result));
/* Answers a waiting call; unknown ids are ignored (late). Loop thread. */
void rpc_resolve(struct rpc_client *client, uint64_t id, const struct rpc_reply *reply);
/* Forgets a call: its callback will not run. For an expected id whose command could not be sent.
 * Any thread; false: it was answered already. */
bool rpc_cancel(struct rpc_client *client, uint64_t id);
const char *rpc_client_name(const struct rpc_client *client); /* "<daemon>-<instance>": reply_to */

/* ---- For svc.c ---- */

struct rpc_wire { /* how a client sends */
    int (*send)(void *arg, const struct rpc_call *call, const uint8_t *data, size_t len);
    void *arg;
};
struct uv_loop_s;
struct rpc_client *rpc_client_new(struct uv_loop_s *loop, const char *name,
                                  const struct rpc_wire *wire);
void rpc_client_received(struct rpc_client *client, const uint8_t *data, size_t len); /* a Reply */
/* Waiting calls end with ERR_UNAVAILABLE; nothing may call any more. Freed when the loop has closed
 * its handles. */
void rpc_client_close(struct rpc_client *client);     /* takes NULL */
size_t rpc_client_waiting(struct rpc_client *client); /* any thread */
