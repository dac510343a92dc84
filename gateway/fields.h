// SPDX-License-Identifier: MIT
/*
 * Single fields of protobuf messages by name, for what the route table says in words. Pure.
 */
#pragma once

#include "common/pb.h"

#include <stdbool.h>

/* NULL: the message has no such field. */
const ProtobufCFieldDescriptor *fields_find(const void *message, const char *name, size_t len);
/* Follows "user.version"; false: a message on the way is absent, or it is no unsigned number. */
bool fields_get_u64(const void *message, const char *path, size_t len, uint64_t *value_out);
/* A member that is a message; NULL: absent. */
const void *fields_get_message(const void *message, const char *name);
/* Sets a number (uint64, int64) or text, as a member of a oneof too. False: no such field. */
bool fields_set_u64(void *message, const char *name, uint64_t value);
bool fields_set_bytes(void *message, const char *name, ProtobufCBinaryData value);
/* What picks the partition: a number itself, of a name the hash of its folded form (one for all
 * gateways). False: no such field, or of another type. */
bool fields_get_key(const void *message, const char *name, struct arena *arena, uint64_t *key_out);
/* "/api/groups/{group.id}" with the reply's numbers; NULL: one of them is missing. */
const char *fields_expand(const char *pattern, const void *message, struct arena *arena);
