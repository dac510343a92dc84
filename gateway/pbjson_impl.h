// SPDX-License-Identifier: MIT
/*
 * What the parts of pbjson share: the conventions of proto/objects.proto as questions about a
 * field, and how one value gets into one field, wherever the value came from.
 *
 * Only pbjson*.c include this. Any thread.
 */
#pragma once

#include "common/arena.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PBJSON_HIDDEN_FROM 100 /* fields numbered from here stay between daemons */
#define PBJSON_OMITTED_FROM 50 /* repeated ones numbered from here are left out when empty */
#define PBJSON_ID_MAX ((INT64_C(1) << 53) - 1) /* what a JavaScript number holds exactly */

/* Milliseconds in protobuf, RFC 3339 in JSON. */
bool pbjson_is_time(const ProtobufCFieldDescriptor *field);
bool pbjson_is_cursor(const ProtobufCFieldDescriptor *field);

/* The field of that name; NULL: there is none, or it is hidden. */
const ProtobufCFieldDescriptor *pbjson_find(const ProtobufCMessageDescriptor *type,
                                            const char *name);
/* Where the field (of a repeated one: its pointer) is in the message. */
void *pbjson_place(const ProtobufCFieldDescriptor *field, void *message);
/* Of one element of a repeated field. */
size_t pbjson_element_size(const ProtobufCFieldDescriptor *field);
/* After a value was put: if the field belongs to a oneof, it is now the one. */
void pbjson_choose(const ProtobufCFieldDescriptor *field, void *message);

struct pbjson_value {
    enum { PBJSON_STRING, PBJSON_INTEGER, PBJSON_BOOL, PBJSON_NULL, PBJSON_OTHER } kind;
    const char *s; /* of a string: UTF-8, borrowed */
    size_t len;
    int64_t i; /* of an integer and, 0 or 1, of a bool */
};

/* Puts a value into one field or one element at `place`, text copied to the arena; not for
 * messages. Returns NULL, or what is wrong ("must be …") and leaves the place alone. */
const char *pbjson_put(const ProtobufCFieldDescriptor *field, const struct pbjson_value *value,
                       void *place, struct arena *arena);
