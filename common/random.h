// SPDX-License-Identifier: MIT
/*
 * Random bytes from the kernel (getrandom(2)): good for keys, tokens and ids. Cannot fail: a
 * kernel without them aborts. Any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

void random_bytes(void *p, size_t n);
uint64_t random_u64(void);
/* n random bytes as 2 n lower-case hex digits and a NUL: out holds 2 n + 1. */
void random_hex(char *out, size_t n);
