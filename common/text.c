// SPDX-License-Identifier: MIT
/*
 * The decoder is written out: it is asked for every name and message, and utf8proc's is not faster.
 */
#include "common/text.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* One code point; returns its bytes, 0: not valid. */
static size_t decode(const uint8_t *p, size_t n, uint32_t *code_out)
{
    uint8_t first = p[0];
    size_t len = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

    if (len == 0 || len > n || first > 0xf4) {
        return 0;
    }
    uint32_t code = len == 1 ? first : first & (0x7fU >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = (code << 6) | (p[i] & 0x3fU);
    }
    if ((len == 3 && code < 0x800) || (len == 4 && code < 0x10000) || code > 0x10ffff ||
        (code >= 0xd800 && code <= 0xdfff)) {
        return 0;
    }
    *code_out = code;
    return len;
}

static bool allowed(uint32_t code, enum text_controls controls)
{
    if ((code >= 0x20 && code < 0x7f) || code >= 0xa0) {
        return true;
    }
    if (controls == TEXT_LINES) {
        return code == '\t' || code == '\n' || code == '\r';
    }
    return controls == TEXT_ANY_BUT_NUL && code != 0;
}

bool text_is_valid(const void *p, size_t n, enum text_controls controls, size_t *chars_out)
{
    const uint8_t *at = p;
    size_t chars = 0;

    for (size_t left = n; left > 0; chars++) {
        uint32_t code;
        size_t len = decode(at, left, &code);
        if (len == 0 || !allowed(code, controls)) {
            return false;
        }
        at += len;
        left -= len;
    }
    if (chars_out != NULL) {
        *chars_out = chars;
    }
    return true;
}

char *text_fold(struct arena *arena, const void *p, size_t n)
{
    /* utf8proc reads a signed length; ours are bounded by a request's size. */
    utf8proc_uint8_t *folded = NULL;
    char *result = NULL;

    assert(n <= PTRDIFF_MAX);
    if (!text_is_valid(p, n, TEXT_ANY_BUT_NUL, NULL)) {
        return NULL;
    }
    if (n == 0) {
        return arena_strdup(arena, "");
    }
    utf8proc_ssize_t len = utf8proc_map(p, (utf8proc_ssize_t)n, &folded,
                                        UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT |
                                            UTF8PROC_CASEFOLD | UTF8PROC_IGNORE);
    if (len >= 0) {
        result = arena_memdup(arena, folded, (size_t)len);
    }
    free(folded);
    return result;
}
