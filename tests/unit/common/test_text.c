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
