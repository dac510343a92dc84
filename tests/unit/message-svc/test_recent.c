// SPDX-License-Identifier: MIT
#include "message-svc/recent.h"

#include "tests/unit/test.h"

static void put(struct message_recent *r, uint64_t a, uint64_t seq)
{
    message_recent_put(r, a, 0, (struct message_recent_value){.seq = seq});
}

static int64_t get(struct message_recent *r, uint64_t a)
{
    struct message_recent_value value = {0};
    return message_recent_get(r, a, 0, &value) ? (int64_t)value.seq : -1;
}

TEST(keeps_and_replaces)
{
    struct message_recent *r = message_recent_new(4);
    CHECK_INT(get(r, 1), -1);
    put(r, 1, 10);
    put(r, 1, 11);
    CHECK_INT(get(r, 1), 11);
    CHECK(message_recent_get(r, 1, 0, NULL));
    CHECK(!message_recent_get(r, 1, 1, NULL));
    CHECK_INT(message_recent_count(r), 1);
    message_recent_free(r);
    message_recent_free(NULL);
}

TEST(the_last_used_stay)
{
    struct message_recent *r = message_recent_new(10);
    for (uint64_t i = 1; i <= 1000; i++) {
        put(r, i, i);
        CHECK_INT(get(r, 1), 1); /* in use all the time */
        for (uint64_t k = i > 9 ? i - 8 : 1; k <= i; k++) {
            CHECK_INT(get(r, k), k);
        }
        CHECK(message_recent_count(r) <= 20);
    }
    CHECK_INT(get(r, 500), -1);
    message_recent_free(r);
}

TEST(an_old_value_is_not_found_again)
{
    struct message_recent *r = message_recent_new(2);
    put(r, 1, 1);
    put(r, 2, 2);
    put(r, 3, 3); /* 1 and 2 are the old half */
    put(r, 1, 100);
    put(r, 4, 4);
    put(r, 5, 5);
    CHECK(get(r, 1) == 100 || get(r, 1) == -1);
    message_recent_free(r);
}
