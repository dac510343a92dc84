// SPDX-License-Identifier: MIT
/*
 * The one place that lends arenas to protobuf-c. Its allocator interface has a free, which does
 * nothing here: the arena frees all at once.
 */
#include "common/pb.h"

#include "common/bus.h"

#include <string.h>

static void *arena_protobuf_alloc(void *arena, size_t size)
{
    return arena_alloc(arena, size);
}

static void arena_protobuf_free(void *arena, void *p)
{
    (void)arena;
    (void)p;
}

void *pb_unpack(const ProtobufCMessageDescriptor *type, struct arena *arena, const void *data,
                size_t len)
{
    ProtobufCAllocator allocator = {
        .alloc = arena_protobuf_alloc,
        .free = arena_protobuf_free,
        .allocator_data = arena,
    };
    if (len > BUS_RECORD_MAX) {
        return NULL;
    }
    return protobuf_c_message_unpack(type, &allocator, len, data);
}

uint8_t *pb_pack(const void *message, struct arena *arena, size_t *len_out)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *data = arena_alloc(arena, len + 1);
    protobuf_c_message_pack(message, data);
    *len_out = len;
    return data;
}

void *pb_new(const ProtobufCMessageDescriptor *type, struct arena *arena)
{
    void *message = arena_alloc(arena, type->sizeof_message);
    protobuf_c_message_init(type, message);
    return message;
}

ProtobufCBinaryData pb_str(const char *s)
{
    return pb_bytes(s, s == NULL ? 0 : strlen(s));
}

char *pb_cstr(struct arena *arena, ProtobufCBinaryData b)
{
    const uint8_t *nul = b.len == 0 ? NULL : memchr(b.data, 0, b.len);
    size_t n = nul == NULL ? b.len : (size_t)(nul - b.data);
    return arena_memdup(arena, n == 0 ? (const void *)"" : b.data,
                        n); /* an empty one has no data */
}

int pb_equal(ProtobufCBinaryData b, const char *s)
{
    size_t n = strlen(s);
    return b.len == n && memcmp(b.data, s, n) == 0;
}
