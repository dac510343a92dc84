// SPDX-License-Identifier: MIT
/*
 * The skeleton of every daemon: options, settings, log, metrics, bus, database, workers, RPC,
 * batches, outbox, signals, drain. A service is a table (struct svc) and its main is one call.
 *
 * The same service runs alone (suite: one process, Kafka, its own MySQL schema) or with the others
 * as threads of one process (standalone: in-process bus, SQLite files); it cannot tell.
 */
#pragma once

#include "common/buf.h"
#include "common/bus.h"
#include "common/config.h"
#include "common/db.h"
#include "common/outbox.h"
#include "common/rpc.h"

#include <uv.h>

/* Signs tokens when MODE=debug and no key is set (standalone makes a random one and keeps it). In
 * every copy of the source, so no secret: MODE=release refuses it, given or by default. */
#define SVC_DEFAULT_JWT_SECRET "development only: every copy of this program knows this key"

struct svc_ctx; /* one running instance of one service */
struct svc_batch;
struct svc_causes;

/*
 * A stream of records that is handled in batches on a thread of its own: everything that arrived
 * while the last batch ran, at most 500. Offsets are committed when a batch and all sends that it
 * holds are through, in order. While 8 batches are unfinished or 1,000 records wait, the consumer
 * pauses. On revoke the running batch is finished before the partition is let go.
 */
struct svc_stream {
    enum topic topic;
    const char *group; /* consumer group: usually the service's name */
    /* Batch thread. An error means: nothing of this batch is kept; it is run again after a pause
     * (50 ms to 2 s) until it succeeds or its partitions are lost. */
    int (*run)(struct svc_batch *batch, struct bus_record *const *records, size_t n);
    /* Batch thread, before the first batch with this partition, and after its last. May be NULL. */
    void (*assigned)(struct svc_batch *batch, int32_t partition);
    void (*revoked)(struct svc_batch *batch, int32_t partition);
};
/* During run: */
struct svc_ctx *svc_batch_ctx(struct svc_batch *b);
struct arena *svc_batch_arena(struct svc_batch *b); /* reset before each batch */
struct db *svc_batch_db(struct svc_batch *b);       /* this stream's own connection */
void *svc_batch_worker(struct svc_batch *b);        /* what svc.worker_start returned for it */
/* Sends a record that must be acknowledged before the batch's offsets are committed. If it is given
 * up by the bus the whole batch is run again. An error at once is what run returns then. */
int svc_batch_send(struct svc_batch *b, const struct bus_message *message)
    __attribute__((warn_unused_result));
/* Sends a Reply envelope to an asker (a Command's reply_to). Best effort. */
int svc_reply(struct svc_ctx *ctx, const char *reply_to, uint64_t call_id, int err,
              const char *detail, const struct rpc_field_error *errors, size_t error_count,
              const void *output /* message or NULL */, const char *traceparent,
              const char *request_id);

struct svc {
    const char *name;                      /* "auth-svc" */
    const char *about;                     /* one line for --help */
    const ProtobufCServiceDescriptor *rpc; /* NULL: answers nothing (the gateway) */
    enum topic rpc_topic;
    const struct rpc_handler *handlers;  /* ends with {0}; exactly the methods of rpc */
    const struct config_row *settings;   /* its own, beside the skeleton's */
    size_t setting_count, settings_size; /* rows; bytes of the target struct */
    const char *schema_name;             /* "auth": NULL: no database */
    int64_t schema_version;
    const char *schema_sql;
    bool outbox;
    bool tokens;                      /* signs or verifies: MODE=release wants a secret */
    const struct svc_stream *streams; /* ends with {0} (group NULL); NULL: none */
    int fast_workers;                 /* 0: 4 */
    int64_t default_admin_port;
    /* What the rows of its settings cannot say (one that another one needs), before anything is
     * opened. ERR_INVALID with a sentence in problem. NULL: nothing. Main thread. */
    int (*check)(const void *own_settings, bool standalone, char *problem, size_t problem_size);
    /*
     * start: after settings, bus and database are there, before the first record; on the loop's
     * thread. Returns 0, or ERR_* with a sentence in problem. stop begins the drain: finish, then
     * call svc_stopped(ctx); NULL: nothing to do. free: everything else is gone.
     */
    int (*start)(struct svc_ctx *ctx, char *problem, size_t problem_size);
    void (*stop)(struct svc_ctx *ctx);
    void (*free)(struct svc_ctx *ctx);
    /* State of a worker or batch thread, e.g. a Redis connection. NULL: none. Runs on that thread.
     */
    void *(*worker_start)(struct svc_ctx *ctx);
    void (*worker_stop)(struct svc_ctx *ctx, void *worker);
    /* Adds what is not ready: for each cause call svc_not_ready. Admin's thread: the loop. */
    void (*ready)(struct svc_ctx *ctx, struct svc_causes *causes);
    void (*alive_tick)(struct svc_ctx *ctx); /* once a second on the loop; NULL: none */
    void (*announce)(
        struct svc_ctx *ctx); /* all of the process is ready for the first time; loop */
};

struct svc_causes;
void svc_not_ready(struct svc_causes *causes, const char *part, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The settings that every daemon has. */
struct svc_settings {
    const char *mode, *bind, *log_level, *instance_id, *data_dir;
    const char *database_url;
    const char *kafka_bootstrap, *kafka_prefix;
    int64_t kafka_partitions, kafka_replication;
    const char *kafka_security_protocol, *kafka_sasl_mechanism, *kafka_sasl_username;
    const char *kafka_sasl_password, *kafka_ssl_ca_file;
    const char *jwt_secret, *jwt_private_key_file, *jwt_public_key_file;
    int64_t access_token_seconds, refresh_token_seconds;
    struct config_rate rate_auth, rate_user, rate_frames;
    int64_t admin_port, drain_seconds;
    const char *admin_bind;
};

/* Of a running instance; any thread. */
const struct svc_settings *svc_common(const struct svc_ctx *ctx);
const void *svc_settings(const struct svc_ctx *ctx); /* the service's own struct */
bool svc_is_standalone(
    const struct svc_ctx *ctx); /* for what differs by contract (defaults), not for logic */
void *svc_state(const struct svc_ctx *ctx); /* what start set */
void svc_set_state(struct svc_ctx *ctx, void *state);
uv_loop_t *svc_loop(const struct svc_ctx *ctx);
struct bus *svc_bus(const struct svc_ctx *ctx);
struct rpc_client *svc_rpc(const struct svc_ctx *ctx);
struct outbox *svc_outbox(const struct svc_ctx *ctx); /* NULL without */
const char *svc_instance(const struct svc_ctx *ctx);  /* "<daemon>-<instance>" */
/* Replies handed to the instance's reply topic reach svc_rpc by themselves. */

/* Runs fn once on a worker of that lane with the worker's connection: chores such as cleaning. From
 * start on; before the workers run it waits for them. Its errors are its own. ERR_UNAVAILABLE: the
 * lane is full or stopping; arg stays the caller's. Any thread. */
typedef void (*svc_work_fn)(struct svc_ctx *ctx, struct db *db, void *worker, void *arg);
int svc_work(struct svc_ctx *ctx, enum rpc_lane lane, svc_work_fn fn, void *arg)
    __attribute__((warn_unused_result));

void svc_stopped(struct svc_ctx *ctx); /* the drain begun by stop is over; loop thread */
/* Ends the process (standalone: all of it) as SIGTERM would, with this exit status. Any thread. */
void svc_shutdown(struct svc_ctx *ctx, int status);

/* Is every service of this process ready? why (may be NULL) gets a JSON object: the causes by
 * service. Any thread. */
bool svc_is_ready(struct buf *why);

/* Runs the services until SIGTERM or SIGINT; returns the exit status. One: a daemon of the suite.
 * Several: standalone. Options: --help, --version. */
int svc_main(int argc, char **argv, const struct svc *const *services, size_t n);
