// SPDX-License-Identifier: MIT
/*
 * Sync: what a client missed in many conversations, in three statements: memberships, last seqs,
 * messages. Since seq is dense, the places of the missed messages are known before they are read;
 * those of changed ones are asked for, in conversations with changes that the client has not.
 * Conversations that the caller is not (or no more) in are left out.
 */
#include "message-svc/handlers.h"

#include "message-svc/access.h"
#include "message-svc/object.h"
#include "message-svc/page.h"
#include "message-svc/questions.h"
#include "message-svc/store.h"
#include "proto/message.pb-c.h"

#include "common/map.h"

#include <stdlib.h>

#define CONVERSATIONS_MAX 200
#define MESSAGES_MAX 300

struct asked { /* one conversation of the request */
    struct message_conv conv;
    uint64_t seq;   /* the last one the client has */
    uint64_t first; /* the first one the caller may see; 0: none */
    uint64_t last;
    bool rev_given;
    uint64_t rev, last_rev; /* the last change that the client has; that there is */
};

static int read_request(struct rpc_request *rq, const Chat__SyncRequest *request,
                        struct asked *asked)
{
    if (request->n_of > CONVERSATIONS_MAX) {
        return rpc_invalid(rq, "conversations", "are more than %d", CONVERSATIONS_MAX);
    }
    for (size_t i = 0; i < request->n_of; i++) {
        const Chat__SyncRequest__Of *of = request->of[i];
        int err = message_access_conv(rq, (int)of->type, of->target_id, &asked[i].conv);
        if (err != 0) {
            return err;
        }
        asked[i].seq = of->seq;
        asked[i].rev_given = of->rev_given;
        asked[i].rev = of->rev;
        asked[i].first = message_conv_is_group(asked[i].conv) ? 0 : 1;
    }
    return 0;
}

static int read_memberships(struct rpc_request *rq, struct asked *asked, size_t n)
{
    struct message_pair *pairs = arena_array(rq->arena, n, sizeof(*pairs));
    struct message_members rows = {0};
    struct map groups;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (message_conv_is_group(asked[i].conv)) {
            pairs[count++] = (struct message_pair){asked[i].conv.b, rq->caller.user_id};
        }
    }
    int err = count == 0 ? 0 : message_store_members(rq->db, rq->arena, pairs, count, &rows);
    map_init(&groups);
    for (size_t i = 0; i < rows.n; i++) {
        map_put(&groups, rows.at[i].group_id, 0, &rows.at[i]);
    }
    for (size_t i = 0; i < n && err == 0; i++) {
        if (message_conv_is_group(asked[i].conv)) {
            const struct message_member *member = map_get(&groups, asked[i].conv.b, 0);
            asked[i].first = member != NULL && member->active ? member->from_seq : 0;
        }
    }
    map_done(&groups);
    return err;
}

/* The groups that the copy says no to, once more after group-svc was asked. false in sure_out:
 * it did not answer. */
static int check_outsiders(struct rpc_request *rq, struct asked *asked, size_t n, bool *sure_out)
{
    uint64_t *groups = arena_array(rq->arena, n, sizeof(*groups));
    bool *unused = arena_array(rq->arena, n, sizeof(*unused));
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (asked[i].first == 0) {
            groups[count++] = asked[i].conv.b;
        }
    }
    *sure_out = count == 0 || message_questions_check(rq, groups, count, unused) == 0;
    return count > 0 && *sure_out ? read_memberships(rq, asked, n) : 0;
}

static int read_last_seqs(struct rpc_request *rq, struct asked *asked, size_t n)
{
    struct message_conv *convs = arena_array(rq->arena, n, sizeof(*convs));
    struct message_conversations rows = {0};
    struct map found;
    for (size_t i = 0; i < n; i++) {
        convs[i] = asked[i].conv;
    }
    int err = n == 0 ? 0 : message_store_conversations(rq->db, rq->arena, convs, n, &rows);
    map_init(&found);
    for (size_t i = 0; i < rows.n; i++) {
        map_put(&found, rows.at[i].conv.a, rows.at[i].conv.b, &rows.at[i]);
    }
    for (size_t i = 0; i < n; i++) {
        const struct message_conversation *c = map_get(&found, asked[i].conv.a, asked[i].conv.b);
        asked[i].last = c == NULL || asked[i].first == 0 ? 0 : c->last_seq;
        asked[i].last_rev = c == NULL ? 0 : c->last_rev;
    }
    map_done(&found);
    return err;
}

struct places { /* of the messages that the reply holds */
    struct message_place *at;
    size_t n;
    bool complete; /* false: there are more than fit */
};

static void add_place(struct places *p, struct message_conv conv, uint64_t seq)
{
    if (p->n == MESSAGES_MAX) {
        p->complete = false;
    } else {
        p->at[p->n++] = (struct message_place){conv, seq};
    }
}

/* Those that the client has, in another form. Costs a statement where there are any. */
static int add_changed(struct rpc_request *rq, const struct asked *a, struct places *p)
{
    uint64_t *seqs, hi = a->seq < a->last ? a->seq : a->last;
    size_t n = 0;
    if (!a->rev_given || a->last_rev <= a->rev || a->first == 0) {
        return 0;
    }
    int err = message_store_changed(rq->db, rq->arena, a->conv, a->rev, a->first, hi,
                                    MESSAGES_MAX + 1, &seqs, &n);
    for (size_t i = 0; i < n && err == 0; i++) {
        add_place(p, a->conv, seqs[i]);
    }
    return err;
}

static void add_missed(const struct asked *a, struct places *p)
{
    uint64_t seq = a->seq < a->first ? a->first : a->seq < a->last ? a->seq + 1 : UINT64_MAX;
    for (; a->last > 0 && seq <= a->last && p->complete; seq++) {
        add_place(p, a->conv, seq);
    }
}

static int compare(const void *left, const void *right)
{
    const struct message_row *x = left, *y = right;
    const uint64_t xs[] = {x->conv.a, x->conv.b, x->seq}, ys[] = {y->conv.a, y->conv.b, y->seq};
    for (size_t i = 0; i < 3; i++) {
        if (xs[i] != ys[i]) {
            return xs[i] < ys[i] ? -1 : 1;
        }
    }
    return 0;
}

static void fill(struct rpc_request *rq, Chat__SyncReply *reply, struct message_rows *rows,
                 const struct message_place *places, size_t n)
{
    size_t bytes = 0;
    reply->messages = arena_array(rq->arena, n, sizeof(*reply->messages));
    if (rows->n == 0) {
        return;
    }
    qsort(rows->at, rows->n, sizeof(*rows->at), compare);
    for (size_t i = 0; i < n; i++) {
        const struct message_row wanted = {.conv = places[i].conv, .seq = places[i].seq};
        const struct message_row *row =
            bsearch(&wanted, rows->at, rows->n, sizeof(*rows->at), compare);
        if (row == NULL) {
            continue;
        }
        Chat__Message *message = message_object(rq->arena, row, NULL);
        bytes += message_access_size(message);
        if (bytes > MESSAGE_PAGE_BYTES) {
            reply->complete = 0;
            return;
        }
        reply->messages[reply->n_messages++] = message;
    }
}

int message_sync(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__SyncRequest *request = in;
    Chat__SyncReply *reply = out;
    struct asked *asked = arena_array(rq->arena, request->n_of, sizeof(*asked));
    struct places places = {.complete = true};
    struct message_rows rows = {0};
    bool sure = true;
    int err = read_request(rq, request, asked);
    if (err == 0) {
        err = read_memberships(rq, asked, request->n_of);
    }
    if (err == 0) {
        err = check_outsiders(rq, asked, request->n_of, &sure);
    }
    if (err == 0) {
        err = read_last_seqs(rq, asked, request->n_of);
    }
    places.at = arena_array(rq->arena, MESSAGES_MAX, sizeof(*places.at));
    for (size_t i = 0; i < request->n_of && err == 0 && places.complete; i++) {
        err = add_changed(rq, &asked[i], &places);
        add_missed(&asked[i], &places);
    }
    if (err == 0 && places.n > 0) {
        err = message_store_at(rq->db, rq->arena, places.at, places.n, &rows);
    }
    if (err == 0) {
        reply->complete = sure && places.complete;
        fill(rq, reply, &rows, places.at, places.n);
    }
    return err;
}
