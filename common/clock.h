// SPDX-License-Identifier: MIT
/*
 * The time, replaceable in tests. Any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

int64_t clock_now_ms(void);  /* milliseconds since 1970, UTC */
int64_t clock_mono_ms(void); /* milliseconds of a clock that never goes back */
int64_t clock_mono_us(void); /* the same in microseconds */

#define CLOCK_RFC3339_SIZE 25 /* with the NUL */
/* "2026-01-31T12:00:00.000Z" (RFC 3339 section 5.6), of milliseconds since 1970. */
void clock_rfc3339(int64_t ms, char out[CLOCK_RFC3339_SIZE]);
/* Parses any RFC 3339 date-time with a zone. Returns 0 or ERR_INVALID. */
int clock_parse_rfc3339(const char *s, size_t n, int64_t *ms_out);

/* For tests: from now on both clocks stand still at what is given, until clock_unfreeze. */
void clock_freeze(int64_t now_ms, int64_t mono_us);
void clock_unfreeze(void);
