// SPDX-License-Identifier: MIT
/*
 * From outcomes to records on the bus. The event is the ack (architecture D2): it carries its
 * command's offset and call, and stands in its command's partition.
 */
#include "message-svc/publish.h"

#include "common/err.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/pb.h"
#include "message-svc/object.h"

#include <stdio.h>

void message_publish_metrics(struct message_metrics *m)
{
    *m = (struct message_metrics){
        .batch_records = metrics_histogram_count("chat_message_batch_records",
                                                 "Records of a batch of commands.", NULL),
        .commits = metrics_counter("chat_message_commits_total", "Batches that wrote.", NULL),
        .stored = metrics_counter("chat_message_stored_total", "Messages stored.", NULL),
        .repeats =
            metrics_counter("chat_message_repeats_total", "Sends whose client_id was known.", NULL),
        .replays = metrics_counter("chat_message_replays_total",
                                   "Events published again after a crash or a lost send.", NULL),
        .refused = metrics_counter("chat_message_refused_total", "Sends refused.", NULL),
        .doubts = metrics_gauge("chat_message_doubts", "Records waiting for group-svc or auth-svc.",
                                NULL),
    };
}

/* ---- Replies ---- */

void message_publish_refusal(struct svc_ctx *ctx, const char *reply_to, uint64_t call_id,
                             const struct message_refusal *why, const char *traceparent,
                             const char *request_id)
{
    struct rpc_field_error errors[sizeof(why->fields) / sizeof(why->fields[0])];
    char detail[200];
    if (reply_to[0] == '\0') {
        return;
    }
    for (size_t i = 0; i < why->field_count; i++) {
        errors[i] = (struct rpc_field_error){why->fields[i].field, why->fields[i].reason};
    }
    snprintf(detail, sizeof(detail), "%s%s%s", why->field_count > 0 ? why->fields[0].field : "",
             why->field_count > 0 ? " " : "",
             why->field_count > 0 ? why->fields[0].reason : why->detail);
    int err = svc_reply(ctx, reply_to, call_id, why->err, detail, errors, why->field_count, NULL,
                        traceparent, request_id);
    if (err != 0) {
        log_debug("refusal not sent", "call=%llu", (unsigned long long)call_id);
    }
}

static const char *asker(struct svc_batch *b, const struct message_item *item)
{
    return pb_cstr(svc_batch_arena(b), item->command->reply_to);
}

/* What the command knows of its user stands beside the message when it is that user's. */
static Chat__Message *object(struct svc_batch *b, const struct message_item *item)
{
    bool own = item->row->sender_id == item->user;
    return message_object(svc_batch_arena(b), item->row, own ? item->command->sender : NULL);
}

static void tell_repeated(struct svc_batch *b, const struct message_item *item)
{
    const char *reply_to = asker(b, item);
    Chat__SendReply reply = CHAT__SEND_REPLY__INIT;
    if (reply_to[0] == '\0') {
        return;
    }
    reply.message = object(b, item);
    reply.msg_id = item->row->id;
    reply.repeated_send = 1;
    int err = svc_reply(svc_batch_ctx(b), reply_to, item->command->id, 0, NULL, NULL, 0, &reply,
                        item->traceparent, item->request_id);
    if (err != 0) {
        log_debug("repeat not answered", "call=%llu", (unsigned long long)item->command->id);
    }
}

/* ---- Doubts ---- */

static void hold(struct svc_batch *b, const struct message_item *item,
                 struct message_questions *questions)
{
    Chat__Command checked = *item->command;
    struct message_held held = {
        .user = item->draft.sender_id,
        .conv = item->conv,
        .partition = item->partition,
        .call_id = item->command->id,
        .reply_to = asker(b, item),
        .traceparent = item->traceparent,
        .request_id = item->request_id,
    };
    checked.checked = 1;
    held.value = pb_pack(&checked, svc_batch_arena(b), &held.len);
    if (message_doubts_hold(message_questions_doubts(questions), &held) != 0) {
        struct message_refusal why = message_rules_refusal(MESSAGE_NO_ANSWER);
        message_publish_refusal(svc_batch_ctx(b), held.reply_to, held.call_id, &why,
                                held.traceparent, held.request_id);
    }
}

/* ---- Events ---- */

static int send_event(struct svc_batch *b, const struct message_item *item)
{
    Chat__MessageEvent event = CHAT__MESSAGE_EVENT__INIT;
    size_t len;
    event.command_offset = (uint64_t)item->offset;
    event.call_id = item->command->id;
    event.reply_to = item->command->reply_to;
    event.by = item->user;
    switch (item->command->op_case) {
    case CHAT__COMMAND__OP_EDIT:
        event.what_case = CHAT__MESSAGE_EVENT__WHAT_EDITED;
        event.edited = object(b, item);
        break;
    case CHAT__COMMAND__OP_RECALL:
        event.what_case = CHAT__MESSAGE_EVENT__WHAT_RECALLED;
        event.recalled = object(b, item);
        break;
    default:
        event.what_case = CHAT__MESSAGE_EVENT__WHAT_STORED;
        event.stored = object(b, item);
    }
    const uint8_t *value = pb_pack(&event, svc_batch_arena(b), &len);
    return svc_batch_send(b, &(struct bus_message){
                                 .topic = TOPIC_EVENTS_MESSAGE,
                                 .key = {item->conv.a, item->conv.b},
                                 .partition = item->partition,
                                 .value = value,
                                 .len = len,
                                 .traceparent = item->traceparent,
                                 .request_id = item->request_id,
                             });
}

/* ---- A batch ---- */

static void note(const struct message_item *item)
{
    static const char *const words[] = {
        [MESSAGE_PASSED] = "passed",     [MESSAGE_STORED] = "stored",
        [MESSAGE_REPLAYED] = "replayed", [MESSAGE_REPEATED] = "repeated",
        [MESSAGE_REFUSED] = "refused",   [MESSAGE_DOUBTED] = "doubted",
    };
    if (log_get_level() <= LOG_DEBUG) {
        const struct message_row *row = item->row;
        log_set_context(&(struct log_context){.traceparent = item->traceparent,
                                              .request_id = item->request_id,
                                              .user_id = item->user});
        log_debug("command", "outcome=%s code=%s id=%llu seq=%llu partition=%d offset=%lld",
                  words[item->outcome],
                  item->outcome == MESSAGE_REFUSED ? err_code(item->refusal.err) : "ok",
                  (unsigned long long)(row == NULL ? 0 : row->id),
                  (unsigned long long)(row == NULL ? 0 : row->seq), item->partition,
                  (long long)item->offset);
        log_set_context(NULL);
    }
}

static void tell(struct svc_batch *b, const struct message_item *item,
                 struct message_questions *questions, const struct message_metrics *metrics)
{
    if (item->command == NULL && !item->replay) {
        log_warn("command is malformed", "partition=%d offset=%lld", item->partition,
                 (long long)item->offset);
    }
    note(item);
    switch (item->outcome) {
    case MESSAGE_REPEATED:
        metric_inc(metrics->repeats);
        tell_repeated(b, item);
        break;
    case MESSAGE_REFUSED:
        metric_inc(metrics->refused);
        message_publish_refusal(svc_batch_ctx(b), asker(b, item), item->command->id, &item->refusal,
                                item->traceparent, item->request_id);
        break;
    case MESSAGE_DOUBTED:
        hold(b, item, questions);
        break;
    case MESSAGE_PASSED:
    case MESSAGE_STORED:
    case MESSAGE_REPLAYED:
        break;
    }
    if (item->is_send && item->command->checked) {
        message_doubts_seen(message_questions_doubts(questions), item->draft.sender_id, item->conv,
                            item->partition, item->offset);
    }
}

int message_publish(struct svc_batch *svc_batch, const struct message_batch *batch,
                    struct message_questions *questions, const struct message_metrics *metrics)
{
    metric_observe(metrics->batch_records, (int64_t)batch->n);
    metric_add(metrics->commits, batch->committed ? 1 : 0);
    metric_add(metrics->stored, (int64_t)batch->stored);
    for (size_t i = 0; i < batch->n; i++) {
        tell(svc_batch, &batch->items[i], questions, metrics);
    }
    message_questions_ask(questions);
    metric_set(metrics->doubts, (int64_t)message_doubts_count(message_questions_doubts(questions)));
    for (size_t i = 0; i < batch->n; i++) {
        const struct message_item *item = &batch->items[i];
        if (item->outcome == MESSAGE_STORED || item->outcome == MESSAGE_REPLAYED) {
            metric_add(metrics->replays, item->outcome == MESSAGE_REPLAYED ? 1 : 0);
            int err = send_event(svc_batch, item);
            if (err != 0) {
                return err;
            }
        }
    }
    return 0;
}
