// SPDX-License-Identifier: MIT
/*
 * What a user needs before the first socket's hello: groups and profile. Users who come in one
 * turn of the loop become one question; a reconnect storm costs batches. Loop thread.
 */
#pragma once

#include "gateway/hub.h"
#include "gateway/loop.h"

/* Asks; session_opened or session_refused is called for each of the user's sessions later. */
void openings_add(struct loop *loop, struct hub_user *user);
void openings_loop_init(struct loop *loop);
