// SPDX-License-Identifier: MIT
/* Edit and recall frames: first where the message is, then the command, then the ack. */
#include "gateway/session_change.h"

#include "common/err.h"
#include "gateway/commands.h"
#include "gateway/hub.h"
#include "gateway/session_sync.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static struct {
    calls_reply_fn fn;
    void *arg;
} waiting;
static char said[200]; /* what happened, in order */
static int next_err;   /* of the next question or command */
static bool allowed;
static struct profile profile = {.id = 7, .username = {3, (uint8_t *)"eve"}};
static struct hub_user user = {.id = 7, .profile = &profile};

static void note(const char *what)
{
    snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s;", what);
}

bool session_may_ask(struct session *s, const char *id)
{
    (void)s, (void)id;
    return allowed;
}

struct rpc_caller session_caller(const struct session *s)
{
    return (struct rpc_caller){.user_id = s->hub.user->id};
}

struct asked *session_asked(struct session *s, const char *id)
{
    struct asked *a = calloc(1, sizeof(*a));
    a->session = s;
    a->id = id;
    s->refs++;
    return a;
}

void session_answered(struct asked *a)
{
    a->session->refs--;
    free(a);
}

void session_ack(struct session *s, const char *id, const char *content, size_t len)
{
    (void)s, (void)id, (void)len;
    CHECK_STR(content, "{}");
    note("ack");
}

void session_error(struct session *s, const char *id, int err, const char *detail,
                   const struct rpc_field_error *errors, size_t error_count)
{
    (void)s, (void)id, (void)detail, (void)errors, (void)error_count;
    note(err_code(err));
}

void session_fail_reply(struct session *s, const char *id, const struct rpc_reply *reply)
{
    session_error(s, id, reply->err, NULL, NULL, 0);
}

bool session_fill(struct session *s, const struct pbjson_doc *content, void *message,
                  const char *id, struct arena *arena)
{
    struct pbjson_problem problem;
    (void)s, (void)id;
    return pbjson_fill(content, message, arena, &problem) == 0;
}

const char *commands_check_content(ProtobufCBinaryData content)
{
    return content.len > 1 ? "too long" : NULL;
}

int commands_find(struct loop *loop, const struct rpc_caller *caller, uint64_t message_id,
                  const char *traceparent, const char *request_id, calls_reply_fn fn, void *arg,
                  struct call **call_out)
{
    (void)loop, (void)traceparent, (void)request_id, (void)call_out;
    CHECK_INT(caller->user_id, 7);
    CHECK_INT(message_id, 9);
    waiting.fn = fn;
    waiting.arg = arg;
    note("find");
    return next_err;
}

int commands_found(const struct rpc_reply *reply, uint64_t user_id, struct bus_key *key_out,
                   uint64_t *seq_out)
{
    (void)reply, (void)user_id;
    *key_out = (struct bus_key){.a = 0, .b = 5};
    *seq_out = 3;
    return 0;
}

int commands_send(struct loop *loop, const struct commands_send *c, calls_reply_fn fn, void *arg,
                  struct call **call_out)
{
    (void)loop, (void)call_out;
    waiting.fn = fn;
    waiting.arg = arg;
    CHECK_INT(c->key.b, 5);
    if (c->op == CHAT__COMMAND__OP_EDIT) {
        const Chat__Edit *edit = c->what;
        CHECK(edit->message_id == 9 && edit->seq == 3 && edit->content.len == 1);
        note("edit");
    } else {
        const Chat__Recall *recall = c->what;
        CHECK(recall->message_id == 9 && recall->seq == 3);
        note("recall");
    }
    return next_err;
}

static void say(struct session *s, bool edit)
{
    static const char text[] = "{\"message_id\":9,\"content\":\"x\"}";
    struct arena *arena = arena_new(0);
    struct pbjson_problem problem;
    struct pbjson_doc *doc = NULL;
    CHECK_INT(pbjson_parse(text, strlen(text), arena, &doc, &problem), 0);
    said[0] = '\0';
    (edit ? session_edit : session_recall)(s, doc, "1", arena, "");
    pbjson_free(doc);
    arena_free(arena); /* the change has memory of its own */
}

static void reply(int err)
{
    struct rpc_reply r = {.err = err};
    waiting.fn(waiting.arg, &r);
}

static struct session session_new(void)
{
    allowed = true;
    next_err = 0;
    return (struct session){.hub = {.user = &user}, .refs = 1};
}

static void check_end(const struct session *s, const char *expected)
{
    CHECK_STR(said, expected);
    CHECK_INT(s->asking, 0);
    CHECK_INT(s->refs, 1);
}

TEST(found_sent_and_acked)
{
    struct session s = session_new();
    for (int edit = 0; edit < 2; edit++) {
        say(&s, edit);
        CHECK_INT(s.asking, 1);
        reply(0);
        CHECK_INT(s.asking, 1);
        reply(0);
        check_end(&s, edit ? "find;edit;ack;" : "find;recall;ack;");
    }
}

TEST(every_step_may_fail)
{
    struct session s = session_new();
    next_err = ERR_UNAVAILABLE;
    say(&s, true);
    check_end(&s, "find;unavailable;");
    next_err = 0;
    say(&s, true);
    reply(ERR_NOT_FOUND);
    check_end(&s, "find;not_found;");
    say(&s, true);
    next_err = ERR_UNAVAILABLE;
    reply(0);
    check_end(&s, "find;edit;unavailable;");
    next_err = 0;
    say(&s, false);
    reply(0);
    reply(ERR_FORBIDDEN);
    check_end(&s, "find;recall;forbidden;");
    allowed = false;
    say(&s, true);
    check_end(&s, "");
}

TEST(what_has_gone_sends_nothing)
{
    struct session s = session_new();
    say(&s, true);
    s.closed = true;
    reply(0);
    check_end(&s, "find;unavailable;");
}
