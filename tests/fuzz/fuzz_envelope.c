// SPDX-License-Identifier: MIT
/*
 * What daemons read from the bus, through common/pb. The first byte chooses the message. What
 * unpacks packs to bytes that unpack and pack to themselves.
 */
#include "tests/fuzz/fuzz.h"

#include "common/pb.h"
#include "proto/envelope.pb-c.h"
#include "proto/group.pb-c.h"
#include "proto/message.pb-c.h"
#include "proto/presence.pb-c.h"

#include <string.h>

static const ProtobufCMessageDescriptor *const types[] = {
    &chat__request__descriptor,         &chat__reply__descriptor,
    &chat__command__descriptor,         &chat__message_event__descriptor,
    &chat__presence_report__descriptor, &chat__group_event__descriptor,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const ProtobufCMessageDescriptor *type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
    struct arena *arena = arena_new(0);
    void *message = pb_unpack(type, arena, data + 1, size - 1);

    if (message != NULL) {
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
