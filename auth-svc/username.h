// SPDX-License-Identifier: MIT
/*
 * Which names users may take, and when two names are the same. Pure; any thread.
 */
#pragma once

#include "common/arena.h"

#include <stddef.h>

#define AUTH_USERNAME_CHARACTERS 32
#define AUTH_USERNAME_KEY_BYTES 255

/*
 * The name's key: its NFKC, case-folded; two names with one key are one name. 1 to 32 characters of
 * any script, no spaces, no control characters. In the arena, with a NUL. On NULL reason_out is why
 * not, as in "username <reason>".
 */
const char *auth_username_make_key(struct arena *arena, const void *name, size_t n,
                                   const char **reason_out);
