// SPDX-License-Identifier: MIT
/*
 * What daemons read from the bus, through common/pb. The first byte chooses the message. What
 * unpacks packs to bytes that unpack and pack to themselves.
 *
 * But for the field number 0, which no message has: protobuf-c takes it as an unknown field when it
 * is written in more bytes than needed, and refuses it as it packs it.
 */
#include "tests/fuzz/fuzz.h"

#include "common/pb.h"
#include "proto/envelope.pb-c.h"
#include "proto/group.pb-c.h"
#include "proto/message.pb-c.h"
#include "proto/presence.pb-c.h"

#include <stdbool.h>
#include <string.h>

static const ProtobufCMessageDescriptor *const types[] = {
    &chat__request__descriptor,         &chat__reply__descriptor,
    &chat__command__descriptor,         &chat__message_event__descriptor,
    &chat__presence_report__descriptor, &chat__group_event__descriptor,
};

static bool has_field_zero(const ProtobufCMessage *message)
{
    for (unsigned i = 0; i < message->n_unknown_fields; i++) {
        if (message->unknown_fields[i].tag == 0) {
            return true;
        }
    }
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        const void *place = (const char *)message + field->offset;
        const void *quantifier = (const char *)message + field->quantifier_offset;
        bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
        bool chosen = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0 ||
                      *(const uint32_t *)quantifier == field->id;
        if (field->type != PROTOBUF_C_TYPE_MESSAGE || !chosen) {
            continue;
        }
        ProtobufCMessage *const *inner = repeated ? *(void *const *)place : place;
        size_t count = repeated ? *(const size_t *)quantifier : *inner != NULL;
        for (size_t k = 0; k < count; k++) {
            if (has_field_zero(inner[k])) {
                return true;
            }
        }
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const ProtobufCMessageDescriptor *type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
    struct arena *arena = arena_new(0);
    void *message = pb_unpack(type, arena, data + 1, size - 1);

    if (message != NULL && !has_field_zero(message)) {
        size_t len, again_len;
        uint8_t *packed = pb_pack(message, arena, &len);
        void *again = pb_unpack(type, arena, packed, len);
        MUST(again != NULL);
        uint8_t *packed_again = pb_pack(again, arena, &again_len);
        MUST(again_len == len && memcmp(packed, packed_again, len) == 0);
    }
    arena_free(arena);
    return 0;
}
