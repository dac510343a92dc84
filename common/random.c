// SPDX-License-Identifier: MIT
/*
 * Random bytes straight from the kernel, without a generator of our own: it would have to be
 * reseeded after a fork and locked between threads. A call costs well under a microsecond, and
 * nothing here runs once per message and member.
 */
#include "common/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

void random_bytes(void *p, size_t n)
{
    unsigned char *at = p;

    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);

        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            perror("getrandom");
            abort();
        }
        at += got;
        n -= (size_t)got;
    }
}

uint64_t random_u64(void)
{
    uint64_t value;

    random_bytes(&value, sizeof(value));
    return value;
}

void random_hex(char *out, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char *raw = (unsigned char *)out + n; /* the upper half is read before it is written */

    random_bytes(raw, n);
    for (size_t i = 0; i < n; i++) {
        unsigned char byte = raw[i];

        out[2 * i] = digits[byte >> 4];
        out[2 * i + 1] = digits[byte & 15];
    }
    out[2 * n] = '\0';
}
