// SPDX-License-Identifier: MIT
/*
 * Questions about who is online: each is one question to the store.
 */
#include "presence-svc/handlers.h"

#include "common/err.h"
#include "common/pb.h"
#include "proto/presence.pb-c.h"

enum { MOST_USERS = 500, PAGE_DEFAULT = 5000, PAGE_MOST = 10000 };

static int fail(struct rpc_request *rq, int err)
{
    return rpc_fail(rq, err, "presence is not known now");
}

static Chat__UserStatus **wire(struct arena *arena, const struct presence_status *statuses,
                               size_t n)
{
    Chat__UserStatus **out = arena_array(arena, n, sizeof(Chat__UserStatus *));

    for (size_t i = 0; i < n; i++) {
        out[i] = pb_new(&chat__user_status__descriptor, arena);
        out[i]->user_id = statuses[i].user_id;
        out[i]->online = statuses[i].online;
        out[i]->last_seen_at = statuses[i].seen_at;
        out[i]->version = statuses[i].version;
    }
    return out;
}

int presence_get(struct rpc_request *rq, const void *in, void *out)
{
    struct presence_store *store = ((struct presence_worker *)rq->worker)->store;
    const Chat__GetPresenceRequest *request = in;
    Chat__GetPresenceReply *reply = out;
    size_t n = request->n_user_ids;

    if (n > MOST_USERS) {
        return rpc_invalid(rq, "user_ids", "must have at most %d entries", MOST_USERS);
    }
    struct presence_status *statuses = arena_array(rq->arena, n, sizeof(*statuses));
    for (size_t i = 0; i < n; i++) {
        statuses[i].user_id = request->user_ids[i];
    }
    int err = store->ops->get(store, rq->arena, statuses, n);
    if (err != 0) {
        return fail(rq, err);
    }
    reply->n_users = n;
    reply->users = wire(rq->arena, statuses, n);
    return 0;
}

int presence_list_online(struct rpc_request *rq, const void *in, void *out)
{
    struct presence_store *store = ((struct presence_worker *)rq->worker)->store;
    const Chat__ListOnlineRequest *request = in;
    Chat__OnlineList *reply = out;
    struct presence_statuses online;
    size_t limit = request->limit == 0          ? PAGE_DEFAULT
                   : request->limit > PAGE_MOST ? PAGE_MOST
                                                : request->limit;
    int err =
        store->ops->list(store, rq->arena, request->cursor, limit, &online, &reply->next_cursor);

    if (err != 0) {
        return fail(rq, err);
    }
    reply->n_users = online.n;
    reply->users = wire(rq->arena, online.items, online.n);
    return 0;
}

int presence_list_gateways(struct rpc_request *rq, const void *in, void *out)
{
    struct presence_store *store = ((struct presence_worker *)rq->worker)->store;
    Chat__GatewayList *reply = out;
    struct presence_gateway *gateways;
    size_t n;
    int err = store->ops->gateways(store, rq->arena, &gateways, &n);

    (void)in;
    if (err != 0) {
        return fail(rq, err);
    }
    reply->n_gateways = n;
    reply->gateways = arena_array(rq->arena, n, sizeof(*reply->gateways));
    for (size_t i = 0; i < n; i++) {
        reply->gateways[i] = pb_new(&chat__gateway_status__descriptor, rq->arena);
        reply->gateways[i]->gateway = pb_str(gateways[i].name);
        reply->gateways[i]->connections = gateways[i].connections;
        reply->gateways[i]->users = gateways[i].users;
    }
    return 0;
}
