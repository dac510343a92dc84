// SPDX-License-Identifier: MIT
/*
 * The second half of a delivery: from the bus thread, where an event is printed once into frames,
 * to the loops, where the hub says which sessions get them. Bus thread; `loops` has a bit for each
 * loop that wants it.
 */
#pragma once

#include "common/arena.h"
#include "gateway/gateway.h"
#include "proto/auth.pb-c.h"
#include "proto/group.pb-c.h"
#include "proto/message.pb-c.h"
#include "proto/presence.pb-c.h"

/* Fills message's sender in; in order with every other push to the same loop. edited: not a new
 * one, but as it is now. */
void push_message(struct gateway *gw, uint64_t loops, struct bus_key key, Chat__Message *message,
                  bool edited, struct arena *arena);
void push_recalled(struct gateway *gw, uint64_t loops, struct bus_key key,
                   const Chat__Message *message, uint64_t by);
/* Changes the membership too: a joiner before the frame, a leaver after it. */
void push_group(struct gateway *gw, uint64_t loops, uint64_t group_id, const Chat__GroupEvent *e);
void push_profile(struct gateway *gw, uint64_t loops, const Chat__User *user);
/* all: to the sockets without the subprotocol too. */
void push_status(struct gateway *gw, uint64_t loops, const Chat__UserStatus *status, bool all);
void push_typing(struct gateway *gw, uint64_t loops, const Chat__Signal *signal);
void push_session_end(struct gateway *gw, uint64_t loops, uint64_t user_id, uint64_t session_id);
void push_close_all(struct gateway *gw); /* 1013 to every socket */
