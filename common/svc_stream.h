// SPDX-License-Identifier: MIT
/*
 * The batches of a stream (svc.h, struct svc_stream): consumer on the loop, work on a thread of
 * its own, offsets committed in order. For svc.c.
 */
#pragma once

#include "common/svc.h"

struct stream;

/* Starts the thread and joins the consumer group. Loop thread. */
int stream_start(struct svc_ctx *ctx, const struct svc_stream *row, const char *database_url,
                 struct stream **stream_out);
/* Finishes what runs, commits, leaves the group, ends the thread; then done, on the loop. The
 * stream is freed. */
void stream_stop(struct stream *stream, void (*done)(void *arg), void *arg);
/* How long (ms) its batches have been failing, or its records waiting unseen; 0: healthy. */
int64_t stream_failing_ms(struct stream *stream);
const char *stream_name(const struct stream *stream);
