// SPDX-License-Identifier: MIT
/*
 * One look-up of the category per character; utf8proc has the tables.
 */
#include "auth-svc/text.h"

#include "common/text.h"

#include <string.h>
#include <utf8proc.h>

/* Characters that turn the direction of all that follows (UAX #9, embeddings and overrides): a name
 * in a list could rearrange its neighbours. */
static bool is_turning(utf8proc_int32_t c)
{
    return c >= 0x202a && c <= 0x202e;
}

/* Some scripts are written with the zero-width joiners, some emoji too. */
static bool is_joiner(utf8proc_int32_t c)
{
    return c == 0x200c || c == 0x200d;
}

static bool is_good(enum auth_text_kind kind, utf8proc_int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_ZS:
        return kind != AUTH_TEXT_NAME;
    case UTF8PROC_CATEGORY_CC:
        return kind == AUTH_TEXT_LINES && (c == '\n' || c == '\t' || c == '\r');
    case UTF8PROC_CATEGORY_CF:
        return kind == AUTH_TEXT_NAME ? is_joiner(c) : !is_turning(c);
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return kind == AUTH_TEXT_LINES;
    case UTF8PROC_CATEGORY_CS:
        return false;
    case UTF8PROC_CATEGORY_CN: /* unassigned: what it folds to may still change */
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

const char *auth_text_clean_line(struct arena *arena, const char *text, size_t most)
{
    size_t n = strlen(text);

    if (n > most) {
        n = most;
        while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80) {
            n--;
        }
    }
    return text_is_valid(text, n, TEXT_NAME, NULL) ? arena_strndup(arena, text, n) : "";
}
