// SPDX-License-Identifier: MIT
/* Password hashes: right, wrong, unknown users in the same time, older parameters. */
#include "tests/unit/test.h"

#include "auth-svc/password.h"

#include <time.h>

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

/* Processor time of this thread: what others do does not count. */
static int64_t cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static int64_t fastest_us(const char *hash, const char *password, size_t n)
{
    int64_t best = INT64_MAX;

    for (int i = 0; i < 5; i++) {
        int64_t start = cpu_us();
        CHECK(!auth_password_is_right(hash, password, n));
        int64_t took = cpu_us() - start;
        best = took < best ? took : best;
    }
    return best;
}

/* The dummy hash costs what a real one costs: the same parameters, and it is really worked out. */
TEST(unknown_users_take_as_long)
{
    static char endless[1024 * 1024];
    char hash[AUTH_PASSWORD_HASH_SIZE];

    CHECK_INT(auth_password_make_hash("correct horse", 13, hash), 0);
    CHECK(!auth_password_needs_rehash(hash));
    CHECK(!auth_password_needs_rehash(NULL));
    int64_t known = fastest_us(hash, "wrong password", 14);
    CHECK(fastest_us(NULL, "wrong password", 14) > known / 4);
    CHECK(fastest_us(hash, endless, sizeof(endless)) > known / 4);
}

TEST(longer_than_any_is_wrong)
{
    char hash[AUTH_PASSWORD_HASH_SIZE], password[129];

    memset(password, 'x', sizeof(password));
    CHECK_INT(auth_password_make_hash(password, 129, hash), 0);
    CHECK(!auth_password_is_right(hash, password, 129));
    CHECK_INT(auth_password_make_hash(password, 128, hash), 0);
    CHECK(auth_password_is_right(hash, password, 128));
}
