// SPDX-License-Identifier: MIT
/*
 * Which web pages may use the gateway: their own, and those of ALLOWED_ORIGINS. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct origins;

/* list: "https://example.com, http://localhost:3000". ERR_INVALID with a sentence in problem. */
int origins_new(const char *list, struct origins **origins_out, char *problem, size_t problem_size);
void origins_free(struct origins *origins); /* takes NULL */
bool origins_listed(const struct origins *origins, const char *origin, size_t len);
/* Is the origin the page's own: its scheme and authority (the Host header)? */
bool origins_own(const char *origin, size_t len, bool https, const char *authority,
                 size_t authority_len);
