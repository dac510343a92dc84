// SPDX-License-Identifier: MIT
/*
 * Who is who in the logs: traceparent (W3C Trace Context) and X-Request-Id. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define TRACE_PARENT_SIZE 56  /* "00-" 32 "-" 16 "-" 2 and a NUL */
#define TRACE_REQUEST_SIZE 65 /* with the NUL */

bool trace_is_valid(const char *came, size_t len); /* NULL is not */
/* The trace goes on under a span of our own when what came is valid, else a new one begins. */
void trace_parent(const char *came, size_t len, char out[TRACE_PARENT_SIZE]);
/* What came if it is 1 to 64 of A-Z a-z 0-9 . _ -, else 16 random hex digits. */
void trace_request(const char *came, size_t len, char out[TRACE_REQUEST_SIZE]);
