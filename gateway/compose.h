// SPDX-License-Identifier: MIT
/*
 * Completes replies with what the gateway knows: names and pictures of users who are only ids, the
 * senders of messages, who is online. Walks any reply by its descriptor. Any thread.
 */
#pragma once

#include "gateway/gateway.h"
#include "gateway/profiles.h"

#define COMPOSE_IDS_MAX 1024

/* The users whose profile the reply lacks, at most n (a page has 200 items); duplicates are
 * possible. */
size_t compose_needs(const void *reply, uint64_t *ids_out, size_t n);
/* Fills in what the cache has; who is not there stays an id. Texts come from the arena. */
void compose_fill(struct gateway *gw, void *reply, struct arena *arena);
/* The users of the reply who are not online and have no last_seen_at, at most n; after
 * compose_fill. */
size_t compose_offline(void *reply, Chat__User **users_out, size_t n);
/* A message's sender, from a profile. */
void compose_sender(Chat__Sender *out, const struct profile *profile, bool online,
                    struct arena *arena);
