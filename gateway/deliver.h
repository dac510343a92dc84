// SPDX-License-Identifier: MIT
/*
 * Events to sessions: reads all of chat.events.* and chat.signals, drops by the key alone what no
 * socket here wants, prints the rest once and hands it to the loops that want it. The event of a
 * command is also the answer to it. Bus thread.
 */
#pragma once

#include "gateway/gateway.h"

struct deliver;

/* Begins to read; ERR_UNAVAILABLE with a sentence in problem. */
int deliver_new(struct gateway *gw, struct deliver **deliver_out, char *problem,
                size_t problem_size);
/* Stops reading; done runs on the bus thread when nothing comes any more. */
void deliver_stop(struct deliver *deliver, void (*done)(void *arg), void *arg);
void deliver_free(struct deliver *deliver); /* after done; takes NULL */

/* Both readers have caught up with what was there at the start. Any thread. */
bool deliver_is_ready(struct deliver *deliver);
bool deliver_sessions_ready(struct deliver *deliver); /* the ended sessions are known */
int64_t deliver_lag(const struct deliver *deliver);   /* records; -1: unknown. Any thread */
