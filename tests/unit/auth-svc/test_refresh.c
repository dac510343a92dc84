// SPDX-License-Identifier: MIT
/* Refresh tokens: written and read, equal for equal numbers, refused when touched anywhere. */
#include "tests/unit/test.h"

#include "auth-svc/refresh.h"
#include "common/err.h"

static const char secret[] = "a secret that is long enough for HS256";

static struct auth_refresh_keys make_key(const char *text)
{
    struct auth_refresh_keys keys = {0};

    auth_refresh_add_key(&keys, text, strlen(text));
    return keys;
}

TEST(what_is_written_is_read)
{
    static const struct auth_refresh_token rows[] = {
        {1, 1}, {0, 0}, {77, 4000000000u}, {(1ULL << 53) - 1, 2}, {UINT64_MAX, UINT32_MAX}};
    struct auth_refresh_keys key = make_key(secret);

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[AUTH_REFRESH_TEXT_SIZE], again[AUTH_REFRESH_TEXT_SIZE];
        struct auth_refresh_token token = {0};
        auth_refresh_write_text(&key, &rows[i], text);
        auth_refresh_write_text(&key, &rows[i], again);
        CHECK_STR(text, again);
        CHECK_INT(strlen(text), AUTH_REFRESH_TEXT_SIZE - 1);
        CHECK_INT(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
                  AUTH_REFRESH_TEXT_SIZE - 1);
        CHECK_INT(auth_refresh_read_text(&key, text, strlen(text), &token), 0);
        CHECK(token.session_id == rows[i].session_id);
        CHECK_INT(token.generation, rows[i].generation);
    }
}

TEST(generations_and_sessions_differ)
{
    struct auth_refresh_keys key = make_key(secret);
    char a[AUTH_REFRESH_TEXT_SIZE], b[AUTH_REFRESH_TEXT_SIZE], c[AUTH_REFRESH_TEXT_SIZE];

    auth_refresh_write_text(&key, &(struct auth_refresh_token){7, 1}, a);
    auth_refresh_write_text(&key, &(struct auth_refresh_token){7, 2}, b);
    auth_refresh_write_text(&key, &(struct auth_refresh_token){8, 1}, c);
    CHECK(strcmp(a + 16, b + 16) != 0); /* the MACs, not only the numbers */
    CHECK(strcmp(a + 16, c + 16) != 0);
}

TEST(every_changed_character_is_refused)
{
    struct auth_refresh_keys key = make_key(secret);
    char text[AUTH_REFRESH_TEXT_SIZE];
    struct auth_refresh_token token = {.session_id = 42};

    auth_refresh_write_text(&key, &(struct auth_refresh_token){7, 1}, text);
    for (size_t i = 0; i < AUTH_REFRESH_TEXT_SIZE - 1; i++) {
        char kept = text[i];
        text[i] = kept == 'A' ? 'B' : 'A';
        CHECK_INT(auth_refresh_read_text(&key, text, strlen(text), &token), ERR_UNAUTHENTICATED);
        text[i] = '=';
        CHECK_INT(auth_refresh_read_text(&key, text, strlen(text), &token), ERR_UNAUTHENTICATED);
        text[i] = kept;
    }
    CHECK_INT(token.session_id, 42); /* untouched on failure */
    CHECK_INT(auth_refresh_read_text(&key, text, strlen(text), &token), 0);
}

TEST(other_lengths_are_refused)
{
    struct auth_refresh_keys key = make_key(secret);
    char text[AUTH_REFRESH_TEXT_SIZE + 8];
    struct auth_refresh_token token;

    memset(text, 'A', sizeof(text));
    auth_refresh_write_text(&key, &(struct auth_refresh_token){7, 1}, text);
    text[AUTH_REFRESH_TEXT_SIZE - 1] = 'A';
    for (size_t n = 0; n < sizeof(text); n++) {
        int rc = auth_refresh_read_text(&key, text, n, &token);
        CHECK_INT(rc, n == AUTH_REFRESH_TEXT_SIZE - 1 ? 0 : ERR_UNAUTHENTICATED);
    }
}

TEST(another_secret_makes_another_key)
{
    struct auth_refresh_keys key = make_key(secret), same = make_key(secret);
    struct auth_refresh_keys other = make_key("a secret that is long enough for HS257");
    char text[AUTH_REFRESH_TEXT_SIZE];
    struct auth_refresh_token token;

    CHECK(memcmp(&key, &same, sizeof(key)) == 0);
    CHECK(memcmp(&key, &other, sizeof(key)) != 0);
    auth_refresh_write_text(&key, &(struct auth_refresh_token){7, 1}, text);
    CHECK_INT(auth_refresh_read_text(&other, text, strlen(text), &token), ERR_UNAUTHENTICATED);
}

TEST(earlier_keys_read_and_the_first_writes)
{
    struct auth_refresh_keys old = make_key("old"), both = make_key("new"), new = make_key("new");
    char text[AUTH_REFRESH_TEXT_SIZE];
    struct auth_refresh_token token;

    auth_refresh_add_key(&both, "old", 3);
    auth_refresh_write_text(&old, &(struct auth_refresh_token){7, 1}, text);
    CHECK_INT(auth_refresh_read_text(&both, text, strlen(text), &token), 0);
    CHECK_INT(auth_refresh_read_text(&new, text, strlen(text), &token), ERR_UNAUTHENTICATED);
    auth_refresh_write_text(&both, &(struct auth_refresh_token){7, 2}, text);
    CHECK_INT(auth_refresh_read_text(&new, text, strlen(text), &token), 0);
    CHECK_INT(auth_refresh_read_text(&old, text, strlen(text), &token), ERR_UNAUTHENTICATED);
    CHECK_INT(token.generation, 2);
}

/* Tokens in clients' hands outlive a new version of this program: the form may not change unseen.
 * The numbers were computed apart from this code (hashlib and hmac of Python). */
TEST(the_form_stays)
{
    struct auth_refresh_keys key = make_key(secret);
    char text[AUTH_REFRESH_TEXT_SIZE];

    auth_refresh_write_text(&key, &(struct auth_refresh_token){1234567, 3}, text);
    CHECK_STR(text, "AAAAAAAS1ocAAAAD-C5C_kc4fURhyFNjYXjXb-hTUlOtgzz1AOk7XL5qWV8");
}
