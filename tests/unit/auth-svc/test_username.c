// SPDX-License-Identifier: MIT
/* Names: which are allowed, and which two are one. */
#include "tests/unit/test.h"

#include "auth-svc/username.h"

static const char *key_of(struct arena *arena, const char *name)
{
    const char *reason = NULL;
    const char *key = auth_username_make_key(arena, name, strlen(name), &reason);

    CHECK((key == NULL) == (reason != NULL));
    return key;
}

TEST(names_that_are_allowed)
{
    static const struct {
        const char *name, *key;
    } rows[] = {
        {"a", "a"},
        {"Alice", "alice"},
        {"ALICE_01-x.y", "alice_01-x.y"},
        {"\u041c\u0430\u0440\u0438\u044f", "\u043c\u0430\u0440\u0438\u044f"}, /* Cyrillic */
        {"Stra\u00dfe", "strasse"},                  /* sharp s folds to ss */
        {"\uff21\uff4c\uff49\uff43\uff45", "alice"}, /* full width */
        {"Ame\u0301lie", "am\u00e9lie"},             /* e and acute become one */
        {"\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2",
         "\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c3"},
        {"\ufb01sh", "fish"},                         /* ligature */
        {"\u65e5\u672c\u8a9e", "\u65e5\u672c\u8a9e"}, /* no case */
        {"\U0001f600", "\U0001f600"},                 /* an emoji */
        {"\u0646\u0645\u06cc\u200c\u062f\u0627\u0646\u0645",
         "\u0646\u0645\u06cc\u062f\u0627\u0646\u0645"}, /* Persian with a joiner */
        {"\u2167", "viii"},                             /* Roman eight */
        {"12345678901234567890123456789012", "12345678901234567890123456789012"},
    };
    struct arena *arena = arena_new(0);

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CHECK_STR(key_of(arena, rows[i].name), rows[i].key);
    }
    arena_free(arena);
}

TEST(names_that_are_not)
{
    static const char *const rows[] = {
        "",
        " ",
        "two words",
        "tab\there",
        "line\n",
        "\u00a0",   /* no-break space */
        "a\u3000b", /* ideographic space */
        "a\u2028b", /* line separator */
        "a\xc2\x85"
        "b",                                 /* next line */
        "a\x7f",                             /* delete */
        "a\u202eb",                          /* right-to-left override */
        "a\u200bb",                          /* zero width space */
        "\ufeffalice",                       /* byte order mark */
        "\u200d",                            /* nothing but a joiner */
        "\u00b4",                            /* folds to a space and an accent */
        "\ufdfa",                            /* folds to words with spaces */
        "\U000e0041",                        /* a tag */
        "a\u0378",                           /* not assigned */
        "\xff",                              /* not UTF-8 */
        "a\xc3",                             /* cut */
        "\xc0\x80",                          /* overlong */
        "\xed\xa0\x80",                      /* a surrogate */
        "123456789012345678901234567890123", /* 33 */
        "\u65e5\u672c\u65e5\u672c\u65e5\u672c\u65e5\u672c\u65e5\u672c\u65e5\u672c\u65e5\u672c"
        "\u65e5\u672c\u65e5\u672c\u65e5\u672c\u65e5\u672c\u65e5\u672c\u65e5\u672c\u65e5\u672c"
        "\u65e5\u672c\u65e5\u672c\u65e5",
    };
    struct arena *arena = arena_new(0);

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!CHECK(key_of(arena, rows[i]) == NULL)) {
            printf("    row %zu\n", i);
        }
    }
    arena_free(arena);
}

TEST(length_is_in_characters)
{
    struct arena *arena = arena_new(0);
    const char *reason;
    char name[33 * 4 + 1] = "";

    for (size_t i = 0; i < 32; i++) {
        snprintf(name + 4 * i, sizeof(name) - 4 * i, "\U0001f600");
    }
    CHECK(auth_username_make_key(arena, name, strlen(name), &reason) != NULL);
    snprintf(name + 128, sizeof(name) - 128, "x");
    CHECK(auth_username_make_key(arena, name, strlen(name), &reason) == NULL);
    CHECK_STR(reason, "must have at most 32 characters");
    arena_free(arena);
}

TEST(a_nul_is_no_end)
{
    struct arena *arena = arena_new(0);
    const char *reason;

    CHECK(auth_username_make_key(arena, "ali\0ce", 6, &reason) == NULL);
    arena_free(arena);
}

TEST(names_that_differ_only_invisibly_are_one)
{
    struct arena *arena = arena_new(0);

    CHECK_STR(key_of(arena, "al\u200dice"), "alice");
    CHECK_STR(key_of(arena, "\u2764\ufe0f"), key_of(arena, "\u2764")); /* variation selector */
    arena_free(arena);
}
