// SPDX-License-Identifier: MIT
/*
 * The text of server frames: {"type","content","timestamp","id"?}. Pure; any thread.
 */
#pragma once

#include "common/buf.h"
#include "common/rpc.h"
#include "gateway/frame.h"

/* content is JSON; id is JSON too, or NULL. */
void envelope_print(struct buf *out, const char *type, const char *content, size_t len,
                    const char *id);
struct frame *envelope_frame(const char *type, const char *content, size_t len, const char *id);
/* The content alone, of len bytes, of a frame that envelope_frame made. */
struct frame *envelope_content(const struct frame *frame, const char *type, size_t len);
/* The content is a protobuf message. */
struct frame *envelope_frame_message(const char *type, const void *message);
/* {"code","detail","errors"?} */
struct frame *envelope_frame_error(int err, const char *detail,
                                   const struct rpc_field_error *errors, size_t error_count,
                                   const char *id);
/* {"user_id","username","status","last_seen_at"} and the like. */
void envelope_add_time(struct buf *out, int64_t ms); /* quoted; null for 0 */
