// SPDX-License-Identifier: MIT
/*
 * Does everybody on the way read the same length from a request's head? Pure; any thread.
 */
#pragma once

#include <stddef.h>

enum framing {
    FRAMING_UNCLEAR,
    FRAMING_PLAIN,   /* no body, or one with a length */
    FRAMING_CHUNKED, /* how long the body is, its chunks say */
};

/*
 * head: the request as received, from its first byte; what follows the head is ignored. Unclear:
 * Content-Length beside Transfer-Encoding, more than one of Content-Length, Transfer-Encoding or
 * Host, no Host in HTTP/1.1, Transfer-Encoding in HTTP/1.0, a length that is not all digits, folded
 * lines, or blanks before a colon (RFC 9112 sections 3.2, 5.1, 5.2, 6.1 and 6.3).
 */
enum framing framing_read(const char *head, size_t len);
