// SPDX-License-Identifier: MIT
/*
 * Which messages a page of a conversation holds. Since seq is dense, that can be said before
 * anything is read. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_PAGE_DEFAULT 50
#define MESSAGE_PAGE_MAX 200
/* A reply is at most 512 KiB; the rest is for its envelope. */
#define MESSAGE_PAGE_BYTES (504 * 1024)

struct message_page_query {
    bool before_given, after_given, offset_given;
    uint64_t before, after; /* seq, both exclusive */
    uint64_t offset;        /* messages to skip from the newest */
    int64_t limit;          /* below 1: 50; above 200: 200 */
};

struct message_page {
    uint64_t lo, hi; /* all that the query spans; lo > hi: nothing */
    size_t limit;
    bool descending; /* the page is at the upper end: without `after` */
};
/* first, last: the seqs that the caller may see (last 0: none). An offset counts from the newest
 * message before `before`; together with `after` it means nothing. */
struct message_page message_page_plan(const struct message_page_query *query, uint64_t first,
                                      uint64_t last);
/* Whether the span holds more than the n messages of the page. */
bool message_page_has_more(const struct message_page *page, size_t n);
