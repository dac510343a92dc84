// SPDX-License-Identifier: MIT
/*
 * Passwords: argon2id (RFC 9106) by libsodium, 19 MiB and 2 passes, the first of the settings
 * that OWASP's password storage cheat sheet recommends. About 20 ms on a worker of the slow lane.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define AUTH_PASSWORD_HASH_SIZE 128 /* with the NUL */

/* Once, before the first use of libsodium in this process; may be repeated. ERR_INTERNAL. */
int auth_password_init(void) __attribute__((warn_unused_result));
/* The hash as text with algorithm, parameters and a random salt. ERR_UNAVAILABLE: no memory. */
int auth_password_make_hash(const void *password, size_t n, char hash_out[AUTH_PASSWORD_HASH_SIZE])
    __attribute__((warn_unused_result));
/*
 * Does the password belong to the hash? hash NULL, or a password longer than any may be: false,
 * after as long as a real one takes, so that the time doesn't tell whether a user is known. Hashes
 * with other parameters are good too.
 */
bool auth_password_is_right(const char *hash, const void *password, size_t n);
/* Made with other parameters than today's: make it anew at the next login. hash NULL: asks of the
 * one that stands in for unknown users. */
bool auth_password_needs_rehash(const char *hash);
