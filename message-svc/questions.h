// SPDX-License-Identifier: MIT
/*
 * The wire of doubts.c: asks group-svc and auth-svc, appends confirmed records to chat.commands,
 * sends refusals. Questions are asked once per batch, for all doubts of that batch.
 */
#pragma once

#include "common/svc.h"
#include "message-svc/doubts.h"

#define MESSAGE_QUESTIONS_TIMEOUT_MS 500

struct message_questions;

/* Owns its table of doubts. */
struct message_questions *message_questions_new(struct svc_ctx *ctx);
void message_questions_free(struct message_questions *q); /* takes NULL; no call may be open */
struct message_doubts *message_questions_doubts(const struct message_questions *q);
/* Asks about all that is new. Any thread; answers come on the loop. */
void message_questions_ask(struct message_questions *q);

/* What a worker asks for a reader whom the copy does not know as a member: one question for all
 * groups, on behalf of rq's caller. What group-svc says goes into the copy; the reader looks again.
 * is_public_out[i]: the group shows itself to outsiders. Errors: ERR_UNAVAILABLE, ERR_TIMEOUT,
 * those of db_exec. */
int message_questions_check(struct rpc_request *rq, const uint64_t *groups, size_t n,
                            bool *is_public_out) __attribute__((warn_unused_result));
