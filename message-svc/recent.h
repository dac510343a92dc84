// SPDX-License-Identifier: MIT
/*
 * What was used lately, bounded: a map from a pair of numbers to a small value, in two halves.
 * When the young half is full, the old one is forgotten and the young takes its place; what is
 * found in the old half moves to the young. So at least the last `bound` used entries are kept,
 * and at most twice as many. One thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct message_recent;

struct message_recent_value {
    uint64_t seq, rev;
    int64_t at;
};

struct message_recent *message_recent_new(size_t bound);
void message_recent_free(struct message_recent *r); /* takes NULL */
/* False: not there; value_out (may be NULL) is then untouched. */
bool message_recent_get(struct message_recent *r, uint64_t a, uint64_t b,
                        struct message_recent_value *value_out);
void message_recent_put(struct message_recent *r, uint64_t a, uint64_t b,
                        struct message_recent_value value);
size_t message_recent_count(const struct message_recent *r);
