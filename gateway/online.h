// SPDX-License-Identifier: MIT
/*
 * The set of users who are online, anywhere: a paged snapshot of presence-svc at the start, then
 * chat.events.presence, merged by version. Any thread, but for what is marked.
 */
#pragma once

#include "gateway/gateway.h"
#include "proto/presence.pb-c.h"

struct online;

struct online *online_new(struct gateway *gw);
void online_free(struct online *online); /* takes NULL */
/* Asks for the snapshot, again and again until it is there. Bus thread, when events are read. */
void online_start(struct online *online);
/* Events were missed: what is known stays until the next snapshot. Bus thread. */
void online_restart(struct online *online);
bool online_is_complete(struct online *online);
/* Once a second: retries. Bus thread. */
void online_tick(struct online *online);

bool online_has(struct online *online, uint64_t user_id);
size_t online_count(struct online *online);
/* Merges an event; true: the user's state has changed. */
bool online_merge(struct online *online, const Chat__UserStatus *status);
/* The smallest ids above `after`, ascending, at most n; how many. Of many users: as
 * of the last second. */
size_t online_page(struct online *online, uint64_t after, uint64_t *ids_out, size_t n);
