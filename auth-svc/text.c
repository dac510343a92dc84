// SPDX-License-Identifier: MIT
/*
 * Thin over utf8proc, whose strings are of malloc: they are copied into the arena and freed here.
 */
#include "auth-svc/text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { ZERO_WIDTH_NON_JOINER = 0x200c, ZERO_WIDTH_JOINER = 0x200d, FOLDS_MOST = 4 };

static bool is_good(enum auth_text_kind kind, utf8proc_int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_ZS:
        return kind != AUTH_TEXT_NAME;
    case UTF8PROC_CATEGORY_CC:
        return kind == AUTH_TEXT_LINES && (c == '\n' || c == '\t' || c == '\r');
    case UTF8PROC_CATEGORY_CF:
        /* Some scripts are written with the joiners; the rest turns or hides text. */
        return c == ZERO_WIDTH_NON_JOINER || c == ZERO_WIDTH_JOINER;
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return kind == AUTH_TEXT_LINES;
    case UTF8PROC_CATEGORY_CS:
        return false;
    case UTF8PROC_CATEGORY_CN:
        return kind != AUTH_TEXT_NAME;
    default:
        return true;
    }
}

bool auth_text_count_characters(enum auth_text_kind kind, const void *text, size_t n,
                                size_t *characters_out)
{
    const utf8proc_uint8_t *at = text;
    size_t count = 0;

    while (n > 0) {
        utf8proc_int32_t c;
        utf8proc_ssize_t width = utf8proc_iterate(at, (utf8proc_ssize_t)n, &c);
        if (width <= 0 || !is_good(kind, c)) {
            return false;
        }
        at += width;
        n -= (size_t)width;
        count++;
    }
    *characters_out = count;
    return true;
}

char *auth_text_fold(struct arena *arena, const void *text, size_t n, size_t *len_out)
{
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT |
                                      UTF8PROC_CASEFOLD | UTF8PROC_IGNORE | UTF8PROC_REJECTNA;
    char *folded = arena_memdup(arena, n > 0 ? text : "", n);

    /* A fold can bring forth what folds again (U+1E9E and friends): on until it stands still. */
    for (int i = 0; i < FOLDS_MOST; i++) {
        utf8proc_uint8_t *next = NULL;
        utf8proc_ssize_t len =
            utf8proc_map((const utf8proc_uint8_t *)folded, (utf8proc_ssize_t)n, &next, options);
        if (len < 0) {
            return NULL;
        }
        bool same = (size_t)len == n && memcmp(next, folded, n) == 0;
        folded = arena_memdup(arena, next, (size_t)len);
        n = (size_t)len;
        free(next);
        if (same) {
            break;
        }
    }
    *len_out = n;
    return folded;
}

size_t auth_text_cut(const char *text, size_t n, size_t most)
{
    if (n <= most) {
        return n;
    }
    while (most > 0 && ((unsigned char)text[most] & 0xc0) == 0x80) {
        most--;
    }
    return most;
}
