// SPDX-License-Identifier: MIT
/*
 * From a row to a Message. The content of a recalled message is told to nobody.
 */
#include "message-svc/object.h"

#include "common/pb.h"

Chat__Message *message_object(struct arena *arena, const struct message_row *row,
                              Chat__Sender *sender)
{
    Chat__Message *m = pb_new(&chat__message__descriptor, arena);
    m->id = row->id;
    m->seq = row->seq;
    m->content = pb_bytes(row->content.p, row->recalled ? 0 : row->content.n);
    m->type = pb_bytes(row->type.p, row->type.n);
    m->sender_id = row->sender_id;
    m->sender = sender;
    if (message_conv_is_group(row->conv)) {
        m->group_id = row->conv.b;
    } else {
        m->receiver_id = message_conv_other(row->conv, row->sender_id);
    }
    m->client_id = pb_bytes(row->client_id.p, row->client_id.n);
    m->reply_to = row->reply_to;
    m->created_at = row->created_at;
    m->edited_at = row->edited_at;
    m->recalled = row->recalled;
    m->rev = row->rev;
    return m;
}
