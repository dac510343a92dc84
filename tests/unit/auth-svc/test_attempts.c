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

static bool begin(struct auth_attempts *a, const char *account, const char *address)
{
    int64_t wait_ms = -1;
    bool allowed = auth_attempts_begin(a, account, address, &wait_ms);

    CHECK(allowed ? wait_ms == -1 : wait_ms > 0 && wait_ms <= AUTH_ATTEMPTS_WINDOW_MS);
    return allowed;
}

/* One that fails, if it is allowed. */
static bool take(struct auth_attempts *a, const char *account, const char *address)
{
    bool allowed = begin(a, account, address);

    if (allowed) {
        auth_attempts_end(a, account, address, AUTH_ATTEMPTS_WRONG);
    }
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
    CHECK(!auth_attempts_begin(a, "alice", "", &wait_ms));
    CHECK_INT(wait_ms, 1);
    at_ms(60000); /* the first is a minute old: one more */
    CHECK(take(a, "alice", ""));
    CHECK(!auth_attempts_begin(a, "alice", "", &wait_ms));
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
        for (int i = 0; i < AUTH_ATTEMPTS_MOST - 1; i++) {
            CHECK(take(a, "alice", ""));
        }
        CHECK(begin(a, "alice", ""));
        auth_attempts_end(a, "alice", "", AUTH_ATTEMPTS_RIGHT);
    }
    auth_attempts_free(a);
}

TEST(unchecked_ones_do_not_count)
{
    struct auth_attempts *a = auth_attempts_new(0);

    at_ms(0);
    for (int i = 0; i < 20; i++) {
        CHECK(begin(a, "alice", ""));
        auth_attempts_end(a, "alice", "", AUTH_ATTEMPTS_UNCHECKED);
    }
    for (int i = 0; i < AUTH_ATTEMPTS_MOST; i++) {
        CHECK(take(a, "alice", ""));
    }
    CHECK(!take(a, "alice", ""));
    auth_attempts_free(a);
}

TEST(right_ones_at_once_are_all_let_in)
{
    struct auth_attempts *a = auth_attempts_new(0);

    at_ms(0);
    for (int i = 0; i < 20; i++) {
        CHECK(begin(a, "alice", ""));
    }
    for (int i = 0; i < 20; i++) {
        auth_attempts_end(a, "alice", "", AUTH_ATTEMPTS_RIGHT);
    }
    CHECK(take(a, "alice", ""));
    auth_attempts_free(a);
}

TEST(after_a_failure_those_under_way_count)
{
    struct auth_attempts *a = auth_attempts_new(0);
    int64_t wait_ms = 0;

    at_ms(0);
    CHECK(take(a, "alice", ""));
    for (int i = 0; i < AUTH_ATTEMPTS_MOST - 1; i++) {
        CHECK(begin(a, "alice", ""));
    }
    CHECK(!auth_attempts_begin(a, "alice", "", &wait_ms));
    CHECK_INT(wait_ms, 1); /* they may end well */
    auth_attempts_end(a, "alice", "", AUTH_ATTEMPTS_UNCHECKED);
    CHECK(begin(a, "alice", ""));
    for (int i = 0; i < AUTH_ATTEMPTS_MOST - 1; i++) {
        auth_attempts_end(a, "alice", "", AUTH_ATTEMPTS_WRONG);
    }
    CHECK(!auth_attempts_begin(a, "alice", "", &wait_ms));
    CHECK_INT(wait_ms, AUTH_ATTEMPTS_WINDOW_MS);
    auth_attempts_free(a);
}

TEST(off_allows_all)
{
    for (int i = 0; i < 100; i++) {
        CHECK(take(NULL, "alice", ""));
    }
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
        if (auth_attempts_begin(r->attempts, "alice", "", &wait_ms)) {
            r->allowed++;
            auth_attempts_end(r->attempts, "alice", "", AUTH_ATTEMPTS_WRONG);
        }
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
    CHECK(take(a, "alice", "")); /* until one has failed they are not held back */
    for (int i = 0; i < 4; i++) {
        racers[i] = (struct racer){.attempts = a};
        pthread_create(&threads[i], NULL, race, &racers[i]);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        allowed += racers[i].allowed;
    }
    CHECK_INT(allowed, AUTH_ATTEMPTS_MOST - 1);
    auth_attempts_free(a);
}
