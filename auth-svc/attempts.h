// SPDX-License-Identifier: MIT
/*
 * Failed logins: at most 5 in any minute for one account from one address. Counted here, per
 * instance and in memory: the gateway counts requests per address, this stops guessing at one
 * account, known or not. Any thread; the clock is common/clock.h's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AUTH_ATTEMPTS_MOST 5
#define AUTH_ATTEMPTS_WINDOW_MS (60 * 1000)

struct auth_attempts;

/* places: how many accounts-with-addresses are remembered (64 bytes each), rounded up to a power
 * of two; 0: 16,384. When they are all in use the least dangerous one is forgotten. */
struct auth_attempts *auth_attempts_new(size_t places);
void auth_attempts_free(struct auth_attempts *attempts); /* takes NULL */

/*
 * Before the password is looked at. False: refuse; wait_ms_out is how long until an attempt may be
 * allowed. Attempts under way count beside the failed ones once one has failed, so that many at
 * once cannot pass the bound together; as long as none has, right ones at once are all let in.
 * attempts NULL: always true.
 */
bool auth_attempts_begin(struct auth_attempts *attempts, const char *account, const char *address,
                         int64_t *wait_ms_out);

enum auth_attempts_end {
    AUTH_ATTEMPTS_RIGHT,     /* forgets all failures */
    AUTH_ATTEMPTS_WRONG,     /* one more failure */
    AUTH_ATTEMPTS_UNCHECKED, /* as if it had not been */
};
/* Once after every begin that was true, with the same account and address. */
void auth_attempts_end(struct auth_attempts *attempts, const char *account, const char *address,
                       enum auth_attempts_end how);
