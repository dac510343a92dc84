// SPDX-License-Identifier: MIT
/*
 * message-svc with auth-svc and group-svc in one process, on the in-process bus, and a driver in
 * the gateway's place: a send's way from the command to the event or the refusal, doubts that are
 * asked about, the readers. Then a burst, whose figures are printed and not judged.
 */
#include "auth-svc/service.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/pb.h"
#include "common/svc.h"
#include "group-svc/service.h"
#include "message-svc/service.h"
#include "proto/auth.pb-c.h"
#include "proto/group.pb-c.h"
#include "proto/message.pb-c.h"
#include "tests/unit/test.h"

#include <unistd.h>

enum { BURST = 20000, WINDOW = 2000 };

static struct {
    struct svc_ctx *ctx;
    struct bus_consumer *reader;
    struct arena *arena;
    uint64_t alice, bob, group;
    size_t step, open; /* steps of the play; calls of the step that are not answered */
    uint64_t last_offset[64];
    uint64_t seqs[8]; /* of the step's sends, in the order of their events */
    size_t events;
    int errs[8]; /* of the step's sends, in the order of sending */
    bool repeated;
    char field[32];
    size_t sent, acked; /* of the burst */
    int64_t started_us;
    uint64_t client_id;
    bool over;
} play;

static void next_step(void);

static void close_one(void)
{
    if (--play.open == 0) {
        play.step++;
        next_step();
    }
}

/* ---- Asking ---- */

static void on_id(void *arg, const struct rpc_reply *reply)
{
    CHECK_INT(reply->err, 0);
    struct arena *arena = arena_new(0);
    if (arg == &play.group) {
        const Chat__GroupReply *made =
            pb_unpack(&chat__group_reply__descriptor, arena, reply->body, reply->len);
        play.group = made->group->id;
    } else {
        const Chat__Grant *grant =
            pb_unpack(&chat__grant__descriptor, arena, reply->body, reply->len);
        *(uint64_t *)arg = grant->user->id;
    }
    arena_free(arena);
    close_one();
}

static void ask(enum topic topic, const char *method, uint64_t user, const void *input,
                rpc_reply_fn fn, void *arg)
{
    struct rpc_caller caller = {.user_id = user, .username = "", .address = "", .device = ""};
    play.open++;
    CHECK_INT(rpc_call(svc_rpc(play.ctx),
                       &(struct rpc_call){.topic = topic,
                                          .method = method,
                                          .key = play.open,
                                          .caller = &caller,
                                          .input = input},
                       fn, arg),
              0);
}

static void sign_up(const char *name, uint64_t *id)
{
    Chat__SignUpRequest request = CHAT__SIGN_UP_REQUEST__INIT;
    request.username = pb_str(name);
    request.password = pb_str("correct horse");
    ask(TOPIC_RPC_AUTH, "SignUp", 0, &request, on_id, id);
}

/* ---- Sending ---- */

struct send {
    uint64_t from, to, group;
    const char *client_id;
};

static void command(struct send s, uint64_t call, const char *client_id)
{
    Chat__Command c = CHAT__COMMAND__INIT;
    Chat__Caller caller = CHAT__CALLER__INIT;
    Chat__Send send = CHAT__SEND__INIT;
    struct message_conv conv = s.group != 0 ? message_conv_group(s.group)
                                            : message_conv_private(s.from, s.to);
    size_t len;
    caller.user_id = s.from;
    send.content = pb_str("hello");
    send.type = pb_str("text");
    send.client_id = pb_str(client_id);
    send.receiver_id = s.to;
    send.group_id = s.group;
    c.id = call;
    c.reply_to = pb_str(rpc_client_name(svc_rpc(play.ctx)));
    c.caller = &caller;
    c.deadline_at = clock_now_ms() + 5000;
    c.op_case = CHAT__COMMAND__OP_SEND;
    c.send = &send;
    const uint8_t *value = pb_pack(&c, play.arena, &len);
    CHECK_INT(bus_send(svc_bus(play.ctx),
                       &(struct bus_message){.topic = TOPIC_COMMANDS,
                                             .key = {conv.a, conv.b},
                                             .partition = -1,
                                             .value = value,
                                             .len = len,
                                             .request_id = "r-9"},
                       NULL, NULL),
              0);
}

static void on_sent(void *arg, const struct rpc_reply *reply)
{
    *(int *)arg = reply->err;
    if (reply->error_count > 0) {
        snprintf(play.field, sizeof(play.field), "%s", reply->errors[0].field);
    }
    if (reply->err == 0 && reply->body != NULL) { /* not the event: a repeated one */
        struct arena *arena = arena_new(0);
        const Chat__SendReply *again =
            pb_unpack(&chat__send_reply__descriptor, arena, reply->body, reply->len);
        play.repeated = again != NULL && again->repeated_send && again->message->seq == 1;
        arena_free(arena);
    }
    close_one();
}

static void send_all(const struct send *sends, size_t n)
{
    play.events = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t call = 0;
        char made[24];
        snprintf(made, sizeof(made), "made-%" PRIu64, ++play.client_id);
        play.open++;
        CHECK_INT(rpc_expect(svc_rpc(play.ctx), 5000, on_sent, &play.errs[i], &call), 0);
        command(sends[i], call, sends[i].client_id != NULL ? sends[i].client_id : made);
    }
    arena_reset(play.arena);
}

/* ---- The burst ---- */

static void burst_more(void)
{
    char client_id[24];
    while (play.sent < BURST && play.sent - play.acked < WINDOW) {
        snprintf(client_id, sizeof(client_id), "burst-%zu", play.sent);
        uint64_t other = play.alice;
        struct send s = {.from = play.alice, .to = other};
        if (play.sent % 2 == 0) {
            s = (struct send){.from = play.alice, .group = play.group};
        }
        command(s, UINT64_MAX, client_id);
        play.sent++;
    }
    arena_reset(play.arena);
}

static void burst_acked(void)
{
    if (++play.acked < BURST) {
        if (play.acked % 100 == 0) {
            burst_more();
        }
        return;
    }
    double seconds = (double)(clock_mono_us() - play.started_us) / 1e6;
    printf("%d sends in %.2f s: %.0f a second\n", BURST, seconds, BURST / seconds);
    play.over = true;
    svc_shutdown(play.ctx, 0);
}

/* ---- Events ---- */

static void on_event(void *arg, struct bus_record *record)
{
    (void)arg;
    struct arena *arena = arena_new(0);
    const Chat__MessageEvent *event =
        pb_unpack(&chat__message_event__descriptor, arena, record->value, record->len);
    if (!CHECK(event != NULL && event->what_case == CHAT__MESSAGE_EVENT__WHAT_STORED)) {
        arena_free(arena);
        return;
    }
    CHECK_STR(record->request_id, "r-9");
    CHECK(event->command_offset + 1 > play.last_offset[record->partition]);
    play.last_offset[record->partition] = event->command_offset + 1;
    if (play.events < 8) {
        play.seqs[play.events] = event->stored->seq;
    }
    play.events++;
    if (event->call_id == UINT64_MAX) {
        burst_acked();
    } else {
        rpc_resolve(svc_rpc(play.ctx), event->call_id, &(struct rpc_reply){.detail = ""});
    }
    arena_free(arena);
}

/* ---- The play ---- */

static void on_page(void *arg, const struct rpc_reply *reply)
{
    (void)arg;
    struct arena *arena = arena_new(0);
    CHECK_INT(reply->err, 0);
    const Chat__MessageList *page =
        pb_unpack(&chat__message_list__descriptor, arena, reply->body, reply->len);
    CHECK(page != NULL && page->n_messages == 3 && page->last_seq == 3 && !page->has_more);
    arena_free(arena);
    close_one();
}

static void on_err(void *arg, const struct rpc_reply *reply)
{
    *(int *)arg = reply->err;
    close_one();
}

static void list_group(void)
{
    Chat__ListMessagesRequest request = CHAT__LIST_MESSAGES_REQUEST__INIT;
    request.type = CHAT__KIND__TYPE__GROUP;
    request.target_id = play.group;
    ask(TOPIC_RPC_MESSAGE, "ListMessages", play.alice, &request, on_page, NULL);
    ask(TOPIC_RPC_MESSAGE, "ListMessages", play.bob, &request, on_err, &play.errs[0]);
    request.target_id = 123456;
    ask(TOPIC_RPC_MESSAGE, "ListMessages", play.alice, &request, on_err, &play.errs[1]);
}

static void create_group(void)
{
    Chat__CreateGroupRequest request = CHAT__CREATE_GROUP_REQUEST__INIT;
    request.name = pb_str("Friends");
    request.request_key = pb_str("k");
    ask(TOPIC_RPC_GROUP, "CreateGroup", play.alice, &request, on_id, &play.group);
}

static void check_sent(size_t n, const int *errs)
{
    for (size_t i = 0; i < n; i++) {
        CHECK_INT(play.errs[i], errs[i]);
    }
}

static void next_step(void)
{
    const uint64_t a = play.alice, b = play.bob, g = play.group;
    switch (play.step) {
    case 0:
        sign_up("flow_a", &play.alice);
        sign_up("flow_b", &play.bob);
        break;
    case 1: /* the receivers have to be asked about; one does not exist */
        send_all((struct send[]){{.from = a, .to = b, .client_id = "first"},
                                 {.from = a, .to = b},
                                 {.from = a, .to = 404404},
                                 {.from = a, .group = 505505}},
                 4);
        break;
    case 2:
        check_sent(4, (int[]){0, 0, ERR_INVALID, ERR_NOT_FOUND});
        CHECK_STR(play.field, "receiver_id");
        CHECK(play.seqs[0] == 1 && play.seqs[1] == 2);
        send_all((struct send[]){{.from = a, .to = b, .client_id = "first"}, {.from = b, .to = a}},
                 2);
        break;
    case 3:
        check_sent(2, (int[]){0, 0});
        CHECK(play.repeated);
        CHECK(play.events == 1 && play.seqs[0] == 3);
        create_group();
        break;
    case 4: /* at once, whether the copy has it or not */
        send_all((struct send[]){{.from = a, .group = g},
                                 {.from = a, .group = g},
                                 {.from = b, .group = g},
                                 {.from = a, .group = g}},
                 4);
        break;
    case 5:
        check_sent(4, (int[]){0, 0, ERR_NOT_FOUND, 0});
        CHECK(play.seqs[0] == 1 && play.seqs[1] == 2 && play.seqs[2] == 3);
        list_group();
        break;
    case 6:
        check_sent(2, (int[]){ERR_NOT_FOUND, ERR_NOT_FOUND});
        play.started_us = clock_mono_us();
        burst_more();
        break;
    default:
        CHECK(false);
    }
}

static void driver_announce(struct svc_ctx *ctx)
{
    static const struct bus_consumer_ops ops = {.on_record = on_event};
    static const enum topic topics[] = {TOPIC_EVENTS_MESSAGE};
    play.ctx = ctx;
    play.arena = arena_new(1 << 16);
    CHECK_INT(bus_read(svc_bus(ctx), topics, 1, BUS_FROM_FIRST, &ops, NULL, &play.reader), 0);
    next_step();
}

static void on_reader_left(void *arg)
{
    svc_stopped(arg);
}

static void driver_stop(struct svc_ctx *ctx)
{
    bus_consumer_leave(play.reader, on_reader_left, ctx);
}

static const struct svc driver = {
    .name = "driver", .about = "asks", .announce = driver_announce, .stop = driver_stop};

TEST(sends_on_their_way)
{
    setenv("DATA_DIR", ":memory:", 0);
    setenv("ADMIN_PORT", "0", 1);
    setenv("LOG_LEVEL", "warn", 0);
    char name[] = "test_message_flow", *argv[] = {name, NULL};
    int status = svc_main(
        1, argv, (const struct svc *const[]){&auth_svc, &group_svc, &message_svc, &driver}, 4);
    CHECK_INT(status, 0);
    CHECK(play.over);
    arena_free(play.arena);
}
