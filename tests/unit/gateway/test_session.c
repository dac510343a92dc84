// SPDX-License-Identifier: MIT
/*
 * The protocol of one client, with a socket, a bus and services that are lists here: what goes out
 * for what comes in.
 */
#include "gateway/session.h"

#include "common/buf.h"
#include "common/err.h"
#include "common/pb.h"
#include "gateway/authn.h"
#include "gateway/commands.h"
#include "gateway/compose.h"
#include "gateway/online.h"
#include "gateway/openings.h"
#include "gateway/watch.h"
#include "gateway/ws.h"
#include "proto/presence.pb-c.h"
#include "gateway/session_change.h"
#include "tests/unit/test.h"

/* ---- What the session is given ---- */

static struct buf sent; /* the payload of each frame, one a line */
static int closed_with, frees, readies;
static struct {
    calls_reply_fn fn;
    void *arg;
    int topic;
    char method[32];
} asked;
static int next_error; /* of the next question */
static struct hub_user *opening;
static int token_err;
static struct token_claims token_claims;
static int signals;
static profiles_fn names_fn; /* somebody waits for names */
static void *names_arg;
static bool names_known, behind;

void ws_send(struct session *s, struct frame *f)
{
    if (s->closed) {
        return;
    }
    size_t head = f->data[1] < 126 ? 2 : 4;
    buf_add(&sent, f->data + head, f->len - head);
    buf_add_char(&sent, '\n');
}

void ws_send_later(struct session *s, struct frame *f)
{
    ws_send(s, f);
}

bool ws_is_behind(const struct session *s)
{
    (void)s;
    return behind;
}

void ws_ready(struct session *s)
{
    (void)s;
    readies++;
}

void ws_close(struct session *s, int code, const char *reason)
{
    (void)reason;
    s->closed = true;
    closed_with = code;
}

void ws_free(struct session *s)
{
    (void)s;
    frees++;
}

void openings_add(struct loop *loop, struct hub_user *user)
{
    (void)loop;
    user->loading = true;
    opening = user;
}

int calls_ask(struct loop *loop, const struct rpc_call *question, calls_reply_fn fn, void *arg,
              struct call **call_out)
{
    (void)loop, (void)call_out;
    asked.fn = fn;
    asked.arg = arg;
    asked.topic = question->topic;
    snprintf(asked.method, sizeof(asked.method), "%s", question->method);
    return next_error;
}

int commands_send(struct loop *loop, const struct commands_send *c, calls_reply_fn fn, void *arg,
                  struct call **call_out)
{
    (void)loop, (void)call_out;
    CHECK_INT(c->caller.user_id, 7);
    asked.fn = fn;
    asked.arg = arg;
    snprintf(asked.method, sizeof(asked.method), "send to %d",
             (int)((const Chat__Send *)c->what)->receiver_id);
    return next_error;
}

void session_edit(struct session *s, const struct pbjson_doc *content, const char *id,
                  struct arena *arena, const char *traceparent)
{
    (void)s, (void)content, (void)id, (void)arena, (void)traceparent;
    snprintf(asked.method, sizeof(asked.method), "edit");
}

void session_recall(struct session *s, const struct pbjson_doc *content, const char *id,
                    struct arena *arena, const char *traceparent)
{
    (void)s, (void)content, (void)id, (void)arena, (void)traceparent;
    snprintf(asked.method, sizeof(asked.method), "recall");
}

int commands_check(const Chat__Send *send, struct commands_problem *problem)
{
    *problem = (struct commands_problem){.detail = "where to?"};
    return send->receiver_id == 0 ? ERR_INVALID : 0;
}

struct bus_key commands_key(uint64_t a, uint64_t b, uint64_t group)
{
    return (struct bus_key){.a = group != 0 ? 0 : a, .b = group != 0 ? group : b};
}

int authn_check(struct authn *authn, const char *token, size_t len, struct token_claims *out)
{
    (void)authn, (void)token, (void)len;
    *out = token_claims;
    return token_err;
}

bool authn_is_ended(struct authn *authn, uint64_t session_id)
{
    (void)authn;
    return session_id == 666;
}

int bus_send(struct bus *bus, const struct bus_message *message, bus_ack_fn ack, void *arg)
{
    (void)bus, (void)ack, (void)arg;
    signals += message->topic == TOPIC_SIGNALS;
    return 0;
}

struct arena *loop_arena(struct loop *loop)
{
    (void)loop;
    return arena_new(0);
}

void loop_arena_done(struct loop *loop, struct arena *arena)
{
    (void)loop;
    arena_free(arena);
}

struct profile *profiles_get(struct profiles *profiles, uint64_t id)
{
    (void)profiles, (void)id;
    return NULL;
}

bool profiles_want(struct loop *loop, const uint64_t *ids, size_t n, profiles_fn fn, void *arg,
                   struct profiles_wait **wait_out)
{
    (void)loop, (void)ids, (void)n, (void)wait_out;
    names_fn = fn;
    names_arg = arg;
    return names_known;
}

struct profile *profile_new(const Chat__User *user)
{
    struct profile *p = calloc(1, sizeof(*p) + 8);
    p->id = user->id;
    memcpy(p->text, "alice", 6);
    p->username = pb_bytes(p->text, 5);
    return p;
}

void profile_release(struct profile *p)
{
    free(p);
}

bool online_has(struct online *online, uint64_t id)
{
    (void)online, (void)id;
    return false;
}

/* ---- A client ---- */

struct client {
    struct svc_settings common;
    struct gateway gw;
    struct loop loop;
    struct session s;
};

static void nobody(void *arg, uint64_t user_id, bool present)
{
    (void)arg, (void)user_id, (void)present;
}

static void client_open(struct client *c, bool v1)
{
    memset(c, 0, sizeof(*c));
    buf_clear(&sent);
    buf_add_str(&sent, "");
    closed_with = frees = readies = signals = next_error = token_err = 0;
    opening = NULL;
    names_known = true;
    behind = false;
    memset(&asked, 0, sizeof(asked));
    c->common.rate_frames = (struct config_rate){.count = 30, .seconds = 1};
    c->gw.common = &c->common;
    c->gw.interest = interest_new(nobody, NULL);
    c->gw.limits = limits_new((struct config_rate){0}, (struct config_rate){0});
    c->loop.gw = &c->gw;
    c->loop.hub = hub_new(c->gw.interest, 0);
    c->s.refs = 1;
    struct token_claims claims = {.user_id = 7, .session_id = 70, .expires_at = 1000};
    CHECK_INT(interest_socket_opened(c->gw.interest, 7, 20), 0);
    session_open(&c->s, &c->loop, &claims, v1);
}

static void client_load(struct client *c)
{
    Chat__User user = CHAT__USER__INIT;
    user.id = 7;
    opening->profile = profile_new(&user);
    hub_set_member(c->loop.hub, 7, 5, true, 1);
    hub_loaded(c->loop.hub, opening);
    session_opened(opening);
}

static void client_close(struct client *c)
{
    session_close(&c->s);
    session_release(&c->s);
    CHECK_INT(frees, 1);
    hub_free(c->loop.hub);
    interest_free(c->gw.interest);
    limits_free(c->gw.limits);
    map_done(&c->loop.watched);
    buf_done(&sent);
}

static void say(struct client *c, const char *text)
{
    buf_clear(&sent);
    buf_add_str(&sent, "");
    session_receive(&c->s, text, strlen(text));
}

static bool got(const char *part)
{
    bool yes = sent.data != NULL && strstr(sent.data, part) != NULL;
    if (!yes) {
        printf("sent was: %s\n", sent.data != NULL ? sent.data : "");
    }
    return yes;
}

static int lines(void)
{
    int n = 0;
    for (size_t i = 0; i < sent.len; i++) {
        n += sent.data[i] == '\n';
    }
    return n;
}

static void reply(int err, const void *body)
{
    struct arena *arena = arena_new(0);
    struct rpc_reply r = {.err = err, .detail = err != 0 ? "no" : ""};
    r.body = body != NULL ? pb_pack(body, arena, &r.len) : NULL;
    asked.fn(asked.arg, &r);
    arena_free(arena);
}

/* ---- Tests ---- */

TEST(hello_comes_first_and_lets_frames_in)
{
    struct client c;
    client_open(&c, true);
    CHECK(opening != NULL);
    CHECK_INT(lines(), 0);
    CHECK_INT(readies, 0);
    struct frame *f = frame_new(WSFRAME_TEXT, "event", 5);
    CHECK(!session_push(&c.s, f, NULL)); /* nothing before hello */
    client_load(&c);
    CHECK(got("{\"type\":\"hello\",\"content\":{\"user_id\":7,\"session_id\":70,"));
    CHECK_INT(readies, 1);
    CHECK(session_push(&c.s, f, NULL));
    CHECK(got("event"));
    frame_release(f);
    client_close(&c);
}

TEST(a_second_session_of_a_known_user_needs_no_question)
{
    struct client c;
    client_open(&c, true);
    client_load(&c);
    opening = NULL;
    struct session second = {.refs = 1};
    struct token_claims claims = {.user_id = 7, .session_id = 71, .expires_at = 1000};
    CHECK_INT(interest_socket_opened(c.gw.interest, 7, 20), 0);
    session_open(&second, &c.loop, &claims, true);
    CHECK(opening == NULL && second.ready);
    session_close(&second);
    session_release(&second);
    frees = 0;
    client_close(&c);
}

TEST(an_ended_session_is_sent_away)
{
    struct client c;
    client_open(&c, true);
    client_load(&c);
    struct session second = {.refs = 1};
    struct token_claims claims = {.user_id = 7, .session_id = 666, .expires_at = 1000};
    CHECK_INT(interest_socket_opened(c.gw.interest, 7, 20), 0);
    session_open(&second, &c.loop, &claims, true);
    CHECK_INT(closed_with, WSCLOSE_SESSION_ENDED);
    session_close(&second);
    session_release(&second);
    frees = 0;
    client_close(&c);
}

TEST(without_groups_no_socket)
{
    struct client c;
    client_open(&c, true);
    session_refused(opening);
    CHECK_INT(closed_with, WSCLOSE_AGAIN_LATER);
    client_close(&c);
}

TEST(frames_that_are_wrong_get_errors)
{
    struct client c;
    client_open(&c, true);
    client_load(&c);
    static const struct {
        const char *frame, *answer;
    } cases[] = {
        {"{nope", "\"code\":\"bad_json\""},
        {"[]", "\"code\":\"bad_json\""},
        {"{\"id\":1}", "\"code\":\"invalid\""},
        {"{\"type\":5,\"id\":1}", "\"id\":1}"},
        {"{\"type\":\"nope\",\"id\":\"a\"}", "\"id\":\"a\"}"},
        {"{\"type\":\"chat_message\",\"id\":2}", "\"code\":\"invalid\""},
        {"{\"type\":\"chat_message\",\"content\":\"x\",\"id\":2}", "\"id\":2}"},
        {"{\"type\":\"chat_message\",\"content\":{\"receiver_id\":\"x\"},\"id\":2}",
         "\"field\":\"receiver_id\""},
        {"{\"type\":\"chat_message\",\"content\":{},\"id\":{\"a\":[1]}}", "\"id\":{\"a\":[1]}}"},
        {"{\"type\":\"typing\",\"content\":{},\"id\":3}", "\"field\":\"receiver_id\""},
        {"{\"type\":\"typing\",\"content\":{\"group_id\":6},\"id\":3}", "\"code\":\"forbidden\""},
        {"{\"type\":\"sync\",\"content\":{},\"id\":3}", "\"field\":\"conversations\""},
        {"{\"type\":\"sync\",\"content\":{\"conversations\":{\"x:1\":0}},\"id\":3}", "\"invalid\""},
        {"{\"type\":\"sync\",\"content\":{\"conversations\":{\"u:0\":0}},\"id\":3}", "\"invalid\""},
        {"{\"type\":\"sync\",\"content\":{\"conversations\":{\"u:1\":\"0\"}},\"id\":3}",
         "\"invalid\""},
        {"{\"type\":\"presence\",\"content\":{\"user_ids\":5},\"id\":4}", "\"field\":\"user_ids\""},
        {"{\"type\":\"presence\",\"content\":{\"user_ids\":[3,0]},\"id\":4}",
         "\"field\":\"user_ids\""},
        {"{\"type\":\"auth\",\"content\":{},\"id\":5}", "\"field\":\"token\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        say(&c, cases[i].frame);
        CHECK_INT(lines(), 1);
        CHECK(got("{\"type\":\"error\""));
        CHECK(got(cases[i].answer));
    }
    CHECK_INT(closed_with, 0);
    client_close(&c);
}

TEST(a_message_is_acked_when_it_is_stored)
{
    struct client c;
    client_open(&c, true);
    client_load(&c);
    say(&c, "{\"type\":\"chat_message\",\"content\":{\"receiver_id\":9},\"id\":\"m\"}");
    CHECK_INT(lines(), 0);
    CHECK_STR(asked.method, "send to 9");
    Chat__Message message = CHAT__MESSAGE__INIT;
    message.id = 11;
    message.seq = 3;
    message.created_at = 1000;
    Chat__SendReply stored = CHAT__SEND_REPLY__INIT;
    stored.message = &message;
    reply(0, &stored);
    CHECK_INT(lines(), 1);
    CHECK(got("{\"type\":\"ack\",\"content\":{\"message_id\":11,\"seq\":3,\"created_at\":"
              "\"1970-01-01T00:00:01.000Z\"},"));
    CHECK(got("\"id\":\"m\"}"));

    say(&c, "{\"type\":\"chat_message\",\"content\":{\"receiver_id\":9},\"id\":1}");
    reply(ERR_FORBIDDEN, NULL);
    CHECK_INT(lines(), 1);
    CHECK(got("\"code\":\"forbidden\",\"detail\":\"no\""));

    say(&c, "{\"type\":\"chat_message\",\"content\":{\"receiver_id\":9}}"); /* no id, no ack */
    reply(0, &stored);
    CHECK_INT(lines(), 0);

    next_error = ERR_UNAVAILABLE;
    say(&c, "{\"type\":\"chat_message\",\"content\":{\"receiver_id\":9},\"id\":1}");
    CHECK_INT(lines(), 1);
    CHECK(got("\"code\":\"unavailable\""));
    client_close(&c);
}

TEST(an_answer_may_come_after_the_end)
{
    struct client c;
    client_open(&c, true);
    client_load(&c);
    say(&c, "{\"type\":\"chat_message\",\"content\":{\"receiver_id\":9},\"id\":1}");
    session_close(&c.s);
    session_release(&c.s);
    CHECK_INT(frees, 0); /* the answer is still awaited */
    reply(ERR_TIMEOUT, NULL);
    CHECK_INT(frees, 1);
    CHECK_INT(lines(), 0);
    hub_free(c.loop.hub);
    interest_free(c.gw.interest);
    limits_free(c.gw.limits);
    buf_done(&sent);
}

TEST(ping_typing_and_auth)
{
    struct client c;
    client_open(&c, true);
    client_load(&c);
    say(&c, "{\"type\":\"ping\",\"id\":1}");
    CHECK(got("{\"type\":\"pong\",\"content\":{},"));
    clock_freeze(clock_now_ms(), 5000000);
    for (int i = 0; i < 3; i++) { /* one a second is told, every one is acked */
        say(&c, "{\"type\":\"typing\",\"content\":{\"group_id\":5},\"id\":2}");
        CHECK(got("{\"type\":\"ack\""));
    }
    CHECK_INT(signals, 1);
    say(&c, "{\"type\":\"typing\",\"content\":{\"receiver_id\":5},\"id\":2}");
    CHECK_INT(signals, 2);
    clock_unfreeze();
    token_claims = (struct token_claims){.user_id = 8, .session_id = 80, .expires_at = 5000};
    say(&c, "{\"type\":\"auth\",\"content\":{\"token\":\"t\"},\"id\":2}");
    CHECK(got("\"code\":\"forbidden\""));
    token_err = ERR_TOKEN_EXPIRED;
    say(&c, "{\"type\":\"auth\",\"content\":{\"token\":\"t\"},\"id\":2}");
    CHECK(got("\"code\":\"token_expired\""));
    CHECK_INT(c.s.expires_at_s, 1000);
    token_err = 0;
    token_claims.user_id = 7;
    say(&c, "{\"type\":\"auth\",\"content\":{\"token\":\"t\"},\"id\":2}");
    CHECK(got("{\"type\":\"ack\""));
    CHECK_INT(c.s.expires_at_s, 5000);
    CHECK_INT(c.s.session_id, 80);
    client_close(&c);
}

TEST(sync_sends_the_messages_before_the_ack)
{
    struct client c;
    client_open(&c, false);
    client_load(&c);
    say(&c, "{\"type\":\"sync\",\"content\":{\"conversations\":{\"u:3\":5,\"g:5\":"
            "{\"seq\":1,\"rev\":2}}},\"id\":9}");
    CHECK_STR(asked.method, "Sync");
    Chat__Message m = CHAT__MESSAGE__INIT;
    m.id = 21;
    m.sender_id = 3;
    Chat__Message *list[] = {&m};
    Chat__SyncReply r = CHAT__SYNC_REPLY__INIT;
    r.messages = list;
    r.n_messages = 1;
    r.complete = true;
    reply(0, &r);
    CHECK_INT(lines(), 2);
    CHECK(got("{\"id\":21,"));
    CHECK(got("\n{\"type\":\"ack\",\"content\":{\"complete\":true},"));
    client_close(&c);
}

TEST(one_long_answer_at_a_time)
{
    struct client c;
    client_open(&c, true);
    client_load(&c);
    behind = true;
    say(&c, "{\"type\":\"sync\",\"content\":{\"conversations\":{\"u:3\":5}},\"id\":9}");
    CHECK(got("\"code\":\"rate_limited\""));
    CHECK(asked.fn == NULL);
    client_close(&c);
}

TEST(sync_does_without_names_that_nobody_can_tell)
{
    struct client c;
    client_open(&c, true);
    client_load(&c);
    names_known = false;
    say(&c, "{\"type\":\"sync\",\"content\":{\"conversations\":{\"u:3\":5}},\"id\":9}");
    Chat__Message m = CHAT__MESSAGE__INIT;
    m.id = 21;
    m.sender_id = 3;
    Chat__Message *list[] = {&m};
    Chat__SyncReply r = CHAT__SYNC_REPLY__INIT;
    r.messages = list;
    r.n_messages = 1;
    reply(0, &r);
    CHECK_INT(lines(), 0);
    names_fn(names_arg, ERR_UNAVAILABLE);
    CHECK_INT(lines(), 2);
    CHECK(got("\"sender\":{\"id\":3,\"username\":\"\""));
    CHECK(got("{\"type\":\"ack\""));
    client_close(&c);
}

TEST(presence_is_asked_and_followed)
{
    struct client c;
    client_open(&c, true);
    client_load(&c);
    say(&c, "{\"type\":\"presence\",\"content\":{\"user_ids\":[3,4,3]},\"id\":9}");
    CHECK_STR(asked.method, "GetPresence");
    CHECK(watch_has(&c.s, 3) && watch_has(&c.s, 4) && !watch_has(&c.s, 5));
    CHECK_INT(interest_of(c.gw.interest, 3, INTEREST_WATCHED), 1);
    Chat__UserStatus on = CHAT__USER_STATUS__INIT;
    on.user_id = 3;
    on.online = true;
    Chat__UserStatus *list[] = {&on};
    Chat__GetPresenceReply r = CHAT__GET_PRESENCE_REPLY__INIT;
    r.users = list;
    r.n_users = 1;
    reply(0, &r);
    CHECK(got("{\"users\":[{\"user_id\":3,\"status\":\"online\",\"last_seen_at\":null}]}"));
    struct interest *in = c.gw.interest;
    session_close(&c.s);
    CHECK_INT(interest_of(in, 3, INTEREST_WATCHED), 0);
    session_release(&c.s);
    hub_free(c.loop.hub);
    interest_free(in);
    limits_free(c.gw.limits);
    map_done(&c.loop.watched);
    buf_done(&sent);
}

TEST(who_may_not_ask_follows_nobody)
{
    struct client c;
    client_open(&c, true);
    client_load(&c);
    limits_free(c.gw.limits);
    c.gw.limits = limits_new((struct config_rate){0}, (struct config_rate){1, 60});
    say(&c, "{\"type\":\"presence\",\"content\":{\"user_ids\":[3]},\"id\":1}");
    Chat__GetPresenceReply nobody_known = CHAT__GET_PRESENCE_REPLY__INIT;
    reply(0, &nobody_known);
    say(&c, "{\"type\":\"presence\",\"content\":{\"user_ids\":[4]},\"id\":2}");
    CHECK(got("\"code\":\"rate_limited\""));
    CHECK(watch_has(&c.s, 3) && !watch_has(&c.s, 4));
    client_close(&c);
}

/* (0, 1) is what group 1 is known by. */
TEST(following_touches_no_group)
{
    struct client c;
    client_open(&c, true);
    client_load(&c);
    interest_add(c.gw.interest, 0, 1, 0);
    say(&c, "{\"type\":\"presence\",\"content\":{\"user_ids\":[0]},\"id\":1}");
    CHECK(got("\"code\":\"invalid\""));
    const uint64_t zero = 0;
    CHECK(watch_add(&c.s, &zero, 1));
    watch_drop(&c.s);
    CHECK_INT(interest_of(c.gw.interest, 0, 1), 1);
    client_close(&c);
}
