// SPDX-License-Identifier: MIT
/*
 * What the gateway tells presence-svc on chat.presence: whose first socket opened, whose last one
 * closed, and every 5 s that it lives. What the bus doesn't take is told again. Any thread, but for
 * what is marked.
 */
#pragma once

#include "gateway/gateway.h"
#include "proto/presence.pb-c.h"

struct reports;

struct reports *reports_new(struct gateway *gw);
void reports_free(struct reports *reports); /* takes NULL */
/* For interest.h; arg is the struct gateway. */
void reports_change(void *arg, uint64_t user_id, bool present);
/* presence-svc lost its keys: all users again, in parts. Bus thread. */
void reports_resend(struct reports *reports, const Chat__ResendRequest *request);
void reports_tick(struct reports *reports);  /* once a second, bus thread */
void reports_leave(struct reports *reports); /* a clean stop: the lease ends now; bus thread */
