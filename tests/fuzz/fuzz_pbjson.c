// SPDX-License-Identifier: MIT
/*
 * pbjson. The first byte chooses a message, the rest is JSON text for it, or a value for each of
 * its fields, or the message packed. What was read prints as JSON that reads and prints the same.
 */
#include "tests/fuzz/fuzz.h"

#include "common/err.h"
#include "common/pb.h"
#include "common/text.h"
#include "gateway/pbjson.h"
#include "proto/auth.pb-c.h"
#include "proto/group.pb-c.h"
#include "proto/message.pb-c.h"
#include "proto/presence.pb-c.h"

#include <string.h>

static const ProtobufCMessageDescriptor *const types[] = {
    &chat__message__descriptor,
    &chat__group__descriptor,
    &chat__user_list__descriptor,
    &chat__update_user_request__descriptor,
    &chat__update_group_request__descriptor,
    &chat__list_messages_request__descriptor,
    &chat__sync_request__descriptor,
    &chat__send__descriptor,
    &chat__get_presence_request__descriptor,
    &chat__presence_report__descriptor,
    &chat__membership_lists__descriptor,
    &chat__group_event__descriptor,
};

static void check_problem(int err, const struct pbjson_problem *problem)
{
    MUST(err == ERR_INVALID || err == ERR_BAD_JSON || err == ERR_BAD_QUERY);
    MUST(problem->detail != NULL);
    MUST((problem->count > 0) == (err == ERR_INVALID) && problem->count <= 8);
    for (size_t i = 0; i < problem->count; i++) {
        MUST(problem->errors[i].field[0] != '\0' && problem->errors[i].reason[0] != '\0');
    }
}

/* As text reads; NULL: refused. */
static void *read_json(const ProtobufCMessageDescriptor *type, const char *text, size_t len,
                       struct arena *arena)
{
    struct pbjson_problem problem;
    struct pbjson_doc *doc = NULL;
    void *message = pb_new(type, arena);
    int err = pbjson_parse(text, len, arena, &doc, &problem);

    if (err == 0) {
        err = pbjson_fill(doc, message, arena, &problem);
    }
    if (err != 0) {
        check_problem(err, &problem);
        message = NULL;
    }
    pbjson_free(doc);
    return message;
}

/* Members, one by one, and each one's echo. */
static void walk(const char *text, size_t len, struct arena *arena)
{
    struct pbjson_problem problem;
    struct pbjson_doc *doc = NULL, *again = NULL;
    void *cursor = NULL;
    const char *name, *s;
    size_t n;

    if (pbjson_parse(text, len, arena, &doc, &problem) != 0) {
        return;
    }
    while ((name = pbjson_next(doc, &cursor)) != NULL) {
        char *echo = pbjson_text(doc, name, arena);
        MUST((echo != NULL) == pbjson_has(doc, name));
        if (pbjson_get_string(doc, name, &s, &n)) {
            MUST(text_is_valid(s, n, TEXT_ANY_BUT_NUL, NULL));
        }
        if (echo == NULL) {
            continue;
        }
        char *wrapped = arena_printf(arena, "{\"a\":%s}", echo);
        MUST(pbjson_parse(wrapped, strlen(wrapped), arena, &again, &problem) == 0);
        MUST(strcmp(pbjson_text(again, "a", arena), echo) == 0);
        pbjson_free(again);
    }
    pbjson_free(doc);
}

static void round_trip(const ProtobufCMessageDescriptor *type, const char *text, size_t len,
                       struct arena *arena)
{
    struct buf first, second;
    void *message = read_json(type, text, len, arena);

    if (message == NULL) {
        return;
    }
    buf_init(&first);
    buf_init(&second);
    pbjson_print(message, &first);
    message = read_json(type, first.data, first.len, arena);
    MUST(message != NULL);
    pbjson_print(message, &second);
    MUST(strcmp(first.data, second.data) == 0);
    buf_done(&first);
    buf_done(&second);
}

static void from_text(const ProtobufCMessageDescriptor *type, const char *text, size_t len,
                      struct arena *arena)
{
    void *message = pb_new(type, arena);
    struct pbjson_problem problem;
    struct buf out;

    for (unsigned i = 0; i < type->n_fields; i++) {
        int err = pbjson_fill_text(message, type->fields[i].name, text, len, arena, &problem);
        if (err != 0) {
            MUST(err == ERR_BAD_QUERY);
            check_problem(err, &problem);
        }
    }
    buf_init(&out);
    pbjson_print(message, &out);
    MUST(read_json(type, out.data, out.len, arena) != NULL);
    buf_done(&out);
}

/* Of another daemon, so with any bytes: what is printed is UTF-8 text without control characters.
 */
static void from_packed(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size,
                        struct arena *arena)
{
    void *message = pb_unpack(type, arena, data, size);
    struct buf out;

    if (message == NULL) {
        return;
    }
    buf_init(&out);
    pbjson_print(message, &out);
    MUST(text_is_valid(out.data, out.len, TEXT_ANY_BUT_NUL, NULL));
    for (size_t i = 0; i < out.len; i++) {
        MUST((uint8_t)out.data[i] >= 0x20);
    }
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const ProtobufCMessageDescriptor *type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
    const char *text = (const char *)data + 1;
    struct arena *arena = arena_new(0);

    round_trip(type, text, size - 1, arena);
    walk(text, size - 1, arena);
    from_text(type, text, size - 1, arena);
    from_packed(type, data + 1, size - 1, arena);
    arena_free(arena);
    return 0;
}
