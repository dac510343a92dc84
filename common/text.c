// SPDX-License-Identifier: MIT
/*
 * The decoder is written out: it is asked for every name and message, and utf8proc's is not faster.
 */
#include "common/text.h"

#include <assert.h>
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

enum { URL_BYTES = 512 };

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

/* Not the joiners and marks, U+200C to U+200F. */
static bool hides_or_turns(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0xad, 0xad},     {0x180e, 0x180e}, {0x200b, 0x200b},
        {0x2028, 0x202e}, {0x2060, 0x206f}, {0xfeff, 0xfeff},
    };

    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        if (code >= ranges[i].first && code <= ranges[i].last) {
            return true;
        }
    }
    return false;
}

static bool allowed(uint32_t code, enum text_controls controls)
{
    if ((code >= 0x20 && code < 0x7f) || code >= 0xa0) {
        return controls != TEXT_NAME || !hides_or_turns(code);
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

static bool begins_with(const char *text, size_t n, const char *with)
{
    size_t len = strlen(with);

    return n >= len && strncasecmp(text, with, len) == 0;
}

/* A scheme with a host behind it, or a path; "//host" would be another site. */
static bool is_http_or_path(const char *text, size_t n)
{
    size_t scheme = begins_with(text, n, "https://")  ? strlen("https://")
                    : begins_with(text, n, "http://") ? strlen("http://")
                                                      : 0;

    if (scheme > 0) {
        return n > scheme && (isalnum((unsigned char)text[scheme]) || text[scheme] == '[' ||
                              (unsigned char)text[scheme] >= 0x80);
    }
    return text[0] == '/' && (n == 1 || text[1] != '/');
}

/* The text is valid. Spaces of any kind, and what is not a character yet, end a URL. */
static bool has_spaces(const uint8_t *at, size_t n)
{
    while (n > 0) {
        uint32_t code = 0;
        size_t len = decode(at, n, &code);
        utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
        if (category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_CN) {
            return true;
        }
        at += len;
        n -= len;
    }
    return false;
}

const char *text_check_url(const void *p, size_t n)
{
    const char *text = p;

    if (n == 0) {
        return NULL;
    }
    if (n > URL_BYTES) {
        return "must have at most 512 bytes";
    }
    if (!text_is_valid(p, n, TEXT_NAME, NULL) || has_spaces(p, n) || !is_http_or_path(text, n)) {
        return "must be an http or https URL, or a path that begins with /";
    }
    for (size_t i = 0; i < n; i++) {
        if (strchr("\"<>\\^`{|}", text[i]) != NULL) { /* RFC 3986 has none of them */
            return "must be a URL: it holds a character that has to be percent-encoded";
        }
    }
    return NULL;
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
