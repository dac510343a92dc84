// SPDX-License-Identifier: MIT
/*
 * Carries out what the writer decided: events, replies, doubts. After the commit; batch thread.
 */
#pragma once

#include "common/svc.h"
#include "message-svc/questions.h"
#include "message-svc/writer.h"

struct metric;
struct message_metrics {
    struct metric *batch_records, *commits, *stored, *repeats, *replays, *refused, *doubts;
};
void message_publish_metrics(struct message_metrics *m); /* makes them */

/* Replies and doubts go first, once: if an event cannot be sent the batch is run again (the error
 * is svc_batch_send's), and then all its records are replays, which only publish. */
int message_publish(struct svc_batch *svc_batch, const struct message_batch *batch,
                    struct message_questions *questions, const struct message_metrics *metrics)
    __attribute__((warn_unused_result));

void message_publish_refusal(struct svc_ctx *ctx, const char *reply_to, uint64_t call_id,
                             const struct message_refusal *why, const char *traceparent,
                             const char *request_id);
