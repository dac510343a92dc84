// SPDX-License-Identifier: MIT
/*
 * Wires: state of an instance, its two streams, tables. Decisions are in the other files.
 */
#include "message-svc/service.h"

#include "common/log.h"
#include "common/map.h"
#include "message-svc/handlers.h"
#include "message-svc/members.h"
#include "message-svc/publish.h"
#include "message-svc/questions.h"
#include "message-svc/schema.h"
#include "message-svc/writer.h"
#include "proto/message.pb-c.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct state {
    struct message_questions *questions;
    struct message_metrics metrics;
    /* The commands stream's batch thread only: */
    struct message_writer *writer;
    struct map checked; /* (partition, 0): its position was compared with the log's end */
    bool logs_forgotten;
};

struct message_doubts *message_service_doubts(const struct svc_ctx *ctx)
{
    const struct state *state = svc_state(ctx);
    return message_questions_doubts(state->questions);
}

/* ---- Commands ---- */

/* A position beyond the end of the log means that this is not the log it was written for: topics
 * made anew, a restored database. Going on would take new records for replays and lose them. */
static int check_partition(struct svc_batch *b, int32_t partition)
{
    struct svc_ctx *ctx = svc_batch_ctx(b);
    struct state *state = svc_state(ctx);
    int64_t written = 0, first = 0, end = 0;
    if (map_get(&state->checked, (uint64_t)partition, 0) != NULL) {
        return 0;
    }
    int err = message_writer_position(state->writer, svc_batch_db(b), svc_batch_arena(b), partition,
                                      &written);
    if (err == 0 && written > 0) {
        err = bus_watermarks(svc_bus(ctx), TOPIC_COMMANDS, partition, &first, &end);
    }
    if (err != 0) {
        return err;
    }
    if (written > end) {
        log_error("position is beyond the end of the log; was the topic made anew? empty the table "
                  "send_position if so",
                  "partition=%d position=%lld end=%lld", partition, (long long)written,
                  (long long)end);
        svc_shutdown(ctx, EXIT_FAILURE);
        return ERR_UNAVAILABLE;
    }
    map_put(&state->checked, (uint64_t)partition, 0, state);
    return 0;
}

static void on_assigned(struct svc_batch *b, int32_t partition)
{
    struct svc_ctx *ctx = svc_batch_ctx(b);
    struct state *state = svc_state(ctx);
    if (!state->logs_forgotten && !bus_is_durable(svc_bus(ctx))) {
        /* The logs of earlier starts went with their processes. */
        state->logs_forgotten = message_writer_forget_logs(state->writer, svc_batch_db(b)) == 0;
    }
    int err = check_partition(b, partition);
    if (err != 0) {
        log_debug("partition not checked yet", "partition=%d code=%s", partition, err_code(err));
    }
}

static void on_revoked(struct svc_batch *b, int32_t partition)
{
    struct state *state = svc_state(svc_batch_ctx(b));
    map_del(&state->checked, (uint64_t)partition, 0);
    message_writer_forget(state->writer, partition);
    message_doubts_revoke(message_questions_doubts(state->questions), partition);
}

static int run_commands(struct svc_batch *b, struct bus_record *const *records, size_t n)
{
    struct state *state = svc_state(svc_batch_ctx(b));
    struct message_batch batch;
    int err = 0;
    for (size_t i = 0; i < n && err == 0; i++) {
        err = check_partition(b, records[i]->partition);
    }
    if (err == 0) {
        err = message_writer_run(state->writer, svc_batch_db(b), svc_batch_arena(b), records, n,
                                 &batch);
    }
    return err == 0 ? message_publish(b, &batch, state->questions, &state->metrics) : err;
}

/* ---- Memberships ---- */

static int run_members(struct svc_batch *b, struct bus_record *const *records, size_t n)
{
    return message_members_run(svc_batch_db(b), svc_batch_arena(b), records, n);
}

/* ---- Life ---- */

static int on_start(struct svc_ctx *ctx, char *problem, size_t problem_size)
{
    (void)problem;
    (void)problem_size;
    struct state *state = calloc(1, sizeof(*state));
    assert(state != NULL);
    message_publish_metrics(&state->metrics);
    state->questions = message_questions_new(ctx);
    state->writer =
        message_writer_new(bus_log_id(svc_bus(ctx)), message_questions_doubts(state->questions));
    map_init(&state->checked);
    svc_set_state(ctx, state);
    return 0;
}

static void on_tick(struct svc_ctx *ctx)
{
    message_doubts_tick(message_service_doubts(ctx));
}

static void on_stop(struct svc_ctx *ctx)
{
    message_doubts_close(message_service_doubts(ctx));
    svc_stopped(ctx);
}

static void on_free(struct svc_ctx *ctx)
{
    struct state *state = svc_state(ctx);
    if (state != NULL) {
        message_writer_free(state->writer);
        message_questions_free(state->questions);
        map_done(&state->checked);
        free(state);
    }
}

/* ---- Tables ---- */

static const struct rpc_handler handlers[] = {
    {"GetMessage", message_get_message, RPC_FAST},
    {"ListMessages", message_list_messages, RPC_FAST},
    {"Sync", message_sync, RPC_FAST},
    {0},
};

static const struct svc_stream streams[] = {
    {TOPIC_COMMANDS, "message-svc", run_commands, on_assigned, on_revoked},
    {TOPIC_EVENTS_GROUP, "message-svc-members", run_members, NULL, NULL},
    {0},
};

const struct svc message_svc = {
    .name = "message-svc",
    .about = "messages, history, what changed since",
    .rpc = &chat__messages__descriptor,
    .rpc_topic = TOPIC_RPC_MESSAGE,
    .handlers = handlers,
    .schema_name = "message",
    .schema_version = 1,
    .schema_sql = message_schema_sql,
    .streams = streams,
    .default_admin_port = 9182,
    .start = on_start,
    .stop = on_stop,
    .free = on_free,
    .alive_tick = on_tick,
};
