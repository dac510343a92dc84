// SPDX-License-Identifier: MIT
/*
 * Who follows whose presence on one loop. Tells the interest table which users are followed here.
 * Loop thread.
 */
#pragma once

#include "gateway/loop.h"

struct session;

#define WATCH_MAX 1000 /* users that one session follows */

/* Follows these users too; false: they would be more than WATCH_MAX, nothing is changed. */
bool watch_add(struct session *s, const uint64_t *ids, size_t n);
void watch_drop(struct session *s); /* the session is going */
bool watch_has(const struct session *s, uint64_t user_id);
void watch_each(struct loop *loop, uint64_t user_id, void (*fn)(void *arg, struct session *s),
                void *arg);
