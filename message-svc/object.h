// SPDX-License-Identifier: MIT
/*
 * A stored message as other daemons see it.
 */
#pragma once

#include "common/arena.h"
#include "message-svc/store.h"
#include "proto/message.pb-c.h"

/* In the arena; texts are borrowed from the row. sender may be NULL: the gateway fills it in. */
Chat__Message *message_object(struct arena *arena, const struct message_row *row,
                              Chat__Sender *sender);
