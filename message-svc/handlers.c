// SPDX-License-Identifier: MIT
/*
 * Reading: GetMessage and ListMessages. Sync is in sync.c. A "no" of the membership copy is
 * checked with group-svc before it is believed, and then remembered for a second.
 */
#include "message-svc/handlers.h"

#include "message-svc/access.h"
#include "message-svc/object.h"
#include "message-svc/page.h"
#include "proto/message.pb-c.h"

#include <string.h>

/* ---- GetMessage ---- */

static int no_message(struct rpc_request *rq)
{
    return rpc_fail(rq, ERR_NOT_FOUND, "there is no such message");
}

int message_get_message(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__GetMessageRequest *request = in;
    Chat__MessageReply *reply = out;
    struct message_rows rows = {0};
    struct message_access access;
    if (request->message_id == 0 || request->message_id >= MESSAGE_ID_END) {
        return no_message(rq);
    }
    int err = message_store_by_id(rq->db, rq->arena, request->message_id, &rows);
    if (err != 0) {
        return err;
    }
    if (rows.n == 0) {
        return no_message(rq);
    }
    const struct message_row *row = &rows.at[0];
    if (message_conv_is_group(row->conv)) {
        err = message_access_group(rq, row->conv.b, &access);
        if (err != 0 && err != ERR_NOT_FOUND) {
            return err;
        }
        /* The same words for what is hidden and for what is not: ids can be guessed. */
        if (err == ERR_NOT_FOUND || row->seq < access.from_seq) {
            return no_message(rq);
        }
    } else if (row->conv.a != rq->caller.user_id && row->conv.b != rq->caller.user_id) {
        return no_message(rq);
    }
    reply->message = message_object(rq->arena, row, NULL);
    return 0;
}

/* ---- ListMessages ---- */

static struct message_page_query page_query(const Chat__ListMessagesRequest *request)
{
    return (struct message_page_query){
        .before_given = request->before_given_case ==
                        CHAT__LIST_MESSAGES_REQUEST__BEFORE_GIVEN_BEFORE,
        .after_given = request->after_given_case == CHAT__LIST_MESSAGES_REQUEST__AFTER_GIVEN_AFTER,
        .offset_given = request->offset_given_case ==
                        CHAT__LIST_MESSAGES_REQUEST__OFFSET_GIVEN_OFFSET,
        .before = request->before,
        .after = request->after,
        .offset = request->offset,
        .limit = request->limit,
    };
}

/* The rows, in the order they were read, as long as they fit; the reply is ascending. */
static void fill(struct rpc_request *rq, Chat__MessageList *reply, const struct message_rows *rows,
                 const struct message_page *page)
{
    Chat__Message **read = arena_array(rq->arena, rows->n, sizeof(*read));
    size_t n = 0, bytes = 0;
    for (; n < rows->n; n++) {
        read[n] = message_object(rq->arena, &rows->at[n], NULL);
        bytes += message_access_size(read[n]);
        if (bytes > MESSAGE_PAGE_BYTES) {
            break;
        }
    }
    reply->messages = arena_array(rq->arena, n, sizeof(*reply->messages));
    reply->n_messages = n;
    for (size_t i = 0; i < n; i++) {
        reply->messages[i] = read[page->descending ? n - 1 - i : i];
    }
    reply->has_more = message_page_has_more(page, n);
}

int message_list_messages(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__ListMessagesRequest *request = in;
    Chat__MessageList *reply = out;
    struct message_access access = {.from_seq = 1};
    struct message_conv conv;
    struct message_rows rows = {0};
    int err = message_access_conv(rq, (int)request->type, request->target_id, &conv);
    if (err == 0) {
        err = message_conv_is_group(conv) ? message_access_group(rq, conv.b, &access)
                                          : message_access_private(rq, conv, &access);
    }
    if (err != 0) {
        return err;
    }
    struct message_page_query query = page_query(request);
    struct message_page page = message_page_plan(&query, access.from_seq, access.last_seq);
    if (page.lo <= page.hi) {
        err = message_store_range(rq->db, rq->arena, conv, page.lo, page.hi, page.limit,
                                  page.descending, &rows);
    }
    if (err == 0) {
        fill(rq, reply, &rows, &page);
        reply->last_seq = access.last_seq;
    }
    return err;
}
