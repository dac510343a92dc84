// SPDX-License-Identifier: MIT
/*
 * Refresh tokens: session id and generation with an HMAC over both (HMAC-SHA-256, RFC 2104), in
 * base64url (RFC 4648 section 5, no padding): 59 characters.
 *
 * A token is made from its numbers and the key alone, so that the same question gets the same
 * answer without the token being kept anywhere: the database holds nothing that could be stolen
 * and used. Pure; any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define AUTH_REFRESH_KEY_BYTES 32
#define AUTH_REFRESH_KEYS_MAX 16
#define AUTH_REFRESH_TEXT_SIZE 60 /* with the NUL */

/* The first makes tokens, all are good to read them. */
struct auth_refresh_keys {
    uint8_t at[AUTH_REFRESH_KEYS_MAX][AUTH_REFRESH_KEY_BYTES];
    size_t n;
};

struct auth_refresh_token {
    uint64_t session_id;
    uint32_t generation; /* 1 at login, one more at each refresh */
};

/*
 * One more HMAC key, from what signs access tokens (the secret, or a private key): the newest
 * first. No setting of its own: who holds the signing key can make access tokens for anyone, so a
 * second key would protect nothing more, and could be forgotten. Tokens stay good as long as the
 * key that they were made with is among them.
 */
void auth_refresh_add_key(struct auth_refresh_keys *keys, const void *secret, size_t n);
void auth_refresh_write_text(const struct auth_refresh_keys *keys,
                             const struct auth_refresh_token *token,
                             char text_out[AUTH_REFRESH_TEXT_SIZE]);
/* ERR_UNAUTHENTICATED: not a token of ours. Says nothing about the session's state. */
int auth_refresh_read_text(const struct auth_refresh_keys *keys, const void *text, size_t n,
                           struct auth_refresh_token *token_out)
    __attribute__((warn_unused_result));
