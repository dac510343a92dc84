// SPDX-License-Identifier: MIT
#include "message-svc/page.h"

#include "tests/unit/test.h"

/* tests/store/test_message_pages.c goes through all combinations; here are the edges. */
TEST(edges)
{
    static const struct {
        struct message_page_query query;
        uint64_t first, last, lo, hi;
        size_t limit;
        bool descending;
    } rows[] = {
        {{0}, 1, 0, 1, 0, 50, true},
        {{0}, 0, 9, 1, 9, 50, true},
        {{.limit = -5}, 4, 9, 4, 9, 50, true},
        {{.limit = 201}, 4, 9, 4, 9, 200, true},
        {{.before_given = true}, 1, 9, 1, 0, 50, true},
        {{.before_given = true, .before = 1}, 1, 9, 1, 0, 50, true},
        {{.before_given = true, .before = 10}, 1, 9, 1, 9, 50, true},
        {{.before_given = true, .before = UINT64_MAX}, 1, 9, 1, 9, 50, true},
        {{.after_given = true}, 1, 9, 1, 9, 50, false},
        {{.after_given = true}, 5, 9, 5, 9, 50, false},
        {{.after_given = true, .after = 5}, 5, 9, 6, 9, 50, false},
        {{.after_given = true, .after = UINT64_MAX}, 1, 9, UINT64_MAX, 9, 50, false},
        {{.offset_given = true, .offset = 9}, 1, 9, 1, 0, 50, true},
        {{.offset_given = true, .offset = UINT64_MAX}, 1, 9, 1, 0, 50, true},
        {{.offset_given = true, .offset = 3}, 5, 9, 5, 6, 50, true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct message_page page = message_page_plan(&rows[i].query, rows[i].first, rows[i].last);
        CHECK_INT(page.lo, rows[i].lo);
        CHECK_INT(page.hi, rows[i].hi);
        CHECK_INT(page.limit, rows[i].limit);
        CHECK(page.descending == rows[i].descending);
    }
}

TEST(has_more)
{
    CHECK(!message_page_has_more(&(struct message_page){.lo = 1, .hi = 0}, 0));
    CHECK(!message_page_has_more(&(struct message_page){.lo = 3, .hi = 5}, 3));
    CHECK(message_page_has_more(&(struct message_page){.lo = 3, .hi = 5}, 2));
    CHECK(!message_page_has_more(&(struct message_page){.lo = UINT64_MAX, .hi = 5}, 0));
}
