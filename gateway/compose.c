// SPDX-License-Identifier: MIT
/*
 * Messages do not nest in themselves (proto/), so the walk ends.
 */
#include "gateway/compose.h"

#include "common/pb.h"
#include "gateway/online.h"
#include "proto/message.pb-c.h"

struct walk {
    struct gateway *gw; /* NULL: only collects */
    struct arena *arena;
    uint64_t *ids;
    Chat__User **offline; /* not NULL: collects these instead */
    size_t count, max;
};

static ProtobufCBinaryData copy(struct arena *arena, ProtobufCBinaryData text)
{
    return pb_bytes(arena_memdup(arena, text.len > 0 ? text.data : (const void *)"", text.len),
                    text.len);
}

void compose_sender(Chat__Sender *out, const struct profile *p, bool online, struct arena *arena)
{
    out->id = p->id;
    out->username = copy(arena, p->username);
    out->nickname = copy(arena, p->nickname);
    out->avatar = copy(arena, p->avatar);
    out->online = online;
}

static void need(struct walk *w, uint64_t id)
{
    if (id != 0 && w->count < w->max && (w->count == 0 || w->ids[w->count - 1] != id)) {
        w->ids[w->count++] = id;
    }
}

static void visit_user(struct walk *w, Chat__User *u)
{
    if (w->offline != NULL) {
        if (!u->online && u->last_seen_at == 0 && w->count < w->max) {
            w->offline[w->count++] = u;
        }
        return;
    }
    if (w->gw == NULL) {
        if (u->username.len == 0) {
            need(w, u->id);
        }
        return;
    }
    u->online = online_has(w->gw->online, u->id);
    struct profile *p = u->username.len == 0 ? profiles_get(w->gw->profiles, u->id) : NULL;
    if (p != NULL) {
        u->username = copy(w->arena, p->username);
        u->nickname = copy(w->arena, p->nickname);
        u->avatar = copy(w->arena, p->avatar);
        u->bio = copy(w->arena, p->bio);
        u->created_at = p->created_at;
        u->updated_at = p->updated_at;
        u->version = p->version;
        profile_release(p);
    }
}

static void visit_message(struct walk *w, Chat__Message *m)
{
    bool named = m->sender != NULL && m->sender->username.len > 0;
    if (w->gw == NULL) {
        if (!named) {
            need(w, m->sender_id);
        }
        return;
    }
    bool online = online_has(w->gw->online, m->sender_id);
    if (named) {
        m->sender->online = online;
        return;
    }
    if (m->sender == NULL) {
        m->sender = pb_new(&chat__sender__descriptor, w->arena);
        m->sender->id = m->sender_id;
    }
    struct profile *p = profiles_get(w->gw->profiles, m->sender_id);
    if (p != NULL) {
        compose_sender(m->sender, p, online, w->arena);
        profile_release(p);
    }
}

static void visit(struct walk *w, ProtobufCMessage *m);

static void visit_field(struct walk *w, char *base, const ProtobufCFieldDescriptor *f)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t n;
        ProtobufCMessage **items;
        __builtin_memcpy(&n, base + f->quantifier_offset, sizeof(n));
        __builtin_memcpy(&items, base + f->offset, sizeof(items));
        for (size_t i = 0; i < n; i++) {
            visit(w, items[i]);
        }
        return;
    }
    if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        uint32_t which;
        __builtin_memcpy(&which, base + f->quantifier_offset, sizeof(which));
        if (which != f->id) {
            return;
        }
    }
    ProtobufCMessage *item;
    __builtin_memcpy(&item, base + f->offset, sizeof(item));
    if (item != NULL) {
        visit(w, item);
    }
}

static void visit(struct walk *w, ProtobufCMessage *m)
{
    const ProtobufCMessageDescriptor *d = m->descriptor;
    if (d == &chat__user__descriptor) {
        visit_user(w, (Chat__User *)m);
        return;
    }
    if (d == &chat__message__descriptor) {
        if (w->offline != NULL) {
            return;
        }
        visit_message(w, (Chat__Message *)m);
        return;
    }
    for (unsigned i = 0; i < d->n_fields; i++) {
        if (d->fields[i].type == PROTOBUF_C_TYPE_MESSAGE) {
            visit_field(w, (char *)m, &d->fields[i]);
        }
    }
}

size_t compose_needs(const void *reply, uint64_t *ids_out, size_t n)
{
    struct walk w = {.ids = ids_out, .max = n};
    visit(&w, (ProtobufCMessage *)(uintptr_t)reply);
    return w.count;
}

void compose_fill(struct gateway *gw, void *reply, struct arena *arena)
{
    struct walk w = {.gw = gw, .arena = arena};
    visit(&w, reply);
}

size_t compose_offline(void *reply, Chat__User **users_out, size_t n)
{
    struct walk w = {.offline = users_out, .max = n};
    visit(&w, reply);
    return w.count;
}
