// SPDX-License-Identifier: MIT
/*
 * Protobuf in arenas: packing and unpacking of any message by its descriptor.
 *
 * Unpacked messages and all they point to live in the arena and are never freed by themselves.
 */
#pragma once

#include "common/arena.h"

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

/* NULL: malformed, or longer than 1 MiB. */
void *pb_unpack(const ProtobufCMessageDescriptor *type, struct arena *arena, const void *data,
                size_t len);
/* The packed bytes in the arena; len_out may be 0, the pointer is never NULL. */
uint8_t *pb_pack(const void *message, struct arena *arena, size_t *len_out);
/* A new, initialised message. */
void *pb_new(const ProtobufCMessageDescriptor *type, struct arena *arena);

/* bytes fields and text. */
static inline ProtobufCBinaryData pb_bytes(const void *p, size_t n)
{
    return (ProtobufCBinaryData){.len = n, .data = (uint8_t *)(uintptr_t)p};
}
ProtobufCBinaryData pb_str(const char *s);                 /* borrowed; NULL is empty */
char *pb_cstr(struct arena *arena, ProtobufCBinaryData b); /* with a NUL; cut at an embedded one */
int pb_equal(ProtobufCBinaryData b, const char *s);
