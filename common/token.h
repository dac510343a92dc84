// SPDX-License-Identifier: MIT
/*
 * Access tokens: JWT (RFC 7519) signed with HS256, RS256 or ES256 (RFC 7518).
 *
 * The accepted algorithm and keys are fixed by the configuration, never by the token. The owner of
 * libjwt; RS256 and ES256 are verified by OpenSSL with a parsed key kept, since libjwt parses the
 * PEM at every call. Keys are immutable once loaded: any thread.
 */
#pragma once

#include "common/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOKEN_MAX 4096 /* bytes; longer ones are refused unread */
#define TOKEN_ISSUER "chatroom"
#define TOKEN_KEYS_MAX 16 /* private ones, and public ones */

struct token_keys;

struct token_claims {
    uint64_t user_id, session_id;  /* user_id, sid */
    char username[129];            /* NUL-terminated UTF-8 */
    int64_t issued_at, expires_at; /* seconds since 1970 */
};

/*
 * Exactly one way: a secret (HS256, at least 32 bytes), or key files. private_file holds private
 * keys, the newest first: that one signs (RS256 or ES256 by the key's type), the earlier ones are
 * for token_keys_secret. public_files is a comma-separated list of PEM files that verify: the first
 * belongs to the key that signs, further ones are earlier keys (rotation). `kid` is the first 16
 * hex digits of the SHA-256 of the public key's DER. A verifier needs no private key. ERR_INVALID,
 * one sentence in problem.
 */
int token_keys_load(const char *secret, const char *private_file, const char *public_files,
                    struct token_keys **keys_out, char *problem, size_t problem_size);
void token_keys_free(struct token_keys *keys);

/* What is kept secret here, the newest first: the secret, or the private keys (their DER as it
 * stands in the file). To derive other keys from. False: there are no more. */
bool token_keys_secret(const struct token_keys *keys, size_t i, const void **secret_out,
                       size_t *n_out);

/* The token, in the arena. ERR_INVALID: no signing key. */
int token_sign(const struct token_keys *keys, const struct token_claims *claims,
               struct arena *arena, const char **token_out);
/*
 * Checks form (three non-empty base64url segments), algorithm, kid, signature, iss, iat and exp
 * (30 s leeway for clocks at iat, none at exp). ERR_UNAUTHENTICATED or ERR_TOKEN_EXPIRED (the
 * signature is good, only exp is past).
 */
int token_verify(const struct token_keys *keys, const char *token, size_t len, int64_t now_s,
                 struct token_claims *claims_out) __attribute__((warn_unused_result));
