// SPDX-License-Identifier: MIT
/*
 * libsodium's string format carries algorithm, parameters and salt, so the parameters can be
 * raised later without a migration.
 */
#include "auth-svc/password.h"

#include "auth-svc/rules.h"
#include "common/err.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

enum { PASSES = 2, MEMORY_BYTES = 19 * 1024 * 1024 };

static_assert(AUTH_PASSWORD_HASH_SIZE == crypto_pwhash_STRBYTES, "hash size");

int auth_password_init(void)
{
    return sodium_init() >= 0 ? 0 : ERR_INTERNAL;
}

int auth_password_make_hash(const void *password, size_t n, char hash_out[AUTH_PASSWORD_HASH_SIZE])
{
    return crypto_pwhash_str_alg(hash_out, password, n, PASSES, MEMORY_BYTES,
                                 crypto_pwhash_ALG_ARGON2ID13) == 0
               ? 0
               : ERR_UNAVAILABLE;
}

/* Of 32 random bytes that nobody kept; with the parameters above (a test compares them). */
static const char nobody[] = "$argon2id$v=19$m=19456,t=2,p=1$"
                             "2FtoTWlGyEq4GDwecAfVAw$"
                             "Zl5H20NeSvz3w5HTeZJuKY0siY8aDx3et+7OvlOogv4";

bool auth_password_is_right(const char *hash, const void *password, size_t n)
{
    bool possible = hash != NULL && n <= AUTH_RULES_PASSWORD_MAX;
    bool right = crypto_pwhash_str_verify(possible ? hash : nobody, possible ? password : "",
                                          possible ? n : 0) == 0;

    return right && possible;
}

bool auth_password_needs_rehash(const char *hash)
{
    return crypto_pwhash_str_needs_rehash(hash != NULL ? hash : nobody, PASSES, MEMORY_BYTES) != 0;
}
