// SPDX-License-Identifier: MIT
/*
 * Does everybody on the way read the same length from a request's head? Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * head: the request as received, from its first byte; what follows the head is ignored. False:
 * Content-Length beside Transfer-Encoding, more than one of Content-Length, Transfer-Encoding or
 * Host, no Host in HTTP/1.1, a length that is not all digits, folded lines, or blanks before a
 * colon (RFC 9112 sections 3.2, 5.1, 5.2, 6.1 and 6.3).
 */
bool framing_is_clear(const char *head, size_t len);
