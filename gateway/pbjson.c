// SPDX-License-Identifier: MIT
/*
 * JSON text to documents and from documents into messages: the owner of jansson. A pbjson_doc is a
 * json_t under another name, so that an object within an object is a document without more ado.
 *
 * jansson recurses over what it reads and spends some hundred bytes on an empty object of two
 * characters: a scanner bounds depth and number of values before. Printing is in pbjson_print.c.
 */
#include "gateway/pbjson.h"

#include "common/err.h"
#include "common/pb.h"
#include "gateway/pbjson_impl.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* ---- Parsing ---- */

static json_t *json_of(const struct pbjson_doc *doc)
{
    return (json_t *)(uintptr_t)doc; /* jansson's reading functions take no const */
}

static int bad_json(struct arena *arena, struct pbjson_problem *problem, int line, int column,
                    const char *why)
{
    problem->detail = arena_printf(arena, "line %d, column %d: %s", line, column, why);
    return ERR_BAD_JSON;
}

struct scan {
    int line;
    size_t line_start;
    unsigned depth, values; /* values: not fewer than there are, in text that is JSON */
    bool in_string;
};

/* One character outside of strings; returns what is wrong. In text that is no JSON the depth may be
 * off, but only behind the place where jansson stops. */
static const char *scan_char(struct scan *scan, char c)
{
    switch (c) {
    case '"':
        scan->in_string = true;
        return NULL;
    case '[':
    case '{':
        scan->depth++;
        scan->values++;
        break;
    case ']':
    case '}':
        scan->depth -= scan->depth > 0;
        return NULL;
    case ',':
        scan->values++;
        break;
    default:
        return NULL;
    }
    return scan->depth > PBJSON_DEPTH     ? "nested too deep"
           : scan->values > PBJSON_VALUES ? "too many values"
                                          : NULL;
}

static int check_bounds(const char *text, size_t len, struct arena *arena,
                        struct pbjson_problem *problem)
{
    struct scan scan = {.line = 1};

    for (size_t i = 0; i < len; i++) {
        if (scan.in_string) {
            if (text[i] == '\\') {
                i++;
            } else if (text[i] == '"') {
                scan.in_string = false;
            }
        } else if (text[i] == '\n') {
            scan.line++;
            scan.line_start = i + 1;
        } else {
            const char *why = scan_char(&scan, text[i]);
            if (why != NULL) {
                return bad_json(arena, problem, scan.line, (int)(i - scan.line_start) + 1, why);
            }
        }
    }
    return 0;
}

/* Our own words: jansson's quote the text, which may be a password. */
static const char *words_of(const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_out_of_memory:
        abort(); /* as everywhere */
    case json_error_invalid_utf8:
        return "not UTF-8";
    case json_error_premature_end_of_input:
        return "the text ends too early";
    case json_error_end_of_input_expected:
        return "something follows the object";
    case json_error_null_byte_in_key:
        return "a name contains U+0000";
    case json_error_duplicate_key:
        return "a name stands twice in one object";
    case json_error_numeric_overflow:
        return "a number is out of range";
    default:
        return "this is not JSON";
    }
}

int pbjson_parse(const char *text, size_t len, struct arena *arena, struct pbjson_doc **doc_out,
                 struct pbjson_problem *problem)
{
    json_error_t error;

    *problem = (struct pbjson_problem){0};
    int err = check_bounds(text, len, arena, problem);
    if (err != 0) {
        return err;
    }
    json_t *json = json_loadb(text == NULL ? "" : text, len,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (json == NULL) {
        return bad_json(arena, problem, error.line, error.column, words_of(&error));
    }
    if (!json_is_object(json)) {
        json_decref(json);
        problem->detail = "not a JSON object";
        return ERR_BAD_JSON;
    }
    *doc_out = (struct pbjson_doc *)json;
    return 0;
}

void pbjson_free(struct pbjson_doc *doc)
{
    json_decref((json_t *)doc);
}

/* ---- Members ---- */

/* NULL: not there, or null. */
static json_t *member(const struct pbjson_doc *doc, const char *name)
{
    json_t *json = json_object_get(json_of(doc), name);
    return json_is_null(json) ? NULL : json;
}

static struct pbjson_value value_of(const json_t *json)
{
    struct pbjson_value value = {.kind = PBJSON_OTHER};

    if (json_is_string(json)) {
        value.kind = PBJSON_STRING;
        value.s = json_string_value(json);
        value.len = json_string_length(json);
    } else if (json_is_integer(json)) {
        value.kind = PBJSON_INTEGER;
        value.i = json_integer_value(json);
    } else if (json_is_boolean(json)) {
        value.kind = PBJSON_BOOL;
        value.i = json_is_true(json);
    } else if (json_is_null(json)) {
        value.kind = PBJSON_NULL;
    }
    return value;
}

bool pbjson_get_string(const struct pbjson_doc *doc, const char *name, const char **s_out,
                       size_t *len_out)
{
    struct pbjson_value value = value_of(member(doc, name));

    if (value.kind != PBJSON_STRING || memchr(value.s, 0, value.len) != NULL) {
        return false;
    }
    *s_out = value.s;
    *len_out = value.len;
    return true;
}

bool pbjson_has(const struct pbjson_doc *doc, const char *name)
{
    return member(doc, name) != NULL;
}

const struct pbjson_doc *pbjson_get_object(const struct pbjson_doc *doc, const char *name)
{
    json_t *json = member(doc, name);
    return json_is_object(json) ? (const struct pbjson_doc *)json : NULL;
}

bool pbjson_get_u64(const struct pbjson_doc *doc, const char *name, uint64_t *value_out)
{
    struct pbjson_value value = value_of(member(doc, name));

    if (value.kind != PBJSON_INTEGER || value.i < 0 || value.i > PBJSON_ID_MAX) {
        return false;
    }
    *value_out = (uint64_t)value.i;
    return true;
}

bool pbjson_get_bool(const struct pbjson_doc *doc, const char *name, bool *value_out)
{
    struct pbjson_value value = value_of(member(doc, name));

    if (value.kind != PBJSON_BOOL) {
        return false;
    }
    *value_out = value.i != 0;
    return true;
}

const char *pbjson_next(const struct pbjson_doc *doc, void **cursor)
{
    json_t *json = json_of(doc);
    *cursor = *cursor == NULL ? json_object_iter(json) : json_object_iter_next(json, *cursor);
    return *cursor == NULL ? NULL : json_object_iter_key(*cursor);
}

char *pbjson_text(const struct pbjson_doc *doc, const char *name, struct arena *arena)
{
    const size_t flags = JSON_COMPACT | JSON_ENCODE_ANY;
    json_t *json = member(doc, name);

    if (json == NULL) {
        return NULL;
    }
    size_t size = json_dumpb(json, NULL, 0, flags);
    char *text = arena_alloc(arena, size + 1);
    json_dumpb(json, text, size, flags);
    text[size] = '\0';
    return text;
}

/* ---- Filling ---- */

struct filler {
    struct arena *arena;
    struct pbjson_problem *problem;
};

/* Where in the text, written out only for complaints: "of[3].seq" is seq, in 3, in of. */
struct path {
    const struct path *in;
    const char *field; /* NULL: an element, by its index */
    size_t index;
};

static void fill_message(const struct filler *filler, json_t *json, void *message,
                         const struct path *in);

static const char *path_text(const struct path *path, struct arena *arena)
{
    if (path->field == NULL) {
        return arena_printf(arena, "%s[%zu]", path_text(path->in, arena), path->index);
    }
    if (path->in == NULL) {
        return path->field;
    }
    return arena_printf(arena, "%s.%s", path_text(path->in, arena), path->field);
}

static void complain(const struct filler *filler, const struct path *path, const char *reason)
{
    struct pbjson_problem *problem = filler->problem;

    if (problem->count == sizeof(problem->errors) / sizeof(problem->errors[0])) {
        return;
    }
    const char *field = path_text(path, filler->arena);
    if (problem->count == 0) {
        problem->detail = arena_printf(filler->arena, "%s %s", field, reason);
    }
    problem->errors[problem->count++] = (struct rpc_field_error){.field = field, .reason = reason};
}

/* One field that is not repeated, or one element of one that is. False: nothing was put there. */
static bool fill_place(const struct filler *filler, const ProtobufCFieldDescriptor *field,
                       json_t *json, void *place, const struct path *path)
{
    const char *wrong = NULL;

    if (field->type != PROTOBUF_C_TYPE_MESSAGE) {
        struct pbjson_value value = value_of(json);
        wrong = pbjson_put(field, &value, place, filler->arena);
    } else if (!json_is_object(json)) {
        wrong = "must be an object";
    } else {
        void *message = pb_new(field->descriptor, filler->arena);
        fill_message(filler, json, message, path);
        *(void **)place = message;
    }
    if (wrong != NULL) {
        complain(filler, path, wrong);
    }
    return wrong == NULL;
}

static void fill_list(const struct filler *filler, const ProtobufCFieldDescriptor *field,
                      json_t *json, void *message, const struct path *path)
{
    size_t count = json_array_size(json), size = pbjson_element_size(field);

    if (!json_is_array(json)) {
        complain(filler, path, "must be a list");
        return;
    }
    char *elements = arena_array(filler->arena, count, size);
    for (size_t i = 0; i < count; i++) {
        struct path element = {.in = path, .index = i};
        fill_place(filler, field, json_array_get(json, i), elements + i * size, &element);
    }
    if (filler->problem->count == 0) { /* else there may be holes */
        void *count_place = (char *)message + field->quantifier_offset;
        *(size_t *)count_place = count;
        *(void **)pbjson_place(field, message) = elements;
    }
}

static void fill_message(const struct filler *filler, json_t *json, void *message,
                         const struct path *in)
{
    const ProtobufCMessageDescriptor *type = ((ProtobufCMessage *)message)->descriptor;

    for (void *at = json_object_iter(json); at != NULL; at = json_object_iter_next(json, at)) {
        const ProtobufCFieldDescriptor *field = pbjson_find(type, json_object_iter_key(at));
        json_t *value = json_object_iter_value(at);
        if (field == NULL || (json_is_null(value) && !pbjson_is_time(field))) {
            continue;
        }
        struct path path = {.in = in, .field = field->name};
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            fill_list(filler, field, value, message, &path);
        } else if (fill_place(filler, field, value, pbjson_place(field, message), &path)) {
            pbjson_choose(field, message);
        }
    }
}

int pbjson_fill(const struct pbjson_doc *doc, void *message, struct arena *arena,
                struct pbjson_problem *problem)
{
    struct filler filler = {.arena = arena, .problem = problem};

    *problem = (struct pbjson_problem){0};
    fill_message(&filler, json_of(doc), message, NULL);
    return problem->count == 0 ? 0 : ERR_INVALID;
}
