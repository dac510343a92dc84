// SPDX-License-Identifier: MIT
/*
 * Which loops want the records of a key, and how many sockets a user has in this process.
 *
 * A user is (id, 0), a group (0, id): the halves of record keys; deletions of any group (0, 0). Who
 * watches a user's presence is (id, INTEREST_WATCHED). The bus thread asks for each record of the
 * cluster and drops what nobody wants undecoded. One lock. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INTEREST_WATCHED UINT64_MAX /* is no group: ids end at 2^53 - 1 */

struct interest;

/* presence is told, in order for each user and with the lock held (it must not call back), when a
 * user's first socket opens and the last one closes. */
struct interest *interest_new(void (*presence)(void *arg, uint64_t user_id, bool present),
                              void *arg);
void interest_free(struct interest *interest); /* takes NULL */

void interest_add(struct interest *interest, uint64_t a, uint64_t b, unsigned loop);
void interest_remove(struct interest *interest, uint64_t a, uint64_t b, unsigned loop);
/* A bit for each loop that wants records of a conversation (a, b), or of one key half. pinned_out
 * (may be NULL): somebody waits for an answer that comes this way. */
uint64_t interest_of_conversation(struct interest *interest, uint64_t a, uint64_t b,
                                  bool *pinned_out);
uint64_t interest_of(struct interest *interest, uint64_t a, uint64_t b);
/* An answer is awaited on a conversation (counted). */
void interest_pin(struct interest *interest, uint64_t a, uint64_t b);
void interest_unpin(struct interest *interest, uint64_t a, uint64_t b);

/* ERR_RATE_LIMITED: the user has `most` sockets already. */
int interest_socket_opened(struct interest *interest, uint64_t user_id, int64_t most)
    __attribute__((warn_unused_result));
void interest_socket_closed(struct interest *interest, uint64_t user_id);
size_t interest_users(struct interest *interest); /* with at least one socket */
/* presence is told once more how it is with this user. */
void interest_repeat(struct interest *interest, uint64_t user_id);
/* show gets all users with a socket, with the lock held as presence is: nobody comes or goes
 * meanwhile. */
void interest_show_users(struct interest *interest,
                         void (*show)(void *arg, const uint64_t *users, size_t n), void *arg);
