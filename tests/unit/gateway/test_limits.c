// SPDX-License-Identifier: MIT
#include "gateway/limits.h"

#include "tests/unit/test.h"

static const struct config_rate three_in_ten = {.count = 3, .seconds = 10};

TEST(a_window_lets_so_many_through)
{
    clock_freeze(0, 1000000);
    struct limits *l = limits_new(three_in_ten, three_in_ten);
    for (int i = 0; i < 3; i++) {
        struct limits_verdict v = limits_ask(l, LIMITS_AUTH, 1, 0);
        CHECK(v.allowed);
        CHECK_INT(v.limit, 3);
        CHECK_INT(v.remaining, 2 - i);
    }
    struct limits_verdict v = limits_ask(l, LIMITS_AUTH, 1, 0);
    CHECK(!v.allowed);
    CHECK_INT(v.remaining, 0);
    CHECK_INT(v.retry_after, 10);
    clock_freeze(0, 1000000 + 9999000);
    v = limits_ask(l, LIMITS_AUTH, 1, 0);
    CHECK(!v.allowed);
    CHECK_INT(v.retry_after, 1);
    clock_freeze(0, 1000000 + 10000000);
    CHECK(limits_ask(l, LIMITS_AUTH, 1, 0).allowed);
    limits_free(l);
}

TEST(keys_and_classes_are_apart)
{
    clock_freeze(0, 1000000);
    struct limits *l = limits_new(three_in_ten, three_in_ten);
    for (int i = 0; i < 4; i++) {
        limits_ask(l, LIMITS_AUTH, 1, 0);
    }
    CHECK(limits_ask(l, LIMITS_AUTH, 2, 0).allowed);
    CHECK(limits_ask(l, LIMITS_AUTH, 1, 1).allowed);
    CHECK(limits_ask(l, LIMITS_USER, 1, 0).allowed);
    CHECK(!limits_ask(l, LIMITS_AUTH, 1, 0).allowed);
    limits_free(l);
}

TEST(off_is_off)
{
    struct limits *l = limits_new((struct config_rate){0}, three_in_ten);
    for (int i = 0; i < 1000; i++) {
        struct limits_verdict v = limits_ask(l, LIMITS_AUTH, 1, 0);
        CHECK(v.allowed && v.limit == 0);
    }
    limits_free(l);
}

/* A flood of invented keys must not let the one that has used its share begin anew. */
TEST(a_flood_does_not_wash_a_full_window_away)
{
    clock_freeze(0, 1000000);
    struct limits *l = limits_new(three_in_ten, three_in_ten);
    for (int i = 0; i < 3; i++) {
        limits_ask(l, LIMITS_AUTH, 1, 0);
    }
    for (uint64_t i = 0; i < 1000000; i++) {
        limits_ask(l, LIMITS_AUTH, 1000 + i, 0);
    }
    CHECK(!limits_ask(l, LIMITS_AUTH, 1, 0).allowed);
    limits_free(l);
}

static bool same_key(const char *x, const char *y)
{
    uint64_t xa, xb, ya, yb;
    limits_address_key(x, &xa, &xb);
    limits_address_key(y, &ya, &yb);
    return xa == ya && xb == yb;
}

TEST(addresses)
{
    CHECK(same_key("10.0.0.1", "10.0.0.1"));
    CHECK(!same_key("10.0.0.1", "10.0.0.2"));
    CHECK(same_key("2001:db8::1", "2001:db8::ffff:1"));
    CHECK(!same_key("2001:db8::1", "2001:db8:0:1::1"));
}

TEST(a_bucket_of_frames)
{
    struct limits_bucket b = {0};
    struct config_rate rate = {.count = 30, .seconds = 1};
    int64_t now = 5000000;
    for (int i = 0; i < 60; i++) {
        CHECK(limits_take(&b, rate, now));
    }
    CHECK(!limits_take(&b, rate, now));
    CHECK(!limits_take(&b, rate, now + 33));
    CHECK(limits_take(&b, rate, now + 34));
    CHECK(!limits_take(&b, rate, now + 34));
    int taken = 0;
    for (int64_t ms = 0; ms < 10000; ms++) { /* 30 a second, whatever the steps */
        taken += limits_take(&b, rate, now + 34 + ms);
    }
    CHECK(taken >= 298 && taken <= 300);
    CHECK(limits_take(&b, (struct config_rate){0}, now));
}

TEST(slow_rates_are_kept_over_small_steps)
{
    struct limits_bucket b = {0};
    struct config_rate rate = {.count = 1, .seconds = 60};
    int64_t now = 5000000;
    CHECK(limits_take(&b, rate, now) && limits_take(&b, rate, now));
    int taken = 0;
    for (int64_t ms = 0; ms <= 120000; ms++) {
        taken += limits_take(&b, rate, now + ms);
    }
    CHECK_INT(taken, 2);
}
