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

/* places: how many accounts-with-addresses are remembered (56 bytes each), rounded up to a power
 * of two; 0: 16,384. When they are all in use the least dangerous one is forgotten. */
struct auth_attempts *auth_attempts_new(size_t places);
void auth_attempts_free(struct auth_attempts *attempts); /* takes NULL */

/*
 * Before the password is looked at: counts an attempt as failed (so that many at once cannot pass
 * the bound together). False: there were too many, refuse; wait_ms_out is how long until one is
 * allowed. attempts NULL: always true.
 */
bool auth_attempts_take_one(struct auth_attempts *attempts, const char *account,
                            const char *address, int64_t *wait_ms_out);
/* It was no failure: the password was right (forgets all failures)… */
void auth_attempts_forget_all(struct auth_attempts *attempts, const char *account,
                              const char *address);
/* …or it could not be checked (takes the newest back). */
void auth_attempts_return_one(struct auth_attempts *attempts, const char *account,
                              const char *address);
