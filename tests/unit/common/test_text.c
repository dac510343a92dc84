// SPDX-License-Identifier: MIT
#include "tests/unit/test.h"

#include "common/text.h"

struct row {
    const char *text;
    size_t n;
    enum text_controls controls;
    bool valid;
    size_t chars;
};
#define T(literal) (literal), sizeof(literal) - 1

TEST(validity_by_table)
{
    static const struct row rows[] = {
        {T(""), TEXT_NO_CONTROLS, true, 0},
        {T("abc"), TEXT_NO_CONTROLS, true, 3},
        {T("gr\xc3\xbc\xc3\x9f"), TEXT_NO_CONTROLS, true, 4},
        {T("\xe4\xbd\xa0\xe5\xa5\xbd"), TEXT_NO_CONTROLS, true, 2},
        {T("\xf0\x9f\x98\x80"), TEXT_NO_CONTROLS, true, 1},
        {T("\xf4\x8f\xbf\xbf"), TEXT_NO_CONTROLS, true, 1},  /* U+10FFFF */
        {T("\xf4\x90\x80\x80"), TEXT_NO_CONTROLS, false, 0}, /* one above */
        {T("\xf8\x88\x80\x80\x80"), TEXT_NO_CONTROLS, false, 0},
        {T("\xed\xa0\x80"), TEXT_NO_CONTROLS, false, 0}, /* a surrogate */
        {T("\xee\x80\x80"), TEXT_NO_CONTROLS, true, 1},
        {T("\xc0\x80"), TEXT_NO_CONTROLS, false, 0}, /* overlong */
        {T("\xc1\xbf"), TEXT_NO_CONTROLS, false, 0},
        {T("\xe0\x9f\xbf"), TEXT_NO_CONTROLS, false, 0},
        {T("\xf0\x8f\xbf\xbf"), TEXT_NO_CONTROLS, false, 0},
        {T("\x80"), TEXT_NO_CONTROLS, false, 0},
        {T("a\xe4\xbd"), TEXT_NO_CONTROLS, false, 0}, /* cut off */
        {T("\xe4\x41\x41"), TEXT_NO_CONTROLS, false, 0},
        {T("a\0b"), TEXT_NO_CONTROLS, false, 0},
        {T("a\0b"), TEXT_ANY_BUT_NUL, false, 0},
        {T("a\nb"), TEXT_NO_CONTROLS, false, 0},
        {T("a\n\r\tb"), TEXT_LINES, true, 5},
        {T("a\x1b"
           "b"),
         TEXT_LINES, false, 0},
        {T("a\x1b"
           "b"),
         TEXT_ANY_BUT_NUL, true, 3},
        {T("\x7f"), TEXT_LINES, false, 0},
        {T("\xc2\x85"), TEXT_NO_CONTROLS, false, 0}, /* U+0085 */
        {T("\xc2\xa0"), TEXT_NO_CONTROLS, true, 1},
        {T("\u202e"), TEXT_NO_CONTROLS, true, 1},
        {T("A name"), TEXT_NAME, true, 6},
        {T(""), TEXT_NAME, true, 0},
        {T("a\nb"), TEXT_NAME, false, 0},
        {T("\u2028"), TEXT_NAME, false, 0},
        {T("\u2029"), TEXT_NAME, false, 0},
        {T("\u202a"), TEXT_NAME, false, 0}, /* overrides and embeddings */
        {T("\u202e"), TEXT_NAME, false, 0},
        {T("\u2066"), TEXT_NAME, false, 0}, /* isolates */
        {T("\u2069"), TEXT_NAME, false, 0},
        {T("a\u200bb"), TEXT_NAME, false, 0}, /* no width */
        {T("a\u2060b"), TEXT_NAME, false, 0},
        {T("\ufeff"), TEXT_NAME, false, 0},
        {T("\u00ad"), TEXT_NAME, false, 0},
        {T("\u200f\u05d0"), TEXT_NAME, true, 2},
        {T("\U0001f469\u200d\U0001f680"), TEXT_NAME, true, 3},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t chars = 0;
        bool valid = text_is_valid(rows[i].text, rows[i].n, rows[i].controls, &chars);
        if (!CHECK_INT(valid, rows[i].valid) || !CHECK_INT(chars, rows[i].chars)) {
            printf("row %zu\n", i);
        }
    }
}

TEST(folding)
{
    struct arena *a = arena_new(0);
    CHECK_STR(text_fold(a, T("")), "");
    CHECK_STR(text_fold(a, T("Alice")), "alice");
    CHECK_STR(text_fold(a, T("GR\xc3\x9c\xc3\x9f"
                             "E")),
              "gr\xc3\xbcsse");
    CHECK_STR(text_fold(a, T("u\xcc\x88")), "\xc3\xbc"); /* composed */
    CHECK_STR(text_fold(a, T("\xef\xbc\xa1")), "a");     /* full width A */
    CHECK_STR(text_fold(a, T("\xe2\x84\xa2")), "tm");
    CHECK(text_fold(a, T("\xff")) == NULL);
    CHECK(text_fold(a, T("a\0b")) == NULL);
    arena_free(a);
}

TEST(urls)
{
    static const struct {
        const char *text;
        size_t n;
        bool good;
    } rows[] = {
        {T(""), true},
        {T("https://example.com/a.jpg?x=1#y"), true},
        {T("HTTP://example.com"), true},
        {T("https://[2001:db8::1]/a"), true},
        {T("/avatars/1.png"), true},
        {T("/"), true},
        {T("//evil.example/a.png"), false},
        {T("javascript:alert(1)"), false},
        {T("data:image/png;base64,AA"), false},
        {T("ftp://example.com/a"), false},
        {T("https://"), false},
        {T("https:///a"), false},
        {T("avatar.png"), false},
        {T("https://example.com/a b"), false},
        {T("https://example.com/\"onload="), false},
        {T("https://example.com/<script>"), false},
        {T("/a\\b"), false},
        {T("https://example.com/\n"), false},
        {T("https://b\u00fccher.example/\u65e5.png"), true},
        {T("javascript:alert(1)//https://"), false},
        {T("https://example.com/a\u00a0b"), false},
        {T("https://example.com/\u202eb"), false},
        {T("https://example.com/\0"), false},
        {T("https://example.com/\xff"), false},
    };
    char path[513];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!CHECK_INT(text_check_url(rows[i].text, rows[i].n) == NULL, rows[i].good)) {
            printf("row %zu\n", i);
        }
    }
    memset(path, '/', 1);
    memset(path + 1, 'x', sizeof(path) - 1);
    CHECK(text_check_url(path, 512) == NULL);
    CHECK(text_check_url(path, 513) != NULL);
}
