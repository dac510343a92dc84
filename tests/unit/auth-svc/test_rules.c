// SPDX-License-Identifier: MIT
/* What a profile may hold: good and bad values of each field, and the bounds from both sides. */
#include "tests/unit/test.h"

#include "auth-svc/rules.h"
#include "auth-svc/text.h"
#include "common/buf.h"

struct row {
    const char *text;
    bool good;
};

static void check_rows(const char *(*check)(const void *, size_t), const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!CHECK((check(rows[i].text, strlen(rows[i].text)) == NULL) == rows[i].good)) {
            printf("    \"%s\"\n", rows[i].text);
        }
    }
}
#define CHECK_ROWS(check, rows) check_rows(check, rows, sizeof(rows) / sizeof((rows)[0]))

/* `unit` so many times, between two texts; until the next call. */
static const char *repeat_between(const char *before, const char *unit, size_t times,
                                  const char *after)
{
    static char text[8192];
    struct buf b = {0};

    buf_add_str(&b, before);
    for (size_t i = 0; i < times; i++) {
        buf_add_str(&b, unit);
    }
    buf_add_str(&b, after);
    CHECK(b.len < sizeof(text));
    memcpy(text, b.data, b.len + 1);
    buf_done(&b);
    return text;
}

static const char *repeat(const char *unit, size_t times)
{
    return repeat_between("", unit, times, "");
}

static bool is_good(const char *(*check)(const void *, size_t), const char *text)
{
    return check(text, strlen(text)) == NULL;
}

TEST(passwords)
{
    CHECK(!is_good(auth_rules_check_password, ""));
    CHECK(!is_good(auth_rules_check_password, "1234567"));
    CHECK(is_good(auth_rules_check_password, "12345678"));
    CHECK(is_good(auth_rules_check_password, "\u65e5\u672c\u8a9e")); /* nine bytes */
    CHECK(is_good(auth_rules_check_password, repeat("x", 128)));
    CHECK(!is_good(auth_rules_check_password, repeat("x", 129)));
}

TEST(nicknames)
{
    static const struct row rows[] = {
        {"", true},
        {"Alice in Wonderland", true},
        {"\u65e5\u672c", true},
        {"\u202eevil", false},
        {"\u2066evil", false},
        {"a\u200bb", false},
        {"\ufeff", false},
        {"two\nlines", false},
        {"a\x01", false},
        {"\xff", false},
        {"\u2028", false},
        {"\U0001f469\u200d\U0001f680", true},
        {"\u200f\u05d0", true},
    };
    CHECK_ROWS(auth_rules_check_nickname, rows);
    CHECK(is_good(auth_rules_check_nickname, repeat("\U0001f600", 64)));
    CHECK(!is_good(auth_rules_check_nickname, repeat("\U0001f600", 65)));
    CHECK(!is_good(auth_rules_check_nickname, repeat("x", 65)));
}

TEST(bios)
{
    static const struct row rows[] = {
        {"", true}, {"two\nlines\tand a tab", true}, {"bell\a", false}, {"\xc3", false}};
    CHECK_ROWS(auth_rules_check_bio, rows);
    CHECK(is_good(auth_rules_check_bio, repeat("\u00e9", 500)));
    CHECK(!is_good(auth_rules_check_bio, repeat("\u00e9", 501)));
}

TEST(emails)
{
    static const struct row rows[] = {
        {"", true},
        {"alice@example.com", true},
        {"a.b+tag@mail.example.co.uk", true},
        {"o'brien@example.com", true},
        {"alice@localhost", true},
        {"\u00fcber@b\u00fccher.example", true},
        {"alice", false},
        {"@example.com", false},
        {"alice@", false},
        {"alice@@example.com", false},
        {"alice@example..com", false},
        {"alice@.example.com", false},
        {"alice@example.com.", false},
        {"alice@-example.com", false},
        {"alice@example-.com", false},
        {"alice@exa_mple.com", false},
        {"al ice@example.com", false},
        {"alice@example.com\n", false},
        {"alice,bob@example.com", false},
        {"<alice@example.com>", false},
        {"\xff@example.com", false},
    };

    CHECK_ROWS(auth_rules_check_email, rows);
    CHECK(is_good(auth_rules_check_email, repeat_between("", "x", 64, "@example.com")));
    CHECK(!is_good(auth_rules_check_email, repeat_between("", "x", 65, "@example.com")));
    CHECK(is_good(auth_rules_check_email, repeat_between("a@", "x", 63, ".com")));
    CHECK(!is_good(auth_rules_check_email, repeat_between("a@", "x", 64, ".com")));
    CHECK(!is_good(auth_rules_check_email, repeat_between("a@", "xxx.", 63, "x")));
}

TEST(devices)
{
    CHECK(is_good(auth_rules_check_device, "Mozilla/5.0 (X11; Linux)"));
    CHECK(is_good(auth_rules_check_device, repeat("x", 200)));
    CHECK(!is_good(auth_rules_check_device, repeat("x", 201)));
    CHECK(!is_good(auth_rules_check_device, "two\nlines"));
}

TEST(header_text_is_cleaned)
{
    struct arena *arena = arena_new(0);

    CHECK_STR(auth_text_clean_line(arena, "curl/8", 200), "curl/8");
    CHECK_STR(auth_text_clean_line(arena, "", 200), "");
    CHECK_STR(auth_text_clean_line(arena, "a\xff", 200), "");
    CHECK_STR(auth_text_clean_line(arena, "abc", 2), "ab");
    CHECK_STR(auth_text_clean_line(arena, "a\u00e9\u00e9", 4), "a\u00e9"); /* not half a letter */
    arena_free(arena);
}
