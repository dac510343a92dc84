// SPDX-License-Identifier: MIT
/* Password hashes: right, wrong, unknown users in the same time, older parameters. */
#include "tests/unit/test.h"

#include "auth-svc/password.h"
#include "common/clock.h"

/* Of "old password", argon2id with 8 MiB and one pass. */
static const char weaker[] = "$argon2id$v=19$m=8192,t=1,p=1$8PLgRDuk917POo9tplhIhg$"
                             "JugLi6dtLsw1THCbx6fYgi4ftmdQ/n+PrUfKxE4NNeI";

TEST(right_and_wrong)
{
    char hash[AUTH_PASSWORD_HASH_SIZE], again[AUTH_PASSWORD_HASH_SIZE];

    CHECK_INT(auth_password_init(), 0);
    CHECK_INT(auth_password_init(), 0);
    CHECK_INT(auth_password_make_hash("correct horse", 13, hash), 0);
    CHECK_INT(auth_password_make_hash("correct horse", 13, again), 0);
    CHECK(strcmp(hash, again) != 0); /* the salt */
    CHECK(strncmp(hash, "$argon2id$v=19$m=19456,t=2,p=1$", 31) == 0);
    CHECK(auth_password_is_right(hash, "correct horse", 13));
    CHECK(!auth_password_is_right(hash, "correct horsf", 13));
    CHECK(!auth_password_is_right(hash, "correct horse", 12));
    CHECK(!auth_password_is_right(hash, "", 0));
    CHECK(!auth_password_needs_rehash(hash));
}

TEST(a_nul_counts)
{
    char hash[AUTH_PASSWORD_HASH_SIZE];

    CHECK_INT(auth_password_make_hash("12345678\0a", 10, hash), 0);
    CHECK(auth_password_is_right(hash, "12345678\0a", 10));
    CHECK(!auth_password_is_right(hash, "12345678\0b", 10));
    CHECK(!auth_password_is_right(hash, "12345678", 8));
}

TEST(broken_hashes_are_never_right)
{
    static const char *const broken[] = {"", "x", "$argon2id$", "$argon2id$v=19$m=19456,t=2,p=1$$"};

    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        CHECK(!auth_password_is_right(broken[i], "correct horse", 13));
    }
}

TEST(older_parameters_are_right_and_due)
{
    CHECK(auth_password_is_right(weaker, "old password", 12));
    CHECK(!auth_password_is_right(weaker, "new password", 12));
    CHECK(auth_password_needs_rehash(weaker));
}

static int64_t fastest_us(const char *hash)
{
    int64_t best = INT64_MAX;

    for (int i = 0; i < 5; i++) {
        int64_t start = clock_mono_us();
        CHECK(!auth_password_is_right(hash, "wrong password", 14));
        int64_t took = clock_mono_us() - start;
        best = took < best ? took : best;
    }
    return best;
}

/* The dummy hash must cost what a real one costs: the same parameters, so about the same time. */
TEST(unknown_users_take_as_long)
{
    char hash[AUTH_PASSWORD_HASH_SIZE];

    CHECK_INT(auth_password_make_hash("correct horse", 13, hash), 0);
    int64_t known = fastest_us(hash), unknown = fastest_us(NULL);
    CHECK(unknown > known / 2 && unknown < known * 2);
}
