// SPDX-License-Identifier: MIT
/*
 * The paging of api.md, GET /api/messages.
 */
#include "message-svc/page.h"

struct message_page message_page_plan(const struct message_page_query *query, uint64_t first,
                                      uint64_t last)
{
    struct message_page page = {.lo = first < 1 ? 1 : first, .hi = last};
    page.limit = query->limit < 1                  ? MESSAGE_PAGE_DEFAULT
                 : query->limit > MESSAGE_PAGE_MAX ? MESSAGE_PAGE_MAX
                                                   : (size_t)query->limit;
    page.descending = !query->after_given;
    if (query->before_given && query->before <= page.hi) {
        page.hi = query->before == 0 ? 0 : query->before - 1;
    }
    if (query->after_given && query->after >= page.lo) {
        page.lo = query->after == UINT64_MAX ? UINT64_MAX : query->after + 1;
    }
    if (query->offset_given && !query->after_given) {
        page.hi = query->offset > page.hi ? 0 : page.hi - query->offset;
    }
    return page;
}

bool message_page_has_more(const struct message_page *page, size_t n)
{
    return page->lo <= page->hi && page->hi - page->lo + 1 > n;
}
