// SPDX-License-Identifier: MIT
/* Failed logins: five in any minute, forgotten in time, bounded however many there are. */
#include "tests/unit/test.h"

#include "auth-svc/attempts.h"

#include <pthread.h>

enum { NOW = 1000000 };

static void at_ms(int64_t ms)
{
    clock_freeze(1700000000000 + ms, (NOW + ms) * 1000);
}

static bool take(struct auth_attempts *a, const char *account, const char *address)
{
    int64_t wait_ms = -1;
    bool allowed = auth_attempts_take_one(a, account, address, &wait_ms);

    CHECK(allowed ? wait_ms == -1 : wait_ms > 0 && wait_ms <= AUTH_ATTEMPTS_WINDOW_MS);
    return allowed;
}

TEST(the_sixth_is_refused)
{
    struct auth_attempts *a = auth_attempts_new(0);

    at_ms(0);
    for (int i = 0; i < AUTH_ATTEMPTS_MOST; i++) {
        CHECK(take(a, "alice", "10.0.0.1"));
    }
    CHECK(!take(a, "alice", "10.0.0.1"));
    CHECK(take(a, "alice", "10.0.0.2")); /* from elsewhere */
    CHECK(take(a, "bob", "10.0.0.1"));   /* another account */
    auth_attempts_free(a);
}

TEST(account_and_address_do_not_run_together)
{
    struct auth_attempts *a = auth_attempts_new(0);

    at_ms(0);
    for (int i = 0; i < AUTH_ATTEMPTS_MOST; i++) {
        CHECK(take(a, "ab", "c"));
    }
    CHECK(take(a, "a", "bc"));
    CHECK(take(a, "", "abc"));
    CHECK(!take(a, "ab", "c"));
    auth_attempts_free(a);
}

TEST(the_window_slides)
{
    struct auth_attempts *a = auth_attempts_new(0);
    int64_t wait_ms = 0;

    for (int i = 0; i < AUTH_ATTEMPTS_MOST; i++) {
        at_ms(i * 10000); /* at 0, 10, 20, 30, 40 s */
        CHECK(take(a, "alice", ""));
    }
    at_ms(59999);
    CHECK(!auth_attempts_take_one(a, "alice", "", &wait_ms));
    CHECK_INT(wait_ms, 1);
    at_ms(60000); /* the first is a minute old: one more */
    CHECK(take(a, "alice", ""));
    CHECK(!auth_attempts_take_one(a, "alice", "", &wait_ms));
    CHECK_INT(wait_ms, 10000);
    at_ms(70000);
    CHECK(take(a, "alice", ""));
    CHECK(!take(a, "alice", ""));
    auth_attempts_free(a);
}

TEST(refused_ones_do_not_count)
{
    struct auth_attempts *a = auth_attempts_new(0);

    at_ms(0);
    for (int i = 0; i < 1000; i++) {
        CHECK_INT(take(a, "alice", ""), i < AUTH_ATTEMPTS_MOST);
    }
    at_ms(60000);
    CHECK(take(a, "alice", ""));
    auth_attempts_free(a);
}

TEST(a_right_password_forgets)
{
    struct auth_attempts *a = auth_attempts_new(0);

    at_ms(0);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < AUTH_ATTEMPTS_MOST; i++) {
            CHECK(take(a, "alice", ""));
        }
        auth_attempts_forget_all(a, "alice", "");
    }
    auth_attempts_forget_all(a, "nobody", "");
    auth_attempts_free(a);
}

TEST(one_is_given_back)
{
    struct auth_attempts *a = auth_attempts_new(0);

    at_ms(0);
    for (int i = 0; i < 20; i++) {
        CHECK(take(a, "alice", ""));
        auth_attempts_return_one(a, "alice", "");
    }
    for (int i = 0; i < AUTH_ATTEMPTS_MOST; i++) {
        CHECK(take(a, "alice", ""));
    }
    CHECK(!take(a, "alice", ""));
    auth_attempts_return_one(a, "alice", "");
    CHECK(take(a, "alice", ""));
    CHECK(!take(a, "alice", ""));
    auth_attempts_return_one(a, "nobody", "");
    auth_attempts_free(a);
}

TEST(off_allows_all)
{
    for (int i = 0; i < 100; i++) {
        CHECK(take(NULL, "alice", ""));
    }
    auth_attempts_forget_all(NULL, "alice", "");
    auth_attempts_return_one(NULL, "alice", "");
}

/* More accounts than places: nothing grows, and the account under attack stays remembered. */
TEST(memory_is_bounded)
{
    struct auth_attempts *a = auth_attempts_new(64);
    char name[32];

    at_ms(0);
    for (int i = 0; i < AUTH_ATTEMPTS_MOST; i++) {
        CHECK(take(a, "alice", ""));
    }
    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof(name), "user%d", i);
        CHECK(take(a, name, ""));
    }
    CHECK(!take(a, "alice", ""));
    auth_attempts_free(a);
}

struct racer {
    struct auth_attempts *attempts;
    int allowed;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    int64_t wait_ms;

    for (int i = 0; i < 1000; i++) {
        r->allowed += auth_attempts_take_one(r->attempts, "alice", "", &wait_ms);
    }
    return NULL;
}

TEST(many_at_once_do_not_pass_together)
{
    struct auth_attempts *a = auth_attempts_new(0);
    struct racer racers[4];
    pthread_t threads[4];
    int allowed = 0;

    at_ms(0);
    for (int i = 0; i < 4; i++) {
        racers[i] = (struct racer){.attempts = a};
        pthread_create(&threads[i], NULL, race, &racers[i]);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        allowed += racers[i].allowed;
    }
    CHECK_INT(allowed, AUTH_ATTEMPTS_MOST);
    auth_attempts_free(a);
}
