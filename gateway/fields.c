// SPDX-License-Identifier: MIT
#include "gateway/fields.h"

#include "common/buf.h"
#include "common/map.h"
#include "common/text.h"

#include <stdlib.h>
#include <string.h>

enum { FOLD_MAX = 1024 }; /* no name is longer; folding takes time */

const ProtobufCFieldDescriptor *fields_find(const void *message, const char *name, size_t len)
{
    const ProtobufCMessageDescriptor *d = ((const ProtobufCMessage *)message)->descriptor;
    for (unsigned i = 0; i < d->n_fields; i++) {
        if (strlen(d->fields[i].name) == len && memcmp(d->fields[i].name, name, len) == 0) {
            return &d->fields[i];
        }
    }
    return NULL;
}

bool fields_get_u64(const void *message, const char *path, size_t len, uint64_t *value_out)
{
    for (;;) {
        const char *dot = memchr(path, '.', len);
        size_t n = dot != NULL ? (size_t)(dot - path) : len;
        const ProtobufCFieldDescriptor *f = fields_find(message, path, n);
        if (f == NULL || f->label == PROTOBUF_C_LABEL_REPEATED) {
            return false;
        }
        const char *at = (const char *)message + f->offset;
        if (dot == NULL) {
            bool number = f->type == PROTOBUF_C_TYPE_UINT64 || f->type == PROTOBUF_C_TYPE_INT64;
            if (number) {
                memcpy(value_out, at, sizeof(*value_out));
            }
            return number;
        }
        if (f->type != PROTOBUF_C_TYPE_MESSAGE) {
            return false;
        }
        memcpy(&message, at, sizeof(message));
        if (message == NULL) {
            return false;
        }
        path = dot + 1;
        len -= n + 1;
    }
}

const void *fields_get_message(const void *message, const char *name)
{
    const ProtobufCFieldDescriptor *f = fields_find(message, name, strlen(name));
    const void *part = NULL;
    if (f != NULL && f->type == PROTOBUF_C_TYPE_MESSAGE && f->label != PROTOBUF_C_LABEL_REPEATED) {
        memcpy(&part, (const char *)message + f->offset, sizeof(part));
    }
    return part;
}

/* Where the field's value goes; tells a oneof which member it has now. */
static char *place(void *message, const ProtobufCFieldDescriptor *f)
{
    if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        uint32_t which = f->id;
        memcpy((char *)message + f->quantifier_offset, &which, sizeof(which));
    }
    return (char *)message + f->offset;
}

bool fields_set_u64(void *message, const char *name, uint64_t value)
{
    const ProtobufCFieldDescriptor *f = fields_find(message, name, strlen(name));
    if (f == NULL || (f->type != PROTOBUF_C_TYPE_UINT64 && f->type != PROTOBUF_C_TYPE_INT64)) {
        return false;
    }
    memcpy(place(message, f), &value, sizeof(value));
    return true;
}

bool fields_set_bytes(void *message, const char *name, ProtobufCBinaryData value)
{
    const ProtobufCFieldDescriptor *f = fields_find(message, name, strlen(name));
    if (f == NULL || f->type != PROTOBUF_C_TYPE_BYTES) {
        return false;
    }
    memcpy(place(message, f), &value, sizeof(value));
    return true;
}

/* FNV-1a, then mixed: the same in every process. */
static uint64_t hash_bytes(const void *p, size_t n)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ ((const uint8_t *)p)[i]) * UINT64_C(1099511628211);
    }
    return map_hash_stable(hash, n);
}

bool fields_get_key(const void *message, const char *name, struct arena *arena, uint64_t *key_out)
{
    const ProtobufCFieldDescriptor *f = fields_find(message, name, strlen(name));
    if (f == NULL || f->type != PROTOBUF_C_TYPE_BYTES || f->label == PROTOBUF_C_LABEL_REPEATED) {
        return fields_get_u64(message, name, strlen(name), key_out);
    }
    ProtobufCBinaryData text;
    memcpy(&text, (const char *)message + f->offset, sizeof(text));
    const char *folded = text.len <= FOLD_MAX ? text_fold(arena, text.data, text.len) : NULL;
    *key_out = folded != NULL ? hash_bytes(folded, strlen(folded)) : 0;
    return true;
}

const char *fields_expand(const char *pattern, const void *message, struct arena *arena)
{
    struct buf out;
    buf_init(&out);
    const char *result = NULL;
    for (;;) {
        size_t plain = strcspn(pattern, "{");
        buf_add(&out, pattern, plain);
        pattern += plain;
        if (*pattern == '\0') {
            result = arena_strndup(arena, out.data, out.len);
            break;
        }
        size_t name = strcspn(++pattern, "}");
        uint64_t value;
        if (!fields_get_u64(message, pattern, name, &value)) {
            break;
        }
        buf_add_u64(&out, value);
        pattern += name + 1;
    }
    buf_done(&out);
    return result;
}
