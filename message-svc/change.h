// SPDX-License-Identifier: MIT
/*
 * Decisions about edits and recalls: the part of the plan that changes rows. Batch thread.
 */
#pragma once

#include "message-svc/plan.h"

/* is_change items; the facts are in the plan (targets, members, conversations). */
void message_change_decide(struct message_plan *plan, struct message_item *item);
