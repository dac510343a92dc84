// SPDX-License-Identifier: MIT
/*
 * Who is asking: verifies access tokens (a small cache spares the signature) and refuses those
 * whose session has ended. What they may do is the services' business. Any thread.
 */
#pragma once

#include "common/token.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct authn;

/* keys are borrowed. token_seconds: the longest life of an access token. */
struct authn *authn_new(const struct token_keys *keys, int64_t token_seconds);
void authn_free(struct authn *authn); /* takes NULL */

/* 0, ERR_UNAUTHENTICATED or ERR_TOKEN_EXPIRED. */
int authn_check(struct authn *authn, const char *token, size_t len, struct token_claims *claims_out)
    __attribute__((warn_unused_result));
/* The token in an Authorization header's value; NULL: there is none. */
const char *authn_bearer(const char *value, size_t len, size_t *token_len_out);

/* A session has ended (chat.events.session): its tokens are refused from now on. */
void authn_end_session(struct authn *authn, uint64_t session_id, int64_t ended_at_ms);
bool authn_is_ended(struct authn *authn, uint64_t session_id);
