// SPDX-License-Identifier: MIT
/*
 * How often somebody may ask: counts per key in fixed windows that begin with the first request,
 * and a bucket per socket. Bounded memory: keys share a table, the emptiest makes room. Per
 * gateway, not cluster-wide. Any thread.
 */
#pragma once

#include "common/config.h"

#include <stdbool.h>
#include <stdint.h>

struct limits;

enum limits_class { LIMITS_NONE, LIMITS_AUTH, LIMITS_USER, LIMITS_TYPING };

struct limits_verdict {
    bool allowed;
    int64_t limit;       /* requests a window; 0: no limit */
    int64_t remaining;   /* in this window, after this request */
    int64_t retry_after; /* seconds until the window ends, at least 1 */
};

struct limits *limits_new(struct config_rate auth, struct config_rate user);
void limits_free(struct limits *limits);
/* Counts a request of the key (a, b). LIMITS_TYPING allows one a second. */
struct limits_verdict limits_ask(struct limits *limits, enum limits_class class, uint64_t a,
                                 uint64_t b);
/* The key of an address: an IPv6 client counts as its /64, which is what one customer gets. */
void limits_address_key(const char *address, uint64_t *a_out, uint64_t *b_out);

/* Frames of one socket; 8 bytes in the socket's struct, zero at first. Its thread only. */
struct limits_bucket {
    uint32_t spent;   /* in units of a frame / 1000 */
    uint32_t mono_ms; /* when, wraps */
};
/* `count` frames in `seconds` on average, twice the count at once. */
bool limits_take(struct limits_bucket *bucket, struct config_rate rate, int64_t mono_ms);
