// SPDX-License-Identifier: MIT
/*
 * One value into one field, checked against the field's type, and fields from the text of a path
 * or a query. Knows descriptors, not JSON.
 */
#include "gateway/pbjson.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/text.h"
#include "gateway/pbjson_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n > m && memcmp(name + n - m, end, m) == 0;
}

bool pbjson_is_time(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_INT64 &&
           (ends_with(field->name, "_at") || ends_with(field->name, "_until"));
}

bool pbjson_is_cursor(const ProtobufCFieldDescriptor *field)
{
    return (field->type == PROTOBUF_C_TYPE_BYTES || field->type == PROTOBUF_C_TYPE_UINT64) &&
           ends_with(field->name, "_cursor");
}

const ProtobufCFieldDescriptor *pbjson_find(const ProtobufCMessageDescriptor *type,
                                            const char *name)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(type, name);
    return field != NULL && field->id < PBJSON_HIDDEN_FROM ? field : NULL;
}

void *pbjson_place(const ProtobufCFieldDescriptor *field, void *message)
{
    return (char *)message + field->offset;
}

size_t pbjson_element_size(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(ProtobufCMessage *);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
        return sizeof(int64_t);
    default:
        return sizeof(int32_t);
    }
}

void pbjson_choose(const ProtobufCFieldDescriptor *field, void *message)
{
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        void *chosen = (char *)message + field->quantifier_offset;
        *(uint32_t *)chosen = field->id;
    }
}

/* ---- One value ---- */

static const char *put_bytes(const struct pbjson_value *value, void *place, struct arena *arena)
{
    if (value->kind != PBJSON_STRING) {
        return "must be a string";
    }
    if (value->len > 0 && memchr(value->s, 0, value->len) != NULL) {
        return "must not contain U+0000";
    }
    *(ProtobufCBinaryData *)place = (ProtobufCBinaryData){
        .len = value->len,
        .data = arena_memdup(arena, value->s, value->len),
    };
    return NULL;
}

static const char *put_bool(const struct pbjson_value *value, void *place)
{
    if (value->kind != PBJSON_BOOL) {
        return "must be true or false";
    }
    *(protobuf_c_boolean *)place = value->i != 0;
    return NULL;
}

static const char *put_time(const struct pbjson_value *value, void *place)
{
    if (value->kind == PBJSON_NULL) { /* as 0 is printed */
        *(int64_t *)place = 0;
        return NULL;
    }
    if (value->kind != PBJSON_STRING || clock_parse_rfc3339(value->s, value->len, place) != 0) {
        return "must be a time as in RFC 3339";
    }
    return NULL;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool is_name_of(const ProtobufCEnumValue *value, const char *s, size_t len)
{
    if (strlen(value->name) != len || strcmp(value->name, "NONE") == 0) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (lower(value->name[i]) != s[i]) {
            return false;
        }
    }
    return true;
}

/* "must be one of private, public" */
static const char *names_of(const ProtobufCEnumDescriptor *type, struct arena *arena)
{
    const char *text = "must be one of";
    const char *comma = "";
    for (unsigned i = 0; i < type->n_values; i++) {
        if (strcmp(type->values[i].name, "NONE") == 0) {
            continue;
        }
        char *name = arena_strdup(arena, type->values[i].name);
        for (char *c = name; *c != '\0'; c++) {
            *c = lower(*c);
        }
        text = arena_printf(arena, "%s%s %s", text, comma, name);
        comma = ",";
    }
    return text;
}

static const char *put_enum(const ProtobufCEnumDescriptor *type, const struct pbjson_value *value,
                            void *place, struct arena *arena)
{
    if (value->kind != PBJSON_STRING) {
        return "must be a string";
    }
    for (unsigned i = 0; i < type->n_values; i++) {
        if (is_name_of(&type->values[i], value->s, value->len)) {
            *(int *)place = type->values[i].value;
            return NULL;
        }
    }
    return names_of(type, arena);
}

static const char *put_integer(ProtobufCType type, const struct pbjson_value *value, void *place,
                               struct arena *arena)
{
    bool wide = type == PROTOBUF_C_TYPE_INT64 || type == PROTOBUF_C_TYPE_UINT64;
    int64_t min = type == PROTOBUF_C_TYPE_INT64   ? INT64_MIN
                  : type == PROTOBUF_C_TYPE_INT32 ? INT32_MIN
                                                  : 0;
    int64_t max = type == PROTOBUF_C_TYPE_INT64    ? INT64_MAX
                  : type == PROTOBUF_C_TYPE_UINT64 ? PBJSON_ID_MAX
                  : type == PROTOBUF_C_TYPE_INT32  ? INT32_MAX
                                                   : UINT32_MAX;
    if (value->kind != PBJSON_INTEGER) {
        return "must be an integer";
    }
    if (value->i < min || value->i > max) {
        return arena_printf(arena, "must be an integer from %" PRId64 " to %" PRId64, min, max);
    }
    if (wide) {
        *(int64_t *)place = value->i;
    } else {
        *(uint32_t *)place = (uint32_t)value->i;
    }
    return NULL;
}

const char *pbjson_put(const ProtobufCFieldDescriptor *field, const struct pbjson_value *value,
                       void *place, struct arena *arena)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_BYTES:
        return put_bytes(value, place, arena);
    case PROTOBUF_C_TYPE_BOOL:
        return put_bool(value, place);
    case PROTOBUF_C_TYPE_ENUM:
        return put_enum(field->descriptor, value, place, arena);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
        return pbjson_is_time(field) ? put_time(value, place)
                                     : put_integer(field->type, value, place, arena);
    default:
        assert(false && "a type that proto/README.md does not list");
        return "cannot be given";
    }
}

/* ---- From text ---- */

static bool read_integer(const char *s, size_t len, int64_t *value_out)
{
    size_t at = len > 0 && s[0] == '-' ? 1 : 0;
    int64_t value = 0;

    if (at == len) {
        return false;
    }
    for (; at < len; at++) {
        if (s[at] < '0' || s[at] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, s[at] - '0', &value)) { /* downwards: INT64_MIN fits */
            return false;
        }
    }
    if (s[0] != '-' && __builtin_sub_overflow((int64_t)0, value, &value)) {
        return false;
    }
    *value_out = value;
    return true;
}

static bool is_word(const char *s, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(s, word, len) == 0;
}

/* What the text means depends on the field, other than in JSON. */
static struct pbjson_value value_of(const ProtobufCFieldDescriptor *field, const char *s,
                                    size_t len)
{
    struct pbjson_value value = {.kind = PBJSON_OTHER};
    bool text = field->type == PROTOBUF_C_TYPE_BYTES || field->type == PROTOBUF_C_TYPE_ENUM ||
                pbjson_is_time(field);

    if (text) {
        value = (struct pbjson_value){.kind = PBJSON_STRING, .s = s, .len = len};
    } else if (field->type != PROTOBUF_C_TYPE_BOOL) {
        value.kind = read_integer(s, len, &value.i) ? PBJSON_INTEGER : PBJSON_OTHER;
    } else if (is_word(s, len, "true") || is_word(s, len, "1")) {
        value = (struct pbjson_value){.kind = PBJSON_BOOL, .i = 1};
    } else if (is_word(s, len, "false") || is_word(s, len, "0")) {
        value = (struct pbjson_value){.kind = PBJSON_BOOL, .i = 0};
    }
    return value;
}

int pbjson_fill_text(void *message, const char *field, const char *text, size_t len,
                     struct arena *arena, struct pbjson_problem *problem)
{
    const ProtobufCFieldDescriptor *f =
        pbjson_find(((ProtobufCMessage *)message)->descriptor, field);
    const char *wrong;

    *problem = (struct pbjson_problem){0};
    if (f == NULL || f->type == PROTOBUF_C_TYPE_MESSAGE || f->label == PROTOBUF_C_LABEL_REPEATED) {
        return 0;
    }
    if (!text_is_valid(text, len, TEXT_ANY_BUT_NUL, NULL)) {
        wrong = "must be UTF-8 without U+0000";
    } else {
        struct pbjson_value value = value_of(f, text, len);
        wrong = pbjson_put(f, &value, pbjson_place(f, message), arena);
    }
    if (wrong != NULL) {
        problem->detail = arena_printf(arena, "%s %s", field, wrong);
        return ERR_BAD_QUERY;
    }
    pbjson_choose(f, message);
    return 0;
}
