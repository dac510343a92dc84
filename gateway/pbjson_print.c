// SPDX-License-Identifier: MIT
/*
 * Messages to JSON text, straight from the descriptor into the buffer: every message that is
 * delivered passes here, once for all its receivers. Knows nothing of jansson.
 */
#include "gateway/pbjson.h"

#include "common/clock.h"
#include "common/text.h"
#include "gateway/pbjson_impl.h"

#include <assert.h>
#include <string.h>

/* ---- Strings ---- */

/* One character that does not stand for itself. */
static void print_escape(struct buf *out, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r',
                                   ['\t'] = 't', ['"'] = '"',  ['\\'] = '\\'};
    if (letters[c] != 0) {
        buf_add(out, (char[]){'\\', letters[c]}, 2);
    } else {
        buf_add(out, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
    }
}

/* Bytes of the UTF-8 sequence (not ASCII) at s; 0: not valid. */
static size_t sequence(const uint8_t *s, size_t left)
{
    size_t len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    return len <= left && text_is_valid(s, len, TEXT_ANY_BUT_NUL, NULL) ? len : 0;
}

void pbjson_print_string(struct buf *out, const char *s, size_t len)
{
    const uint8_t *at = (const uint8_t *)(s == NULL ? "" : s); /* empty bytes point nowhere */
    size_t done = 0, i = 0; /* up to `done` is printed, up to `i` is seen to be fine */

    buf_reserve(out, len + 2);
    buf_add_char(out, '"');
    while (i < len) {
        if (at[i] >= 0x20 && at[i] < 0x80 && at[i] != '"' && at[i] != '\\') {
            i++;
            continue;
        }
        size_t valid = at[i] < 0x80 ? 0 : sequence(at + i, len - i);
        if (valid > 0) {
            i += valid;
            continue;
        }
        buf_add(out, at + done, i - done);
        if (at[i] < 0x80) {
            print_escape(out, at[i]);
        } else {
            buf_add_str(out, "\xef\xbf\xbd");
        }
        done = ++i;
    }
    buf_add(out, at + done, len - done);
    buf_add_char(out, '"');
}

/* ---- Values ---- */

static void print_null(struct buf *out)
{
    buf_add(out, "null", 4);
}

static void print_time(struct buf *out, int64_t ms)
{
    char text[CLOCK_RFC3339_SIZE + 2];

    if (ms == 0) {
        print_null(out);
        return;
    }
    clock_rfc3339(ms, text + 1);
    text[0] = text[CLOCK_RFC3339_SIZE] = '"';
    buf_add(out, text, CLOCK_RFC3339_SIZE + 1);
}

static void print_enum(struct buf *out, const ProtobufCEnumDescriptor *type, int number)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, number);

    if (value == NULL || strcmp(value->name, "NONE") == 0) {
        print_null(out);
        return;
    }
    buf_add_char(out, '"');
    for (const char *c = value->name; *c != '\0'; c++) {
        buf_add_char(out, *c >= 'A' && *c <= 'Z' ? (char)(*c + ('a' - 'A')) : *c);
    }
    buf_add_char(out, '"');
}

static void print_bytes(struct buf *out, const ProtobufCFieldDescriptor *field,
                        const ProtobufCBinaryData *bytes)
{
    if (bytes->len == 0 && pbjson_is_cursor(field)) {
        print_null(out);
    } else {
        pbjson_print_string(out, (const char *)bytes->data, bytes->len);
    }
}

static void print_message(struct buf *out, const void *message)
{
    if (message == NULL) {
        print_null(out);
    } else {
        pbjson_print(message, out);
    }
}

static void print_bool(struct buf *out, bool value)
{
    if (value) {
        buf_add(out, "true", 4);
    } else {
        buf_add(out, "false", 5);
    }
}

/* place: of the field, or of one element of a repeated one. */
static void print_value(struct buf *out, const ProtobufCFieldDescriptor *field, const void *place)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_BYTES:
        print_bytes(out, field, place);
        break;
    case PROTOBUF_C_TYPE_UINT64:
        if (*(const uint64_t *)place == 0 && pbjson_is_cursor(field)) {
            print_null(out);
        } else {
            buf_add_u64(out, *(const uint64_t *)place);
        }
        break;
    case PROTOBUF_C_TYPE_INT64:
        if (pbjson_is_time(field)) {
            print_time(out, *(const int64_t *)place);
        } else {
            buf_add_i64(out, *(const int64_t *)place);
        }
        break;
    case PROTOBUF_C_TYPE_UINT32:
        buf_add_u64(out, *(const uint32_t *)place);
        break;
    case PROTOBUF_C_TYPE_INT32:
        buf_add_i64(out, *(const int32_t *)place);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        print_bool(out, *(const protobuf_c_boolean *)place != 0);
        break;
    case PROTOBUF_C_TYPE_ENUM:
        print_enum(out, field->descriptor, *(const int *)place);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        print_message(out, *(void *const *)place);
        break;
    default:
        assert(false && "a type that proto/README.md does not list");
    }
}

/* ---- Messages ---- */

static void print_list(struct buf *out, const ProtobufCFieldDescriptor *field, const char *elements,
                       size_t count)
{
    size_t size = pbjson_element_size(field);

    buf_add_char(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            buf_add_char(out, ',');
        }
        print_value(out, field, elements + i * size);
    }
    buf_add_char(out, ']');
}

static bool is_left_out(const ProtobufCFieldDescriptor *field, const void *quantifier)
{
    if (field->id >= PBJSON_HIDDEN_FROM) {
        return true;
    }
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        return field->id >= PBJSON_OMITTED_FROM && *(const size_t *)quantifier == 0;
    }
    return (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
           *(const uint32_t *)quantifier != field->id;
}

void pbjson_print(const void *message, struct buf *out)
{
    const ProtobufCMessageDescriptor *type = ((const ProtobufCMessage *)message)->descriptor;
    const char *separator = "{\"";

    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        const void *place = (const char *)message + field->offset;
        const void *quantifier = (const char *)message + field->quantifier_offset;
        if (is_left_out(field, quantifier)) {
            continue;
        }
        buf_add(out, separator, 2);
        buf_add_str(out, field->name); /* letters and underscores: nothing to escape */
        buf_add(out, "\":", 2);
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            print_list(out, field, *(char *const *)place, *(const size_t *)quantifier);
        } else {
            print_value(out, field, place);
        }
        separator = ",\"";
    }
    buf_add_str(out, separator[0] == '{' ? "{}" : "}");
}
